"""How many tokens each tenant should own: max-min fairness, in whole tokens.

The foreground comes first, but for a tenth that is for the background if it wants it.
What is left is a reserve for each tenant, so that a lone call finds a token.

With fractions, tenants take turns: the next whole token goes to the tenant with the
largest credit, then to the one that has had no token for longest.
"""

from collections.abc import Mapping
from math import floor

from .state import LimitState, Share

# The part of the slots that is for the background.
BACKGROUND = 1 / 10
# A reserve is at most this part of an equal share.
RESERVE = 4
# Tokens times seconds: for so long a fraction stays with the tenant that has it.
STICKY = 0.5
# Tokens times seconds: nobody saves more than this.
MOST_CREDIT = 10.0
# Makes up for rounding errors.
TINY = 1e-6


def max_min(wants: Mapping[str, float], amount: float) -> dict[str, float]:
    """Divide an amount: all get the same, but nobody more than it wants."""
    gets = dict.fromkeys(wants, 0.0)
    hungry = sorted((want, tenant) for tenant, want in wants.items() if want > 0)
    for served, (want, tenant) in enumerate(hungry):
        gets[tenant] = min(want, amount / (len(hungry) - served))
        amount -= gets[tenant]
    return gets


def reserve_of_each(slots: int, tenants: int) -> int:
    """Return how many tokens a tenant may have without wanting them."""
    return max(1, slots // (RESERVE * tenants)) if slots >= 2 * tenants else 0


def fair_shares(shares: Mapping[str, Share], slots: int) -> dict[str, float]:
    """Return the fair share of each tenant, in tokens."""
    front = {tenant: min(share.foreground, slots) for tenant, share in shares.items()}
    back = {tenant: min(share.background, slots) for tenant, share in shares.items()}
    behind = min(sum(back.values()), slots * BACKGROUND)
    fair = max_min(front, slots - behind)
    more = max_min(back, slots - sum(fair.values()))
    for tenant in fair:
        fair[tenant] += more[tenant]
    rest = slots - sum(fair.values())
    reserve = reserve_of_each(slots, len(shares))
    for tenant in fair:
        extra = min(max(0.0, reserve - fair[tenant]), floor(rest + TINY))
        fair[tenant] += extra
        rest -= extra
    return fair


def whole_goals(
    limit: LimitState,
    shares: Mapping[str, Share],
    fair: Mapping[str, float],
    now: float,
) -> dict[str, int]:
    """Return how many tokens each tenant should own now, and count the credits."""
    _count_credits(limit, shares, fair, now)
    goals = {tenant: floor(amount + TINY) for tenant, amount in fair.items()}
    spare = floor(sum(fair.values()) + TINY) - sum(goals.values())

    def turn(tenant: str) -> tuple[float, float, str]:
        share = shares[tenant]
        sticky = STICKY if share.owned > goals[tenant] else 0.0
        return -(share.credit + sticky), share.had_one_at, tenant

    fractions = [tenant for tenant in goals if fair[tenant] - goals[tenant] > TINY]
    for tenant in sorted(fractions, key=turn)[:spare]:
        goals[tenant] += 1
    return goals


def _count_credits(
    limit: LimitState,
    shares: Mapping[str, Share],
    fair: Mapping[str, float],
    now: float,
) -> None:
    passed = 0.0 if limit.credited_at is None else min(1.0, now - limit.credited_at)
    limit.credited_at = now
    hungry: list[Share] = []
    for tenant, share in shares.items():
        wants = share.foreground + share.background
        if wants > min(share.owned, max(0.0, fair[tenant] - TINY)):
            share.credit += (fair[tenant] - share.owned) * passed
            hungry.append(share)
        else:
            share.credit = 0.0
        if share.owned:
            share.had_one_at = now
    mean = sum(share.credit for share in hungry) / max(1, len(hungry))
    for share in hungry:
        share.credit = max(-MOST_CREDIT, min(MOST_CREDIT, share.credit - mean))
