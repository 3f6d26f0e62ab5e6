"""The waiters for READY of a session: one background task polls for all of them.

It runs only while there are waiters. See `_waiters/__init__.py`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from .._records.existence import Existence
from .._records.lifecycle import Lifecycle
from .._records.records import Records
from .._transport.client import Transport
from .._transport.deadlines import loop_time
from ..errors import (
    ApiError,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
    SessionClosed,
)
from ..models.deployment import EndReason, ReadyDeployment
from ..probes import Probe, finish_probe, started_probe
from .end_lists import EndLists
from .end_watcher import EndWatcher
from .filter_health import FilterHealth
from .outcomes import Outcome
from .poll_loop import PollLoop
from .poller import Poller
from .recent_events import RecentEvents
from .schedule import ListState, ReadyWaiter, Schedule
from .stream import ReadyStream
from .waiter import WaitHandle, join

# Most sessions use no webhooks, so they need not import that module.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

log: logging.Logger = logging.getLogger("edgegap_async")
# Status polls and lists in progress at a time. A bound is needed: while a poll waits
# for a slot, its waiter can't be part of a list.
MOST_POLLS, MOST_LISTS = 20, 4
# The first poll is due after this part of the shortest recent time to READY. An earlier
# poll would find nothing.
FIRST_POLL = 0.8
# Seconds after which the first poll is due at the latest: a deployment whose image is
# cached may be faster than all before it.
LATEST_FIRST_POLL = 2.0
# How many times to READY are kept.
STARTS = 20


class Watcher:
    """The waiters for READY of a session, and the task that polls for them.

    Args:
        records: the records of the session's deployments.
        existence: decides whether a 404 means that a deployment is gone.
        lifecycle: is told of servers that are READY, or have ended.

    Attributes:
        ends: the waiters for an end.
        end_lists: looks at many deployments.
    """

    def __init__(
        self,
        transport: Transport,
        records: Records,
        existence: Existence,
        lifecycle: Lifecycle,
    ) -> None:
        self._transport, self._records = transport, records
        self._lifecycle = lifecycle
        self._schedule, self._health = Schedule(), FilterHealth()
        self._poller = Poller(transport, self._schedule, self._health, existence)
        self._loop = PollLoop("edgegap watcher", transport, self)
        # Status polls in progress.
        self._single: set[asyncio.Task[None]] = set()
        # Lists and sweeps in progress.
        self._lists: set[asyncio.Task[None]] = set()
        # Waiters whose callers have left during a status poll.
        self._lingering: dict[str, ReadyWaiter] = {}
        self._events = RecentEvents(records)
        self.end_lists: EndLists = EndLists(transport, existence)
        self.ends: EndWatcher = EndWatcher(
            transport, existence, self.end_lists, self._events, lifecycle
        )
        # Seconds from the acceptance of a deploy to READY.
        self._starts: deque[float] = deque(maxlen=STARTS)

    def receive(self, event: "WebhookEvent") -> None:
        """Process a webhook of a deployment of this session."""
        request_id, now = event.request_id, loop_time()
        self._schedule.webhook_arrived()
        self._events.receive(event, now)
        self._health.forget(request_id)
        self.ends.learn(request_id)
        outcome = self._events.outcome(request_id, now)
        self._report(request_id, outcome)
        if (waiter := self._schedule.waiters.get(request_id)) is None:
            return
        if waiter.listed and isinstance(outcome, ReadyDeployment):
            # A later list should show the deployment. If so, the filter works, and no
            # status poll is needed to check it.
            self._health.not_shown(request_id, now)
        self._schedule.receive(waiter, outcome)
        self._loop.notify()

    def stopping(self, request_id: str) -> None:
        """Record that a stop was accepted, or that a deployment is gone."""
        self._events.ends(request_id, loop_time())
        self._health.forget(request_id)
        self.ends.learn(request_id)
        if waiter := self._schedule.waiters.get(request_id):
            self._schedule.poll_soon(waiter)
            self._loop.notify()

    async def until_ready(
        self, request_id: str, timeout: float | None, probe: Probe | None = None
    ) -> ReadyDeployment:
        """Wait until a deployment is READY and its probe has returned.

        Args:
            request_id: the deployment.
            timeout: seconds. None: no limit.
            probe: awaited once the deployment is READY.

        Raises:
            DeploymentFailed, DeploymentTerminated: the deployment will never be READY.
            ReadyTimeout: the deployment is not READY in time, or its probe takes too
                long.
        """
        handle, outcome = await self._until(request_id, timeout)
        if isinstance(outcome, EdgegapError):
            raise outcome
        if probe and not await self._passed(probe, outcome, handle):
            raise self._timeout_error(handle, probing=True)
        return outcome

    async def _passed(
        self, probe: Probe, server: ReadyDeployment, handle: WaitHandle[Outcome]
    ) -> bool:
        """Return whether the probe ends in time.

        A TimeoutError that the probe itself raises is raised to the caller. It does not
        count as the time-out of the wait.
        """
        own: list[TimeoutError] = []

        async def ask() -> None:
            try:
                await finish_probe(started_probe("probe", probe, server))
            except TimeoutError as error:
                own.append(error)

        ended = await self._transport.wait(ask(), handle.deadline)
        if own:
            raise own[0]
        return ended

    async def _until(
        self, request_id: str, timeout: float | None
    ) -> tuple[WaitHandle[Outcome], Outcome]:
        handle = self._join(request_id, timeout)
        try:
            await self._transport.wait(handle.future, handle.deadline)
            return handle, self._result(handle)
        finally:
            self._leave(handle)

    @asynccontextmanager
    async def many(
        self, request_ids: Iterable[str], timeout: float | None
    ) -> AsyncGenerator[ReadyStream, None]:
        """Open a stream of the outcomes of many waits for READY."""
        handles = [
            self._join(request_id, timeout) for request_id in dict.fromkeys(request_ids)
        ]
        stream = ReadyStream(handles, self._transport.wait, self._result)
        try:
            yield stream
        finally:
            stream.close()
            for handle in handles:
                self._leave(handle)

    def _join(self, request_id: str, timeout: float | None) -> WaitHandle[Outcome]:
        now = self._transport.enter().time()
        waiter = self._schedule.waiters.get(request_id)
        if waiter is None:
            waiter = self._lingering.pop(request_id, None) or self._new(request_id, now)
            if waiter.poll:
                waiter.poll.left = False
            self._schedule.add(waiter)
        handle = join(self._transport, waiter, timeout)
        if outcome := self._events.outcome(request_id, now):
            self._schedule.receive(waiter, outcome)
        else:
            self._loop.wake()
        return handle

    def _new(self, request_id: str, now: float) -> ReadyWaiter:
        record = self._records.get(request_id)
        accepted, hooked = -inf, False
        if record and record.accepted_at is not None and record.ready_after is None:
            accepted, hooked = record.accepted_at, record.hooked
        first = accepted + min(
            FIRST_POLL * min(self._starts, default=0.0), LATEST_FIRST_POLL
        )
        return ReadyWaiter(request_id, now, max(now, first), hooked=hooked)

    def _leave(self, handle: WaitHandle[Outcome]) -> None:
        waiter = self._schedule.waiters.get(handle.waiter.request_id)
        if waiter is None or waiter is not handle.waiter:
            # It has its outcome.
            handle.waiter.callers.pop(handle.future, None)
            return
        self._schedule.leave(waiter, handle.future)
        left, now = not waiter.callers, loop_time()
        if left and waiter.leave(now) and waiter.poll_task:
            self._lingering[waiter.request_id] = waiter
            # It does not count as one of those that others wait for.
            self._single.discard(waiter.poll_task)
        if not self._schedule:
            self._loop.notify()

    def _result(self, handle: WaitHandle[Outcome]) -> Outcome:
        """End the wait of a caller, and return its outcome."""
        self._leave(handle)
        future = handle.future
        outcome = future.result() if future.done() and not future.cancelled() else None
        if outcome is None:
            return self._timeout_error(handle)
        self._report(handle.waiter.request_id, outcome)
        if isinstance(outcome, ReadyDeployment):
            self._learn(outcome.request_id)
            return outcome
        if isinstance(outcome, DeploymentTerminated):
            self._events.ends(outcome.request_id, loop_time())
        # Each caller raises its own copy: a raised error collects its own traceback.
        own = copy(outcome)
        own.__cause__ = outcome.__cause__
        return own

    def _report(self, request_id: str, outcome: Outcome | None) -> None:
        if isinstance(outcome, ReadyDeployment):
            self._lifecycle.ready(request_id)
        elif isinstance(outcome, DeploymentFailed):
            self._lifecycle.ended(request_id, EndReason.FAILED)
        elif isinstance(outcome, DeploymentTerminated):
            not_found = isinstance(outcome.__cause__, ApiError)
            reason = EndReason.GONE if not_found else EndReason.STOPPED
            self._lifecycle.ended(request_id, reason)

    def _timeout_error(
        self, handle: WaitHandle[Outcome], *, probing: bool = False
    ) -> EdgegapError:
        waiter = handle.waiter
        if self._transport.closed:
            return SessionClosed(
                f"the session was closed during the wait for {waiter.request_id}"
            )
        late: EdgegapError = ReadyTimeout(
            waiter.request_id, handle.timeout or 0.0, waiter.last, probing=probing
        )
        late.__cause__ = waiter.failure or waiter.status_timeout(loop_time())
        log.info("wait failed: %s", late, extra={"request_id": waiter.request_id})
        return late

    def _learn(self, request_id: str) -> None:
        record = self._records.get(request_id)
        if record is None or record.accepted_at is None or record.ready_after:
            return
        record.ready_after = loop_time() - record.accepted_at
        self._starts.append(record.ready_after)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that must end with the session."""
        return self._loop.tasks

    def waiting(self) -> bool:
        """Whether there are waiters, or answers that callers may come back for."""
        return bool(self._schedule or self._lingering)

    def plan(self, now: float) -> None:
        """Begin all polls that are due now."""
        schedule, health = self._schedule, self._health
        while len(self._single) < MOST_POLLS:
            waiter = schedule.next_status(
                now, proven=health.proven, failing=health.failing
            )
            if waiter is None:
                break
            waiter.poll_task = self._loop.begin(
                self._single,
                partial(self._poll_status, waiter),
                self._lifecycle.causes((waiter.request_id,)),
            )
        if not health.lists_work(now):
            return
        if not health.filters_trusted(now):
            if not self._lists and (waiters := schedule.next_sweep(now)):
                sweep = partial(self._poller.sweep, waiters, filtered=False)
                self._begin_list(sweep, waiters)
            return
        while len(self._lists) < (1 if health.failing else MOST_LISTS) and (
            poll := self._next_list(now)
        ):
            self._begin_list(*poll)

    def _begin_list(
        self, poll: Callable[[], Awaitable[None]], request_ids: Iterable[str]
    ) -> None:
        self._loop.begin(self._lists, poll, self._lifecycle.causes(request_ids))

    def next_due(self, now: float) -> float:
        """When the next poll may be due."""
        return self._schedule.next_due(now)

    def _next_list(
        self, now: float
    ) -> tuple[Callable[[], Awaitable[None]], Iterable[str]] | None:
        """The list that is due, and the deployments that it is for."""
        rest: tuple[ListState, ...] = (
            ("any", "error")
            if self._poller.ready_lists >= self._schedule.lists_between
            else ()
        )
        room, spacing = self._health.room, self._transport.limiters["list"].spacing
        for state in (*rest, "ready"):
            if chunk := self._schedule.next_list(now, room, state, spacing):
                if state == "any":
                    return partial(self._poller.sweep, chunk, filtered=True), chunk
                return partial(self._poller.poll_list, chunk, state), chunk
        return None

    async def _poll_status(self, waiter: ReadyWaiter) -> None:
        try:
            await self._poller.poll_status(waiter)
        finally:
            if self._lingering.get(waiter.request_id) is waiter:
                del self._lingering[waiter.request_id]
                self._loop.notify()
                if isinstance(waiter.outcome, ReadyDeployment):
                    now = loop_time()
                    self._events.seen(waiter.outcome, now)
