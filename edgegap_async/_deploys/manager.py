"""Runs the deploys of one session, and stops the servers that nobody uses.

Each deploy runs in a task of the session, not of its caller, so a caller that leaves
does not cut it off. `_deploys/__init__.py` has the states.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

from .._limits.queue import PRIORITIES, Priority
from .._transport.client import Timeout, Transport
from .._transport.deadlines import Deadline, finish
from .._transport.request import Withdrawn
from .._waiters.watcher import Watcher
from ..endpoints import Endpoint
from ..errors import (
    AllocationFailed,
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    SessionClosed,
)
from ..models._check import flag, one_of, optional_seconds
from ..models.deploy import DeploymentAccepted
from .capacity import CapacityLimiter
from .leases import Lease, Leases, OwnedDeployment
from .pending import OnIntent, PendingDeploy, pending_deploy
from .state import DeployProgress, DeployState
from .stopper import Stopper, ended, ensure_stopped
from .tag_search import TagSearch
from .webhook_router import D, WebhookRouter

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent, WebhookReceiver

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds until background work that the program has cancelled goes on. If the loop is
# being shut down, it ends before.
RESUME_AFTER = 1.0
# Seconds that cancelled tasks have to end. They only leave an exchange, so they need a
# few turns of the loop.
CANCEL_TIMEOUT = 1.0
Leftover: TypeAlias = tuple[str | None, str | None]


class DeployManager:
    """The deploys and the stops of one session.

    Args:
        transport: the session's, for the calls of its users.
        once: whether deploys are searched for if their outcome is unknown, unless the
            call says otherwise.
        cleanup_timeout: seconds that closing may take.
        on_intent: called with each tag before anything is sent under it.
        webhooks: signs the URLs of webhooks, and verifies what arrives.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        once: bool,
        cleanup_timeout: float,
        on_intent: OnIntent | None,
        webhooks: "WebhookReceiver | None",
    ) -> None:
        self._callers = transport
        self._once = once
        self.cleanup_timeout: float = cleanup_timeout
        self._on_intent = on_intent
        self._background: Transport | None = None
        self._tag_search: TagSearch | None = None
        self._search_task: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._pending: dict[asyncio.Task[DeploymentAccepted], PendingDeploy] = {}
        self.stopper: Stopper = Stopper(
            self._background_transport, self.gone, self._interrupted
        )
        self._capacities: WeakSet[CapacityLimiter] = WeakSet()
        self.watcher: Watcher = Watcher(transport)
        self.router: WebhookRouter = WebhookRouter(
            webhooks, transport.enter, self._receive, self._is_orphan
        )
        self.leases: Leases = Leases(
            self.watcher.until_ready, self.stop, cleanup_timeout
        )
        self.leftovers: tuple[Leftover, ...] = ()

    def _background_transport(self) -> Transport:
        """The transport of work that outlives its callers, and `aclose` for a while.

        It is made before there is anything to stop, as a closed session can't make it.
        """
        if self._background is None:
            self._background = self._callers.child()
        return self._background

    def _enter(self) -> tuple[Transport, TagSearch]:
        """The transport and the tag search of deploys."""
        transport = self._background_transport()
        if self._tag_search is None:
            self._tag_search = TagSearch(transport, self.stop)
            self._start_search(self._tag_search)
        return transport, self._tag_search

    def _start_search(self, search: TagSearch) -> None:
        task = asyncio.create_task(search.run(), name="edgegap tag search")
        task.add_done_callback(lambda _: self._interrupted())
        self._search_task = task

    def _interrupted(self) -> None:
        """Background work was cancelled, but not by this session."""
        transport = self._background
        if transport is None or transport.closed or self._resuming is not None:
            return
        loop = asyncio.get_running_loop()
        self._resuming = loop.call_later(RESUME_AFTER, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        if self._background is None or self._background.closed:
            return
        if any(task.cancelling() for task in self._pending):
            # They clean up: the loop may be shutting down, and a new task would be
            # destroyed with it.
            self._interrupted()
            return
        if self._tag_search and self._search_task and self._search_task.done():
            self._start_search(self._tag_search)
        self.stopper.resume()

    async def deploy(
        self,
        endpoint: Endpoint[D, DeploymentAccepted],
        body: D,
        *,
        timeout: Timeout,
        priority: Priority,
        once: bool | None,
        lease: Lease | None = None,
        progress: DeployProgress | None = None,
    ) -> DeploymentAccepted:
        """Deploy, for a caller who may leave at any moment.

        Args:
            once: search for the deploy if its outcome is unknown; None: as the session
                was told.
            lease: held by the session from the moment in which the server is known.
            progress: follows the deploy.

        Raises:
            Withdrawn: it has started nothing, and must not be sent any more.
        """
        self._callers.enter()
        deadline = Deadline.after(self._callers.timeout_of(timeout))
        one_of("priority", priority, PRIORITIES)
        if not (self._once if once is None else flag("once", once)):
            return await self._deploy_without_tag(
                endpoint, body, deadline, priority, lease, progress
            )
        progress = progress or DeployProgress()
        pending = pending_deploy(
            endpoint, body, priority, deadline, lease, progress, self.router
        )
        self._enter()
        task = asyncio.create_task(self._run(pending), name="edgegap deploy")
        self._pending[task] = pending
        task.add_done_callback(self._done)
        try:
            await self._callers.wait(ended(task), deadline.at)
        except asyncio.CancelledError:
            self._abandon(pending, task)
            raise
        if task.done() and not task.cancelled() and progress.wanted:
            return task.result()
        raise self._caller_leaves(pending, task)

    async def _deploy_without_tag(
        self,
        endpoint: Endpoint[D, DeploymentAccepted],
        body: D,
        deadline: Deadline,
        priority: Priority,
        lease: Lease | None,
        progress: DeployProgress | None,
    ) -> DeploymentAccepted:
        """Deploy without a tag: an unknown outcome is raised, and without `progress`
        the deadline cuts a request off.
        """
        self._background_transport()
        with self.router.signed(body) as (signed, nonce):
            try:
                accepted = await self._callers.call(
                    endpoint,
                    body=signed,
                    timeout=deadline.left(),
                    priority=priority,
                    progress=progress,
                )
            except EdgegapError:
                if progress:
                    progress.move(DeployState.FAILED)
                raise
            if progress:
                progress.move(DeployState.ACCEPTED)
            return self._accepted(accepted, nonce, lease)

    def _caller_leaves(
        self, pending: PendingDeploy, task: asyncio.Task[DeploymentAccepted]
    ) -> EdgegapError:
        """The error of a caller whose deploy has no result in time."""
        error: EdgegapError = SessionClosed("the session was closed during the deploy")
        if task.cancelled() and pending.progress.wanted:
            error = EdgegapError("the program cancelled the task of the deploy")
        elif not self._callers.closed:
            error = DeadlineExceeded(
                f"the deploy can't end within its timeout of {pending.deadline}"
            )
        cause = error.__cause__ = pending.progress.failure
        if not self._abandon(pending, task):
            return error
        error.request_sent = True
        text = f"{error}, and it may have started a server, which the session stops"
        if cause:
            text = f"{text}; the last failure: {cause}"
        unknown = DeployOutcomeUnknown(text, tag=pending.tag)
        unknown.__cause__ = error
        return unknown

    def _done(self, task: asyncio.Task[DeploymentAccepted]) -> None:
        pending = self._pending.pop(task)
        self.router.over(pending.tag)
        if pending.progress.wanted or task.cancelled():
            return
        if (error := task.exception()) and not isinstance(error, Withdrawn):
            log.warning("deploy failed after its caller left: %s", error)

    def _abandon(
        self, pending: PendingDeploy, task: asyncio.Task[DeploymentAccepted]
    ) -> bool:
        """The caller has left: withdraw the deploy, or stop its server.

        Returns:
            Whether it may have started a server.
        """
        pending.progress.abandon()
        if task.done():
            if not task.cancelled() and task.exception() is None:
                if pending.lease:
                    self.leases.release(pending.lease)
                self.stop(task.result().request_id, pending.tag)
                return True
            return pending.progress.state is DeployState.UNKNOWN
        if pending.progress.may_have_started:
            return True
        task.cancel()
        return False

    async def _run(self, pending: PendingDeploy) -> DeploymentAccepted:
        transport, search = self._enter()
        try:
            accepted = await pending.run(transport, search, self._on_intent)
        except AllocationFailed as failed:
            failed.once_tag = pending.tag
            if failed.request_id:
                self.stop(failed.request_id, pending.tag)
            raise
        except asyncio.CancelledError:
            unknown = pending.progress.state is DeployState.UNKNOWN
            if unknown and not transport.closed:
                # Not cancelled by this session, so the loop is being shut down around a
                # session that nobody has closed.
                await pending.stop_before_loop_ends(transport, search)
            raise
        if not pending.progress.wanted:
            self.stop(accepted.request_id, pending.tag)
            return accepted
        return self._accepted(accepted, pending.tag, pending.lease)

    def _accepted(
        self, accepted: DeploymentAccepted, nonce: str, lease: Lease | None
    ) -> DeploymentAccepted:
        request_id = accepted.request_id
        hooked = self.router.answered(nonce, request_id)
        self.watcher.accepted(request_id, hooked=hooked)
        if lease:
            self.leases.acquire(lease, request_id, accepted.once_tag)
        return accepted

    def _receive(self, event: "WebhookEvent") -> None:
        self.watcher.receive(event)
        if event.event == "terminated":
            self._release_capacity(event.request_id)

    def _is_orphan(self, request_id: str, tag: str) -> bool:
        search = self._tag_search
        return search is not None and search.appeared(request_id, tag)

    def stop(
        self, request_id: str, tag: str | None = None
    ) -> asyncio.Task[None] | None:
        """Stop an orphaned server. If the session is closed, it can only be named."""
        if not (self._background or self._callers).closed:
            return self.stopper.stop(request_id, tag)
        self.leftovers = (*self.leftovers, (request_id, tag))
        log.warning(
            "session closed: deployment %s may still be running",
            request_id,
            extra={"request_id": request_id},
        )
        return None

    @asynccontextmanager
    async def running(
        self,
        endpoint: Endpoint[D, DeploymentAccepted],
        body: D,
        *,
        ready_timeout: float | None,
        timeout: Timeout,
        priority: Priority,
        once: bool | None,
    ) -> AsyncGenerator[OwnedDeployment, None]:
        """A server for as long as the block lasts."""
        optional_seconds("ready_timeout", ready_timeout)
        lease = Lease()
        accepted = await self.deploy(
            endpoint,
            body,
            timeout=timeout,
            priority=priority,
            once=once,
            lease=lease,
        )
        async with self.leases.block(
            lease, accepted.request_id, ready_timeout
        ) as server:
            yield server

    @asynccontextmanager
    async def adopted(
        self, request_id: str, ready_timeout: float | None
    ) -> AsyncGenerator[OwnedDeployment, None]:
        """A server that exists already, for as long as the block lasts."""
        optional_seconds("ready_timeout", ready_timeout)
        lease = Lease()
        self._callers.enter()
        self._background_transport()
        self.leases.acquire(lease, request_id, None)
        async with self.leases.block(lease, request_id, ready_timeout) as server:
            yield server

    def capacity(self, total: int) -> CapacityLimiter:
        """A cap on how many servers exist at once."""
        capacity = CapacityLimiter(self._callers, total)
        self._capacities.add(capacity)
        return capacity

    def gone(self, request_id: str) -> None:
        """A stop was accepted, or the server is gone."""
        self.watcher.stopping(request_id)
        self._release_capacity(request_id)

    def _release_capacity(self, request_id: str) -> None:
        for capacity in self._capacities:
            capacity.gone(request_id)

    async def ensure_stopped(
        self, request_id: str, *, wait: bool, timeout: Timeout
    ) -> None:
        """Stop a server for a caller, and return when the stop is accepted."""
        seconds = self._callers.timeout_of(timeout)
        await ensure_stopped(self._callers, request_id, wait=wait, timeout=seconds)
        self.stopper.pending.pop(request_id, None)
        self.gone(request_id)

    async def aclose(self) -> asyncio.CancelledError | None:
        """Finish what can be finished within `cleanup_timeout`, then name the rest.

        Returns:
            A cancellation that arrived meanwhile, for the caller to raise.
        """
        self.router.close()
        for task, pending in list(self._pending.items()):
            self._abandon(pending, task)
        self.leases.end_all()
        if self._background is not None:
            self.stopper.resume()
        cancelled = await self._finish()
        self.leftovers = self._left()
        cancelled = await self._end_tasks() or cancelled
        if self.leftovers:
            names = ", ".join(
                request_id or f"a server under the tag {tag}"
                for request_id, tag in self.leftovers
            )
            log.warning("session closed: these may still be running: %s", names)
        return cancelled

    async def _finish(self) -> asyncio.CancelledError | None:
        """Wait for deploys, for searches after refusals, and for the stops that they
        lead to.
        """
        end = asyncio.get_running_loop().time() + self.cleanup_timeout
        cancelled: asyncio.CancelledError | None = None
        while (
            tasks := {*self._pending, *self.stopper.tasks, *self._searches}
        ) and asyncio.get_running_loop().time() < end:
            cancelled = await finish(tasks, end) or cancelled
        return cancelled

    @property
    def _searches(self) -> list[asyncio.Task[None]]:
        return self._tag_search.tasks if self._tag_search else []

    def _left(self) -> tuple[Leftover, ...]:
        """What may still be running."""
        left: list[Leftover] = [*self.leftovers, *self.stopper.pending.items()]
        left += [
            (None, pending.tag)
            for pending in self._pending.values()
            if pending.progress.may_have_started
        ]
        if self._tag_search:
            left += [(None, tag) for tag in self._tag_search.unresolved_tags]
        return tuple(dict.fromkeys(left))

    async def _end_tasks(self) -> asyncio.CancelledError | None:
        """Cancel what is still in progress."""
        if self._background is not None:
            self._background.abort()
        if self._resuming is not None:
            self._resuming.cancel()
        tasks = {
            *self._pending,
            *self.stopper.tasks,
            *self.watcher.tasks,
            *self._searches,
        }
        if self._search_task:
            tasks.add(self._search_task)
        for task in tasks:
            task.cancel()
        end = asyncio.get_running_loop().time() + CANCEL_TIMEOUT
        return await finish(tasks, end)
