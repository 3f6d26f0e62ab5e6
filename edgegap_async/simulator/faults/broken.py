"""Responses that break off: the connection is cut, reset or left hanging."""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias

from aiohttp import web
from msgspec import json

from ..http.responses import JsonResponse, to_aiohttp

Send: TypeAlias = Callable[[web.BaseRequest], Awaitable[None]]

# In seconds: how often a request without a response checks whether its client has
# closed the connection. aiohttp does not report it.
_CHECK_INTERVAL = 10.0
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
