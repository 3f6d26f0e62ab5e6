"""`python -m edgegap_async`: its options, output and exit codes."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result
from support.paths import ROOT

import edgegap_async
from edgegap_async import __main__, __version__
from edgegap_async.cli.matches import read
from edgegap_async.cli.options import loop_factory
from edgegap_async.cli.program import program
from edgegap_async.cli.sections import SectionedGroup
from edgegap_async.cli.simulate import serve
from edgegap_async.simulator import Simulator, VirtualTimeLoop

EXAMPLE = ROOT / "examples" / "matches.jsonl"
LINE = '{"match_id": "%s", "players": ["192.0.2.1", {"latitude": 45.5, "longitude": -73.6}]}\n'


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    monkeypatch.delenv("EDGEGAP_BASE_URL", raising=False)


def run(*args: str, stdin: str = "") -> Result:
    """Run the program in virtual time."""
    return CliRunner().invoke(
        program, args, input=stdin, obj=VirtualTimeLoop, catch_exceptions=False
    )


def test_the_example_is_launched_within_the_limits() -> None:
    result = run("launch", str(EXAMPLE), "--simulate")

    assert result.exit_code == 0
    servers = [json.loads(line) for line in result.stdout.splitlines()]
    assert {server["match_id"] for server in servers} == {
        f"match-{n:04}" for n in range(1, 41)
    }
    assert set(servers[0]) == {
        "match_id",
        "request_id",
        "fqdn",
        "public_ip",
        "ports",
        "seconds",
    }
    assert all(
        server["fqdn"] and server["public_ip"] and server["ports"]["7777"]["external"]
        for server in servers
    )
    assert all(2 <= server["seconds"] < 10 for server in servers)
    assert "40 of 40 matches have their server, 0 failed" in result.stderr
    assert "time from deploy to ready: p50 " in result.stderr


def test_the_example_has_players_of_every_kind() -> None:
    lines = [json.loads(line) for line in EXAMPLE.read_text().splitlines()]

    players = [player for line in lines for player in line["players"]]
    assert len(lines) == 40
    assert all(2 <= len(line["players"]) <= 10 for line in lines)
    assert any(isinstance(player, dict) for player in players)
    assert any(":" in player for player in players if isinstance(player, str))
    assert any("tags" in line for line in lines)
    assert any("environment_variables" in line for line in lines)


def test_the_summary_counts_requests_at_client_and_simulator() -> None:
    lines = run("launch", str(EXAMPLE), "--simulate", "--stop").stderr.splitlines()

    ours, theirs = (lines.index(line) for line in lines if line.endswith("429"))
    assert lines[ours + 1 : ours + 5] == lines[theirs + 1 : theirs + 5]
    assert lines[ours + 1].split() == ["deploy", "40", "40", "0"]
    assert lines[ours + 4].split()[:2] == ["other", "40"]
    assert lines[-1] == "stopped: 40 servers"


def test_matches_are_read_from_standard_input() -> None:
    result = run("launch", "-", "--simulate", stdin=LINE % "a" + "\n" + LINE % "b")

    assert result.exit_code == 0
    assert {json.loads(line)["match_id"] for line in result.stdout.splitlines()} == {
        "a",
        "b",
    }


def test_without_a_token_a_launch_is_simulated_and_prints_it() -> None:
    result = run("launch", "-", stdin=LINE % "a")

    assert result.exit_code == 0
    assert result.stderr.startswith(
        "EDGEGAP_API_TOKEN is not set: launching on an embedded simulator"
    )


def test_a_simulated_launch_ignores_token_and_url_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "not a token\x07")
    monkeypatch.setenv("EDGEGAP_BASE_URL", "nonsense")

    result = run(
        "launch",
        "-",
        "--simulate",
        "--enforcement",
        "spacing",
        "--burst",
        "1",
        stdin=LINE % "a",
    )

    assert result.exit_code == 0
    assert "(EDGEGAP_API_TOKEN and EDGEGAP_BASE_URL not used)" in result.stderr
    assert "not a token" not in result.output


def test_a_launch_with_a_token_calls_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    # Nothing listens at this port.
    monkeypatch.setenv("EDGEGAP_BASE_URL", "http://127.0.0.1:1")

    result = run(
        "launch", "-", "--application", "game", "--version", "1", stdin=LINE % "a"
    )

    assert result.exit_code == 1
    assert "0 of 1 matches have their server, 1 failed" in result.stderr
    assert (
        "failed: a: deployments.deploy (POST /v2/deployments) had no answer"
        in result.stderr
    )
    assert "made-up" not in result.output


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--version", "1"], "--application is required"),
        (["--application", "game", "--version", " "], "--version is required"),
        (
            ["--application", "game", "--version", "1", "--enforcement", "off"],
            "--enforcement configures the simulator",
        ),
        (["--simulate", "--timeout", "0"], "--timeout"),
        (["--simulate", "--burst", "0"], "--burst"),
        (["--simulate", "--max-running", "0"], "--max-running"),
    ],
)
def test_invalid_options_start_nothing(
    args: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")

    result = run("launch", "-", *args, stdin=LINE % "a")

    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize(
    "environment",
    [{"EDGEGAP_API_TOKEN": "two words"}, {"EDGEGAP_BASE_URL": "http://far.example"}],
)
def test_an_invalid_environment_starts_nothing(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EDGEGAP_API_TOKEN": "made-up", **environment}.items():
        monkeypatch.setenv(name, value)

    result = run(
        "launch", "-", "--application", "game", "--version", "1", stdin=LINE % "a"
    )

    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_all_invalid_lines_are_named_and_nothing_is_started() -> None:
    lines = [
        LINE % "a",
        "{\n",
        LINE % "b",
        '{"match_id": "c", "players": []}\n',
        LINE % "a",
    ]

    result = run("launch", "-", "--simulate", stdin="".join(lines))

    assert result.exit_code == 2
    assert not result.stdout
    assert [
        line.partition(":")[0]
        for line in result.stderr.splitlines()
        if line.startswith("line ")
    ] == [
        "line 2",
        "line 4",
        "line 5",
    ]
    assert "3 of 5 lines can't be used; nothing was started" in result.stderr


def test_an_empty_file_is_an_error() -> None:
    result = run("launch", "-", "--simulate", stdin="\n")

    assert result.exit_code == 2
    assert "there are no matches" in result.stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "Expected `object`"),
        ('{"players": ["192.0.2.1"]}', "`match_id`"),
        ('{"match_id": " ", "players": ["192.0.2.1"]}', "match_id: must not be empty"),
        ('{"match_id": 7, "players": ["192.0.2.1"]}', "$.match_id"),
        ('{"match_id": "a"}', "`players`"),
        ('{"match_id": "a", "players": "192.0.2.1"}', "$.players"),
        (
            '{"match_id": "a", "players": ["192.0.2.999"]}',
            "players: '192.0.2.999' is not an IP address",
        ),
        (
            '{"match_id": "a", "players": [{"latitude": 91, "longitude": 0}]}',
            "players: latitude",
        ),
        ('{"match_id": "a", "players": [{"latitude": 1}]}', "longitude"),
        (
            '{"match_id": "a", "players": ["192.0.2.1"], "tag": ["x"]}',
            "unknown field `tag`",
        ),
        (
            '{"match_id": "a", "players": ["192.0.2.1"], "tags": ["%s"]}' % ("x" * 41),
            "tags: each must have at most 40",
        ),
        (
            '{"match_id": "a", "players": ["192.0.2.1"], "environment_variables": {"A": 1}}',
            "$.environment_variables",
        ),
        (
            '{"match_id": "a", "players": ["192.0.2.1"], "environment_variables": {"": "1"}}',
            "environment_variables",
        ),
        ('{"match_id": "\udcff", "players": ["192.0.2.1"]}', "utf-8"),
    ],
)
def test_an_invalid_line_names_its_field(line: str, problem: str) -> None:
    matches, (bad,) = read([b"\n", line.encode(errors="surrogateescape")], "game", "1")

    assert not matches
    assert bad.number == 2
    assert problem in bad.problem


def test_uvloop_is_imported_only_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = loop_factory("uvloop")()
    made.close()
    assert type(made).__module__ == "uvloop"

    monkeypatch.setitem(sys.modules, "uvloop", None)
    result = CliRunner().invoke(
        program, ["launch", "-", "--simulate", "--loop", "uvloop"], input=LINE % "a"
    )

    assert result.exit_code == 2
    assert "pip install uvloop" in result.stderr


def test_ctrl_c_twice_exits_with_130() -> None:
    def loop() -> asyncio.AbstractEventLoop:
        made = VirtualTimeLoop()
        for seconds in (1.1, 1.2):
            made.call_later(seconds, signal.raise_signal, signal.SIGINT)
        return made

    result = CliRunner().invoke(
        program, ["launch", str(EXAMPLE), "--simulate"], obj=loop
    )

    assert result.exit_code == 130
    assert re.search(r"^running: \d+ servers: ", result.stderr, re.MULTILINE)


def test_simulate_rejects_a_range_that_ends_before_it_starts() -> None:
    result = run("simulate", "--ready-after", "5", "2")

    assert result.exit_code == 2
    assert "--ready-after" in result.stderr


def test_simulate_names_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("simulate", "--port", str(port))

    assert result.exit_code == 1
    assert f"can't listen on 127.0.0.1:{port}: " in result.stderr


async def test_simulate_serves_until_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator()
    asyncio.get_running_loop().call_later(1, signal.raise_signal, signal.SIGTERM)

    await serve(simulator)

    assert capsys.readouterr().out == f"{simulator.url}\n"


def test_version_and_help_are_printed() -> None:
    assert __version__ in run("--version").stdout
    assert "launch" in run("--help").stdout
    assert "MATCHES.jsonl" in run("launch", "--help").stdout
    assert "--ready-after" in run("simulate", "--help").stdout


def test_the_help_lists_every_command_in_one_section() -> None:
    shown = run("--help").stdout
    titles = re.findall(r"^(\w.*):$", shown, re.MULTILINE)
    assert titles[-4:] == [
        "Deployments",
        "Locations, fleets and limits",
        "For programs",
        "Shell",
    ]
    for name in program.commands:
        assert len(re.findall(rf"^  {name}  ", shown, re.MULTILINE)) == 1


def test_a_command_without_a_section_is_listed_too() -> None:
    group = SectionedGroup("group")
    group.add_section("First", click.Command("a", short_help="Does a."))
    group.add_command(click.Command("b", short_help="Does b."))
    shown = CliRunner().invoke(group, ["--help"]).stdout
    assert shown.endswith("First:\n  a  Does a.\n\nOther commands:\n  b  Does b.\n")


@pytest.fixture
def unload_the_cli(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forget() -> None:
        # monkeypatch then restores the attribute together with the modules.
        monkeypatch.setattr(edgegap_async, "cli", edgegap_async.cli)
        for name in [
            name for name in sys.modules if name.startswith("edgegap_async.cli")
        ]:
            monkeypatch.delitem(sys.modules, name)

    return forget


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_cli_extra_names_the_install_command(
    missing: str,
    unload_the_cli: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unload_the_cli()
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(SystemExit) as ended:
        __main__.main()

    # `sys.exit` with a text prints it to stderr and exits with 1.
    assert 'pip install "edgegap-async[cli]"' in str(ended.value.code)


def test_a_missing_internal_module_is_not_reported_as_a_missing_extra(
    unload_the_cli: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    unload_the_cli()
    monkeypatch.setitem(sys.modules, "edgegap_async.cli.run_launch", None)

    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_main_runs_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgegap_async", "--version"])

    with pytest.raises(SystemExit) as ended:
        __main__.main()

    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out
