"""The options of a call, each spelled once."""

from collections.abc import Mapping
from typing import TypeAlias, TypedDict, cast

from msgspec import UnsetType

from .._limits.queue import Priority
from .._masking import Secret, hidden
from ..models._check import fail, is_mapping, shown
from .retry import Retry

Timeout: TypeAlias = float | UnsetType | None
# The session or aiohttp sets them. They say what is sent, and to whom.
OWN_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "proxy-authorization",
        "transfer-encoding",
        "upgrade",
    }
)
_SPELLED = {"user-agent": "User-Agent"}
# Characters that the name of a header may have besides letters and digits.
_IN_NAMES = frozenset("!#$%&'*+-.^_`|~")
# Characters of a value: more could only be a mistake.
LONGEST_HEADER = 8_000


class CallOptions(TypedDict, total=False):
    """What every call of the API may be given.

    Attributes:
        timeout: seconds for the whole call, with its time in the queue and all retries.
            None: no end. Not given: the session's.
        priority: foreground or background. Background calls wait behind foreground calls
            of the same limit.
        retry: how often and how fast the call is retried. Its `budget` has no effect:
            that of the session counts. Not given: the session's.
        headers: further headers of its requests, such as `traceparent`. Those that hold
            the token or describe the body can't be given.
    """

    timeout: Timeout
    priority: Priority
    retry: Retry | None
    headers: Mapping[str, str] | None


def checked_headers(headers: object) -> dict[str, str]:
    """The headers that a call was given. No error repeats a value: it may be a secret.

    Raises:
        ValueError: one can't be sent.
    """
    if headers is None:
        return {}
    if not is_mapping(headers):
        fail("headers", f"must be a mapping, not {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not all(map(_is_in_name, name)):
            fail("headers", f"has a name that can't be sent: {shown(name)}")
        if name.lower() in OWN_HEADERS:
            fail("headers", f"can't have {name!r}: the session sets it")
        if not isinstance(value, str):
            fail(f"headers: {name}", f"must be a text, not {type(value).__name__}")
        if len(value) > LONGEST_HEADER or not (value.isascii() and value.isprintable()):
            fail(
                f"headers: {name}",
                f"must have printable ASCII characters, at most {LONGEST_HEADER:,}",
            )
        # aiohttp replaces its own only under the same name.
        known = _SPELLED.get(name.lower(), str(name))
        checked[known] = Secret(value)
    return checked


def hide_headers(options: CallOptions) -> None:
    """Hide the values of headers in the options that a method was given: error trackers
    show the local variables of each frame.
    """
    if "headers" in options:
        options["headers"] = hidden_headers(options["headers"])


def hidden_headers(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Headers whose values are hidden. Wrong ones are refused later."""
    given: object = headers
    if not is_mapping(given):
        return headers
    secret = {name: hidden(value) for name, value in given.items()}
    return cast("dict[str, str]", secret)


def _is_in_name(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in _IN_NAMES)
