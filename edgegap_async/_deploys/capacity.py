"""`max_running`: a cap on how many servers exist at once."""

import asyncio

from .._transport.client import Transport
from ..errors import SessionClosed
from .existence import Existence
from .state import DeployRecord, Event

# Seconds between two polls for servers that have ended by themselves.
POLL_INTERVAL = 10.0


class CapacityLimiter:
    """Permits for servers: acquired before a deploy, released once nothing of it can be
    running any more.

    Args:
        transport: for status calls.
        existence: judges answers that say "not found".
        total: how many servers may exist at once.
    """

    def __init__(self, transport: Transport, existence: Existence, total: int) -> None:
        self._transport, self._existence = transport, existence
        self._permits = asyncio.Semaphore(total)
        self._waiting = 0
        self._running: set[DeployRecord] = set()

    async def acquire(self) -> None:
        """Wait for a permit.

        Raises:
            SessionClosed: the session was closed meanwhile, so it stops no more servers.
        """
        self._waiting += 1
        try:
            acquired = await self._transport.wait(self._permits.acquire(), None)
        finally:
            self._waiting -= 1
        if not acquired:
            raise SessionClosed(
                "the session was closed before another server was allowed to start"
            )

    def release(self) -> None:
        """Give a permit back."""
        self._permits.release()

    def use(self, record: DeployRecord) -> None:
        """A deploy uses a permit until its record is final."""

        def final() -> None:
            self._running.discard(record)
            self.release()

        record.on_final = final
        self._running.add(record)

    async def watch(self) -> None:
        """While a deploy waits for a permit, poll for servers that have ended."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            for record in list(self._running) if self._waiting else ():
                ended = record.request_id and await self._existence.has_ended(
                    self._transport, record.request_id
                )
                # Another task may have noticed it meanwhile.
                if ended and record in self._running:
                    record.on(Event.GONE)
