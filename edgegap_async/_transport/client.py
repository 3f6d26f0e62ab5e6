"""Calls the API for one session: a slot for each attempt, an exchange, and a struct or
an error of ours.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Coroutine, Mapping
from contextlib import nullcontext
from copy import copy
from traceback import clear_frames
from typing import Any

import aiohttp
from msgspec import UNSET, UnsetType, structs
from yarl import URL

from .._limits.adaptive import most_slots
from .._limits.config import Limits
from .._limits.limiter import Limiter
from .._limits.queue import PRIORITIES, Priority
from .._limits.registry import Sharing
from .._masking import Secret
from ..endpoints import LIMITS, B, Endpoint, LimitName, T
from ..errors import (
    ApiError,
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    QueueTooLong,
    RateLimited,
    SessionClosed,
    TransportError,
    UnexpectedAnswer,
    seconds_text,
)
from ..events import OnEvent
from ..models._check import (
    deployment_id,
    one_of,
    optional_instance,
    optional_seconds,
)
from ..models._plain import secrets_of
from .binding import Binding
from .deadlines import Deadline, ExchangeTimeouts, OpenWaits, finish
from .environment import DIRECT, Network
from .exchange import Exchange, NoResponse
from .options import CallOptions, Timeout, checked_headers
from .permits import Permit
from .pool import Pool
from .request import Progress, Request, build_url, content, session_headers
from .response import Reply, read, takes_long, unknown_if_deploy
from .retry import Retry, RetryBudget, RetryState
from .trace import CallTrace, Reporter

log = logging.getLogger("edgegap_async")
# A deploy gets this many times the attempt_timeout: a slow answer to it would become an
# unknown outcome.
DEPLOY_TIMEOUT_FACTOR = 2
HTTP_CLOSED = (
    "the aiohttp.ClientSession given as http= was closed: close it after this session, which still needs it to stop "
    "its servers"
)
# Seconds to close idle connections, which takes a few turns of the loop.
CLOSE_TIMEOUT = 1.0
# The statuses of an operation that the API has moved to another path.
MOVED = (404, 405)


class Transport:
    """Calls the API for one session, inside one event loop.

    Args:
        base_url: scheme and host, checked by the caller.
        token: authorizes each call; `scheme` goes before it in the header.
        http: the caller's HTTP session, never closed here; None: one is made on first
            use.
        network: how our own connections reach the API.
        timeout: seconds for a call as a whole; None: no end.
        attempt_timeout: seconds for one exchange.

    Attributes:
        base_url: without a final slash.
        binding: to the loop of the first call.
        closed: the session is closed, or this transport was aborted.
        connections: how many requests the limits allow at a time.
        reporter: reports events. None: nobody asks for them.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        scheme: str = "token ",
        http: aiohttp.ClientSession | None = None,
        network: Network = DIRECT,
        limits: Limits,
        retry: Retry,
        timeout: float | None,
        attempt_timeout: float,
        on_event: OnEvent | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        # An international host name gets its ASCII form, the one that is looked up.
        self._base = URL(base_url)
        self.base_url: str = str(self._base).rstrip("/")
        self.closed: bool = False
        self._limits, self._sharing = limits, sharing
        self._token = Secret(token)
        self.binding: Binding = Binding(self.base_url, self._token, limits, sharing)
        # A slot is held while a connection is used.
        self.connections: float = sum(
            most_slots(limits.kept(limit.name).rate) for limit in LIMITS
        )
        headers = session_headers(Secret(f"{scheme}{token}"))
        kept = most_slots(limits.kept("deploy").rate)
        self._pool = Pool(http, self.connections, kept, headers, network)
        self._exchange = Exchange(self._pool, headers)
        self.reporter: Reporter | None = (
            Reporter(on_event, self._base.host_port_subcomponent or "")
            if on_event
            else None
        )
        self._retry = retry
        self._retry_budget = RetryBudget(retry.budget)
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout
        # The endpoints that the API serves under their new path.
        self._moved: set[Endpoint[Any, Any]] = set()
        self._waits = OpenWaits()
        self._exchange_timeouts = ExchangeTimeouts()

    def call(
        self,
        endpoint: Endpoint[B, T],
        path_params: Mapping[str, object] | None = None,
        *,
        body: B | None = None,
        query: Mapping[str, str | None] | None = None,
        timeout: Timeout = UNSET,
        deadline: Deadline | None = None,
        priority: Priority = "foreground",
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        repeat: bool = True,
        progress: Progress | None = None,
        trace: CallTrace | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call one operation of the API.

        If the endpoint was renamed and its path is answered 404 or 405, the new path is
        tried, and used from then on if it answers otherwise.

        Args:
            path_params: the parameters in the path.
            query: the parameters of the URL; None leaves one out.
            timeout: seconds for the whole call, with its time in the queue and all
                retries; None: no end; not given: the session's.
            deadline: one that several calls have in common, in place of `timeout`. Once it
                is over, nothing is sent.
            priority: foreground or background, in the queue of its limit.
            retry: replaces the session's, but for its budget.
            headers: further ones.
            token: authorizes this call instead of the session's token, without a
                scheme.
            repeat: send a lost GET or DELETE again. False: a caller who has to know
                whether a 404 is the answer to the first attempt does it.
            progress: of a deploy. While a request of it is being sent, the deadline
                does not cut it off.
            trace: of a call that this is a part of; its owner ends it. None: this is a
                call of its own.

        Raises:
            ValueError: an argument is wrong; nothing was sent.
            EdgegapError: see the tree in `errors.py`.
            Withdrawn: the deploy has started nothing, and must not be sent any more.
        """
        path_params = path_params or {}
        request_id = path_params.get("request_id", "")
        if not isinstance(request_id, str):
            request_id = deployment_id("request_id", request_id)
            path_params = {**path_params, "request_id": request_id}
        url = build_url(self._base, endpoint, path_params, query)
        data, own_headers = content(body, headers, token)
        seconds = self.timeout_of(timeout)
        retry = optional_instance("retry", retry, Retry)
        if priority not in PRIORITIES:
            one_of("priority", priority, PRIORITIES)
        loop, attempt = self.enter(), self._attempt_timeout
        request = Request(
            endpoint=endpoint,
            url=url,
            data=data,
            headers=own_headers,
            secret=token or self._token,
            deadline=deadline or Deadline.after(seconds, loop),
            attempt_timeout=attempt * DEPLOY_TIMEOUT_FACTOR
            if endpoint.starts_server
            else attempt,
            repeatable=repeat and endpoint.repeatable,
            request_id=request_id,
            progress=progress,
            retry=retry,
            body_secrets=tuple(map(Secret, secrets_of(body))) if data else (),
        )
        renamed = None
        if endpoint.renamed:
            url = build_url(self._base, endpoint.renamed, path_params, query)
            renamed = structs.replace(request, endpoint=endpoint.renamed, url=url)
        if self.reporter and trace is None:
            return self._call_traced(request, renamed, priority)
        if renamed:
            return self._follow_rename(request, renamed, priority, trace)
        return self._call(request, priority, trace)

    def trace(
        self,
        endpoint: Endpoint[B, T],
        request_id: object = None,
        *,
        call_id: int | None = None,
    ) -> CallTrace | None:
        """Begin the trace of a call. None: nobody asks for events.

        Args:
            request_id: the deployment that the call is about.
            call_id: its number; None: a new one.
        """
        if self.reporter is None:
            return None
        limiter = self.limiters[endpoint.limit.name]
        return CallTrace(
            self.reporter, endpoint, lambda: limiter.rate, request_id, call_id
        )

    async def _call_traced(
        self,
        request: Request[B, T],
        renamed: Request[B, T] | None,
        priority: Priority,
    ) -> T:
        trace = self.trace(request.endpoint, request.request_id or None)
        with trace or nullcontext():
            if renamed:
                return await self._follow_rename(request, renamed, priority, trace)
            return await self._call(request, priority, trace)

    async def _follow_rename(
        self,
        request: Request[B, T],
        renamed: Request[B, T],
        priority: Priority,
        trace: CallTrace | None,
    ) -> T:
        """Call an operation under the path that the API serves it at."""
        endpoint = request.endpoint
        if endpoint in self._moved:
            return await self._call(renamed, priority, trace)
        try:
            return await self._call(request, priority, trace)
        except ApiError as error:
            if error.status not in MOVED:
                raise
            first = error
        if request.progress:
            request.progress.retrying()
        try:
            answer = await self._call(renamed, priority, trace)
        except EdgegapError as error:
            # Under the first path.
            error.request_sent = True
            if isinstance(error, ApiError) and error.status in MOVED:
                raise first from None
            if isinstance(error.__cause__ or error, ApiError | UnexpectedAnswer):
                # The path is served, as it was answered.
                self._moved.add(endpoint)
            raise
        self._moved.add(endpoint)
        return answer

    async def _call(
        self,
        request: Request[B, T],
        priority: Priority,
        trace: CallTrace | None,
    ) -> T:
        endpoint = request.endpoint
        limiter = self.binding.limiters[endpoint.limit.name]
        ticket = limiter.ticket()
        permit = self._pool.permit(endpoint)
        # Made with the first failure.
        state: RetryState | None = None
        failure: EdgegapError | None = None
        try:
            while True:
                started = await self._start(
                    request, limiter, ticket, priority, failure, permit
                )
                if trace:
                    trace.attempt_started(endpoint)
                try:
                    repeated = state is not None and state.repeats > 0
                    status, answer = await self._exchange_once(
                        request, limiter, started, permit, repeated=repeated
                    )
                except NoResponse as none:
                    failure = self._no_response(request, none, failure)
                except EdgegapError as error:
                    failure = error
                    # They hold the body, of perhaps 64 MiB.
                    clear_frames(error.__traceback__)
                else:
                    self._retry_budget.refund(state.repeats if state else 0)
                    if trace:
                        trace.answered(status, answer)
                    return answer
                finally:
                    permit.release()
                state = await self._pause(request, state, failure, trace)
        except BaseException as error:
            permit.release()
            # Outside of the loop, after its end, nothing can be reported.
            if trace and not isinstance(error, GeneratorExit):
                trace.attempt_failed(error)
            raise

    @property
    def limiters(self) -> dict[LimitName, Limiter]:
        """The limiter of each limit."""
        return self.binding.limiters

    def enter(self) -> asyncio.AbstractEventLoop:
        """The running loop. The first call makes it the session's."""
        if self._over:
            if self.binding.loop is not None:
                self.binding.enter()
            raise SessionClosed(
                "the session is closed: make a new one" if self.closed else HTTP_CLOSED
            )
        return self.binding.enter()

    @property
    def _over(self) -> bool:
        # The caller may close its HTTP session under us.
        return self.closed or self._pool.closed

    async def _exchange_once(
        self,
        request: Request[B, T],
        limiter: Limiter,
        started: float,
        permit: Permit,
        *,
        repeated: bool,
    ) -> tuple[int, T]:
        """Return the status and the decoded body of one answer."""
        reply = await self._exchange.run(
            request, limiter, self._exchange_timeouts, started, permit
        )
        if takes_long(reply):
            return reply.status, await self._in_thread(request, reply, repeated)
        endpoint, request_id = request.endpoint, request.request_id
        return reply.status, read(endpoint, reply, repeated, request_id)

    async def _in_thread(
        self, request: Request[B, T], reply: Reply, repeated: bool
    ) -> T:
        """Decode an answer while the loop goes on, one at a time."""
        endpoint, request_id = request.endpoint, request.request_id
        decoded: list[T] = []

        async def run() -> None:
            async with self._pool.decoding:
                decoded.append(
                    await asyncio.to_thread(read, endpoint, reply, repeated, request_id)
                )

        # As for sending, a deploy has no deadline: it has been answered.
        end = None if request.progress else request.deadline.at
        if not await self.wait(run(), end):
            error = self._end_of_call(request, None, sent=True)
            raise unknown_if_deploy(endpoint, error)
        return decoded[0]

    async def _start(
        self,
        request: Request[B, T],
        limiter: Limiter,
        ticket: int,
        priority: Priority,
        failure: EdgegapError | None,
        permit: Permit,
    ) -> float:
        """Wait for a slot, and for a connection that may be used.

        Returns:
            When the slot came, on the loop's clock.
        """
        while True:
            if (started := await limiter.try_acquire()) is None:
                started = await self._queue(request, limiter, ticket, priority, failure)
            # The session was closed, or the deadline has passed, in the very turn in
            # which the slot came, or before the call was awaited.
            if self._over or request.deadline.over(started):
                limiter.never_sent()
                raise self._end_of_call(request, failure)
            if permit.try_connect():
                return started
            # Others need the slot meanwhile: a stop has a connection.
            limiter.never_sent()
            log.debug("%s waits for a connection", request.endpoint)
            if not await self.wait(permit.connect(), request.deadline.at) or self._over:
                raise self._end_of_call(request, failure)

    async def _queue(
        self,
        request: Request[B, T],
        limiter: Limiter,
        ticket: int,
        priority: Priority,
        failure: EdgegapError | None,
    ) -> float:
        """Wait for a slot, or raise at once if none will come before the deadline.

        Returns:
            When the slot came, on the loop's clock.
        """
        loop = asyncio.get_running_loop()
        now, deadline = loop.time(), request.deadline.at
        if self._over or request.deadline.over(now):
            raise self._end_of_call(request, failure)
        wait = limiter.shortest_wait(priority, newcomer=failure is None)
        if deadline is not None and now + wait > deadline:
            sent = failure is not None and failure.request_sent
            name = str(request.endpoint)
            _log_failure(
                request, f"its limit takes at least {seconds_text(wait)}", logging.INFO
            )
            allowed = _allowed(
                limiter.rate, self._limits.share, shared=self._sharing is not None
            )
            raise QueueTooLong(
                name, wait=wait, allowed=allowed, request_sent=sent
            ) from failure
        if not await self.wait(limiter.acquire(ticket, priority), deadline):
            raise self._end_of_call(request, failure)
        return loop.time()

    async def wait(self, waiting: Awaitable[object], deadline: float | None) -> bool:
        """Wait for anything awaitable while the session is open.

        Args:
            deadline: on the loop's clock; None: no end.

        Returns:
            False if the deadline or the end of the session came first.
        """
        return await self._waits.wait(waiting, deadline)

    def _end_of_call(
        self,
        request: Request[B, T],
        failure: EdgegapError | None,
        *,
        sent: bool = False,
    ) -> EdgegapError:
        """The error of a call whose time or whose session has ended."""
        sent = sent or (failure is not None and failure.request_sent)
        error: EdgegapError
        if self._over:
            why = "the session was closed meanwhile" if self.closed else HTTP_CLOSED
            text = f"{request.endpoint}: {why}"
            error = SessionClosed(text, request_sent=sent)
        else:
            why = f"; the last failure: {failure}" if failure else ""
            text = (
                f"{request.endpoint} can't end within its timeout of "
                f"{request.deadline}{why}"
            )
            error = DeadlineExceeded(text, request_sent=sent)
        error.__cause__ = failure
        _log_failure(request, error, logging.INFO)
        return error

    def _no_response(
        self, request: Request[B, T], none: NoResponse, failure: EdgegapError | None
    ) -> EdgegapError:
        """The error of an attempt without an answer."""
        log.debug("%s had no answer: %s", request.endpoint, none)
        done = "it may have been processed" if none.sent else "it was never sent"
        error: EdgegapError = TransportError(
            f"{request.endpoint} had no answer ({none}); {done}",
            request_sent=none.sent,
            permanent=none.permanent,
        )
        if self._over:
            error = self._end_of_call(request, failure, sent=none.sent)
        elif none.late:
            error = self._end_of_call(request, failure or error, sent=none.sent)
        return unknown_if_deploy(request.endpoint, error)

    async def _pause(
        self,
        request: Request[B, T],
        state: RetryState | None,
        failure: EdgegapError,
        trace: CallTrace | None,
    ) -> RetryState:
        """Wait before the next attempt, or raise the error that ends the call."""
        state = state or RetryState(
            request.repeatable, request.retry or self._retry, self._retry_budget
        )
        progress, deadline = request.progress, request.deadline.at
        if progress:
            progress.failed(failure)
        sent = failure.request_sent
        # An earlier attempt may have been processed.
        failure.request_sent = failure.request_sent or state.repeats > 0
        if trace:
            trace.attempt_failed(failure)
        now = asyncio.get_running_loop().time()
        pause = state.pause(
            failure,
            now,
            deadline,
            random.random(),
            sent=sent,
            connected=self._exchange.connected,
        )
        if pause is None:
            level = logging.DEBUG if _is_quiet(request, failure) else logging.INFO
            _log_failure(request, failure, level)
            raise failure
        if self._over or (deadline is not None and now + pause >= deadline):
            raise self._end_of_call(request, failure)
        if progress:
            progress.retrying()
        log.info(
            "%s failed, retrying in %.2f s: %s",
            request.endpoint.call,
            pause,
            failure,
            extra={"operation": request.endpoint.call, "wait": pause},
        )
        if pause and (
            not await self.wait(asyncio.sleep(pause), deadline) or self._over
        ):
            raise self._end_of_call(request, failure)
        return state

    def check(self, options: CallOptions) -> float | None:
        """Check the options of a call that is made later.

        Returns:
            The seconds that it has. None: no end.
        """
        one_of("priority", options.get("priority", "foreground"), PRIORITIES)
        optional_instance("retry", options.get("retry"), Retry)
        checked_headers(options.get("headers"))
        return self.timeout_of(options.get("timeout", UNSET))

    def timeout_of(self, timeout: Timeout) -> float | None:
        """The seconds that a call has if it was given this `timeout`."""
        if isinstance(timeout, UnsetType):
            return self._timeout
        return optional_seconds("timeout", timeout)

    def child(self) -> "Transport":
        """The same transport, to be aborted by itself: for background work that goes on
        when the callers' calls have ended.
        """
        self.enter()
        child = copy(self)
        child._waits, child._exchange_timeouts = OpenWaits(), ExchangeTimeouts()
        return child

    def abort(self) -> None:
        """End all waits and exchanges with `SessionClosed`."""
        # Before the first call there are none.
        now = self.binding.enter().time() if self.binding.loop else 0.0
        self.closed = True
        self._waits.end_all(now)
        self._exchange_timeouts.expire_all()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the first call. None: there was no call."""
        return self.binding.loop

    @property
    def in_child(self) -> bool:
        """Whether this process is a fork of the one that uses the session."""
        return self.binding.in_child

    def leave_to_parent(self) -> None:
        """End the session in a forked child, and touch nothing that the parent uses."""
        self.closed = True
        self._pool.leave_to_parent()

    def discard(self) -> None:
        """Release everything, in place of `aclose` after the loop has ended."""
        self.closed = True
        self._pool.discard()
        self.binding.leave()

    async def aclose(self) -> asyncio.CancelledError | None:
        """Close the HTTP session if it is ours, and leave the shared budget.

        Returns:
            A cancellation that arrived meanwhile, for the caller to raise.
        """
        loop = self.binding.loop
        if loop is None:
            await self._pool.aclose()
            return None
        end = loop.time() + CLOSE_TIMEOUT
        try:
            closing, cancelled = await self._close_pool(end)
            if closing.cancelled():
                # The end of the loop cancels all tasks once, this one too.
                closing, again = await self._close_pool(end)
                cancelled = again or cancelled
        finally:
            self.binding.leave()
        if not closing.done():
            closing.cancel()
        elif not closing.cancelled():
            closing.result()
        return cancelled

    async def _close_pool(
        self, end: float
    ) -> tuple[asyncio.Task[None], asyncio.CancelledError | None]:
        closing = asyncio.create_task(self._pool.aclose(), name="edgegap close")
        return closing, await finish([closing], end)


def _allowed(rate: float | None, share: float, *, shared: bool) -> str:
    """What a limit allows, and where to change it."""
    allowed = f"this process may send {rate or 0:.3g} per second"
    if shared:
        return f"{allowed}, as it shares the limit with others"
    if share < 1:
        return f"{allowed}, as its Limits(share={share:g}) says"
    return (
        f"{allowed}; if others use the same token, give all the same "
        "shared=SharedState(...), or each its Limits(share=...)"
    )


def _is_quiet(request: Request[B, T], failure: EdgegapError) -> bool:
    """Whether the end of a call is no news for the log."""
    # A refusal is an answer like any other.
    refused = isinstance(failure, ApiError) and failure.status < 500
    limited = isinstance(failure, RateLimited)
    # The search for its tag is logged instead: perhaps nothing has failed.
    unknown = isinstance(failure, DeployOutcomeUnknown)
    resolved = unknown and request.progress is not None and request.progress.resolves
    # The caller repeats the call by itself, and logs that.
    repeated = request.endpoint.repeatable and not request.repeatable
    return (refused and not limited) or resolved or repeated


def _log_failure(request: Request[B, T], problem: object, level: int) -> None:
    """One line for a call that has failed. The error is raised, so never at WARNING."""
    operation = request.endpoint.call
    log.log(level, "%s failed: %s", operation, problem, extra={"operation": operation})
