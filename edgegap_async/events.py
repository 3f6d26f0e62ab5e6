"""What a session tells of its calls while they happen: `EdgegapSession(on_event=...)`.

One `Event` for each attempt that came to an end, and one for each call. For metrics and
traces; see `examples/`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from ._bucket import Bucket
from ._endpoint import B, Endpoint, LimitName, T
from .errors import ApiError, EdgegapError, UnexpectedAnswer

log: logging.Logger = logging.getLogger("edgegap_async")


class Event(Struct, frozen=True):
    """An attempt or a call that came to an end. Times in seconds, `rate` in requests
    per second.

    `queued`: waited for the limit, pauses before a repeat included. `outcome`: the
    status of the answer, or the name of the error's class where there was none. Of a
    call, the times are the sums over its attempts, and `attempt` is how many there
    were.
    """

    kind: Literal["attempt", "call"]
    operation: str
    limit: LimitName
    queued: float
    round_trip: float
    outcome: int | str
    attempt: int
    request_id: str | None
    rate: float | None


OnEvent: TypeAlias = Callable[[Event], object]


class Telling:
    """What one call has to tell; made only where somebody listens."""

    def __init__(
        self,
        tell: OnEvent,
        row: Endpoint[B, T],
        words: Mapping[str, object],
        bucket: Bucket,
    ) -> None:
        self._tell, self._row, self._bucket = tell, row, bucket
        request_id = words.get("request_id")
        self._request_id = request_id if isinstance(request_id, str) else None
        self._mark = asyncio.get_running_loop().time()
        self._queued = self._all_queued = self._all_round_trips = 0.0
        self._attempts = 0
        self._sending = False

    def _lap(self) -> float:
        now = asyncio.get_running_loop().time()
        lap, self._mark = now - self._mark, now
        return lap

    def sends(self) -> None:
        """The call has a slot, and an attempt begins."""
        self._queued = self._lap()
        self._all_queued += self._queued
        self._attempts += 1
        self._sending = True

    def answered(self, status: int, answer: object) -> None:
        """The attempt has brought the answer, and with it the call ends."""
        request_id = getattr(answer, "request_id", None)
        if isinstance(request_id, str):
            self._request_id = request_id
        self._attempted(status)
        self._say("call", self._all_queued, self._all_round_trips, status)

    def failed(self, error: EdgegapError) -> None:
        """The attempt has failed; whether the call has is open."""
        self._request_id = getattr(error, "request_id", None) or self._request_id
        self._attempted(_outcome(error))

    def ended(self, error: BaseException) -> None:
        """The call has ended without an answer: in the queue, or while an attempt was
        under way.
        """
        self._request_id = getattr(error, "request_id", None) or self._request_id
        if self._sending:
            self._attempted(_outcome(error))
        else:
            self._all_queued += self._lap()
        self._say("call", self._all_queued, self._all_round_trips, _outcome(error))

    def _attempted(self, outcome: int | str) -> None:
        self._sending = False
        round_trip = self._lap()
        self._all_round_trips += round_trip
        self._say("attempt", self._queued, round_trip, outcome)

    def _say(
        self,
        kind: Literal["attempt", "call"],
        queued: float,
        round_trip: float,
        outcome: int | str,
    ) -> None:
        event = Event(
            kind=kind,
            operation=self._row.call,
            limit=self._row.limit.name,
            queued=queued,
            round_trip=round_trip,
            outcome=outcome,
            attempt=self._attempts,
            request_id=self._request_id,
            rate=self._bucket.rate,
        )
        try:
            self._tell(event)
        except Exception:
            log.exception("on_event failed; the call goes on")


def _outcome(error: BaseException) -> int | str:
    return (
        error.status
        if isinstance(error, ApiError | UnexpectedAnswer)
        else type(error).__name__
    )
