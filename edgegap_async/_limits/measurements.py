"""What a limiter learns from its own requests: round trips, and requests per second."""

from collections import deque
from math import inf

# Seconds that a request which was given up may still be on its way.
SHORTEST_DOUBT, LONGEST_DOUBT = 0.25, 2.0
# Answers per slot before slots come back early. After fewer, 41 requests of 40 do occur.
LEARNING = 10
# Slots come back early by this part of the shortest round trip less so many seconds: the
# way may become shorter still.
EARLY, EARLY_MARGIN = 0.9, 0.010


class RoundTrips:
    """The shortest and the longest round trip so far.

    Args:
        slots: of the limiter.
        early_return: whether slots come back early at all.

    Attributes:
        early: seconds by which slots come back before their time.
        longest: seconds; also how long a request that was given up may be on its way.
    """

    def __init__(self, slots: float, *, early_return: bool) -> None:
        self.early = 0.0
        self.longest = SHORTEST_DOUBT
        self._shortest = inf
        self._answers = 0
        self._enough = LEARNING * slots
        self._early_return = early_return

    def add(self, seconds: float) -> None:
        """An answer has arrived after so many seconds."""
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
        # Times within the last second.
        self._started: deque[float] = deque()
        self._admitted: deque[float] = deque()

    def start(self, now: float) -> None:
        """A request is sent."""
        self.in_flight += 1
        started = self._started
        started.append(now)
        while started[0] <= now - 1:
            started.popleft()
        if len(started) > self.busiest_second:
            self.busiest_second = len(started)

    def admit(self, now: float) -> None:
        """An answer other than 429 has arrived."""
        admitted = self._admitted
        admitted.append(now)
        while admitted[0] <= now - 1:
            admitted.popleft()

    def admitted_lately(self, now: float) -> int:
        """How many were admitted within the last second."""
        return sum(time > now - 1 for time in self._admitted)
