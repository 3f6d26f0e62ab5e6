"""`status` shows a deployment; and what all commands for operators have in common: their
token, their errors, their messages.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result
from support.raw_server import READY, RawServer, answer

from edgegap_async import EdgegapSession
from edgegap_async.cli.output import Output
from edgegap_async.cli.verbose import show_requests
from edgegap_async.simulator import Fault, Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]


def test_a_deployment_is_shown_with_its_tags(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("ranked")
    result = edgegap("status", request_id)
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["id"] == request_id
    assert lines["application"] == "game 1"
    assert "ranked" in lines["tags"]
    assert not result.stderr


def test_json_is_one_line_that_holds_everything(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("ranked")
    (line,) = edgegap("status", request_id, "--json").stdout.splitlines()
    assert json.loads(line)["request_id"] == request_id
    assert "ranked" in json.loads(line)["tags"]


def test_a_wrong_id_is_one_line_that_says_what_to_do(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("status", "c065a3f1b2e4")
    assert result.exit_code == 1
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith("it has ended, or the ID is wrong: see `edgegap ps`")


@pytest.mark.parametrize("token", [None, "", "  "])
def test_a_missing_token_is_named_before_anything_is_sent(
    token: str | None, account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("status", "c065", env={"EDGEGAP_API_TOKEN": token})
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: EDGEGAP_API_TOKEN is not set")
    assert account.arrivals("status") == 0


@pytest.mark.edgegap_simulator(token="right")
def test_a_wrong_token_is_refused_and_never_shown(
    account: Simulator, edgegap: Edgegap
) -> None:
    result = edgegap("status", "c065", "--verbose")
    assert result.exit_code == 1
    assert "check EDGEGAP_API_TOKEN" in result.stderr
    assert os.environ["EDGEGAP_API_TOKEN"] not in result.output


async def test_a_terminal_is_told_that_there_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    url, show = "http://127.0.0.1:1", show_requests(Output(), 30.0)
    text = "no answer from 127.0.0.1:1 so far: trying for up to 30 s"
    async with EdgegapSession("made-up", base_url=url, on_event=show) as edgegap:
        for timeout, told in ((1.5, []), (30.0, [text]), (30.0, [])):
            with pytest.raises(TimeoutError):
                await edgegap.deployments.status("c065", timeout=timeout)
            assert capsys.readouterr().err.splitlines() == told


def test_without_a_network_the_command_ends_in_time(edgegap: Edgegap) -> None:
    env = {"EDGEGAP_API_TOKEN": "made-up", "EDGEGAP_BASE_URL": "http://127.0.0.1:1"}
    result = edgegap("status", "c065", "--timeout", "5", env=env)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("check the network, --base-url and --proxy")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["status"], "Missing argument 'ID'"),
        (["status", ""], "ID must "),
        (["status", "a", "b"], "unexpected extra argument"),
        (["status", "a", "--timeout", "0"], "--timeout"),
        (["status", "a", "--base-url", "ftp://x"], "--base-url must"),
        (["status", "a", "--base-url", "http://far.example"], "--base-url "),
        (["status", "a", "--proxy", "socks5://h:1"], "--proxy names a SOCKS proxy"),
        (["status", "a", "--quiet", "--verbose"], "contradict each other"),
        (["status", "a", "--jsn"], "No such option"),
        (["stats"], "No such command 'stats'"),
    ],
)
def test_wrong_use_is_one_line_with_exit_code_2(
    args: list[str], problem: str, account: Simulator, edgegap: Edgegap
) -> None:
    env = {"EDGEGAP_BASE_URL": "https://api.invalid"} if "--proxy" in args else {}
    result = edgegap(*args, env=env)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert problem in line
    assert " --help`)" in line
    assert account.arrivals("status") == 0


def test_the_base_url_of_the_option_is_used(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    env = {"EDGEGAP_BASE_URL": "http://127.0.0.1:1"}
    result = edgegap("status", request_id, "--base-url", account.url, env=env)
    assert result.exit_code == 0


def test_the_proxy_of_the_option_is_used_whatever_the_environment_says(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    proxy = scripted(answer(407))
    env = {
        "EDGEGAP_BASE_URL": "https://api.invalid",
        "NO_PROXY": "*",
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }
    result = edgegap("status", "c065", "--proxy", proxy.url, env=env)
    assert result.exit_code == 1
    assert (proxy.arrivals[0].method, proxy.arrivals[0].path) == (
        "CONNECT",
        "api.invalid:443",
    )
    assert "made-up" not in str(proxy.arrivals)


def test_the_environment_is_as_before_after_a_proxy(
    account: Simulator, edgegap: Edgegap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "example.com")
    monkeypatch.delenv("https_proxy", raising=False)
    before = dict(os.environ)
    edgegap("status", "c065", "--proxy", "http://127.0.0.1:9")
    assert dict(os.environ) == before


def test_verbose_shows_each_request_and_the_use_of_its_limit(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    result = edgegap("status", request_id, "--verbose")
    assert "GET /v1/status/{request_id}: 200 in " in result.stderr
    assert (
        "limit status: 1 request, 1 in the busiest second, 0 refused" in result.stderr
    )


def test_the_use_of_the_limits_has_the_requests_of_the_end(
    account: Simulator, edgegap: Edgegap
) -> None:
    """A tag is looked at once more when the session is closed."""
    game = ("--application", "game", "--version", "1", "--user", "203.0.113.7")
    *_, last = edgegap("deploy", *game, "--verbose").stderr.splitlines()
    assert account.arrivals("list")
    assert last.startswith(f"limit list: {account.arrivals('list')} request")


@pytest.mark.parametrize(("options", "told"), [((), False), (("--verbose",), True)])
def test_retries_are_shown_if_the_user_wants_that(
    options: tuple[str, ...], told: bool, account: Simulator, edgegap: Edgegap
) -> None:
    account.faults = [Fault("status", "503-before")]
    result = edgegap("status", "c065", "--timeout", "5", *options)
    assert result.exit_code == 1
    assert ("retrying" in result.stderr) is told


def test_text_of_the_api_does_not_control_the_terminal(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jname\x9b31m\r\n"
    scripted(answer(200, {**READY, "app_name": evil, "tags": [evil], "fqdn": evil}))
    result = edgegap("status", "c065")
    assert result.exit_code == 0
    assert not {*"\x1b\x07\x9b\r"} & {*result.output}
    json_line = edgegap("status", "c065", "--json").stdout
    assert not {*"\x1b\x07\x9b\r"} & {*json_line}
    assert json.loads(json_line)["app_name"] == evil


def test_an_error_of_the_api_is_one_line_without_escape_codes(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(403, {"message": "first\n\x1b[2Jsecond\x1b]0;t\x07"}))
    result = edgegap("status", "c065")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "first second" in line
    assert "\x1b" not in line


AFTER_THE_END = """
import logging
from edgegap_async.cli.output import Output
from edgegap_async.cli.verbose import logged
with logged(Output()):
    logging.getLogger("edgegap_async").warning("within")
logging.getLogger("edgegap_async").warning("after")
"""


@pytest.mark.full
@pytest.mark.slow
def test_what_is_logged_after_the_end_of_a_command_is_not_shown() -> None:
    """A thread of the shared budget lives on for a moment."""
    command = [sys.executable, "-c", AFTER_THE_END]
    ended = subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=True
    )
    assert ended.stderr == "warning: within\n"
