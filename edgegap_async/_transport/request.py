"""What every attempt of one call sends: URL, headers, body. Pure: a wrong argument ends
here, before anything is sent.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, Protocol
from urllib.parse import quote, urlencode

from msgspec import Struct, json
from yarl import URL

from .._masking import Secret, SecretBytes
from .._version import __version__
from ..endpoints import B, Endpoint, T
from ..errors import EdgegapError
from ..models._check import LONGEST_ID, fail, identifier, label
from .deadlines import Deadline
from .options import checked_headers
from .retry import Retry

# The header that holds the token.
AUTHORIZATION = "Authorization"
# URLs that are kept, of all sessions. One with a request_id takes about a kilobyte.
KEPT_URLS = 4096


class Withdrawn(Exception):
    """The deploy has started nothing, and must not be sent any more."""


class Attempt(Protocol):
    """One attempt of a call while it is under way."""

    @property
    def sending(self) -> bool:
        """Whether a part of the body was sent. False: it can't have been processed, if
        it is given up now.
        """
        ...

    def give_up(self) -> None:
        """End it without an answer, as a time-out does."""
        ...


class Progress(Protocol):
    """Follows the attempts of a deploy. While a request is being sent, neither the
    deadline nor the caller cuts it off, as it may start a server.
    """

    @property
    def resolves(self) -> bool:
        """Whether an outcome that is unknown is found out by its tag, and logged then."""
        ...

    def sending(self, now: float, attempt: Attempt) -> None:
        """An attempt begins. Raises `Withdrawn` if it must not."""
        ...

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended, with an answer or without."""
        ...

    def interrupted(self, *, sent: bool) -> None:
        """A cancellation has ended an attempt."""
        ...

    def failed(self, error: EdgegapError) -> None:
        """An attempt has failed."""
        ...

    def retrying(self) -> None:
        """The attempts so far have started nothing, and another one follows. Raises
        `Withdrawn` if it must not.
        """
        ...


class Request(Struct, Generic[B, T], frozen=True):
    """One call, ready to be sent.

    Attributes:
        secret: the token that authorizes it.
        attempt_timeout: seconds for one attempt.
        repeatable: a lost attempt may be sent again.
        request_id: the deployment that it is about, if its path names one; else empty.
        retry: how; None: as the session was told.
        body_secrets: what the body holds and no error may show.
    """

    endpoint: Endpoint[B, T]
    url: URL
    data: bytes | None
    headers: Mapping[str, str]
    secret: str
    deadline: Deadline
    attempt_timeout: float
    repeatable: bool
    request_id: str = ""
    progress: Progress | None = None
    retry: Retry | None = None
    body_secrets: tuple[Secret, ...] = ()

    def end(self, started: float) -> float:
        """When an attempt that starts at `started` is given up, on the loop's clock."""
        end = started + self.attempt_timeout
        deadline = self.deadline.at
        return end if deadline is None or self.progress else min(end, deadline)

    def sending(self, now: float, attempt: Attempt) -> None:
        """An attempt begins. Raises `Withdrawn` if it must not."""
        if self.progress:
            self.progress.sending(now, attempt)

    def interrupted(self, *, sent: bool) -> None:
        """A cancellation has ended an attempt."""
        if self.progress:
            self.progress.interrupted(sent=sent)

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended."""
        if self.progress:
            self.progress.ended(sent=sent)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("endpoint", str(self.endpoint))]

    def __repr__(self) -> str:
        # The headers hold the token.
        return f"<Request {self.endpoint}>"


def build_url(
    base: URL,
    endpoint: Endpoint[B, T],
    path_params: Mapping[str, object],
    query: Mapping[str, str | None] | None = None,
) -> URL:
    """The URL of an operation.

    Args:
        path_params: percent-encoded into the endpoint's path.
        query: parameters; None leaves one out.
    """
    path = endpoint.path
    for name, value in path_params.items():
        # No value holds a brace: encoded, it is %7B.
        path = path.replace(f"{{{name}}}", path_segment(name, value))
    given = (
        {name: value for name, value in query.items() if value is not None}
        if query
        else None
    )
    address = _address(base, path)
    return (
        URL(f"{address}?{urlencode(given, quote_via=quote)}", encoded=True)
        if given
        else address
    )


@lru_cache(KEPT_URLS)
def _address(base: URL, path: str) -> URL:
    """The URL of an encoded path, kept with what aiohttp works out from it: a status is
    asked for again and again.
    """
    if base.raw_path != "/":
        path = base.raw_path + path
    # Half the work of parsing the whole URL.
    return base.with_path(path, encoded=True)


def path_segment(name: str, value: object) -> str:
    """A path parameter, percent-encoded, so that "a/b" stays one segment. "." and ".."
    are refused, as no encoding keeps them from being resolved.
    """
    if (
        isinstance(value, str)
        and len(value) <= LONGEST_ID
        and value.isalnum()
        and value.isascii()
    ):
        # Most values: a request_id is 12 hex digits.
        return value
    checked = (identifier if name.endswith("id") else label)(name, value)
    if checked in (".", ".."):
        fail(name, f"must not be {checked!r}: a path can't hold it")
    return quote(checked, safe="")


def session_headers(authorization: str) -> dict[str, str]:
    """The headers of every request."""
    return {
        AUTHORIZATION: authorization,
        "User-Agent": f"edgegap_async/{__version__}",
    }


def content(
    body: object, headers: Mapping[str, str] | None, authorization: str | None
) -> tuple[bytes | None, Mapping[str, str]]:
    """The JSON of a body, and the headers of one call, which come on top of the
    session's or replace them.

    Args:
        headers: the caller's, checked here.
    """
    own = checked_headers(headers)
    if authorization is not None:
        own[AUTHORIZATION] = authorization
    if body is None:
        return None, own
    own["Content-Type"] = "application/json"
    return SecretBytes(json.encode(body)), own
