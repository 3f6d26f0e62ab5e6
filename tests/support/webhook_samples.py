"""Samples for the tests of webhooks: signed URLs, and the body that Edgegap sends."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from edgegap_async import Webhook, WebhookReceiver
from support.reference import BY_KEY
from support.samples import STATUS

BASE = "https://matchmaker.example.com/game/hooks"
SECRET = "5ec4e7-c0ffee-0ddba1"
NONCE = "once-0123456789abcde"
SAMPLE: dict[str, Any] = BY_KEY[STATUS].answer
BODY = json.dumps(SAMPLE).encode()
EVENTS = ("ready", "error", "terminated")


def receiver(
    base_url: str = BASE,
    secret: str | bytes | Sequence[str | bytes] | None = SECRET,
) -> WebhookReceiver:
    return WebhookReceiver(base_url, secret=secret)


def signed(hooks: WebhookReceiver, event: str = "ready", nonce: str = NONCE) -> str:
    """Return the signed URL of an event."""
    webhook = hooks.urls(nonce)[f"webhook_on_{event}"]  # type: ignore[literal-required]
    assert isinstance(webhook, Webhook)
    return webhook.url


def path(hooks: WebhookReceiver, event: str = "ready", nonce: str = NONCE) -> str:
    return urlsplit(signed(hooks, event, nonce)).path


def split_path(of: str) -> tuple[str, str, str, str]:
    """Return the front, the event, the nonce and the signature of a path."""
    front, event, nonce, signature = of.rsplit("/", 3)
    return front, event, nonce, signature
