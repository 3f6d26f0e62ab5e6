"""The page of a report: one file that asks for nothing, with everything escaped."""

import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.load_reports import made_report
from support.owning import PLAYERS

from edgegap_async import (
    DeploymentFailed,
    DeployOutcome,
    DeployRequest,
    ReadyDeployment,
)
from edgegap_async.load import (
    FailureKind,
    LimitCounts,
    LocationCount,
    Plan,
    Report,
    Threshold,
    check,
)
from edgegap_async.load.building import report_of
from edgegap_async.load.page import page_of
from edgegap_async.load.recording import Recording
from edgegap_async.load.report import Slow
from edgegap_async.load.svg import Plot, line, round_up, tick_step

REQUEST = DeployRequest("game", "1", users=PLAYERS)
VOID = {"meta", "link", "br"}
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """What a browser sees of a page.

    Attributes:
        tags: the names of all elements.
        text: everything that is shown.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def big_report(deploys: int, rate: float = 40) -> Report:
    """The report of so many deploys, as a test makes it."""
    chosen, recording = random.Random(1), Recording()
    for number in range(deploys):
        due = number / rate
        request_id = f"{number:012x}"
        failed = number % 100 == 7
        ready = chosen.lognormvariate(1, 0.4)
        outcome = DeployOutcome(
            REQUEST,
            None if failed else ReadyDeployment(request_id=request_id),
            DeploymentFailed(request_id, "it crashed") if failed else None,
            ready,
            queued=chosen.random(),
            accepted_after=0.1,
            ready_after=None if failed else ready,
        )
        recording.add(outcome, due, due, due + ready)
        recording.refused["deploy"].add(due, number % 3)
    return report_of(
        recording,
        Plan(request=REQUEST, rate=rate, count=deploys),
        seconds=deploys / rate + 30,
        due_until=deploys / rate,
        target="https://api.example",
        limits={
            "deploy": LimitCounts(
                allowed=40, requests=deploys, busiest_second=40, refused=deploys
            )
        },
    )


def test_the_page_asks_for_nothing_and_has_no_script() -> None:
    page = Page(page_of(big_report(500)))
    assert not {"script", "img", "iframe", "object", "form", "a"} & {*page.tags}
    names = dict(page.attributes)
    assert not {"src", "onload", "onclick"} & {*names}
    links = {value for name, value in page.attributes if name == "href"}
    assert links == {"data:,", "#miss"}
    assert "url(" not in page_of(big_report(500))
    assert "default-src 'none'" in (
        dict(page.attributes).get("content") or page_of(made_report())
    )


def test_the_page_has_all_charts_and_figures() -> None:
    report = check(big_report(500), [Threshold.parse("failed<9%")])
    text = Page(page_of(report)).text
    for title in (
        "Deploys per second",
        "In flight and ready",
        "Refused (429) by limit",
        "Percentiles over time",
        "Distribution",
        "Wait for the limit",
        "Time of the API until ready",
        "Failures by kind",
        "Slowest 20",
        "Plan and versions",
        "Passed: 1 threshold met.",
        "DeploymentFailed",
        "Limit kept: 40 deploys in the busiest second (40 allowed), 500 refused.",
    ):
        assert title in text
    assert f"{report.counts.ready:,}" in text


def evil(report: Report) -> Report:
    """The report with markup in every text that comes from outside."""
    failure = FailureKind(
        kind=EVIL, count=1, first=0.0, last=1.0, message=EVIL, request_ids=[EVIL]
    )
    slow = Slow(
        request_id=EVIL, due=1.0, queued=1.0, accepted_after=1.0, ready_after=2.0
    )
    result = structs.replace(Threshold.parse("failed<1%").check(report), threshold=EVIL)
    series = structs.replace(report.series, failures={EVIL: report.series.due})
    return structs.replace(
        report,
        started=EVIL,
        target=EVIL,
        error=EVIL,
        versions={EVIL: EVIL, "edgegap_async": EVIL},
        plan=structs.replace(report.plan, application=EVIL, version=EVIL, tags=(EVIL,)),
        series=series,
        failures=[failure],
        slowest=[slow],
        thresholds=[result],
        running=[EVIL],
        not_stopped=[EVIL],
    )


def test_everything_from_outside_is_escaped() -> None:
    page = Page(page_of(evil(made_report())))
    assert not {"script", "img"} & {*page.tags}
    assert "onerror" not in dict(page.attributes)
    # Each of them is shown as it is.
    assert page.text.count("<script>alert(1)</script>") >= 12


@given(st.text(max_size=30))
def test_any_name_leaves_the_page_whole(name: str) -> None:
    report = made_report()
    plan = structs.replace(report.plan, application=name, tags=(name,))
    Page(page_of(structs.replace(report, plan=plan)))


def test_servers_are_on_a_map_and_in_a_table() -> None:
    spots = [("Montréal", "Canada", 45.5, -73.6, 8), ("", "", -33.9, 151.2, 2)]
    locations = [
        LocationCount(
            city=city, country=country, latitude=x, longitude=y, servers=servers
        )
        for city, country, x, y, servers in spots
    ]
    page = page_of(structs.replace(made_report(), locations=locations))
    seen = Page(page)
    assert "The locations of 10 servers" in seen.text
    assert "Montréal, Canada880.0 %" in seen.text
    assert "-33.9, 151.2220.0 %" in seen.text
    # x grows to the east and y to the south.
    map_ = page.partition('class="map"')[2]
    first, second = re.findall(
        r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', map_
    )
    assert float(first[0]) < float(second[0])
    assert float(first[1]) < float(second[1])
    assert float(first[2]) == pytest.approx(2 * float(second[2]), abs=0.1)


def test_a_test_without_any_deploy_has_a_page() -> None:
    report = report_of(
        Recording(),
        Plan(request=REQUEST, rate=1, hold=5),
        seconds=0.2,
        due_until=0.0,
        target="https://api.example",
        limits={
            "deploy": LimitCounts(allowed=None, requests=0, busiest_second=0, refused=0)
        },
    )
    report = structs.replace(report, interrupted=True)
    assert "The test was interrupted." in Page(page_of(report)).text
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("seconds", "shown"), [(65.0, "for 1:05 min."), (3605.0, "for 1:00:05 h.")]
)
def test_the_length_of_a_test_has_its_unit(seconds: float, shown: str) -> None:
    report = structs.replace(made_report(), seconds=seconds)
    assert shown in Page(page_of(report)).text


@pytest.mark.slow
def test_a_page_of_ten_thousand_deploys_is_small() -> None:
    report = big_report(10_000)
    assert len(page_of(report)) < 400_000
    assert len(report.to_json()) < 400_000


@pytest.mark.full
@pytest.mark.slow
def test_the_memory_of_a_hundred_thousand_deploys_is_bounded() -> None:
    report = big_report(100_000)
    assert len(report.windows) <= 60
    assert len(report.slowest) == 20
    assert len(report.to_json()) < 1_000_000
    # Columns for several seconds each.
    assert len(re.findall(r'class="hit"', page_of(report))) < 2000


@given(st.floats(1e-3, 1e7))
def test_axes_end_above_their_values_at_a_round_number(value: float) -> None:
    top, step = round_up(value), tick_step(value)
    assert value <= top * (1 + 1e-9)
    assert top <= value + step * (1 + 1e-9)
    assert float(f"{step:.1g}") == pytest.approx(step)


def test_a_window_without_neighbours_is_a_line_as_wide_as_the_window() -> None:
    """A point would not be seen: a short test has one window."""
    plot = Plot(10.0, 4.0)
    assert 'd="M0 50H30"' in line([(1.5, 2.0)], "p50", plot, width=3.0)
    with_gap = line([(1.5, 2.0), (4.5, None), (7.5, 3.0)], "p50", plot, width=3.0)
    assert 'd="M0 50H30M60 25H90"' in with_gap
    together = line([(1.5, 2.0), (4.5, 3.0)], "p50", plot, width=3.0)
    assert 'd="M15 50L45 25"' in together
