"""Deadlines: of calls, of waits, and of exchanges.

One timer serves all exchanges, as a timer for each would be the most expensive part of
a call. As with `asyncio.timeout`, a task that is late is cancelled, and the cancellation
becomes a time-out where it was entered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from math import inf
from typing import Any

from msgspec import Struct

from ..errors import WrongLoop, seconds_text

# Seconds that `left` gives when the deadline has passed: a call with so little time ends
# at once, and says why.
NO_TIME = 0.001


def running_loop() -> asyncio.AbstractEventLoop:
    """The running loop.

    Raises:
        WrongLoop: no loop of asyncio runs here.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # Not the context of the error: it says nothing about other libraries.
        pass
    raise WrongLoop(
        "no event loop of asyncio runs here, which edgegap_async needs: start it with asyncio.run(). trio is not "
        "supported, nor anyio with its trio backend: run this part in asyncio, in a thread or a process of its own"
    )


def loop_time() -> float:
    """The time on the running loop's clock."""
    return running_loop().time()


class Deadline(Struct, frozen=True, gc=False):
    """The end of a call or a wait.

    Attributes:
        at: on the running loop's clock; None: no end.
        timeout: the seconds that were asked for, for error texts.
    """

    at: float | None
    timeout: float | None

    @classmethod
    def after(
        cls, timeout: float | None, loop: asyncio.AbstractEventLoop | None = None
    ) -> "Deadline":
        """The deadline in so many seconds; None: no end.

        Args:
            loop: the running one, if it is known.
        """
        if timeout is None:
            return cls(None, None)
        return cls((loop or running_loop()).time() + timeout, timeout)

    def left(self) -> float | None:
        """Seconds until the deadline, always above 0; None: no end."""
        if self.at is None:
            return None
        return max(self.at - loop_time(), NO_TIME)

    def over(self, now: float) -> bool:
        """Whether it has passed."""
        return self.at is not None and now >= self.at

    def __str__(self) -> str:
        return "no timeout" if self.timeout is None else seconds_text(self.timeout)


class ExchangeTimeout:
    """The time-out of one exchange.

    Attributes:
        when: on the loop's clock.
        task: it is cancelled by the time-out.
    """

    __slots__ = ("_cancelling", "expired", "task", "when")

    def __init__(self, when: float, task: asyncio.Task[object]) -> None:
        self.when = when
        self.expired = False
        self.task = task
        self._cancelling = task.cancelling()

    def expire(self) -> None:
        """Cancel the task."""
        if not self.expired:
            self.expired = True
            self.task.cancel()

    def problem(self, started: float) -> str | None:
        """Why a cancellation has ended the exchange. None: the caller was cancelled."""
        cancelling = self.task.cancelling()
        if self.expired and cancelling - 1 <= self._cancelling:
            return self._describe(started)
        # aiohttp cancels its own tasks as an HTTP session is closed, and a trace or a
        # resolver of the caller may raise a cancellation.
        return None if cancelling else "the HTTP session was closed, or broke it off"

    def _describe(self, started: float) -> str:
        taken = loop_time() - started
        given_up = taken < self.when - started
        problem = "it was given up after" if given_up else "it took longer than"
        return f"{problem} {min(taken, self.when - started):.3g} s"


class ExchangeTimeouts:
    """The time-outs of all exchanges in progress, and their one timer."""

    def __init__(self) -> None:
        self._timeouts: set[ExchangeTimeout] = set()
        # Kept, as asking for it is a system call in Python 3.11.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        # When the timer fires.
        self._due = inf

    def enter(self, when: float) -> ExchangeTimeout:
        """Set a time-out for the running task."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a call of the API must run inside a task")
        timeout = ExchangeTimeout(when, task)
        self._timeouts.add(timeout)
        if when < self._due:
            self._set(self._loop, when)
        return timeout

    def leave(self, timeout: ExchangeTimeout) -> None:
        """The exchange has ended. The timer stays, as the next one would set it again."""
        self._timeouts.discard(timeout)
        if timeout.expired:
            # Callers around this one count the cancellations of the task.
            timeout.task.uncancel()

    def _set(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._stop()
        self._timer, self._due = loop.call_at(when, self._fire, loop, when), when

    def _fire(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._timer, self._due = None, inf
        for timeout in [each for each in self._timeouts if each.when <= due]:
            self._timeouts.discard(timeout)
            timeout.expire()
        if self._timeouts:
            self._set(loop, min(timeout.when for timeout in self._timeouts))

    def expire_all(self) -> None:
        """End all exchanges."""
        self._stop()
        for timeout in self._timeouts:
            timeout.expire()
        self._timeouts.clear()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf


class OpenWaits:
    """The waits in progress: for a slot, the end of a pause, or a result. All of them
    can be ended at once.
    """

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._ended = False

    async def wait(self, waiting: Awaitable[object], deadline: float | None) -> bool:
        """Wait for anything awaitable.

        Args:
            deadline: on the loop's clock; None: no end.

        Returns:
            False if the deadline or `end_all` came first.
        """
        if self._ended:
            if asyncio.iscoroutine(waiting):
                waiting.close()
            return False
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                self._scopes.add(scope)
                await waiting
        except TimeoutError:
            return False
        finally:
            self._scopes.discard(scope)
        return True

    def end_all(self, now: float) -> None:
        """End all waits, and all that would begin from now on."""
        self._ended = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)


async def finish(
    tasks: Collection[asyncio.Future[Any]],
    end: float,
    cut_short: Callable[[], bool] = bool,
) -> asyncio.CancelledError | None:
    """Wait for tasks until `end`, even if the caller is cancelled meanwhile.

    anyio cancels a task on every turn of the loop until it has left the cancelled
    scope. Each cancellation is caught, so the wait ends when the tasks do.

    Args:
        tasks: they go on when the time is over.
        end: on the loop's clock.
        cut_short: after a cancellation, tells whether not to wait any longer.

    Returns:
        The last cancellation that arrived, for the caller to raise after its cleanup.
    """
    loop = asyncio.get_running_loop()
    cancelled: asyncio.CancelledError | None = None
    while (left := [task for task in tasks if not task.done()]) and loop.time() < end:
        try:
            await asyncio.wait(left, timeout=end - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
            if cut_short():
                break
    try:
        # The callbacks of tasks that have just ended run in the next turn.
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        cancelled = error
    return cancelled
