"""The rate at which a limit may be used at the moment. Pure: the caller gives the time.

While the documented limit is held, a 429 means that the server counts in another way,
that its limit is lower, or that another client spends from it:

    the first           no burst any more: an even pace, which a server that counts by
                        spacing wants. If calls wait, and did so for the whole last
                        second or had half of the limit through, the requests that were
                        admitted in that second are its limit: the rate is set a little
                        below, after a pause in which its window runs empty
    each further one    the rate is cut, once for all requests sent before the cut
    each second         a little is given back, never above the documented limit
    minutes without     everything is as at first

Sporadic refusals, which have nothing to do with our rate, cut it all the same: with one
in a hundred, a quarter of the limit is left. That is the price of finding a limit that
is really lower with so few refusals.
"""

from math import ceil, floor, inf, sqrt

from ..endpoints import Limit

# Seconds: uvloop's clock counts whole milliseconds. Without this, 41 requests of 40 were
# measured.
CLOCK_GRAIN = 0.002
# The shaper refills a tenth faster than the limit. Refilled at exactly the rate, the
# time of a stall would be lost.
HEADROOM = 1.1
# The part of the requests admitted in the last second that is safe to begin with.
MEASURED = 0.95
CUT = 0.85
# Requests per second, given back each second; of a larger limit, that share of it.
GROWTH, GROWTH_SHARE = 0.25, 1 / 160
# Seconds after which a window of one second has room again.
EMPTYING = 0.9
# Seconds without a 429 after which everything is as at first: the load may have been
# another client's.
QUIET = 300.0
WHY_NONE, WHY_LIMIT = "no limit", "the session's limits"
WHY_EVEN = "429: sent at an even pace"
WHY_LESS = "429: the server admits less than the limit"


class AdaptiveRate:
    """The rate, the burst and the slots in use."""

    def __init__(self, limit: Limit) -> None:
        self.limit = inf if limit.rate is None else limit.rate
        # The addend makes up for binary fractions: 0.7 * 40 is 28, not 27.
        self.most_slots: float = (
            inf if self.limit == inf else max(1, floor(self.limit + 1e-9))
        )
        burst = limit.burst or max(1, self.most_slots // 4)
        self._full_burst = 0 if self.limit == inf else int(min(burst, self.most_slots))
        self.burst: int = self._full_burst
        self._growth = max(GROWTH, GROWTH_SHARE * self.limit)
        self._rate = self.limit
        self._since = 0.0
        self._cut_at = -inf
        self._measured = False
        # Whether it differs from what the limit says.
        self.adapted: bool = False
        self.full_period: float = (
            0.0
            if self.limit == inf
            else max(1.0, self.most_slots / self.limit) + CLOCK_GRAIN
        )

    def rate(self, now: float) -> float:
        """Requests per second."""
        if self._rate == self.limit:
            return self.limit
        return min(self.limit, self._rate + self._growth * max(0.0, now - self._since))

    def why(self, now: float) -> str:
        """Why the rate and the burst are what they are."""
        if self.limit == inf:
            return WHY_NONE
        if self.rate(now) < self.limit:
            return WHY_LESS
        return WHY_EVEN if self.burst < self._full_burst else WHY_LIMIT

    def relax(self, now: float) -> None:
        """After a long time without a 429, everything is as at first."""
        if self.adapted and now - self._cut_at > QUIET and self.rate(now) == self.limit:
            self.burst, self._rate, self.adapted, self._measured = (
                self._full_burst,
                self.limit,
                False,
                False,
            )

    def slots(self, now: float) -> float:
        """How many requests may be in flight or cooling."""
        return (
            min(self.most_slots, ceil(self.rate(now)))
            if self.adapted
            else self.most_slots
        )

    def period(self, now: float) -> float:
        """Seconds from an answer until its slot comes back: never under one, or N + 1
        would pass in a second.
        """
        return (
            max(1.0, self.slots(now) / self.rate(now)) + CLOCK_GRAIN
            if self.adapted
            else self.full_period
        )

    def refill(self, now: float) -> float:
        """Requests per second that the shaper lets through after its burst."""
        return self.rate(now) * (HEADROOM if self.burst > 1 else 1.0)

    def soonest(self, now: float, count: float) -> float:
        """Seconds in which so many requests can be sent, if nothing more is refused
        meanwhile.
        """
        rate = self.refill(now)
        if count <= 0 or self._rate == self.limit:
            return max(0.0, count / rate)
        growth = self._growth
        # Seconds until the limit is reached again.
        growing = (self.limit - rate) / growth
        sent_meanwhile = (rate + self.limit) / 2 * growing
        if count >= sent_meanwhile:
            return growing + (count - sent_meanwhile) / self.limit
        return (sqrt(rate**2 + 2 * growth * count) - rate) / growth

    def refused(
        self, now: float, sent: float, admitted: int, waiting_since: float | None
    ) -> float:
        """A 429 has arrived.

        Args:
            sent: when its request was sent.
            admitted: requests that were admitted in the last second.
            waiting_since: since when calls have waited all the time; None: they did not.

        Returns:
            Seconds to hold the limiter.
        """
        if self.limit == inf or sent < self._cut_at:
            return 0.0
        first = not self.adapted
        self.adapted, self._cut_at, self.burst = True, now, 1
        saturated = waiting_since is not None and (
            now - waiting_since >= 1.0 or admitted >= self.limit / 2
        )
        if not self._measured and saturated and admitted:
            self._measured = True
            self._set(now, MEASURED * admitted)
            return EMPTYING
        if not first:
            self._set(now, CUT * self.rate(now))
        return 0.0

    def _set(self, now: float, rate: float) -> None:
        # At less than a tenth of the limit, it would take minutes to find out that more
        # is allowed.
        self._rate = min(self.limit, max(rate, self.limit / 10))
        self._since = now
