"""Masks the token and the signatures of webhooks in a body. This module does no I/O.

JSON can spell any character as an escape: `/` as `\\/` or `\\u002f`. JSON in a string of
JSON has more backslashes. Every spelling is masked.
"""

import re
from functools import lru_cache

# Backslashes before one character: 7 are JSON in a string of JSON in a string.
_MOST_BACKSLASHES = 8
_BEFORE = rb"\\{0,%d}" % _MOST_BACKSLASHES
# Bytes of the longest spelling of a character.
_LONGEST_SPELLING = _MOST_BACKSLASHES + len("u0000")
# Characters of a signature.
_SIGNATURE_LENGTH = 64


def _spelled(text: str) -> bytes:
    """A pattern for all spellings of a text."""
    return b"".join(
        b"%s(?:%s|u(?i:%04x))" % (_BEFORE, re.escape(each.encode()), ord(each))
        for each in text
    )


_KINDS = b"|".join(map(_spelled, ("ready", "error", "terminated")))
_SLASH = _spelled("/")
_ANY = _BEFORE + rb"(?:[A-Za-z0-9_-]|u00[0-9A-Fa-f]{2})"
# The signature in the URL of a webhook (webhooks.py): with escapes, and without.
_SPELLED_SIGNATURE = re.compile(
    rb"(%s(?:%s)%s(?:%s){1,64}?%s)(?:%s(?:u00[36][0-9A-Fa-f]|[0-9a-f]))+"
    % (_SLASH, _KINDS, _SLASH, _ANY, _SLASH, _BEFORE)
)
_SIGNATURE = re.compile(rb"(/(?:ready|error|terminated)/[A-Za-z0-9_-]{1,64}/)[0-9a-f]+")


@lru_cache(maxsize=16)
def _spellings(secret: str) -> re.Pattern[bytes]:
    return re.compile(_spelled(secret))


def masked(body: bytes, secret: str, *, cut: bool = False) -> bytes:
    """A body with `***` in place of a secret and of all signatures.

    Args:
        secret: empty if there is none.
        cut: the body went on. Its end is dropped, as it may be the start of a secret.
    """
    if b"\\" in body:
        shown = _SPELLED_SIGNATURE.sub(rb"\1***", body)
        shown = _spellings(secret).sub(b"***", shown) if secret else shown
    else:
        shown = _SIGNATURE.sub(rb"\1***", body)
        shown = shown.replace(secret.encode(), b"***") if secret else shown
    if not cut:
        return shown
    return shown[: -_LONGEST_SPELLING * max(_SIGNATURE_LENGTH, len(secret))]
