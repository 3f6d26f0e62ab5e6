"""Thresholds: conditions that a report must meet, such as `ready_p95<5s`."""

import re
from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt

from msgspec import structs

from ..models._check import closest
from ..models._plain import PlainData
from .figures import SHARES
from .report import Report, ThresholdResult

# The fields of a report behind the names of times.
TIMES = {
    "queued": "queued",
    "accepted": "accepted_after",
    "ready": "ready_after",
    "total": "total",
}
PERCENTILES = (*SHARES, "max")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": le,
    ">=": ge,
    "<": lt,
    ">": gt,
}
# In seconds.
UNITS = {"s": 1.0, "ms": 0.001, "": 1.0, "m": 60.0}
_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?|\.\d+)\s*(\w*|%)\s*")
# A number of deploys or requests, or with % their share.
COUNTS = ("failed", "refused")
METRICS = (
    *(f"{time}_{part}" for time in TIMES for part in PERCENTILES),
    *COUNTS,
    "schedule_kept",
)


class Threshold(PlainData, frozen=True, kw_only=True):
    """A condition that a report must meet.

    Attributes:
        text: as it was given.
        metric: one of `queued`, `accepted`, `ready` and `total` with one of `_p50`,
            `_p90`, `_p95`, `_p99` and `_max`; or `failed`, `refused` (429s to deploys)
            or `schedule_kept`.
        comparison: "<", "<=", ">" or ">=".
        limit: in seconds, percent, or a number.
        unit: "s", "%" or "".
    """

    text: str
    metric: str
    comparison: str
    limit: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        """Read a threshold such as `ready_p95<5s`, `failed<1%` or `refused<=3`.

        Raises:
            ValueError: it is none; the text says why.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(
                f"threshold {text!r}: must be like ready_p95<5s, failed<1% or refused<=3"
            )
        metric, comparison, limit, unit = found.groups()
        if metric not in METRICS:
            meant = closest(metric, METRICS)
            hint = f"did you mean {meant}?" if meant else f"one of {', '.join(METRICS)}"
            raise ValueError(f"threshold {text!r}: {metric} is not known: {hint}")
        factor, unit = _unit(text, metric, unit)
        return cls(
            text=text.strip(),
            metric=metric,
            comparison=comparison,
            limit=float(limit) * factor,
            unit=unit,
        )

    def check(self, report: Report) -> ThresholdResult:
        """Check a report."""
        value = self._value(report)
        met = value is not None and COMPARISONS[self.comparison](value, self.limit)
        return ThresholdResult(
            threshold=self.text, value=value, limit=self.limit, unit=self.unit, met=met
        )

    def _value(self, report: Report) -> float | None:
        if self.metric == "schedule_kept":
            return 100 * report.schedule_kept
        if self.metric in COUNTS:
            part, whole = part_of(report, self.metric)
            return 100 * part / whole if self.unit == "%" else part
        name, _, percentile = self.metric.rpartition("_")
        times = getattr(report, TIMES[name])
        return None if times is None else getattr(times, percentile)


def part_of(report: Report, name: str) -> tuple[int, int]:
    """Return a number of deploys, and of how many: at least 1.

    Args:
        name: "refused", of those that were sent, or a field of `Counts`, of those that
            were due.
    """
    if name == "refused":
        deploys = report.limits.get("deploy")
        part, whole = (deploys.refused, deploys.requests) if deploys else (0, 0)
    else:
        part, whole = getattr(report.counts, name), report.counts.due
    return part, max(whole, 1)


def _unit(text: str, metric: str, unit: str) -> tuple[float, str]:
    """Return the factor of a number, and its unit."""
    if metric == "schedule_kept" or metric in COUNTS:
        allowed = ("%",) if metric == "schedule_kept" else ("%", "")
        if unit not in allowed:
            raise ValueError(f"threshold {text!r}: {metric} is in %, such as 95%")
        return 1.0, unit
    if unit not in UNITS:
        raise ValueError(f"threshold {text!r}: {metric} is in s or ms, such as 5s")
    return UNITS[unit], "s"


def check(report: Report, thresholds: Sequence[Threshold]) -> Report:
    """Return the report with the result of each threshold."""
    return structs.replace(report, thresholds=[it.check(report) for it in thresholds])
