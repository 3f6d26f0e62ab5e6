"""An event loop in virtual time: a wait of twenty seconds takes no real time.

After the callbacks of each turn, the loop does the first of these that applies:

    a job runs in a thread   -> wait for it; the clock runs in real time
    a socket is ready        -> run its callbacks; the clock does not move
    a timer is set           -> set the clock to its time
    none of these            -> wait for a socket; the clock does not move

Sockets are real. So client and server must share the loop: it can't know that a peer in
another process is about to respond.
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

# In seconds: about the duration of one turn of a real loop. aiolimiter, for example,
# rounds a wait down and then checks the clock again. If the clock did not move between
# two jumps, such code would loop forever.
_TURN = 1e-6
# In seconds. No real monotonic clock starts at zero. Hardly any machine runs for exactly
# that long, so this clock is not taken for a real one. The value is low enough for
# rounding errors to stay below a nanosecond.
_START = 1_000_000.0
# In seconds. On loopback, the kernel delivers bytes within the system call of the
# sender. A busy kernel may take some ten microseconds more. Each jump of the clock
# takes this time, so it must be short.
_GRACE = 1e-4
# The wake-up pipe of the loop is always registered. Each further descriptor is a
# transport or a listening socket.
_OWN_DESCRIPTORS = 1


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves its clock forward instead of waiting for a timer."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.now = _START
        # The number of jobs in threads. Real work takes real time.
        self.threads = 0
        # The real time at which the clock was last updated while threads run.
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
        # The job starts at once, so its time counts from here, not from the next
        # `select`.
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
        """Poll for a moment. epoll itself can't wait for less than a millisecond."""
        until = time.perf_counter() + self._grace
        while True:
            # A thread of the kernel may have to run before it delivers the bytes.
            time.sleep(0)
            events = super().select(0)
            if events or time.perf_counter() >= until:
                return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time.

    When the loop is idle, its clock jumps to the next timer. So tests of code that
    waits take no time, and each run gives the same times.

    Real sockets on loopback work if both ends are on this loop. So a client and the
    `Simulator` can be tested together. While a job runs in a thread (`run_in_executor`,
    `asyncio.to_thread`, a host name look-up), the clock runs in real time. Without a
    timer or a ready socket, the loop waits in real time. It does not wait for other
    processes, nor for threads that no code awaits. They would see a clock that is far
    too fast.

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    With pytest-asyncio, in `conftest.py`:

        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualTimeLoop}

    Args:
        grace: Real seconds for which open connections are polled before each jump of
            the clock, as bytes may still be on their way through the kernel.
    """

    def __init__(self, grace: float = _GRACE) -> None:
        self._clock = _JumpingSelector(grace)
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time in seconds.

        It jumps to timers, and advances by a microsecond with each turn of the loop.
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

    # `Runner` joins the threads with a time-out, which must be in real time.
    if sys.version_info >= (3, 12):

        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            """Join the threads. `timeout` is in real seconds."""
            self._clock.thread_started()
            try:
                await super().shutdown_default_executor(timeout)
            finally:
                self._clock.thread_ended()
