"""Every error of this package, in one tree:

    EdgegapError                  .request_sent: False is certain
    |-- ApiError                  an error response: .status, .message, .details,
    |   |                         .operation, .from_api (False: perhaps a gateway's),
    |   |                         .retry_after (seconds, clamped to a minute), .headers,
    |   |                         .api_request_id
    |   |-- BadRequest            400
    |   |-- Unauthorized          401
    |   |-- Forbidden             403
    |   |-- NotFound              404
    |   |-- Conflict              409
    |   |-- Gone                  410
    |   |-- AllocationFailed      422 to a deploy, no server available: .request_id
    |   |-- RateLimited           429, and no retry: Retry-After ends after the deadline,
    |   |                         tries is 1, or 429s for a minute without a deadline.
    |   |                         Otherwise the cause of DeadlineExceeded, QueueTooLong
    |   `-- ServerError           5xx
    |-- TransportError            no answer: connection refused, closed, or too slow;
    |                             .permanent: an invalid certificate
    |-- UnexpectedAnswer          an answer that can't be read: .status, .body
    |   `-- ResponseTooLarge      it is too large to be read; the text says what to do
    |-- DeployOutcomeUnknown      a deploy was sent, and may have started a server: .tag
    |-- DeadlineExceeded          the timeout has passed; also a TimeoutError
    |   |-- QueueTooLong          it would pass in the queue of the limit: .wait
    |   `-- ReadyTimeout          not READY in time: .request_id, .status
    |-- DeploymentFailed          it ended in ERROR, and exists until it is stopped:
    |                             .request_id, .detail, .status
    |-- DeploymentTerminated      it is gone: .request_id
    |-- Incomplete                `find` could not see, or `reap` not see or stop,
    |                             everything: .stopped, .not_stopped
    |-- InvalidRequest            `deploy_many` was given something that can't be sent;
    |                             also a ValueError
    |-- JournalUnavailable        the journal is required, and can't be written: the
    |                             deploy was not sent
    |-- SessionClosed             the session was closed
    `-- WrongLoop                 the session belongs to another event loop or process;
                                  also a RuntimeError

A wrong argument is a plain `ValueError` that names it, before anything is sent. Errors
of aiohttp and msgspec are never raised; no error holds the API token; all survive
`pickle`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from .models.deployment import (
    ContainerLogs,
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
)

E = TypeVar("E", bound="EdgegapError")
# The usual headers with the ID of a request, the API's own before a gateway's.
REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-trace-id",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "cf-ray",
)


def _restore(kind: type[E], args: tuple[object, ...], state: Mapping[str, object]) -> E:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class EdgegapError(Exception):
    """Base of all errors of this package.

    `request_sent`: False, nothing of the call certainly ever left; True, a request of
    it may have reached the API.
    """

    def __init__(self, text: str, *, request_sent: bool = False) -> None:
        super().__init__(text)
        self.request_sent = request_sent

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own form calls the class with its args alone. Ours need keywords.
        return _restore, (type(self), self.args, dict(self.__dict__))


class ApiError(EdgegapError):
    """An error response of the API.

    Attributes:
        operation: the operation, with its method and path.
        from_api: the body has the API's own form, `{"message": text}`. False: a gateway
            may have answered in the API's place. `message` is then a readable excerpt
            of the body, and `details` what was decoded of it.
        retry_after: seconds that the answer asks to wait, at most a minute.
        headers: of the answer, with lower-case names. Cookies are left out, and what may
            repeat a secret is masked.
    """

    hint = ""
    # In place of the hint, if a delete token has authorized the call.
    delete_token_hint = ""

    def __init__(
        self,
        operation: str,
        status: int,
        message: str,
        details: object = None,
        *,
        delete_token: bool = False,
    ) -> None:
        text = f"{operation} was answered {status}: {message or 'no message'}"
        hint = (delete_token and self.delete_token_hint) or self.hint
        super().__init__(f"{text} ({hint})" if hint else text, request_sent=True)
        self.operation = operation
        self.status = status
        self.message = message
        self.details = details
        self.from_api: bool = True
        self.retry_after: float | None = None
        self.headers: Mapping[str, str] = {}

    @property
    def api_request_id(self) -> str | None:
        """The ID that the API or a gateway has given to the request, for its support:
        from a header such as `X-Request-Id`. None: the answer has none.
        """
        names = (name for name in REQUEST_ID_HEADERS if self.headers.get(name))
        return next((self.headers[name] for name in names), None)


OWN_STOP_HINT = (
    "check ARBITRIUM_DELETE_TOKEN: it must be that of this very deployment, and is not "
    "the API token"
)


class BadRequest(ApiError):
    """400: the API refuses the request; `message` has the reason."""


class Unauthorized(ApiError):
    """401: the token is missing, wrong or revoked. To a container's own stop: its delete
    token is.
    """

    hint = "check EDGEGAP_API_TOKEN, or the token given to the session"
    delete_token_hint = OWN_STOP_HINT


class Forbidden(ApiError):
    """403: the token may not do this."""

    hint = "the token's organization may not do this"
    delete_token_hint = OWN_STOP_HINT


class NotFound(ApiError):
    """404: the deployment, or what else the path names, does not exist."""


class Conflict(ApiError):
    """409: the request contradicts the current state."""


class Gone(ApiError):
    """410: the deployment has already ended."""


class AllocationFailed(ApiError):
    """422 to a deploy: no server could be allocated. A deployment in ERROR exists under
    `request_id`.
    """

    hint = "try elsewhere or later; what is left of it is stopped, unless the deploy had once=False"

    def __init__(
        self,
        operation: str,
        status: int,
        message: str,
        details: object = None,
        *,
        delete_token: bool = False,
    ) -> None:
        super().__init__(operation, status, message, details, delete_token=delete_token)
        self.request_id: str | None = None
        self.once_tag: str | None = None


class RateLimited(ApiError):
    """429, and the call is not retried: `Retry-After` ends after its deadline,
    `Retry(tries=1)` turns retries off, or a call without a deadline got nothing but 429s
    for a minute. If the deadline passes during the retries, the call raises
    `DeadlineExceeded` or `QueueTooLong`, with the last `RateLimited` as its `__cause__`.
    """

    hint = (
        "other clients of the organization use the same limit: give all processes the "
        "same shared=SharedState(...), or each its Limits(share=...)"
    )


class ServerError(ApiError):
    """5xx: the API, or a proxy before it, failed."""

    hint = "what is safe to repeat is retried; if that is not enough, try again later"


class TransportError(EdgegapError):
    """There was no answer. With `request_sent` False, nothing was done; with True, the
    operation may have been done.

    Attributes:
        permanent: the server's certificate is invalid, or a proxy asks for a password:
            a retry would not help.
    """

    def __init__(
        self, text: str, *, request_sent: bool = False, permanent: bool = False
    ) -> None:
        super().__init__(text, request_sent=request_sent)
        self.permanent = permanent


class UnexpectedAnswer(EdgegapError):
    """The answer is not what the API promises: not JSON, a part missing, a redirect.
    `body` is the answer as it came, at most its first 8 KiB.
    """

    def __init__(
        self,
        operation: str,
        status: int,
        body: bytes,
        problem: str,
        advice: str = "look at .body; a proxy may have answered in the API's place",
    ) -> None:
        super().__init__(
            f"{operation} was answered {status} with a body that can't be read: "
            f"{problem} ({advice})",
            request_sent=True,
        )
        self.operation = operation
        self.status = status
        self.body = body


class ResponseTooLarge(UnexpectedAnswer):
    """The answer is too large to be read, decompressed: 1 MiB, 2 MiB for lists, 64 MiB
    for logs and metrics, or many values in fewer bytes. The operation was done. `body`
    is empty, and the text says how to ask for less.
    """

    def __init__(self, operation: str, status: int, size: str, advice: str) -> None:
        super().__init__(operation, status, b"", size, advice)


class DeployOutcomeUnknown(EdgegapError):
    """A deploy was sent, and may have started a server. The session stops that server if
    it turns up within five minutes. It is yours if you find it by its tag, and wait for
    it, adopt it or stop it through this session. Without a tag, search the list of
    deployments before you deploy again.

    Attributes:
        tag: the tag that was sent with the deploy; None if there was none.
    """

    def __init__(self, text: str, *, tag: str | None = None) -> None:
        super().__init__(
            f"{text}; a server may have been started: "
            + (
                "you can deploy again, as the session stops it if it turns up within "
                f"five minutes. To keep it, find it by its tag {tag} and adopt it, or "
                "wait for it, before that"
                if tag
                else "look for it in the list of deployments before deploying again"
            ),
            request_sent=True,
        )
        self.tag = tag


class JournalUnavailable(EdgegapError):
    """A deploy was not sent, as the journal can't be written, and the session was opened
    with `journal="required"`.
    """


def seconds_text(seconds: float) -> str:
    """Return a time-out for an error, such as `30 s`: with hundredths at most."""
    return f"{round(seconds, 2) or seconds:.12g} s"


def state_seen(status: DeploymentStatus) -> str | None:
    """Return the state of a deployment. One that is not known is as the API wrote it."""
    known = status.state is not DeploymentState.UNKNOWN
    return status.state.name if known else status.current_status


class DeadlineExceeded(EdgegapError, TimeoutError):
    """The call's timeout has passed. The last failure before that is its `__cause__`.
    Give the call a longer `timeout=`.
    """


class QueueTooLong(DeadlineExceeded):
    """The queue of the limit is so long that the call can't be sent before its
    deadline.

    Attributes:
        wait: seconds until it could be sent, if everything goes as well as it can.
    """

    def __init__(
        self,
        operation: str,
        *,
        wait: float,
        allowed: str = "see Limits(share=...)",
        request_sent: bool = False,
    ) -> None:
        super().__init__(
            f"{operation} would wait at least {seconds_text(wait)} for its limit and has less left: "
            f"give it a longer timeout=, or start less at once ({allowed})",
            request_sent=request_sent,
        )
        self.wait = wait


class ReadyTimeout(DeadlineExceeded):
    """The deployment was not READY in time, and still exists: stop it, or wait again.
    `status` is the last one that was seen. None: none was seen, so it may not exist.
    """

    def __init__(
        self,
        request_id: str,
        timeout: float,
        status: DeploymentStatus | None,
        *,
        probing: bool = False,
    ) -> None:
        seen = f"last seen {state_seen(status)}" if status else "no status seen"
        exists = "still exists" if status else "may exist"
        what = "READY, but its probe did not succeed" if probing else "not ready"
        super().__init__(
            f"deployment {request_id} was {what} within {seconds_text(timeout)}"
            f"{'' if probing else f', {seen}'}; it {exists}: stop it, or wait again",
            request_sent=True,
        )
        self.request_id = request_id
        self.status = status


class DeploymentFailed(EdgegapError):
    """The deployment ended in ERROR; it exists until it is stopped.

    Attributes:
        logs: of its container, if the session stops it: they are fetched before, in at
            most 3 s, and at most 1 MiB of them. None: they could not be had.
    """

    def __init__(
        self,
        request_id: str,
        detail: str | None,
        status: DeploymentStatus | None = None,
    ) -> None:
        super().__init__(
            f"deployment {request_id} failed: {detail or 'no detail given'}; "
            "it exists until it is stopped",
            request_sent=True,
        )
        self.request_id = request_id
        self.detail = detail
        self.status = status
        self.logs: ContainerLogs | None = None


class DeploymentTerminated(EdgegapError):
    """The deployment has ended, or never existed."""

    def __init__(self, request_id: str, text: str | None = None) -> None:
        super().__init__(
            text
            or f"deployment {request_id} is gone: it was stopped, or never existed",
            request_sent=True,
        )
        self.request_id = request_id


class Incomplete(EdgegapError):
    """`find` could not see everything, or `reap` could not see or stop everything. The
    text says what is missing.

    Attributes:
        stopped: what `reap` has stopped; with `dry_run`, what it has found.
        not_stopped: why it could not check or stop the others, by their `request_id`.
    """

    def __init__(
        self,
        text: str,
        *,
        stopped: Sequence[DeploymentSummary] = (),
        not_stopped: Mapping[str, EdgegapError] | None = None,
    ) -> None:
        super().__init__(text, request_sent=True)
        self.stopped: tuple[DeploymentSummary, ...] = tuple(stopped)
        self.not_stopped: dict[str, EdgegapError] = dict(not_stopped or {})


class InvalidRequest(EdgegapError, ValueError):
    """An item that `deploy_many` was given is no request that can be sent. It is the
    error of that item's outcome; the other requests go on.
    """


class SessionClosed(EdgegapError):
    """The session was closed before the call, or while it was queued or in progress."""


class WrongLoop(EdgegapError, RuntimeError):
    """The session belongs to the event loop and the process in which it was first used.
    Make another one here. Or no event loop of asyncio runs here, as under trio.
    """


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: RateLimited,
}

# Errors that no retry would mend.
PERMANENT_ERRORS: Final = (Unauthorized, Forbidden, SessionClosed, WrongLoop)


def is_permanent(error: EdgegapError) -> bool:
    """Whether no retry would mend an error: also an invalid certificate, and a proxy
    that asks for a password.
    """
    return isinstance(error, PERMANENT_ERRORS) or (
        isinstance(error, TransportError) and error.permanent
    )


def may_be_done(error: EdgegapError) -> bool:
    """Whether the operation may have been done in spite of an error response: a
    redirect, or an error that is not in the API's form. A 429 of any form refuses.
    """
    if isinstance(error, UnexpectedAnswer):
        return True
    return isinstance(error, ApiError) and not error.from_api and error.status != 429


def is_gone(error: ApiError) -> bool:
    """Whether an error response says that the deployment does not exist any more: 404,
    410, or the API's own 400.
    """
    return error.status in (404, 410) or (
        error.status == 400 and "bad request id" in error.message.lower()
    )
