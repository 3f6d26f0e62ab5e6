"""An event loop in virtual time: a wait of twenty seconds takes no real time.

After the callbacks of each turn:

    a job in a thread?   -> wait for it; the clock runs in real time
    a socket is ready?   -> run its callbacks; the clock stands still
    a timer is set?      -> the clock jumps to it
    none of these        -> wait for a socket; the clock stands still

Sockets are real, so client and server must share the loop: it can't know that a peer
elsewhere is about to respond.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# In seconds: about the cost of one turn of a real loop. Code that polls the clock until
# it moves (aiolimiter rounds a wait down and checks again) would spin forever under a
# clock that stands still between jumps.
_TURN = 1e-6
# In seconds. Not zero, as no real monotonic clock starts there, and low, so that
# rounding does not lose a nanosecond.
_START = 1000.0
# In seconds. On loopback the kernel delivers bytes within the sender's system call. A
# busy kernel takes some ten microseconds more. Each jump of the clock pays this, so it
# must be short.
_GRACE = 1e-4
# The loop's own wake-up pipe is always registered; each further descriptor is a
# transport or a listening socket.
_OWN_DESCRIPTORS = 1


class _JumpingSelector(selectors.DefaultSelector):
    """A selector whose clock jumps where a real one would wait."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.now = _START
        # The number of jobs in threads. Real work takes real time.
        self.threads = 0
        # Up to this real time, the clock has followed the real one.
        self._followed = 0.0
        self._grace = grace

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += _TURN
        if self.threads:
            events = super().select(timeout)
            self._follow()
            return events
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(0)
        if not events and len(self.get_map()) > _OWN_DESCRIPTORS:
            events = self._linger()
        if not events:
            self.now += timeout
        return events

    def thread_started(self) -> None:
        # Counted from here, not from the next wait: the job starts at once.
        if not self.threads:
            self._followed = time.perf_counter()
        self.threads += 1

    def thread_ended(self) -> None:
        self.threads -= 1

    def _follow(self) -> None:
        real = time.perf_counter()
        self.now += real - self._followed
        self._followed = real

    def _linger(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll for a moment; epoll itself can't wait less than a millisecond."""
        until = time.perf_counter() + self._grace
        while True:
            # Lets the kernel's threads run, in case they hold the bytes.
            time.sleep(0)
            events = super().select(0)
            if events or time.perf_counter() >= until:
                return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time: when it is idle, its clock jumps to the
    next timer.

    Tests of code that waits then take no time, and each run gives the same times. Real
    sockets on loopback work if both ends are on this loop, so a client and the
    `Simulator` can be tested together. While a job runs in a thread (`run_in_executor`,
    `asyncio.to_thread`, a host name look-up), the clock runs in real time. Without a
    timer or a ready socket the loop waits in real time. It does not wait for other
    processes, nor for threads that no code awaits: for them the clock is far too fast.

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    With pytest-asyncio, in `conftest.py`:

        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualTimeLoop}

    Args:
        grace: Real seconds for which open connections are polled before each jump, in
            case bytes are still on their way through the kernel.
    """

    def __init__(self, grace: float = _GRACE) -> None:
        self._clock = _JumpingSelector(grace)
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time in seconds.

        It advances by jumps, and by about a microsecond with each turn of the loop.
        """
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run a job in a thread. Until it ends, the clock runs in real time."""
        self._clock.thread_started()
        try:
            job = super().run_in_executor(executor, func, *args)
        except BaseException:
            self._clock.thread_ended()
            raise
        job.add_done_callback(self._thread_done)
        return job

    def _thread_done(self, _: object) -> None:
        self._clock.thread_ended()

    # `Runner` joins the threads with a timeout, which must be in real time.
    if sys.version_info >= (3, 12):

        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            """Join the threads; `timeout` is in real seconds."""
            self._clock.thread_started()
            try:
                await super().shutdown_default_executor(timeout)
            finally:
                self._clock.thread_ended()
