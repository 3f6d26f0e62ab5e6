"""Routes each webhook to the deploy attempt that it belongs to.

Each attempt has a nonce of its own, which stands in its webhook URLs. A webhook that
arrives

before the answer      is kept until the answer is there
after the answer       counts, if it is from the deployment in the answer
in quarantine          is from an orphaned server, which is stopped
otherwise              is ignored: the attempt failed, or is another process's
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from ..models.deploy import DeployRequest

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent, WebhookReceiver

D = TypeVar("D", bound=DeployRequest)
log: logging.Logger = logging.getLogger("edgegap_async")
# Attempts that are remembered: eight minutes of deploys at the full rate. Older ones
# are polled.
MOST_ANSWERED = 20_000
# Webhooks of one attempt that are kept until its answer. There should be three.
MOST_EARLY = 8
NONCE_BYTES = 12
FIELDS = ("webhook_on_ready", "webhook_on_error", "webhook_on_terminated")


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
        is_orphan: called with the request_id and the nonce of a webhook whose attempt
            has no answer. Returns whether that attempt was in quarantine.
    """

    def __init__(
        self,
        receiver: "WebhookReceiver | None",
        enter: Callable[[], object],
        receive: "Callable[[WebhookEvent], object]",
        is_orphan: Callable[[str, str], bool],
    ) -> None:
        self._receiver, self._enter = receiver, enter
        self._receive, self._is_orphan = receive, is_orphan
        # By nonce.
        self._open: dict[str, _OpenAttempt] = {}
        # The nonce of each request_id.
        self._answered: dict[str, str] = {}
        self._listening = False

    @contextmanager
    def signed(self, body: D) -> Generator[tuple[D, str], None, None]:
        """`sign` for an attempt that is over at the end of the block.

        Yields the body and the nonce of the attempt.
        """
        nonce = os.urandom(NONCE_BYTES).hex()
        try:
            yield self.sign(body, nonce), nonce
        finally:
            self.over(nonce)

    def sign(self, body: D, nonce: str) -> D:
        """Add the URLs that the user has not set. The attempt is open until `over`."""
        if self._receiver is None:
            return body
        if not self._listening:
            self._receiver.listen(self.notify)
            self._listening = True
        urls = {
            name: url
            for name, url in self._receiver.urls(nonce).items()
            if getattr(body, name) is None
        }
        self._open[nonce] = _OpenAttempt(complete=len(urls) == len(FIELDS))
        return structs.replace(body, **urls)

    def answered(self, nonce: str, request_id: str) -> bool:
        """An attempt has got its deployment.

        Returns:
            Whether each change of the deployment sends a webhook.
        """
        attempt = self._open.pop(nonce, None)
        if attempt is None:
            return False
        self._answered[request_id] = nonce
        if len(self._answered) > MOST_ANSWERED:
            del self._answered[next(iter(self._answered))]
        self._replay(attempt)
        return attempt.complete

    def quarantined(self, nonce: str) -> None:
        """The outcome of an attempt is unknown: its webhooks are from an orphan."""
        if attempt := self._open.pop(nonce, None):
            self._replay(attempt)

    def over(self, nonce: str) -> None:
        """An attempt has ended; if it has no answer by now, it gets none."""
        self._open.pop(nonce, None)

    def _replay(self, attempt: _OpenAttempt) -> None:
        for event in attempt.early:
            self._attribute(event)

    def notify(self, event: "WebhookEvent") -> None:
        """Route a webhook that this or another process has verified.

        Raises:
            SessionClosed, WrongLoop: no waiter can be notified here.
        """
        self._enter()
        if attempt := self._open.get(event.nonce):
            attempt.early.append(event)
        else:
            self._attribute(event)

    def _attribute(self, event: "WebhookEvent") -> None:
        if self._answered.get(event.request_id) == event.nonce:
            self._receive(event)
        elif not self._may_be_orphan(event) or not self._is_orphan(
            event.request_id, event.nonce
        ):
            log.debug(
                "webhook ignored: %s is not from a deploy of this session",
                event.event,
                extra={"request_id": event.request_id},
            )

    def _may_be_orphan(self, event: "WebhookEvent") -> bool:
        """Whether its server may have been started by an attempt in quarantine.

        The nonce of such an attempt is its tag. A server that has other tags, or that
        was handed out, is not one.
        """
        tags = event.status.tags
        return (
            not tags or event.nonce in tags
        ) and event.request_id not in self._answered

    def close(self) -> None:
        """Stop listening."""
        if self._receiver is not None:
            self._receiver.unlisten(self.notify)
