"""The limits that a session keeps, and statistics of their use."""

from typing import Literal, NamedTuple, TypeAlias

from msgspec.structs import force_setattr

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
from ..models._plain import PlainData

# Requests per second. The subtrahend makes up for rounding errors, as in 49 * (1 / 49).
LEAST_SHARE = 1 - 1e-9


class Limits(PlainData, frozen=True, kw_only=True):
    """The limits that a session keeps.

    Args:
        deploy, status, list, other: requests per second. None: no limit. By default,
            the documented limits.
        share: the part of each limit that this process may use, above 0 and up to 1.
            Several processes with one token divide the limits that way. It must leave
            at least one request per second of each limit.
        burst: how many requests may be sent at once after a pause. It is at most the
            rate of the limit. None: a quarter of the limit. 1: an even pace, for a
            server that checks the time between requests.
        early_return: make up for a long round trip. Once the round trip is known, a
            slot comes back earlier by most of it. Without this, a round trip of 300 ms
            leaves three quarters of the limit. With it, the limit may be exceeded for a
            moment if the round trip suddenly becomes much shorter.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    deploy: float | None = DEPLOY_LIMIT.rate
    status: float | None = STATUS_LIMIT.rate
    list: float | None = LIST_LIMIT.rate
    other: float | None = OTHER_LIMIT.rate
    share: float = 1.0
    burst: int | None = None
    early_return: bool = True

    def __post_init__(self) -> None:
        # Requests per second. The least is one in a quarter of an hour, the most is
        # more than any machine can send.
        least, most = 0.001, 1e9
        for limit in LIMITS:
            rate: object = getattr(self, limit.name)
            if rate is not None:
                checked = number(f"limits: {limit.name}", rate, least, most)
                force_setattr(self, limit.name, checked)
        share = number("limits: share", self.share, 0, 1)
        if share == 0:
            fail("limits: share", "must be above 0")
        force_setattr(self, "share", share)
        self._check_share()
        early = flag("limits: early_return", self.early_return)
        force_setattr(self, "early_return", early)
        if self.burst is not None:
            burst = whole_number("limits: burst", self.burst, 1)
            force_setattr(self, "burst", burst)

    def _check_share(self) -> None:
        # A process sends whole requests. With less than one per second for each, twelve
        # of them could send 12 requests in one second of a limit of 10.
        for limit in LIMITS:
            rate: float | None = getattr(self, limit.name)
            if rate is not None and self.share < 1 and rate * self.share < LEAST_SHARE:
                fail(
                    "limits: share",
                    f"of {self.share:.3g} leaves {rate * self.share:.2g} of the {rate:g} requests per second of the "
                    f"{limit.name} limit: a process needs at least 1. With shared=SharedState(...), processes share "
                    "the limits as they need them",
                )

    @classmethod
    def off(cls) -> "Limits":
        """Return limits that limit nothing, for a server without limits."""
        return cls(deploy=None, status=None, list=None, other=None)

    def kept(self, name: LimitName) -> Limit:
        """Return the limit called `name`, times this process's share."""
        rate: float | None = getattr(self, name)
        return Limit(name, None if rate is None else rate * self.share, self.burst)


# `leased`: this process uses the tokens that it owns. `alone`: the store does not answer,
# and it uses its fallback. `asleep`: it owns nothing, as it has sent nothing lately. `off`:
# the session has no `shared`.
SharedMode: TypeAlias = Literal["leased", "alone", "asleep", "off"]


class SharedUsage(NamedTuple):
    """Statistics of a limit that several processes share. See `LimitUsage`."""

    owned: int
    fair: float
    tenants: int
    shared: SharedMode


class LimitUsage(PlainData, frozen=True):
    """Statistics of a limit, for all sessions of the process that share it.

    Attributes:
        rate: requests per second that are allowed at the moment. None: no limit.
        burst: how many requests may be sent at once after a pause.
        why: the reason for the current rate and burst.
        waiting: calls in the queue of this event loop.
        in_flight: requests that were sent and have no answer yet.
        expected_wait: seconds that a call made now must wait at least.
        sent: requests that were sent, and have been answered or given up.
        refused: answers with status 429 so far.
        busiest_second: the most requests that were sent within any second.
        owned: of the requests per second, how many belong to this process at the
            moment. None: the limit is not shared with other processes.
        fair: how many should, as the processes use the limit now.
        tenants: how many processes share it.
        shared: "leased": this process uses what it owns. "alone": the shared store does
            not answer, so it uses its fallback. "asleep": it owns nothing, as it has
            sent nothing lately. "off": the limit is not shared.
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
    owned: int | None = None
    fair: float | None = None
    tenants: int | None = None
    shared: SharedMode = "off"
