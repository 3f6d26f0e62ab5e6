"""What holds for every command for operators."""

import signal
from collections.abc import Callable, Iterator

import pytest
from cli.conftest import KeptLoop
from click.testing import Result
from support.raw_server import SILENT, RawServer, answer

from edgegap_async.cli.program import program
from edgegap_async.simulator import Simulator

Edgegap = Callable[..., Result]
ID = "c065a3f1b2e4"
# How each command is called. The others send nothing, or are older.
CALLS = {
    "deploy": ["--application", "game", "--version", "1", "--user", "192.0.2.1"],
    "doctor": [],
    "fleet": ["hosts", "my-fleet"],
    "locations": [],
    "logs": [ID],
    "metrics": [ID],
    "ps": [],
    "reap": ["ranked"],
    "status": [ID],
    "stop": [ID, "--yes"],
    "tag": ["ls", ID],
    "wait": [ID],
}
OTHERS = {"completion", "journal", "launch", "limits", "load", "simulate"}
each_command = pytest.mark.parametrize("name", CALLS)


def called(edgegap: Edgegap, name: str, *options: str, **env: str | None) -> Result:
    return edgegap(name, *CALLS[name], *options, env=env)


def test_every_command_is_called_here() -> None:
    assert {*program.commands} == {*CALLS} | OTHERS


@each_command
def test_a_missing_token_sends_nothing(
    name: str, scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    server = scripted(answer(200, {}))
    result = called(edgegap, name, EDGEGAP_API_TOKEN=None)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: EDGEGAP_API_TOKEN is not set")
    assert not server.arrivals


@each_command
@pytest.mark.edgegap_simulator(token="right")
def test_a_wrong_token_is_told_and_not_shown(
    name: str, account: Simulator, edgegap: Edgegap
) -> None:
    result = called(edgegap, name, "--verbose", EDGEGAP_API_TOKEN="wr0ng")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "check EDGEGAP_API_TOKEN" in result.stderr
    assert "wr0ng" not in result.output


@each_command
def test_without_a_network_one_line_says_what_to_check(
    name: str, edgegap: Edgegap, loop: KeptLoop
) -> None:
    began = loop.time()
    result = called(
        edgegap,
        name,
        "--timeout",
        "9",
        EDGEGAP_API_TOKEN="made-up",
        EDGEGAP_BASE_URL="http://127.0.0.1:1",
    )
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.endswith("check the network, --base-url and --proxy")
    assert loop.time() - began < 20


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGHUP is not ignored, as it is if nohup runs the tests."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
@each_command
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_exits_with_130(
    name: str,
    number: signal.Signals,
    scripted: Callable[..., RawServer],
    edgegap: Edgegap,
    loop: KeptLoop,
) -> None:
    scripted(SILENT)
    loop.call_later(3, signal.raise_signal, number)
    result = called(edgegap, name, "--timeout", "300")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Traceback" not in result.stderr


@each_command
@pytest.mark.parametrize(
    "act",
    [
        answer(500, "<html>\x1b[2J</html>"),
        answer(200, "<html>login</html>"),
        answer(200, "[]"),
    ],
    ids=["server error", "page of a gateway", "other JSON"],
)
def test_odd_answers_are_no_traceback(
    name: str,
    act: object,
    scripted: Callable[..., RawServer],
    edgegap: Edgegap,
) -> None:
    scripted(act)
    result = called(edgegap, name, "--timeout", "9")
    # The doctor has found out that something differs.
    assert result.exit_code in ((0, 1, 3) if name == "doctor" else (0, 1))
    assert result.exit_code or not result.stderr.startswith("Error")
    assert not result.exit_code or result.stderr
    assert "\x1b" not in result.output
