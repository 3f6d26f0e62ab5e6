"""The rate of one limit, over the sum of what all tenants sent.

The rate adapts as in one process alone (`_limits/adaptive.py`). Only its input differs:
what was admitted and refused in the last second is the sum of the tenants' reports, and
those are up to a beat old.

If so many requests were refused that the limit must have dropped, the sum decides how
far the rate is cut. So it is measured first: nothing is sent for a moment, and each
tenant's largest report since then counts. A single tenant needs no measurement.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

from .._limits.adaptive import TRANSIENT, AdaptiveRate
from .._limits.measurements import PEAK
from .._limits.refusals import Lately
from ..endpoints import Limit, LimitName
from .messages import Answers
from .state import (
    LateRefusal,
    LimitState,
    Measurement,
    Share,
    StoredAdaptation,
)

# Seconds for which a measurement lasts at most: every busy tenant has reported by then.
MEASURING = 0.3
# Seconds after which a report says nothing about the last second any more.
STALE = 1.0
# Seconds of an interval. The peak is that of the present one and of the one before.
PEAK_INTERVAL = PEAK / 2


class SharedRate(NamedTuple):
    """The rate in use.

    Attributes:
        rate: requests per second.
        slots: how many tokens there are.
        most_slots: how many there are if nothing is adapted.
        period: the seconds for which a token cools.
        adapted: whether the rate differs from the documented limit.
    """

    rate: float
    slots: int
    most_slots: int
    period: float
    adapted: bool


def adapt(
    name: str,
    limit: LimitState,
    share: Share,
    shares: Mapping[str, Share],
    answers: Answers,
    now: float,
) -> SharedRate:
    """Adapt the rate of a limit to what a tenant reports. Return the rate in use.

    Args:
        name: the name of the limit.
        share: the tenant's share.
        shares: those of all tenants, with this one.
        answers: what the server answered to it.
        now: the time on the ledger's clock.
    """
    documented = min(share.rate for share in shares.values())
    rate = AdaptiveRate(
        Limit(cast("LimitName", name), documented),
        limit.adaptation or StoredAdaptation(documented),
        limit.refusals,
    )
    rate.relax(now)
    admitted, refusals = _record(limit, share, answers, now)
    if rate.adapted:
        for _ in range(admitted):
            rate.admitted(now)
    _judge(limit, rate, shares, refusals, now)
    state = rate.state
    limit.adaptation = None
    if isinstance(state, StoredAdaptation) and state.adapted:
        limit.adaptation = state
    limit.period = rate.period(now)
    return SharedRate(
        rate.rate(now),
        int(rate.slots(now)),
        int(rate.most_slots),
        limit.period,
        rate.adapted,
    )


def _record(
    limit: LimitState, share: Share, answers: Answers, now: float
) -> tuple[int, list[LateRefusal]]:
    """Record what a tenant reports. Return what was not counted before: the number of
    admitted requests, and the refusals.
    """
    admitted, refused = answers.admitted, answers.refused
    first_at = now - answers.span
    measurement, before = limit.measurement, share.reported_at
    if measurement and before is not None and before >= measurement.since:
        admitted = max(admitted, share.admitted)
        refused = max(refused, share.refused)
        first_at = min(first_at, share.first_at)
    # The requests of a tenant that was unknown were counted elsewhere.
    new = answers.all_admitted - share.all_admitted if before is not None else 0
    new_refusals = min(answers.all_refused - share.all_refused, len(answers.refusals))
    share.admitted, share.refused, share.first_at = admitted, refused, first_at
    share.waiting, share.reported_at = answers.waiting, now
    share.all_admitted, share.all_refused = answers.all_admitted, answers.all_refused
    late = answers.refusals[len(answers.refusals) - max(0, new_refusals) :]
    return new, [
        LateRefusal(sent=now - refusal.sent_ago, retry_at=now + refusal.retry_after)
        for refusal in late
    ]


def _judge(
    limit: LimitState,
    rate: AdaptiveRate,
    shares: Mapping[str, Share],
    refusals: list[LateRefusal],
    now: float,
) -> None:
    """Let the rate judge the refusals, at once or at the end of a measurement."""
    lately = _lately(limit, shares, rate.most_slots, now)
    measurement = limit.measurement
    if measurement:
        measurement.refusals += refusals
        if not _is_complete(measurement, shares, now):
            return
        limit.measurement = None
        saturated, refusals = measurement.saturated, measurement.refusals
    else:
        saturated = _is_saturated(limit, rate, shares, lately, now)
        if len(shares) > 1 and _may_have_dropped(rate, lately, refusals, now):
            limit.measurement = Measurement(
                since=now, saturated=saturated, refusals=refusals
            )
            _hold(limit, now + MEASURING, now)
            return
    for refusal in refusals:
        verdict = rate.refused(now, refusal.sent, lately, saturated=saturated)
        _hold(limit, now + verdict.hold, now)
        if not verdict.alone:
            _hold(limit, refusal.retry_at, now)


def _hold(limit: LimitState, until: float, now: float) -> None:
    # A hold that is over at once is none: calls that wait do not wait for its end.
    if until > now:
        limit.hold_until = max(limit.hold_until, until)


def _lately(
    limit: LimitState, shares: Mapping[str, Share], most: float, now: float
) -> Lately:
    """Return the sum of the reports about the last second."""
    fresh = [
        share
        for share in shares.values()
        if share.reported_at is not None and now - share.reported_at < STALE
    ]
    # Seconds of different tenants differ, so that a sum may be too large.
    admitted = int(min(most, sum(share.admitted for share in fresh)))
    if now >= limit.peak_until:
        recent = now < limit.peak_until + PEAK_INTERVAL
        limit.peak_before = limit.peak if recent else 0
        limit.peak, limit.peak_until = 0, now + PEAK_INTERVAL
    limit.peak = max(limit.peak, admitted)
    first_at = min((share.first_at for share in fresh if share.admitted), default=now)
    return Lately(
        admitted,
        sum(share.refused for share in fresh),
        now - first_at,
        max(limit.peak, limit.peak_before),
    )


def _is_complete(
    measurement: Measurement, shares: Mapping[str, Share], now: float
) -> bool:
    since = measurement.since
    return now - since >= MEASURING or all(
        share.reported_at is not None and share.reported_at >= since
        for share in shares.values()
    )


def _is_saturated(
    limit: LimitState,
    rate: AdaptiveRate,
    shares: Mapping[str, Share],
    lately: Lately,
    now: float,
) -> bool:
    """Return whether calls of any tenant waited during the last second, or wait while
    half of the limit is used. During a hold, they wait for its end.
    """
    if now - limit.hold_until < 1:
        return False
    longest = max(share.waiting for share in shares.values())
    return longest >= 1 or (longest > 0 and lately.admitted >= rate.limit / 2)


def _may_have_dropped(
    rate: AdaptiveRate, lately: Lately, refusals: list[LateRefusal], now: float
) -> bool:
    """Return whether the rate may conclude that the limit has dropped."""
    state = rate.state
    return (
        any(refusal.sent >= state.cut_at for refusal in refusals)
        and now - state.dropped_at > TRANSIENT
        and rate.refusals.many(lately)
    )
