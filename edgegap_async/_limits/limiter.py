"""A limiter: a queue, slots and a shaper. See `_limits/__init__.py`.

Only the call at the head of the queue waits for a slot and for the shaper.
"""

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable

from ..endpoints import Limit
from .adaptive import AdaptiveRate
from .config import LimitUsage
from .measurements import LONGEST_DOUBT, RoundTrips, Traffic
from .queue import Priority, PriorityQueue
from .shaper import BurstShaper


class Limiter:
    """Keeps one limit.

    A caller takes a slot with `try_acquire` or `acquire`, and sends its request. It
    then reports the result with `answered`, `given_up` or `never_sent`.

    Args:
        limit: the limit to keep.
        early_return: whether slots come back early if the round trip is long.
    """

    def __init__(self, limit: Limit, *, early_return: bool = True) -> None:
        self.limit: Limit = limit
        self.queue: PriorityQueue = PriorityQueue()
        self.ticket: Callable[[], int] = self.queue.ticket
        self._rate = AdaptiveRate(limit)
        # The most requests that may be in flight at a time.
        self.slots: float = self._rate.most_slots
        self._shaper = BurstShaper(self._rate.burst, self._rate.refill(0.0))
        # Slots that are in flight or cool down.
        self._in_use = 0
        # The times at which slots come back, the earliest first.
        self._returns: deque[float] = deque()
        # Wakes the call at the head of the queue.
        self._wakeup: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self._round_trips = RoundTrips(self.slots, early_return=early_return)
        self._traffic = Traffic()
        # The time at which a slot was last taken, and the loop of this limiter.
        self._latest = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        # The clock of that loop, once it is known.
        self._time: Callable[[], float] = _running_time

    async def try_acquire(self) -> float | None:
        """Take a slot if one is free at once. It never suspends.

        Returns:
            The time at which the slot was taken, on the loop's clock. None: a call must
            wait, so no slot was taken.
        """
        now = self._time()
        if (
            self.queue.busy
            or now < self._not_before
            or (self._rate.adapted and self._is_stale(now))
        ):
            return None
        if not self._take(now):
            return None
        if not self._shaper.try_reserve():
            self._in_use -= 1
            return None
        await self._shaper.acquire()
        self._count(now)
        return now

    async def acquire(self, ticket: int, priority: Priority = "foreground") -> None:
        """Wait for the head of the queue, a slot and the shaper.

        A cancelled call has taken nothing.

        Args:
            ticket: the place in the queue, from `ticket()`.
            priority: background calls get one slot in ten while both priorities wait.
        """
        await self.queue.enter(ticket, priority)
        try:
            await self._proceed()
        finally:
            self.queue.leave(priority)

    async def _proceed(self) -> None:
        """Take a slot and pass the shaper, but not before the end of a hold."""
        loop = asyncio.get_running_loop()
        while not self._take(loop.time()):
            early = self._round_trips.early
            await self._sleep(self._returns[0] - early if self._returns else None)
        try:
            await self._pass_shaper()
            while loop.time() < self._not_before:
                await self._sleep(self._not_before)
                if loop.time() >= self._not_before:
                    # The shaper has refilled during the hold. A second pass keeps the
                    # pace even after it.
                    await self._pass_shaper()
        except BaseException:
            self._in_use -= 1
            raise
        self._count(loop.time())

    async def _pass_shaper(self) -> None:
        self._shaper.forget()
        now = asyncio.get_running_loop().time()
        if self._is_stale(now):
            await self._shaper.reshape(self._rate.burst, self._rate.refill(now))
        await self._shaper.acquire()

    def _take(self, now: float) -> bool:
        # The current round trip decides, for earlier answers too: it may have become
        # shorter since.
        due = now + self._round_trips.early
        while self._returns and self._returns[0] <= due:
            self._returns.popleft()
            self._in_use -= 1
        slots = self._rate.slots(now) if self._rate.adapted else self.slots
        if self._in_use >= slots:
            return False
        self._in_use += 1
        return True

    def _is_stale(self, now: float) -> bool:
        """Return whether the shaper has an outdated rate or burst."""
        if not self._rate.adapted and not self._shaper.differs(
            self._rate.burst, self._rate.refill(now)
        ):
            return False
        self._rate.relax(now)
        return self._shaper.differs(self._rate.burst, self._rate.refill(now))

    async def _sleep(self, until: float | None) -> None:
        """Sleep until a time, or until a slot comes back."""
        loop = asyncio.get_running_loop()
        self._wakeup = wakeup = loop.create_future()
        timer = None if until is None else loop.call_at(until, _wake, wakeup)
        try:
            await wakeup
        finally:
            self._wakeup = None
            if timer:
                timer.cancel()

    def _count(self, now: float) -> None:
        self._latest = now
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._time = self._loop.time
        self._traffic.start(now)

    def answered(self, sent: float, *, refused: bool = False) -> None:
        """Report that the headers of an answer have arrived.

        Args:
            sent: the time at which its request was sent, on the loop's clock.
            refused: whether the answer is a 429.
        """
        now = self._time()
        self._round_trips.add(now - sent)
        if refused:
            self._traffic.refused += 1
            self.hold(self._refused(now, sent))
        else:
            self._traffic.admit(now)
        rate = self._rate
        self._give_back(now + (rate.period(now) if rate.adapted else rate.full_period))

    def _refused(self, now: float, sent: float) -> float:
        # The number of admitted requests shows the server's limit only if the limiter
        # was not on hold.
        held = now - self._not_before < 1
        waiting_since = None if held else self.queue.waiting_since
        admitted = self._traffic.admitted_lately(now)
        return self._rate.refused(now, sent, admitted, waiting_since)

    def given_up(self) -> None:
        """Report that the caller gave up a request, which may still be on its way."""
        now = asyncio.get_running_loop().time()
        doubt = self._round_trips.longest + self._round_trips.early
        self._give_back(now + self._rate.period(now) + doubt)

    def never_sent(self) -> None:
        """Report that the request was never sent. Its slot is free at once."""
        self._give_back(0.0)
        self._traffic.sent -= 1

    def _give_back(self, when: float) -> None:
        self._traffic.in_flight -= 1
        self._traffic.sent += 1
        if not self._returns or when >= self._returns[-1]:
            self._returns.append(when)
        else:
            insort(self._returns, when)
        if self._wakeup:
            _wake(self._wakeup)

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds. An earlier, longer hold stays in force."""
        if seconds > 0:
            now = asyncio.get_running_loop().time()
            self._not_before = max(self._not_before, now + seconds)

    def idle_at(self, now: float) -> float:
        """Return when all slots will be back and no hold is in force.

        A time on the loop's clock. With requests in flight, it is the latest possible
        one.
        """
        in_flight = self._traffic.in_flight
        latest = now + self._rate.period(now) + LONGEST_DOUBT if in_flight else 0.0
        last = self._returns[-1] if self._returns else 0.0
        return max(latest, last, self._not_before)

    def shortest_wait(
        self, priority: Priority = "foreground", *, newcomer: bool = True
    ) -> float:
        """Return the fewest seconds that a call made now must wait.

        Args:
            priority: the priority of the call.
            newcomer: whether the call joins at the end of the queue. A retry may have
                the first place in it.
        """
        now = asyncio.get_running_loop().time()
        wait = max(0.0, self._not_before - now)
        if self._shaper.unlimited:
            return wait
        ahead = self.queue.ahead(priority) if newcomer else 0
        needed = ahead + 1 - self._shaper.available()
        return max(wait, self._rate.soonest(now, needed))

    @property
    def _in_its_loop(self) -> bool:
        """Whether this runs in the limiter's loop. Another loop has another clock."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _now(self) -> float:
        """Return the time of the limiter's loop, or, elsewhere, of its last request."""
        return asyncio.get_running_loop().time() if self._in_its_loop else self._latest

    def _expected_wait(self, waiting: int) -> float:
        if not self._in_its_loop:
            return 0.0
        held = max(0.0, self._not_before - self._now())
        busy = waiting or self._traffic.in_flight
        return self.shortest_wait() if busy else held

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed at the moment. None: no limit."""
        return None if self.limit.rate is None else self._rate.rate(self._now())

    def usage(self) -> LimitUsage:
        """Return statistics of the limit."""
        waiting = sum(self.queue.waiting.values())
        return LimitUsage(
            rate=self.rate,
            burst=self._rate.burst,
            why=self._rate.why(self._now()),
            waiting=waiting,
            in_flight=self._traffic.in_flight,
            expected_wait=self._expected_wait(waiting),
            sent=self._traffic.sent,
            refused=self._traffic.refused,
            busiest_second=self._traffic.busiest_second,
        )


def _running_time() -> float:
    return asyncio.get_running_loop().time()


def _wake(wakeup: asyncio.Future[None]) -> None:
    if not wakeup.done():
        wakeup.set_result(None)
