"""Routes each webhook to the deploy attempt that it belongs to.

Each attempt has a nonce of its own, which stands in its webhook URLs. A webhook that
arrives

before the answer      is kept until the answer is there
after the answer       counts, if it is from the deployment in the answer
without an answer      makes the search for its tag look at its deployment, if there is
                       a search. It stops nothing itself, as anybody may know its URL
otherwise              is ignored: the attempt failed, or is another process's. Then the
                       receiver passes it on, if there is a relay (`relay.py`)
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from .._records.records import Records
from .._records.state import DeployRecord
from ..errors import SessionClosed
from ..models.deploy import WEBHOOK_FIELDS, DeployRequest

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import Claim, WebhookEvent, WebhookReceiver
    from .relay import Relay

D = TypeVar("D", bound=DeployRequest)
log: logging.Logger = logging.getLogger("edgegap_async")
# Webhooks of one attempt that are kept until its answer. There should be three.
MOST_EARLY = 8


class _OpenAttempt:
    """An attempt without an answer so far."""

    __slots__ = ("complete", "early")

    def __init__(self, *, complete: bool) -> None:
        # All three URLs are ours, so each change of the deployment sends a webhook.
        self.complete = complete
        self.early: deque[WebhookEvent] = deque(maxlen=MOST_EARLY)


class WebhookRouter:
    """Signs the webhook URLs of deploys, and routes the webhooks that arrive.

    Args:
        receiver: the user's; None: there are no webhooks.
        enter: raises if the session is closed or belongs to another loop.
        receive: called with each webhook of a deployment of this session.
        records: know the nonce of each deployment.
        appeared: called with the request_id and the nonce of a webhook whose attempt
            has no answer. Returns whether the nonce is searched for.
        relay: shares webhooks with other processes.
    """

    def __init__(
        self,
        receiver: "WebhookReceiver | None",
        enter: Callable[[], object],
        receive: "Callable[[WebhookEvent], object]",
        records: Records,
        appeared: Callable[[str, str], bool],
        relay: "Relay | None" = None,
    ) -> None:
        self._receiver, self._enter, self._relay = receiver, enter, relay
        self._receive, self._records, self._appeared = receive, records, appeared
        # By nonce.
        self._open: dict[str, _OpenAttempt] = {}
        self._listening = False

    def sign(self, body: D, nonce: str) -> D:
        """Add the URLs that the user has not set. The attempt is open until `over`."""
        if self._receiver is None:
            return body
        if not self._listening:
            self._receiver.listen(self._receive_own)
            self._listening = True
        if self._relay:
            self._relay.expect(nonce)
        urls = {
            name: url
            for name, url in self._receiver.urls(nonce).items()
            if getattr(body, name) is None
        }
        self._open[nonce] = _OpenAttempt(complete=len(urls) == len(WEBHOOK_FIELDS))
        return structs.replace(body, **urls)

    def answered(self, record: DeployRecord) -> None:
        """An attempt has got its deployment."""
        if attempt := self._open.pop(record.nonce or "", None):
            record.hooked = attempt.complete
            self._replay(attempt)

    def over(self, nonce: str) -> None:
        """An attempt has ended. If it has no answer by now, it gets none."""
        if attempt := self._open.pop(nonce, None):
            self._replay(attempt)

    def _replay(self, attempt: _OpenAttempt) -> None:
        for event in attempt.early:
            self._attribute(event)

    @property
    def has_open(self) -> bool:
        """Whether an attempt has no answer so far."""
        return bool(self._open)

    def _receive_own(self, event: "WebhookEvent") -> "Claim | None":
        """Route a webhook that the receiver has verified, and claim it, if it is from a
        deploy of this session.
        """
        from ..webhooks import Claim

        routed = self.notify(event)
        own = routed or (self._relay is not None and self._relay.is_own(event.nonce))
        return Claim.OWN if own else None

    def receive_relayed(self, event: "WebhookEvent") -> None:
        """Route a webhook that another process has received."""
        with suppress(SessionClosed):
            self.notify(event)

    def notify(self, event: "WebhookEvent") -> bool:
        """Route a webhook that this or another process has verified.

        Returns:
            Whether it is from a deploy of this session.

        Raises:
            SessionClosed, WrongLoop: no waiter can be notified here.
        """
        self._enter()
        if attempt := self._open.get(event.nonce):
            attempt.early.append(event)
            return True
        return self._attribute(event)

    def _attribute(self, event: "WebhookEvent") -> bool:
        record = self._records.get(event.request_id)
        if record and record.nonce == event.nonce:
            self._receive(event)
            return True
        if self._appeared(event.request_id, event.nonce):
            return True
        log.debug(
            "webhook ignored: %s is not from a deploy of this session",
            event.event,
            extra={"request_id": event.request_id},
        )
        return False

    def close(self) -> None:
        """Stop listening."""
        if self._receiver is not None:
            self._receiver.unlisten(self._receive_own)
        if self._relay:
            self._relay.close()
