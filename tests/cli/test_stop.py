"""`stop` stops what was named or chosen, and nothing else."""

import json
import signal
from collections.abc import Callable

import pytest
from cli.conftest import KeptLoop
from click.testing import Result

from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]


def test_named_deployments_are_stopped(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    first, second, third = deployed("a", "a", "a")
    result = edgegap("stop", first, second, first, "--yes")
    assert result.exit_code == 0
    assert {*result.stdout.split()} == {first, second} == account.stopped()
    assert result.stderr == "stopped: 2 deployments\n"
    assert third in account.running()


def test_a_tag_stops_its_deployments_only(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    first, second, third = deployed("a", "b", "c")
    result = edgegap("stop", "--tag", "a", "--tag", "b", "--yes", "--json")
    assert result.exit_code == 0
    assert [*map(json.loads, sorted(result.stdout.splitlines()))] == [
        {"request_id": each, "stopped": True} for each in sorted([first, second])
    ]
    assert third in account.running()


@pytest.mark.edgegap_simulator(neighbours=12, stop_takes=0.0)
def test_an_age_stops_older_deployments_only(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    deployed("a")
    result = edgegap("stop", "--older-than", "30m", "--yes")
    assert result.exit_code == 0
    assert 5 <= len(account.stopped()) <= 7
    assert f"stopped: {len(account.stopped())} deployments" in result.stderr


def test_what_must_hold_holds_together(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    for options in (["--application", "other"], ["--older-than", "1d"]):
        result = edgegap("stop", "--tag", "a", *options, "--yes")
        assert result.exit_code == 0
        assert not result.stdout
        assert "no deployments" in result.stderr
    assert not account.stopped()
    edgegap("stop", "--tag", "a", "--application", "game", "--yes")
    assert account.stopped() == {request_id}


@pytest.mark.parametrize("by", ["id", "tag"])
def test_a_dry_run_stops_nothing(
    by: str, account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    first, second = deployed("a", "a")
    named = [first, second] if by == "id" else ["--tag", "a"]
    result = edgegap("stop", *named, "--dry-run")
    assert result.exit_code == 0
    titles, *rows = result.stdout.splitlines()
    # A list does not tell the application.
    application = ["APPLICATION"] if by == "id" else []
    assert titles.split() == ["ID", "STATE", "AGE", *application, "TAGS"]
    assert {row.split()[0] for row in rows} == {first, second}
    assert result.stderr == "would be stopped: 2 deployments\n"
    as_json = edgegap("stop", *named, "--dry-run", "--json").stdout.splitlines()
    assert {json.loads(line)["request_id"] for line in as_json} == {first, second}
    assert account.arrivals("other") == 0


def test_without_a_terminal_and_yes_nothing_is_sent(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    before = account.counts()["limits"]
    for named in ([request_id], ["--tag", "a"]):
        result = edgegap("stop", *named, input="y\n")
        assert result.exit_code == 2
        assert not result.stdout
        assert "add --yes" in result.stderr
    assert account.counts()["limits"] == before


@pytest.mark.parametrize("args", [[], ["c065", "--tag", "a"], ["--tag", ""]])
def test_no_choice_and_two_choices_are_wrong_use(
    args: list[str], account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("stop", *args, "--yes")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert account.arrivals("list") == account.arrivals("status") == 0


def test_a_wrong_id_is_named_and_the_others_are_stopped(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    result = edgegap("stop", "c065a3f1b2e4", request_id, "--yes")
    assert result.exit_code == 1
    assert result.stdout == f"{request_id}\n"
    assert "c065a3f1b2e4: " in result.stderr
    assert account.stopped() == {request_id}


@pytest.mark.edgegap_simulator(gone="terminated", stop_takes=0.0)
def test_a_deployment_that_has_ended_is_no_failure(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    assert edgegap("stop", request_id, "--yes").exit_code == 0
    edgegap("wait", request_id)
    result = edgegap("stop", request_id, "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{request_id} has ended already\n"


def test_a_deployment_without_a_status_is_stopped_all_the_same(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    account.faults = [Fault("status", "500-before")]
    result = edgegap("stop", request_id, "--yes", "--timeout", "5")
    assert result.exit_code == 0
    assert account.stopped() == {request_id}


def test_without_a_network_nothing_is_tried_twice(edgegap: Edgegap) -> None:
    env = {"EDGEGAP_API_TOKEN": "made-up", "EDGEGAP_BASE_URL": "http://127.0.0.1:1"}
    result = edgegap("stop", "c1", "c2", "--yes", "--timeout", "5", env=env)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("check the network, --base-url and --proxy")


def test_what_can_not_be_stopped_is_named(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    ids = deployed(*["a"] * 3)
    account.faults = [Fault("stop", "403-before", times=1)]
    result = edgegap("stop", "--tag", "a", "--yes")
    assert result.exit_code == 1
    (left,) = {*ids} - account.stopped()
    assert f"not stopped: {left}: " in result.stderr
    assert result.stderr.endswith("stopped: 2 deployments, 1 failed\n")


def test_lists_that_ignore_filters_stop_no_others(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    first, _second = deployed("a", "b")
    account.faults = [Fault("list", "filters-ignored"), Fault("list", "tags-missing")]
    result = edgegap("stop", "--tag", "a", "--yes")
    assert result.exit_code == 0
    assert account.stopped() == {first}


def test_what_is_unclear_is_named_and_not_stopped(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    account.faults = [Fault("list", "tags-missing"), Fault("status", "tags-missing")]
    result = edgegap("stop", "--tag", "a", "--yes")
    assert result.exit_code == 1
    assert request_id in result.stderr
    assert not account.stopped()


def test_a_list_that_fails_stops_nothing(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    deployed("a")
    account.faults = [Fault("list", "403-before")]
    result = edgegap("stop", "--tag", "a", "--yes")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert not account.stopped()


@pytest.mark.slow
@pytest.mark.measured
def test_ctrl_c_says_what_was_stopped(
    account: Simulator, edgegap: Edgegap, deployed: Deployed, loop: KeptLoop
) -> None:
    ids = {*deployed(*["a"] * 120)}
    account.faults = [Fault("stop", "late", seconds=1.5)]
    loop.call_later(7.5, signal.raise_signal, signal.SIGINT)
    result = edgegap("stop", *ids, "--yes")
    assert result.exit_code == 130
    printed = {*result.stdout.split()}
    assert printed <= account.stopped()
    assert 0 < len(printed) < 120
    summary = f"stopped: {len(printed)} deployments, {120 - len(printed)} may still run"
    assert summary in result.stderr
    assert "Traceback" not in result.output
