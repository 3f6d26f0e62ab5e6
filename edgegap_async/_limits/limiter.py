"""Keeps one limit: the queue, the slots and the shaper together.

Only the head of the queue meets the slots and the shaper. See `_limits/__init__.py`.
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
    """Keeps one limit. `try_acquire` or `acquire` a slot, send, and report what came of
    it: `answered`, `given_up` or `never_sent`.

    Args:
        early_return: whether slots come back early, far from the server.
    """

    def __init__(self, limit: Limit, *, early_return: bool = True) -> None:
        self.limit: Limit = limit
        self.queue: PriorityQueue = PriorityQueue()
        self.ticket: Callable[[], int] = self.queue.ticket
        self._rate = AdaptiveRate(limit)
        # The most requests that are in flight at a time.
        self.slots: float = self._rate.most_slots
        self._shaper = BurstShaper(self._rate.burst, self._rate.refill(0.0))
        # Slots in flight or cooling.
        self._in_use = 0
        # When slots come back, the earliest first.
        self._returns: deque[float] = deque()
        # What the head of the queue waits for.
        self._wakeup: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self._round_trips = RoundTrips(self.slots, early_return=early_return)
        self._traffic = Traffic()
        # When a slot was last taken, and in which loop.
        self._latest = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        # The clock of that loop, once it is known.
        self._time: Callable[[], float] = _running_time

    async def try_acquire(self) -> float | None:
        """Take a slot if that needs no waiting. It never suspends.

        Returns:
            When it was taken, on the loop's clock.
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
        """Wait for the head of the queue, a slot and the shaper. If it is cancelled
        meanwhile, it has taken nothing.
        """
        await self.queue.enter(ticket, priority)
        try:
            await self._proceed()
        finally:
            self.queue.leave(priority)

    async def _proceed(self) -> None:
        """At the head of the queue: a slot, the shaper, and no sooner than the API has
        asked for.
        """
        loop = asyncio.get_running_loop()
        while not self._take(loop.time()):
            early = self._round_trips.early
            await self._sleep(self._returns[0] - early if self._returns else None)
        try:
            await self._pass_shaper()
            while loop.time() < self._not_before:
                await self._sleep(self._not_before)
                if loop.time() >= self._not_before:
                    # The shaper has filled up meanwhile. After a stop, the pace is even
                    # again.
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
        # With the round trip as it is known now: one that became shorter counts for
        # earlier answers too.
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
        """Whether the shaper is that of another rate or burst."""
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
        """The headers of an answer have arrived.

        Args:
            sent: when its request was sent, on the loop's clock.
            refused: it is a 429.
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
        # The requests that were admitted show the limit only if nothing was held
        # meanwhile.
        held = now - self._not_before < 1
        waiting_since = None if held else self.queue.waiting_since
        admitted = self._traffic.admitted_lately(now)
        return self._rate.refused(now, sent, admitted, waiting_since)

    def given_up(self) -> None:
        """The request was sent and is not waited for. It may still be on its way."""
        now = asyncio.get_running_loop().time()
        doubt = self._round_trips.longest + self._round_trips.early
        self._give_back(now + self._rate.period(now) + doubt)

    def never_sent(self) -> None:
        """The request was never sent, so the slot is free at once."""
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
        """Send nothing for so many seconds. The end of a hold only ever moves forward."""
        if seconds > 0:
            now = asyncio.get_running_loop().time()
            self._not_before = max(self._not_before, now + seconds)

    def idle_at(self, now: float) -> float:
        """When all slots will be back and nothing is held, on the loop's clock; for
        requests in flight at the latest.
        """
        in_flight = self._traffic.in_flight
        latest = now + self._rate.period(now) + LONGEST_DOUBT if in_flight else 0.0
        last = self._returns[-1] if self._returns else 0.0
        return max(latest, last, self._not_before)

    def shortest_wait(
        self, priority: Priority = "foreground", *, newcomer: bool = True
    ) -> float:
        """Seconds that a call made now waits if everything goes as well as it can. A
        retry may go before all others.
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
        """Whether this runs in the limiter's loop. Another one has another clock."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _now(self) -> float:
        """The time of the limiter's loop; elsewhere, that of its last request."""
        return asyncio.get_running_loop().time() if self._in_its_loop else self._latest

    def _expected_wait(self, waiting: int) -> float:
        if not self._in_its_loop:
            return 0.0
        held = max(0.0, self._not_before - self._now())
        busy = waiting or self._traffic.in_flight
        return self.shortest_wait() if busy else held

    @property
    def rate(self) -> float | None:
        """Requests per second at the moment; None: no limit."""
        return None if self.limit.rate is None else self._rate.rate(self._now())

    def usage(self) -> LimitUsage:
        """How the limit is used."""
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
