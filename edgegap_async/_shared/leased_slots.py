"""The slots of one limit in one process, which are the tokens that it owns.

They count as in a process alone (`_limits/slots.py`). Only three things differ: how many
there are, which the lease says; the rate, which the ledger says; and that tokens come
and go.
"""

from bisect import insort
from collections.abc import Callable
from math import inf

from .._limits.adaptive import (
    CLOCK_GRAIN,
    HEADROOM,
    WHY_EVEN,
    WHY_LESS,
    WHY_LIMIT,
    AdaptiveRate,
)
from .._limits.config import SharedMode, SharedUsage
from .._limits.slots import Slots, Taker
from ..endpoints import Limit
from .lease import Lease, Mode
from .messages import Answers, LimitReply, LimitReport, RefusedRequest

# Seconds after a call in which a process wants a token for the next one, if there are
# enough for all: twice as many as processes.
KEEP, ENOUGH = 3.0, 2
# A process has stopped sending if it has sent nothing for the time of so many requests:
# by chance, one pause in fifty is as long.
STOPPED = 4.0
# A part of what it owns that is worth another beat at once.
MUCH = 1 / 4
# Seconds: the background's part of what is sent is measured as often.
MEASURED = 1.0
WHY_ALONE = "the shared store does not answer: the fallback"


# Modes as users know them.
USAGE: dict[Mode, SharedMode] = {
    "leased": "leased",
    "settling": "leased",
    "waiting": "asleep",
    "alone": "alone",
}


class LeasedRate(AdaptiveRate):
    """The rate that the ledger says, and as many slots as the lease allows.

    Args:
        limit: the documented limit, times `Limits.share`.
        lease: the lease of this process.

    Attributes:
        owned: the tokens of this process.
        fair: how many it should have.
        all_admitted: the answers other than 429 so far.
    """

    def __init__(self, limit: Limit, lease: Lease) -> None:
        super().__init__(limit)
        self.owned = 0
        self.fair: float = 0.0
        self.all_admitted = 0
        self._lease = lease
        # Those of all tenants together.
        self._rate, self._slots = self.limit, self.most_slots
        self._period, self._even = self.full_period, False
        # All that follows differs from the documented limit.
        self.adapted = True

    def learn(self, reply: LimitReply) -> None:
        """Take over what the ledger says of the rate."""
        self._rate, self._slots = reply.rate, reply.slots
        self._period, self._even = reply.period, reply.adapted
        self.fair = reply.fair
        self.burst = 1 if reply.adapted else self._full_burst

    def is_enough(self, tenants: int) -> bool:
        """Return whether each tenant may have a token without using it."""
        return self._slots >= ENOUGH * tenants

    def rate(self, now: float) -> float:
        """Return the requests per second of all tenants, or of the fallback."""
        if self._lease.mode(now) == "alone":
            return self._lease.fallback(self._rate).rate
        return self._rate

    def spacing(self, now: float) -> float:
        """Return the seconds between two requests of this process at an even pace."""
        if self._lease.mode(now) == "alone":
            rate = self.rate(now)
            return 1 / rate if rate else inf
        return self.period(now) / max(1.0, self.fair)

    def slots(self, now: float) -> float:
        """Return how many tokens may be in use."""
        return self._lease.usable(now, self.owned, self._rate)

    def period(self, now: float) -> float:
        """Return the seconds for which a token cools."""
        if self._lease.mode(now) == "alone":
            return max(self._period, self._lease.fallback(self._rate).period)
        return self._period

    def refill(self, now: float) -> float:
        """Return the requests per second that the shaper admits after its burst.

        The tokens keep the limit. If it is not the documented one, requests are sent at
        an even pace, each tenant's share of it.
        """
        if self._even and self._lease.mode(now) != "alone":
            return HEADROOM * self._rate * max(1.0, self.fair) / self._slots
        return HEADROOM * self.limit

    def soonest(self, now: float, count: float) -> float:
        """Return the fewest seconds in which `count` requests can be sent.

        It assumes that no other tenant sends any.
        """
        return max(0.0, count / (HEADROOM * self._rate))

    def why(self, now: float) -> str:
        """Return the reason for the current rate and burst."""
        if self._lease.mode(now) == "alone":
            return WHY_ALONE
        if self._rate < self.limit:
            return WHY_LESS
        return WHY_EVEN if self._even else WHY_LIMIT

    def next_change(self, now: float) -> float:
        """Return when there may be more slots than now, without a beat."""
        return self._lease.next_change(now, self._rate)

    @property
    def adapted_until(self) -> float:
        """The ledger keeps what was learned."""
        return -inf

    def relax(self, now: float) -> None:
        """The ledger does that."""

    def admitted(self, now: float) -> None:
        """Count an answer. The ledger learns it in the next beat."""
        self.all_admitted += 1


class LeasedSlots(Slots):
    """The tokens of one limit that this process owns.

    Args:
        limit: the documented limit, times `Limits.share`.
        lease: the lease of this process.
        beat: asks for a beat soon. It may be called in any thread, with the lock held.
        early_return: whether slots come back early if the round trip is long.

    Attributes:
        used_at: when a call took or wanted a token last.
    """

    def __init__(
        self,
        limit: Limit,
        lease: Lease,
        beat: Callable[[], None],
        *,
        early_return: bool,
    ) -> None:
        self._lease, self._beat = lease, beat
        self.used_at: float = -inf
        # When each token is cool that came from others. Its way to us says nothing, so
        # it never comes back early.
        self._gained: list[float] = []
        # Tokens that came and were not used yet.
        self._unused = 0
        # When each token is cool that was given since the last answered beat.
        self._given: list[float] = []
        self._all_given = 0
        self._owes = 0
        # Since when it owns any.
        self._owned_since = inf
        # The most tokens in use since the last report. Tokens that cool are in use, so
        # that this is what was used in the last second.
        self._peak = 0
        # The wants of the last report.
        self._said = 0
        # When each refused request was sent, and the end of its `Retry-After`, since the
        # last answered beat; and how many of them the last report had.
        self._refusals: list[tuple[float, float]] = []
        self._refusals_said = 0
        # Of the interval that was measured last: its end, and the background's part of
        # the requests. Since then: the requests. Before: the turns of the background.
        self._measured_at = -inf
        self._started = self._turns_before = 0
        self._background = 0.0
        self._leased: LeasedRate | None = None
        super().__init__(limit, early_return=early_return)

    def _new_rate(self, limit: Limit) -> AdaptiveRate:
        before = self._leased
        self._leased = LeasedRate(limit, self._lease)
        if before:
            self._leased.owned = before.owned
            self._leased.all_admitted = before.all_admitted
        return self._leased

    @property
    def leased(self) -> LeasedRate:
        """The rate, with what this process owns."""
        assert self._leased is not None  # noqa: S101 (`__init__` makes it)
        return self._leased

    # Taking

    def take(self, now: float, taker: Taker) -> bool:
        """Take a token if one is free. If not, the next beat may bring one."""
        self.used_at = now
        if super().take(now, taker):
            return True
        if self._wants_beat(now):
            self._beat()
        return False

    def epoch(self, now: float) -> object:
        """Return what has changed if slots that were taken before may be lost."""
        return self._lease.epoch(now)

    def _wants_beat(self, now: float) -> bool:
        """Return whether a call waits for tokens and the ledger does not know it."""
        if self._lease.mode(now) == "waiting":
            return self._lease.alone_at == inf
        return sum(self._wants(now)) > self._said

    def _take(self, taker: Taker) -> None:
        super()._take(taker)
        self._unused = max(0, self._unused - 1)
        self._peak = max(self._peak, self._in_use - len(self._gained))

    @property
    def _unanswered(self) -> int:
        return self._in_use - len(self._returns) - len(self._gained)

    def _refresh(self, now: float) -> None:
        super()._refresh(now)
        while self._gained and self._gained[0] <= now:
            del self._gained[0]
            self._in_use -= 1

    def wait(self, now: float, taker: Taker) -> float:
        """Enter the round of the loops that wait, or stay in it."""
        with self._lock:
            back = super().wait(now, taker)
            gained = self._gained[0] if self._gained else inf
            return min(back, gained, self.leased.next_change(now))

    def start(self, taker: Taker) -> None:
        """A request is sent on a token that was taken."""
        super().start(taker)
        with self._lock:
            self._started += 1

    def _refused(self, now: float, sent: float, retry_after: float) -> None:
        self._refusals.append((sent, now + retry_after))
        if self._lease.mode(now) == "alone":
            self.hold(now, retry_after)
        self._beat()

    # Beats

    def is_idle(self, now: float, seconds: float) -> bool:
        """Return whether no call has used or wanted a token for so long."""
        return not any(self._waiting()) and now - self.used_at >= seconds

    @property
    def is_waiting_for_answers(self) -> bool:
        """Whether requests may be on their way."""
        return self._unanswered > 0

    def wake(self) -> None:
        """Let the calls that wait look again: the lease may have changed."""
        with self._lock:
            self._wake_all()

    @property
    def doubt(self) -> float:
        """How long a request that is given up may be on its way."""
        return self.round_trips.longest + self.round_trips.early

    def _waiting(self) -> tuple[int, int]:
        takers = self._live_takers()
        return (
            sum(taker.queue.waiting["foreground"] for taker in takers),
            sum(taker.queue.waiting["background"] for taker in takers),
        )

    def _wants(self, now: float) -> tuple[int, int]:
        """Return how many tokens calls could use, by their priority."""
        in_use = self._in_use - len(self._gained)
        # How many requests it would have sent since the last one at its rate so far.
        missing = (now - self.used_at) * in_use / self.leased.period(now)
        used = max(self._peak, in_use) if missing < STOPPED else 0
        if now < self.used_at + KEEP and self.leased.is_enough(self._lease.members):
            used = max(used, 1)
        behind = round(used * self._background)
        foreground, background = self._waiting()
        most = int(self.leased.most_slots)
        return min(most, used - behind + foreground), min(most, behind + background)

    def _measure(self, now: float) -> None:
        """Measure the background's part of what was sent, each second."""
        if now < self._measured_at + MEASURED:
            return
        self._measured_at = now
        turns = sum(taker.queue.turns["background"] for taker in self._live_takers())
        background, started = turns - self._turns_before, self._started
        self._background = min(1.0, max(0, background) / started) if started else 0.0
        self._turns_before, self._started = turns, 0

    def report(self, now: float, *, has_lease: bool, leaving: bool) -> LimitReport:
        """Give what is owed, or all, and return the report of a beat."""
        with self._lock:
            self._refresh(now)
            self._measure(now)
            if has_lease:
                self._give(now, self.leased.owned if leaving else self._owes)
            else:
                self._given.clear()
            self._owes = 0
            foreground, background = (0, 0) if leaving else self._wants(now)
            self._said = foreground + background
            self._peak = 0
            return LimitReport(
                rate=self.leased.limit,
                doubt=self.doubt,
                keeps=self.leased.owned,
                in_use=self._in_use,
                given=tuple(max(0.0, cool - now) for cool in self._given),
                all_given=self._all_given,
                foreground=foreground,
                background=background,
                answers=self._answers(now),
            )

    def _give(self, now: float, count: int) -> None:
        """Give tokens: free ones first, then those that are cool last. They travel
        meanwhile. Those in flight stay.
        """
        rate = self.leased
        if any(self._waiting()):
            # Each token is used once where it came before it goes on.
            count = min(count, rate.owned - self._unused)
        for _ in range(count):
            if self._in_use < rate.owned:
                # It may be free only because of our own long way.
                cool = now + self.round_trips.early
            elif not self._returns and not self._gained:
                break
            else:
                cool = self._pop_hottest()
            rate.owned -= 1
            self._given.append(cool)
            self._all_given += 1
        self._unused = min(self._unused, rate.owned)

    def _pop_hottest(self) -> float:
        returns, gained = self._returns, self._gained
        self._in_use -= 1
        if gained and (not returns or gained[-1] >= returns[-1]):
            return gained.pop()
        return returns.pop()

    def _answers(self, now: float) -> Answers:
        lately = self.traffic.lately(now)
        self._refusals_said = len(self._refusals)
        return Answers(
            admitted=int(lately.admitted),
            refused=int(lately.refused),
            span=lately.span,
            waiting=self._waited(now),
            all_admitted=self.leased.all_admitted,
            all_refused=self.traffic.refused,
            refusals=tuple(
                RefusedRequest(now - sent, max(0.0, until - now))
                for sent, until in self._refusals
            ),
        )

    def _waited(self, now: float) -> float:
        """Return for how long calls have waited for the limit, and not for a token."""
        return max(0.0, now - max(self._waiting_since(), self._owned_since))

    def learn(self, reply: LimitReply, now: float) -> None:
        """Take over the reply to the last report."""
        with self._lock:
            rate = self.leased
            rate.learn(reply)
            self._given.clear()
            del self._refusals[: self._refusals_said]
            self._refusals_said = 0
            self._owes = reply.owes
            if not rate.owned:
                self._owned_since = now if reply.owned else inf
            # Tokens of a reply that never arrived.
            unheard = max(0, reply.owned - len(reply.cools) - rate.owned)
            for cool in (*reply.cools, *[reply.hot] * unheard):
                if cool > 0:
                    insort(self._gained, now + cool + CLOCK_GRAIN)
                    self._in_use += 1
            rate.owned = reply.owned
            self._unused = min(self._unused + len(reply.cools), rate.owned)
            self.hold(now, reply.hold)

    def cool(self, now: float) -> None:
        """After a fork, the child owns nothing, so that nothing needs to cool down."""

    def shared_usage(self, now: float) -> SharedUsage:
        """Return statistics that only a shared budget has."""
        rate = self.leased
        mode = USAGE[self._lease.mode(now)]
        return SharedUsage(rate.owned, rate.fair, self._lease.members, mode)

    def owes_much(self) -> bool:
        """Return whether others need much of what this process does not."""
        owes = self._owes
        return (
            owes > 0 and owes >= MUCH * self.leased.owned and not any(self._waiting())
        )

    def forget(self) -> None:
        """The process has left, and owns nothing."""
        with self._lock:
            self.leased.owned = self._owes = self._unused = 0
            self._owned_since = inf
            self._given.clear()
