"""The lifespan of an ASGI application, for applications that may have none.

    server: startup              -> application: startup.complete or startup.failed
    server: shutdown, at its end -> application: shutdown.complete or shutdown.failed

An application without a lifespan (Django) raises an error instead of the first answer,
or returns. The server would then end without telling anybody, so the answers are given
for it.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ._protocol import App, Message, Receive, Scope, Send

log: logging.Logger = logging.getLogger("edgegap_async")
Close: TypeAlias = Callable[[], Awaitable[None]]
STARTUP, SHUTDOWN = "lifespan.startup", "lifespan.shutdown"
COMPLETE, FAILED = ".complete", ".failed"


class Lifespan:
    """Passes the messages of one lifespan on, and adds those that the application owes.

    Args:
        receive, send: the server's.
        close: called before the server is told that the application has ended.
    """

    def __init__(
        self, receive: Receive, send: Send, close: Close | None = None
    ) -> None:
        self._receive, self._send, self._close = receive, send, close
        # The types of the messages so far.
        self._passed: set[str] = set()

    async def run(self, app: App, scope: Scope) -> None:
        """Run the lifespan of the application.

        Raises:
            Exception: the application's, while it starts or ends. Without an answer to
                the startup, it means that the application has no lifespan.
        """
        try:
            await app(scope, self._receive_next, self._send_next)
        except Exception as error:
            if self._has(STARTUP + FAILED) or self._has(SHUTDOWN):
                raise
            if self._has(STARTUP + COMPLETE):
                log.exception("the lifespan of the application failed")
            else:
                log.info("the application has no lifespan: %s", error)
        await self._finish()

    async def fail(self, why: str) -> None:
        """The application can't start."""
        await self._receive_next()
        await self._send({"type": STARTUP + FAILED, "message": why})

    def _has(self, kind: str) -> bool:
        return kind in self._passed

    async def _receive_next(self) -> Message:
        message = await self._receive()
        self._passed.add(message["type"])
        return message

    async def _send_next(self, message: Message) -> None:
        kind = message["type"]
        if kind != STARTUP + COMPLETE and self._close:
            await self._close()
        self._passed.add(kind)
        await self._send(message)

    async def _finish(self) -> None:
        """Give the answers that the application has not given."""
        if self._has(STARTUP + FAILED):
            return
        if not self._has(STARTUP):
            await self._receive_next()
        if not self._has(STARTUP + COMPLETE):
            await self._send_next({"type": STARTUP + COMPLETE})
        if not self._has(SHUTDOWN):
            await self._receive_next()
        if not (self._has(SHUTDOWN + COMPLETE) or self._has(SHUTDOWN + FAILED)):
            await self._send_next({"type": SHUTDOWN + COMPLETE})
