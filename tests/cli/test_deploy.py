"""`deploy` starts one server, and leaves none behind that nobody knows."""

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from cli.conftest import KeptLoop
from click.testing import Result
from support.raw_server import RawServer, answer

from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]
GAME = ("deploy", "--application", "game", "--version", "1")
PLAYER = ("--user", "192.0.2.1")


def test_the_id_is_all_of_the_output(account: Simulator, edgegap: Edgegap) -> None:
    result = edgegap(*GAME, *PLAYER)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split() == [*account.deployed()]


def test_json_has_the_id_and_the_tag(account: Simulator, edgegap: Edgegap) -> None:
    (line,) = edgegap(*GAME, *PLAYER, "--json").stdout.splitlines()
    (request_id,) = account.deployed()
    told = json.loads(line)
    assert told["request_id"] == request_id
    assert told["once_tag"] in account.tags_of(request_id)


def test_players_and_tags_are_sent(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    server = scripted(answer(202, {"request_id": "c065"}), answer(200, {"data": []}))
    players = ["--user", "192.0.2.1", "--user", "2001:db8::1", "--user", "45.5,-73.57"]
    result = edgegap(*GAME, *players, "--tag", "a", "--tag", "b")
    assert result.stdout == "c065\n"
    body: dict[str, Any] = json.loads(server.arrivals[0].body)
    assert [each["user_data"] for each in body["users"]] == [
        {"ip_address": "192.0.2.1"},
        {"ip_address": "2001:db8::1"},
        {"latitude": 45.5, "longitude": -73.57},
    ]
    assert {"a", "b"} <= {*body["tags"]}
    assert (body["application"], body["version"]) == ("game", "1")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["deploy", "--version", "1", *PLAYER], "Missing option '--application'"),
        ([*GAME], "Missing option '--user'"),
        ([*GAME, "--user", "nowhere"], "--user: 'nowhere' is not an IP address"),
        ([*GAME, "--user", "1,x"], "no pair of coordinates"),
        ([*GAME, "--user", "91,0"], "--user: latitude"),
        ([*GAME, "--user", "nan,0"], "--user: latitude"),
        ([*GAME, *PLAYER, "--tag", "x" * 41], "--tag"),
        ([*GAME, *PLAYER, "--simulate", "--shared", "sqlite:////tmp/x"], "--simulate"),
    ],
)
def test_wrong_use_starts_nothing(
    args: list[str], problem: str, account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap(*args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert problem in line
    assert not account.deployed()


def test_a_lost_answer_starts_no_second_server(
    account: Simulator, edgegap: Edgegap
) -> None:
    account.faults = [Fault("deploy", "cut-after", times=1)]
    result = edgegap(*GAME, *PLAYER)
    assert result.exit_code == 0
    assert result.stdout.split() == [*account.deployed()]


def test_an_unknown_outcome_says_how_to_find_and_stop_the_server(
    account: Simulator, edgegap: Edgegap
) -> None:
    account.faults = [Fault("deploy", "cut-after"), Fault("list", "403-before")]
    result = edgegap(*GAME, *PLAYER)
    assert (result.exit_code, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    (request_id,) = account.deployed()
    (tag,) = account.tags_of(request_id)
    assert error.endswith(
        f"a server may have been started: `edgegap ps --tag {tag}` shows it, and "
        f"`edgegap stop --tag {tag}` stops it"
    )
    assert "session stops it" not in error
    account.faults = []
    assert edgegap("stop", "--tag", tag, "--yes").exit_code == 0
    assert account.stopped() == {request_id}


def test_a_refused_deploy_is_one_line(account: Simulator, edgegap: Edgegap) -> None:
    account.faults = [Fault("deploy", "403-before")]
    result = edgegap(*GAME, *PLAYER)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.edgegap_simulator(delay_after=(3.0, 3.0), ready_after=(0.0, 0.0))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_server_that_was_started(
    number: signal.Signals, account: Simulator, edgegap: Edgegap, loop: KeptLoop
) -> None:
    loop.call_later(1.0, signal.raise_signal, number)
    result = edgegap(*GAME, *PLAYER)
    assert (result.exit_code, result.stdout) == (130, "")
    assert account.stopped() == {*account.deployed()} != set()


def test_a_simulated_deploy_needs_no_token(edgegap: Edgegap) -> None:
    env = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_SHARED_URL": "sqlite:////nowhere/x.db"}
    result = edgegap(*GAME, *PLAYER, "--simulate", env=env)
    assert result.exit_code == 0
    assert len(result.stdout.strip()) == 12
