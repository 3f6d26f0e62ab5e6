"""Runs the deploys of one session, and stops the servers that nobody uses.

Each deploy runs in a task of the session, not of its caller, so a caller that leaves
does not cut it off. `_records/state.py` has the states.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import structs

from .._records.existence import Existence
from .._records.lifecycle import Lifecycle
from .._records.records import Records
from .._records.search_tags import SEARCH_WINDOW, SearchedTag
from .._records.state import FINAL, DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import Deadline, finish, running_loop
from .._transport.loop_end import LoopEnd
from .._transport.options import CallOptions
from .._transport.request import Withdrawn
from .._transport.trace import background, caused_by
from .._waiters.watcher import Watcher
from ..endpoints import CONTAINER_LOGS, FLEET_DEPLOY, MIB, Endpoint
from ..errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    SessionClosed,
)
from ..models._check import flag
from ..models.deploy import DeploymentAccepted, DeployRequest, local_player
from ..models.deployment import ContainerLogs, EndReason, ReadyDeployment
from ..probes import Probe
from .capacity import CapacityLimiter
from .leases import LEAST_CLEANUP, Lease, Leases, ServerBlock, being_stopped
from .pending import OnIntent, PendingDeploy, sender
from .stopper import Query, Stopper, ensure_stopped
from .tag_search import TagSearch
from .webhook_router import D, WebhookRouter

# Most sessions have no webhooks and no journal.
if TYPE_CHECKING:
    from .._shared.ownership import Claimed
    from ..webhooks import WebhookEvent, WebhookReceiver
    from .journal import Journal
    from .relay import Relay
    from .take_over import Steps

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds until background work that the program has cancelled goes on. If the loop is
# being shut down, it ends before.
RESUME_AFTER = 1.0
# Seconds that cancelled tasks have to end. They only leave an exchange, so they need a
# few turns of the loop.
CANCEL_TIMEOUT = 1.0
# The part of `cleanup_timeout` after which closing gives up the answers to deploys in
# flight: the search windows of their tags begin then, and must end in time.
GIVE_UP_AFTER = 0.25
# Seconds for the last look at tags of deploys that were accepted.
LAST_CHECK = 2.0
# The logs of a server that failed are held with the error, so they must not be long.
FAILURE_LOGS = structs.replace(CONTAINER_LOGS, max_bytes=MIB)
# Seconds to fetch the logs of a server that has failed, before it is stopped.
LOGS_TIMEOUT = 3.0
Leftover: TypeAlias = tuple[str | None, str | None]


class DeployManager:
    """The deploys and the stops of one session.

    Args:
        transport: the session's, for the calls of its users.
        once: whether deploys are searched for if their outcome is unknown, unless the
            call says otherwise.
        cleanup_timeout: seconds that closing may take.
        stop_query: the query of the session's own stops.
        on_intent: called with each tag before anything is sent under it.
        webhooks: signs the URLs of webhooks, and verifies what arrives.
        journal: what the session is responsible for, for other processes.
        relay: passes webhooks on to other processes.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        once: bool,
        cleanup_timeout: float,
        stop_query: Query,
        on_intent: OnIntent | None,
        webhooks: "WebhookReceiver | None",
        journal: "Journal | None" = None,
        relay: "Relay | None" = None,
    ) -> None:
        self._callers = transport
        self._journal, self._relay = journal, relay
        if journal:
            journal.connect(
                self._searched, self._handed_out, self._take_over, self._forget
            )
        self._once = once
        self.cleanup_timeout: float = cleanup_timeout
        self._on_intent = on_intent
        self._background: Transport | None = None
        self._tag_search: TagSearch | None = None
        self._search_task: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._pending: dict[asyncio.Task[DeploymentAccepted], PendingDeploy] = {}
        self.records: Records = Records()
        self.existence: Existence = Existence(self.records)
        self.lifecycle: Lifecycle = Lifecycle(transport, self.records)
        self.stopper: Stopper = Stopper(
            self._background_transport,
            self.existence,
            stop_query,
            self.gone,
            self.lifecycle.causes,
            self._interrupted,
        )
        self.watcher: Watcher = Watcher(
            transport, self.records, self.existence, self.lifecycle
        )
        self.router: WebhookRouter = WebhookRouter(
            webhooks,
            transport.enter,
            self._receive,
            self.records,
            self._appeared,
            relay,
        )
        if relay:
            relay.connect(self.router.receive_relayed, self._expects_webhooks)
        self.leases: Leases = Leases(
            self.watcher.until_ready,
            self.stop,
            self._until_ended,
            self._fetch_logs,
            self._settle if journal else None,
            cleanup_timeout,
            lambda: max(self.records.due - len(self.stopper.tasks), 0),
        )
        # If nobody closes the session, it closes itself.
        self._loop_end = LoopEnd(self._close, self._hurry, self._discard)
        transport.binding.on_first_use = self._first_use
        self._closed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        # The task that closes the session, and whether it must not take its time.
        self._closer: asyncio.Task[object] | None = None
        self._hurried = False
        self._named = False
        # One warning for each session: a program that runs behind a proxy has thousands
        # of such players.
        self._warned = False
        self.leftovers: tuple[Leftover, ...] = ()
        self.watched_tags: tuple[str, ...] = ()

    def _first_use(self) -> None:
        self._loop_end.watch()
        if self._journal:
            self._journal.start()
        if self._relay:
            self._relay.start()

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
            observer = self._journal.changed if self._journal else None
            self._tag_search = TagSearch(
                transport, self.records, self._orphaned, observer
            )
            self._start_search(self._tag_search)
        return transport, self._tag_search

    def _start_search(self, search: TagSearch) -> None:
        task = asyncio.create_task(
            search.run(), name="edgegap tag search", context=background()
        )
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
        self.stopper.resume(self.records.in_state(DeployState.STOPPING))

    async def deploy(
        self,
        endpoint: Endpoint[D, DeploymentAccepted],
        body: D,
        options: CallOptions,
        *,
        once: bool | None,
        lease: Lease | None = None,
        capacity: CapacityLimiter | None = None,
    ) -> DeploymentAccepted:
        """Deploy, for a caller who may leave at any moment.

        Args:
            once: search for the deploy if its outcome is unknown; None: as the session
                was told.
            lease: for a server that the session must stop. None: the server is the
                caller's.
            capacity: has given a permit for the server.

        Raises:
            Withdrawn: it has started nothing, and must not be sent any more.
        """
        self._callers.enter()
        deadline = Deadline.after(self._callers.check(options))
        self._warn_of_local_player(body)
        record = lease.record if lease else DeployRecord()
        record.tagged = self._once if once is None else flag("once", once)
        transport, search = self._enter()
        record.fleet = endpoint is FLEET_DEPLOY
        self._observe(record)
        send = sender(endpoint, body, options, self.router)
        pending = PendingDeploy(
            send, record, deadline, search, self.router, capacity, self._journal
        )
        pending.trace = self._callers.trace(endpoint, call_id=record.call_id)
        task = asyncio.create_task(
            self._run(pending, transport, leased=lease is not None),
            name="edgegap deploy",
        )
        self._pending[task] = pending
        task.add_done_callback(self._done)
        try:
            # Cancelling `asyncio.wait` does not cancel the task.
            await self._callers.wait(asyncio.wait({task}), deadline.at)
            if self._journal and task.done():
                await self._settle_new(self._journal, record, deadline)
        except asyncio.CancelledError as error:
            self._abandon(pending, task)
            pending.report(error)
            raise
        if task.done() and not task.cancelled() and not pending.left:
            return task.result()
        late = self._abandon_late(pending, task)
        pending.report(late)
        raise late

    def _observe(self, record: DeployRecord) -> None:
        """Report the changes of a record to the journal, from now on."""
        if self._journal:
            self._journal.observe(record)

    async def _settle_new(
        self, journal: "Journal", record: DeployRecord, deadline: Deadline
    ) -> None:
        """Before a new server is handed out, make sure that no other process stops it.

        Raises:
            DeploymentTerminated, DeployOutcomeUnknown: another one does so, or may.
        """
        released = record.state is DeployState.RELEASED
        if released or (record.state is DeployState.LEASED and journal.is_over):
            try:
                await journal.settle(record, deadline)
            except DeployOutcomeUnknown:
                self.stop(record)
                raise
        if record.state is DeployState.DISOWNED:
            raise self._disowned(record)

    def _disowned(self, record: DeployRecord) -> EdgegapError:
        if record.request_id:
            return being_stopped(record)
        return DeployOutcomeUnknown(
            "another process has taken the deploy over, as this one did not renew its ownership in the journal",
            tag=record.tag,
        )

    async def _settle(self, record: DeployRecord) -> None:
        """The caller has taken a server over: wait for the journal."""
        if self._journal:
            await self._journal.settle(record, Deadline.after(self.cleanup_timeout))
        if record.state is DeployState.DISOWNED:
            raise being_stopped(record)

    async def settled(self) -> None:
        """Wait until the journal, if there is one, has all changes so far, for a short
        while.
        """
        if self._journal:
            await self._journal.saved()

    def _searched(self, tag: str) -> SearchedTag | None:
        return self._tag_search.get(tag) if self._tag_search else None

    def _handed_out(self, tag: str) -> Iterable[str]:
        """The servers under a tag that this process or a dead one has handed out."""
        search = self._tag_search
        return search.except_ids(tag, self.records) if search else ()

    def _forget(self, tag: str) -> None:
        if self._tag_search:
            self._tag_search.forget(tag)

    def _take_over(self, claimed: "Claimed") -> "Steps":
        """Do what is due for a dead process, step by step, until this session is closed."""
        if self._journal is None or self._callers.closed:
            return False
        _, search = self._enter()
        for _ in self._journal.take_over(claimed, search, self._stop_new):
            yield
            if self._callers.closed:
                return False
        return True

    def _warn_of_local_player(self, body: DeployRequest) -> None:
        if not self._warned and (address := local_player(body)):
            self._warned = True
            log.warning(
                "the player address %s is private or loopback, so no server can be placed near it: behind a proxy, "
                "pass the address that it forwards (X-Forwarded-For); further ones are not logged",
                address,
            )

    def _abandon_late(
        self, pending: PendingDeploy, task: asyncio.Task[DeploymentAccepted]
    ) -> EdgegapError:
        """Abandon a deploy that has no result in time.

        Returns:
            The error for its caller.
        """
        error: EdgegapError = SessionClosed("the session was closed during the deploy")
        if task.cancelled() and not pending.left:
            error = EdgegapError("the program cancelled the task of the deploy")
        elif not self._callers.closed:
            error = DeadlineExceeded(
                f"the deploy can't end within its timeout of {pending.deadline}"
            )
        cause: BaseException | None = pending.failure
        if isinstance(cause, DeployOutcomeUnknown):
            cause = cause.__cause__ or cause
        error.__cause__ = cause
        if not self._abandon(pending, task):
            # Earlier attempts may have been sent, and have started nothing.
            error.request_sent = pending.ever_sent
            return error
        error.request_sent = True
        text = str(error)
        if cause:
            text = f"{text}; the last failure: {cause}"
        unknown = DeployOutcomeUnknown(text, tag=pending.record.tag)
        unknown.__cause__ = error
        return unknown

    def _done(self, task: asyncio.Task[DeploymentAccepted]) -> None:
        pending = self._pending.pop(task)
        self.router.over(pending.nonce)
        # The caller may get another error instead.
        error = None if task.cancelled() else task.exception()
        if pending.left and error and not isinstance(error, Withdrawn):
            log.warning(
                "deploy failed after its caller was cancelled or timed out: %s", error
            )

    def _abandon(
        self,
        pending: PendingDeploy,
        task: asyncio.Task[DeploymentAccepted],
        event: Event = Event.LEAVES,
    ) -> bool:
        """The caller has left: withdraw the deploy, or stop its server.

        Args:
            event: LEAVES, or CLOSES.

        Returns:
            Whether its outcome is unknown to the caller.
        """
        record = pending.record
        pending.left = record.withdrawn = True
        if task.done():
            # The task may be cancelled although it has got its server.
            self.stop(record)
            succeeded = not task.cancelled() and task.exception() is None
            return succeeded or record.state not in FINAL
        unsent, may_have_started = pending.unsent, record.may_have_started
        between_attempts = pending.between_attempts
        record.on(event)
        if unsent:
            # `give_up` takes effect in the loop's next turn. If body bytes are written
            # before that, the tag is searched for.
            pending.give_up()
            return False
        if between_attempts:
            # Its tag is searched for, as after any other refusal by a gateway. The caller
            # gets that refusal, and no `DeployOutcomeUnknown`.
            task.cancel()
            return False
        if may_have_started:
            pending.search_beside()
            return True
        # If it has got its server, `_run` stops it.
        task.cancel()
        return record.state is not DeployState.CANCELLED

    async def _run(
        self, pending: PendingDeploy, transport: Transport, *, leased: bool
    ) -> DeploymentAccepted:
        record = pending.record
        try:
            accepted = await pending.run(transport, self._on_intent)
        except BaseException:
            if pending.unknown and not record.wanted:
                self._name((None, None))
            if record.state in (DeployState.ACCEPTED, DeployState.STOPPING):
                # After a failed allocation, or with a server for which nobody waits.
                record.on(Event.STOP)
                self._stop_new(record)
            raise
        record.seen_at = record.accepted_at = asyncio.get_running_loop().time()
        record.nonce = pending.nonce
        if record.state is DeployState.STOPPING:
            self._stop_new(record)
        elif record.state is DeployState.ACCEPTED:
            record.claimed = True
            self.records.add(accepted.request_id, record)
            record.on(Event.LEASE if leased else Event.RELEASE)
        self.router.answered(record)
        return accepted

    def _stop_new(self, record: DeployRecord) -> None:
        """Stop a server that has just become known, and that nobody waits for, unless
        the caller has found it by itself.
        """
        if record.request_id is None:
            return
        known = self.records.get(record.request_id)
        if known and known.claimed and known is not record:
            # It has the permit and the webhooks of the deploy from now on.
            known.on_final, record.on_final = record.on_final, None
            known.nonce, known.hooked = record.nonce, record.hooked
            record.on(Event.GONE)
            return
        self.records.add(record.request_id, record)
        self._observe(record)
        record.seen_at = record.seen_at or asyncio.get_running_loop().time()
        self._begin_stop(record)

    def _receive(self, event: "WebhookEvent") -> None:
        self.watcher.receive(event)
        record = self.records.get(event.request_id)
        terminated = event.event == "terminated"
        if terminated and record and record.state is DeployState.RELEASED:
            record.on(Event.GONE)

    def _expects_webhooks(self) -> bool:
        """Whether somebody may wait for a webhook."""
        watcher = self.watcher
        return self.router.has_open or bool(watcher.tasks or watcher.ends.tasks)

    def _appeared(self, request_id: str, nonce: str) -> bool:
        search = self._tag_search
        return search is not None and search.appeared(request_id, nonce)

    def _orphaned(
        self, request_id: str, tag: str, deploy: DeployRecord, first: bool
    ) -> None:
        """A server has turned up under a tag, and nobody waits for it.

        Args:
            deploy: the record of the deploy that has sent the tag.
            first: its outcome was unknown so far. False: it has another server.
        """
        if first and deploy.state is DeployState.DISOWNED:
            return
        known = self.records.get(request_id)
        claimed = known is not None and known.claimed
        if claimed and not first:
            return
        if not claimed:
            log.warning(
                "stopping deployment %s: nobody waits for it any more (tag %s)",
                request_id,
                tag,
                extra={"request_id": request_id},
            )
        record = deploy if first else DeployRecord(DeployState.STOPPING)
        record.tag, record.request_id = tag, request_id
        record.started_by = deploy.started_by
        if first:
            record.on(Event.FOUND)
        self._stop_new(record)

    def not_yours(self, record: DeployRecord) -> EdgegapError:
        """The error in place of a server that the session stops, or that has ended."""
        if self._callers.closed:
            return SessionClosed(
                "the session was closed, and the server is stopped", request_sent=True
            )
        return being_stopped(record)

    def claim(self, request_id: str) -> DeployRecord:
        """The caller has this server: what it waits for, adopts or stops by its ID is
        not stopped by the session as an orphan.
        """
        record = self.records.of(request_id)
        record.claimed = True
        self._observe(record)
        return record

    def stop(self, record: DeployRecord) -> asyncio.Task[None] | None:
        """Stop a server that nobody uses. If the session is closed, it can only be
        named.
        """
        if record.request_id is None or record.state in FINAL:
            return None
        record.on(Event.STOP)
        return self._begin_stop(record)

    def _begin_stop(self, record: DeployRecord) -> asyncio.Task[None] | None:
        request_id = record.request_id or ""
        if not (self._background or self._callers).closed:
            return self.stopper.stop(request_id)
        self._name((request_id, record.tag))
        log.warning(
            "session closed: deployment %s may still be running",
            request_id,
            extra={"request_id": request_id},
        )
        return None

    def _name(self, leftover: Leftover) -> None:
        if leftover in self.leftovers:
            return
        self.leftovers = (*self.leftovers, leftover)
        if self._named:
            self.lifecycle.left_over(leftover[0])

    def running(
        self,
        endpoint: Endpoint[D, DeploymentAccepted],
        body: D,
        options: CallOptions,
        *,
        ready_timeout: float | None,
        max_seconds: float | None,
        once: bool | None,
    ) -> ServerBlock:
        """A server for as long as the block lasts."""
        self._callers.check(options)

        async def begin() -> tuple[Lease, str]:
            lease = self.leases.own(DeployRecord())
            accepted = await self.deploy(
                endpoint, body, options, once=once, lease=lease
            )
            return lease, accepted.request_id

        return ServerBlock(self.leases, begin, ready_timeout, max_seconds)

    def adopted(
        self,
        request_id: str,
        ready_timeout: float | None,
        max_seconds: float | None,
    ) -> ServerBlock:
        """A server that exists already, for as long as the block lasts. Entering it
        raises `DeploymentTerminated` if this session is stopping the server.
        """

        async def begin() -> tuple[Lease, str]:
            return self._adopt(request_id), request_id

        return ServerBlock(self.leases, begin, ready_timeout, max_seconds)

    def _adopt(self, request_id: str) -> Lease:
        self._callers.enter()
        self._background_transport()
        record = self.claim(request_id)
        if record.state in (DeployState.STOPPING, *FINAL):
            raise being_stopped(record)
        record.on(Event.LEASE)
        return self.leases.own(record)

    async def until_ready(
        self,
        request_id: str,
        timeout: float | None,
        probe: Probe | None,
        *,
        stop_on_failure: bool,
    ) -> ReadyDeployment:
        """Wait until a server is READY, for a caller who has it."""
        self._callers.enter()
        return await self.leases.until_ready(
            self.claim(request_id),
            request_id,
            timeout,
            probe,
            stop_on_failure=stop_on_failure,
        )

    async def _until_ended(self, request_id: str, timeout: float | None) -> EndReason:
        return await self.watcher.ends.until(request_id, "ended", timeout)

    async def _fetch_logs(self, request_id: str) -> ContainerLogs | None:
        try:
            with caused_by(self.lifecycle.causes([request_id])):
                return await self._callers.call(
                    FAILURE_LOGS, {"request_id": request_id}, timeout=LOGS_TIMEOUT
                )
        except EdgegapError as error:
            log.info(
                "the logs of deployment %s could not be fetched: %s",
                request_id,
                error,
                extra={"request_id": request_id},
            )
            return None

    def capacity(self, total: int) -> CapacityLimiter:
        """A cap on how many servers exist at once."""
        lists = self.watcher.end_lists
        return CapacityLimiter(self._callers, lists, self.lifecycle, total)

    def gone(self, request_id: str, accepted: bool) -> None:
        """A stop was accepted, or the server was gone before."""
        self.watcher.stopping(request_id)
        record = self.records.get(request_id)
        if record and record.state not in FINAL:
            record.on(Event.GONE)
        if accepted:
            self.lifecycle.stopped(request_id)
        else:
            self.lifecycle.ended(request_id, EndReason.GONE)

    def stopped(self, request_id: str, *, certain: bool) -> None:
        """A caller's own stop has succeeded.

        Args:
            certain: the API has accepted it. An empty answer may stand for a 404 after
                an answer that was lost, so the session still stops what it has to.
        """
        record = self.claim(request_id)
        if certain or record.state is DeployState.RELEASED:
            self.gone(request_id, True)

    async def ensure_stopped(
        self,
        request_id: str,
        query: Query,
        *,
        deadline: Deadline,
        wait: bool = False,
        refused_for: float = inf,
    ) -> None:
        """Stop a server for a caller, and return when the stop is accepted."""
        self.claim(request_id)
        accepted = await ensure_stopped(
            self._callers, self.existence, request_id, query, deadline, refused_for
        )
        self.gone(request_id, accepted)
        if wait:
            await self.watcher.ends.until(request_id, "gone", deadline.left())

    @property
    def search_window(self) -> float:
        """Seconds after the end of a deploy until its server must be listed."""
        search = self._tag_search
        return search.window if search else SEARCH_WINDOW

    async def aclose(self) -> None:
        """Close the session: finish what can be finished within `cleanup_timeout`, then
        name the rest. After the loop of the session has ended, nothing can be stopped
        any more. A second call waits for the first. In a forked child, all is left to
        the parent.
        """
        if self._callers.in_child:
            # No loop runs here, as far as asyncio knows.
            self._callers.leave_to_parent()
            return
        running_loop()
        loop = self._callers.loop
        if self._callers.closed:
            # Another task may still be closing it.
            await self._closed.wait()
        elif loop is not None and loop.is_closed():
            self._discard()
        else:
            await self._close()

    def close_soon(self) -> None:
        """Nobody has closed the session, and it is garbage-collected."""
        loop = self._callers.loop
        if loop is None or self._callers.closed or self._callers.in_child:
            return
        if loop.is_closed():
            self._discard()
        else:
            # This may be another thread.
            loop.call_soon_threadsafe(self._begin_closing)

    def _begin_closing(self) -> None:
        self._closing = asyncio.ensure_future(self._close())

    def _discard(self) -> None:
        if self._closed.is_set():
            return
        self._callers.discard()
        for record in self.records.in_state(DeployState.LEASED):
            record.on(Event.CUT_OFF)
        if not self._named:
            self._name_leftovers()
        self.router.close()
        if self._journal:
            self._journal.abandon()
        self._closed.set()

    def _hurry(self) -> None:
        """Name what is left, instead of waiting for it any longer."""
        self._hurried = True
        if self._closer:
            self._closer.cancel()

    async def _close(self) -> None:
        if self._callers.in_child:
            self._callers.leave_to_parent()
        if self._callers.closed:
            return
        self._closer = asyncio.current_task()
        self._callers.abort()
        try:
            cancelled = await self._close_all()
        except GeneratorExit:
            # The loop has ended around it.
            self._discard()
            raise
        finally:
            self._closed.set()
        if cancelled and not self._hurried:
            raise cancelled

    async def _close_all(self) -> asyncio.CancelledError | None:
        try:
            await self._loop_end.aclose()
            cancelled = await self._stop_all()
        except GeneratorExit:
            raise
        except BaseException:
            self.router.close()
            if self._journal:
                self._journal.abandon()
            await self._callers.aclose()
            raise
        if self._journal:
            cancelled = await self._journal.aclose() or cancelled
        return await self._callers.aclose() or cancelled

    async def _stop_all(self) -> asyncio.CancelledError | None:
        self.router.close()
        for task, pending in list(self._pending.items()):
            self._abandon(pending, task, Event.CLOSES)
        for record in self.records.in_state(DeployState.LEASED):
            record.on(Event.CLOSES)
            self._begin_stop(record)
        if self._background is not None:
            self.stopper.resume(self.records.in_state(DeployState.STOPPING))
        cancelled = await self._finish()
        self._name_leftovers()
        return await self._end_tasks() or cancelled

    def _name_leftovers(self) -> None:
        """Name what may still be running, as the session is closed."""
        self._named = True
        self.leftovers = self._left()
        for request_id, _ in self.leftovers:
            self.lifecycle.left_over(request_id)
        if self._tag_search:
            self.watched_tags = tuple(self._tag_search.watched_tags)
        if self.leftovers:
            names = ", ".join(
                request_id
                or (
                    f"a server under the tag {tag}" if tag else "a server without a tag"
                )
                for request_id, tag in self.leftovers
            )
            log.warning("session closed: these may still be running: %s", names)

    async def _finish(self) -> asyncio.CancelledError | None:
        """Wait for deploys, for searches without a caller, and for the stops that they
        lead to.
        """
        now = asyncio.get_running_loop().time()
        least = min(LEAST_CLEANUP, self.cleanup_timeout)
        end = max(self.leases.cleanup_end(), now + least)
        check = self._last_check(end)
        cancelled = await self._until_idle(now + GIVE_UP_AFTER * (end - now), check)
        for pending in self._pending.values():
            pending.give_up()
        cancelled = await self._until_idle(end, check) or cancelled
        for task in check:
            task.cancel()
        return await finish(check, end) or cancelled

    def _last_check(self, end: float) -> Collection[asyncio.Task[None]]:
        """Look once for second servers under tags that were accepted lately."""
        search, transport = self._tag_search, self._background
        seconds = min(LAST_CHECK, end - asyncio.get_running_loop().time())
        if search is None or transport is None or transport.closed or seconds <= 0:
            return ()
        look = search.check_all(seconds)
        return (
            asyncio.create_task(look, name="edgegap tag check", context=background()),
        )

    async def _until_idle(
        self, end: float, more: Collection[asyncio.Task[None]]
    ) -> asyncio.CancelledError | None:
        cancelled: asyncio.CancelledError | None = None
        while asyncio.get_running_loop().time() < end and not self._hurried:
            tasks: list[asyncio.Future[Any]] = [
                *self._pending,
                *self.stopper.tasks,
                *more,
            ]
            if self._tag_search:
                tasks += self._tag_search.unwanted
            if all(task.done() for task in tasks):
                break
            cancelled = await finish(tasks, end, lambda: self._hurried) or cancelled
        return cancelled

    def _left(self) -> tuple[Leftover, ...]:
        """What may still be running."""
        left: list[Leftover] = [*self.leftovers]
        left += [
            (record.request_id, record.tag)
            for record in self.records.in_state(DeployState.STOPPING)
        ]
        left += [
            (None, pending.record.tag)
            for pending in self._pending.values()
            if pending.record.may_have_started and pending.record.tag
        ]
        if self._tag_search:
            left += [(None, tag) for tag in self._tag_search.unknown_tags]
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
            *self.watcher.ends.tasks,
        }
        if self._search_task:
            tasks.add(self._search_task)
        if self._tag_search:
            tasks |= self._tag_search.looks
        for task in tasks:
            task.cancel()
        end = asyncio.get_running_loop().time() + CANCEL_TIMEOUT
        return await finish(tasks, end)
