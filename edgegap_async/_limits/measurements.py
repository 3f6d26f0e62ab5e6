"""Measurements of a limiter: round trips, and requests per second."""

from bisect import bisect_right
from collections import deque
from math import inf

from .refusals import Lately

# Seconds for which a request that the caller gave up may still be on its way.
SHORTEST_DOUBT, LONGEST_DOUBT = 0.25, 2.0
# Answers per slot before slots come back early. After fewer, the server does sometimes
# count 41 requests in a second at a limit of 40.
LEARNING = 10
# Slots come back early by this part of the shortest round trip, after so many seconds
# are subtracted from it: the round trip may become even shorter.
EARLY, EARLY_MARGIN = 0.9, 0.010
# For the busiest second: a request that ends within so many seconds of its sending is
# counted exactly. A deploy has 30 s by default.
LONGEST_REQUEST = 31.0
# How many times of requests are kept for that, at least and at most.
LEAST_TIMES, MOST_TIMES = 1000, 10_000
# Seconds for which a peak is kept at least. It is kept for at most twice as long.
PEAK = 2.0


class RoundTrips:
    """The shortest and the longest round trip so far.

    Args:
        slots: how many slots the limiter has.
        early_return: whether slots may come back early.

    Attributes:
        early: seconds by which slots come back early.
        longest: the longest round trip in seconds, between 0.25 and 2. A request that
            the caller gave up may be on its way for as long.
    """

    def __init__(self, slots: float, *, early_return: bool) -> None:
        self.early: float = 0.0
        self.longest: float = SHORTEST_DOUBT
        self._shortest = inf
        self._answers = 0
        self._enough = LEARNING * slots
        self._early_return = early_return

    def add(self, seconds: float) -> None:
        """Record an answer that arrived after so many seconds."""
        self._answers += 1
        if (
            seconds < self._shortest
            or seconds > self.longest
            or self._answers == self._enough
        ):
            self._learn(seconds)

    def _learn(self, seconds: float) -> None:
        if seconds > self.longest:
            self.longest = min(seconds, LONGEST_DOUBT)
        self._shortest = min(self._shortest, seconds)
        if self._early_return and self._answers >= self._enough:
            self.early = max(0.0, EARLY * (self._shortest - EARLY_MARGIN))


class Traffic:
    """Counts of the requests of one limit.

    Attributes:
        sent: requests that were sent, and have been answered or given up.
        refused: answers with status 429.
    """

    def __init__(self) -> None:
        self.sent: int = 0
        self.refused: int = 0
        self._admitted: deque[float] = deque()
        self._refused: deque[float] = deque()
        # The most that were admitted in a second, in this interval and the one before.
        self._peak = self._peak_before = 0
        self._peak_until = -inf
        # When requests were sent, in the order in which their ends were reported.
        self._sent: list[float] = []
        self._count_at = LEAST_TIMES
        self._busiest = 0

    def count_sent(self, when: float) -> None:
        """Count a request that was sent then.

        Whether a request was sent is known only at its end. So the requests of a second
        are counted later.
        """
        self.sent += 1
        self._sent.append(when)
        if len(self._sent) >= self._count_at:
            self.busiest_second()

    def busiest_second(self) -> int:
        """Return the most requests that were sent within any second."""
        times = sorted(self._sent)
        first = 0
        for last, when in enumerate(times):
            while times[first] <= when - 1:
                first += 1
            self._busiest = max(self._busiest, last - first + 1)
        # A request that ends later may have been sent among these.
        old = bisect_right(times, times[-1] - LONGEST_REQUEST) if times else 0
        self._sent = times[max(old, len(times) - MOST_TIMES) :]
        self._count_at = max(LEAST_TIMES, 2 * len(self._sent))
        return self._busiest

    def admit(self, now: float) -> None:
        """Count an answer other than 429."""
        self._admitted.append(now)
        _drop_old(self._admitted, now)
        if now >= self._peak_until:
            self._peak_before = self._peak if now < self._peak_until + PEAK else 0
            self._peak, self._peak_until = 0, now + PEAK
        self._peak = max(self._peak, len(self._admitted))

    def refuse(self, now: float) -> None:
        """Count a 429."""
        self.refused += 1
        self._refused.append(now)
        _drop_old(self._refused, now)

    def lately(self, now: float) -> Lately:
        """Return how many requests were admitted and refused within the last second."""
        _drop_old(self._admitted, now)
        _drop_old(self._refused, now)
        span = now - self._admitted[0] if self._admitted else 0.0
        peak = max(self._peak, self._peak_before)
        return Lately(len(self._admitted), len(self._refused), span, peak)


def _drop_old(times: deque[float], now: float) -> None:
    while times and times[0] <= now - 1:
        times.popleft()
