"""`reap` finds the servers that a dead process left behind."""

import json
import os
import signal
from collections.abc import Callable

import pytest
from cli.conftest import KeptLoop
from click.testing import Result

from edgegap_async.simulator import Fault, Simulator

pytestmark = pytest.mark.usefixtures("account")


def test_reap_lists_and_stops_nothing(
    account: Simulator, run: Callable[..., Result], deployed: Callable[..., list[str]]
) -> None:
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


def test_reap_with_stop_stops_the_servers_it_lists(
    account: Simulator, run: Callable[..., Result], deployed: Callable[..., list[str]]
) -> None:
    first, second, third = deployed("a", "b", "c")

    result = run("a", "b", "--stop")

    assert result.exit_code == 0
    assert {json.loads(line)["request_id"] for line in result.stdout.splitlines()} == {
        first,
        second,
    }
    assert result.stderr == "stopped: 2 deployments\n"
    assert account.stopped() == {first, second}
    assert third in account.running()


def test_reap_reads_tags_from_standard_input(
    account: Simulator, run: Callable[..., Result], deployed: Callable[..., list[str]]
) -> None:
    first, second, third = deployed("a", "b", "c")

    result = run("c", "-", "--stop", input="a\n\n b \n")

    assert result.exit_code == 0
    assert account.stopped() == {first, second, third}
    assert run("-", input="\n").exit_code == 2


def test_reap_that_finds_nothing_succeeds(run: Callable[..., Result]) -> None:
    result = run("a", "--stop")

    assert result.exit_code == 0
    assert not result.stdout
    assert result.stderr == ("stopped: 0 deployments\nno deployment has the tag: a\n")


def test_reap_names_servers_that_can_not_be_stopped(
    account: Simulator, run: Callable[..., Result], deployed: Callable[..., list[str]]
) -> None:
    first, second = deployed("a", "a")
    account.faults = [Fault("stop", "403-before", times=1)]

    result = run("a", "--stop")

    assert result.exit_code == 1
    (stopped,) = account.stopped()
    (left,) = {first, second} - {stopped}
    assert f"not stopped: {left}: " in result.stderr
    assert "\nstopped: 1 deployment\n" in result.stderr


@pytest.mark.parametrize("tags", [(), ("",), ("x" * 41,)])
def test_invalid_tags_send_no_request(
    tags: tuple[str, ...], account: Simulator, run: Callable[..., Result]
) -> None:
    result = run(*tags, "--stop")

    assert result.exit_code == 2
    assert "tag" in result.stderr.lower()
    assert account.arrivals("list") == 0


def test_a_missing_token_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN")

    result = run("a")

    assert result.exit_code == 2
    assert "EDGEGAP_API_TOKEN" in result.stderr


def test_an_api_error_is_printed_without_the_token(
    account: Simulator, run: Callable[..., Result]
) -> None:
    account.faults = [Fault("list", "403-before")]

    result = run("a")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert os.environ["EDGEGAP_API_TOKEN"] not in result.output


def test_reap_ends_in_time_and_names_what_it_could_not_stop(
    account: Simulator,
    run: Callable[..., Result],
    deployed: Callable[..., list[str]],
) -> None:
    ids = deployed("a", "a", "b")
    account.faults = [Fault("stop", "503-before")]

    result = run("a", "--stop", "--timeout", "20")

    assert result.exit_code == 1
    assert not result.stdout
    assert all(f"not stopped: {each}: " in result.stderr for each in ids[:2])
    assert ids[2] not in result.stderr
    assert not account.stopped()


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon"])
def test_an_invalid_timeout_sends_no_request(
    timeout: str, account: Simulator, run: Callable[..., Result]
) -> None:
    result = run("a", "--stop", "--timeout", timeout)

    assert result.exit_code == 2
    assert "timeout" in result.stderr
    assert account.arrivals("list") == 0


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
def test_an_interrupted_reap_says_what_was_stopped(
    number: signal.Signals,
    seconds: float,
    loop: KeptLoop,
    account: Simulator,
    run: Callable[..., Result],
    deployed: Callable[..., list[str]],
) -> None:
    ids = {*deployed(*["a"] * 120)}
    loop.call_later(seconds, signal.raise_signal, number)

    result = run("a", "--stop")

    assert result.exit_code == 130
    printed = {json.loads(line)["request_id"] for line in result.stdout.splitlines()}
    assert printed <= account.stopped() < ids
    named = {it for it in ids - printed if f"not stopped: {it}: " in result.stderr}
    assert account.stopped() <= printed | named
    assert f"stopped: {len(printed)} deployments\n" in result.stderr
    assert result.stderr.endswith("interrupted: there may be more\n")
    assert "Traceback" not in result.output
