"""Files and pipes as shells write them: byte order marks, line ends, other encodings."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from edgegap_async.cli.program import program
from edgegap_async.simulator import Simulator, VirtualTimeLoop

LINE = '{"match_id": "%s", "players": ["192.0.2.1"]}'
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]


Run = Callable[..., Result]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_reap_reads_the_first_line_of_any_file(
    encoding: str,
    end: str,
    account: Simulator,
    run: Run,
    deployed: Callable[..., list[str]],
) -> None:
    servers = deployed("first", "second")
    result = run("--stop", "-", input=f"first{end}{end}second{end}".encode(encoding))
    assert result.exit_code == 0
    assert account.stopped() == {*servers}


@pytest.mark.parametrize(
    "wrong", [b"\xff\xfe\xfd", b"a\x00b", b"x" * 41, b"a\x07b"], ids=repr
)
def test_an_unreadable_line_is_named_and_keeps_no_other_from_being_reaped(
    wrong: bytes, account: Simulator, run: Run, deployed: Callable[..., list[str]]
) -> None:
    servers = deployed("first", "second")
    result = run("--stop", "-", input=b"first\n" + wrong + b"\nsecond\n")
    assert result.exit_code == 1
    assert "line 2: " in result.stderr
    assert account.stopped() == {*servers}


def test_nothing_but_unreadable_lines_asks_for_nothing(
    account: Simulator, run: Run
) -> None:
    result = run("--stop", "-", input=b"a\x07b\n")
    assert result.exit_code == 1
    assert "line 1: tag must not hold '\\x07'" in result.stderr
    assert account.arrivals("list") == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_launch_reads_matches_in_any_encoding(encoding: str) -> None:
    data = f"{LINE % 'a'}\r\n{LINE % 'b'}\r\n".encode(encoding)
    result = CliRunner().invoke(
        program,
        ["launch", "-", "--simulate"],
        input=data,
        obj=VirtualTimeLoop,
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert {json.loads(line)["match_id"] for line in result.stdout.splitlines()} == {
        "a",
        "b",
    }


@pytest.mark.parametrize("command", [["launch", "-", "--simulate"], ["reap", "-"]])
def test_a_file_that_is_cut_in_a_character_is_refused(
    command: list[str], account: Simulator
) -> None:
    result = CliRunner().invoke(program, command, input="ab".encode("utf-16")[:-1])
    assert result.exit_code == 2
    assert "can't be read" in result.stderr
    assert account.arrivals("list") == 0
