"""Lists that are read to their end, although deployments come and go meanwhile.

The API has page numbers and no cursor. While deployments end, the rows behind them move
towards the first page, and a row at the edge of a page is on none. So the oldest rows
come first, and the last page is read first: rows move to pages that are still to be read,
and only new ones are missed. A server may ignore the order, so several pages are read
until one reading shows nothing that the ones before it should have shown.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence, Set
from typing import TypeAlias

from ..endpoints import LIST
from ..errors import Incomplete
from ..models.deployment import DeploymentPage, DeploymentSummary
from ..models.paging import ListFilter, ListQuery, OrderBy, has_next
from .client import Transport
from .deadlines import Deadline
from .queries import is_last, read_page

_OLDEST_FIRST = (OrderBy("created_at"),)
# Readings of the same pages, until one shows nothing new.
MOST_READINGS = 5
# Asks for a page by its number.
Ask: TypeAlias = Callable[[int], Awaitable[DeploymentPage]]


async def whole_list(
    transport: Transport, deadline: Deadline, filters: Sequence[ListFilter] = ()
) -> AsyncIterator[Sequence[DeploymentSummary]]:
    """Yield pages until every deployment that matches was on one. Rows may be on several.

    Raises:
        Incomplete: rows have no ID, or each reading shows others.
    """
    query = ListQuery(filters=filters, order_by=_OLDEST_FIRST)

    async def ask(number: int) -> DeploymentPage:
        return await read_page(transport, query, number, deadline)

    known: set[str] | None = None
    for _ in range(MOST_READINGS):
        first = await ask(1)
        yield first.data
        if shows_all(first):
            return
        pages: dict[int, DeploymentPage] = {}
        async for number, page in _all_pages(ask, first):
            yield page.data
            pages[number] = page
        _check_readable(pages.values())
        shown = [row.request_id for it in sorted(pages) for row in pages[it].data]
        if known is not None and _only_arrivals(shown, known):
            return
        known = {*shown} | (known or set())
    raise Incomplete(
        f"each of {MOST_READINGS} readings of {LIST.call} has shown other deployments"
    )


async def _all_pages(
    ask: Ask, first: DeploymentPage
) -> AsyncIterator[tuple[int, DeploymentPage]]:
    """Yield the pages with their numbers, the last one first if their number is told."""
    if last := _last_page(first):
        async for number in _downwards(ask, last):
            yield number, await ask(number)
        return
    yield 1, first
    seen, number = {row.request_id for row in first.data}, 1
    while True:
        number += 1
        page = await ask(number)
        yield number, page
        rows = {row.request_id for row in page.data}
        ended = rows <= seen and not page.skipped
        seen |= rows
        if ended or has_next(page, len(page.data), len(seen)) is False:
            return


async def _downwards(ask: Ask, last: int) -> AsyncIterator[int]:
    """Yield the numbers of pages from the last one to the first. If there are fewer than
    are told, some numbers of empty pages are among them.
    """
    probed = last
    while probed > 1:
        page = await ask(probed)
        if page.data or page.skipped:
            break
        last, probed = probed, probed // 2
    for number in range(last, 0, -1):
        yield number


def _last_page(first: DeploymentPage) -> int | None:
    """The number of the last page; None: it is not told."""
    paginator = first.pagination.paginator if first.pagination else None
    told = (paginator.num_pages if paginator else None) or 0
    rows = len(first.data) + first.skipped
    counted = -(-(first.total_count or 0) // rows) if rows else 0
    return max(told, counted) or None


def shows_all(first: DeploymentPage) -> bool:
    """Whether the first page is the only one, and each of its rows was read."""
    counts_more = (first.total_count or 0) > len(first.data)
    return is_last(first) and not (counts_more or first.skipped)


def _check_readable(pages: Iterable[DeploymentPage]) -> None:
    if skipped := max(page.skipped for page in pages):
        raise Incomplete(f"{skipped} rows of {LIST.call} could not be read")


def _only_arrivals(shown: Sequence[str], known: Set[str]) -> bool:
    """Whether all rows that are new are at one end of a reading: those have arrived.
    Others should have been shown before.
    """
    fresh = [each not in known for each in shown]
    count = sum(fresh)
    return all(fresh[:count]) or all(fresh[len(fresh) - count :])
