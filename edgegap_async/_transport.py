"""One call of the API: a slot for each attempt, one exchange, and what came of it as a struct or an error of ours.

An attempt is one arrival at the server. aiohttp would send GET and DELETE again by itself on a dead keep-alive
connection, two arrivals on one slot: `Attempt` refuses that, and the repeat takes a slot of its own.
The only module that uses aiohttp's client.
"""

import asyncio
import logging
import os
import random
from collections.abc import Coroutine, Mapping
from typing import TypeAlias, TypeVar

import aiohttp
from msgspec import UNSET, UnsetType

from ._answers import Reply, read, unknown_if_deploy
from ._attempt import Attempt
from ._endpoint import Endpoint, LimitName
from ._limits import Bucket, Limits, buckets
from ._request import Request, encode, for_call, headers, url
from ._retry import LONGEST_HOLD, Budget, History, Retry, hold
from .errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    QueueTooLong,
    RateLimited,
    SessionClosed,
    TransportError,
    WrongLoop,
)
from .models._check import seconds

B = TypeVar("B")
T = TypeVar("T")
Timeout: TypeAlias = float | UnsetType | None

log = logging.getLogger("edgegap_async")
DEPLOY_PATIENCE = 2  # a slow answer to a deploy becomes an unknown outcome: it gets twice the time of others
UNLIMITED = 1e9  # connections, in aiohttp a 0
NEVER_ROUNDED = 1e9  # seconds: aiohttp rounds time-outs above this up to whole seconds


class Transport:
    """Calls the API for one session, inside one event loop.

    Args:
        base_url: scheme and host, checked by the caller.
        token: what authorizes; `scheme` goes before it in the header.
        http: the caller's HTTP session, never closed here; None: one is made on first use.
        timeout, attempt_timeout: seconds for a call as a whole (None: no end) and for one exchange.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        scheme: str = "token ",
        http: aiohttp.ClientSession | None = None,
        limits: Limits,
        retry: Retry,
        timeout: float | None,
        attempt_timeout: float,
    ) -> None:
        self.base_url = base_url
        self.closed = False
        self.buckets: dict[LimitName, Bucket] = buckets(limits)
        self._token = token
        self._headers = headers(f"{scheme}{token}")
        self._http = http
        self._owns_http = http is None
        self._retry = retry
        self._budget = Budget(retry.budget)
        self._timeout = timeout
        self._patience = {False: attempt_timeout, True: attempt_timeout * DEPLOY_PATIENCE}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._scopes: set[asyncio.Timeout] = set()  # of the calls that wait for something

    async def call(
        self,
        row: Endpoint[B, T],
        words: Mapping[str, object] | None = None,
        *,
        body: B | None = None,
        query: Mapping[str, str | None] | None = None,
        timeout: Timeout = UNSET,
        token: str | None = None,
    ) -> T:
        """Call one operation of the API.

        Args:
            row: which one.
            words: the words of its path.
            query: parameters of the URL; None leaves one out.
            timeout: seconds for the whole call, queue and repeats included; None: no end; not given: the session's.
            token: authorizes this call instead of the session's token, bare.

        Raises:
            ValueError: a word or the timeout is wrong; nothing was sent.
            EdgegapError: as `errors.py` tells.
        """
        request = self._prepare(row, words or {}, body, query, timeout, token)
        bucket = self.buckets[row.limit.name]
        history = History(row.repeatable, self._retry, self._budget)
        ticket = bucket.ticket()
        failure: EdgegapError | None = None
        while True:
            await self._slot(request, bucket, ticket, failure)
            try:
                reply = await self._exchange(request, bucket)
                answer = read(row, reply, repeated=history.repeats > 0)
            except EdgegapError as error:
                error.__cause__ = error.__cause__ or failure
                failure = error
            else:
                history.succeeded()
                return answer
            await self._pause(request, bucket, history, failure)

    def _prepare(
        self,
        row: Endpoint[B, T],
        words: Mapping[str, object],
        body: B | None,
        query: Mapping[str, str | None] | None,
        timeout: Timeout,
        token: str | None,
    ) -> Request[B, T]:
        address = url(self.base_url, row, words, query or {})
        data = encode(body)
        whole = self.timeout_of(timeout)
        if whole is not None:
            seconds("timeout", whole)
        now = self._enter().time()
        return Request(
            row=row,
            url=address,
            data=data,
            headers=for_call(self._headers, data, token),
            secret=token or self._token,
            deadline=None if whole is None else now + whole,
            timeout=whole,
        )

    def _enter(self) -> asyncio.AbstractEventLoop:
        """The running loop, which the first call makes the session's own."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise SessionClosed("the session is closed: make a new one")
        if self._loop is None:
            self._loop, self._pid = loop, os.getpid()
        elif self._loop is not loop or self._pid != os.getpid():
            raise WrongLoop("the session was first used in another event loop or process: make one for each")
        return loop

    def _client(self) -> aiohttp.ClientSession:
        """The HTTP session, made when the first request needs it."""
        if self._http is None:
            slots = self.connections
            connector = aiohttp.TCPConnector(limit=int(slots) if slots < UNLIMITED else 0)
            self._http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._http

    @property
    def connections(self) -> float:
        """How many connections there can be: a slot is held while its request is on its way."""
        return sum(bucket.slots for bucket in self.buckets.values())

    async def _slot(self, request: Request[B, T], bucket: Bucket, ticket: int, failure: EdgegapError | None) -> None:
        """Take a slot, or say at once that there will be none before the deadline."""
        if bucket.ready:
            await bucket.acquire(ticket)
            return
        deadline = request.deadline
        wait = bucket.hopeful_wait(newcomer=failure is None)
        if deadline is not None and asyncio.get_running_loop().time() + wait > deadline:
            log.info("%s refused early: the queue of its limit takes at least %.1f s", request.row, wait)
            raise QueueTooLong(
                f"{request.row} would wait at least {wait:.1f} s for its limit and has less left: "
                "give it a longer timeout=, or start less at once",
                wait=wait,
            ) from failure
        if not await self.wait(bucket.acquire(ticket), deadline):
            raise self._ended(request, failure) from failure

    async def wait(self, waiting: Coroutine[object, object, None], deadline: float | None) -> bool:
        """Wait no longer than until the deadline, nor than the session is open; False if one of them came first."""
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                self._scopes.add(scope)
                await waiting
        except TimeoutError:
            return False
        finally:
            self._scopes.discard(scope)
        return True

    def _ended(self, request: Request[B, T], failure: EdgegapError | None, *, sent: bool = False) -> EdgegapError:
        """What a call is told whose time or whose session is over."""
        sent = sent or (failure is not None and failure.request_sent)
        if self.closed:
            return SessionClosed(f"{request.row}: the session was closed meanwhile", request_sent=sent)
        text = f"{request.row} did not end within its timeout of {request.timeout:g} s"
        return DeadlineExceeded(text, request_sent=sent)

    async def _exchange(self, request: Request[B, T], bucket: Bucket) -> Reply:
        """One attempt, on a slot that it gives back."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        limit = self._patience[request.row.starts_server]
        left = limit if request.deadline is None else max(request.deadline - started, 0.001)
        attempt = Attempt()
        try:
            async with self._client().request(
                request.row.method,
                request.url,
                data=request.data,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=min(limit, left), ceil_threshold=NEVER_ROUNDED),
                allow_redirects=False,
                raise_for_status=False,
                upload_tracker=attempt,
                middlewares=(attempt,),
            ) as response:
                attempt.answered = True
                bucket.answered(loop.time() - started)
                reply = Reply(response.status, response.headers, await response.read())
                log.debug("%s was answered %d in %.3f s", request.row, reply.status, loop.time() - started)
                return self._scrubbed(request, reply)
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            problem = f"{type(error).__name__}: {error}".replace(request.secret, "***").rstrip(": ")
            late = isinstance(error, TimeoutError) and left < limit
        finally:
            if not attempt.answered:
                (bucket.given_up if attempt.sent else bucket.never_sent)()
        # Raised out here, so that no error of aiohttp's, whose requests hold the token, hangs on ours.
        raise unknown_if_deploy(request.row, self._no_answer(request, problem, attempt.sent, late))

    def _no_answer(self, request: Request[B, T], problem: str, sent: bool, late: bool) -> EdgegapError:
        log.debug("%s had no answer: %s (sent: %s)", request.row, problem, sent)
        if self._client().closed:
            self.closed = True  # the caller's HTTP session was closed under us
        if self.closed or late:
            return self._ended(request, None, sent=sent)
        done = "it may have been processed" if sent else "it was never sent"
        return TransportError(f"{request.row} had no answer ({problem}); {done}", request_sent=sent)

    @staticmethod
    def _scrubbed(request: Request[B, T], reply: Reply) -> Reply:
        """A server or a proxy may repeat the token in what it answers; it goes no further."""
        if request.secret.encode() not in reply.body:
            return reply
        return Reply(reply.status, reply.headers, reply.body.replace(request.secret.encode(), b"***"))

    async def _pause(self, request: Request[B, T], bucket: Bucket, history: History, failure: EdgegapError) -> None:
        """Wait before the next attempt, or raise what ends the call."""
        now = asyncio.get_running_loop().time()
        if isinstance(failure, RateLimited):
            asked = failure.retry_after
            if asked is not None and asked > LONGEST_HOLD:
                log.warning("Retry-After of %.0f s is taken as %.0f s", asked, LONGEST_HOLD)
            bucket.refused(None if asked is None else hold(asked))
        pause = history.pause(failure, now, request.deadline, random.random())
        if pause is None:
            plain = isinstance(failure, ApiError) and failure.status < 500 and failure.status != 429
            log.log(logging.DEBUG if plain else logging.WARNING, "%s is given up: %s", request.row, failure)
            raise failure
        if request.deadline is not None and now + pause >= request.deadline:
            log.warning("%s is given up, its deadline is too near: %s", request.row, failure)
            raise self._ended(request, failure) from failure
        log.info("%s goes again in %.2f s: %s", request.row, pause, failure)
        if pause and not await self.wait(asyncio.sleep(pause), request.deadline):
            raise self._ended(request, failure) from failure

    def timeout_of(self, timeout: Timeout) -> float | None:
        """The seconds that a call has which was given this `timeout`."""
        return self._timeout if isinstance(timeout, UnsetType) else timeout

    async def aclose(self) -> None:
        """End all waiting with `SessionClosed`, and close the HTTP session if it is ours."""
        if self.closed:
            return
        now = self._enter().time()
        self.closed = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        if self._http is not None and self._owns_http:
            await self._http.close()
