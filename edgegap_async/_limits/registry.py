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
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from yarl import URL

from ..endpoints import LIMITS, Limit, LimitName
from .clock import clock_of, shares_clock
from .config import Limits
from .limiter import Limiter
from .slots import Slots

# Budgets that may be kept before those that nobody uses are searched for and dropped.
FEW = 16


class Member(Protocol):
    """This process, in a budget that several processes share."""

    def slots(self, limit: Limit, *, early_return: bool) -> Slots:
        """Return the slots of a limit."""
        ...

    def used(self, *, used: bool) -> None:
        """Sessions are open, or none is any more."""
        ...


class Sharing(Protocol):
    """A budget that several processes share. Equal ones are the same."""

    def join(self, loop: asyncio.AbstractEventLoop | None) -> Member:
        """Let this process take part.

        Args:
            loop: the one whose clock counts. None: the session is not used in a loop.
        """
        ...


class Budget:
    """The slots of one token at one base URL, on one clock.

    Args:
        sharing: what other processes take part in. None: this one is alone.
        loop: a loop with that clock.

    Attributes:
        limits: the limits that the slots keep.
        sharing: the same.
        slots: those of each limit, by its name.
        loops: the users, one per event loop.
    """

    def __init__(
        self,
        limits: Limits,
        sharing: Sharing | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.limits: Limits = limits
        self.sharing: Sharing | None = sharing
        self._member = sharing.join(loop) if sharing else None
        self.slots: dict[LimitName, Slots] = {
            limit.name: self._new_slots(limits.kept(limit.name)) for limit in LIMITS
        }
        self.loops: WeakSet[LoopBudget] = WeakSet()

    def _new_slots(self, limit: Limit) -> Slots:
        early_return = self.limits.early_return
        if self._member and limit.rate is not None:
            return self._member.slots(limit, early_return=early_return)
        return Slots(limit, early_return=early_return)

    def sessions_changed(self) -> None:
        """A session was opened or closed."""
        if self._member:
            self._member.used(used=bool(self.open_loops()))

    def open_loops(self) -> "list[LoopBudget]":
        """Return the users that have open sessions, on loops that have not ended."""
        return [each for each in self.loops if each.sessions and not each.ended]

    def abandon_ended(self) -> None:
        """Give up what loops that have ended still hold. It is never reported."""
        for each in self.loops:
            if each.ended:
                each.abandon()

    def is_over(self, now: float) -> bool:
        """Return whether no session uses it and all its slots are back."""
        if self.open_loops():
            return False
        return all(slots.in_use_until(now) <= now for slots in self.slots.values())

    def can_be_replaced(self, now: float, sharing: Sharing | None) -> bool:
        """Return whether a new budget is as good. Other processes know this one."""
        same = self._member is not None and self.sharing == sharing
        return not same and self.is_over(now)

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
        again = Budget(self.limits, self.sharing)
        self.slots, self._member = again.slots, again._member
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
        self.budget: Budget = budget
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


def unused_budget(limits: Limits, sharing: Sharing | None) -> LoopBudget:
    """Return the limiters of a session that was never used."""
    return LoopBudget(Budget(limits, sharing))


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
        sharing: Sharing | None = None,
    ) -> LoopBudget:
        """Return the limiters for a session that opens on a loop.

        Raises:
            ValueError: a session with the same token and base URL is open with other
                limits or another `shared`, on this loop or another one.
        """
        with self._lock:
            now, budgets = clock_of(loop)(), self.on(loop)
            key = budget_key(base_url, token)
            budget = budgets.get(key)
            if budget:
                budget.abandon_ended()
            if budget is None or budget.can_be_replaced(now, sharing):
                self._sweep(budgets, now)
                budget = budgets[key] = Budget(limits, sharing, loop)
            elif budget.sharing != sharing:
                budget = budgets[key] = _replaced(budget, limits, sharing, loop, now)
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
            budget.sessions_changed()
            return user

    def release(self, user: LoopBudget) -> None:
        """End the use by a session that closes."""
        with self._lock:
            user.sessions -= 1
            user.budget.sessions_changed()

    def _sweep(self, budgets: Budgets, now: float) -> None:
        """Drop the budgets that nobody uses, whenever their number has doubled."""
        if len(budgets) >= self._sweep_at:
            for each in budgets.values():
                each.abandon_ended()
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


def _replaced(
    budget: Budget,
    limits: Limits,
    sharing: Sharing | None,
    loop: asyncio.AbstractEventLoop,
    now: float,
) -> Budget:
    """Return a budget in place of one that was shared in another way."""
    if budget.open_loops():
        raise ValueError(
            "shared: a session with the same token and base_url is open with another one, or without: give both an "
            "equal `shared`, or use one session"
        )
    again = Budget(limits, sharing, loop)
    for name, slots in again.slots.items():
        # The server still counts what was sent.
        slots.hold(now, budget.slots[name].quiet_until(now) - now)
    return again


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
