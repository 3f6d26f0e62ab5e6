"""What a session reports of its calls while they happen: `EdgegapSession(on_event=...)`.

One `Event` for each attempt that ends, and one for each call that ends. For metrics and
traces; see `examples/`.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from .endpoints import LimitName


class Event(Struct, frozen=True):
    """An attempt or a call that has ended. Times are in seconds.

    Attributes:
        operation: the method of the session, such as "deployments.status".
        queued: seconds in the queue of the limit, with the pauses before retries. Of a
            call: the sum over its attempts; so is `round_trip`.
        outcome: the status of the answer, or the name of the error's class if there was
            none.
        attempt: the number of the attempt, from 1. Of a call: how many there were.
        rate: requests per second that the limit allows at the moment.
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
