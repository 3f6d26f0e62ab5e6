"""A report of a load test whose figures are known."""

from edgegap_async.load import Counts, LimitCounts, PlanData, Ramp, Report, Times
from edgegap_async.load.recording import Recording
from edgegap_async.load.report import Histogram, Series, Window


def times(p50: float, p95: float) -> Times:
    parts = {"p50": p50, "p90": (p50 + p95) / 2, "p95": p95, "p99": p95 + 1}
    ranges = {name: (value - 0.1, value + 0.1) for name, value in parts.items()}
    return Times(count=99, max=p95 + 2, ranges=ranges, **parts)


def made_report() -> Report:
    """100 deploys in 10 s: one has failed, one request of 200 was refused."""
    kept = Recording().seconds["none"].values(12)
    queued, ready = times(0.1, 0.5), times(3.0, 4.0)
    return Report(
        started="2026-11-20T17:02:11Z",
        seconds=12.0,
        target="https://api.example",
        versions={"edgegap_async": "0.1.0"},
        plan=PlanData(
            application="game",
            version="1",
            users=1,
            ramp=Ramp(5, 15, 10),
            ready_timeout=300.0,
        ),
        counts=Counts(due=100, sent=100, accepted=99, ready=99, failed=1, stopped=99),
        schedule_kept=0.99,
        queued=queued,
        accepted_after=times(0.1, 0.2),
        ready_after=ready,
        total=times(3.1, 4.4),
        limits={
            "deploy": LimitCounts(
                allowed=40, requests=200, busiest_second=15, refused=1
            )
        },
        series=Series(
            due=kept,
            sent=kept,
            ready=kept,
            waiting=kept,
            in_flight=kept,
            running=kept,
            refused={"deploy": kept},
            failures={"DeploymentFailed": kept},
        ),
        windows=[
            Window(
                at=0.0,
                seconds=12.0,
                queued=queued,
                accepted_after=queued,
                ready_after=ready,
                total=ready,
            )
        ],
        histogram=Histogram(step=0.1, counts=[99], above=0),
        slowest=[],
        failures=[],
    )
