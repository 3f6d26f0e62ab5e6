"""The current rate of a limit. It adapts to the limit that is actually enforced.

This module does no I/O and reads no clock: the caller passes the time. It needs no more
than sums over a second, so that a ledger of several processes can use it too.

The limiter keeps the documented limit. So a 429 means one of three things: the server's
limit is lower or counted in another way, another client uses a part of it, or the
refusal is sporadic, which has nothing to do with our rate. `refusals.py` tells them
apart.

    first 429       Bursts are turned off, and requests are spaced evenly.
    sporadic        The rate stays as it is. With `Retry-After`, only that call waits.
    many at once    The limit has dropped: the rate is set a little below the number of
                    requests that were admitted in the last second. A pause comes first
                    if they were admitted in a part of that second.
    a limit         The rate is set a little below it. As long as the share of sporadic
                    refusals is not known, it stays there for a while to learn it.
    no refusals     Near a limit that was found more than once, the rate grows slowly,
                    elsewhere fast, and ever faster, up to the documented limit.
    5 minutes       Without a cut in this time, the documented limit and the burst apply
                    again.

Some servers check the time between two requests. They refuse nearly all of the first
burst. Below their limit, they refuse fewer requests the slower we are, so nothing is
sporadic there: each refusal cuts the rate, and it grows steadily.
"""

from math import ceil, floor, inf

from msgspec import Struct

from ..endpoints import Limit
from .refusals import MANY, Lately, Refusals

# Seconds: uvloop's clock counts whole milliseconds. Without this margin, 41
# requests in a second were measured at a limit of 40.
CLOCK_GRAIN = 0.002
# The shaper refills a tenth faster than the limit. At exactly the rate of the limit, it
# could never make up for a stall.
HEADROOM = 1.1
# The rate below a limit, as a part of it. With 25 per second, there are still 25 slots.
SAFE = 0.976
# Clearly below the limit: at less than this part of it.
BELOW = 0.985
# The rate is at the limit from this part of it on.
AT = 0.99
# Up to BEYOND times a known limit, the rate grows slowly: by SLOW of that limit each
# second.
BEYOND, SLOW = 1.02, 1 / 400
# Elsewhere, it grows each second by GENTLE of itself if the limit was found more than
# once, and by FAST of itself if not; and in both cases by ACCELERATION of the documented
# limit per second squared.
GENTLE, FAST, ACCELERATION = 1 / 400, 1 / 50, 1 / 1000
# The rate is multiplied by CUT after many refusals without load, and after each refusal
# of a server that checks the time between requests. With such a server, it grows by
# SPACED_GROWTH of the documented limit each second.
CUT, SPACED_GROWTH = 0.85, 1 / 160
# Such a server admits at most SPACED_ADMITS requests of the first burst. With a burst of
# fewer than SPACED_BURST, it can't be told from others.
SPACED_ADMITS, SPACED_BURST = 2, 4
# The rate is never below this part of the documented limit: it would need minutes to
# grow back.
LOWEST = 1 / 40
# A limit above this part of the documented one is nearly the documented one.
NEAR_FULL = 0.94
# Two limits are the same if they differ by less than this part. With more, the rate
# grows slowly although another client has left.
SAME = 0.05
# Seconds after which a further cut is about another limit.
EPISODE = 3.0
# Seconds after a cut in which the answers say nothing: the server still counts the
# requests before it.
TRANSIENT = 0.8
# Answers for which the rate stays below a limit, to learn the share of sporadic
# refusals.
LOOK = 120.0
# The most seconds for which it stays there.
LONGEST_LOOK = 12.0
# Seconds after which the server's window of one second has room for new requests.
EMPTYING = 0.9
# Seconds without a cut after which the documented limit applies again: another client
# may have caused the 429s.
QUIET = 300.0
WHY_NONE, WHY_LIMIT = "no limit", "the session's limits"
WHY_EVEN = "429: sent at an even pace"
WHY_LESS = "429: the server admits less than the limit"


def most_slots(rate: float | None) -> float:
    """Return how many slots a limit has: the requests per second, in whole numbers."""
    # The addend makes up for rounding errors: 0.7 * 40 must give 28 slots, not 27.
    return inf if rate is None else max(1, floor(rate + 1e-9))


class Verdict(Struct, frozen=True):
    """What a 429 means.

    Attributes:
        alone: whether it delays its own call only.
        hold: seconds in which the limiter must send nothing.
    """

    alone: bool
    hold: float = 0.0


ALONE, A_LIMIT = Verdict(alone=True), Verdict(alone=False)


class Adaptation(Struct):
    """How a rate is adapted. It is plain data, which a shared ledger can store.

    Attributes:
        rate: the rate after the latest cut.
        cut_at: when that was.
        look: for how many seconds the rate stays there.
        knee: the limit that was found then.
        settled: the limit that was found before it.
        trusted: whether both are the same.
        below: up to this rate, the limit is no cause of refusals.
        spaced: whether the server checks the time between two requests.
        dropped_at: when many requests were refused at once.
        adapted: whether there was a 429, lately.
    """

    rate: float
    cut_at: float = -inf
    look: float = 0.0
    knee: float = inf
    settled: float = inf
    trusted: bool = False
    below: float = 0.0
    spaced: bool = False
    dropped_at: float = -inf
    adapted: bool = False


class AdaptiveRate:
    """The current rate, burst and number of slots of a limit.

    Args:
        limit: the documented limit.
        state, refusals: what was learned, if it was stored.

    Attributes:
        burst: how many requests may be sent at once after a pause.
        adapted: whether the rate or the burst differs from the documented limit.
        state, refusals: all that was learned.
    """

    def __init__(
        self,
        limit: Limit,
        state: Adaptation | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.limit: float = inf if limit.rate is None else limit.rate
        self.most_slots: float = most_slots(limit.rate)
        burst = limit.burst or max(1, self.most_slots // 4)
        self._full_burst = 0 if self.limit == inf else int(min(burst, self.most_slots))
        self.state: Adaptation = state or Adaptation(self.limit)
        self.refusals: Refusals = refusals or Refusals()
        self.adapted: bool = self.state.adapted
        self.burst: int = 1 if self.adapted else self._full_burst
        self.full_period: float = (
            0.0
            if self.limit == inf
            else max(1.0, self.most_slots / self.limit) + CLOCK_GRAIN
        )

    def rate(self, now: float) -> float:
        """Return the requests per second that are allowed at the moment."""
        state = self.state
        if state.rate == self.limit:
            return self.limit
        elapsed = max(0.0, now - state.cut_at - state.look)
        rate, growth, known = state.rate, FAST, BEYOND * state.knee
        if state.spaced:
            return min(self.limit, rate + SPACED_GROWTH * self.limit * elapsed)
        if state.trusted:
            until = (known - rate) / (SLOW * known)
            if elapsed <= until:
                return rate + SLOW * known * elapsed
            rate, growth, elapsed = known, GENTLE, elapsed - until
        rate += growth * rate * elapsed + ACCELERATION * self.limit * elapsed**2
        return min(self.limit, rate)

    def why(self, now: float) -> str:
        """Return the reason for the current rate and burst."""
        if self.limit == inf:
            return WHY_NONE
        if self.rate(now) < self.limit:
            return WHY_LESS
        return WHY_EVEN if self.burst < self._full_burst else WHY_LIMIT

    @property
    def adapted_until(self) -> float:
        """The time after which the documented limit may apply again."""
        return self.state.cut_at + QUIET if self.adapted else -inf

    def relax(self, now: float) -> None:
        """Restore the documented limit after a long time without a cut."""
        if self.adapted and now > self.adapted_until and self.rate(now) == self.limit:
            self.burst, self.adapted = self._full_burst, False
            self.state = Adaptation(self.limit)

    def spacing(self, now: float) -> float:
        """Return the seconds between two requests of this process at an even pace."""
        return 1 / self.rate(now)

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
        rate = self.rate(now)
        lower = self.adapted and rate < self.limit
        even = lower or self.state.spaced or self._full_burst == 1
        return rate if even else HEADROOM * rate

    def soonest(self, now: float, count: float) -> float:
        """Return the fewest seconds in which `count` requests can be sent.

        It assumes that no further 429 arrives.
        """
        least, most = 0.0, max(0.0, count / self.refill(now))
        if self.state.rate == self.limit or not most:
            return most
        # The rate only grows. So up to a time, no more requests are sent than at the
        # rate of that time. Each step halves the error.
        for _ in range(10):
            middle = (least + most) / 2
            if self.refill(now + middle) * middle < count:
                least = middle
            else:
                most = middle
        return least

    def admitted(self, now: float) -> None:
        """Record an answer other than a 429. It is needed only if `adapted`."""
        if now - self.state.cut_at >= TRANSIENT:
            self._count(now, refused=False)

    def _count(self, now: float, *, refused: bool) -> None:
        rate = self.rate(now)
        self.refusals.add(
            refused=refused, below=rate <= self.state.below, full=rate == self.limit
        )

    def refused(
        self, now: float, sent: float, lately: Lately, *, saturated: bool
    ) -> Verdict:
        """Adapt to a 429.

        Args:
            now: the time, on the loop's clock.
            sent: when the refused request was sent, on the same clock.
            lately: what was answered in the last second, with this refusal.
            saturated: whether calls waited for the limit all that time.
        """
        state = self.state
        if self.limit == inf:
            return ALONE
        if sent < state.cut_at:
            return A_LIMIT
        if not self.adapted:
            self.adapted, state.adapted, self.burst = True, True, 1
            state.cut_at = max(state.cut_at, now - TRANSIENT)
        if self._is_first_burst_refused(lately):
            state.spaced = True
            return A_LIMIT
        if self.refusals.many(lately) and now - state.dropped_at > TRANSIENT:
            return self._dropped(now, lately, saturated=saturated)
        if state.spaced:
            self._cut(now, CUT * self.rate(now), inf)
            return A_LIMIT
        if now - state.cut_at >= TRANSIENT:
            self._count(now, refused=True)
        if saturated:
            sporadic = not self._finds_limit(now, lately)
        else:
            # At less than what was admitted lately, no limit is the cause.
            sporadic = lately.admitted + lately.refused < BELOW * lately.peak
        return ALONE if sporadic and self.refusals.is_alone(lately) else A_LIMIT

    def _is_first_burst_refused(self, lately: Lately) -> bool:
        return (
            self.state.rate == self.limit
            and self.state.knee == inf
            and self._full_burst >= SPACED_BURST
            and lately.admitted <= SPACED_ADMITS
            and lately.refused >= MANY
        )

    def _dropped(self, now: float, lately: Lately, *, saturated: bool) -> Verdict:
        self.state.dropped_at = now
        if saturated and lately.admitted:
            self._cut(now, SAFE * lately.admitted, lately.admitted)
            return Verdict(alone=False, hold=max(0.0, EMPTYING - lately.span))
        self._cut(now, CUT * self.rate(now), inf)
        return A_LIMIT

    def _finds_limit(self, now: float, lately: Lately) -> bool:
        """Return whether there is a limit at the present rate, which is then cut."""
        state, refusals, rate = self.state, self.refusals, self.rate(now)
        highest = min(rate, lately.peak)
        if not refusals.shows_limit(
            near_full=highest >= NEAR_FULL * self.limit,
            found_before=state.trusted and rate > AT * state.knee,
        ):
            return False
        if not lately.peak:
            # Nothing at all was admitted, so the limit can't be measured.
            self._cut(now, CUT * rate, inf)
            return True
        # A limit below the one that was known was the cause of the refusals there.
        if highest > state.below:
            refusals.believe()
        # Requests that arrive bunched make the peak one too high.
        surely = min(highest, lately.admitted + 0.5)
        again = now - state.cut_at <= EPISODE
        knee = highest if refusals.known and not again else surely
        look = 0.0 if refusals.known else min(LONGEST_LOOK, LOOK / surely)
        self._cut(now, SAFE * knee, knee, below=BELOW * surely, look=look)
        return True

    def _cut(
        self,
        now: float,
        rate: float,
        knee: float,
        *,
        below: float | None = None,
        look: float = 0.0,
    ) -> None:
        state = self.state
        if now - state.cut_at > EPISODE:
            state.settled = state.knee
        state.trusted = (
            self.refusals.known
            and knee < NEAR_FULL * self.limit
            and abs(knee - state.settled) <= SAME * knee
        )
        if below is None:
            below = 0.0 if knee == inf else BELOW * knee
        state.rate = min(self.rate(now), max(rate, LOWEST * self.limit))
        state.cut_at, state.look = now, look
        state.knee, state.below = knee, below
        self.refusals.start_again()
