"""Drops connections on which something has arrived while they were idle.

HTTP/1.1 numbers no answers. If a server or a proxy sends one answer twice, aiohttp takes
the second one as the answer to the next request on that connection, and so on for each
later one. What has arrived before a request is sent is no answer to it. But if it
arrives in the milliseconds between that request and its answer, nothing tells the two
apart: only statuses, and stops with a summary, name their deployment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import aiohttp
from aiohttp.connector import Connection

log = logging.getLogger("edgegap_async")


class UnaskedAnswer(aiohttp.ClientError):
    """An answer was there before the request, which was not sent."""


class Dispatch(Protocol):
    """A request on its way.

    Attributes:
        connected: it has a connection, so that it may have been sent.
    """

    connected: bool


class _Turn:
    """Tells whether the loop has turned since this was made. An idle connection is there
    at once, a new one takes a turn.
    """

    def __init__(self) -> None:
        self.over = False
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self.over = True


def _send_if_clean(
    send: Callable[[Connection], Awaitable[aiohttp.ClientResponse]],
    dispatch: Dispatch,
    connection: Connection,
) -> Awaitable[aiohttp.ClientResponse]:
    # aiohttp asks for this only when it keeps a connection.
    protocol = connection.protocol
    if protocol is None or protocol.should_close:
        raise UnaskedAnswer("an answer was there before the request")
    dispatch.connected = True
    return send(connection)


class CleanConnections:
    """For a middleware: takes one idle connection after another, until there is one on
    which nothing has arrived, or a new one.
    """

    def __init__(self) -> None:
        # One warning per session is enough.
        self._warned = False

    async def __call__(
        self,
        request: aiohttp.ClientRequest,
        handler: aiohttp.ClientHandlerType,
        dispatch: Dispatch,
    ) -> aiohttp.ClientResponse:
        """Send the request on such a connection.

        Args:
            dispatch: noted as connected before the first byte is sent.

        Raises:
            UnaskedAnswer: a new connection begins with an answer.
        """
        turn: _Turn | None = None
        # Middlewares don't see the connection, and the caller's session makes the
        # request. To use its `__dict__` would make all its attributes slower.
        # Its class may guard its attributes.
        send = partial(_send_if_clean, request.send, dispatch)
        object.__setattr__(request, "send", send)
        try:
            while True:
                try:
                    return await handler(request)
                except UnaskedAnswer:
                    if turn is not None and turn.over:
                        raise
                # aiohttp has closed the connection.
                self._report()
                turn = _Turn()
        finally:
            # It would be a cycle of references.
            object.__delattr__(request, "send")

    def _report(self) -> None:
        level = logging.INFO if self._warned else logging.WARNING
        log.log(level, "dropped a connection: an answer came that nobody asked for")
        self._warned = True
