"""What ends calls that wait, and exchanges that are under way.

One timer serves all exchanges: a timer for each would be the dearest part of a call.

As with `asyncio.timeout`, who is late is cancelled, and that cancellation becomes a
time-out where it was entered.
"""

import asyncio
from collections.abc import Collection, Coroutine
from math import inf
from typing import TypeVar

T = TypeVar("T")


class Alarm:
    """The deadline of one exchange, on the loop's clock."""

    __slots__ = ("_cancelling", "_task", "rang", "when")

    def __init__(self, when: float, task: asyncio.Task[object]) -> None:
        self.when = when
        self.rang = False
        self._task = task
        self._cancelling = task.cancelling()

    def ring(self) -> None:
        """Cancel the task."""
        self.rang = True
        self._task.cancel()

    def settle(self) -> None:
        """Take back the request for cancellation that it made, as whoever waits around
        this one counts them.
        """
        self._task.uncancel()

    def is_ours(self) -> bool:
        """Whether a cancellation that arrived is this alarm's, and nobody else's
        besides.
        """
        return self.rang and self._task.cancelling() - 1 <= self._cancelling


class Deadlines:
    """All alarms that are set, and the one timer that looks after them."""

    def __init__(self) -> None:
        self._alarms: set[Alarm] = set()
        # kept: to ask for it is a system call in Python 3.11
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        # when the timer goes off
        self._due = inf

    def enter(self, when: float) -> Alarm:
        """Set an alarm for the running task."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a call of the API must run inside a task")
        alarm = Alarm(when, task)
        self._alarms.add(alarm)
        if when < self._due:
            self._set(self._loop, when)
        return alarm

    def leave(self, alarm: Alarm) -> None:
        """The exchange is over, however it ended. The timer stays: the next one would
        set it again.
        """
        self._alarms.discard(alarm)
        if alarm.rang:
            alarm.settle()

    def _set(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._stop()
        self._timer, self._due = loop.call_at(when, self._look, loop, when), when

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._timer, self._due = None, inf
        for alarm in [alarm for alarm in self._alarms if alarm.when <= due]:
            self._alarms.discard(alarm)
            alarm.ring()
        if self._alarms:
            self._set(loop, min(alarm.when for alarm in self._alarms))

    def ring_all(self) -> None:
        """It is too late for all of them."""
        self._stop()
        for alarm in self._alarms:
            alarm.ring()
        self._alarms.clear()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf


class Waits:
    """The calls that wait for something: for a slot, or for the end of a pause."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._over = False

    async def wait(
        self, waiting: Coroutine[object, object, None], deadline: float | None
    ) -> bool:
        """Wait until the deadline, or until all are ended; False if one of them came
        first.
        """
        if self._over:
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
        """It is too late for all of them, and for whoever comes."""
        self._over = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)


async def finish(
    tasks: Collection[asyncio.Task[T]], end: float
) -> asyncio.CancelledError | None:
    """Wait for tasks until `end`, even if the caller is cancelled meanwhile.

    anyio cancels a task on every turn of the loop until it has left the cancelled
    scope. Each cancellation is caught, so the wait ends when the tasks do.

    Args:
        tasks: they go on when the time is over.
        end: on the loop's clock.

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
    try:
        # The callbacks of tasks that have just ended run in the next turn.
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        cancelled = error
    return cancelled
