"""Calls something when the event loop of a session is shut down.

`asyncio.run` cancels all tasks at its end, then closes the asynchronous generators of
the loop and waits for them. So the end of a generator of ours is the last moment in
which requests can be sent.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from weakref import WeakSet


class LoopEnd:
    """Waits for the end of the loop.

    Args:
        close: called once at the end of the loop, or when the session is
            garbage-collected while the loop goes on.
        hurry: called if Ctrl-C interrupts that.
        discard: called if Ctrl-C interrupts it again, so that the loop breaks off, and
            by `discard_all`.
    """

    def __init__(
        self,
        close: Callable[[], Awaitable[object]],
        hurry: Callable[[], object],
        discard: Callable[[], object],
    ) -> None:
        self._close, self._hurry, self.discard = close, hurry, discard
        self.loop: asyncio.AbstractEventLoop | None = None
        self._generator: AsyncGenerator[None, None] | None = None
        self._over = False

    def watch(self) -> None:
        """Begin, in the running loop."""
        self.loop = asyncio.get_running_loop()
        _watching.add(self)
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
                with _interrupts_handled(self._hurry, self.discard):
                    await self._close()

    async def aclose(self) -> None:
        """The session is closed: nothing is called any more."""
        if not self._over and self._generator is not None:
            self._over = True
            await self._generator.aclose()


# Those of all sessions that were used and are not collected yet.
_watching: WeakSet[LoopEnd] = WeakSet()


def discard_all(loop: asyncio.AbstractEventLoop) -> None:
    """The process ends at once: every session of the loop names what may still be
    running.
    """
    for each in list(_watching):
        if each.loop is loop:
            each.discard()


@contextmanager
def _interrupts_handled(
    hurry: Callable[[], object], discard: Callable[[], object]
) -> Generator[None, None, None]:
    """At its end, `asyncio.run` no longer handles Ctrl-C: it would break off the loop, and
    everything in it. Instead, the first one calls `hurry` in the loop. The second one
    calls `discard`, and is raised. A handler of the program stays as it is.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not in_main_thread or before is not signal.default_int_handler:
        yield
        return
    loop, count = asyncio.get_running_loop(), 0

    def interrupt(number: int, _: object) -> None:
        nonlocal count
        count += 1
        if count > 1:
            discard()
            signal.default_int_handler(number, None)
        loop.call_soon_threadsafe(hurry)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
