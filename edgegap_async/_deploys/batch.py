"""`deploy_many`: requests go in, and an outcome for each comes out as it is known.

    queued -> sent -> accepted -> ready -> resolved -> taken -> released
       |        `-> refused, or started nothing: queued again
       `-> withdrawn

Each request has one task, from its place in the queue to its outcome. Few are queued at
a time, so memory is bounded by what is in progress. A server is the caller's once the
task that took its outcome asks for the next one, or the block ends without an exception.
The others are stopped at the end of the block.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from msgspec import structs

from .._records.state import DeployRecord, DeployState
from .._transport.deadlines import finish
from .._transport.request import Withdrawn
from .._transport.trace import background
from ..endpoints import Endpoint
from ..errors import (
    DeploymentFailed,
    EdgegapError,
    InvalidRequest,
    ReadyTimeout,
    SessionClosed,
)
from ..models._check import flag
from ..models._plain import PlainData
from ..models.deploy import DeploymentAccepted, DeployRequest
from ..models.deployment import EndReason, ReadyDeployment
from .batch_plan import Plan, Requests, check_request, check_requests
from .handled import HandledLeases
from .leases import Lease, Leases, lease_of
from .manager import DeployManager

log: logging.Logger = logging.getLogger("edgegap_async")
# Requests that are queued at a time: more than the limit has slots, so that its queue
# never runs dry.
MOST_QUEUED = 200
# Seconds to wait for a server whose ready_timeout was over before it was accepted. It
# may have been READY for long.
LAST_LOOK = 1.0
# Outcomes that may wait to be taken. While there are more, no server is started, as a
# slow consumer must not pay for more of them.
MOST_UNTAKEN = 400
# Requests that may be in progress or wait to be taken while no task asks for an outcome:
# servers that take minutes to be READY have no outcome that shows a slow consumer.
MOST_UNASKED = MOST_QUEUED + MOST_UNTAKEN


class DeployOutcome(PlainData, frozen=True, dict=True):
    """The outcome of one request: a deployment (READY, or only accepted) or an error.

    Attributes:
        request: the object that was given to `deploy_many`.
        deployment: a `ReadyDeployment`; with `until_ready=False`, or after
            `withdraw(until_ready=False)`, what was accepted. None: there is an error.
        error: why there is no deployment: `InvalidRequest` if that object can't be sent.
        seconds: from the sending of the deploy to its outcome; None if it was never
            sent.
        queued: seconds from when the request was taken from the iterable until its
            deploy was sent: the wait for `concurrency`, `max_running` and the limit. If
            it was sent more than once, until it was last sent. None: it was never sent.
        accepted_after: seconds from that sending until the API had accepted the deploy.
            None: it did not.
        ready_after: seconds from that sending until the session knew that the server
            is READY. None: it was not, or nobody waited for that.
    """

    request: DeployRequest
    deployment: ReadyDeployment | DeploymentAccepted | None = None
    error: EdgegapError | None = None
    seconds: float | None = None
    queued: float | None = None
    accepted_after: float | None = None
    ready_after: float | None = None

    async def wait_ended(self, *, timeout: float | None = None) -> EndReason:
        """Wait until its server has ended, as `OwnedDeployment.wait_ended` does.

        Args:
            timeout: seconds; None: no end.

        Raises:
            ValueError: the outcome has no deployment.
            DeadlineExceeded: it has not ended in time.
        """
        if self.deployment is None:
            raise ValueError("the outcome has no deployment that could end")
        return await lease_of(self).wait_ended(timeout)


class _Item:
    """One request that is queued or in progress.

    Attributes:
        taken_at: when it was taken from the iterable, on the loop's clock.
        accepted_at: when its deploy was accepted.
    """

    def __init__(self, request: DeployRequest, leases: Leases, taken_at: float) -> None:
        self.request, self.taken_at = request, taken_at
        self.accepted_at: float | None = None
        self.record = DeployRecord()
        self.lease = leases.own(self.record)


class DeployStream:
    """The outcomes of `deploy_many`, as they are known: an asynchronous iterator.

    Several tasks may take from it.
    """

    def __init__(
        self,
        manager: DeployManager,
        endpoint: Endpoint[Any, DeploymentAccepted],
        kind: type[DeployRequest],
        plan: Plan,
    ) -> None:
        self._manager, self._endpoint, self._plan = manager, endpoint, plan
        self._kind = kind
        self._until_ready = plan.until_ready
        self._queue = asyncio.Semaphore(MOST_QUEUED)
        self._slots = asyncio.Semaphore(plan.concurrency) if plan.concurrency else None
        self._capacity = (
            manager.capacity(plan.max_running) if plan.max_running else None
        )
        self._resolved: asyncio.Queue[
            tuple[DeployOutcome, Lease] | BaseException | None
        ] = asyncio.Queue()
        # A task asks for an outcome.
        self._asked = asyncio.Event()
        self._asking = 0
        # The servers of the outcomes that are being handled.
        self._handled = HandledLeases()
        self._items: dict[_Item, asyncio.Task[None]] = {}
        self._waits: set[asyncio.Timeout] = set()
        self._reader: asyncio.Task[None] | None = None
        self._withdrawn = False
        self._failure: BaseException | None = None
        self._accepted = 0

    def __repr__(self) -> str:
        return (
            f"<DeployStream: {self.accepted} accepted, {len(self.in_flight)} in flight>"
        )

    @property
    def accepted(self) -> int:
        """How many deploys were accepted so far."""
        return self._accepted

    @property
    def in_flight(self) -> tuple[DeployRequest, ...]:
        """The requests that were sent and may have started a server, without an answer
        so far.
        """
        return tuple(
            item.request for item in self._items if item.record.may_have_started
        )

    def withdraw(self, *, until_ready: bool = True) -> None:
        """Start nothing more, and end the iteration once all outcomes are known.

        Queued requests are withdrawn and give no outcome. Requests that were sent give
        their outcome as usual, but are not sent again if they started nothing.

        Args:
            until_ready: False: do not wait any longer for accepted servers to be READY.
                Their outcome is the `DeploymentAccepted`.
        """
        if not flag("until_ready", until_ready):
            self._until_ready = False
            now = asyncio.get_running_loop().time()
            for scope in self._waits:
                if not scope.expired():
                    scope.reschedule(now)
        self._withdrawn = True
        if self._reader:
            self._reader.cancel()
        for item, task in self._items.items():
            item.record.withdrawn = True
            if item.record.state is DeployState.QUEUED:
                task.cancel()

    def __aiter__(self) -> AsyncIterator[DeployOutcome]:
        return self

    async def __anext__(self) -> DeployOutcome:
        """The next outcome.

        Raises:
            Exception: one that the iterable of requests has raised, after the outcomes
                of all requests before it.
            SessionClosed: the session was closed while `max_running` held a request
                back.
            ExceptionGroup: `on_intent` failed. Nothing more is started, and servers
                without an outcome are stopped.
        """
        self._handled.asked()
        # The server before is the caller's from now on.
        await self._manager.settled()
        self._asking += 1
        self._asked.set()
        try:
            resolved = await self._resolved.get()
        finally:
            self._asking -= 1
        if not isinstance(resolved, tuple):
            # For the next task that asks.
            self._resolved.put_nowait(None)
            raise resolved or StopAsyncIteration
        outcome, lease = resolved
        state = lease.record.state
        self._asked.set()
        if self._slots:
            self._slots.release()
        if state is DeployState.LEASED:
            self._handled.taken(lease)
        elif outcome.deployment:
            error = self._manager.not_yours(lease.record)
            return structs.replace(outcome, deployment=None, error=error)
        return outcome

    async def run(self, requests: Requests) -> None:
        """Start each request as soon as there is room for it, until all are resolved."""
        try:
            async with asyncio.TaskGroup() as group:
                if not self._withdrawn:
                    self._reader = group.create_task(self._read(requests, group))
        except BaseExceptionGroup as failures:
            # Not the outcome of a request, such as an `on_intent` that fails.
            self._failure = failures
        except asyncio.CancelledError as error:
            # The block is left, or the program has cancelled all tasks. No consumer may
            # wait for more outcomes.
            self._failure = error
            raise
        else:
            if self._reader and self._reader.cancelled() and not self._withdrawn:
                self._failure = asyncio.CancelledError(
                    "the iterable of requests for deploy_many was cancelled"
                )
        finally:
            self._resolved.put_nowait(self._failure)

    async def _read(self, requests: Requests, group: asyncio.TaskGroup) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._start(request, group)
            else:
                for request in requests:
                    await self._start(request, group)
        except Exception as error:
            # The caller's own error: `__anext__` raises it after the outcomes of the
            # requests before it.
            if not isinstance(error, SessionClosed):
                log.exception("reading the requests for deploy_many failed")
            self._failure = error

    async def _start(self, request: DeployRequest, group: asyncio.TaskGroup) -> None:
        taken_at = asyncio.get_running_loop().time()
        while self._is_full():
            self._asked.clear()
            await self._asked.wait()
        if self._slots:
            await self._slots.acquire()
        item = _Item(request, self._manager.leases, taken_at)
        try:
            check_request(request, self._kind)
        except ValueError as error:
            self._manager.leases.end(item.lease)
            invalid = DeployOutcome(request, error=InvalidRequest(str(error)))
            self._resolved.put_nowait((invalid, item.lease))
            return
        await self._queue.acquire()
        if self._capacity:
            await self._capacity.acquire()
            self._capacity.use(item.record)
        if not self._withdrawn:
            self._items[item] = group.create_task(self._resolve(item))

    def _is_full(self) -> bool:
        untaken = self._resolved.qsize()
        unasked = not self._asking and len(self._items) + untaken >= MOST_UNASKED
        return unasked or untaken >= MOST_UNTAKEN

    async def _resolve(self, item: _Item) -> None:
        deployment: ReadyDeployment | DeploymentAccepted | None = None
        error: EdgegapError | None = None
        try:
            deployment = await self._deploy(item)
        except Withdrawn:
            return
        except EdgegapError as failed:
            error = failed
            if self._plan.stop_on_failure or not isinstance(
                failed, DeploymentFailed | ReadyTimeout
            ):
                try:
                    await self._manager.leases.explain(failed)
                finally:
                    self._manager.leases.end(item.lease)
        except BaseException:
            self._manager.leases.end(item.lease)
            raise
        finally:
            self._items.pop(item, None)
        outcome = _outcome(item, deployment, error)
        # It is no field, as it can't be encoded.
        vars(outcome)["lease"] = item.lease
        self._resolved.put_nowait((outcome, item.lease))

    async def _deploy(self, item: _Item) -> ReadyDeployment | DeploymentAccepted:
        try:
            accepted = await self._manager.runner.deploy(
                self._endpoint,
                item.request,
                self._plan.options,
                once=None,
                lease=item.lease,
                capacity=self._capacity,
            )
        finally:
            self._queue.release()
        self._accepted += 1
        item.accepted_at = asyncio.get_running_loop().time()
        if self._until_ready:
            return await self._wait(accepted, item.record.sent_at or 0.0)
        return accepted

    async def _wait(
        self, accepted: DeploymentAccepted, since: float
    ) -> ReadyDeployment | DeploymentAccepted:
        left = whole = self._plan.ready_timeout
        if whole is not None:
            left = max(since + whole - asyncio.get_running_loop().time(), LAST_LOOK)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waits.add(scope)
                return await self._manager.watcher.until_ready(
                    accepted.request_id, left
                )
        except ReadyTimeout as late:
            # The error names the timeout that was asked for, not what was left of it.
            raise ReadyTimeout(
                accepted.request_id, whole or 0.0, late.status
            ) from late.__cause__
        except TimeoutError:
            # It was withdrawn.
            return accepted
        finally:
            self._waits.discard(scope)

    async def watch(self) -> None:
        """Poll for servers that end, while `max_running` holds requests back."""
        if self._capacity:
            await self._capacity.watch()

    def end(self) -> None:
        """The block is left: start nothing more, even if the iterable of requests goes
        on when it is cancelled.
        """
        self._withdrawn = True

    def close(self, *, failed: bool) -> None:
        """Stop the servers of all outcomes that were not taken.

        Args:
            failed: the block has ended with an exception, so the outcomes that are being
                handled were not handled to the end.
        """
        while not self._resolved.empty():
            left = self._resolved.get_nowait()
            if isinstance(left, tuple):
                self._manager.leases.end(left[1])
        self._resolved.put_nowait(None)
        self._handled.close(self._manager.leases.end, failed=failed)


def _outcome(
    item: _Item,
    deployment: ReadyDeployment | DeploymentAccepted | None,
    error: EdgegapError | None,
) -> DeployOutcome:
    """The outcome of a request that is known now."""
    outcome = DeployOutcome(item.request, deployment, error)
    if (sent_at := item.record.sent_at) is None:
        return outcome
    took = asyncio.get_running_loop().time() - sent_at
    return structs.replace(
        outcome,
        seconds=took,
        queued=max(sent_at - item.taken_at, 0.0),
        accepted_after=None if item.accepted_at is None else item.accepted_at - sent_at,
        ready_after=took if isinstance(deployment, ReadyDeployment) else None,
    )


class DeployBlock(AbstractAsyncContextManager[DeployStream]):
    """The outcomes of a stream for as long as the block lasts.

    Args:
        endpoint: sends each request.
        kind: what each request must be.
    """

    def __init__(
        self,
        manager: DeployManager,
        endpoint: Endpoint[Any, DeploymentAccepted],
        kind: type[DeployRequest],
        requests: Requests,
        plan: Plan,
    ) -> None:
        self._outcomes = DeployStream(manager, endpoint, kind, plan)
        check_requests(requests)
        self._manager, self._requests = manager, requests
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> DeployStream:
        run, watch = self._outcomes.run(self._requests), self._outcomes.watch()
        self._tasks = [
            asyncio.create_task(run, name="edgegap deploy_many"),
            asyncio.create_task(
                watch, name="edgegap deploy_many", context=background()
            ),
        ]
        return self._outcomes

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._outcomes.end()
        for task in self._tasks:
            task.cancel()
        cancelled = await finish(self._tasks, self._manager.leases.cleanup_end())
        if not all(task.done() for task in self._tasks):
            log.warning("the requests for deploy_many did not end when cancelled")
        self._outcomes.close(failed=error is not None)
        if cancelled:
            raise cancelled
        await self._manager.settled()
