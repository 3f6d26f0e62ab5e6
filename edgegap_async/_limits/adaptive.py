"""The current rate of a limit. It adapts to the limit that is actually enforced.

This module does no I/O and reads no clock: the caller passes the time.

The limiter keeps the documented limit. So a 429 means that the server counts in another
way, that its limit is lower, or that another client uses part of the limit:

    first 429       Bursts are turned off, and requests are spaced evenly, because some
                    servers check the time between two requests. If the limiter was
                    saturated, the number of requests admitted in the last second is
                    taken as the server's limit. The rate is set a little below it. A
                    pause comes first, until the server no longer counts the requests of
                    that second. Saturated means that calls waited during the whole last
                    second, or that calls wait and half of the limit was admitted.
    further 429s    The rate is cut, once for all requests sent before the cut.
    each second     The rate grows a little, up to the documented limit.
    5 minutes       Without a 429 in this time, the documented rate and the burst apply
                    again.

Sporadic 429s, which have nothing to do with our rate, cut it too: if one answer in a
hundred is a 429, a quarter of the limit is left. This is the cost of finding a lower
limit with few refused requests.
"""

from math import ceil, floor, inf, sqrt

from ..endpoints import Limit

# Seconds: uvloop's clock counts whole milliseconds. Without this margin, 41
# requests in a second were measured at a limit of 40.
CLOCK_GRAIN = 0.002
# The shaper refills a tenth faster than the limit. At exactly the rate of the limit, it
# could never make up for a stall.
HEADROOM = 1.1
# After the first 429, the rate is this part of the requests admitted in the last
# second.
MEASURED = 0.95
# A further 429 multiplies the rate by this.
CUT = 0.85
# The rate grows by so many requests per second each second, or by that share of the
# limit if it is more.
GROWTH, GROWTH_SHARE = 0.25, 1 / 160
# Seconds after which the server's window of one second has room for new requests.
EMPTYING = 0.9
# Seconds without a 429 after which the documented limit applies again: another client
# may have caused the 429s.
QUIET = 300.0
WHY_NONE, WHY_LIMIT = "no limit", "the session's limits"
WHY_EVEN = "429: sent at an even pace"
WHY_LESS = "429: the server admits less than the limit"


def most_slots(rate: float | None) -> float:
    """Return how many slots a limit has: the requests per second, in whole numbers."""
    # The addend makes up for rounding errors: 0.7 * 40 must give 28 slots, not 27.
    return inf if rate is None else max(1, floor(rate + 1e-9))


class AdaptiveRate:
    """The current rate, burst and number of slots of a limit."""

    def __init__(self, limit: Limit) -> None:
        self.limit = inf if limit.rate is None else limit.rate
        self.most_slots: float = most_slots(limit.rate)
        burst = limit.burst or max(1, self.most_slots // 4)
        self._full_burst = 0 if self.limit == inf else int(min(burst, self.most_slots))
        self.burst: int = self._full_burst
        self._growth = max(GROWTH, GROWTH_SHARE * self.limit)
        self._rate = self.limit
        self._since = 0.0
        self._cut_at = -inf
        self._measured = False
        # Whether the rate or the burst differs from the documented limit.
        self.adapted: bool = False
        self.full_period: float = (
            0.0
            if self.limit == inf
            else max(1.0, self.most_slots / self.limit) + CLOCK_GRAIN
        )

    def rate(self, now: float) -> float:
        """Return the requests per second that are allowed at the moment."""
        if self._rate == self.limit:
            return self.limit
        return min(self.limit, self._rate + self._growth * max(0.0, now - self._since))

    def why(self, now: float) -> str:
        """Return the reason for the current rate and burst."""
        if self.limit == inf:
            return WHY_NONE
        if self.rate(now) < self.limit:
            return WHY_LESS
        return WHY_EVEN if self.burst < self._full_burst else WHY_LIMIT

    def relax(self, now: float) -> None:
        """Restore the documented limit after a long time without a 429."""
        if self.adapted and now - self._cut_at > QUIET and self.rate(now) == self.limit:
            self.burst, self._rate, self.adapted, self._measured = (
                self._full_burst,
                self.limit,
                False,
                False,
            )

    @property
    def adapted_until(self) -> float:
        """The time after which the documented limit may apply again."""
        return self._cut_at + QUIET if self.adapted else -inf

    def slots(self, now: float) -> float:
        """Return how many slots there are: in flight, cooling down or free.

        A slot cools down from the answer to its request until it comes back.
        """
        return (
            min(self.most_slots, ceil(self.rate(now)))
            if self.adapted
            else self.most_slots
        )

    def period(self, now: float) -> float:
        """Return the seconds from an answer until its slot comes back.

        They are at least 1 s. With less, N + 1 requests could pass in one second.
        """
        return (
            max(1.0, self.slots(now) / self.rate(now)) + CLOCK_GRAIN
            if self.adapted
            else self.full_period
        )

    def refill(self, now: float) -> float:
        """Return the requests per second that the shaper admits after its burst."""
        return self.rate(now) * (HEADROOM if self.burst > 1 else 1.0)

    def soonest(self, now: float, count: float) -> float:
        """Return the fewest seconds in which `count` requests can be sent.

        It assumes that no further 429 arrives.
        """
        rate = self.refill(now)
        if count <= 0 or self._rate == self.limit:
            return max(0.0, count / rate)
        growth = self._growth
        # Seconds until the rate has grown to the limit.
        growing = (self.limit - rate) / growth
        sent_meanwhile = (rate + self.limit) / 2 * growing
        if count >= sent_meanwhile:
            return growing + (count - sent_meanwhile) / self.limit
        return (sqrt(rate**2 + 2 * growth * count) - rate) / growth

    def refused(
        self, now: float, sent: float, admitted: int, waiting_since: float | None
    ) -> float:
        """Adapt to a 429.

        Args:
            now: the time, on the loop's clock.
            sent: when the refused request was sent, on the same clock.
            admitted: requests that were admitted in the last second.
            waiting_since: the time since which the queue has never been empty. None: no
                call waits.

        Returns:
            Seconds in which the limiter must send nothing.
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
        # Below a tenth of the limit, the rate would need minutes to grow back.
        self._rate = min(self.limit, max(rate, self.limit / 10))
        self._since = now
