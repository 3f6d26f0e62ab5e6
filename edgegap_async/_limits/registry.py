"""The budgets of one process: all sessions with the same token and base URL share one.

A process often has more sessions than it needs: one per web request, one per
`asyncio.run`, one per thread. If each had slots of its own, two of them could send
twice the limit. So slots belong to a base URL, a token and a clock:

    Budget        the slots of each limit. All loops with the process's monotonic clock
                  share it. A loop with a clock of its own (virtual time) has its own.
    LoopBudget    the queues and shapers of one loop, over those slots.

A budget outlives its sessions until its last slot is back. After a fork, the child has
budgets of its own, all of whose slots cool down at first.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from threading import RLock
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from yarl import URL

from ..endpoints import LIMITS, LimitName
from .clock import clock_of, shares_clock
from .config import Limits
from .limiter import Limiter
from .slots import Slots

# Budgets that may be kept before those that nobody uses are searched for and dropped.
FEW = 16


class Budget:
    """The slots of one token at one base URL, on one clock.

    Attributes:
        limits: the limits that they keep.
        slots: those of each limit, by its name.
        loops: the users, one per event loop.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        self.slots: dict[LimitName, Slots] = {
            limit.name: Slots(limits.kept(limit.name), early_return=limits.early_return)
            for limit in LIMITS
        }
        self.loops: WeakSet[LoopBudget] = WeakSet()

    def open_loops(self) -> "list[LoopBudget]":
        """Return the users that have open sessions, on loops that have not ended."""
        return [each for each in self.loops if each.sessions and not each.ended]

    def is_over(self, now: float) -> bool:
        """Return whether no session uses it and all its slots are back."""
        for each in self.loops:
            if each.ended:
                each.abandon()
        if self.open_loops():
            return False
        return all(slots.in_use_until(now) <= now for slots in self.slots.values())

    def change(self, limits: Limits) -> None:
        """Keep other limits from now on. The server still counts what was sent."""
        self.limits = limits
        for name, slots in self.slots.items():
            slots.change(limits.kept(name), early_return=limits.early_return)
        # Their shapers are made for the old limits.
        self.loops.clear()

    def on(self, loop: asyncio.AbstractEventLoop) -> "LoopBudget":
        """Return the user of this budget on one loop."""
        for each in self.loops:
            if each.loop is loop:
                return each
        user = LoopBudget(self, loop)
        self.loops.add(user)
        return user

    def after_fork(self, now: float) -> None:
        """Begin again in the child of a fork.

        The parent, or its sessions here, may still report to the old slots.
        """
        for slots in self.slots.values():
            slots.renew_lock()
        self.loops = WeakSet()
        self.slots = Budget(self.limits).slots
        for slots in self.slots.values():
            slots.cool(now)


class LoopBudget:
    """The limiters of a budget on one event loop.

    Attributes:
        loop: that loop. None: the session was never used.
        limiters: one per limit, by its name.
        sessions: how many open sessions use them.
    """

    def __init__(
        self, budget: Budget, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.limiters: dict[LimitName, Limiter] = {
            name: Limiter(slots) for name, slots in budget.slots.items()
        }
        self.sessions: int = 0

    @property
    def ended(self) -> bool:
        """Whether the loop has ended, so that nothing is sent from it any more."""
        return self.loop is not None and self.loop.is_closed()

    def abandon(self) -> None:
        """The loop has ended. What was in flight is never reported."""
        for limiter in self.limiters.values():
            limiter.abandon()


def unused_budget(limits: Limits) -> LoopBudget:
    """Return the limiters of a session that was never used."""
    return LoopBudget(Budget(limits))


Budgets: TypeAlias = dict[bytes, Budget]


class LimiterRegistry:
    """The budgets of one process, by clock, base URL and token."""

    def __init__(self) -> None:
        self._lock = RLock()
        # Those on the process's monotonic clock, and those of loops with other clocks.
        self._shared: Budgets = {}
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, Budgets] = (
            WeakKeyDictionary()
        )
        self._sweep_at = FEW

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def _all(self) -> Iterator[Budgets]:
        yield self._shared
        yield from self._own.values()

    def on(self, loop: asyncio.AbstractEventLoop) -> Budgets:
        """Return the budgets on the clock of a loop."""
        if shares_clock(loop):
            return self._shared
        return self._own.setdefault(loop, {})

    def acquire(
        self,
        loop: asyncio.AbstractEventLoop,
        base_url: str,
        token: str,
        limits: Limits,
    ) -> LoopBudget:
        """Return the limiters for a session that opens on a loop.

        Raises:
            ValueError: a session with the same token and base URL is open with other
                limits, on this loop or another one.
        """
        with self._lock:
            now, budgets = clock_of(loop)(), self.on(loop)
            key = budget_key(base_url, token)
            budget = budgets.get(key)
            if budget is None or budget.is_over(now):
                self._sweep(budgets, now)
                budget = budgets[key] = Budget(limits)
            elif budget.limits != limits:
                if budget.open_loops():
                    raise ValueError(
                        "limits: a session with the same token and base_url is open "
                        "with other limits, and both share one budget: give them equal "
                        "limits, or use one session"
                    )
                budget.change(limits)
            user = budget.on(loop)
            user.sessions += 1
            return user

    def release(self, user: LoopBudget) -> None:
        """End the use by a session that closes."""
        with self._lock:
            user.sessions -= 1

    def _sweep(self, budgets: Budgets, now: float) -> None:
        """Drop the budgets that nobody uses, whenever their number has doubled."""
        if len(budgets) >= self._sweep_at:
            for key in [key for key, each in budgets.items() if each.is_over(now)]:
                del budgets[key]
            self._sweep_at = max(FEW, 2 * len(budgets))

    def after_fork(self) -> None:
        """Begin again in the child of a fork, where no other thread runs."""
        self._lock = RLock()
        for budget in self._shared.values():
            budget.after_fork(time.monotonic())
        # The loops of the parent don't run here.
        self._own = WeakKeyDictionary()


def budget_key(base_url: str, token: str) -> bytes:
    """Return the key of a budget. It is a hash, so that the token is not kept.

    Spellings of one base URL are one budget: the case of the host, the default port, a
    final slash.
    """
    url = URL(base_url)
    host = (url.raw_host or "").lower().rstrip(".")
    path = url.raw_path.rstrip("/")
    return sha256(f"{url.scheme} {host} {url.port} {path} {token}".encode()).digest()


REGISTRY = LimiterRegistry()
_forks: list[int] = []


def fork_count() -> int:
    """Return how many forks lie between this process and the one that imported this.

    A session compares it to notice a fork. `os.getpid` would be a system call each
    time.
    """
    return len(_forks)


def _after_fork() -> None:
    _forks.append(os.getpid())
    REGISTRY.after_fork()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
