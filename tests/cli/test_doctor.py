"""`doctor` says what differs from what is assumed, and `simulate --like` behaves so."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from edgegap_async.doctor import Diagnosis
from edgegap_async.simulator import Simulator

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
    from edgegap_async.simulator import Fault

    account.add_fault(Fault("deploy", "403-before"))
    path = tmp_path / "doctor.json"
    result = edgegap("doctor", "--deploy", "game", "1", "--output", str(path))
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert Diagnosis.from_json(path.read_text()).value("token") is True


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--webhook-url", "https://x.example"], "--webhook-url needs --deploy"),
        (["--deploy", "game", "1", "--user", "nobody"], "nobody"),
        (["--deploy", "game", "1", "--webhook-url", "nothing"], "webhook"),
        (["--output", "/nowhere/at/all"], "--output"),
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
