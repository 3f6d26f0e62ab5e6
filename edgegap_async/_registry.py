"""One budget per process: sessions on one loop with the same token and base URL use the same buckets.

A session per web request is a common mistake, and a fresh budget for each would be twice the limit. So the buckets
outlive the last session until their last slot is back; then nothing is kept. No task looks after that, one timer does.
"""

import asyncio
from hashlib import sha256
from math import inf
from weakref import WeakKeyDictionary

from ._bucket import Bucket
from ._endpoint import LimitName
from ._limits import Limits
from .endpoints import LIMITS

LONGEST_COOLING = 5.0  # seconds: longer than any slot takes to come back
AGAIN = 0.1  # seconds until a closed session's last requests are looked for again


class Shared:
    """The buckets of one token at one base URL, and how many sessions use them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sessions = 0
        self.buckets: dict[LimitName, Bucket] = {
            limit.name: Bucket(limits.kept(limit.name), early_return=limits.early_return) for limit in LIMITS
        }

    @property
    def settled_at(self) -> float:
        """When nothing of it is in use any more, on the loop's clock."""
        return max(bucket.settled_at for bucket in self.buckets.values())


_budgets: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bytes, Shared]] = WeakKeyDictionary()


def _key(base_url: str, token: str) -> bytes:
    return sha256(f"{base_url} {token}".encode()).digest()  # the token itself is kept nowhere


def join(loop: asyncio.AbstractEventLoop, base_url: str, token: str, limits: Limits) -> Shared:
    """The budget that a session uses from now on.

    Raises:
        ValueError: another session is open there with other limits.
    """
    here = _budgets.setdefault(loop, {})
    key = _key(base_url, token)
    budget = here.get(key)
    if budget is None:
        budget = here[key] = Shared(limits)
    elif budget.limits != limits:
        if budget.sessions:
            raise ValueError("limits: a session with the same token and base_url is open with other limits")
        budget = here[key] = _succeed(budget, limits, loop.time())
    budget.sessions += 1
    return budget


def _succeed(budget: Shared, limits: Limits, now: float) -> Shared:
    """A budget with other limits; what the one before it has sent still counts at the server."""
    fresh = Shared(limits)
    for name, bucket in fresh.buckets.items():
        bucket.hold(min(max(budget.buckets[name].settled_at - now, 0.0), LONGEST_COOLING))
    return fresh


def leave(loop: asyncio.AbstractEventLoop, base_url: str, token: str, budget: Shared) -> None:
    """A session is closed. The budget goes when nobody uses it and nothing of it is out."""
    budget.sessions -= 1
    _drop(loop, _key(base_url, token), budget)


def _drop(loop: asyncio.AbstractEventLoop, key: bytes, budget: Shared) -> None:
    here = _budgets.get(loop, {})
    if budget.sessions or here.get(key) is not budget:
        return
    now, settled = loop.time(), budget.settled_at
    if settled <= now:
        del here[key]
    else:
        loop.call_at(now + AGAIN if settled == inf else settled, _drop, loop, key, budget)
