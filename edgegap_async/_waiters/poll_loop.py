"""The background task that polls for waiters. It runs only while there are waiters."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Protocol

from .._transport.client import Transport
from .._transport.request import Withdrawn
from .._transport.trace import background

log: logging.Logger = logging.getLogger("edgegap_async")


class Plan(Protocol):
    """What a loop polls for."""

    def waiting(self) -> bool:
        """Whether the loop goes on."""
        ...

    def plan(self, now: float) -> None:
        """Begin all polls that are due now."""
        ...

    def next_due(self, now: float) -> float:
        """When the next poll may be due. Infinity: not before `notify`."""
        ...


class PollLoop:
    """Runs a plan, again whenever something has changed or a poll is due.

    Args:
        name: of the task.
    """

    def __init__(self, name: str, transport: Transport, plan: Plan) -> None:
        self._name, self._transport, self._plan = name, transport, plan
        self._task: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()
        self._changed = asyncio.Event()
        # All polls in progress.
        self._polls: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that must end with the session."""
        return [self._task] if self._task else []

    def notify(self) -> None:
        """Something has changed: look at the plan again."""
        self._changed.set()

    def wake(self) -> None:
        """There is a waiter: begin, if the task does not run."""
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(
                self._run(), name=self._name, context=background()
            )
            self._task.add_done_callback(self._asleep)

    def begin(
        self,
        in_progress: set[asyncio.Task[None]],
        poll: Callable[[], Awaitable[None]],
        causes: Iterable[int] = (),
    ) -> asyncio.Task[None]:
        """Begin a poll, from `Plan.plan`.

        Args:
            in_progress: holds its task until it has ended.
            causes: the numbers of the calls that it is for.
        """
        task = self._group.create_task(_logged(poll), context=background(causes))
        in_progress.add(task)
        self._polls.add(task)

        def over(task: asyncio.Task[None]) -> None:
            in_progress.discard(task)
            self._polls.discard(task)
            self._changed.set()

        task.add_done_callback(over)
        return task

    def _asleep(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if self._transport.in_child:
            # It polls in the parent.
            return
        if not task.cancelled() and (error := task.exception()):
            log.error("watcher crashed", exc_info=error)
        elif self._plan.waiting() and not self._transport.closed:
            # A waiter was added after the task had decided to end.
            self.wake()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._group = asyncio.TaskGroup()
        async with self._group:
            while self._plan.waiting():
                self._changed.clear()
                now = loop.time()
                self._plan.plan(now)
                due = self._plan.next_due(now)
                try:
                    async with asyncio.timeout_at(None if due == inf else due):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            for poll in self._polls:
                poll.cancel()


async def _logged(poll: Callable[[], Awaitable[None]]) -> None:
    try:
        await poll()
    except Withdrawn:
        # Nobody waits for it any more.
        pass
    except Exception:
        log.exception("poll crashed, retrying")
