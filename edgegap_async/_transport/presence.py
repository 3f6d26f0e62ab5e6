"""Which deployments exist, as far as lists can prove it.

A list that does not show a deployment proves nothing by itself: its filter may be
ignored, match nothing, or honour only some of its values. So it must show deployments
that certainly exist (the witnesses), in the middle of the values of its filter. Where no
filter can be proven, all pages are read.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..errors import BadRequest
from ..models.deployment import DeploymentSummary
from .client import Transport
from .deadlines import Deadline
from .queries import (
    LONGEST_SWEEP,
    MOST_READINGS,
    NEWEST,
    ask_in_chunks,
    by_id,
    is_last,
    newest,
    read_page,
    read_pages,
)

# Witnesses in a filter: one after the first value that is asked for, one before the last.
WITNESSES = 2
# IDs per request, with room for the witnesses.
MOST_IDS = 200


class Listed(NamedTuple):
    """What all pages of a filtered list show.

    Attributes:
        shown: the IDs of its rows.
        sound: it shows nothing else than what was asked for, and all of its pages were
            read.
        total: the number of rows by its own account; None: it does not tell.
        several: more than one page was read.
    """

    shown: Collection[str]
    sound: bool
    total: int | None
    several: bool

    @property
    def counts_more(self) -> bool:
        """Whether there are more rows than it shows, by its own account."""
        return self.total is not None and self.total > len(self.shown)


async def listed(
    transport: Transport,
    request_ids: Collection[str],
    deadline: Deadline,
    state: str | None = None,
) -> Listed:
    """Read all pages of the deployments with these IDs.

    Args:
        state: only those in this state: ready or error.
    """
    asked, shown = set(request_ids), set[str]()

    def take(rows: Sequence[DeploymentSummary]) -> bool:
        shown.update(row.request_id for row in rows)
        return not shown <= asked

    query = by_id(request_ids, state)
    first = await read_page(transport, query, 1, deadline)
    complete = take(first.data) or (is_last(first) and not first.skipped)
    several = not complete
    if not complete:
        complete = await read_pages(
            transport, query, deadline, LONGEST_SWEEP, take, start=2
        )
    sound = complete and shown <= asked
    return Listed(shown, sound, first.total_count, several)


async def _listed_steadily(
    transport: Transport,
    request_ids: Collection[str],
    deadline: Deadline,
    state: str | None,
) -> Listed | None:
    """Read all pages of the deployments with these IDs. While some of them end, the rows
    behind them move, and one at the edge of a page is on none. So several pages are read
    until one reading shows all rows of the one before, of which none was skipped then.

    Returns:
        None: there was no such reading.
    """
    found = await listed(transport, request_ids, deadline, state)
    for _ in range(MOST_READINGS - 1):
        if not found.sound:
            return found
        if not found.several:
            return None if found.counts_more else found
        before, found = found, await listed(transport, request_ids, deadline, state)
        if {*before.shown} <= {*found.shown} and not found.counts_more:
            return found
    return None


async def count(
    transport: Transport,
    request_ids: Collection[str],
    deadline: Deadline,
    state: str | None = None,
) -> int | None:
    """How many of these deployments there are, by the account of a list of one row.
    None: the list does not tell, or it shows another deployment.
    """
    one = await read_page(transport, by_id(request_ids, state), 1, deadline, limit=1)
    if not {row.request_id for row in one.data} <= set(request_ids):
        return None
    return one.total_count


async def nothing_exists(transport: Transport, deadline: Deadline) -> bool:
    """Whether a list without filters shows nothing."""
    first = await read_page(transport, NEWEST, 1, deadline, limit=1)
    return not first.data and not first.skipped and not first.total_count


async def existing(
    transport: Transport,
    request_ids: Collection[str],
    deadline: Deadline,
    *,
    witnesses: Collection[str] = (),
    state: str | None = None,
) -> Collection[str] | None:
    """Those of these deployments that exist.

    Args:
        witnesses: others that certainly exist, and are in this state. None are known: the
            newest deployments will do.
        state: only those in this state: ready or error.

    Returns:
        None: no list could be proven.
    """
    asked = set(request_ids)
    if not witnesses:
        first = await read_page(transport, NEWEST, 1, deadline)
        rows = {row.request_id for row in first.data if not state or row.ready}
        told = first.pagination and first.pagination.has_next is False
        whole = told and not first.skipped and not state
        if rows and whole and first.total_count in (None, len(first.data)):
            return asked & rows
        witnesses = rows - asked or rows
    some = sorted(witnesses)[:WITNESSES]
    if asked <= set(some):
        return asked
    others = [each for each in request_ids if each not in some]

    async def ask(part: Sequence[str]) -> Listed | None:
        return await _listed_steadily(transport, _around(some, part), deadline, state)

    try:
        parts = await ask_in_chunks(others, ask, MOST_IDS)
    except BadRequest:
        parts = []
    steady = [part for part in parts if part]
    if len(steady) < len(parts):
        return None
    shown = {each for part in steady for each in part.shown}
    proven = all(
        part.sound and part.shown and set(some) <= set(part.shown) for part in steady
    )
    if parts and proven:
        return asked & shown
    return await in_all_pages(transport, asked, deadline, state)


def _around(witnesses: Sequence[str], request_ids: Collection[str]) -> Sequence[str]:
    """The values of a filter, such that no witness is at an end of it."""
    values = list(request_ids)
    if len(values) == 1:
        values *= 2
    return [values[0], *witnesses[:1], *values[1:-1], *witnesses[1:], values[-1]]


async def in_all_pages(
    transport: Transport,
    request_ids: Collection[str],
    deadline: Deadline,
    state: str | None = None,
) -> Collection[str] | None:
    """Those of these IDs that are in any page. None: there are no rows or too many."""
    rows, right = set[str](), set[str]()

    def take(shown: Sequence[DeploymentSummary]) -> bool:
        rows.update(row.request_id for row in shown)
        right.update(row.request_id for row in shown if not state or row.ready)
        return False

    # Twice, as pages shift while deployments come and go.
    for _ in range(2):
        if not await newest(transport, take, deadline):
            return None
    return {*request_ids} & right if rows else None
