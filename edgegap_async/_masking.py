"""Keeps secrets out of what users and operators see. This module does no I/O.

`Secret` hides a token in the local variables of a traceback, as error trackers show them.
`masked` masks the token and the signatures of webhooks in a body.

A character can be spelled in many ways, and each spelling is masked:

    JSON                `/` as `\\/` or `\\u002f`. JSON in a string of JSON has more
                        backslashes
    percent-encoding    `%2f`. Encoded again, it is `%252f`
    entities of HTML    `&#47;` or `&#x2f;`. Encoded again, it is `&amp;#47;`

Besides, the whole secret may be in base64 or hexadecimal, as a part of a longer text.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, SupportsIndex, TypeVar

from .models._check import plain

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")
# Backslashes before one character: 7 are JSON in a string of JSON in a string.
_MOST_BACKSLASHES = 8
_BACKSLASHES = rb"\\{0,%d}" % _MOST_BACKSLASHES
# Possessive: a search that goes back through the backslashes takes ten times as long.
_BEFORE = _BACKSLASHES + b"+"
# The `&` of an entity. In JSON for browsers, it is an escape too.
_AND = rb"(?:&|%su0026)(?:amp;){0,3}+" % _BEFORE
_PERCENT = rb"%(?:25){0,3}"
_ZEROS = rb"0{0,4}"
# Bytes of the longest spelling of a character: an entity, and the escape of its `&`.
_LONGEST_SPELLING = _MOST_BACKSLASHES + len("u0026amp;amp;amp;#x00002f;")
# Characters of a signature.
_SIGNATURE_LENGTH = 64
# Characters of a secret that are looked for before the whole of it.
_PREFIX = 6
_ESCAPES = (b"\\", b"%", b"&")


class Secret(str):
    """A text whose repr hides it. aiohttp holds the headers as they are, so its frames
    don't show the token either.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: SupportsIndex | slice) -> "Secret":
        # rich shows the first characters of a long text.
        return Secret(super().__getitem__(key))


class SecretBytes(bytes):
    """The same for the body of a request. aiohttp holds it as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        part: int | bytes = super().__getitem__(key)
        return SecretBytes(part) if isinstance(part, bytes) else part


def secret_of(read: Callable[[object], str], given: object) -> "Secret | ValueError":
    """The secret that a function reads, or its error, for `revealed`. In between, the
    caller deletes what was given: the error must not leave from a frame that holds it.
    """
    try:
        return Secret(read(given))
    except ValueError as error:
        return without_frames(error)


def made(make: Callable[[], T]) -> T | ValueError:
    """The same for a body that hides its secrets: what a function makes, or its error."""
    try:
        return make()
    except ValueError as error:
        return without_frames(error)


def revealed(secret: T | ValueError) -> T:
    """What `secret_of` or `made` has returned.

    Raises:
        ValueError: it can't be used.
    """
    if isinstance(secret, ValueError):
        raise secret
    return secret


def hidden(value: object) -> object:
    """A value that may hold a secret, with a repr that hides it. Anything but a text stays
    as it is.
    """
    if isinstance(value, str):
        return Secret(plain(value))
    return SecretBytes(value) if isinstance(value, bytes) else value


def without_frames(error: E) -> E:
    """An error without the frames that it has passed: they hold secrets."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _any_spelling(
    literal: bytes, code: bytes, decimal: bytes, before: bytes = _BEFORE
) -> bytes:
    """A pattern for all spellings of one character. An escape goes before its letters.

    Args:
        literal: a pattern for the character.
        code, decimal: patterns for its number, as two hexadecimal digits and decimal.
        before: a pattern for the backslashes before it.
    """
    return rb"(?:%s(?:u00%s|%s)|%s%s|%s#(?:%s%s|[xX]%s%s);?)" % (
        *(before, code, literal),
        *(_PERCENT, code),
        *(_AND, _ZEROS, decimal, _ZEROS, code),
    )


def _one_of(characters: Iterable[str]) -> bytes:
    """A pattern for all spellings of one of some characters in ASCII."""
    numbers = sorted(map(ord, set(characters)))
    return _any_spelling(
        b"[%s]" % b"".join(re.escape(bytes([number])) for number in numbers),
        b"(?:%s)" % b"|".join(b"%02x" % number for number in numbers),
        b"(?:%s)" % b"|".join(b"%d" % number for number in numbers),
        # A backslash is the last of those before it.
        _BACKSLASHES if ord("\\") in numbers else _BEFORE,
    )


def _spelled(text: str) -> bytes:
    """A pattern for all spellings of a text in ASCII."""
    return b"".join(map(_one_of, text))


@cache
def _spelled_signature() -> re.Pattern[bytes]:
    """The signature in the URL of a webhook (webhooks.py), with escapes. It is made when it
    is needed, as that takes a few milliseconds.
    """
    kinds = b"|".join(map(_spelled, ("ready", "error", "terminated")))
    slash = _spelled("/")
    # Atomic, so that a text has one reading: the letters of an escape are characters of a
    # nonce, too, and with several readings for each, a search would never end.
    nonce = b"(?>%s)" % _any_spelling(rb"[a-z0-9_-]", rb"[0-9a-f]{2}", rb"[0-9]{2,3}")
    digit = _any_spelling(rb"[0-9a-f]", rb"[346][0-9a-f]", rb"[0-9]{2,3}")
    return re.compile(
        rb"(%s(?:%s)%s(?:%s){1,64}?%s)(?:%s)+"
        % (slash, kinds, slash, nonce, slash, digit),
        re.IGNORECASE,
    )


# The same without escapes.
_SIGNATURE = re.compile(rb"(/(?:ready|error|terminated)/[A-Za-z0-9_-]{1,64}/)[0-9a-f]+")


def _in_base64(secret: bytes) -> set[str]:
    """What base64 of any text with a secret holds, wherever the secret begins."""
    found: set[str] = set()
    for before, start in enumerate((0, 2, 3)):
        text = b"x" * before + secret
        # The last character may depend on what follows.
        end = len(text) * 8 // 6
        found |= {it(text)[start:end].decode() for it in (b64encode, urlsafe_b64encode)}
    return found


def _forms(secret: str) -> list[str]:
    """The texts that a secret may be sent as, before any escapes."""
    raw = secret.encode()
    # The longest first: hexadecimal digits of a secret may hold a shorter form.
    return sorted({secret, raw.hex(), *_in_base64(raw)}, key=len, reverse=True)


@lru_cache(maxsize=16)
def _plain_forms(secret: str) -> re.Pattern[bytes]:
    """A pattern for the forms of a secret, without escapes."""
    forms = (re.escape(form.encode()) for form in _forms(secret))
    return re.compile(b"|".join(forms), re.IGNORECASE)


@lru_cache(maxsize=16)
def _spelled_prefix(secret: str) -> re.Pattern[bytes]:
    """A pattern for what begins like a form of a secret, with escapes: each character is
    one of a form at its place. Hardly any other text matches it.
    """
    forms = _forms(secret)
    places = range(min(_PREFIX, *map(len, forms)))
    prefix = b"".join(_one_of(form[place] for form in forms) for place in places)
    return re.compile(prefix, re.IGNORECASE)


@lru_cache(maxsize=16)
def _spelled_forms(secret: str) -> re.Pattern[bytes]:
    """A pattern for the forms of a secret, with escapes. To compile it takes up to 50
    milliseconds.
    """
    forms = b"|".join(map(_spelled, _forms(secret)))
    # Most places are ruled out by the prefix, in a third of the time.
    prefix = _spelled_prefix(secret).pattern
    return re.compile(b"(?=%s)(?:%s)" % (prefix, forms), re.IGNORECASE)


def _without(secret: str, body: bytes, *, escaped: bool) -> bytes:
    """A body with `***` in place of one secret."""
    if not escaped:
        return _plain_forms(secret).sub(b"***", body)
    if not _spelled_prefix(secret).search(body):
        return body
    return _spelled_forms(secret).sub(b"***", body)


# The credentials of a registry, as answers about versions hold them, and those of storages
# and relays. In JSON in a string of JSON, each quote has as many backslashes before it.
_BLANKS = rb"(?:\s|\\+[nrt])*"
_CREDENTIAL = re.compile(
    rb'((?:private_(?:token|username)|secret_access_key|webhook_url)(\\*)"%b:%b\2")'
    rb'(.*?)(?=(?<!\\)\2"|\Z)' % (_BLANKS, _BLANKS),
    re.DOTALL,
)
# The tokens of a relay are numbers.
_RELAY_TOKEN = re.compile(
    rb'(authorization_token\\*"%b:%b(?:\\*")?)[0-9]+' % (_BLANKS, _BLANKS)
)


def masked(body: bytes, *secrets: str, cut: bool = False) -> bytes:
    """A body with `***` in place of secrets, of all signatures, and of the credentials of
    registries, storages and relays.

    Args:
        secrets: an empty one counts as none.
        cut: the body went on. Its end is dropped, as it may be the start of a secret.
    """
    escaped = any(escape in body for escape in _ESCAPES)
    signature = _spelled_signature() if escaped else _SIGNATURE
    shown = signature.sub(rb"\1***", body)
    shown = _CREDENTIAL.sub(rb"\1***", shown)
    shown = _RELAY_TOKEN.sub(rb"\1***", shown)
    for secret in filter(None, secrets):
        shown = _without(secret, shown, escaped=escaped)
    if not cut:
        return shown
    # Base64 and hexadecimal have up to two characters for each.
    longest = 2 * max((_SIGNATURE_LENGTH, *map(len, secrets)))
    return shown[: -longest * (_LONGEST_SPELLING if escaped else 1)]
