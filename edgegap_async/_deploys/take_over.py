"""Does what is due for a process that is dead: its servers are stopped, and its tags are
searched for. A server that turns up is stopped too, unless it was handed out.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from .._shared.entries import Entry, decode
from .._shared.ownership import Claimed
from .._transport.deadlines import loop_time
from .search_tags import Knowledge
from .state import DeployRecord, DeployState
from .tag_search import TagSearch

log: logging.Logger = logging.getLogger("edgegap_async")
# IDs and tags in a line. All of them are in its `extra`.
MOST_NAMED = 10


def take_over(
    claimed: Claimed,
    search: TagSearch,
    observe: Callable[[DeployRecord], object],
    stop: Callable[[DeployRecord], object],
) -> None:
    """Take over what a dead process was responsible for.

    Args:
        observe: called with each record that is made.
        stop: stops the server of a record that is STOPPING.
    """
    decoded = (decode(data) for data in claimed.entries)
    entries = [entry for entry in decoded if entry]
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
    log.log(
        logging.INFO if quiet else logging.WARNING,
        "taking over from process %d on %s, which has ended: stopping %s; searching for %s",
        claimed.pid,
        claimed.host,
        _named("servers", servers),
        _named("tags", by_tag),
        extra={"request_ids": [*servers], "tags": [*by_tag]},
    )
    for request_id, entry in servers.items():
        record = _record(DeployState.STOPPING, entry)
        record.request_id = request_id
        observe(record)
        stop(record)
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


def _named(what: str, names: Collection[str]) -> str:
    """How many there are, and some of them."""
    if not names:
        return f"no {what}"
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{what} {', '.join([*names][:MOST_NAMED])}{more} ({len(names)})"


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
