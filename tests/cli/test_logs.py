"""`logs` prints what a container has written."""

import json
import signal
from collections.abc import Callable

import pytest
from cli.conftest import KeptLoop
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from support.raw_server import RawServer, answer

from edgegap_async.cli.new_text import new_text
from edgegap_async.simulator import Simulator

Edgegap = Callable[..., Result]
Deployed = Callable[..., list[str]]
GONE = answer(404, {"message": "Deployment c065 not found"})


def texts(*logs: str | None) -> list[object]:
    """The answers of one reading after another, and the end."""
    return [*(answer(200, {"logs": each}) for each in logs), GONE]


def test_logs_are_printed_as_they_are(
    account: Simulator, edgegap: Edgegap, deployed: Deployed
) -> None:
    (request_id,) = deployed("a")
    edgegap("wait", request_id)
    result = edgegap("logs", request_id)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("game 1 starts")
    assert not result.stderr
    (line,) = edgegap("logs", request_id, "--json").stdout.splitlines()
    assert json.loads(line)["logs"] == result.stdout


@pytest.mark.parametrize(
    ("logs", "printed"),
    [(None, ""), ("", ""), ("a", "a\n"), ("a\n", "a\n"), ("a\n\n", "a\n\n")],
)
def test_the_last_line_gets_its_end(
    logs: str | None, printed: str, scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(*texts(logs))
    assert edgegap("logs", "c065").stdout == printed


def test_logs_do_not_control_the_terminal(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(200, {"logs": "\x1b[31mred\x1b[0m\r\n\x1b]0;t\x07\x9b2Jx\ty\n"}))
    assert edgegap("logs", "c065").stdout == "red\nx\ty\n"
    assert "\x1b" not in edgegap("logs", "c065", "--json").stdout


def test_a_crash_is_told_on_standard_error(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    crash = {"exit_code": 139, "message": "Segfault\x1b[2J", "restart_count": 2}
    scripted(
        answer(200, {"logs": "a\n", "crash_data": crash, "crash_logs": "at 0x1\n"})
    )
    result = edgegap("logs", "c065")
    assert result.stdout == "a\n"
    assert result.stderr == (
        "crashed with exit code 139, restarted 2 times: Segfault\ncrash: at 0x1\n"
    )


def test_follow_prints_each_line_once_until_the_end(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    server = scripted(*texts(None, "a\n", "a\nb", "a\nb", "a\nbc\nd\n"))
    result = edgegap("logs", "c065", "--follow")
    assert result.exit_code == 0
    assert result.stdout == "a\nbc\nd\n"
    assert result.stderr == "c065 has ended\n"
    assert server.times == pytest.approx([0, 2, 4, 6, 8, 10], abs=0.5)


def test_follow_as_json_is_one_object_per_complete_line(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(*texts("a", "ab\n\nc", "ab\n\ncd"))
    lines = edgegap("logs", "c065", "--follow", "--json").stdout.splitlines()
    assert [json.loads(line)["line"] for line in lines] == ["ab", "", "cd"]


def test_follow_goes_on_if_old_lines_are_dropped(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(*texts("1\n2\n3\n", "2\n3\n4\n", "4\n5\n", "8\n9\n"))
    assert edgegap("logs", "c065", "-f").stdout == "1\n2\n3\n4\n5\n8\n9\n"


def test_follow_tells_of_each_crash_once(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    crashes = [{"exit_code": 1, "restart_count": count} for count in (1, 1, 2)]
    acts = [answer(200, {"logs": "a\n", "crash_data": each}) for each in crashes]
    scripted(answer(200, {"logs": "a\n"}), *acts, GONE)
    result = edgegap("logs", "c065", "--follow")
    assert result.stdout == "a\n"
    assert result.stderr.splitlines() == [
        "crashed with exit code 1, restarted 1 time",
        "crashed with exit code 1, restarted 2 times",
        "c065 has ended",
    ]


def test_a_crash_tells_only_what_is_known(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(200, {"logs": "", "crash_data": {"message": "out of memory"}}))
    assert edgegap("logs", "c065").stderr.splitlines() == ["crashed: out of memory"]


def test_an_error_ends_following(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(200, {"logs": "a\n"}), answer(403, {"message": "no"}))
    result = edgegap("logs", "c065", "--follow")
    assert (result.exit_code, result.stdout) == (1, "a\n")
    assert len(result.stderr.splitlines()) == 1


def test_follow_of_a_wrong_id_fails(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(GONE)
    result = edgegap("logs", "c065", "--follow")
    assert result.exit_code == 1
    assert result.stderr.endswith("see `edgegap ps`\n")


def test_ctrl_c_ends_following(
    account: Simulator, edgegap: Edgegap, deployed: Deployed, loop: KeptLoop
) -> None:
    (request_id,) = deployed("a")
    loop.call_later(120, signal.raise_signal, signal.SIGINT)
    result = edgegap("logs", request_id, "--follow")
    assert result.exit_code == 130
    assert len(result.stdout.splitlines()) >= 5
    assert "Traceback" not in result.output


@given(st.lists(st.text("ab\n", max_size=9)), st.integers(0, 40))
def test_what_is_new_is_found_whatever_was_dropped(
    texts_added: list[str], dropped: int
) -> None:
    """With lines that differ, nothing is printed twice and nothing is left out."""
    lines = [
        f"{number} {text}".replace("\n", " ") + "\n"
        for number, text in enumerate(texts_added)
    ]
    before = "".join(lines[: len(lines) // 2])
    now = "".join(lines[min(dropped, len(lines) // 3) :])
    assert new_text(before, now) == "".join(lines[len(lines) // 2 :])
