"""Limiters shared per token: sessions on one loop with the same token and base URL
share one budget.

A session per web request is a common mistake. If each session had limiters of its own,
two of them could send twice the limit. So the limiters outlive the last session until
their last slot is back.

The registry holds only weak references. The open sessions hold the limiters. After the
last session, a timer of the loop holds them, so that they are freed with the loop if it
ends first.
"""

import asyncio
import os
from collections.abc import Callable
from hashlib import sha256
from weakref import WeakKeyDictionary, WeakValueDictionary

from ..endpoints import LIMITS, LimitName
from .config import Limits
from .limiter import Limiter


class Budget:
    """The limiters of one token at one base URL.

    Attributes:
        limits: the limits that they keep.
        sessions: how many open sessions use them.
        limiters: one per limit, by its name.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        self.sessions: int = 0
        self.limiters: dict[LimitName, Limiter] = {
            limit.name: Limiter(
                limits.kept(limit.name), early_return=limits.early_return
            )
            for limit in LIMITS
        }
        self._keeper: asyncio.TimerHandle | None = None

    def keep(
        self, loop: asyncio.AbstractEventLoop, drop: Callable[["Budget"], None]
    ) -> None:
        """Keep the limiters for the next session until their last slot is back.

        The timer holds a reference to this budget. `drop` is called at the end.
        """
        if self._keeper:
            self._keeper.cancel()
        now = loop.time()
        idle = max(limiter.idle_at(now) for limiter in self.limiters.values())
        if idle > now:
            self._keeper = loop.call_at(idle, drop, self)
        else:
            drop(self)


class LimiterRegistry:
    """The budgets of one process, by event loop, base URL and token."""

    def __init__(self) -> None:
        self._budgets: WeakKeyDictionary[
            asyncio.AbstractEventLoop, WeakValueDictionary[bytes, Budget]
        ] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._budgets)

    def on(self, loop: asyncio.AbstractEventLoop) -> WeakValueDictionary[bytes, Budget]:
        """Return the budgets of one loop."""
        return self._budgets.get(loop, WeakValueDictionary[bytes, Budget]())

    def acquire(
        self,
        loop: asyncio.AbstractEventLoop,
        base_url: str,
        token: str,
        limits: Limits,
    ) -> Budget:
        """Return the budget for a session that opens.

        Raises:
            ValueError: a session with the same token and base URL is open with other
                limits.
        """
        budgets = self._budgets.setdefault(loop, WeakValueDictionary())
        # The registry keeps a hash of the token, never the token itself.
        key = sha256(f"{base_url} {token}".encode()).digest()
        budget = budgets.get(key)
        if budget is None:
            budget = budgets[key] = Budget(limits)
        elif budget.limits != limits:
            if budget.sessions:
                raise ValueError(
                    "limits: a session with the same token and base_url is open with "
                    "other limits"
                )
            budget = budgets[key] = _successor(budget, limits, loop.time())
        budget.sessions += 1
        return budget

    def release(self, loop: asyncio.AbstractEventLoop, budget: Budget) -> None:
        """Return the budget of a session that closes."""
        budget.sessions -= 1
        if not budget.sessions and not loop.is_closed():
            budget.keep(loop, lambda kept: self._drop(loop, kept))

    def _drop(self, loop: asyncio.AbstractEventLoop, budget: Budget) -> None:
        budgets = self.on(loop)
        for key in [
            key
            for key, kept in budgets.items()
            if kept is budget and not budget.sessions
        ]:
            del budgets[key]


def _successor(budget: Budget, limits: Limits, now: float) -> Budget:
    """Return a budget with other limits, which replaces `budget`.

    The server still counts the requests of the old budget, so the new one waits until
    the slots of the old one are back.
    """
    fresh = Budget(limits)
    for name, limiter in fresh.limiters.items():
        limiter.hold(max(0.0, budget.limiters[name].idle_at(now) - now))
    return fresh


REGISTRY = LimiterRegistry()
_forks: list[int] = []


def fork_count() -> int:
    """Return how many forks lie between this process and the one that imported this.

    A session compares it to notice a fork. `os.getpid` would be a system call each
    time.
    """
    return len(_forks)


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(os.getpid()))
