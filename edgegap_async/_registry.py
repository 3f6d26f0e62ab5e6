"""One budget per process: sessions on one loop with the same token and base URL use the
same buckets.

A session per web request is a common mistake, and a fresh budget for each would be
twice the limit. So the buckets outlive the last session until their last slot is back;
then nothing is kept. Nothing here holds them: their sessions do, and after these a
timer of the loop, so that they also go with a loop that is over before.
"""

import asyncio
import os
from collections.abc import Callable
from hashlib import sha256
from weakref import WeakKeyDictionary, WeakValueDictionary

from ._bucket import Bucket
from ._limits import Limits
from .endpoints import LIMITS, LimitName


class Shared:
    """The buckets of one token at one base URL, and how many sessions use them."""

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        self.sessions: int = 0
        self.buckets: dict[LimitName, Bucket] = {
            limit.name: Bucket(
                limits.kept(limit.name), early_return=limits.early_return
            )
            for limit in LIMITS
        }
        self._keeper: asyncio.TimerHandle | None = None

    def keep(
        self, loop: asyncio.AbstractEventLoop, drop: Callable[["Shared"], None]
    ) -> None:
        """Be there until the last slot is back, for whoever opens the next session. The
        timer holds what it calls.
        """
        if self._keeper:
            self._keeper.cancel()
        now = loop.time()
        settles = max(bucket.settles_at(now) for bucket in self.buckets.values())
        if settles > now:
            self._keeper = loop.call_at(settles, drop, self)
        else:
            drop(self)


_here: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakValueDictionary[bytes, Shared]
] = WeakKeyDictionary()


def join(
    loop: asyncio.AbstractEventLoop, base_url: str, token: str, limits: Limits
) -> Shared:
    """The budget that a session uses from now on.

    Raises:
        ValueError: another session is open there with other limits.
    """
    budgets = _here.setdefault(loop, WeakValueDictionary())
    # the token itself is kept nowhere
    key = sha256(f"{base_url} {token}".encode()).digest()
    budget = budgets.get(key)
    if budget is None:
        budget = budgets[key] = Shared(limits)
    elif budget.limits != limits:
        if budget.sessions:
            raise ValueError(
                "limits: a session with the same token and base_url is open with other limits"
            )
        budget = budgets[key] = _succeed(budget, limits, loop.time())
    budget.sessions += 1
    return budget


def _succeed(budget: Shared, limits: Limits, now: float) -> Shared:
    """A budget with other limits; what the one before it has sent still counts at the
    server.
    """
    fresh = Shared(limits)
    for name, bucket in fresh.buckets.items():
        bucket.hold(max(0.0, budget.buckets[name].settles_at(now) - now))
    return fresh


def leave(loop: asyncio.AbstractEventLoop, budget: Shared) -> None:
    """A session is closed."""
    budget.sessions -= 1
    if not budget.sessions:
        budget.keep(loop, lambda kept: _drop(loop, kept))


def _drop(loop: asyncio.AbstractEventLoop, budget: Shared) -> None:
    budgets = _here.get(loop, WeakValueDictionary[bytes, Shared]())
    for key in [
        key for key, kept in budgets.items() if kept is budget and not budget.sessions
    ]:
        del budgets[key]


_forks: list[int] = []


def forks() -> int:
    """How many forks lie between this process and the one that imported us; a process
    ID would be a system call.
    """
    return len(_forks)


# as everywhere but on Windows
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(os.getpid()))
