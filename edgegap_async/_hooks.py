"""Webhooks of one session: which attempt to deploy they belong to, and what they change.

A nonce is one attempt. An event under it counts if it comes from the deployment that this attempt was answered; one
that comes before the answer is kept until then. Under an attempt that is in quarantine, it is a stray.
"""

import logging
import secrets
from collections.abc import Callable

from msgspec import structs

from ._posting import D
from .webhooks import WebhookEvent, WebhookReceiver

log: logging.Logger = logging.getLogger("edgegap_async")
MOST_ATTEMPTS = 20_000  # that are remembered: eight minutes of deploys at the full rate; what is older is polled
MOST_EARLY = 8  # events of one attempt that come before its answer: three are all there should be
NONCE_BYTES = 12
FIELDS = ("webhook_on_ready", "webhook_on_error", "webhook_on_terminated")


class _Attempt:
    """One deploy that was sent with URLs of ours."""

    __slots__ = ("early", "request_id", "whole")

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole  # all three URLs are ours: nothing will happen to it untold
        self.request_id: str | None = None
        self.early: list[WebhookEvent] = []


class Hooks:
    """Signs what goes out, and knows what comes in.

    Args:
        receiver: of the user; None: there are no webhooks.
        hear: told each event that belongs to a deployment of this session.
        is_stray: told what comes under an attempt that is not answered; whether that is in quarantine.
    """

    def __init__(
        self,
        receiver: WebhookReceiver | None,
        hear: Callable[[WebhookEvent], object],
        is_stray: Callable[[str, str], bool],
    ) -> None:
        self._receiver, self._hear, self._is_stray = receiver, hear, is_stray
        self._attempts: dict[str, _Attempt] = {}
        self._listening = False

    def sign(self, body: D, nonce: str | None = None) -> tuple[D, str | None]:
        """A body with the URLs that the user has not set, and the nonce under which they tell of it."""
        if self._receiver is None:
            return body, None
        if not self._listening:
            self._receiver.listen(self.notify)
            self._listening = True
        nonce = nonce or secrets.token_hex(NONCE_BYTES)
        urls = {name: url for name, url in self._receiver.urls(nonce).items() if getattr(body, name) is None}
        self._attempts[nonce] = _Attempt(whole=len(urls) == len(FIELDS))
        if len(self._attempts) > MOST_ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]
        return structs.replace(body, **urls), nonce

    def answered(self, nonce: str | None, request_id: str) -> bool:
        """An attempt has got its deployment; whether a webhook will tell of whatever happens to it."""
        attempt = self._attempts.get(nonce) if nonce else None
        if attempt is None:
            return False
        attempt.request_id = request_id
        self._replay(attempt)
        return attempt.whole

    def quarantined(self, nonce: str) -> None:
        """Nobody knows what an attempt has started: whatever tells of it from now on is a stray."""
        if attempt := self._attempts.get(nonce):
            self._replay(attempt)

    def _replay(self, attempt: _Attempt) -> None:
        early, attempt.early = attempt.early, []
        for event in early:
            self.notify(event)

    def notify(self, event: WebhookEvent) -> None:
        """An event that was verified, here or by another process with the same secret."""
        attempt = self._attempts.get(event.nonce)
        if attempt is None:
            log.debug("the webhook %s for %s is not this session's", event.event, event.nonce)
        elif attempt.request_id == event.request_id:
            self._hear(event)
        elif attempt.request_id is None and not self._is_stray(event.request_id, event.nonce):
            attempt.early = [*attempt.early, event][-MOST_EARLY:]

    def close(self) -> None:
        """Listen no more."""
        if self._receiver is not None:
            self._receiver.unlisten(self.notify)
