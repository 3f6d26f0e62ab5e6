"""`launch` as a process whose standard streams are closed, or whose terminal is lost: no
server is started without anybody being told, and none is forgotten.
"""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import PROCESS_TIMEOUT, account, until

from edgegap_async.simulator import Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
]
LINES = "".join(
    f'{{"match_id": "m{n}", "players": ["192.0.2.1"]}}\n' for n in range(20)
)
LAUNCH = f"{sys.executable} -m edgegap_async launch {{}} --application g --version 1"


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    path = tmp_path / "matches.jsonl"
    path.write_text(LINES)
    return path


def shell(line: str, simulator: Simulator) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell."""
    return subprocess.run(  # noqa: S603 - our own program
        ["/bin/bash", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT,
        env=account(simulator),
        check=False,
    )


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.parametrize(
    ("closed", "told"),
    [
        (">&-", "standard output is closed"),
        pytest.param("2>&-", "standard error is closed", marks=pytest.mark.full),
        (">&- 2>&-", ""),
    ],
)
def test_with_closed_outputs_nothing_is_started(
    closed: str, told: str, matches: Path, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{LAUNCH.format(matches)} {closed}", edgegap_simulator)
    assert ended.returncode == 2
    assert not edgegap_simulator.deployed()
    assert told in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    "command",
    [
        "reap --stop",
        *(
            pytest.param(it, marks=pytest.mark.full)
            for it in (LAUNCH.format("-"), "reap")
        ),
    ],
)
def test_a_closed_standard_input_is_said_and_not_read(
    command: str, edgegap_simulator: Simulator
) -> None:
    if command.startswith("reap"):
        command = f"{sys.executable} -m edgegap_async {command} -"
    ended = shell(f"{command} <&-", edgegap_simulator)
    assert ended.returncode == 2
    assert "standard input is closed" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_a_closed_standard_input_that_is_not_read_does_not_matter(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{LAUNCH.format(matches)} <&-", edgegap_simulator)
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == len(edgegap_simulator.running()) == 20


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("stream", [">", "2>"])
def test_a_full_disk_ends_the_launch_and_stops_its_servers(
    stream: str, matches: Path, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{LAUNCH.format(matches)} {stream} /dev/full", edgegap_simulator)
    assert ended.returncode == 1
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}
    assert "Traceback" not in ended.stderr


@pytest.mark.full
@pytest.mark.edgegap_simulator(
    ready_after=(0.0, 0.0), stop_takes=0.0, delay_after=(0.3, 0.6)
)
def test_a_reader_of_errors_that_goes_away_ends_the_launch(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    """`2>&1 >servers | head -1`: the first message is read, the rest can't be written."""
    # The launch waits for servers to end, as the cap is lower than the number of matches.
    line = f"{LAUNCH.format(matches)} --max-running 2 2>&1 >/dev/null | head -1"
    ended = shell(f"{line}; exit ${{PIPESTATUS[0]}}", edgegap_simulator)
    assert ended.stdout == (
        "18 matches will wait until servers of others have ended: --max-running without "
        "--stop\n"
    )
    assert ended.returncode == 1
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_stops_the_servers_and_names_them(
    number: signal.Signals, matches: Path, edgegap_simulator: Simulator
) -> None:
    errors = signalled(f"exec {LAUNCH.format(matches)}", number, edgegap_simulator)
    deployed = edgegap_simulator.deployed()
    assert edgegap_simulator.stopped() == {*deployed} != set()
    named = next(it for it in errors.splitlines() if it.startswith("stopped: "))
    assert all(request_id in named for request_id in deployed)


@pytest.mark.full
def test_under_nohup_a_launch_goes_on(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    line = f"exec nohup {LAUNCH.format(matches)}"
    errors = signalled(line, signal.SIGHUP, edgegap_simulator, code=0)
    assert len(edgegap_simulator.running()) == 20
    assert "20 of 20 matches have their server" in errors


def signalled(
    line: str, number: signal.Signals, simulator: Simulator, code: int = 130
) -> str:
    """Signal a launch once its first server is ready. Returns its messages."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            ["/bin/bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=account(simulator),
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == code
    assert "Traceback" not in errors
    return errors


@pytest.mark.measured
@pytest.mark.edgegap_simulator(
    ready_after=(0.0, 0.0), stop_takes=0.0, delay_after=(0.1, 0.3)
)
def test_a_lost_terminal_stops_all_servers(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    """Its progress bar can't be drawn any more."""
    shell, terminal = pty.fork()
    if not shell:
        os.environ.update(account(edgegap_simulator))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv("/bin/bash", ["bash", "--norc", "-i"])  # noqa: S606 - as sshd does
    os.write(terminal, f"{LAUNCH.format(matches)}\n".encode())
    until(edgegap_simulator.running)
    os.close(terminal)
    os.waitpid(shell, 0)
    until(lambda: not edgegap_simulator.running())
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}
