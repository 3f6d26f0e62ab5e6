"""`reap` finds the servers that a dead process left behind."""

import asyncio
import json
import os

import pytest
from click.testing import CliRunner, Result

from edgegap_async import EdgegapSession
from edgegap_async.cli.program import program
from edgegap_async.simulator import Fault, Simulator


@pytest.fixture(autouse=True)
def account(edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    return edgegap_simulator


def run(*args: str) -> Result:
    return CliRunner().invoke(program, ["reap", *args], catch_exceptions=False)


def deployed(*tags: str) -> list[str]:
    """Deploy a server for each tag and return the request IDs."""

    async def deploy() -> list[str]:
        async with EdgegapSession() as edgegap:
            calls = (
                edgegap.deployments.deploy("game", "1", users=["192.0.2.1"], tags=[tag])
                for tag in tags
            )
            return [accepted.request_id for accepted in await asyncio.gather(*calls)]

    return asyncio.run(deploy())


def test_reap_lists_and_stops_nothing(account: Simulator) -> None:
    first, second, _ = deployed("a", "b", "c")

    result = run("a", "b")

    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["request_id"] for line in lines} == {first, second}
    assert {tag for line in lines for tag in line["tags"]} >= {"a", "b"}
    assert (
        result.stderr
        == "found: 2 deployments; none was stopped, as --stop was not given\n"
    )
    assert not account.stopped()


def test_reap_with_stop_stops_the_servers_it_lists(account: Simulator) -> None:
    first, second, third = deployed("a", "b", "c")

    result = run("a", "b", "--stop")

    assert result.exit_code == 0
    assert {json.loads(line)["request_id"] for line in result.stdout.splitlines()} == {
        first,
        second,
    }
    assert result.stderr == "found: 2 deployments; stopped: 2\n"
    assert account.stopped() == {first, second}
    assert third in account.running()


def test_reap_reads_tags_from_standard_input(account: Simulator) -> None:
    first, second, third = deployed("a", "b", "c")

    result = CliRunner().invoke(
        program,
        ["reap", "c", "-", "--stop"],
        input="a\n\n b \n",
        catch_exceptions=False,
    )

    assert result.exit_code == 0
    assert account.stopped() == {first, second, third}
    assert CliRunner().invoke(program, ["reap", "-"], input="\n").exit_code == 2


def test_reap_that_finds_nothing_succeeds() -> None:
    result = run("a", "--stop")

    assert result.exit_code == 0
    assert not result.stdout
    assert result.stderr == "found: 0 deployments; stopped: 0\n"


def test_reap_names_servers_that_can_not_be_stopped(account: Simulator) -> None:
    first, second = deployed("a", "a")
    account.faults = [Fault("stop", "403-before", times=1)]

    result = run("a", "--stop")

    assert result.exit_code == 1
    (stopped,) = account.stopped()
    (left,) = {first, second} - {stopped}
    assert f"not stopped: {left}: " in result.stderr
    assert result.stderr.endswith("found: 2 deployments; stopped: 1\n")


@pytest.mark.parametrize("tags", [(), ("",), ("x" * 41,)])
def test_invalid_tags_send_no_request(
    tags: tuple[str, ...], account: Simulator
) -> None:
    result = run(*tags, "--stop")

    assert result.exit_code == 2
    assert "tag" in result.stderr.lower()
    assert account.arrivals("list") == 0


def test_a_missing_token_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN")

    result = run("a")

    assert result.exit_code == 2
    assert "EDGEGAP_API_TOKEN" in result.stderr


def test_an_api_error_is_printed_without_the_token(account: Simulator) -> None:
    account.faults = [Fault("list", "403-before")]

    result = run("a")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert os.environ["EDGEGAP_API_TOKEN"] not in result.output
