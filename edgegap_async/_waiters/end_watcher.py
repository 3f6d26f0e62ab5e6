"""The waiters for an end, and the choice of the next poll for them.

    one waiter      its status
    two or more     lists, as many IDs as fit into a URL (`end_lists.py`)
    by status too   a deployment that no list shows, but whose end none confirms; one
                    that is not READY any more, for the reason; all, while lists fail

Lists are paced, so a thousand waiters cost as much as ten thousand: with more of them,
each is looked at less often.
"""

import asyncio
from collections.abc import Mapping
from copy import copy
from functools import partial
from typing import Literal, TypeAlias

from .._records.existence import Existence
from .._records.lifecycle import Lifecycle
from .._transport.client import Transport
from .._transport.deadlines import loop_time
from .._transport.queries import size
from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    SessionClosed,
    is_gone,
    is_permanent,
    seconds_text,
)
from ..models.deployment import DeploymentState, DeploymentStatus, EndReason
from .due_queue import DueQueue
from .end_lists import EndLists, Look
from .outcomes import CONFIRM_AFTER, claim_of, reason_of
from .poll_loop import PollLoop
from .recent_events import RecentEvents
from .schedule import FASTEST, SLOWING
from .waiter import StatusPoll, Waiter, WaitHandle, ask_status, join

# gone: the deployment does not exist any more. ended: it is not READY any more, which
# includes a failed one that exists until it is stopped.
Goal: TypeAlias = Literal["gone", "ended"]
End: TypeAlias = EndReason | EdgegapError
# Status polls in progress at a time.
MOST_POLLS = 20
# Seconds between two lists: fewer than six a second, so that users keep half the limit.
PACE = 0.175
# The most seconds between two polls of a waiter, if the pace allows it. A server whose
# end callers wait for ends soon; one that they only watch runs for an hour.
SLOWEST: Mapping[Goal, float] = {"gone": 0.6, "ended": 2.0}
# Seconds in which a new waiter that no list has shown yet need not be listed.
LIST_LAG = 5.0
# The most seconds between two status polls of a waiter.
SLOWEST_STATUS = 2.0


class EndWaiter(Waiter[End]):
    """A deployment whose end some callers wait for.

    Attributes:
        goal: what its callers wait for.
        key: of its ID and the goal.
        shown: a list has shown it.
    """

    __slots__ = ("goal", "key", "shown")

    def __init__(self, request_id: str, goal: Goal, now: float) -> None:
        super().__init__(request_id, now)
        self.goal: Goal = goal
        self.key: tuple[str, Goal] = (request_id, goal)
        self.shown: bool = False

    def interval(self, now: float, slowest: float) -> float:
        """Seconds between two polls."""
        return min(max(FASTEST, SLOWING * (now - self.began)), slowest)


class EndWatcher:
    """Waits until deployments end.

    Args:
        existence: judges answers that say "not found".
        lists: looks at many deployments.
        events: the last event of each deployment.
        lifecycle: is told of each end.
    """

    def __init__(
        self,
        transport: Transport,
        existence: Existence,
        lists: EndLists,
        events: RecentEvents,
        lifecycle: Lifecycle,
    ) -> None:
        self._transport, self._existence = transport, existence
        self._lifecycle = lifecycle
        self._lists, self._events = lists, events
        self._loop = PollLoop("edgegap end watcher", transport, self)
        self._waiters: dict[tuple[str, Goal], EndWaiter] = {}
        self._by_list: Mapping[Goal, DueQueue[EndWaiter]] = {
            "gone": DueQueue(),
            "ended": DueQueue(),
        }
        self._by_status: DueQueue[EndWaiter] = DueQueue()
        # Waiters whose callers have left during a status poll.
        self._lingering: dict[tuple[str, Goal], EndWaiter] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._next_list = 0.0

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that must end with the session."""
        return self._loop.tasks

    async def until(
        self, request_id: str, goal: Goal, timeout: float | None
    ) -> EndReason:
        """Wait until a deployment ends.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            DeadlineExceeded: it does not end in time.
        """
        self._transport.enter()
        reason = self._events.end(request_id, gone=goal == "gone") or await self._wait(
            request_id, goal, timeout
        )
        self._lifecycle.ended(request_id, reason)
        return reason

    async def _wait(
        self, request_id: str, goal: Goal, timeout: float | None
    ) -> EndReason:
        waiter = self._waiters.get((request_id, goal)) or self._new(request_id, goal)
        handle = join(self._transport, waiter, timeout)
        self._loop.wake()
        try:
            await self._transport.wait(handle.future, handle.deadline)
        finally:
            self._leave(waiter, handle.future)
        return self._result(handle)

    def _new(self, request_id: str, goal: Goal) -> EndWaiter:
        key: tuple[str, Goal] = (request_id, goal)
        now = loop_time()
        waiter = self._lingering.pop(key, None)
        if waiter and waiter.poll:
            # Its status poll is under way.
            waiter.poll.left = False
            self._waiters[key] = waiter
        else:
            waiter = self._waiters[key] = EndWaiter(request_id, goal, now)
            self._enqueue(waiter, now)
        return waiter

    def _leave(self, waiter: EndWaiter, caller: asyncio.Future[End | None]) -> None:
        waiter.callers.pop(caller)
        if waiter.callers or self._waiters.get(waiter.key) is not waiter:
            return
        self._drop(waiter)
        if waiter.leave(loop_time()) and waiter.poll_task:
            self._lingering[waiter.key] = waiter
            # It does not count as one of those that others wait for.
            self._polls.discard(waiter.poll_task)

    def _result(self, handle: WaitHandle[End]) -> EndReason:
        future, waiter = handle.future, handle.waiter
        outcome = future.result() if future.done() and not future.cancelled() else None
        if isinstance(outcome, EndReason):
            return outcome
        if outcome is not None:
            # Each caller raises its own copy, as a raised error collects its traceback.
            raise copy(outcome) from outcome.__cause__
        if self._transport.closed:
            raise SessionClosed(
                f"the session was closed during the wait for {waiter.request_id}"
            )
        late = DeadlineExceeded(
            f"deployment {waiter.request_id} has not ended within "
            f"{seconds_text(handle.timeout or 0)}",
            request_sent=True,
        )
        now = loop_time()
        raise late from waiter.failure or waiter.status_timeout(now)

    def learn(self, request_id: str) -> None:
        """Something of a deployment may have changed: resolve its waiters, or poll them
        as soon as possible.
        """
        now = loop_time()
        for goal in self._by_list:
            waiter = self._waiters.get((request_id, goal))
            if waiter is None:
                continue
            reason = self._events.end(request_id, gone=goal == "gone")
            if reason:
                self._resolve(waiter, reason, exists=True)
            elif not waiter.listing:
                self._dequeue(waiter)
                self._enqueue(waiter, now)
            self._loop.notify()

    def _resolve(self, waiter: EndWaiter, end: End, *, exists: bool = False) -> None:
        if isinstance(end, EndReason) and not exists:
            now = loop_time()
            self._events.terminated(waiter.request_id, end, now)
        self._drop(waiter)
        waiter.resolve(end)

    def _drop(self, waiter: EndWaiter) -> None:
        if self._waiters.get(waiter.key) is waiter:
            del self._waiters[waiter.key]
            self._dequeue(waiter)
            if not self._waiters:
                self._loop.notify()

    def _dequeue(self, waiter: EndWaiter) -> None:
        self._by_status.discard(waiter)
        self._by_list[waiter.goal].discard(waiter)

    def _enqueue(self, waiter: EndWaiter, due: float, *, status: bool = False) -> None:
        if self._waiters.get(waiter.key) is not waiter:
            return
        alone = len(self._waiters) == 1 and not waiter.status_unavailable(loop_time())
        (self._by_status if status or alone else self._by_list[waiter.goal]).put(
            waiter, due
        )

    def waiting(self) -> bool:
        """Whether there are waiters, or answers that callers may come back for."""
        return bool(self._waiters or self._lingering)

    def plan(self, now: float) -> None:
        """Begin all polls that are due now."""
        while len(self._polls) < MOST_POLLS and (waiter := self._next_status(now)):
            waiter.poll, waiter.polled_at = StatusPoll(), now
            waiter.poll_task = self._loop.begin(
                self._polls,
                partial(self._poll_status, waiter),
                self._lifecycle.causes((waiter.request_id,)),
            )
        self._list_what_hangs(now)
        if self._looks or now < self._next_list or not self._lists.work(now):
            return
        # The one that has been due for longer.
        goal: Goal = min(
            self._by_list, key=lambda goal: self._by_list[goal].first_due()
        )
        if chunk := self._next_chunk(goal, now):
            causes = self._lifecycle.causes(waiter.request_id for waiter in chunk)
            self._loop.begin(self._looks, partial(self._look, goal, chunk, now), causes)

    def _list_what_hangs(self, now: float) -> None:
        """Look by lists at waiters whose status is not answered."""
        if len(self._polls) < len(self._waiters):
            return
        for waiter in self._waiters.values():
            queue = self._by_list[waiter.goal]
            if waiter.status_unavailable(now) and not (
                waiter.listing or waiter in queue
            ):
                queue.put(waiter, now)

    def _next_status(self, now: float) -> EndWaiter | None:
        queues = [self._by_status]
        if not self._lists.work(now):
            queues += self._by_list.values()
        queue = min(queues, key=lambda queue: queue.first_due())
        return queue.pop() if queue.first_due() <= now else None

    def _next_chunk(self, goal: Goal, now: float) -> list[EndWaiter]:
        queue, room, chunk = self._by_list[goal], self._lists.room, list[EndWaiter]()
        if queue.first_due() > now:
            return []
        while waiter := queue.first():
            room -= size([waiter.request_id])
            if room < 0 and chunk:
                break
            chunk.append(queue.pop())
            waiter.listing = True
        return chunk

    def next_due(self, now: float) -> float:
        """When the next poll may be due."""
        dues = [
            queue.first_due() for queue in (self._by_status, *self._by_list.values())
        ]
        soonest = min(dues)
        if soonest > now:
            return min(soonest, now + FASTEST) if self._polls else soonest
        # It waits for the pace, or for the end of another poll.
        return self._next_list if self._next_list > now else now + FASTEST

    async def _look(self, goal: Goal, chunk: list[EndWaiter], began: float) -> None:
        """Look at many deployments by lists."""
        ids, gone, requests = [waiter.request_id for waiter in chunk], set[str](), 1
        try:
            look = await self._lists.look(ids, ready=goal == "ended")
            requests = look.requests
            if goal == "gone":
                gone = {*look.ended}
            elif look.ended and self._lists_find_gone(look, chunk, began):
                second = await self._lists.look([*look.ended], ready=False)
                gone = {*second.ended}
                requests += 2
            for waiter in chunk:
                self._looked_at(waiter, look, gone, began)
        finally:
            self._next_list = began + PACE * requests

    def _lists_find_gone(
        self, look: Look, chunk: list[EndWaiter], began: float
    ) -> bool:
        """Whether lists decide which of those that are not READY any more are gone: there
        are many of them, or statuses are not answered.
        """
        many = len(look.ended) > MOST_POLLS
        return many or any(waiter.status_unavailable(began) for waiter in chunk)

    def _looked_at(
        self, waiter: EndWaiter, look: Look, gone: set[str], began: float
    ) -> None:
        """Resolve a waiter by lists, or say when it is polled next."""
        waiter.listing = False
        if look.shown or look.ended:
            waiter.answered_otherwise()
        if waiter.request_id in gone:
            self._resolve(waiter, EndReason.GONE)
            return
        if waiter.request_id in look.shown:
            waiter.shown = True
            due = began + waiter.interval(began, SLOWEST[waiter.goal])
            self._enqueue(waiter, due)
            return
        # Lists lag: at first, it may not be listed so far.
        lags = not waiter.shown and began - waiter.began < LIST_LAG
        ended = waiter.request_id in look.ended
        due = began + waiter.interval(began, SLOWEST_STATUS)
        if waiter.goal == "ended":
            # Nor is one listed that is not READY yet: its status is not polled after
            # each list.
            due = waiter.polled_at + SLOWEST_STATUS
        self._enqueue(waiter, due, status=ended or not lags)

    async def _poll_status(self, waiter: EndWaiter) -> None:
        began = loop_time()
        try:
            status = await ask_status(self._transport, waiter)
        except EdgegapError as error:
            await self._failed(waiter, error, began)
        else:
            self._seen(waiter, status)
        finally:
            waiter.poll = None
            if self._lingering.get(waiter.key) is waiter:
                del self._lingering[waiter.key]
            self._enqueue(waiter, began + waiter.interval(began, SLOWEST_STATUS))

    def _seen(self, waiter: EndWaiter, status: DeploymentStatus) -> None:
        waiter.answered(status)
        reason, now = reason_of(status), loop_time()
        exists = status.state is not DeploymentState.TERMINATED
        if exists:
            self._existence.seen(waiter.request_id)
        if reason and (waiter.goal == "ended" or not exists):
            self._resolve(waiter, reason, exists=exists)
            return
        claim = claim_of(status)
        word = claim[0] if claim and isinstance(claim[1], EdgegapError) else None
        if waiter.claims(word, now, CONFIRM_AFTER):
            self._resolve(waiter, EndReason.STOPPED, exists=True)

    async def _failed(
        self, waiter: EndWaiter, error: EdgegapError, asked: float
    ) -> None:
        waiter.record_failure(error)
        if not (isinstance(error, ApiError) and is_gone(error)):
            waiter.failed_polls += 1
        if isinstance(error, ApiError) and await self._existence.is_gone(
            self._transport, waiter.request_id, error, asked, waiter.deadline
        ):
            self._resolve(waiter, EndReason.GONE)
        elif not is_permanent(error):
            waiter.answered_otherwise()
        elif waiter.believes(error, loop_time()):
            self._resolve(waiter, error)
