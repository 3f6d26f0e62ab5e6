"""Runs the deploys of one session, each in a task of its own, so a deploy goes on if its
caller leaves. `_records/state.py` has the states.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from .._records.records import Records
from .._records.state import FINAL, DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.options import CallOptions
from .._transport.request import Withdrawn
from ..endpoints import FLEET_DEPLOY, Endpoint
from ..errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    SessionClosed,
)
from ..models._check import flag
from ..models.deploy import DeploymentAccepted, DeployRequest, local_player
from .background import BackgroundWork
from .capacity import CapacityLimiter
from .leases import Lease, being_stopped
from .leftovers import Leftover, Leftovers
from .pending import OnIntent, PendingDeploy, sender
from .webhook_router import D, WebhookRouter

# Most sessions have no journal.
if TYPE_CHECKING:
    from .journal import Journal

log: logging.Logger = logging.getLogger("edgegap_async")


class DeployRunner:
    """Runs the deploys of one session.

    Args:
        callers: the transport for the calls of the session's users.
        background: searches for tags, and stops servers that nobody waits for.
        leftovers: takes deploys without a tag whose outcome nobody gets.
        once: whether deploys are searched for if their outcome is unknown, unless the
            call says otherwise.
        on_intent: called with each tag before anything is sent under it.
        router: gives each deploy the URLs of its webhooks.
        journal: what the session is responsible for, for other processes.
    """

    def __init__(
        self,
        callers: Transport,
        records: Records,
        background: BackgroundWork,
        leftovers: Leftovers,
        *,
        once: bool,
        on_intent: OnIntent | None,
        router: WebhookRouter,
        journal: "Journal | None",
    ) -> None:
        self._callers, self._records = callers, records
        self._background, self._leftovers = background, leftovers
        self._once, self._on_intent = once, on_intent
        self._router, self._journal = router, journal
        self._pending: dict[asyncio.Task[DeploymentAccepted], PendingDeploy] = {}
        # One warning for each session: a program that runs behind a proxy has thousands
        # of such players.
        self._warned = False

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
        transport, search = self._background.enter()
        record.fleet = endpoint is FLEET_DEPLOY
        self._background.observe(record)
        send = sender(endpoint, body, options, self._router)
        pending = PendingDeploy(
            send, record, deadline, search, self._router, capacity, self._journal
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
                await self._settle(self._journal, record, deadline)
        except asyncio.CancelledError as error:
            self._abandon(pending, task)
            pending.report(error)
            raise
        if task.done() and not task.cancelled() and not pending.left:
            return task.result()
        late = self._abandon_late(pending, task)
        pending.report(late)
        raise late

    def _warn_of_local_player(self, body: DeployRequest) -> None:
        if not self._warned and (address := local_player(body)):
            self._warned = True
            log.warning(
                "the player address %s is private or loopback, so no server can be placed near it: behind a proxy, "
                "pass the address that it forwards (X-Forwarded-For); further ones are not logged",
                address,
            )

    async def _settle(
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
                self._background.stop(record)
                raise
        if record.state is DeployState.DISOWNED:
            raise _disowned(record)

    async def _run(
        self, pending: PendingDeploy, transport: Transport, *, leased: bool
    ) -> DeploymentAccepted:
        record = pending.record
        try:
            accepted = await pending.run(transport, self._on_intent)
        except BaseException:
            if pending.unknown and not record.wanted:
                self._leftovers.add((None, None))
            if record.state in (DeployState.ACCEPTED, DeployState.STOPPING):
                # After a failed allocation, or with a server for which nobody waits.
                record.on(Event.STOP)
                self._background.stop_new(record)
            raise
        record.seen_at = record.accepted_at = asyncio.get_running_loop().time()
        record.nonce = pending.nonce
        if record.state is DeployState.STOPPING:
            self._background.stop_new(record)
        elif record.state is DeployState.ACCEPTED:
            record.claimed = True
            self._records.add(accepted.request_id, record)
            record.on(Event.LEASE if leased else Event.RELEASE)
        self._router.answered(record)
        return accepted

    def _done(self, task: asyncio.Task[DeploymentAccepted]) -> None:
        pending = self._pending.pop(task)
        self._router.over(pending.nonce)
        # The caller may get another error instead.
        error = None if task.cancelled() else task.exception()
        if pending.left and error and not isinstance(error, Withdrawn):
            log.warning(
                "deploy failed after its caller was cancelled or timed out: %s", error
            )

    # Callers that leave.

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
            self._background.stop(record)
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

    # The end of the session.

    @property
    def tasks(self) -> list[asyncio.Task[DeploymentAccepted]]:
        """The tasks of the deploys in progress."""
        return [*self._pending]

    @property
    def cleaning_up(self) -> bool:
        """Whether deploys that were cancelled are still cleaning up."""
        return any(task.cancelling() for task in self._pending)

    def abandon_all(self) -> None:
        """Abandon all deploys, as the session is being closed."""
        for task, pending in list(self._pending.items()):
            self._abandon(pending, task, Event.CLOSES)

    def give_up(self) -> None:
        """Give up the answers to all deploys."""
        for pending in self._pending.values():
            pending.give_up()

    @property
    def may_be_running(self) -> list[Leftover]:
        """What may still be running."""
        records = (pending.record for pending in self._pending.values())
        return [(None, it.tag) for it in records if it.may_have_started and it.tag]


def _disowned(record: DeployRecord) -> EdgegapError:
    if record.request_id:
        return being_stopped(record)
    return DeployOutcomeUnknown(
        "another process has taken the deploy over, as this one did not renew its ownership in the journal",
        tag=record.tag,
    )
