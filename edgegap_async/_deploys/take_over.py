"""Does what is due for a process that is dead: its servers are stopped, and its tags are
searched for. A server that turns up is stopped too, unless it was handed out.

A process may leave thousands of entries, so it is done in steps, a part in each turn of
the loop.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import TypeAlias

from .._records.search_tags import Knowledge
from .._records.state import DeployRecord, DeployState
from .._shared.entries import Entry, decode
from .._shared.ownership import Claimed
from .._transport.deadlines import loop_time
from ..models._check import some
from .tag_search import TagSearch

log: logging.Logger = logging.getLogger("edgegap_async")
# Does one step at a time. Returns False if the session was closed meanwhile.
Steps: TypeAlias = Generator[None, None, bool]
# Steps in one turn of the loop: some 10 ms.
STEPS_OF_PART = 100


class TakeOvers:
    """What is due for dead processes. The first one comes first."""

    def __init__(self) -> None:
        self._due: deque[tuple[Claimed, Steps]] = deque()

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, claimed: Claimed, steps: Steps) -> None:
        """A dead process was claimed."""
        self._due.append((claimed, steps))

    def clear(self) -> None:
        """Another process has claimed them."""
        self._due.clear()

    def do_part(self) -> list[str]:
        """Do some steps.

        Returns:
            The names of the dead owners for which all is done.
        """
        done: list[str] = []
        for _ in range(STEPS_OF_PART):
            if not self._due:
                break
            claimed, steps = self._due[0]
            try:
                next(steps)
                continue
            except StopIteration as end:
                if end.value:
                    done.append(claimed.name)
            except Exception:
                # It is claimed again once this session is closed.
                log.exception("taking over from process %d failed", claimed.pid)
            self._due.popleft()
        return done


def take_over(
    claimed: Claimed,
    search: TagSearch,
    observe: Callable[[DeployRecord], object],
    stop: Callable[[DeployRecord], object],
) -> Generator[None]:
    """Take over what a dead process was responsible for. Each step is one entry.

    Args:
        observe: called with each record that is made.
        stop: stops the server of a record that is STOPPING.
    """
    entries: list[Entry] = []
    for data in claimed.entries:
        if entry := decode(data):
            entries.append(entry)
        yield
    search.adopted |= claimed.adopted
    servers = {
        entry.request_id: entry
        for entry in entries
        if entry.request_id and entry.request_id not in claimed.adopted
    }
    by_tag: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.tag:
            by_tag.setdefault(entry.tag, []).append(entry)
    # Tags in quarantine are left whenever a session is closed.
    quiet = all(it.state in ("checked", "quarantine") for it in entries)
    _log(claimed, servers, by_tag, logging.INFO if quiet else logging.WARNING)
    for request_id, entry in servers.items():
        record = _record(DeployState.STOPPING, entry)
        record.request_id = request_id
        observe(record)
        stop(record)
        yield
    ended_at = loop_time() + claimed.may_arrive
    for tag, those in by_tag.items():
        known = {it.request_id for it in those if it.request_id}
        except_ids = known.union(*(it.except_ids for it in those))
        knowledge = _knowledge(those)
        if knowledge is Knowledge.SEARCHED:
            record = _record(DeployState.SEARCHING, those[0])
            if search.take_over(tag, record, ended_at, except_ids):
                observe(record)
        else:
            record, since = _record(DeployState.ENDED, those[0]), those[0].since
            search.resume(tag, record, knowledge, since, except_ids)
        yield


def _log(
    claimed: Claimed, servers: Collection[str], tags: Collection[str], level: int
) -> None:
    """Log one line, with all servers and tags in its `extra`."""
    log.log(
        level,
        "taking over from process %d on %s, which has ended: its servers to stop: %s; its tags to search for: %s",
        claimed.pid,
        claimed.host,
        some(servers) or "none",
        some(tags) or "none",
        extra={"request_ids": [*servers], "tags": [*tags]},
    )


def _knowledge(entries: Sequence[Entry]) -> Knowledge:
    """What the dead process knew about the tag of these entries."""
    states = {it.state for it in entries}
    if states == {"checked"}:
        return Knowledge.CHECKED
    return Knowledge.WATCHED if states == {"quarantine"} else Knowledge.SEARCHED


def _record(state: DeployState, entry: Entry) -> DeployRecord:
    record = DeployRecord(state)
    record.wanted, record.withdrawn = False, True
    record.tag, record.fleet = entry.tag, entry.where == "fleet"
    return record
