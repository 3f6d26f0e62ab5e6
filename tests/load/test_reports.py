"""Figures, thresholds and comparisons of reports."""

import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs
from support.load_reports import made_report

from edgegap_async.load import Report, Threshold, check, compare
from edgegap_async.load.figures import (
    confidence_interval,
    histogram_of,
    percentile,
    times_of,
)

values = st.lists(st.floats(0, 1000), min_size=1, max_size=300)


@given(values)
def test_percentiles_are_values_and_rise(given_values: list[float]) -> None:
    times = times_of(given_values)
    assert times
    assert times.p50 <= times.p90 <= times.p95 <= times.p99 <= times.max
    assert {times.p50, times.p99, times.max} <= {*given_values}
    for name, (low, high) in times.ranges.items():
        assert low <= getattr(times, name) <= high


def test_known_percentiles() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, it) for it in (0.5, 0.9, 0.95, 0.99)] == [
        50,
        90,
        95,
        99,
    ]
    assert percentile([7.0], 0.99) == 7
    assert times_of([]) is None
    low, high = confidence_interval(ordered, 0.5)
    assert 38 <= low < 50 < high <= 62


@given(values)
@example([5e-324])
def test_a_histogram_counts_each_value_once(given_values: list[float]) -> None:
    histogram = histogram_of(given_values)
    assert histogram
    assert sum(histogram.counts) + histogram.above == len(given_values)
    assert len(histogram.counts) <= 60


def test_one_value_far_off_does_not_flatten_a_histogram() -> None:
    histogram = histogram_of([*(number / 100 for number in range(1000)), 10_000.0])
    assert histogram
    assert histogram.above == 1
    assert sum(count > 0 for count in histogram.counts) >= 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ready_p95",
        "ready_p95<",
        "ready_p95<5%",
        "ready_p96<5s",
        "redy_p95<5s",
        "failed<1s",
        "failed<-1%",
        "schedule_kept>0.95",
        "ready_p95=5s",
        "ready_p95<5s and more",
        "ready_p95<1e3s",
        "ready_p95<nan",
        "5s>ready_p95",
    ],
)
def test_what_is_no_threshold_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Threshold.parse(text)


def test_a_misspelt_metric_names_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean ready_p95\?"):
        Threshold.parse("redy_p95<5s")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("ready_p95<5s", True),
        ("ready_p95<4s", False),
        ("ready_p95<=4s", True),
        ("ready_p95 < 4001 ms", True),
        ("queued_max<1m", True),
        ("total_p50>100", False),
        ("failed<1%", False),
        ("failed<=1%", True),
        ("failed<2", True),
        ("failed>=2", False),
        ("refused<1%", True),
        ("refused<=0", False),
        ("schedule_kept>95%", True),
        ("schedule_kept>=99.5%", False),
    ],
)
def test_thresholds(text: str, met: bool) -> None:
    """Of a report with a p95 of 4 s, 1 of 100 failed, 1 of 200 refused, 99 % kept."""
    report = check(made_report(), [Threshold.parse(text)])
    assert [it.met for it in report.thresholds] == [met]
    assert report.thresholds[0].threshold == text


def test_a_threshold_is_missed_if_nothing_was_ready() -> None:
    report = structs.replace(made_report(), ready_after=None)
    checked = check(report, [Threshold.parse("ready_p95<5s")])
    assert [(it.met, it.value) for it in checked.thresholds] == [(False, None)]


def verdicts(before: Report, after: Report) -> dict[str, str]:
    return {it.name: it.verdict for it in compare(before, after)}


def report_with(seed: int, mean: float, **changes: Any) -> Report:
    chosen = random.Random(seed)
    times = times_of(chosen.gauss(mean, 1) for _ in range(500))
    return structs.replace(made_report(), ready_after=times, **changes)


def test_a_report_equals_itself() -> None:
    assert {*verdicts(made_report(), made_report()).values()} == {"same"}


def test_two_tests_of_the_same_api_differ_by_chance_alone() -> None:
    found = verdicts(report_with(1, 20), report_with(2, 20))
    assert {found[f"ready_{it}"] for it in ("p50", "p90", "p95", "p99")} == {"chance"}


def test_a_slower_api_is_worse_and_a_faster_one_better() -> None:
    fast, slow = report_with(1, 20), report_with(2, 22)
    assert verdicts(fast, slow)["ready_p95"] == "worse"
    assert verdicts(slow, fast)["ready_p95"] == "better"


def test_counts_close_to_each_other_are_chance() -> None:
    def failing(count: int) -> Report:
        report = made_report()
        counts = structs.replace(
            report.counts, due=1000, failed=count, ready=1000 - count
        )
        return structs.replace(report, counts=counts)

    assert verdicts(failing(10), failing(14))["failed"] == "chance"
    assert verdicts(failing(10), failing(40))["failed"] == "worse"
    assert verdicts(failing(10), failing(40))["ready"] == "worse"
    assert verdicts(failing(40), failing(10))["failed"] == "better"


def test_a_schedule_that_is_kept_less_is_worse() -> None:
    def kept(share: float) -> Report:
        return structs.replace(made_report(), schedule_kept=share)

    assert verdicts(kept(0.99), kept(0.985))["schedule_kept"] == "same"
    assert verdicts(kept(0.99), kept(0.9))["schedule_kept"] == "worse"
    assert verdicts(kept(0.9), kept(0.99))["schedule_kept"] == "better"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no report"),
        ("[]", "no report"),
        ("{}", "no report"),
        ('{"format": "edgegap-load/9"}', "edgegap-load/9"),
        ('{"format": "edgegap-load/1"}', "no report"),
        ('{"format": 1}', "no report"),
    ],
)
def test_what_is_no_report_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Report.from_json(text)


def test_a_report_of_a_later_version_may_have_more_fields() -> None:
    plain = json.loads(made_report().to_json())
    plain["new"] = 1
    assert Report.from_json(json.dumps(plain)) == made_report()
