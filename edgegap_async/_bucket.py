"""How a limit is kept: never more than N arrivals at the server in any second, at close
to the full rate.

Three things, in this order, and only the head of the queue meets the other two:

    queue   two lanes, first come, first served; a repeat keeps the place of its first
    arrival (`_lanes.py`)
    slots   the guarantee: N slots for N per second, each coming back one period after
            its answer arrived. The server counted the request before it answered, so no
            window of a second ever sees N + 1 of them. Over a long way they come back
            early by most of the shortest round trip that was seen: that holds as long
            as the way does not become shorter by more than the rest, in the moments
            before the first answer tells of it
    shape   an aiolimiter bucket: a short burst, then an even pace a little above the
        limit, which the slots hold

The rate, and with it N and the shape, follows what the server admits (`_pace.py`).
"""

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable
from math import inf

from aiolimiter import AsyncLimiter

from ._lanes import Lanes, Priority
from ._limits import LimitUsage
from ._pace import Pace
from .endpoints import Limit

# seconds that a request which was given up may still be on its way
SHORTEST_DOUBT, LONGEST_DOUBT = 0.25, 2.0
# to a thousandth of the burst is how well the tokens of the shape are known
TOKEN_BITS = 10
# answers per slot before slots come back early; after fewer, 41 of 40 do occur
LEARNING = 10
# of the shortest round trip less so many seconds: the way there may be shorter still
EARLY, EARLY_MARGIN = 0.9, 0.010
# a rate that differs by less keeps its shape: a new one costs half a turn
RESHAPE = 0.02


class Bucket:
    """Keeps one limit. `take` or `acquire` a slot, send, and say what came of it:
    `answered`, `given_up`, `never_sent`.

    Args:
        limit: what is kept.
        early_return: whether slots come back early over a long way, as soon as it is
            known how long.
    """

    def __init__(self, limit: Limit, *, early_return: bool = True) -> None:
        self.limit: Limit = limit
        self.lanes: Lanes = Lanes()
        self.ticket: Callable[[], int] = self.lanes.ticket
        self._pace = Pace(limit)
        # the most requests that are under way at a time
        self.slots: float = self._pace.most_slots
        self._shape, self._refill = _shape(self._pace, 0.0), self._pace.refill(0.0)
        # tokens of the shape that are known to be free: they stay so until they are
        # taken
        self._free = 0.0
        self._early_return = early_return
        # after so many answers
        self._learned = LEARNING * self.slots
        # slots that are under way or cooling
        self._out = 0
        # when slots come back, the earliest first
        self._returns: deque[float] = deque()
        # what the head waits for
        self._alarm: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self._slowest, self._fastest = SHORTEST_DOUBT, inf
        # seconds by which slots come back before their time
        self._early = 0.0
        self._in_flight = self._sent = self._answers = self._refused = self._busiest = 0
        # when a slot was last taken, and in which loop
        self._latest = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        # the clock of that loop, as soon as it is known
        self._time: Callable[[], float] = _running_time
        # within the last second
        self._granted: deque[float] = deque()
        # answers other than 429, within the last second
        self._admitted: deque[float] = deque()

    async def take(self) -> float | None:
        """Take a slot if that needs no waiting, and tell when it was; it never
        suspends.
        """
        now = self._time()
        if (
            self.lanes.busy
            or now < self._not_before
            or (self._pace.adapted and self._is_stale(now))
        ):
            return None
        if not self._take(now):
            return None
        if self._shape:
            self._free = self._free or _free(self._shape)
            if not self._free:
                self._out -= 1
                return None
            self._free -= 1
            await self._shape.acquire()
        self._count(now)
        return now

    async def acquire(self, ticket: int, priority: Priority = "foreground") -> None:
        """Wait for the turn, a slot and the shape. Cancelled while it waits, it has
        taken nothing.
        """
        await self.lanes.enter(ticket, priority)
        try:
            await self._proceed()
        finally:
            self.lanes.leave(priority)

    async def _proceed(self) -> None:
        """What the head does: a slot, the shape, and no sooner than the API asked for."""
        loop = asyncio.get_running_loop()
        while not self._take(loop.time()):
            await self._sleep(self._returns[0] - self._early if self._returns else None)
        try:
            await self._pass_shape()
            while loop.time() < self._not_before:
                await self._sleep(self._not_before)
                if loop.time() >= self._not_before:
                    # it has filled up meanwhile: what comes after a stop is paced again
                    await self._pass_shape()
        except BaseException:
            self._out -= 1
            raise
        self._count(loop.time())

    async def _pass_shape(self) -> None:
        # the head takes what a newcomer may know of
        self._free = 0.0
        await self._reshape(asyncio.get_running_loop().time())
        if self._shape:
            await self._shape.acquire()

    def _take(self, now: float) -> bool:
        # as it is known now: a way that became shorter counts for what was answered
        # before
        due = now + self._early
        while self._returns and self._returns[0] <= due:
            self._returns.popleft()
            self._out -= 1
        if self._out >= (self._pace.slots(now) if self._pace.adapted else self.slots):
            return False
        self._out += 1
        return True

    def _is_stale(self, now: float) -> bool:
        """Whether the shape is that of another rate or burst."""
        if not self._shape or (
            not self._pace.adapted and self._shape.max_rate == self._pace.burst
        ):
            return False
        self._pace.relax(now)
        wanted = self._pace.refill(now)
        return (
            self._shape.max_rate != self._pace.burst
            or abs(wanted - self._refill) >= RESHAPE * wanted
        )

    async def _reshape(self, now: float) -> None:
        """Follow the rate. An `AsyncLimiter` can't change its pace, and a new one
        starts with its burst: take that.
        """
        if not self._is_stale(now):
            return
        self._shape, self._refill = _shape(self._pace, now), self._pace.refill(now)
        if self._shape:
            await self._shape.acquire(self._pace.burst)

    async def _sleep(self, until: float | None) -> None:
        """Until then, or until something has changed."""
        loop = asyncio.get_running_loop()
        self._alarm = alarm = loop.create_future()
        timer = None if until is None else loop.call_at(until, _ring, alarm)
        try:
            await alarm
        finally:
            self._alarm = None
            if timer:
                timer.cancel()

    def _count(self, now: float) -> None:
        self._in_flight += 1
        self._latest = now
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._time = self._loop.time
        self._granted.append(now)
        while self._granted[0] <= now - 1:
            self._granted.popleft()
        if len(self._granted) > self._busiest:
            self._busiest = len(self._granted)

    def answered(self, sent: float, *, refused: bool = False) -> None:
        """The headers of an answer have come to what was sent at that time of the loop;
        `refused`: it is a 429.
        """
        now = self._time()
        self._answers += 1
        round_trip = now - sent
        if (
            round_trip < self._fastest
            or round_trip > self._slowest
            or self._answers == self._learned
        ):
            self._learn(round_trip)
        if refused:
            self._refused += 1
            # What was admitted tells the limit only if nothing was held meanwhile.
            waiting_since = (
                self.lanes.waiting_since if now - self._not_before >= 1 else None
            )
            self.hold(
                self._pace.refused(now, sent, self._admitted_lately(now), waiting_since)
            )
        else:
            self._admitted.append(now)
            while self._admitted[0] <= now - 1:
                self._admitted.popleft()
        self._give_back(
            now
            + (self._pace.period(now) if self._pace.adapted else self._pace.full_period)
        )

    def _admitted_lately(self, now: float) -> int:
        return sum(time > now - 1 for time in self._admitted)

    def _learn(self, round_trip: float) -> None:
        if round_trip > self._slowest:
            self._slowest = min(round_trip, LONGEST_DOUBT)
        if round_trip < self._fastest:
            self._fastest = round_trip
        if self._early_return and self._answers >= self._learned:
            self._early = max(0.0, EARLY * (self._fastest - EARLY_MARGIN))

    def given_up(self) -> None:
        """It was sent and will not be waited for; it may still be on its way."""
        now = asyncio.get_running_loop().time()
        self._give_back(now + self._pace.period(now) + self._slowest + self._early)

    def never_sent(self) -> None:
        """It never left: the slot is free at once."""
        self._give_back(0.0)
        self._sent -= 1

    def _give_back(self, when: float) -> None:
        self._in_flight -= 1
        self._sent += 1
        if not self._returns or when >= self._returns[-1]:
            self._returns.append(when)
        else:
            insort(self._returns, when)
        if self._alarm:
            _ring(self._alarm)

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds. It only ever moves forward."""
        if seconds > 0:
            self._not_before = max(
                self._not_before, asyncio.get_running_loop().time() + seconds
            )

    def settles_at(self, now: float) -> float:
        """When all slots will be back and nothing is held, on the loop's clock; for
        what is under way at the latest.
        """
        under_way = (
            now + self._pace.period(now) + LONGEST_DOUBT if self._in_flight else 0.0
        )
        return max(
            under_way, self._returns[-1] if self._returns else 0.0, self._not_before
        )

    def hopeful_wait(
        self, priority: Priority = "foreground", *, newcomer: bool = True
    ) -> float:
        """Seconds that a call made now waits if all goes as well as it can. A repeat
        may go before all others.
        """
        now = asyncio.get_running_loop().time()
        wait = max(0.0, self._not_before - now)
        if not self._shape:
            return wait
        ahead = self.lanes.ahead(priority) if newcomer else 0
        return max(wait, self._pace.soonest(now, ahead + 1 - self._tokens(self._shape)))

    def _tokens(self, shape: AsyncLimiter) -> float:
        """What the shape would let through at once, a little more rather than less: it
        tells only yes or no.
        """
        least, most = 0.0, shape.max_rate
        for _ in range(TOKEN_BITS):
            middle = (least + most) / 2
            least, most = (
                (middle, most) if shape.has_capacity(middle) else (least, middle)
            )
        return most

    @property
    def _is_at_home(self) -> bool:
        """Whether this runs in the loop that uses the bucket: another one, or none, has
        another time.
        """
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _now(self) -> float:
        """The time of the bucket's loop; when all is over, or in another thread, that
        of the last request.
        """
        return asyncio.get_running_loop().time() if self._is_at_home else self._latest

    def _expected_wait(self, waiting: int) -> float:
        if not self._is_at_home:
            return 0.0
        held = max(0.0, self._not_before - self._now())
        return self.hopeful_wait() if waiting or self._in_flight else held

    @property
    def rate(self) -> float | None:
        """Requests per second, at the moment; None is no limit."""
        return None if self.limit.rate is None else self._pace.rate(self._now())

    def usage(self) -> LimitUsage:
        """The state of this limit."""
        waiting = sum(self.lanes.waiting.values())
        return LimitUsage(
            rate=self.rate,
            burst=self._pace.burst,
            why=self._pace.why(self._now()),
            waiting=waiting,
            in_flight=self._in_flight,
            expected_wait=self._expected_wait(waiting),
            sent=self._sent,
            refused=self._refused,
            busiest_second=self._busiest,
        )


def _shape(pace: Pace, now: float) -> AsyncLimiter | None:
    return (
        AsyncLimiter(pace.burst, pace.burst / pace.refill(now)) if pace.burst else None
    )


def _running_time() -> float:
    return asyncio.get_running_loop().time()


def _free(shape: AsyncLimiter) -> float:
    """Tokens that are free for certain: all, one or none, as asking costs as much as
    taking.
    """
    return next(
        (amount for amount in (shape.max_rate, 1.0) if shape.has_capacity(amount)), 0.0
    )


def _ring(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)
