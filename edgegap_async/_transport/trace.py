"""Reports the attempts of one call, and the call itself, to `on_event`.

`CAUSED_BY` is what connects the requests that the session makes by itself to the calls
that they are for: they run in a context that holds nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, Token
from itertools import count
from types import TracebackType
from typing import Literal, Self

from ..endpoints import B, Endpoint, T
from ..errors import ApiError, DeployOutcomeUnknown, UnexpectedAnswer
from ..events import Event, OnEvent
from .request import Withdrawn

log = logging.getLogger("edgegap_async")
# The numbers of calls. One process has one sequence, whatever its sessions and threads.
CALL_IDS = count(1)
# The calls for which the running task makes requests.
CAUSED_BY: ContextVar[tuple[int, ...]] = ContextVar("edgegap_async_caused_by")


def background(causes: Iterable[int] = ()) -> Context:
    """A context for work of the session itself, which holds nothing of its caller's.

    Args:
        causes: the numbers of the calls that it is for.
    """
    context = Context()
    context.run(CAUSED_BY.set, tuple(dict.fromkeys(causes)))
    return context


@contextmanager
def caused_by(causes: Iterable[int]) -> Generator[None]:
    """What is called inside is for these calls."""
    outer = CAUSED_BY.set(tuple(causes))
    try:
        yield
    finally:
        # A coroutine that is left over at the end of a loop is closed in another context.
        with suppress(ValueError):
            CAUSED_BY.reset(outer)


class Reporter:
    """Reports events to the user.

    Attributes:
        host: of the API.
    """

    def __init__(self, on_event: OnEvent, host: str) -> None:
        self._on_event = on_event
        self.host: str = host

    def report(self, event: Event) -> None:
        """Report an event."""
        try:
            self._on_event(event)
        except Exception:
            log.exception("on_event failed; the call goes on")


class CallTrace:
    """The events of one call. Made only if the session has an `on_event`.

    A call may make several calls of the transport: a lost deploy is sent again, a path
    is renamed, a stop is retried. They share one trace, which is ended by the one who has
    made it. As a context manager it ends with the block, and what else is called inside
    is caused by it.

    Args:
        rate: the requests per second that the limit allows at the moment.
        request_id: the deployment that the call is about.
        call_id: the number of the call; None: a new one.

    Attributes:
        lost: the outcome of an attempt was lost. If the call succeeds, it has recovered.
        request_id: the deployment that the call is about.
    """

    def __init__(
        self,
        reporter: Reporter,
        endpoint: Endpoint[B, T],
        rate: Callable[[], float | None],
        request_id: object = None,
        call_id: int | None = None,
    ) -> None:
        self._reporter, self._rate = reporter, rate
        self._call = endpoint.call, endpoint.limit.name, endpoint.method
        # Of the latest attempt: a path may be renamed.
        self._path = endpoint.path
        self.call_id: int = next(CALL_IDS) if call_id is None else call_id
        self.lost: bool = False
        self.request_id: str | None = (
            request_id if isinstance(request_id, str) else None
        )
        self._caused_by = CAUSED_BY.get(())
        self._outer: Token[tuple[int, ...]] | None = None
        self._mark = asyncio.get_running_loop().time()
        self._queued = self._all_queued = self._all_round_trips = 0.0
        self._attempts = 0
        self._sending = self._over = False
        # Of the latest attempt.
        self._outcome: int | str = ""

    def __enter__(self) -> Self:
        self._outer = CAUSED_BY.set((self.call_id,))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Outside of the loop, after its end, nothing can be reported.
        if self._outer and not isinstance(error, GeneratorExit):
            CAUSED_BY.reset(self._outer)
            self.end(error)

    def _lap(self) -> float:
        now = asyncio.get_running_loop().time()
        lap, self._mark = now - self._mark, now
        return lap

    def attempt_started(self, endpoint: Endpoint[B, T]) -> None:
        """The call has a slot, and an attempt begins."""
        self._path = endpoint.path
        self._queued = self._lap()
        self._all_queued += self._queued
        self._attempts += 1
        self._sending = True

    def answered(self, status: int, answer: object) -> None:
        """The attempt has brought the answer."""
        request_id = getattr(answer, "request_id", None)
        if isinstance(request_id, str):
            self.request_id = request_id
        # A stop was sent again, and "not found" is its success.
        self.lost = self.lost or status >= 300
        self._attempt_ended(status, None)

    def attempt_failed(self, error: BaseException) -> None:
        """The attempt, if one is in progress, has failed. The call may go on."""
        self._note(error)
        if not self._sending:
            return
        if isinstance(error, Withdrawn):
            # It was not sent.
            self._sending, self._attempts = False, self._attempts - 1
            return
        if isinstance(error, DeployOutcomeUnknown):
            error = error.__cause__ or error
        self._attempt_ended(_outcome(error), type(error).__name__)

    def _attempt_ended(self, outcome: int | str, error: str | None) -> None:
        self._sending, self._outcome = False, outcome
        round_trip = self._lap()
        self._all_round_trips += round_trip
        self._report("attempt", self._queued, round_trip, outcome, error)

    def end(self, error: BaseException | None) -> None:
        """The caller gets an answer or an error. Only the first end is reported."""
        if self._over:
            return
        self._over = True
        since = asyncio.get_running_loop().time() - self._mark
        queued, round_trip = self._all_queued, self._all_round_trips
        if self._sending:
            # A deploy goes on when its caller has left.
            round_trip += since
        else:
            queued += since
        if error is None:
            self._report("call", queued, round_trip, self._outcome, None)
            return
        self._note(error)
        name = type(error).__name__
        self._report("call", queued, round_trip, _outcome(error), name)

    def _note(self, error: BaseException) -> None:
        request_id = getattr(error, "request_id", None)
        if isinstance(request_id, str):
            self.request_id = request_id

    def _report(
        self,
        kind: Literal["attempt", "call"],
        queued: float,
        round_trip: float,
        outcome: int | str,
        error: str | None,
    ) -> None:
        operation, limit, method = self._call
        event = Event(
            kind=kind,
            call_id=self.call_id,
            caused_by=self._caused_by,
            host=self._reporter.host,
            operation=operation,
            method=method,
            path=self._path,
            limit=limit,
            queued=queued,
            round_trip=round_trip,
            outcome=outcome,
            error=error,
            attempt=self._attempts,
            recovered=kind == "call" and self.lost and error is None,
            request_id=self.request_id,
            rate=self._rate(),
        )
        self._reporter.report(event)


def _outcome(error: BaseException) -> int | str:
    cause = error.__cause__ if isinstance(error, DeployOutcomeUnknown) else None
    for each in (error, cause):
        if isinstance(each, ApiError | UnexpectedAnswer):
            return each.status
    return type(error).__name__
