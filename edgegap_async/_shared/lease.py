"""When a tenant may use the tokens that it owns, and what it may do without a lease.

    leased     It uses what it owns: until a period and the longest round trip before the
               end of its lease, counted from the sending of the last beat that was
               answered.
    settling   It was in the fallback. What it and others have used there is in no
               ledger, so for a moment it uses what it owns only up to its fallback.
    waiting    It has no lease, and its beat has had no answer for a moment only.
    alone      No answer: it uses its fallback, which is a part of each limit. While
               others may still have leases, it uses no more than it owned: those tokens
               are its own in their ledger too.

Nothing here reads a clock.
"""

from math import floor, inf
from random import random
from typing import Literal, NamedTuple, TypeAlias

from .._limits.adaptive import CLOCK_GRAIN
from .clock import ROUND_TRIP
from .tokens import SHORTEST_PERIOD

Mode: TypeAlias = Literal["leased", "settling", "waiting", "alone"]

# Seconds without an answer after which a tenant is alone: if its lease was not over, and
# if it had none. In the latter case, calls that it sends before the first answer are in
# no ledger.
PATIENCE, FIRST = 0.25, 1.0
# Seconds: a period, and time for the others to come back.
SETTLE = 1.5
# Seconds between two beats, at most, while there is no answer. With more, the process
# was stopped, and knows nothing of the store.
AWAKE = 3.0
# How many tenants there are as long as nobody has said so.
UNKNOWN_TENANTS = 4


class Fallback(NamedTuple):
    """What a tenant may use of one limit while it is alone.

    Attributes:
        rate: requests per second.
        slots: tokens.
        period: the seconds for which one cools.
    """

    rate: float
    slots: int
    period: float


NO_FALLBACK = Fallback(0.0, 0, SHORTEST_PERIOD)


def fallback_of(rate: float, part: float) -> Fallback:
    """Return a part of a limit. Below one token, its period is longer."""
    rate *= part
    if rate <= 0:
        return NO_FALLBACK
    slots = max(1, floor(rate + 1e-9))
    return Fallback(rate, slots, max(1.0, slots / rate) + CLOCK_GRAIN)


class Lease:
    """The lease of one tenant.

    Args:
        seconds: its length.
        fallback: the part of each limit to use while the tenant is alone. None: so much
            that all tenants together use half of each limit.

    Attributes:
        seconds: the same.
        stop_at: until when tokens may be used.
        alone_at: from when on the tenant is alone, if its lease is over then.
        members: how many tenants there were at the last beat.
    """

    def __init__(self, seconds: float, fallback: float | None) -> None:
        self.seconds: float = seconds
        self.stop_at: float = -inf
        self.alone_at: float = inf
        self.members: int = 0
        self._asked_at = -inf
        # When the last lease of another tenant ends, if the tenant is alone.
        self._others_end = -inf
        self._settled_at = -inf
        self._fallback = fallback
        # Tenants that can't have a whole token each take turns by chance.
        self._turn = random()
        # The most tenants in this interval, as long as a lease, and in the one before.
        # After a flush, the ledger knows them one by one.
        self._tenants, self._tenants_before = 0, UNKNOWN_TENANTS
        # How often a lease has begun.
        self._begun = 0
        self._interval_end = -inf

    def epoch(self, now: float) -> tuple[int, bool]:
        """Return what has changed if a lease has ended or begun."""
        return self._begun, now < self.stop_at

    def mode(self, now: float) -> Mode:
        """Return what the tenant may do."""
        if now < self.stop_at:
            return "leased" if now >= self._settled_at else "settling"
        return "alone" if self._is_alone(now) else "waiting"

    def _is_alone(self, now: float) -> bool:
        return self.alone_at <= now < self._asked_at + AWAKE

    @property
    def tenants(self) -> int:
        """How many tenants there are, or were a lease or two ago."""
        return max(self._tenants, self._tenants_before)

    def fallback(self, rate: float) -> Fallback:
        """Return what may be used alone of a limit with this rate."""
        part = self._fallback
        return fallback_of(rate, 1 / (2 * self.tenants) if part is None else part)

    def usable(self, now: float, owned: int, rate: float) -> int:
        """Return how many tokens of a limit may be in use.

        Args:
            owned: how many the tenant owns, or owned in its last lease.
            rate: the requests per second of all tenants.
        """
        if now < self.stop_at:
            if now >= self._settled_at:
                return owned
            return min(owned, self.fallback(rate).slots)
        if not self._is_alone(now):
            return 0
        fallback = self.fallback(rate)
        turn = self._turn_of(fallback)
        if now < self.alone_at + turn:
            return 0
        if now < self._others_end + turn:
            return min(owned, fallback.slots)
        return fallback.slots

    def next_change(self, now: float, rate: float) -> float:
        """Return when the tenant may use more than now, unless it beats before."""
        times = [self._settled_at]
        if self.alone_at < inf:
            turn = self._turn_of(self.fallback(rate))
            times += [self.alone_at + turn, self._others_end + turn]
        return min((time for time in times if time > now), default=inf)

    def _turn_of(self, fallback: Fallback) -> float:
        """Return how long to wait for the first turn: else, all would begin at once."""
        takes_turns = fallback.period > SHORTEST_PERIOD
        return self._turn * fallback.period if takes_turns else 0.0

    def asked(self, now: float) -> None:
        """A beat is sent. Only the first one of those without an answer counts."""
        first = self.alone_at == inf or now >= self._asked_at + AWAKE
        self._asked_at = now
        if not first:
            return
        if now < self.stop_at:
            self.alone_at = max(self.stop_at, now + PATIENCE)
            # Others may have been answered later, but no more than a round trip.
            self._others_end = now + ROUND_TRIP + self.seconds
        else:
            self.alone_at = self._others_end = now + FIRST

    def answered(self, now: float, sent: float, *, doubt: float, tenants: int) -> None:
        """A beat is answered.

        Args:
            now: the time of the answer.
            sent: when the beat was sent.
            doubt: how long a request that is given up may be on its way.
            tenants: how many tenants there are.
        """
        if self.mode(now) == "alone" and self._fallback != 0:
            self._settled_at = now + SETTLE
        self.alone_at = inf
        if now >= self.stop_at:
            self._begun += 1
        self.stop_at = sent + self.seconds - SHORTEST_PERIOD - doubt
        if now >= self._interval_end:
            self._tenants_before, self._tenants = self._tenants or UNKNOWN_TENANTS, 0
            self._interval_end = now + self.seconds
        self._tenants = max(self._tenants, tenants)
        self.members = tenants

    def end(self) -> None:
        """The tenant leaves: it uses nothing any more, and has asked nothing."""
        self.stop_at, self.alone_at = -inf, inf
