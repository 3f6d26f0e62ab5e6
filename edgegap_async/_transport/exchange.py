"""One exchange with the server: a request is sent once, and its answer is a `Reply` or
`NoResponse`.

The only module that uses aiohttp's client. None of aiohttp's errors gets past it, as
their requests hold the token.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from math import inf

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from .._limits.limiter import Limiter
from .._masking import without_frames
from ..endpoints import B, T
from .deadlines import ExchangeTimeout, ExchangeTimeouts
from .permits import Permit
from .pool import Pool
from .request import AUTHORIZATION, Request, Withdrawn
from .response import MOST_OF_ERROR, Reply
from .retry import parse_retry_after
from .unasked import CleanConnections, UnaskedAnswer

log = logging.getLogger("edgegap_async")
# The deadlines are ours: aiohttp would set a timer for each request.
UNTIMED = aiohttp.ClientTimeout(total=None)
TOO_MANY = 429
# For a request of another method without a body, aiohttp would name a type of its body.
WITHOUT_TYPE, CONTENT_TYPE = ("GET", "DELETE"), ("Content-Type",)
# Bytes from which on a body is large: few of them are read at a time.
LARGE = 1024 * 1024
# What aiohttp raises if there is no connection, or no answer on it.
USUAL = (aiohttp.ClientError, OSError, RuntimeError, ValueError)


class NoResponse(Exception):
    """An exchange without an answer.

    Attributes:
        sent: whether the request was sent; False is certain.
        late: the call's deadline has passed.
        permanent: a retry would fail in the same way.
    """

    def __init__(
        self, problem: str, *, sent: bool, late: bool, permanent: bool
    ) -> None:
        super().__init__(problem)
        self.sent = sent
        self.late = late
        self.permanent = permanent


class ResendRefused(aiohttp.ClientError):
    """aiohttp was about to resend the request: the server had closed the connection."""


class SingleDispatch:
    """Tracks whether the request was sent, and refuses to send it a second time.

    It is a middleware, made for each attempt. A request's middlewares replace those of
    the HTTP session.

    Args:
        timeout: of the exchange.
        clean: takes a connection on which nothing has arrived.
        has_body: the writing of the body is tracked, too.
        authorization: the header of that name, if aiohttp may have set another one: a
            caller's HTTP session may have an `auth`, or a `.netrc` file for its
            `trust_env`.

    Attributes:
        connected: it has a connection, so that it may have been sent.
        sending: whether a part of its body may have been sent. If a request has a body
            and none of it was sent, the server can't have processed it.
        tracker: of the body.
    """

    __slots__ = (
        "_authorization",
        "_clean",
        "_timeout",
        "_used",
        "connected",
        "sending",
        "tracker",
    )

    def __init__(
        self,
        timeout: ExchangeTimeout,
        clean: CleanConnections,
        *,
        has_body: bool = False,
        authorization: str | None = None,
    ) -> None:
        self._timeout, self._clean = timeout, clean
        self._authorization = authorization
        self._used = self.connected = self.sending = False
        self.tracker = aiohttp.UploadTracker() if has_body else None

    def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Send the request, once. aiohttp awaits the result; a coroutine around it
        would cost time on each call.
        """
        if self._used:
            raise ResendRefused(
                "the server closed the kept connection before it answered"
            )
        self._used = True
        if self._authorization is not None:
            request.headers[AUTHORIZATION] = self._authorization
        return self._clean(request, handler, self)

    def give_up(self) -> None:
        """End the exchange as if its time were over."""
        self._timeout.expire()

    @property
    def sent(self) -> bool:
        """False is certain. A body that is still being written counts as sent."""
        if not self.connected or self.tracker is None:
            return self.connected
        upload = self.tracker.upload_complete
        error = upload.exception() if upload.done() else None
        # The writing was cancelled, perhaps after the last byte.
        aborted = isinstance(error, aiohttp.UploadAbortedError)
        return error is None or (aborted and self.sending)


class TrackedBody(aiohttp.BytesPayload):
    """A body that notes when the writing of it begins, on a connection that was made."""

    def __init__(self, data: bytes, dispatch: SingleDispatch) -> None:
        super().__init__(data)
        self._dispatch = dispatch

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the body."""
        self._dispatch.sending = True
        await super().write_with_length(writer, content_length)


class Body(Struct, frozen=True, gc=False):
    """The body of a response.

    Attributes:
        cut: the rest of it was not read.
    """

    data: bytes
    cut: bool = False


NOT_READ = Body(b"", cut=True)


class Exchange:
    """Exchanges over the connections of one session.

    Args:
        pool: the connections.
        headers: of every request.
    """

    def __init__(self, pool: Pool, headers: Mapping[str, str]) -> None:
        self._pool = pool
        self._headers = headers
        self._clean = CleanConnections()
        # When the latest request that was sent was started, on the loop's clock.
        self.connected: float = -inf

    def _send(
        self, request: Request[B, T], dispatch: SingleDispatch
    ) -> Awaitable[aiohttp.ClientResponse]:
        http = self._pool.http(request.endpoint)
        headers, data = request.headers, request.data
        if not self._pool.has_headers:
            # aiohttp refuses this header beside credentials of its own.
            headers = {**self._headers, **headers}
            del headers[AUTHORIZATION]
        method = request.endpoint.method
        bare = data is None and method not in WITHOUT_TYPE
        return http.request(
            method,
            request.url,
            data=None if data is None else TrackedBody(data, dispatch),
            headers=headers,
            skip_auto_headers=CONTENT_TYPE if bare else None,
            timeout=UNTIMED,
            allow_redirects=False,
            raise_for_status=False,
            upload_tracker=dispatch.tracker,
            middlewares=(dispatch,),
        )

    def _dispatch(
        self, request: Request[B, T], timeout: ExchangeTimeout
    ) -> SingleDispatch:
        return SingleDispatch(
            timeout,
            self._clean,
            has_body=request.data is not None,
            authorization=None
            if self._pool.has_headers
            else request.headers.get(AUTHORIZATION, self._headers[AUTHORIZATION]),
        )

    async def run(
        self,
        request: Request[B, T],
        limiter: Limiter,
        timeouts: ExchangeTimeouts,
        started: float,
        permit: Permit,
    ) -> Reply:
        """Make one exchange.

        Args:
            limiter: has given a slot at `started`, and gets it back.
            permit: has a connection, and takes a large body if need be; the caller
                releases both.

        Raises:
            NoResponse: there was no answer.
            Withdrawn: the request must not be sent any more.
        """
        response: aiohttp.ClientResponse | None = None
        retry_after: float | None = None
        body = NOT_READ
        permanent = closed = False
        timeout = timeouts.enter(request.end(started))
        dispatch = self._dispatch(request, timeout)
        try:
            request.sending(started, dispatch)
            response = await self._send(request, dispatch)
            retry_after = _on_headers(response, limiter, started)
            body = await _read(response, request.endpoint.max_bytes, permit)
            return _reply(request, response, retry_after, body)
        except asyncio.CancelledError as error:
            if (problem := timeout.problem(started)) is None:
                request.interrupted(sent=dispatch.sent)
                # The frames of aiohttp hold the headers, and ours a part of the body.
                raise without_frames(error)  # noqa: B904
        except Withdrawn:
            raise
        # Also what a trace of the caller's HTTP session raises.
        except Exception as error:  # noqa: BLE001
            problem = _describe(error)
            closed = True
            permanent = not dispatch.sent and _is_permanent(error)
        finally:
            timeouts.leave(timeout)
            sent = response is not None or dispatch.sent
            request.ended(sent=sent)
            if sent:
                self.connected = started
            if response is None:
                limiter.unanswered(started, sent=sent, closed=closed)
            elif body.cut:
                response.close()
        if response is not None and response.status >= 300:
            # The status is an answer, even if its body could not be read.
            return _reply(request, response, retry_after, body)
        if not sent:
            self._pool.clear_dns_cache()
        # Raised here, so that no error of aiohttp's is its context.
        late = timeout.expired and timeout.when == request.deadline.at
        raise NoResponse(problem, sent=sent, late=late, permanent=permanent)


def _reply(
    request: Request[B, T],
    response: aiohttp.ClientResponse,
    retry_after: float | None,
    body: Body,
) -> Reply:
    status = response.status
    log.debug("%s was answered %d", request.endpoint, status)
    headers: Mapping[str, str] = response.headers if status >= 400 else {}
    return Reply(
        status,
        body.data,
        request.secret,
        retry_after,
        body.cut,
        headers,
        request.body_secrets,
    )


async def _read(response: aiohttp.ClientResponse, most: int, permit: Permit) -> Body:
    """Read at most so many bytes, decompressed. aiohttp decompresses only what is read.

    Of an error, the beginning is enough.

    Args:
        permit: limits how many large bodies there are at a time.
    """
    if response.status >= 300:
        most = MOST_OF_ERROR
    content = response.content
    parts: list[bytes] = []
    size, small = 0, min(most, LARGE)
    while size <= small and not content.at_eof():
        part = await content.readany()
        parts.append(part)
        size += len(part)
    if size <= small:
        return Body(b"".join(parts))
    if response.status >= 300:
        return Body(b"".join(parts)[:most], cut=True)
    if small == most:
        # The beginning of an answer is of no use, that of an error is.
        return NOT_READ
    await permit.hold_large()
    return await _read_large(b"".join(parts), response, most)


async def _read_large(
    start: bytes, response: aiohttp.ClientResponse, most: int
) -> Body:
    """Read the rest of a body that begins so."""
    # The kernel gives memory to it as it is filled. Many small parts, or a block that
    # grows, would leave holes in the heap, of several times the size of the body.
    block = memoryview(bytearray(most))
    size, part = 0, start
    while part:
        if size + len(part) > most:
            return NOT_READ
        block[size : size + len(part)] = part
        size += len(part)
        part = await response.content.readany()
    return Body(bytes(block[:size]))


def _on_headers(
    response: aiohttp.ClientResponse, limiter: Limiter, started: float
) -> float | None:
    """Return the slot, and tell the limiter what a 429 asks for.

    Returns:
        The seconds of `Retry-After`, if the answer is an error that has one.
    """
    if response.status < 400:
        limiter.answered(started)
        return None
    headers = response.headers
    retry_after = parse_retry_after(
        headers.get("Retry-After"), headers.get("Date"), datetime.now(UTC)
    )
    refused = response.status == TOO_MANY
    limiter.answered(started, refused=refused, retry_after=retry_after)
    return retry_after


def _is_permanent(error: Exception) -> bool:
    """Whether the server's certificate is invalid, or not the one that was expected, or
    a proxy asks for a password, or something in the caller's HTTP session is broken.
    """
    if not isinstance(error, USUAL):
        return not _is_dropped_address(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    if isinstance(
        error,
        aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch,
    ):
        return True
    cause: object = getattr(error, "os_error", error)
    # For example the server's alert that it needs a client certificate.
    return isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or "")


def _is_dropped_address(error: Exception) -> bool:
    """Whether aiohttp has looked for a host and a port in its cache of addresses, from
    which another call that failed had dropped them.
    """
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    return isinstance(key, tuple)


def _describe(error: Exception) -> str:
    """The text of an error, unless the server may have written it: it may hold the
    token, or a part of it.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {_status_text(error.status)} to CONNECT"
    if _is_dropped_address(error):
        return "the address of the host was dropped after another call failed"
    own_text = isinstance(
        error, ResendRefused | UnaskedAnswer | aiohttp.ClientConnectorError
    ) or not isinstance(error, aiohttp.ClientError)
    name = type(error).__name__
    return f"{name}: {error}".rstrip(": ") if own_text else name


def _status_text(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)
