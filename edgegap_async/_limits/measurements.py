"""Measurements of a limiter: round trips, and requests per second."""

from collections import deque
from math import inf

# Seconds for which a request that the caller gave up may still be on its way.
SHORTEST_DOUBT, LONGEST_DOUBT = 0.25, 2.0
# Answers per slot before slots come back early. After fewer, the server does sometimes
# count 41 requests in a second at a limit of 40.
LEARNING = 10
# Slots come back early by this part of the shortest round trip, after so many seconds
# are subtracted from it: the round trip may become even shorter.
EARLY, EARLY_MARGIN = 0.9, 0.010


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
        self.early = 0.0
        self.longest = SHORTEST_DOUBT
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
    """Counts of the requests of one limiter."""

    def __init__(self) -> None:
        self.in_flight = self.sent = self.refused = self.busiest_second = 0
        # The times of the requests of the last second.
        self._started: deque[float] = deque()
        self._admitted: deque[float] = deque()

    def start(self, now: float) -> None:
        """Count a request that is sent now."""
        self.in_flight += 1
        started = self._started
        started.append(now)
        while started[0] <= now - 1:
            started.popleft()
        if len(started) > self.busiest_second:
            self.busiest_second = len(started)

    def admit(self, now: float) -> None:
        """Count an answer other than 429."""
        admitted = self._admitted
        admitted.append(now)
        while admitted[0] <= now - 1:
            admitted.popleft()

    def admitted_lately(self, now: float) -> int:
        """Return how many requests were admitted within the last second."""
        return sum(time > now - 1 for time in self._admitted)
