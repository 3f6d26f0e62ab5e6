"""Signals that would end a server before its session is closed.

SIGHUP, the loss of the terminal, ends web servers at once, unless it is ignored, as under
nohup. Here it counts as SIGTERM.

Some servers are told to run without a lifespan. At SIGTERM such a server waits for its
requests, then ends the process, and the event loop with it: nothing is called in between.
So the session is closed first, and the server gets the signal after that.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeAlias

from .._run import ONE_SIGNAL

Close: TypeAlias = Callable[[], Awaitable[None]]
# Windows has no SIGHUP.
HANGUP: int | None = getattr(signal, "SIGHUP", None)


def end_on_hangup() -> None:
    """Let SIGHUP end the server as SIGTERM does, if nobody handles it, and a server handles
    SIGTERM.
    """
    if _in_server() and HANGUP and signal.getsignal(HANGUP) is signal.SIG_DFL:
        signal.signal(HANGUP, _as_sigterm)


def restore_hangup() -> None:
    """SIGHUP ends the process as before."""
    if HANGUP and signal.getsignal(HANGUP) is _as_sigterm:
        signal.signal(HANGUP, signal.SIG_DFL)


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _in_server() -> bool:
    """Whether a server runs the application: it handles SIGTERM, and signals can be handled
    in this thread.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and callable(signal.getsignal(signal.SIGTERM))


def close_before_signals(close: Close) -> None:
    """Close something before the server's own handlers of Ctrl-C and SIGTERM are called,
    from now on. A second signal goes to them at once, but one that follows the first
    within 0.2 seconds has the same cause: systemd signals a server and its workers, and
    the server signals its workers too.

    Signals can be handled in the main thread only. In other threads, nothing is done,
    and neither if nobody handles SIGTERM: then no server runs the application, but a
    test, and the session is closed when its loop is shut down.
    """
    if not _in_server():
        return
    closing = _Closing(close)
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            closing.servers[number] = before
            signal.signal(number, closing.handle)


class _Closing:
    """Handles the first signal in the loop that runs now.

    Attributes:
        servers: the handlers from before.
    """

    def __init__(self, close: Close) -> None:
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._first: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.servers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = self._loop.time()
        if self._first is None and not self._loop.is_closed():
            self._first = now
            self._loop.call_soon_threadsafe(self._begin, number)
        elif self._first is None or now > self._first + ONE_SIGNAL:
            self.servers[number](number, frame)

    def _begin(self, number: int) -> None:
        self._task = self._loop.create_task(self._end(number), name="edgegap close")

    async def _end(self, number: int) -> None:
        try:
            await self._close()
        finally:
            self.servers[number](number, None)
