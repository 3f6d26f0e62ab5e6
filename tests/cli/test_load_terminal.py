"""`load` as a process: in a terminal, in pipes, with closed streams. Nothing is left
running.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.programs import PROCESS_TIMEOUT, account, shell, until
from support.terminals import in_terminal

from edgegap_async.simulator import Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
]
LOAD = ("load", "--application", "game", "--version", "1", "--rate", "20")
SHELL = f"{sys.executable} -m edgegap_async {' '.join(LOAD)}"


@pytest.mark.full
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_rates_and_the_summary(
    columns: int, edgegap_simulator: Simulator
) -> None:
    with in_terminal(
        edgegap_simulator, *LOAD, "--hold", "3s", columns=columns
    ) as terminal:
        terminal.until("/s reached")
        assert terminal.ended() == 0
    assert "60 of 60 servers were ready" in terminal.shown
    assert "limit kept: 2" in terminal.shown
    # The view is gone, and the summary fits.
    summary = terminal.shown[terminal.shown.index("60 of 60") :].splitlines()
    assert all(cell_len(line) <= columns for line in summary)
    assert not edgegap_simulator.running()


def test_ctrl_c_in_a_terminal_stops_all_servers(edgegap_simulator: Simulator) -> None:
    with in_terminal(edgegap_simulator, *LOAD, "--hold", "600s") as terminal:
        terminal.until("20/s reached")
        terminal.type("\x03")
        assert terminal.ended() == 130
    # The view is removed before, and drawn again below.
    assert "\x1b[2Kinterrupted: " in terminal.shown
    assert edgegap_simulator.deployed()
    assert not edgegap_simulator.running()


@pytest.mark.full
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_with_a_closed_stream_nothing_is_started(
    closed: str, edgegap_simulator: Simulator
) -> None:
    assert shell(f"{SHELL} --hold 3s {closed}", edgegap_simulator).returncode == 2
    assert not edgegap_simulator.deployed()


@pytest.mark.full
def test_into_head_it_writes_its_files_and_stops_its_servers(
    edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    page = tmp_path / "load.html"
    ended = shell(f"{SHELL} --hold 2s --report {page} | head -n 1", edgegap_simulator)
    assert ended.returncode == 0
    assert "40 of 40 servers were ready" in ended.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert not edgegap_simulator.running()


@pytest.mark.full
def test_a_lost_progress_ends_the_test_and_stops_its_servers(
    edgegap_simulator: Simulator,
) -> None:
    """The reader of standard error goes away."""
    ended = shell(f"{SHELL} --hold 600s 2> >(exec true)", edgegap_simulator)
    assert ended.returncode == 1
    assert 0 < len(edgegap_simulator.deployed()) < 400
    assert not edgegap_simulator.running()


@contextmanager
def started(simulator: Simulator) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "edgegap_async", *LOAD, "--hold", "600s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=account(simulator),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.full
def test_the_first_signal_after_a_lost_progress_stops_all_servers_too(
    edgegap_simulator: Simulator,
) -> None:
    with started(edgegap_simulator) as process:
        assert process.stderr
        process.stderr.close()
        until(edgegap_simulator.stopped)
        process.terminate()
        process.wait(PROCESS_TIMEOUT)
    assert process.returncode == 130
    assert not edgegap_simulator.running()


@pytest.mark.full
def test_sigterm_stops_all_servers(edgegap_simulator: Simulator) -> None:
    with started(edgegap_simulator) as process:
        until(edgegap_simulator.deployed)
        process.terminate()
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 130
    assert "interrupted: " in errors
    assert edgegap_simulator.deployed()
    assert not edgegap_simulator.running()
