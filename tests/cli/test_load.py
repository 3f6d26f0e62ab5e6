"""`load` and `load compare`: options, exit codes, files, Ctrl-C and closed pipes."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import KeptLoop
from click.testing import CliRunner, Result
from support.load_reports import made_report

from edgegap_async import DeployRequest
from edgegap_async.cli.load_view import lines_of
from edgegap_async.cli.program import program
from edgegap_async.load import Plan, Progress, Report
from edgegap_async.load.words import limit_sentence
from edgegap_async.simulator import Simulator

Edgegap = Callable[..., Result]
AT_ONCE = pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0)
SHORT = ["--rate", "10", "--hold", "1s"]
GAME = ["--application", "game", "--version", "1"]


def load(edgegap: Edgegap, *options: str) -> Result:
    return edgegap("load", *GAME, *SHORT, *options)


@AT_ONCE
def test_a_test_ends_with_a_summary_in_words_and_nothing_runs(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = load(edgegap)
    assert result.exit_code == 0, result.output
    assert "10 of 10 servers were ready, 0 failed" in result.stdout
    assert (
        "limit kept: 10 deploys in the busiest second (40 allowed), 0 refused"
        in result.stdout
    )
    assert "stopped: 10 servers" in result.stdout
    assert account.running() == frozenset()
    assert account.tags_of(account.deployed()[0])[0] == "load-test"


def test_a_cap_under_which_the_test_would_never_end_is_refused(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = load(edgegap, "--max-running", "9")
    assert result.exit_code == 2
    assert "--lifetime is required" in result.stderr
    assert "--max-running" in result.stderr
    assert not account.deployed()


@AT_ONCE
def test_json_is_the_report_in_one_line(account: Simulator, edgegap: Edgegap) -> None:
    result = load(edgegap, "--json")
    (line,) = result.stdout.splitlines()
    assert Report.from_json(line).counts.ready == 10


@AT_ONCE
@pytest.mark.parametrize(
    ("threshold", "code"),
    [("ready_p95<9s", 0), ("total_max>9s", 3), ("failed<1%", 0), ("failed>1%", 3)],
)
def test_a_missed_threshold_is_exit_code_3(
    threshold: str, code: int, account: Simulator, edgegap: Edgegap
) -> None:
    result = load(edgegap, "--threshold", threshold)
    assert result.exit_code == code
    assert f"threshold {'MISSED' if code else 'met'}: {threshold}: " in result.stdout


@pytest.mark.edgegap_simulator(error_share=1.0, ready_after=(0.0, 0.0), stop_takes=0.0)
def test_a_failed_deploy_is_exit_code_1_unless_a_threshold_allows_it(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = load(edgegap)
    assert (result.exit_code, account.running()) == (1, frozenset())
    assert "failed: 10 DeploymentFailed" in result.stdout
    assert load(edgegap, "--threshold", "failed<=100%").exit_code == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--threshold", "redy_p95<5s"], "--threshold"),
        (["--threshold", "ready_p95<5s", "--threshold", "x"], "--threshold"),
        (["--ramp", "1:40:60"], "--rate or --ramp"),
        (["--ramp", "1:x:60"], "--ramp"),
        (["--ramp", "1:2:3:4"], "--ramp"),
        (["--lifetime", "0s"], "--lifetime"),
        (["--lifetime", "soon"], "--lifetime"),
        (["--hold", "90000h"], "--hold"),
        (["--user", "nobody"], "--user"),
        (["--tag", ""], "--tag"),
        (["--fault", "deploy:422"], "--simulate"),
        (["--output", "/does/not/exist.json"], "--output"),
        (["--output", "/"], "--output"),
        (["--report", "/does/not/exist.html"], "--report"),
        (["--application", " "], "--application"),
    ],
)
def test_a_wrong_option_is_named_before_anything_starts(
    options: list[str], named: str, account: Simulator, edgegap: Edgegap
) -> None:
    result = load(edgegap, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert named in line
    assert not account.deployed()


@pytest.mark.edgegap_simulator(token="right")
def test_a_refused_token_starts_nothing(account: Simulator, edgegap: Edgegap) -> None:
    result = load(edgegap, "--hold", "60s")
    assert result.exit_code == 2
    assert "ended early: " in result.stdout
    assert not account.deployed()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.edgegap_simulator(ready_after=(1.0, 4.0), stop_takes=0.0)
def test_an_interrupt_stops_all_servers_and_still_reports(
    number: signal.Signals, account: Simulator, edgegap: Edgegap, loop: KeptLoop
) -> None:
    loop.call_later(3, signal.raise_signal, number)
    result = load(edgegap, "--hold", "60s")
    assert result.exit_code == 130
    assert "interrupted: " in result.stderr
    assert 20 <= len(account.deployed()) <= 40
    assert account.stopped() == {*account.deployed()}
    assert f"stopped: {len(account.deployed())} servers" in result.stdout


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), delay_after=(0.5, 0.5))
def test_a_second_interrupt_names_what_is_left_running(
    account: Simulator, edgegap: Edgegap, loop: KeptLoop
) -> None:
    loop.call_later(8, signal.raise_signal, signal.SIGINT)
    loop.call_later(8.8, signal.raise_signal, signal.SIGINT)
    result = load(edgegap, "--hold", "60s", "--rate", "30")
    assert result.exit_code == 130
    left = account.running() - account.stopped()
    assert left
    named = result.stderr.partition("may still run: ")[2]
    assert all(request_id in named for request_id in left)


@AT_ONCE
def test_reports_can_be_compared(
    account: Simulator, edgegap: Edgegap, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    assert load(edgegap, "--output", str(path)).exit_code == 0
    result = edgegap("load", "compare", str(path), str(path), "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["verdict"] for row in rows} == {"same"}
    assert "ready_p95" in {row["name"] for row in rows}


@pytest.mark.parametrize("content", [None, "{}", '{"format": "edgegap-load/7"}'])
def test_what_is_no_report_is_named(content: str | None, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(made_report().to_json())
    if content is not None:
        bad.write_text(content)
    result = CliRunner().invoke(program, ["load", "compare", str(good), str(bad)])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "bad.json" in line


def test_the_sentence_about_the_limit() -> None:
    assert limit_sentence(40, 40, 0) == (
        "limit kept: 40 deploys in the busiest second (40 allowed), 0 refused"
    )
    assert limit_sentence(40, 41, 3).startswith("limit exceeded: 41")
    assert limit_sentence(None, 90, 0) == (
        "no limit: 90 deploys in the busiest second, 0 refused"
    )


def test_the_view_has_the_rates_the_failures_and_the_percentiles() -> None:
    progress = Progress(
        seconds=12.0,
        asked=40,
        reached=39,
        due=480,
        waiting=3,
        in_flight=90,
        running=300,
        ready=350,
        stopped=50,
        refused=2,
        failures={"DeploymentFailed": 4, "\x1b[2J": 1},
        ready_after=made_report().ready_after,
    )

    plan = Plan(request=DeployRequest("g", "1", users=["192.0.2.1"]), rate=1, hold=60)
    text = "\n".join(lines_of(progress, plan))
    for part in ("48 s left", "40/s asked", "39/s reached", "90 in flight", "p95 4.00"):
        assert part in text
    assert "4 DeploymentFailed" in text
    interrupted = lines_of(progress, plan, interrupted=True)[0]
    assert interrupted.endswith(" s, interrupted")
    assert "\x1b" not in text
