"""The lists that the SDK asks for itself: by tags, by IDs, and all pages, newest first,
if a filter can't be trusted.
"""

from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from msgspec import json

from ..endpoints import LIST
from ..errors import ApiError
from ..models.deployment import DeploymentPage, DeploymentSummary
from ..models.paging import ListFilter, ListQuery, OrderBy, has_next
from .client import Transport
from .deadlines import Deadline

T = TypeVar("T")
# Rows: the most that a page holds, as far as is known.
PAGE_SIZE = 100
# Tags per request: they fit into a URL, and if each has a server, into one page.
TAGS_PER_CALL = PAGE_SIZE
# Characters of the values of a filter in a URL of 6,000 bytes: about 260 IDs.
ROOM = 5600
# Characters around a value in a percent-encoded list: two quotes and a comma.
QUOTING = 9
# HTTP statuses with which a server refuses a URL that is too long for it.
TOO_LONG = (414, 431)
# More pages than there can be: the timeout ends the sweep before.
ALL_PAGES = 1_000_000
# Readings of the same pages, until one shows all rows of the reading before it.
MOST_READINGS = 4
# Pages per sweep: more would take the whole list limit for seconds.
LONGEST_SWEEP = 40
_NEWEST_FIRST = (OrderBy("created_at", "desc"),)
# Called with each page; True ends the sweep.
Enough: TypeAlias = Callable[[Sequence[DeploymentSummary]], bool]
# All deployments, newest first.
NEWEST = ListQuery(order_by=_NEWEST_FIRST)


def size(values: Iterable[str]) -> int:
    """The length of these values of a filter in a URL, with their quotes and commas."""
    return sum(QUOTING + _encoded_length(value) for value in values)


def _encoded_length(value: str) -> int:
    # As most IDs are: no character needs more than itself.
    if value.isascii() and value.isalnum():
        return len(value)
    return len(quote(json.encode(value)[1:-1], safe=""))


def in_chunks(
    values: Iterable[str], room: int = ROOM, most: int = ALL_PAGES
) -> Iterator[list[str]]:
    """Split the values of a filter into parts that fit into a URL each.

    Args:
        room: characters per part.
        most: values per part.
    """
    chunk, left = list[str](), room
    for value in values:
        left -= size([value])
        if chunk and (left < 0 or len(chunk) >= most):
            yield chunk
            chunk, left = [], room - size([value])
        chunk.append(value)
    if chunk:
        yield chunk


async def answers_in_chunks(
    values: Iterable[str],
    ask: Callable[[Sequence[str]], Awaitable[T]],
    most: int = ALL_PAGES,
) -> AsyncIterator[T]:
    """Ask for values in as few requests as fit into URLs, and yield the answers. If a
    URL is still too long for the server, it is asked for less at once.

    Args:
        most: values per request.
    """
    room = ROOM
    left = deque(in_chunks(values, room, most))
    while left:
        chunk = left.popleft()
        try:
            answer = await ask(chunk)
        except ApiError as error:
            if error.status not in TOO_LONG or len(chunk) == 1:
                raise
            room = size(chunk) // 2
            rest = [value for each in (chunk, *left) for value in each]
            left = deque(in_chunks(rest, room, most))
        else:
            yield answer


async def ask_in_chunks(
    values: Iterable[str],
    ask: Callable[[Sequence[str]], Awaitable[T]],
    most: int = ALL_PAGES,
) -> list[T]:
    """All answers of `answers_in_chunks`."""
    return [answer async for answer in answers_in_chunks(values, ask, most)]


async def read_page(
    transport: Transport,
    query: ListQuery,
    number: int,
    deadline: Deadline,
    limit: int = PAGE_SIZE,
) -> DeploymentPage:
    """Read one page. Page numbers begin at 1."""
    parameters = {
        "query": json.encode(query).decode(),
        "page": str(number),
        "limit": str(limit),
    }
    return await transport.call(
        LIST, query=parameters, deadline=deadline, priority="background"
    )


def is_last(page: DeploymentPage) -> bool:
    """Whether no other page follows this one, the first. One that may follow counts."""
    if not page.data and not page.skipped:
        return True
    return has_next(page, len(page.data), len(page.data)) is False


async def read_pages(
    transport: Transport,
    query: ListQuery,
    deadline: Deadline,
    most: int,
    enough: Enough,
    *,
    start: int = 1,
) -> bool:
    """Read pages until `enough` returns True. If a page does not tell whether another
    one follows, an empty or repeated page is the last.

    Args:
        start: the number of the first page.

    Returns:
        Whether `enough` or the last page ended it, not the number of pages, and every
        row was read: one without an ID may be any deployment, and the count must not say
        that there are more.
    """
    seen: set[str] = set()
    readable = True
    for number in range(start, most + 1):
        page = await read_page(transport, query, number, deadline)
        rows = {row.request_id for row in page.data}
        readable = readable and not page.skipped
        known = rows <= seen and not page.skipped
        seen |= rows
        if enough(page.data):
            return readable
        if known or has_next(page, len(page.data), len(seen)) is False:
            return readable and (start > 1 or not _counts_more(page, len(seen)))
    return False


def _counts_more(page: DeploymentPage, rows: int) -> bool:
    return page.total_count is not None and page.total_count > rows


async def in_state(
    transport: Transport, request_ids: Collection[str], state: str, timeout: float
) -> DeploymentPage:
    """The first page of those among these IDs that are in a state: ready or error."""
    query = by_id(request_ids, state)
    return await read_page(transport, query, 1, Deadline.after(timeout))


def by_id(request_ids: Collection[str], state: str | None = None) -> ListQuery:
    """The query for those among these IDs that are in a state: ready or error; None: in
    any.
    """
    ids = ListFilter("request_id", "in", tuple(request_ids))
    filters = (ListFilter("status", "eq", state), ids) if state else (ids,)
    return ListQuery(filters=filters, order_by=_NEWEST_FIRST)


async def tagged(
    transport: Transport, tags: Sequence[str], timeout: float
) -> tuple[list[DeploymentSummary], bool]:
    """The rows that the filter shows for any of these tags, at most `TAGS_PER_CALL`, and
    whether it shows all of them. A server that ignores the filter shows other rows.

    Several pages are read until one reading shows all rows of the one before. While
    deployments end, the rows behind them move, and one at the edge of a page is on none.
    """
    deadline = Deadline.after(timeout)
    rows: dict[str, DeploymentSummary] = {}
    before: set[str] | None = None
    for _ in range(MOST_READINGS):
        pages, complete = await _tagged_once(transport, tags, deadline)
        shown = {row.request_id: row for page in pages for row in page}
        rows |= shown
        # An empty second page may have been emptied meanwhile.
        steady = len(pages) == 1 or (before is not None and before <= {*shown})
        if steady or not complete:
            return list(rows.values()), complete
        before = {*shown}
    return list(rows.values()), False


async def _tagged_once(
    transport: Transport, tags: Sequence[str], deadline: Deadline
) -> tuple[list[Sequence[DeploymentSummary]], bool]:
    """The pages of the filter, and whether the last one was reached, or one with another
    row.
    """
    pages, wanted = list[Sequence[DeploymentSummary]](), set(tags)
    query = ListQuery(filters=(ListFilter("tags", "in", tuple(tags)),))

    def take(page: Sequence[DeploymentSummary]) -> bool:
        pages.append(page)
        return any(not wanted.intersection(row.tags) for row in page)

    complete = await read_pages(transport, query, deadline, LONGEST_SWEEP, take)
    return pages, complete


async def newest(
    transport: Transport,
    enough: Enough,
    deadline: Deadline,
    pages: int = LONGEST_SWEEP,
    request_ids: Collection[str] | None = None,
) -> bool:
    """Read pages newest first, until `enough` returns True.

    Args:
        request_ids: read only the rows of these IDs.

    Returns:
        Whether `enough` or the last page ended it, not the number of pages.
    """
    query = NEWEST if request_ids is None else by_id(request_ids)
    return await read_pages(transport, query, deadline, pages, enough)
