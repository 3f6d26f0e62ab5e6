"""How all processes of an organization use the limits, for operators."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import cast

from msgspec import MsgspecError

from .._limits.adaptive import AdaptiveRate
from ..endpoints import Limit, LimitName
from ..models._plain import PlainData
from .budget_store import budget_store
from .config import SharedState
from .state import LimitState, Share, State, StoredAdaptation, decode
from .store import StoreError
from .stores import make_store

# Seconds after which a report tells nothing any more: an idle process reports less often
# than its reports say something about the last second.
STALE = 2.0


class SharedLimit(PlainData, frozen=True):
    """How all processes use a limit.

    Attributes:
        rate: requests per second that are allowed at the moment.
        adapted: whether that differs from the documented limit.
        processes: how many take part.
        admitted, refused: their requests in a second, as they have last reported.
        waiting: seconds for which calls of one of them have been waiting.
    """

    limit: str
    rate: float
    adapted: bool
    processes: int
    admitted: int
    refused: int
    waiting: float


def shared_limits(shared: SharedState, key: str) -> tuple[SharedLimit, ...]:
    """How all processes use the limits. Blocks, and changes nothing.

    Args:
        key: the organization's name.

    Raises:
        StoreError: the store can't be read.
        ValueError, ModuleNotFoundError: as `make_store`.
    """
    if shared.path and not os.path.exists(shared.path):
        # Looking must not make it.
        raise StoreError("shared SQLite file: there is no such file")
    with closing(make_store(shared, key)) as store:
        data, clock = budget_store(store, key).look()
    if data is None:
        return ()
    try:
        state = decode(data)
    except (MsgspecError, TypeError) as error:
        raise StoreError(f"the shared limits can't be read: {error}") from None
    return tuple(_limits(state, clock + state.offset))


def _limits(state: State, now: float) -> Iterator[SharedLimit]:
    for name, limit in state.limits.items():
        shares = [
            tenant.shares[name]
            for tenant in state.tenants.values()
            if name in tenant.shares and tenant.lease_end > now
        ]
        if shares:
            yield _limit(name, limit, shares, now)


def _limit(
    name: str, limit: LimitState, shares: list[Share], now: float
) -> SharedLimit:
    documented = min(share.rate for share in shares)
    rate = AdaptiveRate(
        Limit(cast("LimitName", name), documented),
        limit.adaptation or StoredAdaptation(documented),
        limit.refusals,
    )
    current = [
        share
        for share in shares
        if share.reported_at is not None and now - share.reported_at < STALE
    ]
    return SharedLimit(
        limit=name,
        rate=round(rate.rate(now), 1),
        adapted=rate.adapted,
        processes=len(shares),
        admitted=sum(share.admitted for share in current),
        refused=sum(share.refused for share in current),
        waiting=round(max((share.waiting for share in current), default=0.0), 1),
    )
