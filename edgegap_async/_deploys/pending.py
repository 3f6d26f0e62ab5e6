"""One deploy, from its place in the queue until its server is known."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import structs

from .._limits.queue import Priority
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.request import Withdrawn
from ..endpoints import Endpoint
from ..errors import (
    ApiError,
    DeployOutcomeUnknown,
    EdgegapError,
    UnexpectedAnswer,
    may_be_done,
)
from ..models.deploy import DeploymentAccepted
from .leases import Lease
from .state import DeployProgress, DeployState
from .stopper import stop_tagged
from .tag_search import SEARCH_WINDOW, TagSearch, Unresolved
from .webhook_router import D, WebhookRouter

log = logging.getLogger("edgegap_async")
# With "once-" before them 20 characters: the reference page allows no more in a tag.
TAG_DIGITS = 15
# Seconds that must be left for another deploy.
LEAST_TIME = 1.0
# Attempts in a row that have started nothing. After so many the API is down, or each
# answer is unreadable.
MOST_ABSENT = 3
OnIntent: TypeAlias = Callable[[str], object]
Send: TypeAlias = Callable[
    [Transport, str, float | None], Awaitable[DeploymentAccepted]
]


class PendingDeploy:
    """One deploy in progress.

    Args:
        send: sends it under a tag, with a timeout, and reports to `progress`.
        lease: held by the session from the moment in which the server is known.
    """

    def __init__(
        self,
        send: Send,
        progress: DeployProgress,
        deadline: Deadline,
        lease: Lease | None,
        router: WebhookRouter,
    ) -> None:
        self.progress, self.deadline, self.lease = progress, deadline, lease
        self._send, self._router = send, router
        # Of the latest attempt.
        self.tag: str = ""

    async def run(
        self, transport: Transport, search: TagSearch, on_intent: OnIntent | None
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
        try:
            accepted = await self._run(transport, search, on_intent)
        except EdgegapError:
            self.progress.move(DeployState.FAILED)
            raise
        except (Withdrawn, asyncio.CancelledError):
            if self.progress.state is DeployState.QUEUED:
                self.progress.move(DeployState.CANCELLED)
            raise
        self.progress.move(DeployState.ACCEPTED)
        search.exists(accepted.request_id)
        return accepted

    async def _run(
        self, transport: Transport, search: TagSearch, on_intent: OnIntent | None
    ) -> DeploymentAccepted:
        absent = 0
        while True:
            tag = self.tag = f"once-{os.urandom(TAG_DIGITS).hex()[:TAG_DIGITS]}"
            if on_intent:
                on_intent(tag)
            try:
                accepted = await self._send(transport, tag, self.deadline.left())
                return structs.replace(accepted, once_tag=tag)
            except DeployOutcomeUnknown as error:
                cause = error.__cause__ or error
            except (ApiError, UnexpectedAnswer) as refused:
                if may_be_done(refused):
                    search.search_unwanted(tag, self._sent_at)
                    self._router.quarantined(tag)
                raise
            found = await self._resolve(search, tag, cause)
            if found is not None:
                return found
            absent += 1
            left = self.deadline.left()
            late = left is not None and left < LEAST_TIME
            if late or self.progress.withdrawn or absent >= MOST_ABSENT:
                text = f"no server was found under the tag {tag} (attempt {absent})"
                raise _unknown(text, tag, cause) from cause
            self.progress.move(DeployState.QUEUED)
            log.info("no server found under the tag %s: deploying again", tag)

    @property
    def _sent_at(self) -> float:
        return self.progress.sent_at or 0.0

    async def _resolve(
        self, search: TagSearch, tag: str, cause: BaseException
    ) -> DeploymentAccepted | None:
        """Search for the tag. None: nothing was started.

        Raises:
            DeployOutcomeUnknown: the search was inconclusive.
        """
        log.info("searching for the tag %s: %s", tag, cause)
        self.progress.move(DeployState.SEARCHING)
        try:
            request_id = await search.resolve(tag, self._sent_at)
        except Unresolved:
            self._quarantine(search, tag)
            text = f"the search for the tag {tag} was inconclusive"
            raise _unknown(text, tag, cause) from cause
        except asyncio.CancelledError:
            self._quarantine(search, tag)
            self.progress.move(DeployState.UNKNOWN)
            raise
        if request_id is None:
            self._quarantine(search, tag)
            return None
        return DeploymentAccepted(request_id=request_id, once_tag=tag)

    def _quarantine(self, search: TagSearch, tag: str) -> None:
        search.quarantine(tag, self._sent_at)
        self._router.quarantined(tag)

    async def stop_before_loop_ends(
        self, transport: Transport, search: TagSearch
    ) -> None:
        """The loop is being shut down: stop the server, if one appears in time."""
        if not self.tag:
            return
        # The tag search was cancelled too, so this only names the tag.
        self._quarantine(search, self.tag)
        if await stop_tagged(transport, self.tag, SEARCH_WINDOW):
            search.quarantined.pop(self.tag, None)


def _unknown(text: str, tag: str, cause: BaseException) -> DeployOutcomeUnknown:
    return DeployOutcomeUnknown(f"{text}; the last failure: {cause}", tag=tag)


def pending_deploy(
    endpoint: Endpoint[D, DeploymentAccepted],
    body: D,
    priority: Priority,
    deadline: Deadline,
    lease: Lease | None,
    progress: DeployProgress,
    router: WebhookRouter,
) -> PendingDeploy:
    """A deploy of this body."""

    async def send(
        transport: Transport, tag: str, timeout: float | None
    ) -> DeploymentAccepted:
        tagged = structs.replace(body, tags=(*(body.tags or ()), tag))
        return await transport.call(
            endpoint,
            body=router.sign(tagged, tag),
            timeout=timeout,
            priority=priority,
            progress=progress,
        )

    return PendingDeploy(send, progress, deadline, lease, router)
