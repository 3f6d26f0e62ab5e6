"""The effects of faults on a response, by kind, and on the filters of a list.

    request read -> counted -> effects `-before` -> operation -> effects `-after`

An effect decides whether to run the operation, and returns the response to send. If the
operation returns an error response, the effect applies to that response.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import web
from msgspec import json
from msgspec.structs import replace

from ...models.paging import ListFilter, ListQuery
from ..http.responses import JsonResponse, RetryAfter, to_aiohttp, too_many_requests
from ..world.clock import Clock
from ..world.errors import ApiError
from .broken import BrokenResponse, cut, cut_then, half, hang
from .fault import Fault

_REASON = "refused by a fault"
_HTML = (
    "<html><head><title>{0}</title></head>"
    "<body><center><h1>{0}</h1></center></body></html>\r\n"
)


@dataclass(frozen=True, slots=True)
class FaultContext:
    """A request with a fault.

    Args:
        operation: Carries out the operation, and returns its response.
        unallocated: Does the same as if no server could be allocated.
        path: The path of the request.
        seconds: The seconds of the fault.
        now: The current time.
        clock: Formats dates.
    """

    operation: Callable[[], JsonResponse]
    unallocated: Callable[[], JsonResponse]
    path: str
    seconds: float
    now: float
    clock: Clock


Effect: TypeAlias = Callable[[FaultContext], Awaitable[web.Response]]
_Response: TypeAlias = Callable[[FaultContext], web.Response]


def _before(response: _Response) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        return response(context)

    return effect


def _after(response: _Response) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        context.operation()
        return response(context)

    return effect


def _before_and_after(name: str, response: _Response) -> dict[str, Effect]:
    return {f"{name}-before": _before(response), f"{name}-after": _after(response)}


def _html(status: HTTPStatus) -> _Response:
    text = _HTML.format(f"{status} {status.phrase}")
    return lambda _: web.Response(status=status, text=text, content_type="text/html")


def _server_error(context: FaultContext) -> web.Response:
    return to_aiohttp(JsonResponse(500, {"message": "Internal server error"}))


def _unauthorized(_: FaultContext) -> web.Response:
    return to_aiohttp(JsonResponse(401, {"message": "Invalid token"}))


def _redirect(context: FaultContext) -> web.Response:
    return web.Response(status=307, headers={"Location": context.path})


def _429(context: FaultContext) -> web.Response:
    return too_many_requests(_REASON, RetryAfter(), context.now, context.clock)


def _429_seconds(context: FaultContext) -> web.Response:
    retry_after = RetryAfter(context.seconds, "seconds")
    return too_many_requests(_REASON, retry_after, context.now, context.clock)


def _429_date(context: FaultContext) -> web.Response:
    retry_after = RetryAfter(context.seconds, "date")
    return too_many_requests(_REASON, retry_after, context.now, context.clock)


async def _late(context: FaultContext) -> web.Response:
    response = context.operation()
    await asyncio.sleep(context.seconds)
    return to_aiohttp(response)


async def _processed_late(context: FaultContext) -> web.Response:
    return BrokenResponse(cut_then(context.operation, context.seconds))


async def _unallocated(context: FaultContext) -> web.Response:
    return to_aiohttp(context.unallocated())


def _half(*, stalled: bool) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        return BrokenResponse(half(context.operation(), stalled=stalled))

    return effect


def _body(
    change: Callable[[bytes], bytes], content_type: str = "application/json"
) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        response = context.operation()
        return web.Response(
            status=response.status,
            body=change(json.encode(response.body)),
            content_type=content_type,
        )

    return effect


# JSON escapes quotes in strings, so these bytes are never part of a string.
def _without_id(body: bytes) -> bytes:
    return body.replace(b'"request_id":', b'"id":')


def _not_utf8(body: bytes) -> bytes:
    return body.replace(b':"', b':"\xff') if b':"' in body else body + b"\xff"


EFFECTS: Mapping[str, Effect] = {
    **_before_and_after("cut", lambda _: BrokenResponse(cut)),
    **_before_and_after("hang", lambda _: BrokenResponse(hang)),
    **_before_and_after("redirect", _redirect),
    "401": _before(_unauthorized),
    **_before_and_after("403", _html(HTTPStatus.FORBIDDEN)),
    **_before_and_after("408", _html(HTTPStatus.REQUEST_TIMEOUT)),
    **_before_and_after("500", _server_error),
    **_before_and_after("502", _html(HTTPStatus.BAD_GATEWAY)),
    **_before_and_after("503", _html(HTTPStatus.SERVICE_UNAVAILABLE)),
    **_before_and_after("504", _html(HTTPStatus.GATEWAY_TIMEOUT)),
    "429": _before(_429),
    "429-seconds": _before(_429_seconds),
    "429-date": _before(_429_date),
    "late": _late,
    "processed-late": _processed_late,
    "truncated": _half(stalled=False),
    "stalled": _half(stalled=True),
    "not-json": _body(lambda _: _HTML.format("Welcome").encode(), "text/html"),
    "invalid-utf8": _body(_not_utf8),
    "empty": _body(lambda _: b""),
    "no-id": _body(_without_id),
    "422": _unallocated,
}


def apply_filter_fault(query: ListQuery, fault: Fault) -> ListQuery:
    """Return the query that a server with a fault of its filters carries out.

    Raises:
        ApiError: The fault makes the server refuse such filters.
    """
    match fault.kind:
        case "filters-ignored":
            kept = [
                each
                for each in query.filters
                if fault.fields and each.field not in fault.fields
            ]
            return replace(query, filters=kept)
        case "filters-refused":
            names = ", ".join(fault.fields) or "any field"
            raise ApiError(400, f"query: filters on {names} are not supported")
        case _:
            return replace(query, filters=[ListFilter("request_id", "in", ())])
