"""`wait` tells of each deployment as soon as it is READY."""

import json
import signal
import sys
from collections.abc import Callable

import pytest
from cli.conftest import KeptLoop
from click.testing import Result

from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]


def test_each_is_printed_with_its_address(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    ids = deployed("a", "b")
    result = edgegap("wait", *ids)
    assert result.exit_code == 0
    lines = dict(line.split() for line in result.stdout.splitlines())
    assert {*lines} == {*ids}
    assert all(address.startswith(f"{each}.") for each, address in lines.items())
    assert not result.stderr


def test_json_has_what_players_need(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    ids = deployed("a", "b")
    rows = [*map(json.loads, edgegap("wait", *ids, "--json").stdout.splitlines())]
    assert {row["request_id"] for row in rows} == {*ids}
    assert all(row["ports"]["7777"]["external"] for row in rows)


@pytest.mark.edgegap_simulator(error_share=1.0)
def test_a_failure_is_named_and_the_exit_code_is_1(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (failed,) = deployed("a")
    result = edgegap("wait", failed, "c065a3f1b2e4")
    assert result.exit_code == 1
    assert not result.stdout
    assert {line.partition(":")[0] for line in result.stderr.splitlines()} == {
        failed,
        "c065a3f1b2e4",
    }
    (line,) = edgegap("wait", failed, "--json").stdout.splitlines()
    assert {*json.loads(line)} == {"request_id", "error"}
    assert not account.stopped()


@pytest.mark.edgegap_simulator(ready_after=(100.0, 100.0))
def test_the_timeout_is_for_all_of_it(
    account: Simulator, edgegap: Edgegap, deployed: Deployed, loop: KeptLoop
) -> None:
    ids = deployed("a", "b")
    began = loop.time()
    result = edgegap("wait", *ids, "--timeout", "10")
    assert result.exit_code == 1
    assert 10 <= loop.time() - began < 12
    assert all(f"{each}: " in result.stderr for each in ids)
    assert result.stderr.count("wait again") == 2
    assert "last seen SEEKING; it still exists" in result.stderr


def test_a_deployment_of_which_nothing_was_seen_is_not_said_to_exist(
    account: Simulator, edgegap: Edgegap
) -> None:
    account.add_fault(Fault("status", "cut-before"))
    account.add_fault(Fault("list", "cut-before"))
    result = edgegap("wait", "c065", "--timeout", "10")
    assert result.exit_code == 1
    assert "it may exist" in result.stderr
    assert result.stderr.count("the last failure: deployments.") == 1
    assert "check the network" in result.stderr


@pytest.mark.edgegap_simulator(ready_after=(100.0, 100.0))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_with_130_and_stops_nothing(
    number: signal.Signals,
    account: Simulator,
    edgegap: Edgegap,
    deployed: Deployed,
    loop: KeptLoop,
) -> None:
    (request_id,) = deployed("a")
    loop.call_later(5, signal.raise_signal, number)
    result = edgegap("wait", request_id)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert not account.stopped()


def test_a_missing_extra_is_named(
    account: Simulator, edgegap: Edgegap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    result = edgegap("wait", "c065", "--shared", "redis://127.0.0.1:1/0")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "edgegap-async[redis]" in line


def test_no_id_is_wrong_use(account: Simulator, edgegap: Edgegap) -> None:
    assert edgegap("wait").exit_code == 2
    assert edgegap("wait", "").exit_code == 2
    assert edgegap("wait", "c065", "--key", "a").exit_code == 2
