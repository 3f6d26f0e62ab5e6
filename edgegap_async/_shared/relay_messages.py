"""A webhook on its way from one process to another, as a signed message:

    {signature} {time} {nonce} {body}

The signature is the HMAC-SHA256 of the rest. Its key is derived from the secret of the
receivers, so whoever can write to the store, and does not know the secret, can only
repeat a message, for as long as messages live. While the secret is changed, processes have
several, and each of them may sign with another one. The time is in seconds since 1970, as
machines share no other clock.
"""

import hmac
from collections.abc import Sequence
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
        keys: of the signatures. The first one signs, and all verify.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def seal(self, message: Message, now: float) -> bytes | None:
        """Return a message as bytes. None: it is too long."""
        rest = b"%.3f %s %s" % (now, message.nonce.encode(), message.body)
        if _SIGNATURE + 1 + len(rest) > LONGEST_MESSAGE:
            return None
        return self._signatures(rest)[0] + b" " + rest

    def unseal(self, data: bytes, now: float) -> Message | Ignored:
        """Return the message in these bytes, or why it is ignored."""
        if len(data) > LONGEST_MESSAGE:
            return Ignored.TOO_LONG
        signature, _, rest = data.partition(b" ")
        genuine = [
            hmac.compare_digest(signature, each) for each in self._signatures(rest)
        ]
        if not any(genuine):
            return Ignored.NOT_SIGNED
        try:
            sent_at, nonce, body = rest.split(b" ", 2)
            age = now - float(sent_at)
            message = Message(nonce.decode(), body)
        except ValueError:
            return Ignored.UNREADABLE
        return message if abs(age) <= LIFETIME else Ignored.TOO_OLD

    def _signatures(self, rest: bytes) -> list[bytes]:
        return [hmac.digest(key, rest, "sha256").hex().encode() for key in self._keys]
