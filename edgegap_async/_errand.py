"""A deploy, owned by the session until somebody has its server."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import structs

from ._deploys.leases import Lease
from ._deploys.stopper import stop_tagged
from ._deploys.webhook_router import WebhookRouter
from ._lanes import Priority
from ._lookups import SETTLE_WINDOW, Lookups, Unsettled
from ._posting import D, Posting
from ._request import Voyage
from ._transport import Transport
from .errors import ApiError, DeployOutcomeUnknown, UnexpectedAnswer, may_be_done
from .models.deploy import DeploymentAccepted

log = logging.getLogger("edgegap_async")
# with "once-" before them 20 characters: a tag has room for no more
TAG_DIGITS = 15
# seconds that must be left for another deploy
WORTH_A_TRY = 1.0
# attempts in a row of which nothing was found: the API is down, or answers each of them
# with something that can't be read
MOST_ABSENT = 3
OnIntent: TypeAlias = Callable[[str], object]
Send: TypeAlias = Callable[
    [Transport, str, float | None], Awaitable[DeploymentAccepted]
]


class Errand:
    """One deploy, until somebody has its server. `send` sends it under a tag, and tells
    the voyage.
    """

    def __init__(
        self,
        send: Send,
        voyage: Voyage,
        deadline: float | None,
        lease: Lease | None,
        router: WebhookRouter,
    ) -> None:
        self.voyage, self.deadline, self.lease = voyage, deadline, lease
        self._send, self._router = send, router
        # that of the latest attempt
        self.tag: str = ""
        self.settling = False
        # it was cut off while it was on its way
        self.lost = False

    @property
    def orphan(self) -> bool:
        """Nobody waits for it any more."""
        return not self.voyage.wanted

    @property
    def may_have_started(self) -> bool:
        """Whether a server may exist that is not known yet."""
        return self.voyage.under_way or self.settling or self.lost or self.voyage.cut

    async def carry_out(
        self, own: Transport, lookups: Lookups, on_intent: OnIntent | None
    ) -> DeploymentAccepted:
        """Send it, find out what came of it where that is unknown, and send it again if
        nothing did.

        Raises:
            ApiError, UnexpectedAnswer: it was refused. What a gateway may have let
                through all the same is searched for.
            DeployOutcomeUnknown: nobody knows, the time is over, or `MOST_ABSENT`
                attempts have started nothing.
            Withdrawn: it has certainly started nothing, and is not to be sent again.
        """
        loop = asyncio.get_running_loop()
        absent = 0
        while True:
            tag = self.tag = f"once-{os.urandom(TAG_DIGITS).hex()[:TAG_DIGITS]}"
            if on_intent:
                on_intent(tag)
            left = (
                None
                if self.deadline is None
                else max(self.deadline - loop.time(), 0.001)
            )
            try:
                accepted = await self._send(own, tag, left)
                lookups.knows(accepted.request_id)
                return structs.replace(accepted, once_tag=tag)
            except DeployOutcomeUnknown as error:
                cause = error.__cause__ or error
            except (ApiError, UnexpectedAnswer) as refused:
                if may_be_done(refused):
                    self._search_stray(lookups, tag)
                raise
            found = await self._settle(lookups, tag, cause)
            if found is not None:
                return found
            absent += 1
            late = (
                self.deadline is not None and loop.time() + WORTH_A_TRY > self.deadline
            )
            if late or self.voyage.recalled or absent >= MOST_ABSENT:
                text = f"no server was found under the tag {tag} (attempt {absent})"
                raise _unknown(text, tag, cause) from cause
            self.voyage.sent = False
            log.info(
                "no server was found under the tag %s: deploying again under a new one",
                tag,
            )

    async def _settle(
        self, lookups: Lookups, tag: str, cause: BaseException
    ) -> DeploymentAccepted | None:
        """Look for the tag under which it was sent; None: nothing was started.

        Raises:
            DeployOutcomeUnknown: nobody knows.
        """
        log.info("looking for the tag %s: %s", tag, cause)
        self.settling = True
        try:
            request_id = await lookups.settle(tag, self.voyage.since)
        except Unsettled:
            self._quarantine(lookups, tag)
            text = f"no look-up could tell what is under the tag {tag}"
            raise _unknown(text, tag, cause) from cause
        except asyncio.CancelledError:
            self._quarantine(lookups, tag)
            self.voyage.cut = True
            raise
        finally:
            self.settling = False
        if request_id is None:
            self._quarantine(lookups, tag)
            return None
        lookups.knows(request_id)
        return DeploymentAccepted(request_id=request_id, once_tag=tag)

    def _quarantine(self, lookups: Lookups, tag: str) -> None:
        lookups.quarantine(tag, self.voyage.since)
        self._router.quarantined(tag)

    def _search_stray(self, lookups: Lookups, tag: str) -> None:
        lookups.search_stray(tag, self.voyage.since)
        self._router.quarantined(tag)

    async def rescue(self, own: Transport, lookups: Lookups) -> None:
        """It was cut off by who shuts down the loop: stop what it started, before
        nobody can any more.
        """
        if not self.tag:
            return
        # the look-ups are cut off too: it is only named
        self._quarantine(lookups, self.tag)
        if await stop_tagged(own, self.tag, SETTLE_WINDOW):
            lookups.quarantined.pop(self.tag, None)


def _unknown(text: str, tag: str, cause: BaseException) -> DeployOutcomeUnknown:
    """The outcome of what was sent under a tag, with the failure that left it open."""
    return DeployOutcomeUnknown(f"{text}; the last failure: {cause}", tag=tag)


def errand_of(
    posting: Posting[D],
    body: D,
    priority: Priority,
    deadline: float | None,
    lease: Lease | None,
    voyage: Voyage,
    router: WebhookRouter,
) -> Errand:
    """The errand that sends this body."""

    async def send(own: Transport, tag: str, left: float | None) -> DeploymentAccepted:
        tagged = router.sign(structs.replace(body, tags=(*(body.tags or ()), tag)), tag)
        return await posting.send(
            own, tagged, timeout=left, priority=priority, voyage=voyage
        )

    return Errand(send, voyage, deadline, lease, router)
