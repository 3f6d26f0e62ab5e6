"""The watcher behind `wait_until_ready`: one task polls for all waiters of a session,
in the background, while anybody waits. See `_waiters/__init__.py`.
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

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

log: logging.Logger = logging.getLogger("edgegap_async")
# Polls and lists in progress at a time. A waiter whose poll is queued for a slot can't
# join a list any more.
MOST_POLLS, MOST_LISTS = 20, 4
# The first poll comes after this part of the shortest time to READY that was seen.
# Before, there is nothing to see.
FIRST_POLL = 0.8
# Seconds: a server whose image is cached may be quicker than all before it.
LATEST_FIRST_POLL = 2.0
# Times to READY that are remembered.
STARTS = 20


class Watcher:
    """The waiters of one session, and the task that polls for them.

    Args:
        records: know when each deployment was accepted.
        existence: judges answers that say "not found".
    """

    def __init__(
        self, transport: Transport, records: Records, existence: Existence
    ) -> None:
        self._transport, self._records = transport, records
        self._schedule, self._health = Schedule(), FilterHealth()
        self._poller = Poller(transport, self._schedule, self._health, existence)
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        # Status polls.
        self._single: set[asyncio.Task[None]] = set()
        self._lists: set[asyncio.Task[None]] = set()
        self._events = RecentEvents(records)
        # Seconds from accepted to READY.
        self._starts: deque[float] = deque(maxlen=STARTS)

    def receive(self, event: "WebhookEvent") -> None:
        """A webhook of a deployment of this session has arrived."""
        request_id, now = event.request_id, asyncio.get_running_loop().time()
        self._schedule.webhook_arrived()
        self._events.receive(event, now)
        self._health.forget(request_id)
        for wait in self._schedule.find(request_id):
            outcome = self._events.outcome(request_id, wait.goal, now)
            if wait.listed and isinstance(outcome, ReadyDeployment):
                # A list may still show it, which proves the filter without a poll.
                self._health.not_shown(request_id, now)
            self._schedule.receive(wait, outcome)
        self._changed.set()

    def stopping(self, request_id: str) -> None:
        """A stop was accepted, or the deployment is gone."""
        self._events.ends(request_id, asyncio.get_running_loop().time())
        self._health.forget(request_id)
        for wait in self._schedule.find(request_id):
            self._schedule.poll_soon(wait)
        self._changed.set()

    async def until_ready(
        self, request_id: str, timeout: float | None, probe: Probe | None = None
    ) -> ReadyDeployment:
        """Wait until a deployment is READY, and until the probe has returned.

        Args:
            timeout: seconds; None: no end.

        Raises:
            DeploymentFailed, DeploymentTerminated: it will never be READY.
            ReadyTimeout: it is not READY in time.
        """
        place, outcome = await self._until(request_id, "ready", timeout)
        if isinstance(outcome, EdgegapError):
            raise outcome
        if probe and not await self._passed(probe, outcome, place):
            raise self._timeout_error(place, probing=True)
        return outcome

    async def _passed(
        self, probe: Probe, server: ReadyDeployment, place: WaitHandle
    ) -> bool:
        """Whether the probe ends in time. A TimeoutError of its own is an error of the
        probe, not the end of the wait.
        """
        own: list[TimeoutError] = []

        async def ask() -> None:
            try:
                await probe(server)
            except TimeoutError as error:
                own.append(error)

        ended = await self._transport.wait(ask(), place.deadline)
        if own:
            raise own[0]
        return ended

    async def until_stopped(self, request_id: str, timeout: float | None) -> None:
        """Wait until a deployment is gone.

        Args:
            timeout: seconds; None: no end.

        Raises:
            DeadlineExceeded: it is not gone in time.
        """
        _, outcome = await self._until(request_id, "stopped", timeout)
        if isinstance(outcome, EdgegapError) and not isinstance(
            outcome, DeploymentTerminated
        ):
            raise outcome

    async def _until(
        self, request_id: str, goal: Goal, timeout: float | None
    ) -> tuple[WaitHandle, Outcome]:
        place = self._join(request_id, goal, timeout)
        try:
            await self._transport.wait(_over(place.caller), place.deadline)
            return place, self._result(place)
        finally:
            self._leave(place)

    @asynccontextmanager
    async def many(
        self, request_ids: Iterable[str], timeout: float | None
    ) -> AsyncGenerator[ReadyStream, None]:
        """The outcomes of many waits, in the order in which they are known."""
        places = [
            self._join(request_id, "ready", timeout)
            for request_id in dict.fromkeys(request_ids)
        ]
        try:
            yield ReadyStream(places, self._transport.wait, self._result)
        finally:
            for place in places:
                self._leave(place)

    def _join(self, request_id: str, goal: Goal, timeout: float | None) -> WaitHandle:
        loop = self._transport.enter()
        now = loop.time()
        deadline = None if timeout is None else now + timeout
        wait = self._schedule.get(request_id, goal) or self._new(request_id, goal, now)
        caller: WaitFuture = loop.create_future()
        wait.callers[caller] = deadline
        if outcome := self._events.outcome(request_id, goal, now):
            self._schedule.receive(wait, outcome)
        else:
            self._wake()
        return WaitHandle(wait, caller, timeout, deadline)

    def _new(self, request_id: str, goal: Goal, now: float) -> Waiter:
        record = self._records.get(request_id)
        accepted, hooked = -inf, False
        if record and record.accepted_at is not None and record.ready_after is None:
            accepted, hooked = record.accepted_at, record.hooked
        first = accepted + min(
            FIRST_POLL * min(self._starts, default=0.0), LATEST_FIRST_POLL
        )
        wait = Waiter(
            request_id,
            goal,
            now,
            now if goal == "stopped" else max(now, first),
            hooked=hooked,
        )
        self._schedule.add(wait)
        return wait

    def _leave(self, place: WaitHandle) -> None:
        wait = place.wait
        self._schedule.leave(wait, place.caller)
        if not wait.callers and wait.look:
            # It would take a slot from others.
            wait.look.cancel()
        if not self._schedule:
            self._changed.set()

    def _result(self, place: WaitHandle) -> Outcome:
        """The outcome for a caller whose wait has ended."""
        self._leave(place)
        caller = place.caller
        outcome = caller.result() if caller.done() and not caller.cancelled() else None
        if outcome is None:
            return self._timeout_error(place)
        if isinstance(outcome, ReadyDeployment):
            self._learn(outcome.request_id)
            return outcome
        if isinstance(outcome, DeploymentTerminated):
            self._events.ends(outcome.request_id, asyncio.get_running_loop().time())
        # Each caller raises an error of its own.
        own = copy(outcome)
        own.__cause__ = outcome.__cause__
        return own

    def _timeout_error(
        self, place: WaitHandle, *, probing: bool = False
    ) -> EdgegapError:
        wait = place.wait
        if self._transport.closed:
            return SessionClosed(
                f"the session was closed while {wait.request_id} was waited for"
            )
        late: EdgegapError = ReadyTimeout(
            wait.request_id, place.timeout or 0.0, wait.last, probing=probing
        )
        if wait.goal == "stopped":
            text = f"deployment {wait.request_id} was not gone within {place.timeout or 0:g} s"
            late = DeadlineExceeded(text, request_sent=True)
        late.__cause__ = wait.failure or _status_timeout(
            wait, asyncio.get_running_loop().time()
        )
        log.info("wait failed: %s", late, extra={"request_id": wait.request_id})
        return late

    def _learn(self, request_id: str) -> None:
        record = self._records.get(request_id)
        if record is None or record.accepted_at is None or record.ready_after:
            return
        record.ready_after = asyncio.get_running_loop().time() - record.accepted_at
        self._starts.append(record.ready_after)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that end with the session."""
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
            # A waiter has joined in the last moment.
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
            for look in self._single | self._lists:
                look.cancel()

    def _plan(self, group: asyncio.TaskGroup, now: float) -> None:
        """Start all polls that are due."""
        board, trust = self._schedule, self._health
        while len(self._single) < MOST_POLLS:
            wait = board.next_status(now, proven=trust.proven, failing=trust.failing)
            if wait is None:
                break
            wait.look = self._begin(
                group, self._single, partial(self._poller.poll_status, wait)
            )
        if not trust.lists(now):
            return
        if not trust.filters(now):
            if not self._lists and (waits := board.next_sweep(now)):
                self._begin(
                    group,
                    self._lists,
                    partial(self._poller.sweep, waits, only=False),
                )
            return
        while len(self._lists) < (1 if trust.failing else MOST_LISTS) and (
            look := self._next_list(now)
        ):
            self._begin(group, self._lists, look)

    def _next_list(self, now: float) -> Callable[[], Awaitable[None]] | None:
        rest: tuple[ListState, ...] = (
            ("any", "error")
            if self._poller.ready_lists >= self._schedule.lists_between
            else ()
        )
        for word in (*rest, "ready"):
            if chunk := self._schedule.next_list(now, self._health.room, word):
                if word == "any":
                    return partial(self._poller.sweep, chunk, only=True)
                return partial(self._poller.poll_list, chunk, word)
        return None

    def _begin(
        self,
        group: asyncio.TaskGroup,
        under_way: set[asyncio.Task[None]],
        look: Callable[[], Awaitable[None]],
    ) -> asyncio.Task[None]:
        task = group.create_task(self._logged(look))
        under_way.add(task)

        def over(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            self._changed.set()

        task.add_done_callback(over)
        return task

    async def _logged(self, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except Exception:
            log.exception("poll crashed, retrying")


def _status_timeout(wait: Waiter, now: float) -> EdgegapError | None:
    """The error of a status poll that has no answer so far."""
    if not wait.status_unavailable(now):
        return None
    text = f"the status of {wait.request_id} was not answered within {now - wait.polled_at:.3g} s"
    return DeadlineExceeded(text, request_sent=True)


async def _over(caller: WaitFuture) -> None:
    await caller
