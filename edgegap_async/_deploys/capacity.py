"""`max_running`: a cap on how many servers exist at once."""

import asyncio
import logging
from collections import deque

from .._transport.client import Transport
from ..endpoints import STATUS
from ..errors import ApiError, EdgegapError, SessionClosed, is_gone
from ..models.deployment import DeploymentState

log = logging.getLogger("edgegap_async")
# Seconds between two polls for servers that have ended by themselves.
POLL_INTERVAL = 10.0


class CapacityLimiter:
    """Permits for servers: acquired before a deploy, released once its server is gone.

    Args:
        transport: for status calls.
        total: how many servers may exist at once.
    """

    def __init__(self, transport: Transport, total: int) -> None:
        self._transport = transport
        self._available = total
        self._running: set[str] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a permit.

        Raises:
            SessionClosed: the session was closed meanwhile, so it stops no more servers.
        """
        while self._available < 1:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            if not await self._transport.wait(_result(turn), None):
                raise SessionClosed(
                    "the session was closed before another server was allowed to start"
                )
        self._available -= 1

    def release(self) -> None:
        """Give a permit back."""
        self._available += 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def started(self, request_id: str) -> None:
        """A server uses a permit until it is gone."""
        self._running.add(request_id)

    def gone(self, request_id: str) -> None:
        """A stop was accepted, or the API says that the server is gone."""
        if request_id in self._running:
            self._running.discard(request_id)
            self.release()

    async def watch(self) -> None:
        """While a deploy waits for a permit, poll for servers that have ended."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            for request_id in list(self._running) if self._waiting else ():
                try:
                    status = await self._transport.call(
                        STATUS, {"request_id": request_id}, priority="background"
                    )
                    if status.state is DeploymentState.TERMINATED:
                        self.gone(request_id)
                except EdgegapError as error:
                    if isinstance(error, ApiError) and is_gone(error):
                        self.gone(request_id)


async def _result(turn: asyncio.Future[None]) -> None:
    await turn
