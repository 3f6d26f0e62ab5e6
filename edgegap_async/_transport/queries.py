"""The lists that the SDK asks for itself: by tags, by IDs, and all pages, newest first,
if a filter can't be trusted.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from msgspec import json, structs

from ..endpoints import LIST, STATUS
from ..errors import ApiError, BadRequest
from ..models.deployment import DeploymentPage, DeploymentSummary
from ..models.paging import ListFilter, ListQuery, OrderBy, has_next
from .client import Transport
from .deadlines import Deadline

# Rows: the most that a page holds, as far as is known.
PAGE_SIZE = 100
# Tags per request: they fit into a URL, and if each has a server, into one page.
TAGS_PER_CALL = PAGE_SIZE
# More pages than there can be: the timeout ends the sweep before.
ALL_PAGES = 1_000_000
# Pages per sweep: more would take the whole list limit for seconds.
LONGEST_SWEEP = 40
# Called with each page; True ends the sweep.
Enough: TypeAlias = Callable[[Sequence[DeploymentSummary]], bool]


async def _page(
    transport: Transport, query: ListQuery, number: int, deadline: Deadline
) -> DeploymentPage:
    parameters = {
        "query": json.encode(query).decode(),
        "page": str(number),
        "limit": str(PAGE_SIZE),
    }
    return await transport.call(
        LIST, query=parameters, timeout=deadline.left(), priority="background"
    )


def is_last(page: DeploymentPage) -> bool:
    """Whether no other page follows this one, the first. One that may follow counts."""
    if not page.data and not page.skipped:
        return True
    return has_next(page, len(page.data)) is False


async def _read(
    transport: Transport,
    query: ListQuery,
    deadline: Deadline,
    most: int,
    enough: Enough,
) -> bool:
    """Read pages from the first one, until `enough` returns True. If a page does not
    tell whether another one follows, an empty or repeated page is the last.

    Returns:
        Whether `enough` or the last page ended it, not the number of pages, and every
        row was read: one without an ID may be any deployment.
    """
    seen: set[str] = set()
    readable = True
    for number in range(1, most + 1):
        page = await _page(transport, query, number, deadline)
        rows = {row.request_id for row in page.data}
        readable = readable and not page.skipped
        known = rows <= seen and not page.skipped
        seen |= rows
        if enough(page.data) or known or has_next(page, len(seen)) is False:
            return readable
    return False


async def in_state(
    transport: Transport, request_ids: Collection[str], state: str, timeout: float
) -> DeploymentPage:
    """The first page of those among these IDs that are in a state: ready or error."""
    query = ListQuery(
        filters=(
            ListFilter("status", "eq", state),
            ListFilter("request_id", "in", tuple(request_ids)),
        ),
        order_by=(OrderBy("created_at", "desc"),),
    )
    return await _page(transport, query, 1, Deadline.after(timeout))


async def tagged(
    transport: Transport, tags: Sequence[str], timeout: float
) -> tuple[list[DeploymentSummary], bool]:
    """The rows that the filter shows for any of these tags, at most `TAGS_PER_CALL`, and
    whether all rows could be read. A server that ignores the filter shows other rows.
    """
    deadline, wanted = Deadline.after(timeout), set(tags)
    rows: list[DeploymentSummary] = []
    query = ListQuery(filters=(ListFilter("tags", "in", tuple(tags)),))

    def take(page: Sequence[DeploymentSummary]) -> bool:
        rows.extend(page)
        return any(not wanted.intersection(row.tags) for row in page)

    readable = await _read(transport, query, deadline, LONGEST_SWEEP, take)
    return rows, readable


async def newest(
    transport: Transport,
    enough: Enough,
    timeout: float,
    pages: int = LONGEST_SWEEP,
    request_ids: Collection[str] | None = None,
) -> bool:
    """Read pages newest first, until `enough` returns True.

    Args:
        request_ids: read only the rows of these IDs.

    Returns:
        Whether `enough` or the last page ended it, not the number of pages.
    """
    deadline = Deadline.after(timeout)
    filters = (
        ()
        if request_ids is None
        else (ListFilter("request_id", "in", tuple(request_ids)),)
    )
    query = ListQuery(filters=filters, order_by=(OrderBy("created_at", "desc"),))
    return await _read(transport, query, deadline, pages, enough)


async def existing(
    transport: Transport, request_ids: Collection[str], timeout: float
) -> Collection[str] | None:
    """Those of these deployments that a list shows.

    A list that shows none of them proves nothing by itself: its filter may be ignored,
    or match nothing. So it must show one that certainly exists.

    Returns:
        None: no list could be proven.
    """
    deadline, asked = Deadline.after(timeout), set(request_ids)
    # The newest deployments will do, if they are not asked for anyway.
    query = ListQuery(order_by=(OrderBy("created_at", "desc"),))
    page = await _page(transport, query, 1, deadline)
    rows = {row.request_id for row in page.data}
    told = page.pagination and page.pagination.has_next is False and not page.skipped
    if rows and told and page.total_count in (None, len(page.data)):
        return asked & rows
    other = next(iter(rows - asked), None)
    shown, filters = await _by_id(
        transport, {*asked, *([other] if other else [])}, deadline
    )
    if filters and shown:
        return shown & asked
    return await _in_all_pages(transport, asked, deadline)


async def _by_id(
    transport: Transport, request_ids: Collection[str], deadline: Deadline
) -> tuple[set[str], bool]:
    """Those of these IDs that a filter shows, and whether it shows nothing else."""
    query = ListQuery(filters=(ListFilter("request_id", "in", tuple(request_ids)),))
    shown: set[str] = set()

    def take(page: Sequence[DeploymentSummary]) -> bool:
        shown.update(row.request_id for row in page)
        return not shown <= set(request_ids)

    try:
        complete = await _read(transport, query, deadline, LONGEST_SWEEP, take)
    except BadRequest:
        return shown, False
    return shown, complete and shown <= set(request_ids)


async def _in_all_pages(
    transport: Transport, request_ids: Collection[str], deadline: Deadline
) -> Collection[str] | None:
    """Those of these IDs that are in any page. None: there are no rows or too many."""
    rows: set[str] = set()

    def take(page: Sequence[DeploymentSummary]) -> bool:
        rows.update(row.request_id for row in page)
        return False

    # Twice, as pages shift while deployments come and go.
    for _ in range(2):
        if not await newest(transport, take, deadline.left() or 0.0):
            return None
    return {*request_ids} & rows if rows else None


async def under_tags(
    transport: Transport, tags: Sequence[str], timeout: float
) -> tuple[DeploymentSummary, ...]:
    """All deployments under any of these tags.

    If the filter shows none, all pages are read: a filter that matches nothing, is
    ignored or refused must not hide a server. The status tells the tags of rows that do
    not.
    """
    wanted, deadline = set(tags), Deadline.after(timeout)
    rows: list[DeploymentSummary] = []
    works = True
    try:
        for start in range(0, len(tags), TAGS_PER_CALL):
            some = tags[start : start + TAGS_PER_CALL]
            shown, _ = await tagged(transport, some, deadline.left() or timeout)
            works = works and all(set(some) & set(row.tags) for row in shown)
            rows += shown
    except BadRequest:
        works = False
    if not rows or not works:

        def take(page: Sequence[DeploymentSummary]) -> bool:
            rows.extend(page)
            return False

        await newest(transport, take, deadline.left() or timeout, ALL_PAGES)
    found = {row.request_id: row for row in rows}
    for row in found.values():
        if row.tags_unknown:
            found[row.request_id] = await _with_tags(transport, row, deadline)
    return tuple(row for row in found.values() if wanted & set(row.tags))


async def _with_tags(
    transport: Transport, row: DeploymentSummary, deadline: Deadline
) -> DeploymentSummary:
    """A row with the tags that its status tells, if it does."""
    try:
        status = await transport.call(
            STATUS,
            {"request_id": row.request_id},
            timeout=deadline.left(),
            priority="background",
        )
    except ApiError:
        # It may have ended meanwhile.
        return row
    return structs.replace(row, tags=status.tags)
