"""A load test: deploys requests by a schedule, and reports what came of them.

    plan = load.Plan(request=DeployRequest("my-game", "1.0", users=players), rate=40, hold=60)
    report = await load.run(plan, session)
    print(report.ready_after)

The model is open: each request is due at a time of the plan, however slowly earlier ones
are answered. The wait until a request could be sent (`queued`) is reported apart from the
time of the API (`accepted_after`, `ready_after`), and `total` is counted from when it was
due. So a slow API cannot make the test slower and thereby look fast.
"""

# plan.py        the plan, and when its requests are due
# runner.py      runs it; `servers.py` stops each server after its lifetime
# recording.py   records what happens; `report.py` is its result, made by `building.py`
# figures.py     percentiles, their confidence intervals, histograms
# thresholds.py  conditions that a report must meet
# compare.py     the differences of two reports
# page.py        a report as HTML; `page_charts.py` and `svg.py` draw its charts
# words.py       texts that the page and the command line share

from .compare import Difference, compare
from .plan import Plan, Ramp
from .report import (
    Counts,
    FailureKind,
    Histogram,
    LimitCounts,
    LocationCount,
    PlanData,
    Report,
    Series,
    Slow,
    ThresholdResult,
    Times,
    Window,
)
from .runner import Progress, run
from .thresholds import Threshold, check

__all__ = [
    "Counts",
    "Difference",
    "FailureKind",
    "Histogram",
    "LimitCounts",
    "LocationCount",
    "Plan",
    "PlanData",
    "Progress",
    "Ramp",
    "Report",
    "Series",
    "Slow",
    "Threshold",
    "ThresholdResult",
    "Times",
    "Window",
    "check",
    "compare",
    "run",
]
