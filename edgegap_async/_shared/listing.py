"""What is open in a journal, and whose it is, for operators."""

import os
from contextlib import closing

from msgspec import Struct

from ..models._plain import PlainData
from .config import SharedState
from .entries import Entry, EntryState, Where, decode
from .journal_store import journal_store
from .owners import Owner, Owners
from .store import StoreError
from .stores import make_store


class OpenEntry(PlainData, frozen=True):
    """One entry of a journal.

    Attributes:
        state: pending (a deploy that may have been sent), held (a server that runs for a
            block), stopping, checked or quarantine (a tag under which a server may turn
            up).
        since: seconds since 1970, on the clock of that process's machine.
        host, pid: the process that has written it.
        owner: alive, dead, closed or claimed.
        lease_left: seconds until another process may take it over. Below 0: since when.
    """

    state: EntryState
    tag: str | None
    request_id: str | None
    where: Where
    except_ids: tuple[str, ...]
    since: float
    host: str
    pid: int
    owner: str
    lease_left: float


class Listing(Struct, frozen=True):
    """What is open in a journal.

    Attributes:
        unreadable: how many entries can't be read, as a newer version has written them.
        exists: whether any session has used the journal.
    """

    entries: tuple[OpenEntry, ...]
    unreadable: int
    exists: bool = True


def open_entries(shared: SharedState, key: str) -> Listing:
    """List what is open in a journal. Blocks.

    Args:
        key: the organization's name.

    Raises:
        StoreError: the store can't be read.
        ValueError, ModuleNotFoundError: as `make_store`.
    """
    if shared.path and not os.path.exists(shared.path):
        # Looking must not make it.
        raise StoreError("shared SQLite file: there is no such file")
    with closing(make_store(shared, key)) as store:
        journal = journal_store(store, key)
        owners, clock = journal.owners()
        if owners is None:
            return Listing((), 0, exists=False)
        now = owners.at + max(clock - owners.clock, 0.0)
        found = [
            (owner, decode(data))
            for name, owner in owners.owners.items()
            for data in journal.entries(name).values()
        ]
    readable = [_opened(entry, owner, owners, now) for owner, entry in found if entry]
    readable.sort(key=lambda it: it.since)
    return Listing(tuple(readable), len(found) - len(readable))


def _opened(entry: Entry, owner: Owner, owners: Owners, now: float) -> OpenEntry:
    over = max(owner.renewed_at + owner.lease, owners.claims_from)
    state = "alive" if now < over else "dead"
    if owner.left:
        state = "closed"
    elif owner.holder:
        state = "claimed"
    return OpenEntry(
        state=entry.state,
        tag=entry.tag,
        request_id=entry.request_id,
        where=entry.where,
        except_ids=entry.except_ids,
        since=entry.since,
        host=owner.host,
        pid=owner.pid,
        owner=state,
        lease_left=round(0.0 if owner.left else over - now, 1),
    )
