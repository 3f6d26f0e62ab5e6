"""The queue before a limit: first come, first served, in two lanes.

A flag says that somebody is head. It stays up while the turn passes from one to the
next, so that newcomers in between can't overtake. While both lanes wait, one turn in
ten is the background's.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Literal, TypeAlias

Priority: TypeAlias = Literal["foreground", "background"]

PRIORITIES: tuple[Priority, ...] = ("foreground", "background")
# before one for the background, while both wait
FOREGROUND_TURNS = 9


class Lanes:
    """Who waits. `busy`: somebody is head, whether or not others wait."""

    def __init__(self) -> None:
        self.busy: bool = False
        # a place, kept by one call for all its attempts
        self.ticket: Callable[[], int] = count().__next__
        # the head included
        self.waiting: dict[Priority, int] = {"foreground": 0, "background": 0}
        # from when on somebody has waited all the time
        self.waiting_since: float | None = None
        self._queues: dict[Priority, list[tuple[int, asyncio.Future[None]]]] = {
            "foreground": [],
            "background": [],
        }
        self._foreground_turns = 0

    async def enter(self, ticket: int, priority: Priority) -> None:
        """Wait until it is one's turn, and be head until `leave`. Cancelled while it
        waits, it has taken nothing.
        """
        if self.waiting_since is None:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting[priority] += 1
        try:
            if self.busy:
                await self._turn(ticket, priority)
            self.busy = True
            passed = priority == "foreground" and self.waiting["background"] > 0
            self._foreground_turns = self._foreground_turns + 1 if passed else 0
        except BaseException:
            self._gone(priority)
            raise

    async def _turn(self, ticket: int, priority: Priority) -> None:
        turn = asyncio.get_running_loop().create_future()
        heappush(self._queues[priority], (ticket, turn))
        try:
            await turn
        except BaseException:
            # the turn came in the instant of the cancellation
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def leave(self, priority: Priority) -> None:
        """The head goes, with a slot or without; the next is head before anybody else
        runs.
        """
        self._gone(priority)
        self._pass_on()

    def _gone(self, priority: Priority) -> None:
        self.waiting[priority] -= 1
        if not any(self.waiting.values()):
            self.waiting_since = None

    def _pass_on(self) -> None:
        turn = self._next()
        self.busy = turn is not None
        if turn:
            turn.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        for queue in self._queues.values():
            # a cancelled one leaves its future behind
            while queue and queue[0][1].done():
                heappop(queue)
        foreground, background = self._queues["foreground"], self._queues["background"]
        if background and (
            not foreground or self._foreground_turns >= FOREGROUND_TURNS
        ):
            return heappop(background)[1]
        return heappop(foreground)[1] if foreground else None

    def ahead(self, priority: Priority) -> int:
        """How many will at least go before a newcomer."""
        if priority == "foreground":
            return self.waiting["foreground"]
        behind = self.waiting["background"]
        return behind + min(self.waiting["foreground"], FOREGROUND_TURNS * behind)
