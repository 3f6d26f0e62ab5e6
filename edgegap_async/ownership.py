"""No server paid for twice, none forgotten: a deploy is an errand that the session owns
until somebody has its server.

queued                  the caller leaves: it is withdrawn, and nothing was started
on its way              the caller leaves: it goes on, and its server is stopped as soon
as its ID is known
refused, not in the     raised at once; its tag is looked for over one search window,
API's form              and what turns up is stopped
outcome unknown         its tag is looked for; found: that is the answer; absent:
                        deployed again under a new tag, the old one in quarantine;
                        nobody knows: `DeployOutcomeUnknown`, never a second deploy
closed                  what is to be stopped is stopped for `cleanup_timeout`; what is
left is named
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

from ._deadlines import finish
from ._deploys.capacity import CapacityLimiter
from ._deploys.leases import Lease, Leases, OwnedDeployment
from ._deploys.stopper import Stopper, ended, ensure_stopped
from ._deploys.webhook_router import WebhookRouter
from ._errand import Errand, OnIntent, errand_of
from ._lanes import PRIORITIES, Priority
from ._lookups import Lookups
from ._posting import D, Posting
from ._request import Voyage, Withdrawn
from ._transport import Timeout, Transport
from .errors import (
    AllocationFailed,
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    SessionClosed,
)
from .models._check import flag, one_of, optional_seconds
from .models.deploy import DeploymentAccepted
from .readiness import Watcher

# most sessions have no webhooks
if TYPE_CHECKING:
    from .webhooks import WebhookEvent, WebhookReceiver

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds until background work that somebody has cancelled goes on. Where the loop is
# being shut down, it ends before.
RESUME_AFTER = 1.0
# Seconds that cancelled tasks have to end. They only leave an exchange, so they need a
# few turns of the loop.
LAST_MOMENT = 1.0
Leftover: TypeAlias = tuple[str | None, str | None]


class Ownership:
    """The errands and the stops of one session.

    Args:
        transport: the session's, for the calls of its users.
        once: whether a deploy is settled where its outcome is unknown, unless the call
            says otherwise.
        cleanup_timeout: seconds that closing may take.
        on_intent: told each tag before anything is sent under it.
        webhooks: signs the URLs of webhooks, and verifies what comes.
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
        self._public = transport
        self._once = once
        self.cleanup_timeout: float = cleanup_timeout
        self._on_intent = on_intent
        self._own: Transport | None = None
        self._lookups: Lookups | None = None
        self._looking: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._errands: dict[asyncio.Task[DeploymentAccepted], Errand] = {}
        self.stopper: Stopper = Stopper(self._outliving, self.gone, self._interrupted)
        self._capacities: WeakSet[CapacityLimiter] = WeakSet()
        self.watcher: Watcher = Watcher(transport)
        self.router: WebhookRouter = WebhookRouter(
            webhooks, transport.enter, self._hear, self._is_stray
        )
        self.leases: Leases = Leases(
            self.watcher.until_ready, self.stop, cleanup_timeout
        )
        self.leftovers: tuple[Leftover, ...] = ()

    def _outliving(self) -> Transport:
        """The transport of work that outlives its callers, and `aclose` for a while.

        It is made before there is anything to stop: a closed session can't make it.
        """
        if self._own is None:
            self._own = self._public.twin()
        return self._own

    def _enter(self) -> tuple[Transport, Lookups]:
        """The transport and the tag search of deploys."""
        own = self._outliving()
        if self._lookups is None:
            self._lookups = Lookups(own, self.stop)
            self._search(self._lookups)
        return own, self._lookups

    def _search(self, lookups: Lookups) -> None:
        self._looking = asyncio.create_task(lookups.run(), name="edgegap tag search")
        self._looking.add_done_callback(lambda _: self._interrupted())

    def _interrupted(self) -> None:
        """Background work was cancelled, but not by this session."""
        if self._own is None or self._own.closed or self._resuming is not None:
            return
        loop = asyncio.get_running_loop()
        self._resuming = loop.call_later(RESUME_AFTER, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        if self._own is None or self._own.closed:
            return
        if any(task.cancelling() for task in self._errands):
            # They clean up: the loop may be shutting down, and a new task would be
            # destroyed with it.
            self._interrupted()
            return
        if self._lookups and self._looking and self._looking.done():
            self._search(self._lookups)
        self.stopper.resume()

    async def deploy(
        self,
        posting: Posting[D],
        body: D,
        *,
        timeout: Timeout,
        priority: Priority,
        once: bool | None,
        lease: Lease | None = None,
        voyage: Voyage | None = None,
    ) -> DeploymentAccepted:
        """Deploy, once unless told not to (None: as the session was told), for a caller
        who may leave at any moment.

        With a `lease` the server is the session's to stop from the moment in which
        it is known. A `voyage` tells how far it is.

        Raises:
            Withdrawn: the voyage has started nothing, and is not to be sent any more.
        """
        loop = self._public.enter()
        whole = self._public.timeout_of(timeout)
        one_of("priority", priority, PRIORITIES)
        if not (self._once if once is None else flag("once", once)):
            self._outliving()
            with self.router.signed(body) as (signed, nonce):
                accepted = await posting.send(
                    self._public,
                    signed,
                    timeout=whole,
                    priority=priority,
                    voyage=voyage,
                )
                return self._hold(accepted, nonce, lease)
        deadline = None if whole is None else loop.time() + whole
        errand = errand_of(
            posting, body, priority, deadline, lease, voyage or Voyage(), self.router
        )
        self._enter()
        task = asyncio.create_task(self._run(errand), name="edgegap deploy")
        self._errands[task] = errand
        task.add_done_callback(self._done)
        try:
            await self._public.wait(ended(task), errand.deadline)
        except asyncio.CancelledError:
            self._abandon(errand, task)
            raise
        if task.done() and not task.cancelled() and errand.voyage.wanted:
            return task.result()
        late: EdgegapError = SessionClosed("the session was closed during the deploy")
        if task.cancelled() and errand.voyage.wanted:
            late = EdgegapError("the program cancelled the task of the deploy")
        elif not self._public.closed:
            late = DeadlineExceeded(
                f"the deploy can't end within its timeout of {whole or 0:g} s"
            )
        late.__cause__ = errand.voyage.failure
        if not self._abandon(errand, task):
            raise late
        late.request_sent = True
        text = f"{late}, and it may have started a server; the session stops it when it finds it"
        if late.__cause__:
            text = f"{text}; the last failure: {late.__cause__}"
        raise DeployOutcomeUnknown(text, tag=errand.tag) from late

    def _done(self, task: asyncio.Task[DeploymentAccepted]) -> None:
        errand = self._errands.pop(task)
        self.router.over(errand.tag)
        if not errand.orphan or task.cancelled():
            return
        if (error := task.exception()) and not isinstance(error, Withdrawn):
            log.warning("a deploy that nobody waits for any more ended with: %s", error)

    def _abandon(self, errand: Errand, task: asyncio.Task[DeploymentAccepted]) -> bool:
        """Nobody waits any more: withdraw it, or stop what it starts. Whether it may
        have started something.
        """
        errand.voyage.abandon()
        if task.done():
            if not task.cancelled() and task.exception() is None:
                if errand.lease:
                    self.leases.release(errand.lease)
                self.stop(task.result().request_id, errand.tag)
                return True
            return errand.lost or (task.cancelled() and errand.may_have_started)
        if errand.may_have_started:
            return True
        task.cancel()
        return False

    async def _run(self, errand: Errand) -> DeploymentAccepted:
        try:
            accepted = await errand.carry_out(*self._enter(), self._on_intent)
        except AllocationFailed as failed:
            failed.once_tag = errand.tag
            if failed.request_id:
                self.stop(failed.request_id, errand.tag)
            raise
        except asyncio.CancelledError:
            # Not by us, so the loop is shut down around a session that nobody has
            # closed.
            if errand.voyage.cut and not errand.lost:
                await errand.rescue(*self._enter())
            raise
        if errand.orphan:
            self.stop(accepted.request_id, errand.tag)
            return accepted
        return self._hold(accepted, errand.tag, errand.lease)

    def _hear(self, event: "WebhookEvent") -> None:
        self.watcher.hear(event)
        if event.event == "terminated":
            self._make_room(event.request_id)

    @property
    def _searches(self) -> list[asyncio.Task[None]]:
        return self._lookups.tasks if self._lookups else []

    def _is_stray(self, request_id: str, tag: str) -> bool:
        return self._lookups is not None and self._lookups.turned_up(request_id, tag)

    def _hold(
        self, accepted: DeploymentAccepted, nonce: str, lease: Lease | None
    ) -> DeploymentAccepted:
        self.watcher.accepted(
            accepted.request_id, hooked=self.router.answered(nonce, accepted.request_id)
        )
        if lease:
            self.leases.acquire(lease, accepted.request_id, accepted.once_tag)
        return accepted

    def stop(
        self, request_id: str, tag: str | None = None
    ) -> asyncio.Task[None] | None:
        """Stop a server that nobody has, for as long as it takes; once the session is
        closed it can only be named.
        """
        if not (self._own or self._public).closed:
            return self.stopper.stop(request_id, tag)
        self.leftovers = (*self.leftovers, (request_id, tag))
        log.warning("the session is closed, and %s may still be running", request_id)
        return None

    @asynccontextmanager
    async def running(
        self,
        posting: Posting[D],
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
            posting,
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
        """A server that exists already, likewise."""
        optional_seconds("ready_timeout", ready_timeout)
        lease = Lease()
        self._public.enter()
        self._outliving()
        self.leases.acquire(lease, request_id, None)
        async with self.leases.block(lease, request_id, ready_timeout) as server:
            yield server

    def capacity(self, total: int) -> CapacityLimiter:
        """A guard of how many servers may exist at once."""
        capacity = CapacityLimiter(self._public, total)
        self._capacities.add(capacity)
        return capacity

    def gone(self, request_id: str) -> None:
        """A stop was accepted, or it is gone."""
        self.watcher.stopping(request_id)
        self._make_room(request_id)

    def _make_room(self, request_id: str) -> None:
        for capacity in self._capacities:
            capacity.gone(request_id)

    async def ensure_stopped(
        self, request_id: str, *, wait: bool, timeout: Timeout
    ) -> None:
        """For a caller who wants to know that it is stopped."""
        await ensure_stopped(
            self._public,
            request_id,
            wait=wait,
            timeout=self._public.timeout_of(timeout),
        )
        self.stopper.pending.pop(request_id, None)
        self.gone(request_id)

    async def aclose(self) -> asyncio.CancelledError | None:
        """Finish what can be finished within `cleanup_timeout`, then name the rest.

        Returns:
            A cancellation that arrived meanwhile, for the caller to raise.
        """
        self.router.close()
        for task, errand in list(self._errands.items()):
            self._abandon(errand, task)
        self.leases.end_all()
        if self._own is not None:
            self.stopper.resume()
        cancelled = await self._finish()
        left: list[Leftover] = [*self.leftovers, *self.stopper.pending.items()]
        left += [
            (None, errand.tag)
            for errand in self._errands.values()
            if errand.may_have_started
        ]
        left += [
            (None, tag)
            for tag in (self._lookups.unresolved_tags if self._lookups else ())
        ]
        self.leftovers = tuple(dict.fromkeys(left))
        cancelled = await self._end_tasks() or cancelled
        if self.leftovers:
            names = ", ".join(
                request_id or f"what the tag {tag} may have started"
                for request_id, tag in self.leftovers
            )
            log.warning(
                "the session is closed, and these may still be running: %s", names
            )
        return cancelled

    async def _finish(self) -> asyncio.CancelledError | None:
        """Wait for deploys, for searches after refusals, and for the stops that they
        lead to.
        """
        end = asyncio.get_running_loop().time() + self.cleanup_timeout
        cancelled: asyncio.CancelledError | None = None
        while (
            tasks := {*self._errands, *self.stopper.tasks, *self._searches}
        ) and asyncio.get_running_loop().time() < end:
            cancelled = await finish(tasks, end) or cancelled
        return cancelled

    async def _end_tasks(self) -> asyncio.CancelledError | None:
        """Cancel what is still running."""
        if self._own is not None:
            self._own.shut()
        if self._resuming is not None:
            self._resuming.cancel()
        for errand in self._errands.values():
            errand.lost = errand.may_have_started
        looking = (self._looking,) if self._looking else ()
        tasks = {
            *self._errands,
            *self.stopper.tasks,
            *self.watcher.tasks,
            *self._searches,
            *looking,
        }
        for task in tasks:
            task.cancel()
        return await finish(tasks, asyncio.get_running_loop().time() + LAST_MOMENT)
