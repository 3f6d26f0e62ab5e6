"""How an answer goes onto the wire: whole, or broken in the ways of a real one."""

import asyncio
import math
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias, get_args

from aiohttp import web
from msgspec import json

from ..world.clock import Clock
from .handlers import Reply

RetryAfterForm: TypeAlias = Literal["seconds", "date"]
Sending: TypeAlias = Callable[[web.BaseRequest], Awaitable[None]]

# Seconds between two looks whether a client that gets no answer has gone: nothing else
# tells.
_LOOK = 10.0
# On, with no time to linger: to close then resets the connection, as the kernel does
# where nobody reads any more.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """What a 429 says of when to come back: so many `seconds`, or nothing for None, in
    one of two forms.
    """

    seconds: float | None = None
    form: RetryAfterForm = "seconds"

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise ValueError(
                f"retry_after must be a number of seconds or None, not {self.seconds!r}"
            )
        if self.form not in get_args(RetryAfterForm):
            raise ValueError(
                f"retry_after_form must be seconds or date, not {self.form!r}"
            )

    def headers(self, now: float, clock: Clock) -> dict[str, str]:
        """The headers of a 429; a date is read against the answer's own `Date`, so
        there is one.
        """
        if self.seconds is None:
            return {}
        if self.form == "seconds":
            return {"Retry-After": f"{self.seconds:g}"}
        return {
            "Date": clock.http(now),
            "Retry-After": clock.http(now + math.ceil(self.seconds)),
        }


def answer(reply: Reply, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply as aiohttp sends it."""
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    body = json.encode(reply.body)
    return web.Response(
        status=reply.status, headers=headers, body=body, content_type="application/json"
    )


def too_many(
    what: str, retry_after: RetryAfter, now: float, clock: Clock
) -> web.Response:
    """A 429."""
    return answer(
        Reply(429, {"message": f"Too many requests: {what}"}),
        retry_after.headers(now, clock),
    )


class Broken(web.Response):
    """Stands where an answer should: it does what it is told instead, and then the
    connection is closed.
    """

    def __init__(self, send: Sending) -> None:
        super().__init__()
        self._send = send

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        """What aiohttp calls to send an answer."""
        await self._send(request)
        # so aiohttp ends it, as if the client had gone
        raise ConnectionResetError("a fault ends this connection")


async def cut(request: web.BaseRequest) -> None:
    """Close the connection."""
    if request.transport is not None:
        request.transport.abort()


async def reset(request: web.BaseRequest) -> None:
    """Close the connection as one that nobody reads."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        request.transport.abort()


async def silence(request: web.BaseRequest) -> None:
    """Say nothing until the client goes."""
    while True:
        await asyncio.sleep(_LOOK)
        if request.transport is None or request.transport.is_closing():
            return


def cut_and(then: Callable[[], object], seconds: float) -> Sending:
    """Close the connection, and do something after so many seconds."""

    async def send(request: web.BaseRequest) -> None:
        await cut(request)
        await asyncio.sleep(seconds)
        then()

    return send


def half(reply: Reply, *, stays: bool) -> Sending:
    """Send an answer, but only half of its body; with `stays` it is the client who has
    to end the connection.
    """
    whole, body = answer(reply), json.encode(reply.body)

    async def send(request: web.BaseRequest) -> None:
        writer = await whole.prepare(request)
        if writer is not None:
            await writer.write(body[: len(body) // 2])
        if stays:
            await silence(request)

    return send
