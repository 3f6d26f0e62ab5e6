"""The ledger's own clock.

The store's clock may be set, and the store may stand still or be gone for a while. So
the own clock passes with the store's only over short gaps between two beats. It never
goes back, and over a long gap it stands still: then no lease expires and no token gets
cooler, though they might. That costs time, never a request too many.

Without tenants, it passes with the store's clock.

A clock that is set forward by less than `STEP` can't be told from time that passes.
"""

from .state import State
from .tokens import SHORTEST_PERIOD, heat

# Seconds: a longer gap between two beats is an outage, or the store's clock was set.
# Tenants beat more often.
STEP = 1.0
# Seconds for which a tenant waits for a reply.
ROUND_TRIP = 1.0


def advance(state: State, clock: float) -> float:
    """Move the own clock to a time of the store's clock. Return the own time."""
    gap = clock + state.offset - state.at
    certain = 0 <= gap <= STEP or (gap > 0 and not state.tenants)
    if not certain:
        if _may_have_fallen_back(state, gap):
            for name, limit in state.limits.items():
                heat(limit, state.shares(name), state.at)
        state.offset -= gap
        if state.at < state.listen_until:
            # Tenants that have not reported may have used their fallback too.
            state.listen(state.at)
    state.at = clock + state.offset
    return state.at


def _may_have_fallen_back(state: State, gap: float) -> bool:
    """Return whether a lease may have ended at a tenant during the gap.

    Such a tenant sends requests within its fallback, which the ledger does not know.
    """
    if gap < -STEP:
        # Nothing is known of the time that has passed.
        return True
    return any(
        tenant.lease_end - SHORTEST_PERIOD - share.doubt - ROUND_TRIP < state.at + gap
        for tenant in state.tenants.values()
        for share in tenant.shares.values()
    )
