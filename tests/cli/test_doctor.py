"""`doctor` says what differs from what is assumed, and `simulate --like` behaves so."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import KeptLoop
from click.testing import Result

from edgegap_async.cli.doctor import COLUMNS
from edgegap_async.cli.table import table_lines
from edgegap_async.doctor import Diagnosis, Finding
from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]


@pytest.mark.edgegap_simulator(neighbours=120)
def test_nothing_differs_in_the_simulator_by_default(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("doctor", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    found = {line["name"]: line["found"] for line in lines}
    assert found["token"] is True
    assert found["largest_page"] == 100
    assert "0 differ" in result.stderr
    assert not account.deployed()


@pytest.mark.edgegap_simulator(neighbours=120, max_page_size=25)
def test_what_differs_is_named_and_is_exit_code_3(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("doctor")
    assert result.exit_code == 3
    assert "differs: How many rows has a page at most? 25, not 100" in result.stderr
    assert result.stdout.splitlines()[0].split() == [
        "QUESTION",
        "FOUND",
        "ASSUMED",
        "NOTE",
    ]


@pytest.mark.edgegap_simulator(neighbours=120, max_page_size=25, ready_after=(0, 0))
def test_the_file_has_the_life_of_a_server_and_no_secret(
    account: Simulator, edgegap: Edgegap, tmp_path: Path
) -> None:
    path = tmp_path / "doctor.json"
    url = "https://hooks.example/secret-path?key=s3cret"
    result = edgegap(
        "doctor",
        "--deploy",
        "game",
        "1",
        "--webhook-url",
        url,
        "--output",
        str(path),
        env={"EDGEGAP_API_TOKEN": "made-up-t0ken"},
    )
    assert result.exit_code == 3, result.output
    text = path.read_text()
    diagnosis = Diagnosis.from_json(text)
    assert diagnosis.value("gone") == "404"
    assert diagnosis.value("largest_page") == 25
    assert diagnosis.value("request_id") == account.deployed()[0]
    for secret in ("made-up-t0ken", "s3cret", "secret-path"):
        assert secret not in text + result.output
    assert account.running() - account.stopped() == frozenset()


@pytest.mark.edgegap_simulator(neighbours=5, ready_after=(0, 0))
def test_a_deploy_that_is_refused_is_an_error_after_the_other_findings(
    account: Simulator, edgegap: Edgegap, tmp_path: Path
) -> None:
    account.add_fault(Fault("deploy", "403-before"))
    path = tmp_path / "doctor.json"
    result = edgegap("doctor", "--deploy", "game", "1", "--output", str(path))
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert Diagnosis.from_json(path.read_text()).value("token") is True


@pytest.mark.edgegap_simulator(ready_after=(60.0, 60.0))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_server_and_shows_what_was_found(
    number: signal.Signals, account: Simulator, edgegap: Edgegap, loop: KeptLoop
) -> None:
    loop.call_later(9.0, signal.raise_signal, number)
    result = edgegap("doctor", "--deploy", "game", "1")
    assert result.exit_code == 130, result.output
    assert account.stopped() == {*account.deployed()} != set()
    assert "Is the token accepted?" in result.stdout


@pytest.mark.edgegap_simulator(ready_after=(60.0, 60.0))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_an_interrupt_can_not_stop_is_named_and_is_exit_code_1(
    number: signal.Signals, account: Simulator, edgegap: Edgegap, loop: KeptLoop
) -> None:
    account.add_fault(Fault("stop", "500-before"))
    loop.call_later(9.0, signal.raise_signal, number)
    result = edgegap("doctor", "--deploy", "game", "1", "--quiet")
    assert result.exit_code == 1, result.output
    (request_id,) = account.deployed()
    assert f"not stopped: {request_id}" in result.stderr.splitlines()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(1.0, 1.0))
def test_a_server_that_can_not_be_stopped_is_named_and_is_exit_code_1(
    account: Simulator, edgegap: Edgegap
) -> None:
    account.add_fault(Fault("stop", "500-before"))
    result = edgegap("doctor", "--deploy", "game", "1")
    assert result.exit_code == 1, result.output
    (request_id,) = account.deployed()
    assert result.stderr.count(f"not stopped: {request_id}") == 1
    assert "Which states has it?" in result.stdout


@pytest.mark.edgegap_simulator(enforcement="token-bucket", retry_after=3.0)
def test_limits_are_measured_and_written(
    account: Simulator, edgegap: Edgegap, tmp_path: Path
) -> None:
    path = tmp_path / "doctor.json"
    result = edgegap("doctor", "--limits", "--yes", "--output", str(path))
    assert result.exit_code == 3, result.output
    diagnosis = Diagnosis.from_json(path.read_text())
    assert diagnosis.value("token") is True
    assert diagnosis.value("enforcement") == "token-bucket"
    assert diagnosis.value("list_rate") == 10
    assert diagnosis.value("retry_after") == 3
    told = "differs: How are lists counted against their limit? token-bucket, not"
    assert told in result.stderr


def test_limits_are_not_measured_unless_asked_for(
    account: Simulator, edgegap: Edgegap
) -> None:
    edgegap("doctor")
    assert account.counts()["limits"]["list"]["refused"] == 0


def test_limits_need_a_terminal_or_yes(account: Simulator, edgegap: Edgegap) -> None:
    result = edgegap("doctor", "--limits")
    assert result.exit_code == 2, result.output
    assert "add --yes; nothing was sent" in result.stderr
    assert account.counts()["limits"]["list"]["arrivals"] == 0


def test_simulated_limits_need_no_agreement(edgegap: Edgegap) -> None:
    result = edgegap("doctor", "--simulate", "--limits", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    found = {line["name"]: line["found"] for line in lines}
    assert (found["enforcement"], found["list_rate"]) == ("sliding-window", 10)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--webhook-url", "https://x.example"], "--webhook-url needs --deploy"),
        (["--deploy", "game", "1", "--user", "nobody"], "nobody"),
        (["--deploy", "game", "1", "--webhook-url", "nothing"], "webhook"),
        (["--output", "/nowhere/at/all"], "there is no directory"),
        (["--deploy", "game", "1", "--output", "/nowhere/at/all"], "no directory"),
        (["--yes"], "--yes needs --limits"),
    ],
)
@pytest.mark.usefixtures("account")
def test_wrong_arguments_start_nothing(
    args: list[str], told: str, edgegap: Edgegap, account: Simulator
) -> None:
    result = edgegap("doctor", *args)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert not account.deployed()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is no diagnosis"),
        ('{"format": "edgegap-load/1"}', "its format is"),
        (
            json.dumps(
                {
                    "format": "edgegap-doctor/1",
                    "checked": "",
                    "target": "",
                    "findings": [{"name": "gone", "question": "", "found": 5}],
                }
            ),
            "gone must be one of",
        ),
    ],
)
def test_a_file_that_is_no_diagnosis_is_refused(
    content: str, told: str, edgegap: Edgegap, tmp_path: Path
) -> None:
    path = tmp_path / "doctor.json"
    path.write_text(content)
    result = edgegap("simulate", "--like", str(path))
    assert result.exit_code == 2, result.output
    assert told in result.stderr


def test_no_question_is_cut_on_a_narrow_terminal() -> None:
    states = ", ".join(["INITIALIZING", "SEEKING", "SEEKED", "SCANNING", "DEPLOYING"])
    note = "there are too few deployments: 12"
    question = "What does its status look like after the stop, as far as it is seen?"
    rows = [
        Finding(name="states", question="Which states has it?", found=states),
        Finding(name="gone", question=question, found="404", assumed="404", note=note),
    ]
    lines = list(table_lines(COLUMNS, rows, width=80))
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)
    words = " ".join(lines).split()
    assert {*question.split(), *note.split(), *states.split()} <= {*words}
