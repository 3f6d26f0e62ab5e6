"""Webhooks of one session: which attempt to deploy they belong to, and what they
change.

A nonce is one attempt. What comes under it

before its answer      is kept until then
after its answer       counts, if it is from the deployment that was answered
in quarantine          is from a stray, which is stopped
after it has failed    is nothing to this session, as is what comes under another's
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from ._posting import D

# most sessions have no webhooks
if TYPE_CHECKING:
    from .webhooks import WebhookEvent, WebhookReceiver

log: logging.Logger = logging.getLogger("edgegap_async")
# attempts that are remembered: eight minutes of deploys at the full rate; older ones
# are polled
MOST_ANSWERED = 20_000
# events of one attempt that come before its answer: three are all there should be
MOST_EARLY = 8
NONCE_BYTES = 12
FIELDS = ("webhook_on_ready", "webhook_on_error", "webhook_on_terminated")


class _Open:
    """An attempt whose answer is still to come."""

    __slots__ = ("early", "whole")

    def __init__(self, *, whole: bool) -> None:
        # all three URLs are ours: nothing will happen to it untold
        self.whole = whole
        self.early: deque[WebhookEvent] = deque(maxlen=MOST_EARLY)


class Hooks:
    """Signs what goes out, and knows what comes in.

    Args:
        receiver: of the user; None: there are no webhooks.
        enter: raises where the session is closed, or another loop's.
        hear: told each event that belongs to a deployment of this session.
        is_stray: told the request_id and the nonce of what comes under an attempt that
            has no answer; whether that attempt was in quarantine.
    """

    def __init__(
        self,
        receiver: "WebhookReceiver | None",
        enter: Callable[[], object],
        hear: "Callable[[WebhookEvent], object]",
        is_stray: Callable[[str, str], bool],
    ) -> None:
        self._receiver, self._enter, self._hear, self._is_stray = (
            receiver,
            enter,
            hear,
            is_stray,
        )
        # by nonce
        self._open: dict[str, _Open] = {}
        # nonce by request_id
        self._answered: dict[str, str] = {}
        self._listening = False

    @contextmanager
    def signed(self, body: D) -> Generator[tuple[D, str], None, None]:
        """`sign`, for an attempt that is over at the end of the block, and the nonce
        that it is given.
        """
        nonce = os.urandom(NONCE_BYTES).hex()
        try:
            yield self.sign(body, nonce), nonce
        finally:
            self.over(nonce)

    def sign(self, body: D, nonce: str) -> D:
        """A body with the URLs that the user has not set. The attempt is open until
        `over`.
        """
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
        self._open[nonce] = _Open(whole=len(urls) == len(FIELDS))
        return structs.replace(body, **urls)

    def answered(self, nonce: str, request_id: str) -> bool:
        """An attempt has got its deployment; whether a webhook will tell of whatever
        happens to it.
        """
        attempt = self._open.pop(nonce, None)
        if attempt is None:
            return False
        self._answered[request_id] = nonce
        if len(self._answered) > MOST_ANSWERED:
            del self._answered[next(iter(self._answered))]
        self._replay(attempt)
        return attempt.whole

    def quarantined(self, nonce: str) -> None:
        """Nobody knows what an attempt has started: whatever tells of it is a stray."""
        if attempt := self._open.pop(nonce, None):
            self._replay(attempt)

    def over(self, nonce: str) -> None:
        """An attempt will have no answer any more, if it has had none."""
        self._open.pop(nonce, None)

    def _replay(self, attempt: _Open) -> None:
        for event in attempt.early:
            self._attribute(event)

    def notify(self, event: "WebhookEvent") -> None:
        """An event that was verified, here or by another process with the same secret.

        Raises:
            SessionClosed, WrongLoop: nobody can be told here.
        """
        self._enter()
        if attempt := self._open.get(event.nonce):
            attempt.early.append(event)
        else:
            self._attribute(event)

    def _attribute(self, event: "WebhookEvent") -> None:
        if self._answered.get(event.request_id) == event.nonce:
            self._hear(event)
        elif not self._may_be_stray(event) or not self._is_stray(
            event.request_id, event.nonce
        ):
            log.debug(
                "the webhook %s for %s is not for this session",
                event.event,
                event.nonce,
            )

    def _may_be_stray(self, event: "WebhookEvent") -> bool:
        """Whether it bears the tag of its attempt, which is the nonce of what can be in
        quarantine, as far as it tells, and is nothing that somebody has.
        """
        tags = event.status.tags
        return (
            not tags or event.nonce in tags
        ) and event.request_id not in self._answered

    def close(self) -> None:
        """Listen no more."""
        if self._receiver is not None:
            self._receiver.unlisten(self.notify)
