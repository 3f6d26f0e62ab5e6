"""How a `Limit` is kept: never more than N arrivals at the server in any second, at close to the full rate.

Three things, in this order, and only the head of the queue meets the other two:

    queue   first come, first served; a repeat keeps the place of its first arrival
    slots   the guarantee: N slots for N per second, each coming back one period after its answer arrived. The server
            counted the request before it answered, so no window of a second ever sees N + 1 of them
    shape   an aiolimiter bucket: a short burst, then an even pace a little above the limit, which the slots hold

A flag says that somebody is head. It stays up while the turn passes from one to the next, so that newcomers in
between can't overtake.
"""

import asyncio
from collections import deque
from heapq import heappop, heappush
from itertools import count
from math import floor, inf

from aiolimiter import AsyncLimiter
from msgspec import Struct

from ._endpoint import Limit, LimitName
from .endpoints import DEPLOY_LIMIT, LIMITS, LIST_LIMIT, OTHER_LIMIT, STATUS_LIMIT
from .models._check import fail, number, whole_number

CLOCK_GRAIN = 0.002  # seconds: uvloop's clock counts whole milliseconds; without this 41 of 40 were measured
SHORTEST_DOUBT, LONGEST_DOUBT = 0.25, 2.0  # seconds that a request which was given up may still be on its way
TOKEN_BITS = 10  # to a thousandth of the burst is how well the tokens of the shape are known
HEADROOM = 1.1  # the shape refills a tenth faster than the limit: refilled at exactly the rate, a stall would be lost


class Limits(Struct, frozen=True, kw_only=True):
    """The limits that a session keeps, in requests per second; None is no limit.

    Args:
        deploy, status, list, other: the documented limits unless given.
        share: this process's part of the organization's budget, above 0 and up to 1.
        burst: how many requests may go at once after a pause, for each limit at most its rate. Not given: a quarter of
            the limit. 1 paces evenly, for a server that counts by spacing.
    """

    deploy: float | None = DEPLOY_LIMIT.rate
    status: float | None = STATUS_LIMIT.rate
    list: float | None = LIST_LIMIT.rate
    other: float | None = OTHER_LIMIT.rate
    share: float = 1.0
    burst: int | None = None

    def __post_init__(self) -> None:
        least, most = 0.001, 1e9  # requests per second: one in a quarter of an hour; more than any machine sends
        for limit in LIMITS:
            rate: object = getattr(self, limit.name)
            if rate is not None:
                number(f"limits: {limit.name}", rate, least, most)
        if number("limits: share", self.share, 0, 1) == 0:
            fail("limits: share", "must be above 0")
        if self.burst is not None:
            whole_number("limits: burst", self.burst, 1)

    @classmethod
    def off(cls) -> "Limits":
        """No limits at all: for a server that has none."""
        return cls(deploy=None, status=None, list=None, other=None)

    def kept(self, name: LimitName) -> Limit:
        """What this process keeps of the limit called `name`."""
        rate: float | None = getattr(self, name)
        return Limit(name, None if rate is None else rate * self.share, self.burst)


class LimitUsage(Struct, frozen=True):
    """How a limit is used: rates in requests per second, `expected_wait` in seconds."""

    rate: float | None
    waiting: int
    in_flight: int
    expected_wait: float
    sent: int
    refused: int
    busiest_second: int


class Bucket:
    """Keeps one limit. `acquire` a slot, send, then say what came of it: `answered`, `given_up` or `never_sent`."""

    def __init__(self, limit: Limit) -> None:
        rate = limit.rate
        self.limit = limit
        # The tiny addend undoes what binary fractions lose: 0.7 * 40 is 28, not 27.
        self.slots: float = inf if rate is None else max(1, floor(rate + 1e-9))
        self._period = 0.0 if rate is None else max(1.0, 1 / rate) + CLOCK_GRAIN
        self._burst = 0 if rate is None else min(limit.burst or max(1, int(self.slots) // 4), int(self.slots))
        self._pace = inf if rate is None else rate * HEADROOM if self._burst > 1 else rate
        self._shape = AsyncLimiter(self._burst, self._burst / self._pace) if self._burst else None
        self._free = self.slots
        self._returns: list[float] = []  # when slots come back, the earliest first
        self._queue: list[tuple[int, asyncio.Future[None]]] = []  # (ticket, turn), the oldest first
        self._tickets = count()
        self._busy = False  # somebody is head
        self._alarm: asyncio.Future[None] | None = None  # what the head waits for
        self._not_before = 0.0
        self._slowest = SHORTEST_DOUBT
        self._waiting = self._in_flight = self._sent = self._refused = self._busiest = 0
        self._granted: deque[float] = deque()  # within the last second

    def ticket(self) -> int:
        """A place in the queue, kept by one call for all its attempts."""
        return next(self._tickets)

    async def take(self) -> bool:
        """Take a slot if that needs no waiting; it never suspends."""
        now = asyncio.get_running_loop().time()
        if self._busy or now < self._not_before or not self._take(now):
            return False
        if self._shape:
            if not self._shape.has_capacity():
                self._free += 1
                return False
            await self._shape.acquire()
        self._count(now)
        return True

    async def acquire(self, ticket: int) -> None:
        """Wait for the turn, a slot and the shape. Cancelled while it waits, it has taken nothing."""
        self._waiting += 1
        try:
            if self._busy:
                await self._turn(ticket)
            self._busy = True
            try:
                await self._proceed()
            finally:
                self._pass_on()
        finally:
            self._waiting -= 1

    async def _turn(self, ticket: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        heappush(self._queue, (ticket, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # the turn came in the instant of the cancellation
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._queue:
            _, turn = heappop(self._queue)
            if not turn.done():  # a cancelled one leaves its future behind
                turn.set_result(None)
                return
        self._busy = False

    async def _proceed(self) -> None:
        """What the head does: a slot, the shape, and no sooner than the API asked for."""
        loop = asyncio.get_running_loop()
        while not self._take(loop.time()):
            await self._sleep(self._returns[0] if self._returns else None)
        try:
            if self._shape:
                await self._shape.acquire()
            while loop.time() < self._not_before:
                await self._sleep(self._not_before)
        except BaseException:
            self._free += 1
            raise
        self._count(loop.time())

    def _take(self, now: float) -> bool:
        while self._returns and self._returns[0] <= now:
            heappop(self._returns)
            self._free += 1
        if self._free < 1:
            return False
        self._free -= 1
        return True

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
        self._granted.append(now)
        while self._granted[0] <= now - 1:
            self._granted.popleft()
        if len(self._granted) > self._busiest:
            self._busiest = len(self._granted)

    def answered(self, round_trip: float) -> None:
        """The headers of an answer have come, `round_trip` seconds after the slot was taken."""
        self._slowest = min(max(self._slowest, round_trip), LONGEST_DOUBT)
        self._give_back(self._period)

    def given_up(self) -> None:
        """It was sent and will not be waited for; it may still be on its way."""
        self._give_back(self._period + self._slowest)

    def never_sent(self) -> None:
        """It never left: the slot is free at once."""
        self._give_back(0.0)
        self._sent -= 1

    def _give_back(self, delay: float) -> None:
        self._in_flight -= 1
        self._sent += 1
        if self.slots < inf:
            heappush(self._returns, asyncio.get_running_loop().time() + delay)
            _ring(self._alarm)

    def refused(self, hold: float | None) -> None:
        """The API answered 429; with `hold` nothing is sent for so many seconds."""
        self._refused += 1
        if hold:
            self._not_before = max(self._not_before, asyncio.get_running_loop().time() + hold)

    def hopeful_wait(self, *, newcomer: bool = True) -> float:
        """Seconds that a call made now waits if all goes as well as it can. A repeat may go before all others."""
        wait = max(0.0, self._not_before - asyncio.get_running_loop().time())
        if not self._shape:
            return wait
        ahead = self._waiting if newcomer else 0
        return max(wait, (ahead + 1 - self._tokens(self._shape)) / self._pace)

    def _tokens(self, shape: AsyncLimiter) -> float:
        """What the shape would let through at once, a little more rather than less: it tells only yes or no."""
        least, most = 0.0, float(self._burst)
        for _ in range(TOKEN_BITS):
            middle = (least + most) / 2
            least, most = (middle, most) if shape.has_capacity(middle) else (least, middle)
        return most

    def usage(self) -> LimitUsage:
        """The state of this limit."""
        idle = not (self._waiting or self._in_flight)
        return LimitUsage(
            rate=self.limit.rate,
            waiting=self._waiting,
            in_flight=self._in_flight,
            expected_wait=0.0 if idle else self.hopeful_wait(),
            sent=self._sent,
            refused=self._refused,
            busiest_second=self._busiest,
        )


def _ring(alarm: asyncio.Future[None] | None) -> None:
    if alarm and not alarm.done():
        alarm.set_result(None)


def buckets(limits: Limits) -> dict[LimitName, Bucket]:
    """A bucket for each limit of the table."""
    return {limit.name: Bucket(limits.kept(limit.name)) for limit in LIMITS}
