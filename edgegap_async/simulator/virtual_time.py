"""An event loop whose clock jumps: what waits twenty seconds takes as long as what it
does meanwhile.

    runs callbacks -> a socket ready?            -> its callbacks, the clock stays
                      work in a thread?          -> wait for it, the clock runs as the
                      real one does
                      a timer?                   -> the clock jumps to it
                      none of these              -> wait for a socket, the clock stays

Sockets are real, so client and server must share the loop: of a peer elsewhere nobody
knows that it is about to answer.
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

# About what a turn of a loop costs. Code that asks for the time until it has moved
# (aiolimiter rounds a wait down and looks again) would spin for ever under a clock that
# stands still between two jumps.
_TURN = 1e-6
# Never zero, as no real monotonic clock is, and low, so that a nanosecond is not lost
# in the rounding.
_START = 1000.0
# On loopback the kernel hands bytes over within the sender's system call, unless it is
# busy: then it is a matter of some ten microseconds. Paid before each jump, so it must
# stay short.
_GRACE = 1e-4
# The loop's own wake-up pipe is always registered; every further descriptor is a
# transport or a listening socket.
_OWN_DESCRIPTORS = 1


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop waits is where its clock can jump."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.now = _START
        # jobs that are out in threads: real work takes real time
        self.threads = 0
        self._grace = grace

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += _TURN
        if self.threads and timeout != 0:
            return self._select_in_real_time(timeout)
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(0)
        if not events and len(self.get_map()) > _OWN_DESCRIPTORS:
            events = self._linger()
        if not events:
            self.now += timeout
        return events

    def _select_in_real_time(
        self, timeout: float | None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.perf_counter()
        events = super().select(timeout)
        self.now += time.perf_counter() - began
        return events

    def _linger(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Ask again and again for a moment: epoll itself waits no less than a
        millisecond.
        """
        until = time.perf_counter() + self._grace
        while True:
            # gives the processor to the kernel's threads, should the bytes be with them
            time.sleep(0)
            events = super().select(0)
            if events or time.perf_counter() >= until:
                return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time: while nothing is to be done, its clock
    jumps to the next timer.

    Tests of code that waits then take no time, and the same run gives the same times.
    Real sockets on loopback work as long as both ends are on this loop, so a client and
    the `Simulator` can be tested together. While a job is out in a thread
    (`run_in_executor`, `asyncio.to_thread`, the look-up of a host name) the clock runs
    as the real one does. With no timer and no socket ready it waits for real. Other
    processes, and threads that nobody awaits, are not waited for: to them the clock
    flies.

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    With pytest-asyncio, in `conftest.py`:

        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualTimeLoop}

    Args:
        grace: real seconds in which open connections are watched before each jump, in
            case that bytes are still on their way through the kernel.
    """

    def __init__(self, grace: float = _GRACE) -> None:
        self._clock = _JumpingSelector(grace)
        super().__init__(self._clock)

    def time(self) -> float:
        """The virtual time, in seconds. It moves by jumps, and by about a microsecond
        with each turn of the loop.
        """
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As in any loop; until the job is done or given up, the clock runs as the real
        one does.
        """
        job = super().run_in_executor(executor, func, *args)
        self._clock.threads += 1
        job.add_done_callback(self._thread_done)
        return job

    def _thread_done(self, _: object) -> None:
        self._clock.threads -= 1

    # `Runner` joins the threads within a time limit, which must not jump.
    if sys.version_info >= (3, 12):

        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            """As in any loop; `timeout` in real seconds."""
            self._clock.threads += 1
            try:
                await super().shutdown_default_executor(timeout)
            finally:
                self._clock.threads -= 1
