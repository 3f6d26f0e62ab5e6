"""Requests that were sent and given up: they may still be on their way.

A proxy that stalls holds all requests, and delivers them at once when it goes on. So
the slot of such a request is in doubt until a request that was sent *later* has been
answered. Meanwhile, few requests are sent: probes, in ever longer intervals.

Probes need slots too. So a part of the slots is a reserve: without probes, the requests
that have no answer yet never take all of them. This costs nothing until a round trip
takes three seconds. Beyond the reserve, a probe takes the slot of a request in doubt,
and no other: without a stall, it is never a request too many.

Nothing here reads a clock.
"""

from collections import deque
from math import inf

from msgspec import Struct

# Seconds from the first request in doubt to the first probe, and from one probe to the
# next one. Each interval is twice as long as the one before.
FIRST_PROBE, FIRST_INTERVAL, LONGEST_INTERVAL = 1.0, 2.0, 8.0
# Seconds after which a request that was given up does not arrive any more. Proxies
# close a connection sooner if they can't deliver its request.
LONGEST_STALL = 60.0
# With fewer slots than this, a reserve would cost too much of the rate.
SMALL = 3


def without_reserve(slots: float) -> float:
    """Return how many requests may be without an answer, if none is a probe.

    A quarter of the slots is the reserve. With ten slots or more, it is enough for the
    probes of a stall of 14 seconds.
    """
    return slots if slots < SMALL or slots == inf else slots - (slots + 2) // 4


class GivenUp(Struct, frozen=True, gc=False):
    """A request in doubt.

    Attributes:
        sent: when it was sent.
        given_up: when it was given up.
        cool: when its slot may come back at the earliest.
    """

    sent: float
    given_up: float
    cool: float


class Doubt:
    """The requests in doubt of one limit, and when to probe.

    Attributes:
        requests: those requests.
    """

    def __init__(self) -> None:
        self.requests: deque[GivenUp] = deque()
        self._probe_at = inf
        self._interval = FIRST_INTERVAL

    def add(self, request: GivenUp) -> None:
        """Add a request that was given up."""
        if not self.requests:
            self._probe_at = request.given_up + FIRST_PROBE
            self._interval = FIRST_INTERVAL
        self.requests.append(request)

    def resolve(self, now: float, sent: float) -> list[GivenUp]:
        """Remove and return the requests that were sent before one that is answered.

        Args:
            now: the time of the answer.
            sent: when its request was sent.
        """
        self._interval = FIRST_INTERVAL
        self._probe_at = min(self._probe_at, now + FIRST_PROBE)
        resolved: list[GivenUp] = []
        for _ in range(len(self.requests)):
            request = self.requests.popleft()
            (resolved if request.sent < sent else self.requests).append(request)
        return resolved

    def expire(self, now: float) -> list[GivenUp]:
        """Remove and return the requests that can't arrive any more."""
        expired: list[GivenUp] = []
        while self.requests and self.requests[0].given_up + LONGEST_STALL <= now:
            expired.append(self.requests.popleft())
        return expired

    def probed(self, now: float) -> None:
        """A probe is sent."""
        self._probe_at = now + self._interval
        self._interval = min(LONGEST_INTERVAL, 2 * self._interval)

    def next_at(self, missing: float) -> float:
        """Return when a probe may be sent. Without requests in doubt: never.

        Args:
            missing: how many slots too few there are for the probe. It then uses those
                of requests in doubt, so as many of these must have cooled down. If a
                stall ends just then, the probe may be one request too many.
        """
        if missing > len(self.requests) or not self.requests:
            return inf
        if missing <= 0:
            return self._probe_at
        cool = sorted(request.cool for request in self.requests)
        return max(self._probe_at, cool[int(missing) - 1])
