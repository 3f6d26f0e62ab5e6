"""Streams and numbers that a program is given: one line that says what is wrong, and no
traceback.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgegap_async.cli.program import program
from edgegap_async.simulator import VirtualTimeLoop

# In seconds, generous for a busy machine.
PROCESS_TIMEOUT = 60
PROGRAM = (sys.executable, "-m", "edgegap_async")
NAMES = ["Zürich ⚔", "😀"]
MATCHES = "".join(
    f"{json.dumps({'match_id': name, 'players': ['192.0.2.1']})}\n" for name in NAMES
)


def started(*args: str, shell: str = "", **variables: str) -> tuple[int, str, str]:
    """Run the program as a process. Returns its exit code and what it has written."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EDGEGAP_", "PYTHONIO", "PYTHONUTF8", "LC_", "LANG"))
    }
    run = subprocess.run(  # noqa: S603 (our own)
        ["/bin/sh", "-c", f'"$@" {shell}', "sh", *PROGRAM, *args],
        capture_output=True,
        env=clean | variables,
        timeout=PROCESS_TIMEOUT,
        check=False,
    )
    return run.returncode, run.stdout.decode(), run.stderr.decode(errors="replace")


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding",
    [
        "ascii",
        "utf-8",
        *(pytest.param(it, marks=pytest.mark.full) for it in ("latin-1", "cp1252")),
    ],
)
def test_a_match_id_that_stdout_cant_encode_is_written_as_json_escapes(
    encoding: str, tmp_path: Path
) -> None:
    (tmp_path / "matches").write_text(MATCHES)
    code, output, errors = started(
        "launch", str(tmp_path / "matches"), "--simulate", PYTHONIOENCODING=encoding
    )
    assert code == 0, errors
    lines = [json.loads(line) for line in output.splitlines()]
    assert {line["match_id"] for line in lines} == {*NAMES}
    # click writes UTF-8 where Python has chosen ASCII.
    assert output.isascii() == (encoding in ("latin-1", "cp1252"))
    assert "Traceback" not in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "args", [("launch", "-", "--simulate"), ("reap", "-"), ("reap", "--stop", "-")]
)
@pytest.mark.parametrize(
    ("shell", "text"),
    [
        ("<&-", "standard input .*is closed"),
        ("0>/dev/null", "can't be read: .*Bad file desc"),
    ],
)
def test_a_standard_input_that_cant_be_read_is_one_line(
    args: tuple[str, ...], shell: str, text: str
) -> None:
    code, output, errors = started(*args, shell=shell, EDGEGAP_API_TOKEN="made-up")
    assert (code, output) == (2, "")
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert re.search(text, last), last


def run(*args: str, obj: Any = VirtualTimeLoop) -> Result:
    return CliRunner().invoke(program, args, obj=obj, catch_exceptions=False)


NUMBERS = [
    ("launch", "-", "--simulate", "--timeout"),
    ("reap", "tag", "--timeout"),
    ("simulate", "--retry-after"),
    ("simulate", "--replica-lag"),
    ("simulate", "--ready-after", "0"),
    ("simulate", "--delay-before", "0"),
    ("simulate", "--delay-after", "0"),
]


@pytest.mark.parametrize("args", NUMBERS, ids=lambda args: args[-1])
@pytest.mark.parametrize("value", ["inf", "nan", "1e999", "-1", "soon"])
def test_a_number_of_seconds_must_be_finite(args: tuple[str, ...], value: str) -> None:
    result = run(*args, value)
    assert result.exit_code == 2
    assert value in result.stderr or "inf" in result.stderr


@pytest.mark.parametrize("option", ["--burst", "--max-running"])
def test_a_number_that_nothing_has_is_refused(option: str) -> None:
    result = run("launch", "-", "--simulate", option, "9" * 30)
    assert result.exit_code == 2
    assert option in result.stderr


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy in another thread that asks for a password, and what it has received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        received.append(connection.recv(4096))
                        connection.sendall(
                            b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                            b"Content-Length: 0\r\n\r\n"
                        )
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", received
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_the_command_line_obeys_the_proxy_of_the_environment(
    proxy: tuple[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url, received = proxy
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", url)
    monkeypatch.setenv("EDGEGAP_BASE_URL", "https://api.invalid")
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up-token")
    (tmp_path / "matches").write_text(MATCHES)
    launch = ("launch", str(tmp_path / "matches"), "--application=a", "--version=1")
    for args in (("reap", "tag", "--timeout=5"), (*launch, "--timeout=5")):
        received.clear()
        # On a real loop, as the proxy is in another thread.
        result = run(*args, obj=None)
        assert result.exit_code == 1
        assert "407" in result.stderr
        assert received
        assert all(each.startswith(b"CONNECT api.invalid:443") for each in received)
        assert not any(b"made-up-token" in each for each in received)
