"""`tag`, `locations` and `fleet hosts`: what is listed, added and removed."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from rich.cells import cell_len
from support.raw_server import RawServer, answer

from edgegap_async.simulator import Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]
WRONG = "c065a3f1b2e4"


def names_of(result: Result) -> list[str]:
    return [json.loads(line)["name"] for line in result.stdout.splitlines()]


def test_a_tag_is_added_listed_and_removed(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("first")
    assert edgegap("tag", "add", request_id, "Zürich ⚔").exit_code == 0
    assert "Zürich ⚔" in account.tags_of(request_id)
    listed = edgegap("tag", "ls", request_id)
    assert listed.stdout.splitlines()[0].split() == ["TAG", "CREATED"]
    assert any(line.startswith("Zürich ⚔ ") for line in listed.stdout.splitlines())
    removed = edgegap("tag", "rm", request_id, "Zürich ⚔")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert "Zürich ⚔" not in account.tags_of(request_id)


def test_tags_as_json_are_for_programs(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("first")
    assert names_of(edgegap("tag", "add", request_id, "b", "--json", "-q")) == ["b"]
    assert {"first", "b"} <= {*names_of(edgegap("tag", "ls", request_id, "--json"))}
    removed = edgegap("tag", "rm", request_id, "b", "--json").stdout
    assert json.loads(removed) == {"request_id": request_id, "removed": "b"}


@pytest.mark.parametrize("args", [["ls"], ["add", "x"], ["rm", "x"]])
def test_a_wrong_id_of_a_tag_is_one_line(
    args: list[str], account: Simulator, edgegap: Edgegap
) -> None:
    command, *name = args
    result = edgegap("tag", command, WRONG, *name)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")


def test_a_tag_that_a_deployment_has_not_is_no_wrong_id(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    result = edgegap("tag", "rm", request_id, "b")
    assert result.exit_code == 1
    assert "no such tag" in result.stderr
    assert "ID is wrong" not in result.stderr


@pytest.mark.parametrize(
    "args",
    [["tag"], ["tag", "add", "c065"], ["tag", "add", "c065", "x" * 41], ["tag", "up"]],
)
def test_wrong_use_of_tags_is_exit_code_2(
    args: list[str], account: Simulator, edgegap: Edgegap
) -> None:
    assert edgegap(*args).exit_code == 2
    assert account.arrivals("other") == 0


@pytest.mark.parametrize("option", ["--application", "--version"])
def test_locations_with_room_need_an_application_and_its_version(
    option: str, account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("locations", option, "1.0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--application and --version belong together" in result.stderr


def test_locations_are_a_table_or_json(account: Simulator, edgegap: Edgegap) -> None:
    titles, *rows = edgegap("locations").stdout.splitlines()
    assert titles.split()[:3] == ["CITY", "COUNTRY", "CONTINENT"]
    as_json = [*map(json.loads, edgegap("locations", "--json").stdout.splitlines())]
    assert len(rows) == len(as_json) > 10
    assert {row["city"] for row in as_json} == {row.split("  ")[0] for row in rows}


@pytest.mark.parametrize(
    "args", [["locations"], ["fleet", "hosts", "my-fleet"], ["ps"]]
)
def test_a_simulated_list_needs_no_token(args: list[str], edgegap: Edgegap) -> None:
    env = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_BASE_URL": None}
    result = edgegap(*args, "--simulate", env=env)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 3
    assert result.stderr.startswith("simulated: ")


def test_the_application_is_asked_for(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    server = scripted(answer(200, {"locations": [], "messages": []}))
    result = edgegap("locations", "--application", "game", "--version", "1.0")
    assert (result.exit_code, result.stderr) == (0, "no locations\n")
    assert "app=game&version=1.0" in server.arrivals[0].path


def test_hosts_show_what_is_in_use(account: Simulator, edgegap: Edgegap) -> None:
    titles, *rows = edgegap("fleet", "hosts", "my-fleet").stdout.splitlines()
    assert titles.split()[:4] == ["HOST", "STATUS", "ADDRESS", "LOCATION"]
    assert len(rows) == 3
    assert all("0/16384" in row for row in rows)
    hosts = edgegap("fleet", "hosts", "my-fleet", "--json").stdout.splitlines()
    assert {json.loads(it)["host_id"] for it in hosts} == {
        row.split()[0] for row in rows
    }


def test_missing_and_odd_values_of_a_host_are_tolerated(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    evil = {"host_id": "h1", "city": "\x1b[2JParis\n", "allocated_cpu_units": "5"}
    scripted(answer(200, {"data": [evil, {"host_id": "日本" * 40}]}))
    result = edgegap("fleet", "hosts", "f")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "5/?" in result.stdout
    widths = {cell_len(line.rstrip()) for line in result.stdout.splitlines()}
    assert max(widths) > 160
