"""Makes the parts of `_deploys/`, connects them, and offers what the resources of a session
need to start servers, wait for them and stop them.
"""

import logging
from math import inf
from typing import TYPE_CHECKING

from msgspec import structs

from .._records.existence import Existence
from .._records.lifecycle import Lifecycle
from .._records.records import Records
from .._records.state import FINAL, DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.options import CallOptions
from .._transport.trace import caused_by
from .._waiters.watcher import Watcher
from ..endpoints import CONTAINER_LOGS, MIB, Endpoint
from ..errors import EdgegapError, SessionClosed
from ..models.deploy import DeploymentAccepted
from ..models.deployment import ContainerLogs, EndReason, ReadyDeployment
from ..probes import Probe
from .background import BackgroundWork
from .capacity import CapacityLimiter
from .closing import Closing
from .leases import Lease, Leases, ServerBlock, being_stopped
from .leftovers import Leftovers
from .pending import OnIntent
from .runner import DeployRunner
from .stopper import Query, ensure_stopped
from .webhook_router import D, WebhookRouter

# Most sessions have no webhooks and no journal.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent, WebhookReceiver
    from .journal import Journal
    from .relay import Relay

log: logging.Logger = logging.getLogger("edgegap_async")
# The logs of a server that failed are held with the error, so they must not be long.
FAILURE_LOGS = structs.replace(CONTAINER_LOGS, max_bytes=MIB)
# Seconds to fetch the logs of a server that has failed, before it is stopped.
LOGS_TIMEOUT = 3.0


class DeployManager:
    """Starts, waits for and stops the servers of one session.

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

    Attributes:
        records: what is known of each deployment.
        leftovers: what may still be running once the session is closed.
        background: stops servers that nobody uses, and searches for tags.
        watcher: waits until servers are READY, or have ended.
        router: routes each webhook to its deploy.
        leases: ends blocks, and stops their servers.
        runner: runs deploys.
        closing: closes the session.
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
        self._cleanup_timeout = cleanup_timeout
        self.records: Records = Records()
        self._existence = Existence(self.records)
        self._lifecycle = Lifecycle(transport, self.records)
        self.leftovers: Leftovers = Leftovers(self._lifecycle)
        self.background: BackgroundWork = BackgroundWork(
            transport,
            self.records,
            self._existence,
            self._lifecycle,
            self.leftovers,
            stop_query=stop_query,
            gone=self._gone,
            cleaning_up=lambda: self.runner.cleaning_up,
            journal=journal,
        )
        self.watcher: Watcher = Watcher(
            transport, self.records, self._existence, self._lifecycle
        )
        self.router: WebhookRouter = WebhookRouter(
            webhooks,
            transport.enter,
            self._receive,
            self.records,
            self.background.appeared,
            relay,
        )
        if relay:
            relay.connect(self.router.receive_relayed, self._expects_webhooks)
        self.leases: Leases = Leases(
            self.watcher.until_ready,
            self.background.stop,
            self._until_ended,
            self._fetch_logs,
            self._settle if journal else None,
            cleanup_timeout,
            self.background.count_open,
        )
        self.runner: DeployRunner = DeployRunner(
            transport,
            self.records,
            self.background,
            self.leftovers,
            once=once,
            on_intent=on_intent,
            router=self.router,
            journal=journal,
        )
        self.closing: Closing = Closing(
            transport,
            self.records,
            self.runner,
            self.background,
            self.leases,
            self.leftovers,
            watcher=self.watcher,
            router=self.router,
            journal=journal,
        )
        transport.binding.on_first_use = self._first_use

    def _first_use(self) -> None:
        self.closing.watch()
        if self._journal:
            self._journal.start()
        if self._relay:
            self._relay.start()

    async def _settle(self, record: DeployRecord) -> None:
        """The caller has taken a server over: wait for the journal."""
        if self._journal:
            await self._journal.settle(record, Deadline.after(self._cleanup_timeout))
        if record.state is DeployState.DISOWNED:
            raise being_stopped(record)

    async def settled(self) -> None:
        """Wait until the journal, if there is one, has all changes so far, for a short
        while.
        """
        if self._journal:
            await self._journal.saved()

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
        self.background.observe(record)
        return record

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
            accepted = await self.runner.deploy(
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
        # Made now: once the session is closed, it is too late.
        self.background.transport()
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
            with caused_by(self._lifecycle.causes([request_id])):
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
        return CapacityLimiter(self._callers, lists, self._lifecycle, total)

    def _gone(self, request_id: str, accepted: bool) -> None:
        """A stop was accepted, or the server was gone before."""
        self.watcher.stopping(request_id)
        record = self.records.get(request_id)
        if record and record.state not in FINAL:
            record.on(Event.GONE)
        if accepted:
            self._lifecycle.stopped(request_id)
        else:
            self._lifecycle.ended(request_id, EndReason.GONE)

    def stopped(self, request_id: str, *, certain: bool) -> None:
        """A caller's own stop has succeeded.

        Args:
            certain: the API has accepted it. An empty answer may stand for a 404 after
                an answer that was lost, so the session still stops what it has to.
        """
        record = self.claim(request_id)
        if certain or record.state is DeployState.RELEASED:
            self._gone(request_id, True)

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
            self._callers, self._existence, request_id, query, deadline, refused_for
        )
        self._gone(request_id, accepted)
        if wait:
            await self.watcher.ends.until(request_id, "gone", deadline.left())
