"""`ps` lists deployments."""

import json
import logging
from collections.abc import Callable

import pytest
from click.testing import Result
from rich.cells import cell_len
from support.raw_server import READY, RawServer, answer

from edgegap_async.cli.watch import screen
from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]


def ids_of(result: Result) -> list[str]:
    return [json.loads(line)["request_id"] for line in result.stdout.splitlines()]


def page(*rows: dict[str, object]) -> dict[str, object]:
    """A list of deployments on one page."""
    return {"data": rows, "total_count": len(rows), "pagination": {"has_next": False}}


@pytest.mark.edgegap_simulator(neighbours=3)
def test_each_deployment_is_one_row_and_the_newest_is_the_first(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("ranked")
    result = edgegap("ps")
    assert result.exit_code == 0
    titles, *rows = result.stdout.splitlines()
    assert titles.split() == ["ID", "STATE", "AGE", "ADDRESS", "TAGS"]
    assert rows[0].startswith(request_id)
    assert "ranked" in rows[0]
    ages = [int(row.split()[2].rstrip("m")) for row in rows[1:]]
    assert len(ages) == 3
    assert ages == sorted(ages)
    assert all(" READY " in row for row in rows[1:])
    assert not result.stderr


def test_no_deployments_are_a_message_and_no_output(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("ps")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        "no deployments\n",
    )
    assert edgegap("ps", "--quiet").output == ""
    assert edgegap("ps", "--json").output == ""


def test_json_lines_and_ids_are_for_programs(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    ids = deployed("a", "b")
    assert {*ids_of(edgegap("ps", "--json"))} == {*ids}
    assert {*edgegap("ps", "--quiet").stdout.split()} == {*ids}


def test_tags_and_application_choose_deployments(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    first, second, third = deployed("a", "b", "c")
    assert {*ids_of(edgegap("ps", "--json", "--tag", "a", "--tag", "b"))} == {
        first,
        second,
    }
    by_application = edgegap("ps", "--json", "--application", "game", "--tag", "c")
    assert ids_of(by_application) == [third]
    assert ids_of(edgegap("ps", "--json", "--application", "other")) == []


@pytest.mark.edgegap_simulator(neighbours=36)
def test_an_age_chooses_those_that_were_ready_for_longer(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    deployed("new")
    assert len(ids_of(edgegap("ps", "--json"))) == 37
    # The neighbours were started at equal intervals within an hour.
    assert 17 <= len(ids_of(edgegap("ps", "--json", "--older-than", "30m"))) <= 19
    assert ids_of(edgegap("ps", "--json", "--older-than", "1d")) == []
    assert account.arrivals("status") == 0 or account.arrivals("status") <= 3


@pytest.mark.edgegap_simulator(error_share=1.0, ready_after=(0.0, 0.0), neighbours=2)
def test_a_state_chooses_deployments_whatever_their_rows_tell(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    failed = deployed("a", "b")
    assert {*ids_of(edgegap("ps", "--json", "--state", "error"))} == {*failed}
    ready = ids_of(edgegap("ps", "--json", "--state", "READY"))
    assert len(ready) == 2
    assert not {*failed} & {*ready}
    rows = edgegap("ps").stdout.splitlines()
    assert sum(" ERROR " in row for row in rows) == 2


@pytest.mark.edgegap_simulator(error_share=1.0, ready_after=(0.0, 0.0))
def test_only_the_first_unclear_states_are_asked_for(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    deployed(*["a"] * 45)
    rows = edgegap("ps").stdout.splitlines()[1:]
    assert sum(" ERROR " in row for row in rows) == 20
    assert sum(" NOT READY " in row for row in rows) == 25
    assert account.arrivals("status") == 20
    assert len(ids_of(edgegap("ps", "--json", "--state", "error"))) == 45


def test_a_deployment_that_ends_meanwhile_is_left_out(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    rows = [{"request_id": "c1", "ready": False}, {"request_id": "c2", "ready": True}]
    gone = answer(404, {"message": "Deployment c1 not found"})
    scripted(gone, lists=answer(200, page(*rows)))
    assert ids_of(edgegap("ps", "--json")) == ["c2"]


def test_a_deployment_that_becomes_ready_meanwhile_is_shown_as_a_whole(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    row = {"request_id": "c1", "ready": False, "ports": None}
    status = READY | {"request_id": "c1", "start_time": "2025-01-01 12:00:00"}
    scripted(answer(200, status), lists=answer(200, page(row)))
    (_, line) = edgegap("ps").stdout.splitlines()
    name, state, age, address, *_ = line.split()
    assert (name, state) == ("c1", "READY")
    assert "-" not in (age, address)


def test_an_error_of_a_status_ends_with_one_line(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    rows = [{"request_id": f"c{number}", "ready": False} for number in range(3)]
    scripted(answer(403, {"message": "no"}), lists=answer(200, page(*rows)))
    result = edgegap("ps")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_names_of_the_api_do_not_control_the_terminal(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202edorf 日本\r\n\x9b31m"
    row = {"request_id": "c1", "ready": True, "tags": [evil] * 9, "fqdn": evil}
    scripted(lists=answer(200, page(row)))
    for options in ((), ("--json",), ("--quiet",)):
        output = edgegap("ps", *options).output
        assert not {*"\x1b\x07\x9b\r\u202e"} & {*output}
    assert json.loads(edgegap("ps", "--json").stdout)["fqdn"] == evil


def test_rows_that_can_not_be_read_are_a_warning(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(
        lists=answer(200, page({"ready": True}, {"request_id": "c1", "ready": True}))
    )
    result = edgegap("ps", "--quiet")
    assert (result.stdout, result.stderr) == ("c1\n", "")
    assert edgegap("ps").stderr.startswith("warning: ")
    assert logging.getLogger("edgegap_async").propagate


def test_a_simulated_list_needs_no_token(edgegap: Edgegap) -> None:
    env = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_BASE_URL": "nonsense"}
    result = edgegap("ps", "--simulate", env=env)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 13
    assert "no real server" in result.stderr
    assert (
        edgegap("ps", "--simulate", "--base-url", "http://127.0.0.1:1").exit_code == 2
    )


def test_an_error_above_a_watched_table_is_shown_as_a_whole() -> None:
    words = [f"word{number}" for number in range(40)]
    lines = screen(" ".join(words), ["row"] * 30, 80, 24)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).split()[1:41] == words
    assert lines[-1].startswith("and ")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--older-than", "90"], "write 90s, 15m, 1h or 2d"),
        (["--state", "happy"], "--state"),
        (["--tag", "x" * 41], "--tag"),
        (["--application", ""], "--application must"),
        (["--watch"], "--watch needs a terminal"),
        (["--watch", "--verbose"], "--watch needs a terminal"),
    ],
)
def test_wrong_options_send_nothing(
    args: list[str], problem: str, account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("ps", *args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert problem in line
    assert account.arrivals("list") == 0


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(neighbours=5_000)
def test_five_thousand_rows_are_listed_within_the_limit(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("ps")
    titles, *rows = result.stdout.splitlines()
    assert len({row.split()[0] for row in rows}) == 5_000
    assert len({*map(cell_len, [titles, rows[0]])}) == 2
    assert (account.arrivals("list"), account.refused("list")) == (50, 0)
    assert len(ids_of(edgegap("ps", "--json"))) == 5_000


@pytest.mark.edgegap_simulator(neighbours=300)
def test_an_error_on_a_later_page_is_not_a_shorter_list(
    account: Simulator, edgegap: Edgegap
) -> None:
    account.faults = Fault.script("list", "ok", "403-before")
    result = edgegap("ps")
    assert result.exit_code == 1
    assert not result.stdout
    assert len(result.stderr.splitlines()) == 1
