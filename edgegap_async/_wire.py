"""One exchange with the server: a request goes out once, and what comes back is a
`Reply` or `NoAnswer`.

The only module that uses aiohttp's client. None of its errors gets past it: their
requests hold the token.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from math import inf

import aiohttp

from ._answers import Reply
from ._attempt import Attempt, ResendRefused
from ._bucket import Bucket
from ._deadlines import Deadlines
from ._request import B, Request, T
from ._retry import LONGEST_HOLD, obeyed, retry_after

log = logging.getLogger("edgegap_async")
# the deadlines are ours: aiohttp would set a timer for each request
UNTIMED = aiohttp.ClientTimeout(total=None)
TOO_MANY = 429
# connections; in aiohttp that is a 0
UNLIMITED = 1e9


class NoAnswer(Exception):
    """What went wrong, whether the request was sent (False is certain), whether the
    call's deadline has passed, and whether a retry would fail in the same way.
    """

    def __init__(
        self, problem: str, *, sent: bool, late: bool, permanent: bool
    ) -> None:
        super().__init__(problem)
        self.sent = sent
        self.late = late
        self.permanent = permanent


class Wire:
    """The HTTP session under a session: the caller's, or one of our own, made for the
    first request.

    Args:
        http: the caller's, which is never closed here.
        connections: how many requests there can be at a time, which is the size of the
            pool.
        headers: what every request carries.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession | None,
        connections: float,
        headers: Mapping[str, str],
    ) -> None:
        self._http = http
        self._own = http is None
        self._connections = connections
        self._headers = headers
        self._hung_up = False
        # when the latest request set out that was sent, on the loop's clock
        self.connected: float = -inf

    @property
    def closed(self) -> bool:
        """Whether the HTTP session was closed, by whomever."""
        return (
            self._hung_up if self._own else self._http is not None and self._http.closed
        )

    def _open(self) -> aiohttp.ClientSession:
        limit = int(self._connections) if self._connections < UNLIMITED else 0
        connector = aiohttp.TCPConnector(limit=limit)
        # Headers of the session are copied as they are; those of a request are merged
        # one by one.
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )
        return self._http

    def _send(
        self, request: Request[B, T], attempt: Attempt
    ) -> Awaitable[aiohttp.ClientResponse]:
        http = self._http or self._open()
        return http.request(
            request.row.method,
            request.url,
            data=request.data,
            headers=request.headers
            if self._own
            else {**self._headers, **request.headers},
            timeout=UNTIMED,
            allow_redirects=False,
            raise_for_status=False,
            upload_tracker=attempt,
            middlewares=(attempt,),
        )

    async def exchange(
        self,
        request: Request[B, T],
        bucket: Bucket,
        deadlines: Deadlines,
        started: float,
    ) -> Reply:
        """One attempt, on a slot of the bucket taken at `started`, which gets it back.

        Raises:
            NoAnswer: there was none.
            Withdrawn: it was not to be sent any more.
        """
        attempt = Attempt()
        response: aiohttp.ClientResponse | None = None
        body: bytes | None = None
        permanent = False
        alarm = deadlines.enter(request.end(started))
        try:
            request.sets_out(started)
            response = await self._send(request, attempt)
            bucket.answered(started, refused=response.status == TOO_MANY)
            if response.status == TOO_MANY:
                _obey(bucket, response.headers)
            body = await response.read()
            log.debug("%s was answered %d", request.row, response.status)
            return Reply(response.status, response.headers, body, request.secret)
        except asyncio.CancelledError:
            if not alarm.is_ours():
                request.cut_off(sent=attempt.sent)
                raise
            problem = f"it took longer than {alarm.when - started:.3g} s"
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            problem = _told(error)
            permanent = not attempt.sent and _is_permanent(error)
        finally:
            deadlines.leave(alarm)
            sent = attempt.sent
            request.is_back(sent=sent)
            if sent:
                self.connected = started
            if response is None:
                (bucket.given_up if sent else bucket.never_sent)()
            elif body is None:
                response.close()
        # it refuses or redirects, whatever became of its body
        if response is not None and response.status >= 300:
            return Reply(response.status, response.headers, b"", request.secret)
        if not sent:
            self._forget_addresses()
        # Raised out here, so that no error of aiohttp's hangs on it.
        raise NoAnswer(
            problem,
            sent=sent,
            late=alarm.rang and alarm.when == request.deadline,
            permanent=permanent,
        )

    def _forget_addresses(self) -> None:
        """No connection was made: the API, or a proxy, may have moved."""
        connector = self._http.connector if self._http else None
        if isinstance(connector, aiohttp.TCPConnector):
            connector.clear_dns_cache()

    async def aclose(self) -> None:
        """Close the HTTP session if it is ours."""
        if self._own:
            self._hung_up = True
            if self._http is not None:
                await self._http.close()


def _obey(bucket: Bucket, headers: Mapping[str, str]) -> None:
    """With `Retry-After` nothing is sent on the bucket before then."""
    asked = retry_after(
        headers.get("Retry-After"), headers.get("Date"), datetime.now(UTC)
    )
    if asked is None:
        return
    if asked > LONGEST_HOLD:
        log.warning("Retry-After of %.0f s is taken as %.0f s", asked, LONGEST_HOLD)
    bucket.hold(obeyed(asked))


def _is_permanent(error: Exception) -> bool:
    """Whether the server's certificate is invalid, or not the one that was expected."""
    if isinstance(
        error,
        aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch,
    ):
        return True
    cause: object = getattr(error, "os_error", error)
    # such as an alert of the server's, that a certificate of ours is needed
    return isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or "")


def _told(error: Exception) -> str:
    """What an error says, unless the words may be the server's: those may hold the
    token, whole or in part.
    """
    own_words = isinstance(
        error, ResendRefused | aiohttp.ClientConnectorError
    ) or not isinstance(error, aiohttp.ClientError)
    return (
        f"{type(error).__name__}: {error}".rstrip(": ")
        if own_words
        else type(error).__name__
    )
