"""The tokens of one limit: what a tenant keeps and gives, minting and destroying.

The pool is sorted, the coolest token first.
"""

from collections.abc import Mapping

from .._limits.adaptive import CLOCK_GRAIN, HEADROOM
from .._limits.measurements import SHORTEST_DOUBT
from .messages import LimitReport
from .shared_rate import SharedRate
from .state import LimitState, Share

# Seconds: the period of a limit of one request per second or more. A tenant stops using
# its tokens that much, and its doubt, before its lease ends.
SHORTEST_PERIOD = 1.0 + CLOCK_GRAIN


def hot(limit: LimitState, shares: Mapping[str, Share], now: float) -> float:
    """Return when a token is cool that may have been used until now, by anybody."""
    doubts = (share.doubt for share in shares.values())
    return now + limit.period + max(doubts, default=SHORTEST_DOUBT)


def heat(limit: LimitState, shares: Mapping[str, Share], now: float) -> None:
    """Make the whole pool hot, as there may have been uses that nobody has reported."""
    least = hot(limit, shares, now)
    limit.pool = [max(cool, least) for cool in limit.pool]


def expire(limit: LimitState, share: Share, now: float) -> None:
    """Take the tokens of a tenant whose lease has ended.

    It stopped using them the shortest period before that.
    """
    _add(limit, [now + max(0.0, limit.period - SHORTEST_PERIOD)] * share.owned)


def release(
    limit: LimitState, share: Share, shares: Mapping[str, Share], now: float
) -> None:
    """Take the tokens that a tenant gives up without saying how long they cool."""
    _add(limit, [hot(limit, shares, now)] * share.owned)
    share.owned = 0


def believe(
    limit: LimitState,
    share: Share,
    shares: Mapping[str, Share],
    claimed: int,
    most: int,
) -> None:
    """Let a tenant own what it had before this state began, as far as there is room."""
    room = most - _count(limit, shares)
    share.owned += max(0, min(claimed - share.owned, room))


def keep(
    limit: LimitState,
    share: Share,
    shares: Mapping[str, Share],
    report: LimitReport,
    now: float,
) -> None:
    """Let a tenant own what it keeps, and take the rest.

    Args:
        report: what it says, in a lease that is not over.
    """
    new = min(max(0, report.all_given - share.all_given), len(report.given))
    # The older ones were counted with an earlier report.
    given = sorted(report.given[len(report.given) - new :], reverse=True)
    lost = max(0, share.owned - report.keeps)
    known = [now + cool for cool in given[:lost]]
    # The rest was granted in a reply that never arrived, or its report was lost.
    _add(limit, known + [hot(limit, shares, now)] * (lost - len(known)))
    share.owned -= lost


def mint(
    limit: LimitState,
    shares: Mapping[str, Share],
    shared: SharedRate,
    born: float,
    now: float,
) -> None:
    """Make the tokens that are missing: a quarter at once, and the others evenly spaced,
    as they stay from then on.

    Args:
        born: when the state began. Tokens may have been used until then.
    """
    missing = shared.slots - _count(limit, shares)
    cool = max(now, hot(limit, shares, now if limit.minted else born))
    at_once, rate = max(1.0, shared.slots / 4), HEADROOM * shared.rate
    limit.minted = True
    _add(
        limit,
        [cool + max(0.0, number - at_once) / rate for number in range(1, missing + 1)],
    )


def destroy(limit: LimitState, shares: Mapping[str, Share], most: int) -> None:
    """Destroy tokens that are too many, the hottest first."""
    surplus = _count(limit, shares) - most
    if surplus > 0:
        del limit.pool[max(0, len(limit.pool) - surplus) :]


def take(limit: LimitState, share: Share, goal: int, now: float) -> tuple[float, ...]:
    """Give a tenant the coolest tokens, up to its goal.

    Returns:
        In how long each of them is cool.
    """
    count = max(0, min(goal - share.owned, len(limit.pool)))
    taken, limit.pool = limit.pool[:count], limit.pool[count:]
    share.owned += count
    return tuple(max(0.0, cool - now) for cool in taken)


def _count(limit: LimitState, shares: Mapping[str, Share]) -> int:
    return sum(share.owned for share in shares.values()) + len(limit.pool)


def _add(limit: LimitState, cool: list[float]) -> None:
    limit.pool = sorted(limit.pool + cool)
