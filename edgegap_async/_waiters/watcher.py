"""The watcher of a session: one background task polls for all waiters.

It runs only while there are waiters. See `_waiters/__init__.py`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import Context
from copy import copy
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from .._deploys.existence import Existence
from .._deploys.records import Records
from .._transport.client import Transport
from ..errors import (
    DeadlineExceeded,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
    SessionClosed,
)
from ..models.deployment import ReadyDeployment
from ..probes import Probe
from .filter_health import FilterHealth
from .poller import Poller
from .recent_events import RecentEvents
from .schedule import Goal, ListState, Outcome, Schedule, Waiter, WaitFuture, WaitHandle
from .stream import ReadyStream

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
    """The waiters of a session, and the task that polls for them.

    Args:
        records: the records of the session's deployments.
        existence: decides whether a 404 means that a deployment is gone.
    """

    def __init__(
        self, transport: Transport, records: Records, existence: Existence
    ) -> None:
        self._transport, self._records = transport, records
        self._schedule, self._health = Schedule(), FilterHealth()
        self._poller = Poller(transport, self._schedule, self._health, existence)
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        # Status polls in progress.
        self._single: set[asyncio.Task[None]] = set()
        # Lists and sweeps in progress.
        self._lists: set[asyncio.Task[None]] = set()
        self._events = RecentEvents(records)
        # Seconds from the acceptance of a deploy to READY.
        self._starts: deque[float] = deque(maxlen=STARTS)

    def receive(self, event: "WebhookEvent") -> None:
        """Process a webhook of a deployment of this session."""
        request_id, now = event.request_id, asyncio.get_running_loop().time()
        self._schedule.webhook_arrived()
        self._events.receive(event, now)
        self._health.forget(request_id)
        for waiter in self._schedule.find(request_id):
            outcome = self._events.outcome(request_id, waiter.goal, now)
            if waiter.listed and isinstance(outcome, ReadyDeployment):
                # A later list should show the deployment. If so, the filter works, and
                # no status poll is needed to check it.
                self._health.not_shown(request_id, now)
            self._schedule.receive(waiter, outcome)
        self._changed.set()

    def stopping(self, request_id: str) -> None:
        """Record that a stop was accepted, or that a deployment is gone."""
        self._events.ends(request_id, asyncio.get_running_loop().time())
        self._health.forget(request_id)
        for waiter in self._schedule.find(request_id):
            self._schedule.poll_soon(waiter)
        self._changed.set()

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
        handle, outcome = await self._until(request_id, "ready", timeout)
        if isinstance(outcome, EdgegapError):
            raise outcome
        if probe and not await self._passed(probe, outcome, handle):
            raise self._timeout_error(handle, probing=True)
        return outcome

    async def _passed(
        self, probe: Probe, server: ReadyDeployment, handle: WaitHandle
    ) -> bool:
        """Return whether the probe ends in time.

        A TimeoutError that the probe itself raises is raised to the caller. It does not
        count as the time-out of the wait.
        """
        own: list[TimeoutError] = []

        async def ask() -> None:
            try:
                await probe(server)
            except TimeoutError as error:
                own.append(error)

        ended = await self._transport.wait(ask(), handle.deadline)
        if own:
            raise own[0]
        return ended

    async def until_stopped(self, request_id: str, timeout: float | None) -> None:
        """Wait until a deployment is gone.

        Args:
            request_id: the deployment.
            timeout: seconds. None: no limit.

        Raises:
            DeadlineExceeded: the deployment is not gone in time.
        """
        _, outcome = await self._until(request_id, "stopped", timeout)
        if isinstance(outcome, EdgegapError) and not isinstance(
            outcome, DeploymentTerminated
        ):
            raise outcome

    async def _until(
        self, request_id: str, goal: Goal, timeout: float | None
    ) -> tuple[WaitHandle, Outcome]:
        handle = self._join(request_id, goal, timeout)
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
            self._join(request_id, "ready", timeout)
            for request_id in dict.fromkeys(request_ids)
        ]
        try:
            yield ReadyStream(handles, self._transport.wait, self._result)
        finally:
            for handle in handles:
                self._leave(handle)

    def _join(self, request_id: str, goal: Goal, timeout: float | None) -> WaitHandle:
        loop = self._transport.enter()
        now = loop.time()
        deadline = None if timeout is None else now + timeout
        waiter = self._schedule.get(request_id, goal) or self._new(
            request_id, goal, now
        )
        future: WaitFuture = loop.create_future()
        waiter.callers[future] = deadline
        if outcome := self._events.outcome(request_id, goal, now):
            self._schedule.receive(waiter, outcome)
        else:
            self._wake()
        return WaitHandle(waiter, future, timeout, deadline)

    def _new(self, request_id: str, goal: Goal, now: float) -> Waiter:
        record = self._records.get(request_id)
        accepted, hooked = -inf, False
        if record and record.accepted_at is not None and record.ready_after is None:
            accepted, hooked = record.accepted_at, record.hooked
        first = accepted + min(
            FIRST_POLL * min(self._starts, default=0.0), LATEST_FIRST_POLL
        )
        waiter = Waiter(
            request_id,
            goal,
            now,
            now if goal == "stopped" else max(now, first),
            hooked=hooked,
        )
        self._schedule.add(waiter)
        return waiter

    def _leave(self, handle: WaitHandle) -> None:
        waiter = handle.waiter
        self._schedule.leave(waiter, handle.future)
        if not waiter.callers and waiter.poll_task:
            # The poll would take a slot that others need.
            waiter.poll_task.cancel()
        if not self._schedule:
            self._changed.set()

    def _result(self, handle: WaitHandle) -> Outcome:
        """End the wait of a caller, and return its outcome."""
        self._leave(handle)
        future = handle.future
        outcome = future.result() if future.done() and not future.cancelled() else None
        if outcome is None:
            return self._timeout_error(handle)
        if isinstance(outcome, ReadyDeployment):
            self._learn(outcome.request_id)
            return outcome
        if isinstance(outcome, DeploymentTerminated):
            self._events.ends(outcome.request_id, asyncio.get_running_loop().time())
        # Each caller raises its own copy: a raised error collects its own traceback.
        own = copy(outcome)
        own.__cause__ = outcome.__cause__
        return own

    def _timeout_error(
        self, handle: WaitHandle, *, probing: bool = False
    ) -> EdgegapError:
        waiter = handle.waiter
        if self._transport.closed:
            return SessionClosed(
                f"the session was closed during the wait for {waiter.request_id}"
            )
        late: EdgegapError = ReadyTimeout(
            waiter.request_id, handle.timeout or 0.0, waiter.last, probing=probing
        )
        if waiter.goal == "stopped":
            text = f"deployment {waiter.request_id} was not gone within {handle.timeout or 0:g} s"
            late = DeadlineExceeded(text, request_sent=True)
        late.__cause__ = waiter.failure or _status_timeout(
            waiter, asyncio.get_running_loop().time()
        )
        log.info("wait failed: %s", late, extra={"request_id": waiter.request_id})
        return late

    def _learn(self, request_id: str) -> None:
        record = self._records.get(request_id)
        if record is None or record.accepted_at is None or record.ready_after:
            return
        record.ready_after = asyncio.get_running_loop().time() - record.accepted_at
        self._starts.append(record.ready_after)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that must end with the session."""
        return [self._task] if self._task else []

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(
                self._run(), name="edgegap watcher", context=Context()
            )
            self._task.add_done_callback(self._asleep)

    def _asleep(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            log.error("watcher crashed", exc_info=error)
        elif self._schedule and not self._transport.closed:
            # A waiter was added after the task had decided to end.
            self._wake()

    async def _run(self) -> None:
        """Poll while there are waiters."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while self._schedule:
                self._changed.clear()
                now = loop.time()
                self._plan(group, now)
                due = self._schedule.next_due(now)
                try:
                    async with asyncio.timeout_at(None if due == inf else due):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            for poll in self._single | self._lists:
                poll.cancel()

    def _plan(self, group: asyncio.TaskGroup, now: float) -> None:
        """Start all polls that are due now."""
        schedule, health = self._schedule, self._health
        while len(self._single) < MOST_POLLS:
            waiter = schedule.next_status(
                now, proven=health.proven, failing=health.failing
            )
            if waiter is None:
                break
            waiter.poll_task = self._begin(
                group, self._single, partial(self._poller.poll_status, waiter)
            )
        if not health.lists_work(now):
            return
        if not health.filters_trusted(now):
            if not self._lists and (waiters := schedule.next_sweep(now)):
                self._begin(
                    group,
                    self._lists,
                    partial(self._poller.sweep, waiters, filtered=False),
                )
            return
        while len(self._lists) < (1 if health.failing else MOST_LISTS) and (
            poll := self._next_list(now)
        ):
            self._begin(group, self._lists, poll)

    def _next_list(self, now: float) -> Callable[[], Awaitable[None]] | None:
        rest: tuple[ListState, ...] = (
            ("any", "error")
            if self._poller.ready_lists >= self._schedule.lists_between
            else ()
        )
        for state in (*rest, "ready"):
            if chunk := self._schedule.next_list(now, self._health.room, state):
                if state == "any":
                    return partial(self._poller.sweep, chunk, filtered=True)
                return partial(self._poller.poll_list, chunk, state)
        return None

    def _begin(
        self,
        group: asyncio.TaskGroup,
        in_progress: set[asyncio.Task[None]],
        poll: Callable[[], Awaitable[None]],
    ) -> asyncio.Task[None]:
        task = group.create_task(self._logged(poll))
        in_progress.add(task)

        def over(task: asyncio.Task[None]) -> None:
            in_progress.discard(task)
            self._changed.set()

        task.add_done_callback(over)
        return task

    async def _logged(self, poll: Callable[[], Awaitable[None]]) -> None:
        try:
            await poll()
        except Exception:
            log.exception("poll crashed, retrying")


def _status_timeout(waiter: Waiter, now: float) -> EdgegapError | None:
    """Return an error for a status poll that has no answer so far."""
    if not waiter.status_unavailable(now):
        return None
    text = f"the status of {waiter.request_id} was not answered within {now - waiter.polled_at:.3g} s"
    return DeadlineExceeded(text, request_sent=True)
