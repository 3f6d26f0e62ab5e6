"""Checks of what goes out: a wrong argument is a `ValueError` that names it, before anything is sent."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NoReturn, TypeGuard
from urllib.parse import urlsplit


def fail(argument: str, problem: str) -> NoReturn:
    """Refuse an argument. The text never repeats the value where that could be a secret."""
    raise ValueError(f"{argument} {problem}")


def text(argument: str, value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        fail(argument, f"must be a string that is not empty, not {value!r}")
    return value


def optional_text(argument: str, value: object) -> str | None:
    """A string that is not empty, or None."""
    return None if value is None else text(argument, value)


def whole_number(argument: str, value: object, least: int, most: int | None = None) -> int:
    """An int between `least` and `most`, both allowed."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        fail(argument, f"must be a whole number {bounds}, not {value!r}")
    return value


def number(argument: str, value: object, least: float, most: float) -> float:
    """A number between `least` and `most`, both allowed."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        fail(argument, f"must be a number from {least:g} to {most:g}, not {value!r}")
    return value


def seconds(argument: str, value: object, *, zero: bool = False) -> float:
    """A number of seconds: finite, and more than zero unless `zero`."""
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value < float("inf")
        or not (value or zero)
    ):
        fail(argument, f"must be a number of seconds {'of at least' if zero else 'above'} 0, not {value!r}")
    return value


def tag_name(argument: str, value: object) -> str:
    """A tag: 20 characters by the reference page, 40 by the newer specification; the wider bound is refused."""
    longest = 40
    if len(text(argument, value)) > longest:
        fail(argument, f"must have at most {longest} characters, not {value!r}")
    return str(value)


def sequence(argument: str, value: object) -> tuple[object, ...]:
    """The items of a list, tuple or other iterable that is no bare string and no mapping."""
    if not _is_sequence(value):
        fail(argument, f"must be a sequence, not {value!r}")
    return tuple(value)


def _is_sequence(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def log_storage_query(storage: bool | str | None) -> dict[str, str | None]:
    """The parameter of a stop that says what becomes of the logs: yes, no, or the name of a storage."""
    word = str(storage).lower() if isinstance(storage, bool) else optional_text("container_log_storage", storage)
    return {"container_log_storage": word}


def token_text(argument: str, value: object) -> str:
    """A secret for a header, without the white space that comes along when it is pasted. No error repeats it."""
    token = value.strip() if isinstance(value, str) else ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        fail(argument, "must be a token: printable ASCII without spaces, and not empty")
    return token


def api_url(argument: str, value: object, *, allow_insecure: bool = False) -> str:
    """A URL that a token may be sent to: https, or this machine, or what the caller insists on."""
    url = text(argument, value).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.username or parts.password:
        fail(argument, "must not hold a user name or a password")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        fail(argument, f"must be an https URL without query and fragment, not {value!r}")
    if parts.scheme == "http" and not allow_insecure and not _is_loopback(parts.hostname):
        fail(argument, f"is http: the token would go to {parts.hostname} in clear")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
