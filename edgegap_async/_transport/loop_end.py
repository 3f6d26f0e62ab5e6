"""Calls something when the event loop of a session is shut down.

`asyncio.run` cancels all tasks at its end, then closes the asynchronous generators of
the loop and waits for them. So the end of a generator of ours is the last moment in
which requests can be sent.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


class LoopEnd:
    """Waits for the end of the loop.

    Args:
        close: called once at the end of the loop, or when the session is
            garbage-collected while the loop goes on.
    """

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self._close = close
        self._generator: AsyncGenerator[None, None] | None = None
        self._over = False

    def watch(self) -> None:
        """Begin, in the running loop."""
        self._generator = self._until_end()
        start = self._generator.__anext__()
        # Up to its `yield`, which registers it with the loop.
        with suppress(StopIteration):
            start.__await__().send(None)

    async def _until_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if not self._over:
                self._over = True
                await self._close()

    async def aclose(self) -> None:
        """The session is closed: nothing is called any more."""
        if not self._over and self._generator is not None:
            self._over = True
            await self._generator.aclose()
