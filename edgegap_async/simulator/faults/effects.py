"""The effects of faults on a response, by kind.

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

from ..http.responses import JsonResponse, RetryAfter, to_aiohttp, too_many_requests
from ..world.clock import Clock
from .broken import AnsweredTwice, BrokenResponse, bomb, cut, endless, half, hang
from .odd import CHANGES, Change

_REASON = "refused by a fault"
# The answer of a Kubernetes ingress that has no route for a request.
_NO_ROUTE = "default backend - 404"
# The escapes of HTML, URLs and JSON, and the characters of a long page of them.
_ESCAPES, _PAGE = "&#37;%25\\u0026 ", 64 * 1024
_HTML = (
    "<html><head><title>{0}</title></head>"
    "<body><center><h1>{0}</h1></center></body></html>\r\n"
)


@dataclass(frozen=True, slots=True)
class FaultContext:
    """A request with a fault.

    Args:
        operation: Carries out the operation, and returns its response.
        operation_later: Carries out the operation after some seconds, unless the
            simulator ends before.
        unallocated: Carries out the operation as if no server could be allocated.
        path: The path of the request.
        request_id: The deployment that the path names. Empty if it names none.
        seconds: The seconds of the fault.
        now: The current time.
        clock: Formats dates.
    """

    operation: Callable[[], JsonResponse]
    operation_later: Callable[[float], None]
    unallocated: Callable[[], JsonResponse]
    path: str
    request_id: str
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


def _escapes(_: FaultContext) -> web.Response:
    text = (_ESCAPES * _PAGE)[:_PAGE]
    return web.Response(status=502, text=text, content_type="text/html")


def _text_404(_: FaultContext) -> web.Response:
    return web.Response(status=404, text=_NO_ROUTE)


def _empty_404(_: FaultContext) -> web.Response:
    return web.Response(status=404)


def _json_404(_: FaultContext) -> web.Response:
    return to_aiohttp(JsonResponse(404, {"message": "Not Found"}))


def _not_found(context: FaultContext) -> web.Response:
    message = f"Deployment {context.request_id} not found"
    return to_aiohttp(JsonResponse(404, {"message": message}))


def _redirect(context: FaultContext) -> web.Response:
    return web.Response(status=307, headers={"Location": context.path})


def _429(context: FaultContext) -> web.Response:
    return too_many_requests(_REASON, RetryAfter(), context.now, context.clock)


def _429_seconds(context: FaultContext) -> web.Response:
    retry_after = RetryAfter(context.seconds, "seconds")
    return too_many_requests(_REASON, retry_after, context.now, context.clock)


def _429_html(context: FaultContext) -> web.Response:
    response = _html(HTTPStatus.TOO_MANY_REQUESTS)(context)
    response.headers["Retry-After"] = f"{context.seconds:g}"
    return response


def _429_date(context: FaultContext) -> web.Response:
    retry_after = RetryAfter(context.seconds, "date")
    return too_many_requests(_REASON, retry_after, context.now, context.clock)


async def _late(context: FaultContext) -> web.Response:
    response = context.operation()
    await asyncio.sleep(context.seconds)
    return to_aiohttp(response)


async def _processed_late(context: FaultContext) -> web.Response:
    context.operation_later(context.seconds)
    return BrokenResponse(cut)


async def _twice_first(context: FaultContext) -> web.Response:
    response = context.operation()
    context.operation_later(context.seconds)
    return to_aiohttp(response)


async def _twice_second(context: FaultContext) -> web.Response:
    context.operation()
    await asyncio.sleep(context.seconds)
    return to_aiohttp(context.operation())


def _twice(response: _Response) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        context.operation()
        context.operation_later(context.seconds)
        return response(context)

    return effect


def _twice_late(response: _Response) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        for _ in range(2):
            context.operation_later(context.seconds)
        return response(context)

    return effect


async def _unallocated(context: FaultContext) -> web.Response:
    return to_aiohttp(context.unallocated())


def _half(*, stalled: bool) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        return BrokenResponse(half(context.operation(), stalled=stalled))

    return effect


async def _again(context: FaultContext) -> web.Response:
    return AnsweredTwice(context.operation(), context.seconds)


async def _endless(context: FaultContext) -> web.Response:
    return BrokenResponse(endless(context.operation()))


async def _bomb(context: FaultContext) -> web.Response:
    return bomb(context.operation())


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


def _odd(change: Change) -> Effect:
    async def effect(context: FaultContext) -> web.Response:
        response = context.operation()
        # Errors, which have a body too, stay as they are.
        body = response.body
        odd = body if body is None or response.status >= 300 else change(body)
        return web.Response(
            status=response.status,
            body=json.encode(odd),
            content_type="application/json",
        )

    return effect


# JSON escapes quotes in strings, so these bytes are never part of a string.
def _without_id(body: bytes) -> bytes:
    return body.replace(b'"request_id":', b'"id":')


def _not_utf8(body: bytes) -> bytes:
    return body.replace(b':"', b':"\xff') if b':"' in body else body + b"\xff"


def _cut(_: FaultContext) -> web.Response:
    return BrokenResponse(cut)


def _hang(_: FaultContext) -> web.Response:
    return BrokenResponse(hang)


_502 = _html(HTTPStatus.BAD_GATEWAY)

EFFECTS: Mapping[str, Effect] = {
    **_before_and_after("cut", _cut),
    **_before_and_after("hang", _hang),
    **_before_and_after("redirect", _redirect),
    "401": _before(_unauthorized),
    **_before_and_after("403", _html(HTTPStatus.FORBIDDEN)),
    **_before_and_after("502-escapes", _escapes),
    "404-text": _before(_text_404),
    "404-html": _before(_html(HTTPStatus.NOT_FOUND)),
    "404-empty": _before(_empty_404),
    "404-json": _before(_json_404),
    "404-after": _after(_html(HTTPStatus.NOT_FOUND)),
    "not-found": _before(_not_found),
    **_before_and_after("408", _html(HTTPStatus.REQUEST_TIMEOUT)),
    **_before_and_after("500", _server_error),
    **_before_and_after("502", _502),
    **_before_and_after("503", _html(HTTPStatus.SERVICE_UNAVAILABLE)),
    **_before_and_after("504", _html(HTTPStatus.GATEWAY_TIMEOUT)),
    "429": _before(_429),
    "429-seconds": _before(_429_seconds),
    "429-date": _before(_429_date),
    "429-after": _after(_429_html),
    "late": _late,
    "processed-late": _processed_late,
    "truncated": _half(stalled=False),
    "stalled": _half(stalled=True),
    "answered-twice": _again,
    "endless": _endless,
    "gzip-bomb": _bomb,
    "page-before": _before(_html(HTTPStatus.OK)),
    "not-json": _body(lambda _: _HTML.format("Welcome").encode(), "text/html"),
    "invalid-utf8": _body(_not_utf8),
    "empty": _body(lambda _: b""),
    "no-id": _body(_without_id),
    **{kind: _odd(change) for kind, change in CHANGES.items()},
    "422": _unallocated,
    "422-after": _after(_html(HTTPStatus.UNPROCESSABLE_ENTITY)),
    "twice-first": _twice_first,
    "twice-second": _twice_second,
    "twice-502": _twice(_502),
    "twice-hang": _twice(_hang),
    "twice-late-502": _twice_late(_502),
    "twice-late-hang": _twice_late(_hang),
}
