"""The queue of a limit, with two priorities. Each is first come, first served.

One call at a time is at the head of the queue. The flag `busy` stays set while the head
passes from one call to the next, so that no newcomer can overtake. While both
priorities wait, the background gets one turn in ten.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Literal, TypeAlias

Priority: TypeAlias = Literal["foreground", "background"]

PRIORITIES: tuple[Priority, ...] = ("foreground", "background")
# Foreground turns before a background turn, while both priorities wait.
FOREGROUND_TURNS = 9


class PriorityQueue:
    """The calls that wait for a slot of a limit.

    Attributes:
        busy: whether a call is at the head.
        ticket: returns the next place in the queue. A call keeps its place for all its
            attempts.
        waiting: how many calls of each priority wait, with the one at the head.
        waiting_since: the time since which the queue has never been empty. None: it is
            empty.
        turns: how many calls of each priority have been at the head.
    """

    def __init__(self) -> None:
        self.busy: bool = False
        self.ticket: Callable[[], int] = count().__next__
        self.waiting: dict[Priority, int] = {"foreground": 0, "background": 0}
        self.waiting_since: float | None = None
        self.turns: dict[Priority, int] = {"foreground": 0, "background": 0}
        self._waiters: dict[Priority, list[tuple[int, asyncio.Future[None]]]] = {
            "foreground": [],
            "background": [],
        }
        self._foreground_turns = 0

    async def enter(self, ticket: int, priority: Priority) -> None:
        """Wait for the head of the queue, and keep it until `leave`.

        A cancelled call leaves the queue as if it had never entered.
        """
        if self.waiting_since is None:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting[priority] += 1
        try:
            if self.busy:
                await self._wait(ticket, priority)
            self.busy = True
            self.turns[priority] += 1
            passed = priority == "foreground" and self.waiting["background"] > 0
            self._foreground_turns = self._foreground_turns + 1 if passed else 0
        except BaseException:
            self._remove(priority)
            raise

    async def _wait(self, ticket: int, priority: Priority) -> None:
        waiter = asyncio.get_running_loop().create_future()
        heappush(self._waiters[priority], (ticket, waiter))
        try:
            await waiter
        except BaseException:
            # The call got its turn just before the cancellation.
            if waiter.done() and not waiter.cancelled():
                self._pass_on()
            raise

    def leave(self, priority: Priority) -> None:
        """Leave the head of the queue, and pass it to the next call at once."""
        self._remove(priority)
        self._pass_on()

    def _remove(self, priority: Priority) -> None:
        self.waiting[priority] -= 1
        if not any(self.waiting.values()):
            self.waiting_since = None

    def _pass_on(self) -> None:
        waiter = self._next()
        self.busy = waiter is not None
        if waiter:
            waiter.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        for waiters in self._waiters.values():
            # The futures of cancelled calls stay in the heap.
            while waiters and waiters[0][1].done():
                heappop(waiters)
        foreground, background = (
            self._waiters["foreground"],
            self._waiters["background"],
        )
        if background and (
            not foreground or self._foreground_turns >= FOREGROUND_TURNS
        ):
            return heappop(background)[1]
        return heappop(foreground)[1] if foreground else None

    def ahead(self, priority: Priority) -> int:
        """Return how many calls are certain to be served before a new call."""
        if priority == "foreground":
            return self.waiting["foreground"]
        behind = self.waiting["background"]
        return behind + min(self.waiting["foreground"], FOREGROUND_TURNS * behind)
