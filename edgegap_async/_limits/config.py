"""The limits that a session keeps, and how it uses them."""

from msgspec import Struct

from ..endpoints import (
    DEPLOY_LIMIT,
    LIMITS,
    LIST_LIMIT,
    OTHER_LIMIT,
    STATUS_LIMIT,
    Limit,
    LimitName,
)
from ..models._check import fail, flag, number, whole_number


class Limits(Struct, frozen=True, kw_only=True):
    """The limits that a session keeps, in requests per second; None: no limit.

    Args:
        deploy, status, list, other: the documented limits unless given.
        share: this process's part of the organization's budget, above 0 and up to 1.
        burst: how many requests may be sent at once after a pause, for each limit at
            most its rate. Not given: a quarter of the limit. 1 paces evenly, for a
            server that counts by spacing.
        early_return: make up for a long round trip: once it is known, a slot comes back
            earlier by most of it. Off, answers after 300 ms leave three quarters of the
            limit. If the round trip suddenly becomes much shorter, the limit may be
            passed for a moment.
    """

    deploy: float | None = DEPLOY_LIMIT.rate
    status: float | None = STATUS_LIMIT.rate
    list: float | None = LIST_LIMIT.rate
    other: float | None = OTHER_LIMIT.rate
    share: float = 1.0
    burst: int | None = None
    early_return: bool = True

    def __post_init__(self) -> None:
        # Requests per second: one in a quarter of an hour, and more than any machine
        # sends.
        least, most = 0.001, 1e9
        for limit in LIMITS:
            rate: object = getattr(self, limit.name)
            if rate is not None:
                number(f"limits: {limit.name}", rate, least, most)
        if number("limits: share", self.share, 0, 1) == 0:
            fail("limits: share", "must be above 0")
        flag("limits: early_return", self.early_return)
        if self.burst is not None:
            whole_number("limits: burst", self.burst, 1)

    @classmethod
    def off(cls) -> "Limits":
        """No limits at all, for a server that has none."""
        return cls(deploy=None, status=None, list=None, other=None)

    def kept(self, name: LimitName) -> Limit:
        """What this process keeps of the limit called `name`."""
        rate: float | None = getattr(self, name)
        return Limit(name, None if rate is None else rate * self.share, self.burst)


class LimitUsage(Struct, frozen=True):
    """How a limit is used.

    Attributes:
        rate: requests per second that are allowed at the moment; None: no limit.
        burst: how many may be sent at once.
        why: why the rate and the burst are what they are.
        expected_wait: seconds that a call made now waits at least.
        busiest_second: the most requests that were sent in any second.
    """

    rate: float | None
    burst: int
    why: str
    waiting: int
    in_flight: int
    expected_wait: float
    sent: int
    refused: int
    busiest_second: int
