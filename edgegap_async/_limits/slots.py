"""The slots of one limit. All event loops of a process with the same clock share them.

Nothing here waits. The callers pass the time, so this module reads no clock. One lock
guards the counters; it is held for a few lines and never across an await. It can be
acquired again by its own thread: the garbage collector may end a request, which reports
its slot, at any point of the code.
"""

from bisect import insort
from collections import deque
from math import inf
from threading import RLock
from typing import Protocol
from weakref import ref

from ..endpoints import Limit
from .adaptive import AdaptiveRate
from .config import SharedUsage
from .doubt import Doubt, GivenUp, without_reserve
from .measurements import LONGEST_DOUBT, RoundTrips, Traffic
from .queue import PriorityQueue
from .refusals import Lately

# Seconds for which a free slot is kept for the loop whose turn it is. A loop that is
# blocked longer misses its turn.
OFFER = 0.05

# Seconds for which a probe that is due is left to calls that have just come.
NEWCOMERS_FIRST = 0.5


class Held:
    """What a taker has not reported yet: slots it has taken, and requests on them that
    were sent.
    """

    __slots__ = ("in_flight", "taken")

    def __init__(self) -> None:
        self.taken: int = 0
        self.in_flight: int = 0


class Taker(Protocol):
    """Takes slots for the calls of one loop.

    Attributes:
        held: its slots.
        place: itself, in the round of the loops that wait.
        queue: the calls that wait on its loop.
    """

    held: Held
    queue: PriorityQueue
    place: "ref[Taker]"

    def wake(self) -> None:
        """Look for a slot again. It may be called in any thread."""
        ...

    def waiting_since(self) -> float | None:
        """Return since when calls have waited without a break. None: no call waits."""
        ...


class Slots:
    """Counts the slots of one limit, and adapts its rate.

    Args:
        limit: the limit to keep.
        early_return: whether slots come back early if the round trip is long.

    Attributes:
        limit: the limit.
        rate: its rate, as adapted to 429s.
        round_trips, traffic: what was measured.
        not_before: the time before which nothing is sent.
    """

    def __init__(self, limit: Limit, *, early_return: bool = True) -> None:
        self.not_before: float = -inf
        self._lock = RLock()
        # Taken, and not back yet.
        self._in_use: int = 0
        # The times at which slots come back, the earliest first.
        self._returns: deque[float] = deque()
        # What takers held that were garbage-collected. The collector may run while the
        # lock is held, so it only appends here.
        self._abandoned: deque[Held] = deque()
        # The takers that wait for a slot, the next one first. They are weak references:
        # a taker holds its loop.
        self._round: list[ref[Taker]] = []
        # Since when a slot has been kept for the first of them.
        self._offered_at: float | None = None
        # Requests that were given up.
        self._doubt = Doubt()
        self._takers: list[ref[Taker]] = []
        self.traffic: Traffic = Traffic()
        self.change(limit, early_return=early_return)

    def change(self, limit: Limit, *, early_return: bool) -> None:
        """Keep another limit from now on. Slots in use stay in use."""
        with self._lock:
            self.limit: Limit = limit
            self.rate: AdaptiveRate = self._new_rate(limit)
            self._most_in_flight = without_reserve(self.rate.most_slots)
            self.round_trips: RoundTrips = RoundTrips(
                self.rate.most_slots, early_return=early_return
            )

    def _new_rate(self, limit: Limit) -> AdaptiveRate:
        return AdaptiveRate(limit)

    def join(self, taker: Taker) -> None:
        """Add a taker."""
        with self._lock:
            self._takers = [place for place in self._takers if place() is not None]
            self._takers.append(taker.place)

    def take(self, now: float, taker: Taker) -> bool:
        """Take a slot if one is free, and no other loop waits for it."""
        with self._lock:
            self._refresh(now)
            if not self._is_free(now, taker):
                return False
            self._take(taker)
            return True

    def _take(self, taker: Taker) -> None:
        self._offered_at = None
        self._in_use += 1
        taker.held.taken += 1

    @property
    def in_doubt(self) -> bool:
        """Whether requests were given up, and may still be on their way."""
        return bool(self._doubt.requests)

    def probe(self, now: float, taker: Taker, *, newcomer: bool) -> bool:
        """Take a slot for a probe if one is due.

        Args:
            newcomer: whether the call has just come. It has its whole time left, while
                a call that has waited may be given up before the answer.
        """
        with self._lock:
            self._refresh(now)
            if now < self._probe_at(now) + (0.0 if newcomer else NEWCOMERS_FIRST):
                return False
            self._doubt.probed(now)
            self._take(taker)
            return True

    def _is_free(self, now: float, taker: Taker) -> bool:
        most, in_flight = self.rate.most_slots, self._most_in_flight
        if self.rate.adapted:
            most = self.rate.slots(now)
            in_flight = without_reserve(most)
        free = min(most - self._in_use, in_flight - self._unanswered)
        if free <= 0:
            self._offered_at = None
            return False
        ahead = self._ahead(taker) if self._round else 0
        if free > ahead:
            return True
        if self._offered_at is None:
            self._offered_at = now
        if now - self._offered_at < OFFER:
            return False
        # They have missed their turn: their loops are blocked, or have ended.
        del self._round[:ahead]
        return True

    @property
    def _unanswered(self) -> int:
        return self._in_use - len(self._returns)

    def _probe_at(self, now: float) -> float:
        """Return when a probe may be sent, or when fewer requests are in doubt."""
        missing = self._in_use + 1 - self._most(now)
        if missing > 0 and self._in_use > self._unanswered:
            # A slot that cools down comes back soon.
            return inf
        return self._doubt.next_at(missing)

    def _refresh(self, now: float) -> None:
        while self._abandoned:
            held = self._abandoned.popleft()
            taken, held.taken = held.taken, 0
            for _ in range(taken):
                self._doubt.add(GivenUp(now, now, self._last_cool(now)))
        if self._doubt.requests:
            for expired in self._doubt.expire(now):
                self._insert(expired.cool)
        # The current round trip decides, for earlier answers too: it may have become
        # shorter since.
        due = now + self.round_trips.early
        while self._returns and self._returns[0] <= due:
            self._returns.popleft()
            self._in_use -= 1

    def _most(self, now: float) -> float:
        return self.rate.slots(now) if self.rate.adapted else self.rate.most_slots

    def _ahead(self, taker: Taker) -> int:
        try:
            return self._round.index(taker.place)
        except ValueError:
            return len(self._round)

    def wait(self, now: float, taker: Taker) -> float:
        """Enter the round of the loops that wait, or stay in it.

        Returns:
            The time at which the taker should look again, unless it is woken before.
        """
        with self._lock:
            if taker.place not in self._round:
                self._round.append(taker.place)
            self._refresh(now)
            if self._is_free(now, taker):
                return now
            offer = inf if self._offered_at is None else self._offered_at + OFFER
            back = self._returns[0] if self._returns else inf
            probe = self._probe_at(now) + NEWCOMERS_FIRST
            return min(offer, back - self.round_trips.early, probe)

    def leave(self, taker: Taker) -> None:
        """Leave the round of the loops that wait."""
        with self._lock:
            if taker.place in self._round:
                self._round.remove(taker.place)

    def epoch(self, now: float) -> object:
        """Return what has changed if slots that were taken before may be lost: those of
        a shared budget.
        """
        return None

    def put_back(self, taker: Taker) -> None:
        """Return a slot that was taken, and not used."""
        with self._lock:
            if not taker.held.taken:
                # The taker was abandoned, with all that it held.
                return
            self._in_use -= 1
            taker.held.taken -= 1
            self._wake_all()

    def start(self, taker: Taker) -> None:
        """A request is sent on a slot that was taken."""
        # Without the lock: only the taker's own thread counts this up.
        taker.held.in_flight += 1

    @property
    def in_flight(self) -> int:
        """How many requests were sent and have no answer yet."""
        return sum(taker.held.in_flight for taker in self._live_takers())

    def _live_takers(self) -> list[Taker]:
        """Return the takers that were not garbage-collected."""
        return [taker for place in self._takers if (taker := place())]

    def answered(
        self,
        now: float,
        sent: float,
        taker: Taker,
        *,
        refused: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """The headers of an answer have arrived.

        Args:
            sent: the time at which its request was sent.
            refused: whether the answer is a 429.
            retry_after: seconds that the 429 asks for.
        """
        with self._lock:
            self.round_trips.add(now - sent)
            rate = self.rate
            self.traffic.ended(now, sent, refused=refused)
            if refused:
                self._refused(now, sent, retry_after or 0.0)
            elif rate.adapted:
                rate.admitted(now)
            period = rate.period(now) if rate.adapted else rate.full_period
            if self._doubt.requests:
                for request in self._doubt.resolve(now, sent):
                    self._insert(max(request.cool, now + period))
            if self._report(taker):
                self._insert(now + period)
                self._wake_all()

    def _refused(self, now: float, sent: float, retry_after: float) -> None:
        if self.limit.rate is None:
            # Nothing is adapted or held. What was answered lately may be thousands.
            return
        lately = self.traffic.lately(now)
        verdict = self.rate.refused(
            now, sent, lately, saturated=self._saturated(now, lately)
        )
        self.hold(now, max(verdict.hold, 0.0 if verdict.alone else retry_after))

    def _saturated(self, now: float, lately: Lately) -> bool:
        """Return whether calls waited during the last second, or wait while half of the
        limit is used. If the limiter was on hold, they waited for that.
        """
        if now - self.not_before < 1:
            return False
        since = self._waiting_since()
        busy = lately.admitted >= self.rate.limit / 2
        return now - since >= 1 or (since < inf and busy)

    def _waiting_since(self) -> float:
        """Return since when calls have waited on any loop without a break.

        It is infinity if no call waits.
        """
        times = [taker.waiting_since() for taker in self._live_takers()]
        return min((time for time in times if time is not None), default=inf)

    def given_up(
        self, now: float, sent: float, taker: Taker, *, closed: bool = False
    ) -> None:
        """A request has no answer. It may still be on its way.

        Args:
            sent: when it was sent.
            closed: whether the other side has closed the connection, so that no proxy
                holds the request back.
        """
        with self._lock:
            self.traffic.ended(now, sent, refused=None)
            doubt = self.round_trips.longest + self.round_trips.early
            cool = now + self.rate.period(now) + doubt
            if self._report(taker):
                if closed:
                    self._insert(cool)
                else:
                    self._doubt.add(GivenUp(sent, now, cool))
                self._wake_all()

    def never_sent(self, taker: Taker) -> None:
        """The request was never sent. Its slot is free at once."""
        with self._lock:
            if self._report(taker):
                self._insert(-inf)
                self._wake_all()

    def _report(self, taker: Taker) -> bool:
        held = taker.held
        if not held.in_flight:
            # The taker was abandoned, with all that it held.
            return False
        held.in_flight -= 1
        held.taken -= 1
        return True

    def _insert(self, when: float) -> None:
        returns = self._returns
        if not returns or when >= returns[-1]:
            returns.append(when)
        else:
            insort(returns, when)

    def _wake_all(self) -> None:
        for place in self._round:
            if taker := place():
                taker.wake()

    def abandon(self, held: Held) -> None:
        """A taker is gone, or its loop. It will not report what it holds."""
        held.in_flight = 0
        self._abandoned.append(held)

    def hold(self, now: float, seconds: float) -> None:
        """Send nothing for so many seconds. An earlier, longer hold stays in force."""
        if seconds > 0:
            self.not_before = max(self.not_before, now + seconds)

    def shared_usage(self, now: float) -> SharedUsage | None:
        """Return statistics that only a shared budget has."""
        return None

    def busiest_second(self) -> int:
        """Return the most requests that were sent within any second."""
        with self._lock:
            return self.traffic.busiest_second()

    def renew_lock(self) -> None:
        """Replace the lock after a fork: a thread of the parent may have held it."""
        self._lock = RLock()

    def cool(self, now: float) -> None:
        """Start with all slots cooling down, as another process used them before."""
        with self._lock:
            self.hold(now, self._last_cool(now) - now)

    def in_use_until(self, now: float) -> float:
        """Return until when this must be kept, at least.

        It is the time when all slots are back, no hold is in force and nothing that was
        learned from a 429 is of use any more.
        """
        with self._lock:
            self._refresh(now)
            if self._unanswered:
                return inf
            return max(self._last_return, self.not_before, self.rate.adapted_until)

    def quiet_until(self, now: float) -> float:
        """Return the time before which slots that replace these must send nothing.

        As after a fork, requests without an answer are expected to arrive soon.
        """
        with self._lock:
            self._refresh(now)
            last = self._last_return
            if self._unanswered:
                last = max(last, self._last_cool(now))
            return max(last, self.not_before)

    def _last_cool(self, now: float) -> float:
        """Return when the slot of a request is back, at the latest, if nothing more is
        heard of it.
        """
        return now + self.rate.period(now) + LONGEST_DOUBT

    @property
    def _last_return(self) -> float:
        return self._returns[-1] if self._returns else -inf
