"""Makes the report of a recording. This module does no I/O."""

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib import metadata
from itertools import accumulate
from math import ceil, isnan

from .._limits.config import LimitUsage
from .._version import __version__
from ..endpoints import LimitName
from .figures import histogram_of, times_of
from .plan import Plan
from .recording import Recording
from .report import Counts, LimitCounts, PlanData, Report, Series, Window

# Windows of the percentiles over time, at most, and their least length in seconds.
MOST_WINDOWS = 60
LEAST_WINDOW = 3.0


def versions() -> dict[str, str]:
    """The versions of what took part."""
    return {
        "edgegap_async": __version__,
        "aiohttp": metadata.version("aiohttp"),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }


def report_of(
    recording: Recording,
    plan: Plan,
    *,
    seconds: float,
    due_until: float,
    target: str,
    limits: Mapping[LimitName, LimitCounts],
) -> Report:
    """Return the report of a test that has ended by itself.

    Args:
        seconds: how long it took.
        due_until: seconds from its beginning for which deploys were due.
    """
    due = _due_by_second(plan, seconds, due_until)
    counts = _counts(recording, sum(due))
    in_time = sum(sent <= due_until for sent in recording.sent_by)
    totals = _totals(recording)
    return Report(
        started=_started(seconds),
        seconds=seconds,
        target=target,
        versions=versions(),
        plan=PlanData.of(plan),
        counts=counts,
        schedule_kept=in_time / max(counts.due, 1),
        queued=times_of(recording.queued),
        accepted_after=times_of(_known(recording.accepted_after)),
        ready_after=times_of(_known(recording.ready_after)),
        total=times_of(totals),
        limits=dict(limits),
        series=_series(recording, due, due_until),
        windows=_windows(recording),
        histogram=histogram_of(totals),
        slowest=recording.slowest,
        failures=sorted(recording.failures.values(), key=lambda it: -it.count),
    )


def limit_counts(
    before: Mapping[LimitName, LimitUsage], after: Mapping[LimitName, LimitUsage]
) -> dict[LimitName, LimitCounts]:
    """Return the requests under each limit between two looks at them."""
    return {
        name: LimitCounts(
            # The rate may have adapted since.
            allowed=before[name].rate,
            requests=used.sent - before[name].sent,
            busiest_second=used.busiest_second,
            refused=used.refused - before[name].refused,
        )
        for name, used in after.items()
    }


def _started(seconds: float) -> str:
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    return started.strftime("%Y-%m-%dT%H:%M:%SZ")


def _due_by_second(plan: Plan, seconds: float, due_until: float) -> list[int]:
    due = [0] * max(ceil(seconds), 1)
    for time in plan.due_times():
        if time > due_until:
            break
        due[min(int(time), len(due) - 1)] += 1
    return due


def _counts(recording: Recording, due: int) -> Counts:
    return Counts(
        due=max(due, recording.outcomes),
        sent=len(recording.due),
        accepted=len(_known(recording.accepted_after)),
        ready=recording.ready,
        failed=recording.failed,
        stopped=recording.stopped,
    )


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not isnan(value)]


def _totals(recording: Recording) -> list[float]:
    pairs = zip(recording.queued, recording.ready_after, strict=True)
    return [queued + ready for queued, ready in pairs if not isnan(ready)]


def _series(recording: Recording, due: list[int], due_until: float) -> Series:
    length = len(due)
    counted = {
        name: recording.seconds[name].values(length)
        for name in ("sent", "done", "ready", "stopped")
    }
    sent = counted["sent"]
    # Those that were never sent were withdrawn when the test was ended early.
    waited = [*sent]
    waited[min(int(due_until), length - 1)] += max(sum(due) - sum(sent), 0)
    return Series(
        due=due,
        sent=sent,
        ready=counted["ready"],
        waiting=_left(due, waited),
        in_flight=_left(sent, counted["done"]),
        running=_left(counted["ready"], counted["stopped"]),
        refused={name: it.values(length) for name, it in recording.refused.items()},
        failures={
            kind: it.values(length) for kind, it in recording.failures_by_second.items()
        },
    )


def _left(came: list[int], went: list[int]) -> list[int]:
    """Return how many are left at the end of each second."""
    pairs = zip(accumulate(came), accumulate(went), strict=True)
    return [max(one - other, 0) for one, other in pairs]


def _windows(recording: Recording) -> list[Window]:
    if not recording.due:
        return []
    end = max(recording.due)
    width = max(float(ceil(end / MOST_WINDOWS)), LEAST_WINDOW)
    rows: list[list[int]] = [[] for _ in range(int(end / width) + 1)]
    for row, due in enumerate(recording.due):
        rows[int(due / width)].append(row)
    return [
        _window(recording, number * width, width, chosen)
        for number, chosen in enumerate(rows)
    ]


def _window(recording: Recording, at: float, seconds: float, rows: list[int]) -> Window:
    ready = [row for row in rows if not isnan(recording.ready_after[row])]
    return Window(
        at=at,
        seconds=seconds,
        queued=times_of(recording.queued[row] for row in rows),
        accepted_after=times_of(_known(recording.accepted_after[row] for row in rows)),
        ready_after=times_of(recording.ready_after[row] for row in ready),
        total=times_of(
            recording.queued[row] + recording.ready_after[row] for row in ready
        ),
    )
