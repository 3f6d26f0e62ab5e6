"""Lists as the SDK asks for them itself: by tags, by IDs, and pages newest first where
a filter can't be trusted.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from msgspec import json

from ._transport import Transport
from .endpoints import LIST
from .errors import BadRequest
from .models.deployment import DeploymentPage, DeploymentSummary
from .models.paging import ListFilter, ListQuery, OrderBy

# the most that a page holds, as far as is known
PAGE = 100
# as many as fit into a URL of 6,000 bytes, percent-encoded
TAGS_A_CALL = 150
# the time ends before
ALL_PAGES = 1_000_000
# pages: more would take the whole budget of lists for seconds
LONGEST_SWEEP = 40
# told each page as it comes; True ends the sweep
Enough: TypeAlias = Callable[[Sequence[DeploymentSummary]], bool]


async def _page(
    transport: Transport, query: ListQuery, number: int, timeout: float
) -> DeploymentPage:
    parameters = {
        "query": json.encode(query).decode(),
        "page": str(number),
        "limit": str(PAGE),
    }
    return await transport.call(
        LIST, query=parameters, timeout=timeout, priority="background"
    )


def _left(end: float) -> float:
    return max(end - asyncio.get_running_loop().time(), 0.001)


def is_last(page: DeploymentPage) -> bool:
    """Whether no other page follows."""
    return not page.data or page.pagination is None or not page.pagination.has_next


async def in_state(
    transport: Transport, request_ids: Collection[str], state: str, timeout: float
) -> DeploymentPage:
    """The first page of those among these IDs that are in a state, `ready` or `error`."""
    query = ListQuery(
        filters=(
            ListFilter("status", "eq", state),
            ListFilter("request_id", "in", tuple(request_ids)),
        ),
        order_by=(OrderBy("created_at", "desc"),),
    )
    return await _page(transport, query, 1, timeout)


async def tagged(
    transport: Transport, tags: Sequence[str], timeout: float
) -> tuple[list[DeploymentSummary], bool]:
    """What the filter shows for any of these tags; and whether it showed nothing else,
    which it does when ignored.
    """
    end = asyncio.get_running_loop().time() + timeout
    rows: list[DeploymentSummary] = []
    for start in range(0, len(tags), TAGS_A_CALL):
        some = tuple(tags[start : start + TAGS_A_CALL])
        query = ListQuery(filters=(ListFilter("tags", "in", some),))
        for number in range(1, LONGEST_SWEEP + 1):
            page = await _page(transport, query, number, _left(end))
            rows += page.data
            if any(not set(row.tags) & set(some) for row in page.data):
                return rows, False
            if is_last(page):
                break
    return rows, True


async def newest(
    transport: Transport,
    enough: Enough,
    timeout: float,
    pages: int = LONGEST_SWEEP,
    request_ids: Collection[str] | None = None,
) -> bool:
    """Pages newest first, of these IDs or of all, until it is `enough`; whether it came
    to that or to the last page.
    """
    end = asyncio.get_running_loop().time() + timeout
    filters = (
        ()
        if request_ids is None
        else (ListFilter("request_id", "in", tuple(request_ids)),)
    )
    query = ListQuery(filters=filters, order_by=(OrderBy("created_at", "desc"),))
    for number in range(1, pages + 1):
        page = await _page(transport, query, number, _left(end))
        if enough(page.data) or is_last(page):
            return True
    return False


async def under_tags(
    transport: Transport, tags: Sequence[str], timeout: float
) -> tuple[DeploymentSummary, ...]:
    """All deployments under any of these tags. Where the filter shows none, all pages
    are looked through: a filter that matches nothing, is ignored or refused must hide
    nothing.
    """
    wanted = set(tags)
    try:
        rows, honest = await tagged(transport, tags, timeout)
    except BadRequest:
        rows, honest = [], False
    if not rows or not honest:

        def take(page: Sequence[DeploymentSummary]) -> bool:
            rows.extend(page)
            return False

        await newest(transport, take, timeout, ALL_PAGES)
    return tuple(
        {row.request_id: row for row in rows if wanted & set(row.tags)}.values()
    )
