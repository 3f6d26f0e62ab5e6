"""Checks of URLs and tokens, before anything is sent. No error repeats them, as they may
hold a secret.
"""

import re
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from ._check import fail, plain, stripped, text

# The version of the API at the end of a base URL, with the slashes around it.
_VERSION = re.compile(r"/+v\d+/*$", re.IGNORECASE)
# The path of a proxy before the version: plain segments, none of them a version, "." or
# "..". With any other path, each call would get a 404, and a 404 to a stop means that
# the deployment is gone.
_PREFIX = re.compile(
    r"(/(?!v\d[\w.]*(/|$)|\.{1,2}(/|$))[\w.~-]+)*", re.IGNORECASE | re.ASCII
)

# What users paste before a token. Edgegap's own scheme is `token`.
_SCHEMES = {
    "authorization": "Authorization",
    "basic": "Basic",
    "bearer": "Bearer",
    "token": "token",
}
_QUOTES = ("'", '"')


def token_text(argument: str, value: object) -> str:
    """Check a secret for a header, and strip the white space pasted around it.

    No error repeats the secret.
    """
    if not isinstance(value, str):
        fail(argument, f"must be a string, not {type(value).__name__}")
    token = plain(value).strip()
    word = token.partition(" ")[0].rstrip(":").lower()
    if " " in token and word in _SCHEMES:
        fail(
            argument,
            f"must be the token alone, without the word {_SCHEMES[word]!r} before it",
        )
    if token[:1] in _QUOTES and token[:1] == token[-1:]:
        fail(argument, "must be the token alone, without the quotes around it")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        fail(argument, "must be a token: printable ASCII without spaces, and not empty")
    return token


def http_url(argument: str, value: object) -> SplitResult:
    """Return the parts of an http or https URL.

    No error repeats the URL, as it may hold a secret.
    """
    found = http_parts(value)
    if isinstance(found, str):
        # Error trackers show the variables of this frame.
        del value
        fail(argument, found)
    return found


def http_parts(value: object) -> SplitResult | str:
    """The parts of an http or https URL, or what is wrong with it."""
    problem = "must be an http or https URL, such as https://example.com"
    if not isinstance(value, str):
        return f"{problem}, not {type(value).__name__}"
    url = plain(value)
    # Brackets may not match, the port be no number, or the host name be invalid.
    with suppress(ValueError):
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if sound and url.isprintable() and " " not in url and "\\" not in url:
            return parts
    return problem


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


def api_url(argument: str, value: object, *, allow_insecure: bool | None = None) -> str:
    """Check a URL that a token may be sent to.

    Plain http is allowed only to this machine, or with `allow_insecure`. None: the caller
    has no such argument.
    """
    parts = bare_http_url(argument, stripped(text(argument, value)).rstrip("/"))
    if (
        parts.scheme == "http"
        and not allow_insecure
        and not is_loopback(parts.hostname)
    ):
        fail(
            argument,
            f"must be https: the token would go to {parts.hostname} in clear"
            + ("" if allow_insecure is None else "; allow_insecure=True permits that"),
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
