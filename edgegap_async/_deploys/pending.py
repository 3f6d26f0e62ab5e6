"""One deploy, from its place in the queue until its server is known."""

import asyncio
import logging
import os
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from msgspec import structs

from .._records.search_tags import ABSENT_HOLD
from .._records.state import UNDER_WAY, DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.options import CallOptions
from .._transport.request import Attempt, Withdrawn
from .._transport.trace import CAUSED_BY, CallTrace
from ..endpoints import Endpoint
from ..errors import (
    AllocationFailed,
    DeployOutcomeUnknown,
    EdgegapError,
    RateLimited,
    may_be_done,
)
from ..models.deploy import DeploymentAccepted
from .capacity import CapacityLimiter
from .tag_search import TagSearch, Unresolved
from .webhook_router import D, WebhookRouter

# Most sessions have no journal.
if TYPE_CHECKING:
    from .journal import Journal

log: logging.Logger = logging.getLogger("edgegap_async")
# With "once-" before them 20 characters: the reference page allows no more in a tag.
TAG_DIGITS = 15
# Seconds that must be left for another deploy.
LEAST_TIME = 1.0
# Attempts in a row that have started nothing. After so many the API is down, or each
# answer is unreadable.
MOST_ABSENT = 3
# Seconds without an answer after which the tag is searched for while the request is
# still under way.
SLOW_ANSWER = 3.0
OnIntent: TypeAlias = Callable[[str], object]
# Sends a deploy under a tag, with a timeout in seconds.
Send: TypeAlias = Callable[
    [Transport, str, float | None, "PendingDeploy"], Awaitable[DeploymentAccepted]
]


class PendingDeploy:
    """One deploy in progress. The transport reports its attempts to it (`Progress`).

    Args:
        send: sends it.
        capacity: what its server needs a permit of; a permit was acquired already.
        journal: is told of each tag before anything is sent under it.

    Attributes:
        failure: the error of the latest attempt that failed.
        left: the caller has left.
        unknown: it was cut off without a tag of its own, so nobody finds out whether a
            server was started.
        between_attempts: it waits for its next attempt, after one that a gateway has
            refused and that may be done all the same.
    """

    def __init__(
        self,
        send: Send,
        record: DeployRecord,
        deadline: Deadline,
        search: TagSearch,
        router: WebhookRouter,
        capacity: CapacityLimiter | None = None,
        journal: "Journal | None" = None,
    ) -> None:
        self.record, self.deadline, self.search = record, deadline, search
        self._journal = journal
        self.failure: EdgegapError | None = None
        self.left: bool = False
        self.unknown: bool = False
        self.between_attempts: bool = False
        # The trace of the call. Its attempts may end after it.
        self.trace: CallTrace | None = None
        self._send, self._router, self._capacity = send, router, capacity
        # The nonce of the latest attempt, in its webhooks.
        self.nonce: str = ""
        # The attempt that is under way.
        self._attempt: Attempt | None = None
        # When the latest attempt was sent. The record has the time of the first one under
        # its tag.
        self._attempt_at: float | None = None
        # Searches for the tag if the answer is slow.
        self._slow: asyncio.TimerHandle | None = None
        # The server of an earlier attempt. It has turned up while this deploy waited to
        # be sent again.
        self._late: DeploymentAccepted | None = None
        self._turned_up = asyncio.Event()
        # A request was sent, whatever became of it.
        self.ever_sent: bool = False
        # A gateway may have answered a request under the present tag after it was done,
        # so the tag is searched for even if a later request under it is refused.
        self._doubtful: bool = False

    async def run(
        self, transport: Transport, on_intent: OnIntent | None
    ) -> DeploymentAccepted:
        """Send the deploy. If its outcome is unknown, search for its tag; if it has
        started nothing, send it again.

        Raises:
            ApiError, UnexpectedAnswer: it was refused. If a gateway may have answered,
                its tag is searched for in the background.
            DeployOutcomeUnknown: the search was inconclusive, the time is over, or
                `MOST_ABSENT` attempts have started nothing.
            Withdrawn: it has started nothing, and must not be sent again.
        """
        if self.trace:
            # The task of the deploy has a context of its own.
            CAUSED_BY.set((self.trace.call_id,))
        try:
            accepted = await self._until_accepted(transport, on_intent)
            self.report(None)
            return accepted
        except (Withdrawn, EdgegapError) as error:
            self.report(error)
            raise
        except GeneratorExit:
            # The loop has ended around it.
            raise
        except BaseException as error:
            # The program has cancelled the task, or a callback of the user has raised.
            self._cut_off(error)
            raise
        finally:
            self._ended()

    async def _until_accepted(
        self, transport: Transport, on_intent: OnIntent | None
    ) -> DeploymentAccepted:
        try:
            return await self._attempts(transport, on_intent)
        except (Withdrawn, EdgegapError) as error:
            if self._late:
                return self._late
            self._failed(error)
            raise

    def report(self, error: BaseException | None) -> None:
        """The caller gets its server, or an error."""
        if self.trace:
            self.trace.end(error)

    async def _attempts(
        self, transport: Transport, on_intent: OnIntent | None
    ) -> DeploymentAccepted:
        absent = 0
        while True:
            if self._late:
                return self._late
            tag = await self._new_tag(on_intent)
            try:
                accepted = await self._send(transport, tag, self.deadline.left(), self)
                # Lists show the ID without spaces around it.
                request_id = accepted.request_id.strip()
                self._answered(tag, request_id, Event.ANSWERED)
                self.record.sent_at = self._attempt_at
                once_tag = tag if self.record.tagged else None
                return structs.replace(
                    accepted, request_id=request_id, once_tag=once_tag
                )
            except DeployOutcomeUnknown as error:
                cause = error.__cause__ or error
                self.record.on(Event.LOST)
                if not self.record.tagged:
                    self.unknown = True
                    raise
            found = await self._resolve(tag, cause)
            if found is not None:
                return self._found(found, tag)
            absent += 1
            left = self.deadline.left()
            late = left is not None and left < LEAST_TIME
            if late or self.record.withdrawn or absent >= MOST_ABSENT:
                self.record.on(Event.GIVEN_UP)
                self._absent(tag)
                text = f"no server was found under the tag {tag} (attempt {absent})"
                raise _unknown(text, tag, cause) from cause
            self.record.on(Event.ABSENT)
            self._absent(tag)
            log.info(
                "no server found under the tag %s: deploying again",
                tag,
                extra={"tag": tag},
            )
            if self._capacity:
                await self._acquire_again(self._capacity)

    async def _new_tag(self, on_intent: OnIntent | None) -> str:
        """A tag for the next attempt. `on_intent` and the journal get it before it is
        sent.
        """
        tag = self.nonce = f"once-{os.urandom(TAG_DIGITS).hex()[:TAG_DIGITS]}"
        self._doubtful = False
        if self.record.tagged:
            self.record.tag = tag
            if on_intent:
                on_intent(tag)
        if self._journal:
            await self._journal.written(self.record, self.deadline)
        return tag

    def _found(self, request_id: str, tag: str) -> DeploymentAccepted:
        log.info(
            "recovered: the tag %s is that of deployment %s",
            tag,
            request_id,
            extra={"tag": tag, "request_id": request_id},
        )
        self.record.tag = self.nonce = tag
        self._answered(tag, request_id, Event.FOUND)
        return DeploymentAccepted(request_id=request_id, once_tag=tag)

    def _answered(self, tag: str, request_id: str, event: Event) -> None:
        self.record.request_id = request_id
        if self.trace:
            self.trace.request_id = request_id
        self.record.on(event)
        if self.record.tagged:
            self.search.accepted(tag, self.record, request_id)

    def _absent(self, tag: str) -> None:
        """No server exists under a tag. One that turns up before the deploy is sent again
        is the answer; a later one is stopped.
        """

        def turned_up(request_id: str) -> bool:
            if self.record.state is not DeployState.QUEUED or self.record.withdrawn:
                return False
            self._late = self._found(request_id, tag)
            self._turned_up.set()
            return True

        self.search.watch(tag, turned_up)
        self._router.over(tag)

    async def _acquire_again(self, capacity: CapacityLimiter) -> None:
        """The tag without a server keeps its permit for a while, so another deploy needs
        one of its own. If the server turns up meanwhile, it has the first one.
        """
        record, release = self.record, self.record.on_final
        record.on_final = None
        loop = asyncio.get_running_loop()
        holding = loop.call_later(ABSENT_HOLD, capacity.release)
        acquiring = loop.create_task(capacity.acquire(), name="edgegap permit")
        turning_up = loop.create_task(self._turned_up.wait(), name="edgegap late")
        try:
            await asyncio.wait({acquiring, turning_up}, return_when=FIRST_COMPLETED)
        finally:
            for task in (acquiring, turning_up):
                task.cancel()
        if acquiring.done() and not acquiring.cancelled():
            acquiring.result()
            capacity.use(record)
        elif self._late and loop.time() < holding.when():
            holding.cancel()
            record.on_final = release

    async def _resolve(self, tag: str, cause: BaseException) -> str | None:
        """Search for the tag. None: nothing was started.

        Raises:
            DeployOutcomeUnknown: the search was inconclusive.
        """
        log.info("searching for the tag %s: %s", tag, cause, extra={"tag": tag})
        if self.trace:
            self.trace.lost = True
        try:
            return await self.search.resolve(tag, self.record)
        except Unresolved:
            self.record.on(Event.INCONCLUSIVE)
            self.search.quarantine(tag, self.record)
            text = f"the search for the tag {tag} was inconclusive"
            raise _unknown(text, tag, cause) from cause

    def _cut_off(self, error: BaseException) -> None:
        """Neither an answer nor an error of the API has ended the deploy."""
        record = self.record
        if record.state is DeployState.QUEUED:
            left = isinstance(error, asyncio.CancelledError)
            record.on(Event.LEAVES if left else Event.REFUSED)
        elif record.state in UNDER_WAY:
            self.unknown = not record.tagged
            record.on(Event.CUT_OFF)
            if record.tag:
                self.search.search_unwanted(record.tag, record)

    def _failed(self, error: Withdrawn | EdgegapError) -> None:
        """The deploy has ended with an error."""
        record = self.record
        if isinstance(error, AllocationFailed):
            error.once_tag = record.tag
        if isinstance(error, AllocationFailed) and error.request_id and record.tag:
            record.request_id = error.request_id
            # A proxy may have sent the deploy twice, with a success for the other.
            self.search.accepted(record.tag, record, error.request_id)
            record.on(Event.NOT_ALLOCATED)
        elif self._doubtful and record.tag and record.state in UNDER_WAY:
            record.on(Event.REFUSED_BY_GATEWAY)
            self.search.search_unwanted(record.tag, record)
        elif isinstance(error, Withdrawn):
            if record.state is DeployState.QUEUED:
                record.on(Event.LEAVES)
        elif record.state in (DeployState.QUEUED, *UNDER_WAY):
            self.search.forget(record.tag or "")
            record.on(Event.REFUSED)

    def search_beside(self) -> None:
        """Search for the tag while its request is still under way. If its server is
        listed, its answer is not awaited any longer.
        """
        record = self.record
        if record.state not in UNDER_WAY or not record.tag:
            return
        record.on(Event.SEARCH)
        entry = self.search.begin(record.tag, record)
        entry.found.add_done_callback(lambda _: self.give_up())

    def _search_if_sent(self) -> None:
        if self.unsent:
            # It still waits for its connection: for TLS, or a proxy.
            loop = asyncio.get_running_loop()
            self._slow = loop.call_later(SLOW_ANSWER, self._search_if_sent)
        else:
            self.search_beside()

    def give_up(self) -> None:
        """End the exchange in progress, if there is one, without an answer."""
        if self._attempt:
            self._attempt.give_up()

    @property
    def unsent(self) -> bool:
        """Whether the request in progress certainly was not processed so far."""
        return self._attempt is not None and not self._attempt.sending

    # What the transport reports.

    @property
    def resolves(self) -> bool:
        """Whether an outcome that is unknown is found out by its tag."""
        return self.record.tagged

    def sending(self, now: float, attempt: Attempt) -> None:
        """An attempt begins.

        Raises:
            Withdrawn: it must not, though it has a slot.
        """
        if self.record.withdrawn or self._late:
            raise Withdrawn("the deploy was withdrawn before it started anything")
        self.record.on(Event.SENT)
        self._attempt_at, self.between_attempts = now, False
        if not self._doubtful:
            self.record.sent_at = now
        self._attempt = attempt
        if self.record.tagged:
            loop = asyncio.get_running_loop()
            self._slow = loop.call_later(SLOW_ANSWER, self._search_if_sent)

    def _ended(self) -> None:
        self._attempt = None
        if self._slow:
            self._slow.cancel()
            self._slow = None

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended. If it was sent, its outcome decides what comes next."""
        self._ended()
        self.ever_sent = self.ever_sent or sent
        if not sent and self.record.state in UNDER_WAY:
            self._not_done()

    def _not_done(self) -> None:
        if self._doubtful:
            # An earlier request under this tag may be.
            self.between_attempts = True
            return
        self.search.forget(self.record.tag or "")
        self.record.on(Event.NOT_DONE)

    def interrupted(self, *, sent: bool) -> None:
        """A cancellation has ended an attempt."""
        if sent:
            self._cut_off(asyncio.CancelledError())

    def failed(self, error: EdgegapError) -> None:
        """An attempt has failed."""
        self.failure = error
        if self.record.tagged and (may_be_done(error) or _is_gateways_429(error)):
            self._doubtful = True

    def retrying(self) -> None:
        """The attempts so far have started nothing, and another one follows.

        Raises:
            Withdrawn: it must not.
        """
        if self.record.state in UNDER_WAY:
            self._not_done()
        if self.record.withdrawn:
            raise Withdrawn("the deploy was withdrawn before it started anything")


def _is_gateways_429(error: EdgegapError) -> bool:
    return isinstance(error, RateLimited) and not error.from_api


def _unknown(text: str, tag: str, cause: BaseException) -> DeployOutcomeUnknown:
    return DeployOutcomeUnknown(f"{text}; the last failure: {cause}", tag=tag)


def sender(
    endpoint: Endpoint[D, DeploymentAccepted],
    body: D,
    options: CallOptions,
    router: WebhookRouter,
) -> Send:
    """Sends a body to an endpoint, under one tag after the other."""

    async def send(
        transport: Transport, tag: str, timeout: float | None, pending: PendingDeploy
    ) -> DeploymentAccepted:
        tagged = body
        if pending.record.tagged:
            tagged = structs.replace(body, tags=(*(body.tags or ()), tag))
        given = options.copy()
        given["timeout"] = timeout
        return await transport.call(
            endpoint,
            body=router.sign(tagged, tag),
            progress=pending,
            trace=pending.trace,
            **given,
        )

    return send
