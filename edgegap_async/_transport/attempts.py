"""Makes the attempts of a call. Each one takes a slot, a connection and an exchange. A
pause follows one that has failed.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from copy import copy
from traceback import clear_frames

from .._limits.limiter import Limiter
from .._limits.queue import Priority
from ..endpoints import B, T
from ..errors import (
    ApiError,
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    QueueTooLong,
    RateLimited,
    SessionClosed,
    TransportError,
    seconds_text,
)
from .binding import Binding
from .deadlines import ExchangeTimeouts, OpenWaits
from .exchange import Exchange, NoResponse
from .permits import Permit
from .pool import Pool
from .request import Request
from .response import Reply, read, takes_long, unknown_if_deploy
from .retry import Retry, RetryBudget, RetryState
from .trace import CallTrace

log = logging.getLogger("edgegap_async")
HTTP_CLOSED = (
    "the aiohttp.ClientSession given as http= was closed: close it after this session, which still needs it to stop "
    "its servers"
)


class Attempts:
    """Makes the attempts of the calls of one session, until it is closed.

    Args:
        binding: has the limiters.
        pool: has the connections.
        headers: of every request.
        retry: how failures are retried, unless a call says otherwise.

    Attributes:
        closed: the session is closed, or `abort` was called.
        waits: the waits that `abort` ends.
    """

    def __init__(
        self,
        binding: Binding,
        pool: Pool,
        headers: Mapping[str, str],
        retry: Retry,
    ) -> None:
        self._binding, self._pool = binding, pool
        self._exchange = Exchange(pool, headers)
        self._retry = retry
        self._retry_budget = RetryBudget(retry.budget)
        self.closed: bool = False
        self.waits: OpenWaits = OpenWaits()
        self._exchange_timeouts = ExchangeTimeouts()

    async def run(
        self,
        request: Request[B, T],
        priority: Priority,
        trace: CallTrace | None,
    ) -> T:
        """Make attempts until one is answered, or no retry would help.

        Raises:
            EdgegapError, Withdrawn: as `Transport.call`.
        """
        endpoint = request.endpoint
        limiter = self._binding.limiters[endpoint.limit.name]
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
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
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
        if not await self.waits.wait(run(), end):
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
            if self.over or request.deadline.over(started):
                limiter.never_sent()
                raise self._end_of_call(request, failure)
            if permit.try_connect():
                return started
            # Others need the slot meanwhile: a stop has a connection.
            limiter.never_sent()
            log.debug("%s waits for a connection", request.endpoint)
            if (
                not await self.waits.wait(permit.connect(), request.deadline.at)
                or self.over
            ):
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
        if self.over or request.deadline.over(now):
            raise self._end_of_call(request, failure)
        wait = limiter.shortest_wait(priority, newcomer=failure is None)
        if deadline is not None and now + wait > deadline:
            sent = failure is not None and failure.request_sent
            name = str(request.endpoint)
            _log_failure(
                request, f"its limit takes at least {seconds_text(wait)}", logging.INFO
            )
            allowed = _allowed(
                limiter.rate,
                self._binding.limits.share,
                shared=self._binding.sharing is not None,
            )
            raise QueueTooLong(
                name, wait=wait, allowed=allowed, request_sent=sent
            ) from failure
        if not await self.waits.wait(limiter.acquire(ticket, priority), deadline):
            raise self._end_of_call(request, failure)
        return loop.time()

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
        if self.over:
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
        if self.over:
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
        if self.over or (deadline is not None and now + pause >= deadline):
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
            not await self.waits.wait(asyncio.sleep(pause), deadline) or self.over
        ):
            raise self._end_of_call(request, failure)
        return state

    def child(self) -> "Attempts":
        """A copy that is aborted by itself: it has waits and time-outs of its own."""
        child = copy(self)
        child.waits, child._exchange_timeouts = OpenWaits(), ExchangeTimeouts()
        return child

    def abort(self, now: float) -> None:
        """End all waits and exchanges with `SessionClosed`."""
        self.closed = True
        self.waits.end_all(now)
        self._exchange_timeouts.expire_all()


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
