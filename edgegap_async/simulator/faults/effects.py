"""What a fault does to an answer: one way for each kind that strikes there.

    the whole request is read -> it counts -> `-before` comes here -> the deed ->
    `-after` comes here

A way does the deed if it wants to, and gives what is sent. What comes of a deed that is
refused, an error of the API, is cut or broken like any other answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import web
from msgspec import json

from ..http.handlers import Reply
from ..http.responses import (
    Broken,
    RetryAfter,
    answer,
    cut,
    cut_and,
    half,
    silence,
    too_many,
)
from ..world.clock import Clock

_NO_REASON = "this one by a fault"
_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\r\n"


@dataclass(frozen=True, slots=True)
class Struck:
    """A request that a fault strikes: what it would do, what it would do if there were
    no server to allocate, and what else goes into an answer.
    """

    deed: Callable[[], Reply]
    deed_in_vain: Callable[[], Reply]
    path: str
    seconds: float
    now: float
    clock: Clock


Way: TypeAlias = Callable[[Struck], Awaitable[web.Response]]
_Page: TypeAlias = Callable[[Struck], web.Response]


def _before(page: _Page) -> Way:
    async def way(it: Struck) -> web.Response:
        return page(it)

    return way


def _after(page: _Page) -> Way:
    async def way(it: Struck) -> web.Response:
        it.deed()
        return page(it)

    return way


def _either_side(name: str, page: _Page) -> dict[str, Way]:
    return {f"{name}-before": _before(page), f"{name}-after": _after(page)}


def _html(status: HTTPStatus) -> _Page:
    text = _HTML.format(f"{status} {status.phrase}")
    return lambda it: web.Response(status=status, text=text, content_type="text/html")


def _server_error(it: Struck) -> web.Response:
    return answer(Reply(500, {"message": "Internal server error"}))


def _redirect(it: Struck) -> web.Response:
    return web.Response(status=307, headers={"Location": it.path})


def _too_many(it: Struck) -> web.Response:
    return too_many(_NO_REASON, RetryAfter(), it.now, it.clock)


def _too_many_for_seconds(it: Struck) -> web.Response:
    return too_many(_NO_REASON, RetryAfter(it.seconds, "seconds"), it.now, it.clock)


def _too_many_until_date(it: Struck) -> web.Response:
    return too_many(_NO_REASON, RetryAfter(it.seconds, "date"), it.now, it.clock)


async def _late(it: Struck) -> web.Response:
    reply = it.deed()
    await asyncio.sleep(it.seconds)
    return answer(reply)


async def _deed_late(it: Struck) -> web.Response:
    return Broken(cut_and(it.deed, it.seconds))


async def _in_vain(it: Struck) -> web.Response:
    return answer(it.deed_in_vain())


def _half(*, stays: bool) -> Way:
    async def way(it: Struck) -> web.Response:
        return Broken(half(it.deed(), stays=stays))

    return way


def _body(
    change: Callable[[bytes], bytes], content_type: str = "application/json"
) -> Way:
    async def way(it: Struck) -> web.Response:
        reply = it.deed()
        return web.Response(
            status=reply.status,
            body=change(json.encode(reply.body)),
            content_type=content_type,
        )

    return way


# In JSON quotes inside a string are escaped, so what is looked for here is never part
# of one.
def _without_id(body: bytes) -> bytes:
    return body.replace(b'"request_id":', b'"id":')


def _not_utf8(body: bytes) -> bytes:
    return body.replace(b':"', b':"\xff') if b':"' in body else body + b"\xff"


WAYS: Mapping[str, Way] = {
    **_either_side("cut", lambda it: Broken(cut)),
    **_either_side("never", lambda it: Broken(silence)),
    **_either_side("redirect", _redirect),
    **_either_side("403", _html(HTTPStatus.FORBIDDEN)),
    **_either_side("408", _html(HTTPStatus.REQUEST_TIMEOUT)),
    **_either_side("500", _server_error),
    **_either_side("502", _html(HTTPStatus.BAD_GATEWAY)),
    **_either_side("503", _html(HTTPStatus.SERVICE_UNAVAILABLE)),
    **_either_side("504", _html(HTTPStatus.GATEWAY_TIMEOUT)),
    "429": _before(_too_many),
    "429-seconds": _before(_too_many_for_seconds),
    "429-date": _before(_too_many_until_date),
    "late": _late,
    "deed-late": _deed_late,
    "truncated": _half(stays=False),
    "stuck": _half(stays=True),
    "not-json": _body(lambda body: _HTML.format("Welcome").encode(), "text/html"),
    "invalid-utf8": _body(_not_utf8),
    "empty": _body(lambda body: b""),
    "no-id": _body(_without_id),
    "422": _in_vain,
}
