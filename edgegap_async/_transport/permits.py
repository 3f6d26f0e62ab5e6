"""Permits: what a call needs to use a connection, and to hold a large body."""

import asyncio
from collections import deque
from contextlib import suppress


class Permits:
    """A semaphore that serves its waiters in turn. Unlike asyncio's, it can be acquired
    without awaiting if a permit is free.

    Args:
        size: how many may be held at a time.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_acquire(self) -> bool:
        """Take a permit if one is free. None is free while a call waits."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a permit."""
        if self.try_acquire():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # The permit came just before the cancellation.
                self.release()
            else:
                # `release` may have dropped it.
                with suppress(ValueError):
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a permit back: the longest waiter gets it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Permit:
    """The right of one call to use a connection, and to hold a large body.

    Args:
        connections: the permits for connections; None: the call needs none of them.
        large: the permits for large bodies.
    """

    __slots__ = ("_connected", "_connections", "_large", "_large_held")

    def __init__(self, connections: Permits | None, large: Permits) -> None:
        self._connections, self._large = connections, large
        self._connected = self._large_held = False

    def try_connect(self) -> bool:
        """Take a connection if one is free. False: `connect` waits for it."""
        if not self._connected and self._connections is not None:
            self._connected = self._connections.try_acquire()
            return self._connected
        return True

    async def connect(self) -> None:
        """Wait for a connection."""
        if not self._connected and self._connections is not None:
            await self._connections.acquire()
            self._connected = True

    async def hold_large(self) -> None:
        """Wait until a large body may be held."""
        await self._large.acquire()
        self._large_held = True

    def release(self) -> None:
        """Give back what is held."""
        if self._connected and self._connections is not None:
            self._connected = False
            self._connections.release()
        if self._large_held:
            self._large_held = False
            self._large.release()
