"""Responses that break off or never end: the connection is cut, reset or left hanging,
or the body goes on.
"""

import asyncio
import gzip
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from typing import NoReturn, TypeAlias

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from msgspec import json

from ..http.responses import JsonResponse, to_aiohttp

Send: TypeAlias = Callable[[web.BaseRequest], Awaitable[None]]

# In seconds: how often a request without a response checks whether its client has
# closed the connection. aiohttp does not report it.
_CHECK_INTERVAL = 10.0
# In bytes: a write of an endless body, and a compressed body when decompressed.
_BLOCK, _BOMB = 64 * 1024, 64 * 1024 * 1024
# SO_LINGER on, with a time-out of 0. Closing the socket then resets the connection, as
# the kernel does for a connection without a process.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class BrokenResponse(web.Response):
    """Runs `send` instead of sending a response, and then closes the connection."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        """Run `send`. aiohttp calls this method to send a response."""
        await self._send(request)
        # aiohttp then closes the connection, as if the client had closed it.
        raise ConnectionResetError("a fault closes this connection")


class AnsweredTwice(web.Response):
    """A response that is sent again some seconds later, as a broken proxy does."""

    def __init__(self, response: JsonResponse, seconds: float) -> None:
        body = json.encode(response.body)
        super().__init__(
            status=response.status, body=body, content_type="application/json"
        )
        head = f"HTTP/1.1 {response.status} OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self._copy, self._seconds = head.encode() + body, seconds

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it. aiohttp calls this method."""
        loop, transport = asyncio.get_running_loop(), request.transport
        if transport is not None:
            # A transport that is closed by then ignores it.
            loop.call_later(self._seconds, transport.write, self._copy)
        return await super().prepare(request)


async def cut(request: web.BaseRequest) -> None:
    """Close the connection."""
    if request.transport is not None:
        request.transport.abort()


async def reset(request: web.BaseRequest) -> None:
    """Reset the connection, as a kernel does for a connection without a process."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        request.transport.abort()


async def hang(request: web.BaseRequest) -> None:
    """Send nothing until the client closes the connection."""
    while True:
        await asyncio.sleep(_CHECK_INTERVAL)
        if request.transport is None or request.transport.is_closing():
            return


def half(response: JsonResponse, *, stalled: bool) -> Send:
    """Send a response with half of its body.

    With `stalled` the connection then stays open until the client closes it.
    """
    whole, body = to_aiohttp(response), json.encode(response.body)

    async def send(request: web.BaseRequest) -> None:
        writer = await whole.prepare(request)
        if writer is not None:
            await writer.write(body[: len(body) // 2])
        if stalled:
            await hang(request)

    return send


def endless(response: JsonResponse) -> Send:
    """Send a response whose body goes on until the client closes the connection."""
    head = web.StreamResponse(
        status=response.status, headers={"Content-Type": "application/json"}
    )
    head.enable_chunked_encoding()

    async def send(request: web.BaseRequest) -> None:
        await head.prepare(request)
        await head.write(json.encode(response.body)[:-1])
        while request.transport is not None and not request.transport.is_closing():
            await head.write(b" " * _BLOCK)

    return send


def bomb(response: JsonResponse) -> web.Response:
    """Make a response of 64 KB that is 64 MB when decompressed."""
    text = json.encode(response.body)
    return web.Response(
        status=response.status,
        # A body may have several parts, each compressed by itself.
        body=gzip.compress(text[:-1]) + _compressed_spaces() + gzip.compress(text[-1:]),
        headers={"Content-Encoding": "gzip"},
        content_type="application/json",
    )


@cache
def _compressed_spaces() -> bytes:
    return gzip.compress(b" " * _BOMB)
