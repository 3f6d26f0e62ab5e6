"""Reads an answer: a struct, or the error that it stands for. Pure: no socket.

An answer to a deploy that leaves open whether a server was started is
`DeployOutcomeUnknown`.
"""

import logging
from collections.abc import Mapping
from types import NoneType

import msgspec

from .._masking import masked
from ..endpoints import B, Endpoint, T
from ..errors import (
    BY_STATUS,
    AllocationFailed,
    ApiError,
    DeployOutcomeUnknown,
    EdgegapError,
    ResponseTooLarge,
    ServerError,
    UnexpectedAnswer,
    is_gone,
)
from ..models import _lenient
from ..models._check import stripped
from ..models._wire import Rows
from ..models.deployment import DeploymentStatus, StopResult
from .error_body import ErrorBody, excerpt, read_error_body

log = logging.getLogger("edgegap_async")
# Characters. A shorter token is one of a test, and may be a part of any word.
SHORTEST_SECRET = 6
# Bytes of the body of an error that are read: if there are more, the connection is closed.
MOST_OF_ERROR = 64 * 1024
# Bytes that an error keeps. Its text has a few hundred characters. To look for secrets in
# more can take longer than to decode an answer.
MOST_SHOWN = 8 * 1024
# Bytes of a body whose values need not be counted. The most values that one may have,
# and the fewest bytes of the longest body for each: a value can need a hundred bytes of
# memory, and a microsecond or two.
SMALL, MOST_VALUES, BYTES_PER_VALUE = 256 * 1024, 500_000, 16
# Values and bytes that are decoded in less than ten milliseconds, whatever they are. A
# page of a hundred rows has about 2,000, in some 50 KiB. A shorter body than the last
# number has no more values.
MOST_AT_ONCE, MOST_BYTES_AT_ONCE, SHORT = 4_000, 128 * 1024, 8 * 1024
# Headers that hold secrets of a gateway.
COOKIES = frozenset({"set-cookie", "set-cookie2"})


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One answer as it came.

    Attributes:
        secret: the token that authorized its request.
        retry_after: seconds that an error asks to wait, clamped.
        cut: the body was longer, and the rest was not read.
        headers: of an error.
        body_secrets: those that the body of its request held.
    """

    status: int
    body: bytes
    secret: str = ""
    retry_after: float | None = None
    cut: bool = False
    headers: Mapping[str, str] = {}
    body_secrets: tuple[str, ...] = ()

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("status", self.status)]

    def __repr__(self) -> str:
        # Without the secret, and without the body, which may repeat it.
        return f"<Reply {self.status}, {len(self.body)} bytes>"

    @property
    def masked_body(self) -> bytes:
        """The start of the body, for an error. The server or a proxy may repeat in it
        the token or the URL of a webhook, so both are masked.
        """
        cut = self.cut or len(self.body) > MOST_SHOWN
        return masked(self.body[:MOST_SHOWN], *self._masked_secrets, cut=cut)

    @property
    def _masked_secrets(self) -> list[str]:
        secrets = (self.secret, *self.body_secrets)
        return [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

    @property
    def masked_headers(self) -> dict[str, str]:
        """The headers, for an error."""
        shown = {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower() not in COOKIES
        }
        # Most hold no secret, and one search in all of them takes a tenth of the time.
        lines = "\n".join([*shown, *shown.values()])
        if self._masked(lines) == lines:
            return shown
        return {self._masked(name): self._masked(shown[name]) for name in shown}

    def _masked(self, text: str) -> str:
        # aiohttp decodes headers so.
        raw = text.encode("utf-8", "surrogateescape")
        return masked(raw, *self._masked_secrets).decode("utf-8", "replace")


def read(
    endpoint: Endpoint[B, T],
    reply: Reply,
    repeated: bool = False,
    request_id: str = "",
) -> T:
    """The struct that an answer holds.

    Args:
        request_id: the deployment that the request is about, if it names one; else empty.
        repeated: an earlier attempt may have been processed. Then 404 and 410 to a
            DELETE mean that it was.

    Raises:
        ApiError, UnexpectedAnswer, DeployOutcomeUnknown: see `errors.py`.
    """
    if 200 <= reply.status < 300:
        answer = decode(endpoint, reply)
        return _about(endpoint, reply, answer, request_id) if request_id else answer
    error = _read_error(endpoint, reply)
    if (
        repeated
        and endpoint.method == "DELETE"
        and isinstance(error, ApiError)
        and is_gone(error)
    ):
        return decode(endpoint, Reply(200, b""))
    raise error


def takes_long(reply: Reply) -> bool:
    """Whether reading an answer may take so long that the loop should go on meanwhile."""
    size = len(reply.body)
    # Almost every value is followed by a comma. Nested ones are not.
    return size > MOST_BYTES_AT_ONCE or (
        size > SHORT and reply.body.count(b",") > MOST_AT_ONCE
    )


def decode(endpoint: Endpoint[B, T], reply: Reply) -> T:
    """The body of a success. If every part of the answer may be absent, an empty body
    and JSON that is no object are accepted.
    """
    returns = endpoint.returns
    body = reply.body.strip() or (b"null" if returns is object else b"{}")
    if returns is NoneType:
        body = b"null"
    if body != b"null" and (reply.cut or _has_too_many_values(endpoint, body)):
        raise unknown_if_deploy(endpoint, _too_large(endpoint, reply))
    try:
        answer = _lenient.decode(body, endpoint.returns)
    except _lenient.UnreadableError as error:
        problem = str(error)
    else:
        if isinstance(answer, Rows) and answer.skipped:
            log.info(
                "%s was answered with %d rows that can't be read; they are left out",
                endpoint,
                answer.skipped,
                extra={"operation": endpoint.call, "skipped": answer.skipped},
            )
        return answer
    body = reply.masked_body
    unreadable = UnexpectedAnswer(str(endpoint), reply.status, body, problem)
    raise unknown_if_deploy(endpoint, unreadable)


def _most_values(endpoint: Endpoint[B, T]) -> int:
    return min(MOST_VALUES, endpoint.max_bytes // BYTES_PER_VALUE)


def _has_too_many_values(endpoint: Endpoint[B, T], body: bytes) -> bool:
    """Whether a body would need many times its size in memory."""
    if len(body) <= SMALL:
        return False
    most = _most_values(endpoint)
    if _count_values(body) <= most:
        return False
    # Logs are one text, however many commas it has.
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # A value has a text or two.
    if bare.count(b'"') > 4 * most:
        return True
    return _count_values(b"".join(bare.split(b'"')[::2])) > most


def _count_values(body: bytes) -> int:
    return sum(map(body.count, (b",", b"[", b"{")))


def _too_large(endpoint: Endpoint[B, T], reply: Reply) -> ResponseTooLarge:
    size = (
        f"more than {endpoint.max_bytes // 2**20} MiB"
        if reply.cut
        else f"more than {_most_values(endpoint):,} values"
    )
    return ResponseTooLarge(str(endpoint), reply.status, size, endpoint.if_too_large)


def _about(endpoint: Endpoint[B, T], reply: Reply, answer: T, request_id: str) -> T:
    """An answer without what it says about another deployment than `request_id`.

    Raises:
        UnexpectedAnswer: it is the status of another one.
    """
    if isinstance(answer, DeploymentStatus):
        if not _is_same(answer.request_id, request_id):
            problem = "it is the status of another deployment"
            body = reply.masked_body
            raise UnexpectedAnswer(str(endpoint), reply.status, body, problem)
    elif (
        isinstance(answer, StopResult)
        and answer.deployment_summary
        and not _is_same(answer.deployment_summary.request_id, request_id)
    ):
        return msgspec.structs.replace(answer, deployment_summary=None)
    return answer


def _is_same(answered: str, asked: str) -> bool:
    # IDs are read from files, and hexadecimal.
    return answered == asked or (stripped(answered).lower() == stripped(asked).lower())


def unknown_if_deploy(endpoint: Endpoint[B, T], error: EdgegapError) -> EdgegapError:
    """`error` itself, or, for a deploy that may have been processed,
    `DeployOutcomeUnknown` with `error` as its cause.
    """
    if not endpoint.starts_server or not error.request_sent:
        return error
    unknown = DeployOutcomeUnknown(str(error))
    unknown.__cause__ = error
    return unknown


def _read_error(endpoint: Endpoint[B, T], reply: Reply) -> EdgegapError:
    status = reply.status
    if status < 400:
        return _redirect(endpoint, reply)
    error = _api_error(endpoint, status, read_error_body(reply.masked_body))
    error.retry_after = reply.retry_after
    error.headers = reply.masked_headers
    # A gateway that gives up waiting says so with 5xx or 408. Any other 4xx refuses.
    if status >= 500 or status == 408:
        return unknown_if_deploy(endpoint, error)
    return error


def _redirect(endpoint: Endpoint[B, T], reply: Reply) -> EdgegapError:
    redirects = reply.status >= 300
    body = reply.masked_body
    problem = "a redirect, which is not followed" if redirects else "an interim answer"
    if text := excerpt(body):
        problem = f"{problem}: {text}"
    error = UnexpectedAnswer(str(endpoint), reply.status, body, problem)
    return error if redirects else unknown_if_deploy(endpoint, error)


def _api_error(endpoint: Endpoint[B, T], status: int, body: ErrorBody) -> ApiError:
    kind = ServerError if status >= 500 else BY_STATUS.get(status, ApiError)
    if endpoint.starts_server and status == 422:
        kind = AllocationFailed
    error = kind(
        str(endpoint),
        status,
        body.message,
        body.details,
        delete_token=endpoint.delete_token,
    )
    error.from_api = body.from_api
    if isinstance(error, AllocationFailed):
        error.request_id = body.request_id
    return error
