"""Counts requests against the limits, in one of five ways.

Edgegap does not document how its API counts, so it is an option. The caller passes the
time in seconds. This module shares no code with the limiter of the client, so that a
bug can't affect both.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, TypedDict, get_args

from ..endpoints import LIMITS, Limit, LimitName

Enforcement: TypeAlias = Literal[
    "off", "fixed-window", "sliding-window", "token-bucket", "spacing"
]
Rates: TypeAlias = Mapping[LimitName, float | None]

# In seconds. asyncio may fire a timer one tick of its clock early, and rounding errors
# of sums are smaller than a tick. Two requests that are sent one second apart must not
# count as two requests within one second.
_TICK = 1e-9
# In seconds. A server without tolerance refuses evenly paced requests because of jitter
# in the network: with 5 ms of jitter, it refuses 106 of 400. No real API could work
# like that.
SPACING_TOLERANCE = 0.010
# The seconds whose counts each limit keeps.
REMEMBERED_SECONDS = 121


class Rule(Protocol):
    """A way to count requests."""

    def admits(self, now: float) -> bool:
        """Return whether a request that arrives now is within the limit.

        A refused request does not count against the limit.
        """
        ...


class _Off:
    """Admits every request."""

    def admits(self, now: float) -> bool:
        return True


class _FixedWindow:
    """Admits N requests per whole second of the server's clock.

    Around the start of a second, it can admit 2 N requests within one second.
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
    """Admits N requests in any second."""

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

    After a pause, it can admit 2 N requests within one second.
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
    """Admits one request every 1/N seconds, at most `tolerance` seconds early.

    An early request does not change when the following ones are due.
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


@dataclass(slots=True)
class SecondCounts:
    """The requests in one whole second of the server's clock, and the rate at the last
    one.

    `arrivals` includes refused requests.
    """

    second: int
    arrivals: int
    refused: int
    rate: float | None


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

    def __init__(self, rule: Rule, rate: float | None) -> None:
        self.enforce(rule, rate)
        self._last_second: deque[float] = deque()
        # Only seconds in which requests arrived.
        self.seconds: deque[SecondCounts] = deque(maxlen=REMEMBERED_SECONDS)
        self.arrivals: int = 0
        self.refused: int = 0
        self.busiest_second: int = 0

    def enforce(self, rule: Rule, rate: float | None) -> None:
        """Admit further requests by a new rule, which knows nothing of earlier ones."""
        self._rule = rule
        self.rate: float | None = rate

    def admit(self, now: float) -> bool:
        """Count a request, and return whether it is admitted."""
        self.arrivals += 1
        # Some window of one second with the most arrivals ends with an arrival. So it
        # is enough to count the arrivals in the second before each one.
        _drop_old(self._last_second, now, 1.0)
        self._last_second.append(now)
        self.busiest_second = max(self.busiest_second, len(self._last_second))
        admitted = self._rule.admits(now)
        self.refused += not admitted
        this_second = self._second(now)
        this_second.arrivals += 1
        this_second.refused += not admitted
        return admitted

    def count_refusal(self) -> None:
        """Count an admitted request as refused, because a fault refused it.

        It still counts against the limit.
        """
        self.refused += 1
        self.seconds[-1].refused += 1

    def _second(self, now: float) -> SecondCounts:
        second = int(now // 1)
        if not self.seconds or self.seconds[-1].second != second:
            self.seconds.append(SecondCounts(second, 0, 0, self.rate))
        self.seconds[-1].rate = self.rate
        return self.seconds[-1]

    def counts(self) -> LimitCounts:
        """Return all counts as a plain dict."""
        return {
            "arrivals": self.arrivals,
            "accepted": self.arrivals - self.refused,
            "refused": self.refused,
            "busiest_second": self.busiest_second,
        }


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How requests are counted against the limits, and the rates.

    Args:
        enforcement: How requests are counted.
        rates: Requests per second that replace the documented ones, by limit. None
            means no limit.
        tolerance: How many seconds early `spacing` admits a request.

    Raises:
        ValueError: The enforcement or a limit is unknown, or a rate is not above 0.
    """

    enforcement: Enforcement
    rates: Rates = field(default_factory=dict[LimitName, float | None])
    tolerance: float = SPACING_TOLERANCE

    def __post_init__(self) -> None:
        if self.enforcement not in get_args(Enforcement):
            raise ValueError(
                f"enforcement must be one of {', '.join(get_args(Enforcement))}, "
                f"not {self.enforcement!r}"
            )
        names = [limit.name for limit in LIMITS]
        for name, rate in self.rates.items():
            if name not in names:
                raise ValueError(
                    f"rates: there is no limit {name!r}; there are: {', '.join(names)}"
                )
            if rate is not None and not rate > 0:
                raise ValueError(
                    f"rates: {name} must be a number above 0, or None for no limit, "
                    f"not {rate!r}"
                )

    def rate(self, limit: Limit) -> float | None:
        """Return the rate of a limit."""
        return self.rates.get(limit.name, limit.rate)

    def rule(self, limit: Limit) -> Rule:
        """Make the rule of a limit."""
        return admission_rule(self.enforcement, self.rate(limit), self.tolerance)


class RateLimits:
    """All documented limits. Their settings can be changed at any time."""

    def __init__(self, settings: LimitSettings) -> None:
        self._initial = settings
        self.reset()

    def reset(self) -> None:
        """Count from 0, with the settings of the beginning."""
        self.settings: LimitSettings = self._initial
        self.by_name: dict[LimitName, EnforcedLimit] = {
            limit.name: EnforcedLimit(
                self.settings.rule(limit), self.settings.rate(limit)
            )
            for limit in LIMITS
        }

    def change(self, settings: LimitSettings) -> None:
        """Change the settings. A limit for which they are the same is not affected."""
        before, self.settings = self.settings, settings
        for limit in LIMITS:
            rate = settings.rate(limit)
            if (rate, settings.enforcement) != (before.rate(limit), before.enforcement):
                self.by_name[limit.name].enforce(settings.rule(limit), rate)


def admission_rule(
    enforcement: Enforcement, rate: float | None, tolerance: float = SPACING_TOLERANCE
) -> Rule:
    """Return a rule that counts in one of the ways, at a rate per second."""
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
    """Return how many requests a window admits, and its length in seconds.

    For a limit below one request per second, the window is longer than a second.
    """
    return max(1, int(rate)), max(1.0, 1 / rate)


def _drop_old(times: deque[float], now: float, length: float) -> None:
    """Drop the times before the window of `length` seconds that ends now."""
    while times and now - times[0] >= length - _TICK:
        times.popleft()
