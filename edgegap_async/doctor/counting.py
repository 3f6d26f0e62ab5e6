"""Which way of counting explains the requests that were admitted and refused."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..simulator.rate_limits import Enforcement, admission_rule

# By how many admitted requests, on average over all times, a way of counting may be off.
# Times of arrival are estimated, and somebody else may use the limit.
OFF_AT_MOST = 1.0
# What is not this much further off than the best can't be told from it: a multiple, and
# admitted requests, as without jitter the best is off by 0.
FURTHER, LEAST_FURTHER = 2.0, 0.1
# Parts of a second in which the fixed window may begin.
PHASES = 40
# Requests per second that spacing is looked for up to.
FASTEST = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Attributes:
        at: when it arrived, in seconds.
    """

    at: float
    admitted: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """A way of counting, and how far it is from what was seen.

    Attributes:
        rates: requests per second; several, if they can't be told from each other.
        off: by how many admitted requests it is off, on average over all times.
    """

    way: Enforcement
    rates: tuple[int, ...]
    off: float


def fits(samples: Iterable[Sample]) -> list[Fit]:
    """Return the best fit of each way of counting, the best way first.

    Args:
        samples: at least one of them was refused.
    """
    ordered = sorted(samples, key=lambda it: it.at)
    rates = _rates_of_windows(ordered)
    found = [
        _best("fixed-window", rates, lambda rate: _off_fixed(ordered, rate)),
        _best("sliding-window", rates, _counted(ordered, "sliding-window")),
        _best("token-bucket", rates, _counted(ordered, "token-bucket")),
        _best("spacing", range(1, FASTEST + 1), _counted(ordered, "spacing")),
    ]
    return sorted(found, key=lambda it: it.off)


def explains(fit: Fit) -> bool:
    """Whether it is so close to what was seen that it can be right."""
    return fit.off <= OFF_AT_MOST


def alike(fits: Sequence[Fit]) -> list[Fit]:
    """Return the best fit, and those that can't be told from it."""
    best = fits[0]
    return [it for it in fits if _is_close(it.off, best.off)]


def _is_close(off: float, least: float) -> bool:
    return off <= least * FURTHER + LEAST_FURTHER


Off: TypeAlias = Callable[[int], float]


def _best(way: Enforcement, rates: Iterable[int], off: Off) -> Fit:
    offs = {rate: off(rate) for rate in rates}
    least = min(offs.values())
    close = tuple(it for it in offs if _is_close(offs[it], least))
    return Fit(way, close, least)


def _rates_of_windows(samples: Sequence[Sample]) -> range:
    """The rates that windows and buckets can have: they admit one to two times their rate
    in the busiest second, and no window admits more than twice.
    """
    times = [it.at for it in samples if it.admitted]
    most = max((sum(at <= it < at + 1 for it in times) for at in times), default=1)
    return range(max(1, most // 3), most + 1)


def _counted(samples: Sequence[Sample], way: Enforcement) -> Off:
    return lambda rate: _off(samples, way, rate, 0.0)


def _off_fixed(samples: Sequence[Sample], rate: int) -> float:
    """With the beginning of the window that explains most."""
    # Halves: a window that begins at the time of a request would be a matter of rounding.
    phases = ((number + 0.5) / PHASES for number in range(PHASES))
    return min(_off(samples, "fixed-window", rate, phase) for phase in phases)


def _off(samples: Sequence[Sample], way: Enforcement, rate: int, phase: float) -> float:
    """Compare how many were admitted so far. One that arrives a little earlier or later
    than estimated changes that for a moment only.
    """
    rule = admission_rule(way, rate)
    ahead = total = 0
    for each in samples:
        ahead += rule.admits(each.at + phase) - each.admitted
        total += abs(ahead)
    return total / len(samples)
