"""`launch --processes`: several processes, one summary, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from click.testing import CliRunner
from support.programs import PROCESS_TIMEOUT, account, until

from edgegap_async.cli.program import program
from edgegap_async.simulator import Fault, Simulator

LINES = "".join(
    f'{{"match_id": "m{n}", "players": ["192.0.2.1"]}}\n' for n in range(60)
)
NAMED = ("--application", "game", "--version", "1")


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    path = tmp_path / "matches.jsonl"
    path.write_text(LINES)
    return path


@contextmanager
def launched(
    matches: Path,
    simulator: Simulator,
    *args: str,
    options: Mapping[str, Any] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A launch in three processes, or in as many as the last option says.

    Args:
        options: of `Popen`.
    """
    command = [sys.executable, "-m", "edgegap_async", "launch", str(matches), *NAMED]
    shared = f"sqlite:///{matches.parent / 'shared.db'}"
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--processes", "3", "--shared", shared, *args],
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=account(simulator),
        **(options or {}),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children(process: subprocess.Popen[str]) -> list[int]:
    """The process IDs of the parts."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(each) for each in path.read_text().split()]


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0))
def test_the_processes_keep_the_limits_and_have_one_summary(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 0, errors
    ready = [json.loads(line) for line in output.splitlines()]
    assert sorted(line["match_id"] for line in ready) == sorted(
        f"m{n}" for n in range(60)
    )
    assert {line["request_id"] for line in ready} == set(edgegap_simulator.deployed())
    assert errors.count("60 of 60 matches have their server, 0 failed") == 1
    limits = edgegap_simulator.counts()["limits"]
    assert {name: limit["refused"] for name, limit in limits.items()} == dict.fromkeys(
        limits, 0
    )
    row = next(line for line in errors.splitlines() if "  deploy " in line).split()
    assert row[:2] == ["deploy", "60"]
    assert 20 <= int(row[2]) <= 40
    assert int(row[3]) == 0


@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 60.0), stop_takes=0.0)
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_ctrl_c_stops_the_servers_of_all_processes(
    number: signal.Signals, matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        until(lambda: len(edgegap_simulator.deployed()) > 20)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 130
    deployed = set(edgegap_simulator.deployed())
    assert edgegap_simulator.stopped() == deployed
    assert f"stopped: {len(deployed)} servers" in errors
    assert "Traceback" not in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 60.0), stop_takes=0.0)
def test_if_the_launch_is_killed_its_processes_stop_their_servers(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        until(lambda: len(edgegap_simulator.deployed()) > 20)
        parts = children(process)
        process.kill()
        until(lambda: not any(Path(f"/proc/{part}").exists() for part in parts))
    deployed = set(edgegap_simulator.deployed())
    assert edgegap_simulator.stopped() == deployed


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0))
def test_a_process_that_can_not_be_started_is_named_and_the_others_go_on(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    resource = pytest.importorskip("resource", reason="Windows has none")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = {
        # Each process has two pipes.
        "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (30, most))
    }
    with launched(
        matches, edgegap_simulator, "--processes", "20", options=limits
    ) as process:
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 1
    assert "process 20 can't be started (Too many open files)" in errors
    assert "Traceback" not in errors
    named = [json.loads(line)["request_id"] for line in output.splitlines()]
    assert 0 < len(named) < 60
    assert f"{len(named)} of 60 matches have their server" in errors
    assert set(named) == edgegap_simulator.running()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0), stop_takes=0.0)
def test_a_killed_process_is_named_and_what_it_had_printed_is_stopped(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator, "--stop") as process:
        assert process.stdout
        assert process.stderr
        printed = [json.loads(process.stdout.readline())]
        killed = children(process)[0]
        os.kill(killed, signal.SIGKILL)
        # `communicate()` would lose the lines that came with the first one.
        output, errors = process.stdout.read(), process.stderr.read()
        process.wait(PROCESS_TIMEOUT)
    assert process.returncode == 1
    assert "was killed by signal 9: servers that it was starting" in errors
    printed += [json.loads(line) for line in output.splitlines()]
    ready = {line["request_id"] for line in printed}
    assert ready <= edgegap_simulator.stopped()
    assert f"{len(ready)} of 60 matches have their server" in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0))
def test_warnings_say_which_process_they_are_of(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    missing = f"sqlite:///{matches.parent / 'missing' / 'shared.db'}"
    with launched(matches, edgegap_simulator, "--shared", missing) as process:
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 0
    for number in (1, 2, 3):
        line = f"process {number}: journal can't be written (shared SQLite file: "
        assert errors.count(line) == 1
    # The launch has a session too.
    assert errors.count("journal can't be written (") == 4


@contextmanager
def one_still_runs(
    matches: Path, simulator: Simulator
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A launch whose processes have ended, but for one, which is stopped (SIGSTOP)."""
    with launched(matches, simulator) as process:
        assert process.stdout
        process.stdout.readline()
        paused = children(process)[0]
        os.kill(paused, signal.SIGSTOP)
        until(lambda: children(process) == [paused])
        yield process, paused


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0), stop_takes=0.0)
def test_ctrl_c_stops_the_servers_of_processes_that_have_ended(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with one_still_runs(matches, edgegap_simulator) as (process, paused):
        process.send_signal(signal.SIGINT)
        os.kill(paused, signal.SIGCONT)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 130
    deployed = set(edgegap_simulator.deployed())
    assert edgegap_simulator.stopped() == deployed
    assert f"stopped: {len(deployed)} servers" in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0), stop_takes=0.0)
def test_a_lost_output_stops_the_servers_of_processes_that_have_ended(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with one_still_runs(matches, edgegap_simulator) as (process, paused):
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        os.kill(paused, signal.SIGCONT)
        process.stderr.read()
        process.wait(PROCESS_TIMEOUT)
    assert process.returncode == 1
    assert edgegap_simulator.stopped() == set(edgegap_simulator.deployed())


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0), stop_takes=0.0)
def test_the_third_ctrl_c_kills_a_process_that_does_not_answer(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with one_still_runs(matches, edgegap_simulator) as (process, paused):
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            sleep(0.5)
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
        assert not Path(f"/proc/{paused}").exists()
    assert process.returncode == 130
    assert "was killed by signal 9" in errors
    named = {json.loads(line)["request_id"] for line in output.splitlines()}
    assert named <= edgegap_simulator.stopped()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 1.0), stop_takes=0.0)
def test_if_the_output_can_not_be_written_all_processes_stop_their_servers(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(PROCESS_TIMEOUT)
    assert process.returncode == 1
    assert "writing to standard output failed" in errors
    deployed = set(edgegap_simulator.deployed())
    assert edgegap_simulator.stopped() == deployed


@pytest.mark.full
@pytest.mark.slow
def test_processes_of_a_simulated_launch_share_its_simulator(matches: Path) -> None:
    matches.write_text("".join(LINES.splitlines(keepends=True)[:12]))
    command = [sys.executable, "-m", "edgegap_async", "launch", str(matches)]
    ended = subprocess.run(  # noqa: S603 - our own program
        [*command, "--simulate", "--processes", "2", "--max-running", "9", "--stop"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 12
    rows = [line.split() for line in ended.stderr.splitlines()]
    counted = [row for row in rows if row[:1] == ["deploy"]]
    # As sent, and as counted by the simulator.
    assert [row[1] for row in counted] == ["12", "12"]
    assert "stopped: 12 servers" in ended.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--processes", "2"), "--processes needs --shared"),
        (("--processes", "0"), "0 is not in the range"),
        (
            ("--processes", "3", "--simulate", "--max-running", "2"),
            "--max-running can't be less than --processes",
        ),
    ],
)
def test_wrong_processes_are_named_before_anything_is_sent(
    args: tuple[str, ...], told: str
) -> None:
    result = CliRunner().invoke(
        program,
        ["launch", *NAMED, *args, "-"],
        input=LINES,
        env={"EDGEGAP_API_TOKEN": "made-up", "EDGEGAP_SHARED_URL": None},
    )
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0.0, 60.0), stop_takes=0.0)
def test_a_signal_to_all_processes_at_once_counts_once(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        until(lambda: len(edgegap_simulator.deployed()) > 20)
        for each in (process.pid, *children(process)):
            os.kill(each, signal.SIGTERM)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 130
    assert edgegap_simulator.stopped() == set(edgegap_simulator.deployed())
    assert "ended with exit code" not in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(
    ready_after=(0.0, 60.0),
    stop_takes=0.0,
    # The stops are not over when the launch is killed.
    faults=[Fault("stop", "late", 1.0, 2.0)],
)
def test_if_the_launch_is_killed_after_ctrl_c_its_processes_still_stop_their_servers(
    matches: Path, edgegap_simulator: Simulator
) -> None:
    with launched(matches, edgegap_simulator) as process:
        until(lambda: len(edgegap_simulator.deployed()) > 20)
        parts = children(process)
        process.send_signal(signal.SIGINT)
        until(lambda: edgegap_simulator.arrivals("other"))
        process.kill()
        until(lambda: not any(Path(f"/proc/{part}").exists() for part in parts))
    assert edgegap_simulator.stopped() == set(edgegap_simulator.deployed())
