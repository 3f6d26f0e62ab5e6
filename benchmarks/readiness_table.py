"""The table of `readiness.py`: its rows, its figures and its goals."""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal, NamedTuple

from edgegap_async.endpoints import DEPLOY_LIMIT, LIST_LIMIT, STATUS_LIMIT

# The p95 of the delays in seconds, by the number of waiters. Filters work.
GOALS = {1: 0.3, 5: 0.3, 100: 0.3, 1000: 0.7, 5000: 2.5}
# The same if the webhook was not lost.
GOAL_WITH_WEBHOOKS = 0.2
How = Literal["a poll each", "watcher", "watcher and webhooks"]
LIMITS = (DEPLOY_LIMIT, STATUS_LIMIT, LIST_LIMIT)
HOWS: tuple[How, ...] = ("a poll each", "watcher", "watcher and webhooks")
HEAD = "p50 | p95 | max | goal | webhook lost: p95 / max | requests per server | busiest second | refused"


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    how: How
    waiters: int
    neighbours: int = 0
    # Whether the server ignores list filters.
    ignored: bool = False

    @property
    def goal(self) -> float:
        """The highest p95 that is allowed, in seconds."""
        if self.how == "watcher and webhooks":
            return GOAL_WITH_WEBHOOKS
        return (
            inf
            if self.ignored or self.how == "a poll each"
            else GOALS.get(self.waiters, inf)
        )


class Figures(NamedTuple):
    """The figures of a run.

    They are the seconds from ready to known, the same for waiters whose webhook was lost,
    and the number of requests.
    """

    p50: float
    p95: float
    longest: float
    lost_p95: float
    lost_longest: float
    # Requests per server.
    requests: float
    # Requests in the busiest second.
    deploys: float
    statuses: float
    lists: float
    refused: float

    @property
    def held(self) -> bool:
        """Whether no limit was exceeded, and no request was refused."""
        busiest = zip((self.deploys, self.statuses, self.lists), LIMITS, strict=True)
        return not self.refused and all(
            most <= (limit.rate or inf) for most, limit in busiest
        )

    def cells(self, goal: float) -> str:
        """The columns of `HEAD`."""
        verdict = f"{goal:g}" if goal < inf else ""
        verdict += " FAILED" * (self.p95 > goal or not self.held)
        lost = (
            f"{self.lost_p95:.2f} / {self.lost_longest:.2f}"
            if self.lost_longest
            else ""
        )
        busiest = f"{self.statuses:.0f} status, {self.lists:.0f} list"
        delays = f"{self.p50:.2f} | {self.p95:.2f} | {self.longest:.2f}"
        return f"{delays} | {verdict} | {lost} | {self.requests:.2f} | {busiest} | {self.refused:.0f}"


def worst(each: Collection[Figures]) -> Figures:
    """The worst of each figure."""
    return Figures(*map(max, zip(*each, strict=True)))


def percentile(delays: list[float], share: float) -> float:
    """The delay that this share does not exceed; 0 if there are none."""
    return sorted(delays)[max(0, ceil(share * len(delays)) - 1)] if delays else 0.0
