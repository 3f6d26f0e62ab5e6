"""Percentiles, their confidence intervals, and histograms. This module does no I/O."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, log10, sqrt

from .report import Histogram, Times

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
# Standard deviations of a confidence interval: it holds the true value in 95 % of all
# tests.
DEVIATIONS = 1.96
# Columns of a histogram, at most.
MOST_BINS = 50
# Seconds: the clock measures nothing shorter.
LEAST_STEP = 1e-6


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed.

    Args:
        ordered: all values, ascending; at least one.
    """
    # A product such as 0.95 * 20 may be a little above 19.
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


def confidence_interval(ordered: Sequence[float], share: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of a percentile.

    It is that of the order statistics, with the normal approximation of their rank.
    """
    size = len(ordered)
    middle, spread = share * size, DEVIATIONS * sqrt(size * share * (1 - share))
    low = min(max(floor(middle - spread), 0), size - 1)
    high = min(max(ceil(middle + spread), 0), size - 1)
    return ordered[low], ordered[high]


def times_of(values: Iterable[float]) -> Times | None:
    """Return the percentiles of some values; None if there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Times(
        count=len(ordered),
        **{name: percentile(ordered, share) for name, share in SHARES.items()},
        max=ordered[-1],
        ranges={
            name: confidence_interval(ordered, share) for name, share in SHARES.items()
        },
    )


def histogram_of(values: Iterable[float]) -> Histogram | None:
    """Count values in steps of equal width. What is far above the 99th percentile is one
    number, so that a single value can't flatten the rest.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    top = min(ordered[-1], 1.5 * percentile(ordered, 0.99)) or 1.0
    step = _round_step(max(top / MOST_BINS, LEAST_STEP))
    counts = [0] * (floor(top / step + 1e-9) + 1)
    for value in ordered:
        at = floor(value / step + 1e-9)
        if at < len(counts):
            counts[at] += 1
    return Histogram(step=step, counts=counts, above=len(ordered) - sum(counts))


def _round_step(least: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below `least`."""
    power = 10.0 ** floor(log10(least))
    step = next(it for it in (1, 2, 5, 10) if it * power >= least * (1 - 1e-9))
    return float(f"{step * power:.12g}")
