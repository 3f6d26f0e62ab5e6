"""How the server counts requests against its limits, in one of five ways.

The way of the real API is not documented, so it is an option. The caller passes the
time in seconds. Nothing is shared with the client's rate limiter, so that client and
simulator can't be wrong together.
"""

from collections import deque
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias, TypedDict, get_args

from ..endpoints import LIMITS, LimitName

Enforcement: TypeAlias = Literal[
    "off", "fixed-window", "sliding-window", "token-bucket", "spacing"
]
Rates: TypeAlias = Mapping[LimitName, float | None]

# In seconds. asyncio fires a timer up to one tick of its clock early, and sums of
# floats are off by less than that. Two requests sent one second apart must not count as
# being within one second.
_TICK = 1e-9
# In seconds. A server without tolerance refuses requests that were evenly paced but met
# the network's jitter: at 5 ms of jitter 106 of 400. No real API could work like that.
SPACING_TOLERANCE = 0.010


class Rule(Protocol):
    """A way to count."""

    def admits(self, now: float) -> bool:
        """Whether a request that arrives now is within the limit.

        A refused request does not use the limit.
        """
        ...


class _Off:
    """Admits every request."""

    def admits(self, now: float) -> bool:
        return True


class _FixedWindow:
    """N requests per whole second of the server's clock.

    Around the start of a second, 2 N requests can pass within one second.
    """

    def __init__(self, rate: float) -> None:
        self._most, self._length = _per_window(rate)
        self._window = -1
        self._used = 0

    def admits(self, now: float) -> bool:
        window = int((now + _TICK) // self._length)
        if window != self._window:
            self._window, self._used = window, 0
        admitted = self._used < self._most
        self._used += admitted
        return admitted


class _SlidingWindow:
    """N requests in any second."""

    def __init__(self, rate: float) -> None:
        self._most, self._length = _per_window(rate)
        self._admitted: deque[float] = deque()

    def admits(self, now: float) -> bool:
        _drop_old(self._admitted, now, self._length)
        admitted = len(self._admitted) < self._most
        if admitted:
            self._admitted.append(now)
        return admitted


class _TokenBucket:
    """A token bucket that holds the tokens of one second.

    After a pause, 2 N requests can pass within one second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._refilled_at: float | None = None

    def admits(self, now: float) -> bool:
        elapsed = 0.0 if self._refilled_at is None else now - self._refilled_at
        self._refilled_at = now
        self._tokens = min(self._capacity, self._tokens + elapsed * self._rate)
        admitted = self._tokens >= 1 - _TICK
        self._tokens -= admitted
        return admitted


class _Spacing:
    """One request every 1/N seconds, at most `tolerance` seconds early.

    An early request does not move the times of the following ones.
    """

    def __init__(self, rate: float, tolerance: float) -> None:
        self._interval = 1 / rate
        self._tolerance = tolerance
        self._due: float | None = None

    def admits(self, now: float) -> bool:
        due = now if self._due is None else max(now, self._due)
        admitted = now >= due - self._tolerance - _TICK
        if admitted:
            self._due = due + self._interval
        return admitted


class LimitCounts(TypedDict):
    """The requests under one limit.

    `arrivals` and `busiest_second` include refused requests.
    """

    arrivals: int
    accepted: int
    refused: int
    busiest_second: int


class EnforcedLimit:
    """One limit: counts the requests under it, and admits or refuses them."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._last_second: deque[float] = deque()
        self.arrivals: int = 0
        self.refused: int = 0
        self.busiest_second: int = 0

    def admit(self, now: float) -> bool:
        """Count a request, and return whether it is admitted."""
        self.arrivals += 1
        # The fullest window of one second can be moved until its last arrival is at its
        # end, so it is enough to look at the second before each arrival.
        _drop_old(self._last_second, now, 1.0)
        self._last_second.append(now)
        self.busiest_second = max(self.busiest_second, len(self._last_second))
        admitted = self._rule.admits(now)
        self.refused += not admitted
        return admitted

    def count_refusal(self) -> None:
        """Count an admitted request as refused, because a fault refused it.

        It has used the limit all the same.
        """
        self.refused += 1

    def counts(self) -> LimitCounts:
        """Return all counts as a plain dict."""
        return {
            "arrivals": self.arrivals,
            "accepted": self.arrivals - self.refused,
            "refused": self.refused,
            "busiest_second": self.busiest_second,
        }


def enforced_limits(
    enforcement: Enforcement,
    rates: Rates | None = None,
    tolerance: float = SPACING_TOLERANCE,
) -> dict[LimitName, EnforcedLimit]:
    """Make one `EnforcedLimit` for each documented limit.

    Args:
        enforcement: How requests are counted.
        rates: Requests per second in place of the documented ones, by limit; None means
            no limit.
        tolerance: How many seconds early `spacing` admits a request.

    Raises:
        ValueError: The enforcement or a limit is unknown, or a rate is not above 0.
    """
    if enforcement not in get_args(Enforcement):
        raise ValueError(
            f"enforcement must be one of {', '.join(get_args(Enforcement))}, "
            f"not {enforcement!r}"
        )
    used: dict[LimitName, float | None] = {limit.name: limit.rate for limit in LIMITS}
    for name, rate in (rates or {}).items():
        if name not in used:
            raise ValueError(
                f"rates: there is no limit {name!r}; there are: {', '.join(used)}"
            )
        if rate is not None and not rate > 0:
            raise ValueError(
                f"rates: {name} must be a number above 0, or None for no limit, "
                f"not {rate!r}"
            )
        used[name] = rate
    return {
        name: EnforcedLimit(_rule(enforcement, rate, tolerance))
        for name, rate in used.items()
    }


def _rule(enforcement: Enforcement, rate: float | None, tolerance: float) -> Rule:
    if rate is None:
        return _Off()
    match enforcement:
        case "off":
            return _Off()
        case "fixed-window":
            return _FixedWindow(rate)
        case "sliding-window":
            return _SlidingWindow(rate)
        case "token-bucket":
            return _TokenBucket(rate)
        case "spacing":
            return _Spacing(rate, tolerance)


def _per_window(rate: float) -> tuple[int, float]:
    """Return how many requests pass per window, and its length in seconds.

    Below one request per second the window grows, as there are no half requests.
    """
    return max(1, int(rate)), max(1.0, 1 / rate)


def _drop_old(times: deque[float], now: float, length: float) -> None:
    """Drop the times before the window of `length` seconds that ends now."""
    while times and now - times[0] >= length - _TICK:
        times.popleft()
