"""A webhook on its way from one process to another, as a signed message:

    {signature} {time} {nonce} {body}

The signature is the HMAC-SHA256 of the rest. Its key is derived from the secret of the
receivers, so whoever can write to the store, and does not know the secret, can only
repeat a message, for as long as messages live. The time is in seconds since 1970, as
machines share no other clock.
"""

import hmac
from enum import Enum
from typing import NamedTuple

# Seconds for which a message lives, and by which clocks may differ.
LIFETIME = 60.0
# Bytes of a message. A status has a few thousand.
LONGEST_MESSAGE = 16 * 1024
# Hex digits of a signature.
_SIGNATURE = 64


class Ignored(Enum):
    """Why a message is ignored."""

    TOO_LONG = f"it is longer than {LONGEST_MESSAGE} bytes"
    NOT_SIGNED = "it is not signed with the secret of this receiver"
    TOO_OLD = f"it is older than {LIFETIME:g} s, or the clocks of the machines differ by more than that"
    UNREADABLE = "it can't be read"


class Message(NamedTuple):
    """A message whose signature is valid.

    Attributes:
        nonce: tells which process it is for.
        body: the webhook.
    """

    nonce: str
    body: bytes


class Sealer:
    """Signs and verifies messages.

    Args:
        key: of the signatures.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, message: Message, now: float) -> bytes | None:
        """Return a message as bytes. None: it is too long."""
        rest = b"%.3f %s %s" % (now, message.nonce.encode(), message.body)
        if _SIGNATURE + 1 + len(rest) > LONGEST_MESSAGE:
            return None
        return self._sign(rest) + b" " + rest

    def unseal(self, data: bytes, now: float) -> Message | Ignored:
        """Return the message in these bytes, or why it is ignored."""
        if len(data) > LONGEST_MESSAGE:
            return Ignored.TOO_LONG
        signature, _, rest = data.partition(b" ")
        if not hmac.compare_digest(signature, self._sign(rest)):
            return Ignored.NOT_SIGNED
        try:
            sent_at, nonce, body = rest.split(b" ", 2)
            age = now - float(sent_at)
            message = Message(nonce.decode(), body)
        except ValueError:
            return Ignored.UNREADABLE
        return message if abs(age) <= LIFETIME else Ignored.TOO_OLD

    def _sign(self, rest: bytes) -> bytes:
        return hmac.digest(self._key, rest, "sha256").hex().encode()
