"""`max_running`: a cap on how many servers exist at once."""

import asyncio
from itertools import compress
from random import sample

from .._records.lifecycle import Lifecycle
from .._records.state import DeployRecord, Event
from .._transport.client import Transport
from .._transport.queries import in_chunks
from .._transport.trace import CAUSED_BY
from .._waiters.end_lists import EndLists
from ..errors import SessionClosed
from ..models.deployment import EndReason

# Seconds between two looks for servers that have ended by themselves.
POLL_INTERVAL = 10.0
# Statuses per look of servers of which no list could be proven.
MOST_STATUSES = 20


class CapacityLimiter:
    """Permits for servers: acquired before a deploy, released once nothing of it can be
    running any more.

    Args:
        lists: looks at many servers.
        lifecycle: is told of those that have ended.
        total: how many servers may exist at once.
    """

    def __init__(
        self, transport: Transport, lists: EndLists, lifecycle: Lifecycle, total: int
    ) -> None:
        self._transport, self._lists, self._lifecycle = transport, lists, lifecycle
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
        """While a deploy waits for a permit, look for servers that have ended. It needs a
        task with a context of its own.
        """
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if self._waiting:
                await self._look()

    async def _look(self) -> None:
        running = {
            record.request_id: record
            for record in self._running
            if record.request_id is not None
        }
        for ids in in_chunks(running, self._lists.room):
            CAUSED_BY.set(tuple(self._lifecycle.causes(ids)))
            look = await self._lists.look(ids, ready=False)
            ended = {*look.ended}
            unknown = [*{*ids} - {*look.shown} - ended]
            asked = sample(unknown, min(MOST_STATUSES, len(unknown)))
            # All at once: each one that is not answered takes 20 s.
            gone = await asyncio.gather(*map(self._lists.has_ended, asked))
            ended.update(compress(asked, gone))
            for request_id in ended:
                record = running[request_id]
                # Another task may have noticed it meanwhile.
                if record in self._running:
                    record.on(Event.GONE)
                    self._lifecycle.ended(request_id, EndReason.GONE)
