"""Compares two reports: what differs by more than chance."""

from collections.abc import Iterator
from math import sqrt
from typing import Literal, TypeAlias

from ..models._plain import PlainData
from .figures import SHARES
from .report import Report, Times
from .thresholds import TIMES, part_of

# A difference is one only if it is larger than so many standard deviations.
DEVIATIONS = 2.0
# Percent by which the schedule may be kept better or worse by chance.
KEPT_BY_CHANCE = 1.0
Verdict: TypeAlias = Literal["better", "worse", "chance", "same"]


class Difference(PlainData, frozen=True, kw_only=True):
    """One figure of two reports.

    Attributes:
        name: such as `ready_p95` or `failed`.
        unit: "s", "%" or "".
        before, after: its values. None: the report has none.
        verdict: "better" or "worse"; "chance" if the difference may be chance alone.
    """

    name: str
    unit: str
    before: float | None
    after: float | None
    verdict: Verdict


def compare(before: Report, after: Report) -> list[Difference]:
    """Return the differences of two reports. Counts are compared as shares of the deploys
    that were due.
    """
    return [*_shares(before, after), *_times(before, after)]


def _shares(before: Report, after: Report) -> Iterator[Difference]:
    for name in ("ready", "failed", "refused"):
        (one, of_one), (two, of_two) = part_of(before, name), part_of(after, name)
        yield Difference(
            name=name,
            unit="%",
            before=100 * one / of_one,
            after=100 * two / of_two,
            verdict=_share_verdict(
                one, of_one, two, of_two, more_is_better=name == "ready"
            ),
        )
    kept, now_kept = 100 * before.schedule_kept, 100 * after.schedule_kept
    verdict: Verdict = "better" if now_kept > kept else "worse"
    if abs(now_kept - kept) < KEPT_BY_CHANCE:
        verdict = "same"
    yield Difference(
        name="schedule_kept", unit="%", before=kept, after=now_kept, verdict=verdict
    )


def _share_verdict(
    one: int, of_one: int, two: int, of_two: int, *, more_is_better: bool
) -> Verdict:
    before, after = one / of_one, two / of_two
    if before == after:
        return "same"
    pooled = min((one + two) / (of_one + of_two), 1.0)
    deviation = sqrt(pooled * (1 - pooled) * (1 / of_one + 1 / of_two))
    if abs(after - before) <= DEVIATIONS * deviation:
        return "chance"
    return "better" if (after > before) == more_is_better else "worse"


def _times(before: Report, after: Report) -> Iterator[Difference]:
    for name, field in TIMES.items():
        one: Times | None = getattr(before, field)
        two: Times | None = getattr(after, field)
        for share in SHARES:
            yield Difference(
                name=f"{name}_{share}",
                unit="s",
                before=None if one is None else getattr(one, share),
                after=None if two is None else getattr(two, share),
                verdict=_time_verdict(one, two, share),
            )


def _time_verdict(one: Times | None, two: Times | None, share: str) -> Verdict:
    if one is None or two is None:
        return "same" if one is two else "better" if two else "worse"
    before, after = getattr(one, share), getattr(two, share)
    if before == after:
        return "same"
    (low, high), (other_low, other_high) = one.ranges[share], two.ranges[share]
    if low <= other_high and other_low <= high:
        return "chance"
    return "better" if after < before else "worse"
