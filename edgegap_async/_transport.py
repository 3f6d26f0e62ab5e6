"""One call of the API: a slot for each attempt, an exchange on it, and what came of it
as a struct or an error of ours.

An attempt is one arrival at the server; a repeat is another one, on a slot of its own
and in its first place.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping
from copy import copy
from typing import TypeAlias, TypeVar

import aiohttp
from msgspec import UNSET, UnsetType
from yarl import URL

from ._answers import read, unknown_if_deploy
from ._bucket import Bucket
from ._deadlines import Deadlines, Waits, finish
from ._endpoint import Endpoint, LimitName
from ._lanes import PRIORITIES, Priority
from ._limits import Limits
from ._registry import Shared, forks, join, leave
from ._request import Request, Voyage, content, headers, url
from ._retry import Budget, History, Retry
from ._wire import NoAnswer, Wire
from .errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    QueueTooLong,
    SessionClosed,
    TransportError,
    WrongLoop,
)
from .events import OnEvent, Telling
from .models._check import one_of, optional_seconds

B = TypeVar("B")
T = TypeVar("T")
Timeout: TypeAlias = float | UnsetType | None

log = logging.getLogger("edgegap_async")
# a slow answer to a deploy becomes an unknown outcome: it gets twice the time of others
DEPLOY_PATIENCE = 2
# Seconds to close idle connections, which takes a few turns of the loop.
CLOSE_TIMEOUT = 1.0


class Transport:
    """Calls the API for one session, inside one event loop.

    Args:
        base_url: scheme and host, checked by the caller.
        token: what authorizes; `scheme` goes before it in the header.
        http: the caller's HTTP session, never closed here; None: one is made on first
            use.
        timeout, attempt_timeout: seconds for a call as a whole (None: no end) and for
            one exchange.
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
        on_event: OnEvent | None = None,
    ) -> None:
        self.base_url: str = base_url
        self._base = URL(base_url, encoded=True)
        self.closed: bool = False
        self._limits = limits
        # until the first call, which joins those that share
        self._shared = Shared(limits)
        self._token = token
        # A slot is held while a connection is used.
        self.connections: float = sum(bucket.slots for bucket in self.buckets.values())
        self._wire = Wire(http, self.connections, headers(f"{scheme}{token}"))
        self._on_event = on_event
        self._retry = retry
        self._budget = Budget(retry.budget)
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = forks()
        self._waits = Waits()
        # of those under way
        self._deadlines = Deadlines()

    async def call(
        self,
        row: Endpoint[B, T],
        words: Mapping[str, object] | None = None,
        *,
        body: B | None = None,
        query: Mapping[str, str | None] | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
        token: str | None = None,
        voyage: Voyage | None = None,
    ) -> T:
        """Call one operation of the API.

        Args:
            row: which one.
            words: the words of its path.
            query: parameters of the URL; None leaves one out.
            timeout: seconds for the whole call, queue and repeats included; None: no
                end; not given: the session's.
            priority: the lane in which it waits for its limit.
            token: authorizes this call instead of the session's token, bare.
            voyage: tells whether a request is on its way; with it the deadline does not
                cut one that is.

        Raises:
            ValueError: a word or the timeout is wrong; nothing was sent.
            EdgegapError: as `errors.py` tells.
            Withdrawn: the voyage has started nothing, and is not to be sent any more.
        """
        request = self._prepare(
            row, words or {}, body, query or {}, timeout, priority, token, voyage
        )
        bucket = self._shared.buckets[row.limit.name]
        # begins with the first failure
        history: History | None = None
        ticket = bucket.ticket()
        tell = (
            None
            if self._on_event is None
            else Telling(self._on_event, row, words or {}, bucket)
        )
        failure: EdgegapError | None = None
        try:
            while True:
                if (started := await bucket.take()) is None:
                    started = await self._queue(
                        request, bucket, ticket, priority, failure
                    )
                if tell:
                    tell.sends()
                try:
                    reply = await self._wire.exchange(
                        request, bucket, self._deadlines, started
                    )
                    answer = read(
                        row, reply, repeated=history is not None and history.repeats > 0
                    )
                except (NoAnswer, EdgegapError) as error:
                    failure = (
                        error
                        if isinstance(error, EdgegapError)
                        else self._no_answer(request, error, failure)
                    )
                else:
                    self._budget.give_back(history.repeats if history else 0)
                    if tell:
                        tell.answered(reply.status, answer)
                    return answer
                history = await self._pause(request, history, failure, tell)
        except BaseException as ended:
            if tell:
                tell.ended(ended)
            raise

    def _prepare(
        self,
        row: Endpoint[B, T],
        words: Mapping[str, object],
        body: B | None,
        query: Mapping[str, str | None],
        timeout: Timeout,
        priority: Priority,
        token: str | None,
        voyage: Voyage | None,
    ) -> Request[B, T]:
        if priority not in PRIORITIES:
            one_of("priority", priority, PRIORITIES)
        address = url(self._base, row, words, query)
        data, own_headers = content(body, token)
        whole = self._timeout if timeout is UNSET else self.timeout_of(timeout)
        now = self.enter().time()
        return Request(
            row=row,
            url=address,
            data=data,
            headers=own_headers,
            secret=token or self._token,
            deadline=None if whole is None else now + whole,
            timeout=whole,
            patience=self._attempt_timeout * DEPLOY_PATIENCE
            if row.starts_server
            else self._attempt_timeout,
            voyage=voyage,
        )

    @property
    def buckets(self) -> dict[LimitName, Bucket]:
        """The bucket of each limit."""
        return self._shared.buckets

    def enter(self) -> asyncio.AbstractEventLoop:
        """The running loop, which the first call makes the session's own."""
        if self.closed or self._wire.closed:
            raise SessionClosed("the session is closed: make a new one")
        return self._bind()

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._shared = join(loop, self.base_url, self._token, self._limits)
            self._loop, self._forks = loop, forks()
        elif self._loop is not loop or self._forks != forks():
            raise WrongLoop(
                "the session was first used in another event loop or process: make one for each"
            )
        return loop

    @property
    def _over(self) -> bool:
        # a caller's HTTP session may be closed under us
        return self.closed or self._wire.closed

    async def _queue(
        self,
        request: Request[B, T],
        bucket: Bucket,
        ticket: int,
        priority: Priority,
        failure: EdgegapError | None,
    ) -> float:
        """Wait for a slot, or say at once that there will be none before the deadline.
        When it came.
        """
        if self._over:
            raise self._ended(request, failure)
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = request.deadline
        wait = bucket.hopeful_wait(priority, newcomer=failure is None)
        if deadline is not None and now + wait > deadline:
            log.info(
                "%s refused early: the queue of its limit takes at least %.1f s",
                request.row,
                wait,
            )
            raise QueueTooLong(
                str(request.row),
                wait=wait,
                request_sent=failure is not None and failure.request_sent,
            ) from failure
        if not await self.wait(bucket.acquire(ticket, priority), deadline):
            raise self._ended(request, failure)
        now = loop.time()
        if self._over or (deadline is not None and now >= deadline):
            # closed, or too late, in the very turn in which the slot came
            bucket.never_sent()
            raise self._ended(request, failure)
        return now

    async def wait(
        self, waiting: Coroutine[object, object, None], deadline: float | None
    ) -> bool:
        """Wait no longer than until the deadline, nor than the session is open; False
        if one of them came first.
        """
        return await self._waits.wait(waiting, deadline)

    def _ended(
        self,
        request: Request[B, T],
        failure: EdgegapError | None,
        *,
        sent: bool = False,
    ) -> EdgegapError:
        """What a call is told whose time or whose session is over."""
        sent = sent or (failure is not None and failure.request_sent)
        error: EdgegapError
        if self._over:
            error = SessionClosed(
                f"{request.row}: the session was closed meanwhile", request_sent=sent
            )
        else:
            why = f"; the last failure: {failure}" if failure else ""
            text = f"{request.row} can't end within its timeout of {request.timeout:.4g} s{why}"
            error = DeadlineExceeded(text, request_sent=sent)
        error.__cause__ = failure
        log.warning("%s is given up: %s", request.row, error)
        return error

    def _no_answer(
        self, request: Request[B, T], came: NoAnswer, failure: EdgegapError | None
    ) -> EdgegapError:
        """An attempt without an answer as an error."""
        log.debug("%s had no answer: %s (sent: %s)", request.row, came, came.sent)
        done = "it may have been processed" if came.sent else "it was never sent"
        error: EdgegapError = TransportError(
            f"{request.row} had no answer ({came}); {done}",
            request_sent=came.sent,
            permanent=came.permanent,
        )
        if self._over:
            error = self._ended(request, failure, sent=came.sent)
        elif came.late:
            error = self._ended(request, failure or error, sent=came.sent)
        return unknown_if_deploy(request.row, error)

    async def _pause(
        self,
        request: Request[B, T],
        history: History | None,
        failure: EdgegapError,
        tell: Telling | None,
    ) -> History:
        """Wait before the next attempt, or raise what ends the call. What it has been
        through so far.
        """
        history = history or History(request.row.repeatable, self._retry, self._budget)
        if request.voyage:
            request.voyage.failed(failure)
        sent = failure.request_sent
        # an earlier attempt may have done its deed
        failure.request_sent = failure.request_sent or history.repeats > 0
        if tell:
            tell.failed(failure)
        now = asyncio.get_running_loop().time()
        pause = history.pause(
            failure,
            now,
            request.deadline,
            random.random(),
            sent=sent,
            connected=self._wire.connected,
        )
        if pause is None:
            plain = (
                isinstance(failure, ApiError)
                and failure.status < 500
                and failure.status != 429
            )
            # What a deploy has started is found out by its owner, who tells what nobody
            # could find out.
            level = (
                logging.DEBUG
                if plain
                else logging.INFO
                if request.voyage
                else logging.WARNING
            )
            log.log(level, "%s is given up: %s", request.row, failure)
            raise failure
        if self._over or (
            request.deadline is not None and now + pause >= request.deadline
        ):
            raise self._ended(request, failure)
        if request.voyage:
            request.voyage.goes_again()
        log.info("%s goes again in %.2f s: %s", request.row, pause, failure)
        if pause and (
            not await self.wait(asyncio.sleep(pause), request.deadline) or self._over
        ):
            raise self._ended(request, failure)
        return history

    def timeout_of(self, timeout: Timeout) -> float | None:
        """The seconds that a call has which was given this `timeout`."""
        if isinstance(timeout, UnsetType):
            return self._timeout
        return optional_seconds("timeout", timeout)

    def twin(self) -> "Transport":
        """The same, to be shut by itself: for what goes on while the calls of others
        are over.
        """
        self.enter()
        twin = copy(self)
        twin._waits, twin._deadlines = Waits(), Deadlines()
        return twin

    def shut(self) -> None:
        """End what waits and what is under way with `SessionClosed`."""
        # before the first call nothing is under way
        now = self._bind().time() if self._loop else 0.0
        self.closed = True
        self._waits.end_all(now)
        self._deadlines.ring_all()

    async def hang_up(self) -> asyncio.CancelledError | None:
        """Close the HTTP session if it is ours, and leave the budget to others.

        Returns:
            A cancellation that arrived meanwhile, for the caller to raise.
        """
        if self._loop is None:
            await self._wire.aclose()
            return None
        closing = asyncio.create_task(self._wire.aclose(), name="edgegap close")
        try:
            cancelled = await finish([closing], self._loop.time() + CLOSE_TIMEOUT)
        finally:
            leave(self._loop, self._shared)
        if not closing.done():
            closing.cancel()
        elif not closing.cancelled():
            closing.result()
        return cancelled
