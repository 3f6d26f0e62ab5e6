"""A real launch needs a token that the API accepts. It never becomes a simulated one."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from edgegap_async.cli.program import program
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

LINE = '{"match_id": "%s", "players": ["192.0.2.1"]}\n'
REAL = ["--application", "game", "--version", "1"]


def launch(*args: str, matches: int = 3, loop: object = None) -> Result:
    lines = "".join(LINE % number for number in range(matches))
    return CliRunner().invoke(
        program, ["launch", "-", *args], input=lines, obj=loop, catch_exceptions=False
    )


@pytest.mark.parametrize(
    "args", [REAL, REAL[:2], REAL[2:], [*REAL, "--stop"], ["--application", ""]]
)
@pytest.mark.parametrize("token", [None, "", "  "])
def test_a_real_launch_without_a_token_is_refused(
    args: list[str], token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("EDGEGAP_API_TOKEN", token)
    result = launch(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "EDGEGAP_API_TOKEN is not set" in result.stderr
    assert "--simulate" in result.stderr


@pytest.mark.parametrize("args", [[], ["--simulate"], [*REAL, "--simulate"]])
def test_a_simulated_launch_needs_no_token(
    args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    result = launch(*args, loop=VirtualTimeLoop)
    assert result.exit_code == 0
    assert "no real server is started" in result.stderr


@pytest.mark.edgegap_simulator(token="the-right-token")
def test_the_first_401_ends_a_launch_with_one_line(
    edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "the-wrong-token")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    result = launch(*REAL, matches=200, loop=asyncio.new_event_loop)
    assert result.exit_code == 2
    refused = [line for line in result.stderr.splitlines() if "401" in line]
    assert len(refused) == 1
    assert "EDGEGAP_API_TOKEN" in refused[0]
    assert "failed:" not in result.stderr
    assert "the-wrong-token" not in result.output
    assert edgegap_simulator.deployed() == ()


@pytest.mark.edgegap_simulator(ready_after=(0.0, 0.1))
def test_a_token_that_is_revoked_midway_leaves_no_server_unnamed(
    edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    edgegap_simulator.faults = [Fault("deploy", "401", 0.3)]
    result = launch(*REAL, "--stop", matches=60, loop=asyncio.new_event_loop)
    assert result.exit_code == 1
    assert len([line for line in result.stderr.splitlines() if "401" in line]) == 1
    assert edgegap_simulator.arrivals("deploy") < 60
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()} != set()
