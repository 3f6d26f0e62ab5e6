"""Lists as the SDK asks for them itself: by tags, and pages newest first where a filter can't be trusted."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import json

from ._transport import Transport
from .endpoints import LIST
from .errors import BadRequest
from .models.deployment import DeploymentPage, DeploymentSummary
from .models.paging import ListFilter, ListQuery, OrderBy

PAGE = 100  # the most that a page holds, as far as is known
TAGS_A_CALL = 150  # as many as fit into a URL of 6,000 bytes, percent-encoded
ALL_PAGES = 1_000_000  # the time ends before
LONGEST_SWEEP = 40  # pages: more would take the whole budget of lists for seconds


async def _page(transport: Transport, query: ListQuery, number: int, end: float) -> DeploymentPage:
    left = max(end - asyncio.get_running_loop().time(), 0.001)
    parameters = {"query": json.encode(query).decode(), "page": str(number), "limit": str(PAGE)}
    return await transport.call(LIST, query=parameters, timeout=left, priority="background")


def _is_last(page: DeploymentPage) -> bool:
    return not page.data or page.pagination is None or not page.pagination.has_next


async def tagged(transport: Transport, tags: Sequence[str], timeout: float) -> tuple[list[DeploymentSummary], bool]:
    """What the filter shows for any of these tags; and whether it showed nothing else, which it does when ignored."""
    end = asyncio.get_running_loop().time() + timeout
    rows: list[DeploymentSummary] = []
    for start in range(0, len(tags), TAGS_A_CALL):
        some = tuple(tags[start : start + TAGS_A_CALL])
        query = ListQuery(filters=(ListFilter("tags", "in", some),))
        for number in range(1, LONGEST_SWEEP + 1):
            page = await _page(transport, query, number, end)
            rows += page.data
            if any(not set(row.tags) & set(some) for row in page.data):
                return rows, False
            if _is_last(page):
                break
    return rows, True


async def newest(
    transport: Transport, is_older: Callable[[str], bool], timeout: float, pages: int = LONGEST_SWEEP
) -> tuple[list[DeploymentSummary], bool]:
    """Pages newest first, up to a request_id that `is_older` than what is looked for; and whether it came to one."""
    end = asyncio.get_running_loop().time() + timeout
    query = ListQuery(order_by=(OrderBy("created_at", "desc"),))
    rows: list[DeploymentSummary] = []
    for number in range(1, pages + 1):
        page = await _page(transport, query, number, end)
        rows += page.data
        if _is_last(page) or (page.data and is_older(page.data[-1].request_id)):
            return rows, True
    return rows, False


async def under_tags(transport: Transport, tags: Sequence[str], timeout: float) -> tuple[DeploymentSummary, ...]:
    """All deployments under any of these tags. Where the filter shows none, all pages are looked through: a filter that
    matches nothing, is ignored or refused must hide nothing."""
    wanted = set(tags)
    try:
        rows, honest = await tagged(transport, tags, timeout)
    except BadRequest:
        rows, honest = [], False
    if not rows or not honest:
        rows, _ = await newest(transport, lambda _: False, timeout, ALL_PAGES)
    return tuple({row.request_id: row for row in rows if wanted & set(row.tags)}.values())
