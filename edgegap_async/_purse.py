"""`max_running`: how many servers may exist at once. One that was started counts until
it is known to be gone.
"""

import asyncio
import logging
from collections import deque

from ._transport import Transport
from .endpoints import STATUS
from .errors import ApiError, EdgegapError, SessionClosed, is_gone
from .models.deployment import DeploymentState

log = logging.getLogger("edgegap_async")
# seconds between two looks whether servers have ended by themselves
LOOK_PACE = 10.0


class Purse:
    """So many places; each is taken before a deploy and free again when its server is
    gone.
    """

    def __init__(self, transport: Transport, places: int) -> None:
        self._transport = transport
        self._free = places
        self._held: set[str] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a place.

        Raises:
            SessionClosed: the session was closed meanwhile; it stops no more servers.
        """
        while self._free < 1:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            if not await self._transport.wait(_until(turn), None):
                raise SessionClosed(
                    "the session was closed before there was a place for another server"
                )
        self._free -= 1

    def give_back(self) -> None:
        """A place is free."""
        self._free += 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def holds(self, request_id: str) -> None:
        """A server has taken a place."""
        self._held.add(request_id)

    def gone(self, request_id: str) -> None:
        """A stop was accepted, or the API says that it is gone."""
        if request_id in self._held:
            self._held.discard(request_id)
            self.give_back()

    async def watch(self) -> None:
        """While somebody waits for a place, look whether servers have ended by
        themselves.
        """
        while True:
            await asyncio.sleep(LOOK_PACE)
            for request_id in list(self._held) if self._waiting else ():
                try:
                    status = await self._transport.call(
                        STATUS, {"request_id": request_id}, priority="background"
                    )
                    if status.state is DeploymentState.TERMINATED:
                        self.gone(request_id)
                except EdgegapError as error:
                    if isinstance(error, ApiError) and is_gone(error):
                        self.gone(request_id)


async def _until(turn: asyncio.Future[None]) -> None:
    await turn
