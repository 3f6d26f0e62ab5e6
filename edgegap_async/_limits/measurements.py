"""Measurements of a limiter: round trips, and requests per second."""

from bisect import bisect_right
from collections.abc import Iterable
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
# How many times are kept for that, at least and at most. There are up to twice as many
# before the old ones are dropped.
LEAST_TIMES, MOST_TIMES = 1000, 10_000
# Seconds before the latest admitted request in which the peak is looked for.
PEAK = 4.0


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
    """The requests of one limit that were sent and have ended.

    Attributes:
        sent: how many.
        refused: how many of them were answered with status 429.
    """

    def __init__(self) -> None:
        self.sent: int = 0
        self.refused: int = 0
        # When the latest of them were sent, in the order of their ends.
        self._sent: list[float] = []
        # When the latest answers came: 429s, and others.
        self._refused: list[float] = []
        self._admitted: list[float] = []
        self._count_at = LEAST_TIMES
        self._busiest = 0

    def ended(self, now: float, sent: float, *, refused: bool | None) -> None:
        """Count a request that has ended.

        Args:
            sent: when it was sent.
            refused: whether its answer is a 429. None: it has no answer.
        """
        self.sent += 1
        self._sent.append(sent)
        if refused:
            self.refused += 1
            self._refused.append(now)
        elif refused is not None:
            self._admitted.append(now)
        if len(self._sent) >= self._count_at:
            self.busiest_second()

    def busiest_second(self) -> int:
        """Return the most requests that were sent within any second.

        Whether a request was sent is known only at its end. So the requests of a second
        are counted later.
        """
        self._busiest = max(self._busiest, most_in_a_second(self._sent))
        self._sent.sort()
        # A request that ends later may have been sent among the others.
        _drop_old(self._sent, LONGEST_REQUEST)
        for answers in (self._admitted, self._refused):
            _drop_old(answers, PEAK)
        self._count_at = max(LEAST_TIMES, 2 * len(self._sent))
        return self._busiest

    def lately(self, now: float) -> Lately:
        """Return what was answered within the last second."""
        admitted, refused = self._admitted, self._refused
        # Not up to now. With a slow limit or after a long hold, nothing would be left.
        since = admitted[-1] - PEAK if admitted else now
        recent = admitted[bisect_right(admitted, since) :]
        last = recent[bisect_right(recent, now - 1) :]
        return Lately(
            admitted=len(last),
            refused=len(refused) - bisect_right(refused, now - 1),
            span=now - last[0] if last else 0.0,
            peak=most_in_a_second(recent),
        )


def most_in_a_second(times: Iterable[float]) -> int:
    """Return the most of the times that are within any second."""
    ordered = sorted(times)
    first = 0
    for when in ordered:
        # The window grows or moves, but never shrinks: in the end it is as long as the
        # longest one was.
        if ordered[first] <= when - 1:
            first += 1
    return len(ordered) - first


def _drop_old(times: list[float], seconds: float) -> None:
    """Drop the times that are so many seconds before the last one, and all but the last
    `MOST_TIMES`. The times are in their order.
    """
    if times:
        old = bisect_right(times, times[-1] - seconds)
        del times[: max(old, len(times) - MOST_TIMES)]
