"""From what came over the wire to a struct or an error: pure, no socket.

A deploy is told from the rest by its row: whatever leaves open if a server was started
is `DeployOutcomeUnknown`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import TypeVar

import msgspec

from ._endpoint import Endpoint
from ._error_body import ErrorBody, excerpt, read_error_body
from ._retry import retry_after
from .errors import (
    BY_STATUS,
    AllocationFailed,
    ApiError,
    DeployOutcomeUnknown,
    EdgegapError,
    ServerError,
    UnexpectedAnswer,
    is_gone,
)

B = TypeVar("B")
T = TypeVar("T")
# What signs the URL of a webhook (webhooks.py), as the server may repeat it; in JSON a
# slash may be written `\/`.
_SIGNATURE = re.compile(
    rb"(/(?:ready|error|terminated)\\?/[A-Za-z0-9_-]{1,64}\\?/)[0-9a-f]+"
)
# characters: a shorter token is one of a test, and may be a part of any word
SHORTEST_SECRET = 6


class Reply(msgspec.Struct, frozen=True):
    """One answer as it came; `secret` is what authorized its request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secret: str = ""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("status", self.status)]

    def __repr__(self) -> str:
        # the secret is in none
        return f"<Reply {self.status}, {len(self.body)} bytes>"

    @property
    def shown(self) -> bytes:
        """The body for an error: a server or a proxy may repeat in it the token, or the
        URL of a webhook, and what is secret there goes no further.
        """
        shown = _SIGNATURE.sub(rb"\1***", self.body)
        return (
            shown
            if len(self.secret) < SHORTEST_SECRET
            else shown.replace(self.secret.encode(), b"***")
        )


def read(row: Endpoint[B, T], reply: Reply, *, repeated: bool = False) -> T:
    """The struct that an answer holds.

    Args:
        repeated: an earlier attempt may have done the deed: then 404 and 410 to a
            DELETE say that it did.

    Raises:
        ApiError, UnexpectedAnswer, DeployOutcomeUnknown: as `errors.py` tells.
    """
    if 200 <= reply.status < 300:
        return decode(row, reply)
    error = _error(row, reply)
    if (
        repeated
        and row.method == "DELETE"
        and isinstance(error, ApiError)
        and is_gone(error)
    ):
        return decode(row, Reply(200, {}, b""))
    raise error


def decode(row: Endpoint[B, T], reply: Reply) -> T:
    """The body of a success; an empty one is accepted where every part of the answer
    may be absent.
    """
    body = b"null" if row.returns is NoneType else reply.body.strip() or b"{}"
    try:
        return msgspec.json.decode(body, type=row.returns)
    except UnicodeDecodeError:
        if row.lossy_text:
            return decode(
                row,
                msgspec.structs.replace(
                    reply, body=body.decode("utf-8", "replace").encode()
                ),
            )
        problem = "it is not UTF-8"
    except (msgspec.DecodeError, RecursionError) as error:
        # ValidationError is the first; nobody nests that deep
        problem = str(error)
    raise unknown_if_deploy(
        row, UnexpectedAnswer(str(row), reply.status, reply.shown, problem)
    )


def unknown_if_deploy(row: Endpoint[B, T], error: EdgegapError) -> EdgegapError:
    """`error` itself; for a deploy that may have been processed `DeployOutcomeUnknown`,
    with `error` as its cause.
    """
    if not row.starts_server or not error.request_sent:
        return error
    unknown = DeployOutcomeUnknown(str(error))
    unknown.__cause__ = error
    return unknown


def _error(row: Endpoint[B, T], reply: Reply) -> EdgegapError:
    status = reply.status
    if status < 400:
        return _redirect(row, reply)
    body = read_error_body(reply.shown)
    error = _api_error(row, status, body)
    error.retry_after = retry_after(
        reply.headers.get("Retry-After"), reply.headers.get("Date"), datetime.now(UTC)
    )
    # A gateway that gives up waiting says so with 5xx or 408; any other 4xx refuses.
    return unknown_if_deploy(row, error) if status >= 500 or status == 408 else error


def _redirect(row: Endpoint[B, T], reply: Reply) -> EdgegapError:
    redirects = reply.status >= 300
    problem = "a redirect, which is not followed" if redirects else "an interim answer"
    if shown := excerpt(reply.shown):
        problem = f"{problem}: {shown}"
    error = UnexpectedAnswer(str(row), reply.status, reply.shown, problem)
    return error if redirects else unknown_if_deploy(row, error)


def _api_error(row: Endpoint[B, T], status: int, body: ErrorBody) -> ApiError:
    kind = ServerError if status >= 500 else BY_STATUS.get(status, ApiError)
    if row.starts_server and status == 422:
        kind = AllocationFailed
    error = kind(str(row), status, body.message, body.details)
    error.from_api = body.from_api
    if isinstance(error, AllocationFailed):
        error.request_id = body.request_id
    return error
