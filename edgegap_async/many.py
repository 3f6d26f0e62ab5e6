"""`deploy_many`: a stream of requests in, an outcome for each as it is settled.

    queued -> sent -> accepted -> ready -> settled -> taken
       |        `-> refused, or started nothing: queued again
       `-> withdrawn

One task for each request from its place in the queue until it is settled. Few are
queued at a time, so that memory is bounded by what is in flight. Whatever was not taken
when the block ends is stopped.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

from msgspec import Struct, structs

from ._deadlines import finish
from ._deploys.leases import Lease
from ._lanes import PRIORITIES, Priority
from ._posting import Posting
from ._request import Voyage, Withdrawn
from .errors import DeploymentFailed, EdgegapError, ReadyTimeout, SessionClosed
from .models._check import flag, instance, one_of, optional_seconds, whole_number
from .models.deploy import DeploymentAccepted, DeployRequest
from .models.deployment import ReadyDeployment
from .ownership import Ownership

Requests: TypeAlias = Iterable[DeployRequest] | AsyncIterable[DeployRequest]
log: logging.Logger = logging.getLogger("edgegap_async")
# requests at a time: more than the limit has slots, so that its queue never runs dry
QUEUED = 200
# seconds for a server whose time was over before it was known
LAST_LOOK = 1.0
# outcomes: whoever takes them more slowly than that must not pay for more servers
UNTAKEN = 400


class DeployOutcome(Struct, frozen=True):
    """What became of one request: a deployment (ready, or only accepted), or the error.

    `request` is the very object that was given. `seconds`: from the sending of its
    deploy until it was settled; None if it was never sent.
    """

    request: DeployRequest
    deployment: ReadyDeployment | DeploymentAccepted | None = None
    error: EdgegapError | None = None
    seconds: float | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What `deploy_many` was told, checked.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    until_ready: bool
    ready_timeout: float | None
    stop_on_failure: bool
    concurrency: int | None
    max_running: int | None
    priority: Priority

    def __post_init__(self) -> None:
        flag("until_ready", self.until_ready)
        flag("stop_on_failure", self.stop_on_failure)
        optional_seconds("ready_timeout", self.ready_timeout)
        for name in ("concurrency", "max_running"):
            if (given := getattr(self, name)) is not None:
                whole_number(name, given, 1)
        one_of("priority", self.priority, PRIORITIES)


class _Flight:
    """One request that is queued or under way."""

    def __init__(self, request: DeployRequest) -> None:
        self.request = request
        self.lease = Lease()
        self.voyage = Voyage()
        self.accepted = False


class Outcomes:
    """The outcomes, as they are settled: an asynchronous iterator."""

    def __init__(
        self, ownership: Ownership, posting: Posting[DeployRequest], plan: Plan
    ) -> None:
        self._ownership, self._posting, self._plan = ownership, posting, plan
        self._until_ready = plan.until_ready
        self._queue = asyncio.Semaphore(QUEUED)
        self._places = asyncio.Semaphore(plan.concurrency) if plan.concurrency else None
        self._capacity = (
            ownership.capacity(plan.max_running) if plan.max_running else None
        )
        self._settled: asyncio.Queue[
            tuple[DeployOutcome, Lease] | BaseException | None
        ] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._flights: dict[_Flight, asyncio.Task[None]] = {}
        self._waits: set[asyncio.Timeout] = set()
        self._intake: asyncio.Task[None] | None = None
        self._withdrawn = False
        self._broken: BaseException | None = None
        self._accepted = 0

    @property
    def accepted(self) -> int:
        """How many deploys were accepted so far."""
        return self._accepted

    @property
    def in_flight(self) -> tuple[DeployRequest, ...]:
        """The requests that were sent, and of which nobody knows yet whether they
        started a server.
        """
        return tuple(
            flight.request
            for flight in self._flights
            if flight.voyage.sent and not flight.accepted
        )

    def withdraw(self, *, until_ready: bool = True) -> None:
        """Start nothing more. What is still queued is withdrawn and gives no outcome;
        what was sent gives its outcome as usual, but is not sent again where it has
        started nothing. Then the iteration ends.

        Args:
            until_ready: False: servers that are accepted are not waited for any longer:
                their outcome is the `DeploymentAccepted`.
        """
        if not flag("until_ready", until_ready):
            self._until_ready = False
            now = asyncio.get_running_loop().time()
            for scope in self._waits:
                if not scope.expired():
                    scope.reschedule(now)
        self._withdrawn = True
        if self._intake:
            self._intake.cancel()
        for flight, task in self._flights.items():
            flight.voyage.recalled = True
            if not flight.voyage.sent:
                task.cancel()

    def __aiter__(self) -> AsyncIterator[DeployOutcome]:
        return self

    async def __anext__(self) -> DeployOutcome:
        """The next outcome.

        Raises:
            ValueError: one of the requests was no `DeployRequest`. This, and whatever
                the requests themselves raise, comes once all that came before is
                settled.
            SessionClosed: there was no place for another server, and will be none.
            ExceptionGroup: `on_intent` failed; nothing more is started, and what was
                not yet settled is stopped.
        """
        settled = await self._settled.get()
        if not isinstance(settled, tuple):
            # for whoever asks again
            self._settled.put_nowait(None)
            raise settled or StopAsyncIteration
        outcome, lease = settled
        self._taken.set()
        if self._places:
            self._places.release()
        if not self._ownership.leases.release(lease) and outcome.deployment:
            closed = SessionClosed(
                "the session was closed, and the server is stopped", request_sent=True
            )
            return structs.replace(outcome, deployment=None, error=closed)
        return outcome

    async def feed(self, requests: Requests) -> None:
        """Start each request as soon as there is room for it, and say when all are
        settled.
        """
        try:
            async with asyncio.TaskGroup() as group:
                if not self._withdrawn:
                    self._intake = group.create_task(self._take_in(requests, group))
        except BaseExceptionGroup as nobody_thought_of:
            # no outcome of a request, such as an `on_intent` that fails
            self._broken = nobody_thought_of
        except asyncio.CancelledError as error:
            # The block is left, or the program has cancelled all tasks. Nobody who
            # takes outcomes may wait for more of them.
            self._broken = error
            raise
        else:
            if self._intake and self._intake.cancelled() and not self._withdrawn:
                self._broken = asyncio.CancelledError("by the requests for deploy_many")
        finally:
            self._settled.put_nowait(self._broken)

    async def _take_in(self, requests: Requests, group: asyncio.TaskGroup) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._start(request, group)
            else:
                for request in requests:
                    await self._start(request, group)
        except Exception as error:
            # the caller's own: raised where the outcomes are taken, after those that go
            # on
            log.exception("the requests for deploy_many can't be read on")
            self._broken = error

    async def _start(self, request: DeployRequest, group: asyncio.TaskGroup) -> None:
        flight = _Flight(instance("requests: each", request, DeployRequest))
        while self._settled.qsize() >= UNTAKEN:
            self._taken.clear()
            await self._taken.wait()
        if self._places:
            await self._places.acquire()
        await self._queue.acquire()
        if self._capacity:
            await self._capacity.acquire()
        if not self._withdrawn:
            self._flights[flight] = group.create_task(self._one(flight))

    async def _one(self, flight: _Flight) -> None:
        deployment: ReadyDeployment | DeploymentAccepted | None = None
        error: EdgegapError | None = None
        try:
            deployment = await self._deployed(flight)
        except Withdrawn:
            return
        except EdgegapError as failed:
            error = failed
            if self._plan.stop_on_failure or not isinstance(
                failed, DeploymentFailed | ReadyTimeout
            ):
                self._ownership.leases.end(flight.lease)
        except BaseException:
            self._ownership.leases.end(flight.lease)
            raise
        finally:
            self._flights.pop(flight, None)
        took = (
            asyncio.get_running_loop().time() - flight.voyage.since
            if flight.voyage.sent
            else None
        )
        self._settled.put_nowait(
            (DeployOutcome(flight.request, deployment, error, took), flight.lease)
        )

    async def _deployed(self, flight: _Flight) -> ReadyDeployment | DeploymentAccepted:
        try:
            accepted = await self._ownership.deploy(
                self._posting,
                flight.request,
                timeout=None,
                priority=self._plan.priority,
                once=None,
                lease=flight.lease,
                voyage=flight.voyage,
            )
        except BaseException:
            if self._capacity:
                self._capacity.release()
            raise
        finally:
            self._queue.release()
        flight.accepted = True
        self._accepted += 1
        if self._capacity:
            self._capacity.started(accepted.request_id)
        return (
            await self._ready(accepted, flight.voyage.since)
            if self._until_ready
            else accepted
        )

    async def _ready(
        self, accepted: DeploymentAccepted, since: float
    ) -> ReadyDeployment | DeploymentAccepted:
        left = whole = self._plan.ready_timeout
        if whole is not None:
            # Where the answer took longer than that, it is looked at all the same: it
            # may have been READY for long.
            left = max(since + whole - asyncio.get_running_loop().time(), LAST_LOOK)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waits.add(scope)
                return await self._ownership.watcher.until_ready(
                    accepted.request_id, left
                )
        except ReadyTimeout as late:
            # it tells what was left of the time, and not what was asked for
            raise ReadyTimeout(
                accepted.request_id, whole or 0.0, late.status
            ) from late.__cause__
        except TimeoutError:
            # it was withdrawn
            return accepted
        finally:
            self._waits.discard(scope)

    async def watch(self) -> None:
        """Look after `max_running`."""
        if self._capacity:
            await self._capacity.watch()

    def stop_the_rest(self) -> None:
        """Nobody takes any more."""
        while not self._settled.empty():
            left = self._settled.get_nowait()
            if isinstance(left, tuple):
                self._ownership.leases.end(left[1])
        self._settled.put_nowait(None)


@asynccontextmanager
async def many(
    ownership: Ownership,
    posting: Posting[DeployRequest],
    requests: Requests,
    plan: Plan,
) -> AsyncGenerator[Outcomes, None]:
    """The outcomes for as long as the block lasts."""
    outcomes = Outcomes(ownership, posting, plan)
    tasks = [
        asyncio.create_task(work, name="edgegap deploy_many")
        for work in (outcomes.feed(requests), outcomes.watch())
    ]
    try:
        yield outcomes
    finally:
        for task in tasks:
            task.cancel()
        end = asyncio.get_running_loop().time() + ownership.cleanup_timeout
        cancelled = await finish(tasks, end)
        if not all(task.done() for task in tasks):
            log.warning("the requests for deploy_many did not end when cancelled")
        outcomes.stop_the_rest()
        if cancelled:
            raise cancelled
