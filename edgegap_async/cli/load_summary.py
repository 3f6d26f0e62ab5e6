"""The summary of a load test in words. This module does no I/O."""

from collections.abc import Iterator

from ..load import Report, ThresholdResult, Times
from ..load.words import counted, limit_sentence

NAMES = {
    "queued": "wait for the limit",
    "accepted_after": "until accepted",
    "ready_after": "until ready",
    "total": "from due to ready",
}


def summary_lines(report: Report) -> Iterator[str]:
    """Yield the lines of the summary."""
    counts = report.counts
    if report.error:
        yield f"ended early: {report.error}"
    yield (
        f"{counts.ready} of {counts.due} servers were ready, {counts.failed} failed, "
        f"in {report.seconds:.1f} s"
    )
    for it in report.failures:
        yield f"  failed: {it.count} {it.kind}, such as: {it.message}"
    deploys = report.limits["deploy"]
    yield limit_sentence(deploys.allowed, deploys.busiest_second, deploys.refused)
    yield f"schedule kept: {100 * report.schedule_kept:.1f} % of the deploys were sent while they were due"
    if report.queued:
        yield from _table(report)
    yield from map(threshold_line, report.thresholds)
    yield f"stopped: {counted(counts.stopped, 'server')}"
    for state, ids in (("running", report.running), ("may run", report.not_stopped)):
        if ids:
            yield f"{state}: {counted(len(ids), 'server')}: {' '.join(ids)}"


def _table(report: Report) -> Iterator[str]:
    yield f"{'seconds':<22}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}"
    for field, name in NAMES.items():
        times: Times | None = getattr(report, field)
        if times:
            values = (times.p50, times.p90, times.p95, times.p99, times.max)
            yield f"  {name:<20}" + "".join(f"{value:>9.2f}" for value in values)


def threshold_line(result: ThresholdResult) -> str:
    """Say whether a threshold was met."""
    unit = f" {result.unit}" if result.unit else ""
    value = "no value" if result.value is None else f"{result.value:.4g}{unit}"
    return f"threshold {'met' if result.met else 'MISSED'}: {result.threshold}: {value}"
