"""A deploy, owned by the session until somebody has its server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import structs

from ._lanes import Priority
from ._lookups import Lookups, Unsettled
from ._posting import D, Posting
from ._request import Voyage
from ._scopes import Handover
from ._transport import Transport
from .errors import DeployOutcomeUnknown
from .models.deploy import DeploymentAccepted

log = logging.getLogger("edgegap_async")
Send: TypeAlias = Callable[[Transport, str, float | None], Awaitable[DeploymentAccepted]]


class Errand:
    """One deploy, until somebody has its server. `send` sends it under a tag, and tells the voyage."""

    def __init__(self, send: Send, voyage: Voyage, deadline: float | None, handover: Handover | None) -> None:
        self.send, self.voyage, self.deadline, self.handover = send, voyage, deadline, handover
        self.tag: str | None = None
        self.settling = False
        self.lost = False  # it was cut off while it was on its way

    @property
    def orphan(self) -> bool:
        """Nobody waits for it any more."""
        return not self.voyage.wanted

    @property
    def may_have_started(self) -> bool:
        """Whether a server may exist that is not known yet."""
        return self.voyage.under_way or self.settling or self.lost

    async def settle(self, lookups: Lookups, tag: str, unknown: DeployOutcomeUnknown) -> DeploymentAccepted | None:
        """Look for the tag under which it was sent; None: nothing was started.

        Raises:
            DeployOutcomeUnknown: nobody knows.
        """
        log.info("looking for the tag %s: %s", tag, unknown)
        since = self.voyage.since
        self.settling = True
        try:
            request_id = await lookups.settle(tag, since)
        except Unsettled:
            lookups.quarantine(tag, since)
            raise DeployOutcomeUnknown(f"no look-up could tell what is under the tag {tag}", tag=tag) from unknown
        except asyncio.CancelledError:
            lookups.quarantine(tag, since)
            self.voyage.cut = True
            raise
        finally:
            self.settling = False
        if request_id is None:
            lookups.quarantine(tag, since)
            return None
        lookups.knows(request_id)
        return DeploymentAccepted(request_id=request_id, once_tag=tag)


def errand_of(
    posting: Posting[D],
    body: D,
    priority: Priority,
    deadline: float | None,
    handover: Handover | None,
    voyage: Voyage,
) -> Errand:
    """The errand that sends this body."""

    async def send(own: Transport, tag: str, left: float | None) -> DeploymentAccepted:
        tagged = structs.replace(body, tags=(*(body.tags or ()), tag))
        return await posting.send(own, tagged, timeout=left, priority=priority, voyage=voyage)

    return Errand(send, voyage, deadline, handover)
