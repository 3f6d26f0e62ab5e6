"""A limiter: a queue and a shaper on one event loop, and slots that all loops share.
See `_limits/__init__.py`.

Only the call at the head of the queue waits for a slot and for the shaper.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from weakref import finalize, ref

from .clock import clock_of
from .config import LimitUsage
from .queue import Priority, PriorityQueue
from .shaper import BurstShaper
from .slots import Held, Slots, Taker


class Limiter:
    """Keeps one limit for the calls on one event loop: that of its first call.

    A caller takes a slot with `try_acquire` or `acquire`, and sends its request. It
    then reports the result with `answered`, `given_up` or `never_sent`.

    Args:
        slots: the slots of the limit.

    Attributes:
        slots: the same.
        queue: the calls that wait on this loop.
        ticket: returns a place in the queue.
        held: the slots that were taken here.
        place: this limiter, in the round of the loops that wait for a slot.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots: Slots = slots
        self.queue: PriorityQueue = PriorityQueue()
        self.ticket: Callable[[], int] = self.queue.ticket
        self.held: Held = Held()
        self.place: ref[Taker] = ref(self)
        rate = slots.rate
        self._shaper = BurstShaper(rate.burst, rate.refill(-inf))
        # That of the slots when the call at the head of the queue took one.
        self._epoch: object = None
        # Wakes the call at the head of the queue.
        self._wakeup: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # The clock of that loop, once it is known.
        self._time: Callable[[], float] = self._first_time
        slots.join(self)
        finalize(self, slots.abandon, self.held).atexit = False

    def _first_time(self) -> float:
        self._loop = asyncio.get_running_loop()
        self._time = clock_of(self._loop)
        return self._time()

    async def try_acquire(self) -> float | None:
        """Take a slot if one is free at once. It never suspends.

        Returns:
            The time at which the slot was taken, on the loop's clock. None: a call must
            wait, so no slot was taken.
        """
        now = self._time()
        slots = self.slots
        if now < slots.not_before or (slots.rate.adapted and self._is_stale(now)):
            return None
        if (self.queue.busy or not slots.take(now, self)) and not (
            # A newcomer may overtake the others as a probe.
            slots.in_doubt and slots.probe(now, self, newcomer=True)
        ):
            return None
        if not self._shaper.try_reserve():
            slots.put_back(self)
            return None
        await self._shaper.acquire()
        slots.start(self)
        return now

    def _take(self, now: float) -> bool:
        """Take a slot for the call at the head, if need be as a probe."""
        slots = self.slots
        self._epoch = slots.epoch(now)
        return slots.take(now, self) or (
            slots.in_doubt and slots.probe(now, self, newcomer=False)
        )

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
        slots = self.slots
        while True:
            if not self._take(self._time()):
                await self._wait_for_slot()
            try:
                await self._wait_for_turn()
            except BaseException:
                slots.put_back(self)
                raise
            if slots.epoch(self._time()) == self._epoch:
                break
            # Another process may use it now.
            slots.put_back(self)
        slots.start(self)

    async def _wait_for_turn(self) -> None:
        slots = self.slots
        await self._pass_shaper()
        while self._time() < slots.not_before:
            await self._sleep(slots.not_before)
            if self._time() >= slots.not_before:
                # The shaper has refilled during the hold. A second pass keeps the pace
                # even after it.
                await self._pass_shaper()

    async def _wait_for_slot(self) -> None:
        slots = self.slots
        try:
            while True:
                # It is made first, as another thread may return a slot at any moment.
                wakeup = self._new_wakeup()
                await self._sleep(slots.wait(self._time(), self), wakeup)
                if self._take(self._time()):
                    return
        finally:
            slots.leave(self)

    async def _pass_shaper(self) -> None:
        self._shaper.forget()
        now = self._time()
        if self._is_stale(now):
            rate = self.slots.rate
            await self._shaper.reshape(rate.burst, rate.refill(now))
        await self._shaper.acquire()

    def _is_stale(self, now: float) -> bool:
        """Return whether the shaper has an outdated rate or burst."""
        rate = self.slots.rate
        if not rate.adapted and not self._shaper.differs(rate.burst, rate.refill(now)):
            return False
        rate.relax(now)
        return self._shaper.differs(rate.burst, rate.refill(now))

    def _new_wakeup(self) -> asyncio.Future[None]:
        self._wakeup = asyncio.get_running_loop().create_future()
        return self._wakeup

    async def _sleep(
        self, until: float, wakeup: asyncio.Future[None] | None = None
    ) -> None:
        """Sleep until a time, or until a slot comes back."""
        wakeup = wakeup or self._new_wakeup()
        timer = None
        if until < inf:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(loop.time() + until - self._time(), _wake, wakeup)
        try:
            await wakeup
        finally:
            self._wakeup = None
            if timer:
                timer.cancel()

    def wake(self) -> None:
        """Wake the call at the head of the queue. Any thread may call it."""
        wakeup, loop = self._wakeup, self._loop
        if wakeup is None or loop is None:
            return
        if loop is _running_loop():
            _wake(wakeup)
        else:
            # The loop may have ended.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_wake, wakeup)

    def waiting_since(self) -> float | None:
        """Return since when calls have waited without a break. None: no call waits."""
        return self.queue.waiting_since

    def answered(
        self, sent: float, *, refused: bool = False, retry_after: float | None = None
    ) -> None:
        """Report that the headers of an answer have arrived.

        Args:
            sent: the time at which its request was sent, on the loop's clock.
            refused: whether the answer is a 429.
            retry_after: seconds that the 429 asks for.
        """
        self.slots.answered(
            self._time(), sent, self, refused=refused, retry_after=retry_after
        )

    def unanswered(self, started: float, *, sent: bool, closed: bool) -> None:
        """Report the end of a request without an answer.

        Args:
            started: the time at which it got its slot, on the loop's clock.
            sent: whether it may have been sent.
            closed: whether the other side has closed the connection.
        """
        if sent:
            self.given_up(started, closed=closed)
        else:
            self.never_sent()

    def given_up(self, sent: float, *, closed: bool = False) -> None:
        """Report that a request has no answer. It may still be on its way.

        Args:
            sent: the time at which it was sent, on the loop's clock.
            closed: whether the other side has closed the connection, so that no proxy
                holds the request back.
        """
        self.slots.given_up(self._time(), sent, self, closed=closed)

    def never_sent(self) -> None:
        """Report that the request was never sent. Its slot is free at once."""
        self.slots.never_sent(self)

    def abandon(self) -> None:
        """Give back the slots that were taken here: the loop has ended without that."""
        self.slots.abandon(self.held)

    def shortest_wait(
        self, priority: Priority = "foreground", *, newcomer: bool = True
    ) -> float:
        """Return the fewest seconds that a call made now must wait.

        Args:
            priority: the priority of the call.
            newcomer: whether the call joins at the end of the queue. A retry may have
                the first place in it.
        """
        now = self._time()
        wait = max(0.0, self.slots.not_before - now)
        if self._shaper.unlimited:
            return wait
        ahead = self.queue.ahead(priority) if newcomer else 0
        needed = ahead + 1 - self._shaper.available()
        return max(wait, self.slots.rate.soonest(now, needed))

    def _now(self) -> float:
        """Return the time, or the earliest one before the first call."""
        return -inf if self._loop is None else self._time()

    def _expected_wait(self, waiting: int) -> float:
        if self._loop is None or self._loop is not _running_loop():
            return 0.0
        busy = waiting or self.slots.in_flight
        held = max(0.0, self.slots.not_before - self._now())
        return self.shortest_wait() if busy else held

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed at the moment. None: no limit."""
        if self.slots.limit.rate is None:
            return None
        return self.slots.rate.rate(self._now())

    @property
    def spacing(self) -> float:
        """Seconds between two requests, if this process sends all it may at an even
        pace.
        """
        return self.slots.rate.spacing(self._now())

    def usage(self) -> LimitUsage:
        """Return statistics of the limit."""
        waiting = sum(self.queue.waiting.values())
        rate, traffic = self.slots.rate, self.slots.traffic
        shared = self.slots.shared_usage(self._now())
        return LimitUsage(
            rate=self.rate,
            burst=rate.burst,
            why=rate.why(self._now()),
            waiting=waiting,
            in_flight=self.slots.in_flight,
            expected_wait=self._expected_wait(waiting),
            sent=traffic.sent,
            refused=traffic.refused,
            busiest_second=self.slots.busiest_second(),
            **(shared._asdict() if shared else {}),
        )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _wake(wakeup: asyncio.Future[None]) -> None:
    if not wakeup.done():
        wakeup.set_result(None)
