"""Lists that are read to their end, although deployments come and go meanwhile.

The API has page numbers and no cursor. While deployments end, the rows behind them move
towards the first page, and a row at the edge of a page is on none. So the oldest rows
come first, and the last page is read first: rows move to pages that are still to be read,
and only new ones are missed. A server may ignore the order, so several pages are read
until one reading shows nothing that the ones before it should have shown. Nor need its page
numbers and counts be right: whatever says that there is more is looked into.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from math import inf
from typing import TypeAlias

from msgspec import Struct, field

from ..endpoints import LIST
from ..errors import Incomplete, NotFound
from ..models.deployment import DeploymentPage, DeploymentSummary
from ..models.paging import ListFilter, ListQuery, OrderBy
from .client import Transport
from .deadlines import Deadline
from .queries import ALL_PAGES, read_page

_OLDEST_FIRST = (OrderBy("created_at"),)
# Readings of the same pages, until one shows nothing new.
MOST_READINGS = 5
# Pages in a row without a new row, after which the server must be ignoring page numbers.
# One that only miscounts its pages may repeat the last of them many times.
MOST_STALE = 100
# Asks for a page by its number.
Ask: TypeAlias = Callable[[int], Awaitable[DeploymentPage]]


class _Reading(Struct):
    """What one reading of all pages has shown.

    Attributes:
        ids: of the rows of each page. The rows themselves would take much memory.
        counted: the fewest deployments that a page has counted.
        skipped: the most rows of a page that could not be read.
        known: all IDs.
        stale: how many of the latest pages have shown no new ID.
    """

    ids: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    counted: float = inf
    skipped: int = 0
    known: set[str] = field(default_factory=set[str])
    stale: int = 0

    def add(self, number: int, page: DeploymentPage) -> None:
        """Note what a page shows.

        Raises:
            Incomplete: too many pages in a row have shown nothing new.
        """
        ids = self.ids[number] = [row.request_id for row in page.data]
        self.stale = self.stale + 1 if self.known.issuperset(ids) else 0
        self.known.update(ids)
        if self.stale >= MOST_STALE:
            raise Incomplete(f"{self.stale} pages of {LIST.call} show nothing new")
        if page.total_count is not None:
            self.counted = min(self.counted, page.total_count)
        self.skipped = max(self.skipped, page.skipped)

    def in_order(self) -> list[str]:
        return [each for number in sorted(self.ids) for each in self.ids[number]]


async def whole_list(
    transport: Transport, deadline: Deadline, filters: Sequence[ListFilter] = ()
) -> AsyncIterator[Sequence[DeploymentSummary]]:
    """Yield pages until every deployment that matches was on one. Rows may be on several.

    Raises:
        Incomplete: rows have no ID, pages repeat, there are more deployments by the
            list's own count, or each reading shows others.
    """
    query = ListQuery(filters=filters, order_by=_OLDEST_FIRST)

    async def ask(number: int) -> DeploymentPage:
        try:
            return await read_page(transport, query, number, deadline)
        except NotFound as error:
            # There was such a page before some deployments have ended.
            if number == 1 or not error.from_api:
                raise
            return DeploymentPage(data=())

    known = set[str]()
    problem = ""
    for number in range(MOST_READINGS):
        first = await ask(1)
        yield first.data
        if shows_all(first):
            return
        reading = _Reading()
        async for page_number, page in _all_pages(ask, first):
            yield page.data
            reading.add(page_number, page)
        if reading.skipped:
            raise Incomplete(f"{reading.skipped} rows of {LIST.call} could not be read")
        shown, before = reading.in_order(), known
        known = before | {*shown}
        if len(known) < reading.counted < inf:
            problem = f"counts {reading.counted} deployments, and shows {len(known)}"
        elif number and _only_arrivals(shown, before):
            return
        else:
            problem = f"has shown other deployments in each of {MOST_READINGS} readings"
    raise Incomplete(f"{LIST.call} {problem}")


async def _all_pages(
    ask: Ask, first: DeploymentPage
) -> AsyncIterator[tuple[int, DeploymentPage]]:
    """Yield the pages with their numbers: from what should be the last one to the end,
    and then back to the first one.
    """
    start, page = await _last_with_rows(ask, first)
    seen = set[str]() if start == 1 else {row.request_id for row in first.data}
    number = start
    while True:
        yield number, page
        rows = {row.request_id for row in page.data}
        follows = page.pagination.has_next if page.pagination else None
        if follows is False or not (rows or page.skipped):
            break
        if rows <= seen and not page.skipped:
            if follows:
                raise Incomplete(
                    f"page {number} of {LIST.call} shows nothing new, but says that "
                    "another page follows"
                )
            break
        seen |= rows
        number += 1
        page = await ask(number)
    for number in range(start - 1, 0, -1):
        yield number, await ask(number)


async def _last_with_rows(
    ask: Ask, first: DeploymentPage
) -> tuple[int, DeploymentPage]:
    """The page that should be the last, or, if it has no rows, one before it that has."""
    number, page, step = _told_pages(first), first, 1
    while number > 1:
        page = await ask(number)
        if page.data or page.skipped:
            return number, page
        number, step = number - step, 2 * step
    return 1, first


def _told_pages(first: DeploymentPage) -> int:
    """How many pages there are by the account of the first, at least 1."""
    paginator = first.pagination.paginator if first.pagination else None
    told = (paginator.num_pages if paginator else None) or 0
    rows = len(first.data) + first.skipped
    counted = -(-(first.total_count or 0) // rows) if rows else 0
    return min(max(told, counted, 1), ALL_PAGES)


def shows_all(first: DeploymentPage) -> bool:
    """Whether the first page is the only one by every account of it, and each of its
    rows was read.
    """
    follows = first.pagination.has_next if first.pagination else None
    ends = follows is False or not (first.data or follows)
    counts_more = (first.total_count or 0) > len(first.data)
    return ends and not (counts_more or first.skipped) and _told_pages(first) == 1


def _only_arrivals(shown: Sequence[str], known: Set[str]) -> bool:
    """Whether all rows that are new are at one end of a reading: those have arrived.
    Others should have been shown before.
    """
    fresh = [each not in known for each in shown]
    count = sum(fresh)
    return all(fresh[:count]) or all(fresh[len(fresh) - count :])
