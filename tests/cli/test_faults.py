"""`--fault` of `simulate` and of a simulated `launch`."""

import json

import pytest
from click.testing import CliRunner, Result

from edgegap_async.cli.program import program
from edgegap_async.simulator import VirtualTimeLoop
from edgegap_async.simulator.faults import KINDS

LINES = "".join(
    f'{{"match_id": "m{n}", "players": ["192.0.2.1"]}}\n' for n in range(20)
)


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    monkeypatch.delenv("EDGEGAP_BASE_URL", raising=False)


def run(*args: str) -> Result:
    return CliRunner().invoke(
        program, args, input=LINES, obj=VirtualTimeLoop, catch_exceptions=False
    )


@pytest.mark.parametrize("command", [["simulate"], ["launch", "-", "--simulate"]])
@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        (["deploy"], "fault 'deploy' must be"),
        (
            ["deploy:cut-after", "depoly:cut-after"],
            "'depoly:cut-after': operation: there is no 'depoly': did you mean deploy?",
        ),
        (
            ["deploy:cutafter"],
            "kind: there is no 'cutafter': did you mean cut-after?",
        ),
        (
            ["deploy:melted"],
            "fault 'deploy:melted': kind: there is no 'melted'; there are: ok, ",
        ),
        (["deploy:cut-after:2"], "share must be from 0 to 1"),
        (["deploy:late:0.1"], "late takes a number of seconds"),
        (["deploy:cut-after:0.6", "deploy:502-after:0.6"], "add up to 1.2"),
    ],
)
def test_an_invalid_fault_is_named_and_nothing_runs(
    command: list[str], faults: list[str], problem: str
) -> None:
    result = run(*command, *(word for fault in faults for word in ("--fault", fault)))

    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.split())
    assert not result.stdout


def test_a_wrong_value_names_the_option_of_the_simulator() -> None:
    result = run("simulate", "--ready-after", "5", "2")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --ready-after must be")


def test_simulate_lists_every_kind_of_fault() -> None:
    result = run("simulate", "--faults")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(KINDS)
    assert all(
        kind.about in line
        for kind, line in zip(KINDS.values(), result.stdout.splitlines(), strict=True)
    )


def test_a_launch_gets_every_server_despite_faults() -> None:
    result = run(
        "launch",
        "-",
        "--simulate",
        "--fault",
        "deploy:cut-after:0.3",
        "--fault",
        "status:500-before:0.1",
    )

    assert result.exit_code == 0
    servers = [json.loads(line) for line in result.stdout.splitlines()]
    assert (
        len({server["request_id"] for server in servers})
        == len({server["match_id"] for server in servers})
        == 20
    )


def test_fault_needs_simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")

    result = run(
        "launch",
        "-",
        "--application",
        "game",
        "--version",
        "1",
        "--fault",
        "deploy:cut-after",
    )

    assert result.exit_code == 2
    assert (
        "--fault configures the simulator, so it requires --simulate" in result.stderr
    )
