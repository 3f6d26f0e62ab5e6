"""The examples run unchanged, in virtual time, and record what happened at the
simulator.
"""

import runpy
from collections.abc import Coroutine
from typing import Any

import pytest
from support.limiter_model import run
from support.paths import ROOT

import edgegap_async

EXAMPLES = ROOT / "examples"
TOKEN = "any-token"


def result_of_main(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The result of an example's `main` when the example runs as a program."""
    results: list[object] = []

    def run_here(main: Coroutine[Any, Any, object]) -> None:
        results.append(run(main))

    monkeypatch.setattr(edgegap_async, "run", run_here)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    (result,) = results
    return result


def test_the_prometheus_example_counts_attempts_and_calls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = result_of_main("metrics_prometheus.py", monkeypatch)
    samples = [sample for family in registry.collect() for sample in family.samples]
    values = {
        (sample.name, *sample.labels.values()): sample.value for sample in samples
    }
    counts = {
        labels: value
        for labels, value in values.items()
        if labels[0].endswith("_total") and labels[1:2] == ("deployments.deploy",)
    }
    assert counts == {
        ("edgegap_attempts_total", "deployments.deploy", "202"): 20,
        ("edgegap_attempts_total", "deployments.deploy", "429"): 2,
        ("edgegap_calls_total", "deployments.deploy", "ok", "user"): 20,
        ("edgegap_retries_total", "deployments.deploy"): 2,
    }
    assert values["edgegap_servers_ready_total",] == 20
    assert values["edgegap_ready_seconds_count",] == 20
    assert 20 * 2 < values["edgegap_ready_seconds_sum",] < 20 * 7
    assert values["edgegap_attempts_total", "deployments.status", "503"] == 3
    # The polls for the waiters.
    assert values["edgegap_calls_total", "deployments.list", "ok", "session"] > 0
    assert values["edgegap_queue_seconds_count", "deploy", "user"] == 20
    assert values["edgegap_round_trip_seconds_count", "deployments.deploy"] == 22
    out = capsys.readouterr().out
    for line in (
        'edgegap_attempts_total{operation="deployments.status",outcome="503"} 3.0',
        "edgegap_servers_stopped_total 20.0",
        'edgegap_limit_requests_per_second{limit="deploy"} 40.0',
        'edgegap_limit_waiting_calls{limit="status"} 0.0',
        "edgegap_servers_held 0.0",
    ):
        assert line in out
    assert TOKEN not in out
    assert all("request_id" not in sample.labels for sample in samples)


def test_the_opentelemetry_example_records_calls_and_their_attempts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spans = result_of_main("traces_opentelemetry.py", monkeypatch)
    (match,) = [span for span in spans if span.name == "start a match"]
    of_match = [
        span.name
        for span in spans
        if span.parent and span.parent.span_id == match.context.span_id
    ]
    assert of_match == ["deployments.deploy", "deployment ready"]
    (deploy,) = [span for span in spans if span.name == "deployments.deploy"]
    # The poll for the waiter, which fails once.
    (first, *_) = [span for span in spans if span.name == "deployments.status"]
    assert [link.context.span_id for link in first.links] == [deploy.context.span_id]
    assert [
        span.attributes["http.response.status_code"]
        for span in spans
        if span.parent and span.parent.span_id == first.context.span_id
    ] == [503, 200]
    out = capsys.readouterr().out
    assert [line[:32].strip() for line in out.splitlines()] == [
        span.name for span in spans
    ]
    assert TOKEN not in out


@pytest.mark.parametrize("name", [path.name for path in EXAMPLES.glob("*.py")])
def test_importing_an_example_does_nothing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = runpy.run_path(str(EXAMPLES / name))
    assert names["__doc__"].count(f"python examples/{name}") == 1
    assert capsys.readouterr().out == ""
