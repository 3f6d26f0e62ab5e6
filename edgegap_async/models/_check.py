"""Checks of arguments, before anything is sent.

Each check returns the checked value. A wrong argument raises a `ValueError` whose text
names the argument.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from ipaddress import ip_address
from typing import NoReturn, TypeGuard, TypeVar
from urllib.parse import SplitResult, urlsplit

T = TypeVar("T")
# The version of the API at the end of a base URL, with the slashes around it.
_VERSION = re.compile(r"/+v\d+/*$", re.IGNORECASE)
# The path of a proxy before the version: plain segments, none of them a version, "." or
# "..". With any other path, each call would get a 404, and a 404 to a stop means that
# the deployment is gone.
_PREFIX = re.compile(
    r"(/(?!v\d[\w.]*(/|$)|\.{1,2}(/|$))[\w.~-]+)*", re.IGNORECASE | re.ASCII
)


def fail(argument: str, problem: str) -> NoReturn:
    """Raise a `ValueError` that names an argument and its problem.

    A `problem` must not repeat a value that may be a secret.
    """
    raise ValueError(f"{argument} {problem}")


def text(argument: str, value: object) -> str:
    """Check a string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        fail(argument, f"must be a string that is not empty, not {value!r}")
    return encodable(argument, value)


# Unicode categories: separators, control characters, and format characters such as the
# byte order mark and the zero-width space.
_BLANK = ("Z", "Cc", "Cf")
# The blank characters that a label may hold between its ends: a space, and the joiners
# of emoji.
_INSIDE = (" ", "\u200c", "\u200d")


# Characters of the longest ID. Those of the API have 12, and those of users' hosts and
# sockets may be longer. A text of megabytes would be checked character by character.
LONGEST_ID = 128


def _is_blank(character: str) -> bool:
    return unicodedata.category(character).startswith(_BLANK)


def stripped(value: str) -> str:
    """Remove white space, control and format characters from both ends of a text."""
    # The usual ones first: fast, however many there are.
    value = value.strip()
    start, end = 0, len(value)
    while start < end and _is_blank(value[start]):
        start += 1
    while end > start and _is_blank(value[end - 1]):
        end -= 1
    return value[start:end]


def identifier(argument: str, value: object) -> str:
    """Check an ID, and strip it: users often read IDs from files and pipes."""
    if isinstance(value, str) and (length := len(value.strip())) > LONGEST_ID:
        fail(argument, f"must have at most {LONGEST_ID} characters, not {length:,}")
    checked = _single_line(argument, value, inside=())
    if checked in (".", ".."):
        fail(argument, f"must not be {checked!r}: a path can't hold it")
    return checked


def usable_id(text: str) -> bool:
    """Whether a path can hold an ID. The IDs of the API are 12 hex digits."""
    if len(text) > LONGEST_ID:
        return False
    if text.isalnum() and text.isascii():
        return True
    if "\ufffd" in text:
        # It stands for a character that could not be read.
        return False
    try:
        identifier("request_id", text)
    except ValueError:
        return False
    return True


def check_id(request_id: str) -> None:
    """Refuse an answer with an ID that no path can hold."""
    if not usable_id(request_id):
        raise ValueError("request_id can't be used in a path")


def check_ids(request_ids: Sequence[str]) -> None:
    """Refuse an answer with any such ID. One check takes less time than one for each."""
    joined = "".join(request_ids)
    if not (
        joined.isalnum()
        and joined.isascii()
        and max(map(len, request_ids)) <= LONGEST_ID
    ):
        for request_id in request_ids:
            check_id(request_id)


def label(argument: str, value: object) -> str:
    """Check a tag or a name, and strip it. It may hold spaces."""
    return _single_line(argument, value, inside=_INSIDE)


def _single_line(argument: str, value: object, inside: Sequence[str]) -> str:
    bare = stripped(value) if isinstance(value, str) else value
    checked = text(argument, bare)
    if checked.isprintable() and (" " in inside or " " not in checked):
        return checked
    if wrong := [each for each in checked if _is_blank(each) and each not in inside]:
        fail(argument, f"must not hold {wrong[0]!r}: {checked!r}")
    return checked


def encodable(argument: str, value: str) -> str:
    """Check that UTF-8 can encode a string: half of a surrogate pair can't be sent."""
    try:
        value.encode()
    except UnicodeEncodeError:
        fail(argument, "holds half of a surrogate pair, which can't be sent")
    return value


def optional_text(argument: str, value: object) -> str | None:
    """Check a string that is not empty, or None."""
    return None if value is None else text(argument, value)


def flag(argument: str, value: object) -> bool:
    """Check True or False. A text is refused, as "false" would count as true."""
    if not isinstance(value, bool):
        fail(argument, f"must be True or False, not {value!r}")
    return value


def whole_number(
    argument: str, value: object, least: int, most: int | None = None
) -> int:
    """Check an int from `least` to `most`, both included. None: no upper bound."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < least
        or (most is not None and value > most)
    ):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        fail(argument, f"must be a whole number {bounds}, not {value!r}")
    return value


def number(argument: str, value: object, least: float, most: float) -> float:
    """Check a number from `least` to `most`, both included."""
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= most
    ):
        fail(argument, f"must be a number from {least:g} to {most:g}, not {value!r}")
    return value


# A number that has more digits than a float can hold is not finite either.
MOST_SECONDS = sys.float_info.max


def optional_seconds(argument: str, value: object) -> float | None:
    """Check a number of seconds above zero. None means that there is no time limit."""
    return None if value is None else seconds(argument, value)


def seconds(argument: str, value: object, *, zero: bool = False) -> float:
    """Check a finite number of seconds above zero. `zero`: zero is allowed, too."""
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value <= MOST_SECONDS
        or not (value or zero)
    ):
        fail(
            argument,
            f"must be a number of seconds {'of at least' if zero else 'above'} 0, not {value!r}",
        )
    return value


def tag_name(argument: str, value: object) -> str:
    """Check the name of a tag."""
    # The reference page allows 20 characters, the newer specification 40. Only a name
    # that both forbid is refused.
    longest = 40
    tag = label(argument, value)
    if len(tag) > longest:
        fail(argument, f"must have at most {longest} characters, not {tag!r}")
    return tag


def sequence(argument: str, value: object) -> tuple[object, ...]:
    """Return the items of a list, a tuple or another iterable.

    Bare strings, bytes and mappings are refused.
    """
    if not _is_sequence(value):
        fail(argument, f"must be a sequence, not {value!r}")
    return tuple(value)


def instances(argument: str, value: object, kind: type[T]) -> tuple[T, ...]:
    """Return the items of a sequence, all of which must be instances of `kind`."""
    items: tuple[T, ...] = ()
    for item in sequence(argument, value):
        if not isinstance(item, kind):
            fail(
                argument,
                f"must hold instances of {kind.__name__}, not of {type(item).__name__}",
            )
        items += (item,)
    return items


def _is_sequence(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def log_storage_query(storage: bool | str | None) -> dict[str, str | None]:
    """Build the query of a stop: whether the API keeps the logs of the container.

    True or False, or the name of an endpoint storage. None: the API decides.
    """
    word = (
        str(storage).lower()
        if isinstance(storage, bool)
        else optional_text("container_log_storage", storage)
    )
    return {"container_log_storage": word}


def token_text(argument: str, value: object) -> str:
    """Check a secret for a header, and strip the white space pasted around it.

    No error repeats the secret.
    """
    token = value.strip() if isinstance(value, str) else ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        fail(argument, "must be a token: printable ASCII without spaces, and not empty")
    return token


def http_url(argument: str, value: object) -> SplitResult:
    """Return the parts of an http or https URL.

    No error repeats the URL, as it may hold a secret.
    """
    url = text(argument, value)
    problem = "must be an http or https URL"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        # Brackets don't match, the port is not a number, or the host name is invalid.
        fail(argument, problem)
    if not sound or not url.isprintable() or " " in url or "\\" in url:
        fail(argument, problem)
    return parts


def bare_http_url(argument: str, value: object) -> SplitResult:
    """Return the parts of an http or https URL that has only a host and a path."""
    parts = http_url(argument, value)
    if (
        parts.username is not None
        or parts.password is not None
        or parts.query
        or parts.fragment
    ):
        fail(argument, "must not hold a user name, a password, a query or a fragment")
    return parts


def api_url(argument: str, value: object, *, allow_insecure: bool = False) -> str:
    """Check a URL that a token may be sent to.

    Plain http is allowed only to this machine, or with `allow_insecure`.
    """
    parts = bare_http_url(argument, stripped(text(argument, value)).rstrip("/"))
    if (
        parts.scheme == "http"
        and not allow_insecure
        and not is_loopback(parts.hostname)
    ):
        fail(
            argument, f"must be https: the token would go to {parts.hostname} in clear"
        )
    # One spelling per server, as sessions with the same URL share a budget.
    return parts._replace(netloc=_netloc(parts)).geturl()


def _netloc(parts: SplitResult) -> str:
    """Return host and port in one spelling.

    The host is in lower case, without a trailing dot. The default port is left out.
    """
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    default = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in (None, default) else f"{host}:{parts.port}"


def api_base_url(argument: str, value: object, *, allow_insecure: bool = False) -> str:
    """Check the base URL of an API, and drop a version at its end.

    The paths of the operations begin with their own version.
    """
    url = api_url(argument, value, allow_insecure=allow_insecure)
    while version := _VERSION.search(url):
        url = url[: version.start()]
    prefix = urlsplit(url).path
    if not _PREFIX.fullmatch(prefix):
        fail(argument, f"must not have the path {prefix!r}: give the part before /v1")
    return url


def is_loopback(host: str | None) -> bool:
    """Whether the host of a URL is this machine."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return (host or "").rstrip(".") == "localhost"


def instance(argument: str, value: object, kind: type[T]) -> T:
    """Check that a value is an instance of `kind`."""
    if not isinstance(value, kind):
        fail(argument, f"must be a {kind.__name__}, not {type(value).__name__}")
    return value


def optional_instance(argument: str, value: T | None, kind: type[T]) -> T | None:
    """Check that a value is an instance of `kind`, or None."""
    return None if value is None else instance(argument, value, kind)


def one_of(argument: str, value: T, allowed: Sequence[T]) -> T:
    """Check that a value is one of the allowed ones."""
    if value not in allowed:
        fail(argument, f"must be one of {', '.join(map(str, allowed))}, not {value!r}")
    return value


def optional_callables(**arguments: object) -> None:
    """Check that each argument is None or a callable that is no coroutine function."""
    for name, value in arguments.items():
        if value is not None and not callable(value):
            fail(name, f"must be callable, not {type(value).__name__}")
        if iscoroutinefunction(value):
            fail(name, "must be a plain function, as the SDK would not await it")
