"""Events for metrics and traces of a session: `EdgegapSession(on_event=...)`.

A session reports an `Event` at the end of each attempt and at the end of each call. See
`examples/`.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from .endpoints import LimitName


class Event(Struct, frozen=True):
    """The end of an attempt or of a call.

    Attributes:
        kind: "attempt" or "call".
        operation: the method of the session, such as "deployments.status".
        limit: the limit that the operation counts for.
        queued: seconds in the queue of the limit, and in pauses before retries. For a
            call: the sum over its attempts.
        round_trip: seconds from the request to the answer. For a call: the sum over its
            attempts.
        outcome: the HTTP status of the answer. Without an answer: the name of the class
            of the error.
        attempt: the number of the attempt, from 1. For a call: the number of attempts.
        request_id: the deployment that the call is about, if it is known.
        rate: requests per second that the limit allows at the moment. None: no limit.
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
