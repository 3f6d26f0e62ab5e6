"""Reports the attempts of one call, and the call itself, to `on_event`."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Literal

from .._limits.limiter import Limiter
from ..endpoints import B, Endpoint, T
from ..errors import ApiError, EdgegapError, UnexpectedAnswer
from ..events import Event, OnEvent

log = logging.getLogger("edgegap_async")


class CallTrace:
    """The events of one call. Made only if the session has an `on_event`."""

    def __init__(
        self,
        on_event: OnEvent,
        endpoint: Endpoint[B, T],
        path_params: Mapping[str, object],
        limiter: Limiter,
    ) -> None:
        self._on_event, self._endpoint, self._limiter = on_event, endpoint, limiter
        request_id = path_params.get("request_id")
        self._request_id = request_id if isinstance(request_id, str) else None
        self._mark = asyncio.get_running_loop().time()
        self._queued = self._all_queued = self._all_round_trips = 0.0
        self._attempts = 0
        self._sending = False

    def _lap(self) -> float:
        now = asyncio.get_running_loop().time()
        lap, self._mark = now - self._mark, now
        return lap

    def attempt_started(self) -> None:
        """The call has a slot, and an attempt begins."""
        self._queued = self._lap()
        self._all_queued += self._queued
        self._attempts += 1
        self._sending = True

    def answered(self, status: int, answer: object) -> None:
        """The attempt has brought the answer, and the call ends with it."""
        request_id = getattr(answer, "request_id", None)
        if isinstance(request_id, str):
            self._request_id = request_id
        self._attempt_ended(status)
        self._report("call", self._all_queued, self._all_round_trips, status)

    def attempt_failed(self, error: EdgegapError) -> None:
        """The attempt has failed; the call may go on."""
        self._request_id = getattr(error, "request_id", None) or self._request_id
        self._attempt_ended(_outcome(error))

    def call_failed(self, error: BaseException) -> None:
        """The call has ended without an answer: in the queue, or during an attempt."""
        self._request_id = getattr(error, "request_id", None) or self._request_id
        if self._sending:
            self._attempt_ended(_outcome(error))
        else:
            self._all_queued += self._lap()
        self._report("call", self._all_queued, self._all_round_trips, _outcome(error))

    def _attempt_ended(self, outcome: int | str) -> None:
        self._sending = False
        round_trip = self._lap()
        self._all_round_trips += round_trip
        self._report("attempt", self._queued, round_trip, outcome)

    def _report(
        self,
        kind: Literal["attempt", "call"],
        queued: float,
        round_trip: float,
        outcome: int | str,
    ) -> None:
        event = Event(
            kind=kind,
            operation=self._endpoint.call,
            limit=self._endpoint.limit.name,
            queued=queued,
            round_trip=round_trip,
            outcome=outcome,
            attempt=self._attempts,
            request_id=self._request_id,
            rate=self._limiter.rate,
        )
        try:
            self._on_event(event)
        except Exception:
            log.exception("on_event failed; the call goes on")


def _outcome(error: BaseException) -> int | str:
    if isinstance(error, ApiError | UnexpectedAnswer):
        return error.status
    return type(error).__name__
