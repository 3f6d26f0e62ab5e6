"""The servers of a load test: each is stopped after its lifetime, and all at the end."""

import asyncio
from collections.abc import Callable
from math import inf

from .._transport.deadlines import finish
from ..errors import EdgegapError
from ..session import EdgegapSession

# Seconds for each stop, with its time in the queue and all retries.
STOP_TIMEOUT = 60.0
# Stops in progress at a time: more than the limit has slots.
STOPS = 100


class Servers:
    """The servers that exist.

    Args:
        session: stops them.
        lifetime: seconds that each of them runs. None: until `end`.
        on_stopped: called when a server was stopped, with whether it was READY.

    Attributes:
        existing: their request_ids, and whether they were READY.
        not_stopped: those whose stop has failed.
        abandoned: nobody waits any longer for their stops.
    """

    def __init__(
        self,
        session: EdgegapSession,
        lifetime: float | None,
        on_stopped: Callable[[bool], object],
    ) -> None:
        self.existing: dict[str, bool] = {}
        self.not_stopped: list[str] = []
        self.abandoned: bool = False
        self._session, self._lifetime = session, lifetime
        self._on_stopped = on_stopped
        self._over = asyncio.Event()
        self._stops = asyncio.Semaphore(STOPS)

    def add(
        self, request_id: str, lives: asyncio.TaskGroup, *, ready: bool = True
    ) -> None:
        """A server exists. One that is not READY is stopped at once.

        Args:
            lives: owns the task that stops it.
        """
        self.existing[request_id] = ready
        if self._lifetime is not None or not ready or self._over.is_set():
            lives.create_task(self._live(request_id, self._lifetime if ready else 0.0))

    def end(self, lives: asyncio.TaskGroup) -> None:
        """Stop all of them now, and later ones at once."""
        if self._over.is_set():
            return
        self._over.set()
        if self._lifetime is None:
            for request_id, ready in self.existing.items():
                # The others are being stopped.
                if ready:
                    lives.create_task(self._stop(request_id))

    async def _live(self, request_id: str, lifetime: float | None) -> None:
        try:
            async with asyncio.timeout(lifetime):
                await self._over.wait()
        except TimeoutError:
            pass
        await self._stop(request_id)

    async def _stop(self, request_id: str) -> None:
        async with self._stops:
            if request_id not in self.existing:
                return
            try:
                await self._session.deployments.ensure_stopped(
                    request_id, timeout=STOP_TIMEOUT
                )
            except EdgegapError:
                # The session has logged why.
                self.existing.pop(request_id, None)
                self.not_stopped.append(request_id)
                return
        if (ready := self.existing.pop(request_id, None)) is not None:
            self._on_stopped(ready)

    async def stop_all(self) -> asyncio.CancelledError | None:
        """Stop all of them, even if the caller is cancelled meanwhile.

        Returns:
            The cancellation that arrived, for the caller to raise.
        """
        if self.abandoned or not self.existing:
            return None
        stops = [asyncio.create_task(self._stop(each)) for each in self.existing]
        cancelled = await finish(stops, inf, lambda: self.abandoned)
        for stop in stops:
            stop.cancel()
        return await finish(stops, inf) or cancelled
