"""How a server counts, in five ways: nobody says which one the real one has, so it is
to choose.

Pure: who asks gives the time, in seconds. On purpose nothing here is shared with the
client's bucket, so that the two can't be wrong together.
"""

from collections import deque
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias, TypedDict, get_args

from .._endpoint import LimitName
from ..endpoints import LIMITS

RuleName: TypeAlias = Literal[
    "off", "fixed-window", "sliding-window", "token-bucket", "spacing"
]
Rates: TypeAlias = Mapping[LimitName, float | None]

# asyncio fires a timer up to a tick of its clock early, and sums of floats are off by
# less than that: two requests that were sent a second apart must not be told to lie
# within one.
_TICK = 1e-9
# A server that insists on the exact distance refuses requests that were paced perfectly
# and met the network's jitter: at 5 ms of jitter 106 of 400. None could work like that.
SPACING_TOLERANCE = 0.010


class Rule(Protocol):
    """A way to count."""

    def admits(self, now: float) -> bool:
        """Whether a request that arrives now is within the limit. One that is refused
        uses nothing of it.
        """
        ...


class _Off:
    """Admits all."""

    def admits(self, now: float) -> bool:
        return True


class _FixedWindow:
    """So many per whole second of the server's clock; around the turn of a second twice
    as many pass.
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
    """So many in any second."""

    def __init__(self, rate: float) -> None:
        self._most, self._length = _per_window(rate)
        self._admitted: deque[float] = deque()

    def admits(self, now: float) -> bool:
        _forget(self._admitted, now, self._length)
        admitted = len(self._admitted) < self._most
        if admitted:
            self._admitted.append(now)
        return admitted


class _TokenBucket:
    """A bucket that holds one second's worth and fills at the rate: after a rest twice
    as many pass in a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._filled: float | None = None

    def admits(self, now: float) -> bool:
        rested = 0.0 if self._filled is None else now - self._filled
        self._filled = now
        self._tokens = min(self._capacity, self._tokens + rested * self._rate)
        admitted = self._tokens >= 1 - _TICK
        self._tokens -= admitted
        return admitted


class _Spacing:
    """One every 1/rate seconds; `tolerance` early is early enough, but what came early
    is not forgotten.
    """

    def __init__(self, rate: float, tolerance: float) -> None:
        self._distance = 1 / rate
        self._tolerance = tolerance
        self._due: float | None = None

    def admits(self, now: float) -> bool:
        due = now if self._due is None else max(now, self._due)
        admitted = now >= due - self._tolerance - _TICK
        if admitted:
            self._due = due + self._distance
        return admitted


class LimitCounts(TypedDict):
    """What came in under one limit. `arrivals` holds the refused ones too, and so does
    `busiest_second`.
    """

    arrivals: int
    accepted: int
    refused: int
    busiest_second: int


class Gate:
    """One limit: counts what arrives, and says whether it is admitted."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._last_second: deque[float] = deque()
        self.arrivals: int = 0
        self.refused: int = 0
        self.busiest_second: int = 0

    def admit(self, now: float) -> bool:
        """Count an arrival, and say whether it is admitted."""
        self.arrivals += 1
        # Every fullest window [t, t + 1) can be moved until an arrival is its last: so
        # these are all there are.
        _forget(self._last_second, now, 1.0)
        self._last_second.append(now)
        self.busiest_second = max(self.busiest_second, len(self._last_second))
        admitted = self._rule.admits(now)
        self.refused += not admitted
        return admitted

    def refuse(self) -> None:
        """Count one as refused that was admitted: a fault says so. What it used of the
        limit stays used.
        """
        self.refused += 1

    def counts(self) -> LimitCounts:
        """All counts, as a plain dict."""
        return {
            "arrivals": self.arrivals,
            "accepted": self.arrivals - self.refused,
            "refused": self.refused,
            "busiest_second": self.busiest_second,
        }


def gates(
    rule: RuleName, rates: Rates | None = None, tolerance: float = SPACING_TOLERANCE
) -> dict[LimitName, Gate]:
    """One gate per documented limit.

    Args:
        rule: how to count.
        rates: requests per second in place of the documented ones, by the limit's name;
            None is no limit.
        tolerance: how many seconds early `spacing` admits.

    Raises:
        ValueError: a rule or limit that there is not, or a rate that is not above 0.
    """
    if rule not in get_args(RuleName):
        raise ValueError(
            f"enforcement: {rule!r} is none of {', '.join(get_args(RuleName))}"
        )
    used: dict[LimitName, float | None] = {limit.name: limit.rate for limit in LIMITS}
    for name, rate in (rates or {}).items():
        if name not in used:
            raise ValueError(
                f"rates: there is no limit {name!r}; there are: {', '.join(used)}"
            )
        if rate is not None and not rate > 0:
            raise ValueError(
                f"rates: {name} must be a number above 0, or None for no limit, not {rate!r}"
            )
        used[name] = rate
    return {name: Gate(_rule(rule, rate, tolerance)) for name, rate in used.items()}


def _rule(name: RuleName, rate: float | None, tolerance: float) -> Rule:
    if rate is None:
        return _Off()
    match name:
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
    """How many in how many seconds. Below one a second the window grows: half a request
    can't be let through.
    """
    return max(1, int(rate)), max(1.0, 1 / rate)


def _forget(times: deque[float], now: float, length: float) -> None:
    """Drop what lies outside the window of `length` seconds that has its last arrival
    now.
    """
    while times and now - times[0] >= length - _TICK:
        times.popleft()
