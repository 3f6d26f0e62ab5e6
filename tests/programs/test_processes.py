"""Programs under `edgegap_async.run` as processes, with real signals: they leave no
server that they don't name.
"""

import os
import pty
import signal
import subprocess
import sys

import pytest
from support.owning import forgotten
from support.programs import PROCESS_TIMEOUT, account, started, until

from edgegap_async.simulator import Fault, Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
]
# It has a server in a block, then prints a line.
PROGRAM = """
import asyncio, sys
import edgegap_async
from edgegap_async import EdgegapSession

async def main():
    async with EdgegapSession(cleanup_timeout=float(sys.argv[1])) as edgegap:
        async with edgegap.deployments.running("game", "1", users=["203.0.113.7"]):
            print("ready", flush=True)
            await asyncio.sleep(600)

if sys.argv[2:] == ["uvloop"]:
    import uvloop
    edgegap_async.run(main(), loop_factory=uvloop.new_event_loop)
else:
    edgegap_async.run(main())
"""
NO_STOPS = Fault("stop", "503-before")


@pytest.mark.parametrize(
    ("number", "loop"),
    [
        (signal.SIGTERM, "asyncio"),
        (signal.SIGHUP, "asyncio"),
        (signal.SIGTERM, "uvloop"),
    ],
)
def test_a_signal_stops_the_servers_and_is_the_exit_code(
    number: signal.Signals, loop: str, edgegap_simulator: Simulator
) -> None:
    with started(PROGRAM, edgegap_simulator, "8", loop) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 128 + number
    assert len(edgegap_simulator.deployed()) == 1
    assert forgotten(edgegap_simulator) == set()
    assert errors == ""


@pytest.mark.full
@pytest.mark.edgegap_simulator(
    ready_after=(0.0, 0.0), stop_takes=0.0, faults=[NO_STOPS]
)
def test_a_second_signal_names_the_server_and_ends_the_process(
    edgegap_simulator: Simulator,
) -> None:
    with started(PROGRAM, edgegap_simulator, "3600") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        until(lambda: edgegap_simulator.arrivals("other") > 2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == -signal.SIGTERM
    (server,) = edgegap_simulator.deployed()
    named = [line for line in errors.splitlines() if "may still be running" in line]
    assert len(named) == 1
    assert server in named[0]


def test_under_nohup_a_hangup_is_ignored_and_sigterm_is_not(
    edgegap_simulator: Simulator,
) -> None:
    with started(PROGRAM, edgegap_simulator, "8", before="exec nohup") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert len(edgegap_simulator.running()) == 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 143
    assert forgotten(edgegap_simulator) == set()


def test_a_lost_terminal_stops_the_servers(edgegap_simulator: Simulator) -> None:
    """The shell and the kernel each send SIGHUP, and writing to the terminal fails."""
    shell, terminal = pty.fork()
    if not shell:
        os.environ.update(account(edgegap_simulator))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv("/bin/bash", ["bash", "--norc", "-i"])  # noqa: S606 - as sshd does
    command = f"{sys.executable} -c '{PROGRAM}' 8\n"
    os.write(terminal, command.encode())
    until(edgegap_simulator.running)
    os.close(terminal)
    os.waitpid(shell, 0)
    until(lambda: not edgegap_simulator.running())
    assert forgotten(edgegap_simulator) == set()


TO_A_CHILD = """
import asyncio, os, signal, time
import edgegap_async

async def main():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # Python forgets signals that arrive during the fork.
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

edgegap_async.run(main())
"""


def test_a_forked_child_is_ended_by_a_signal(edgegap_simulator: Simulator) -> None:
    """As `multiprocessing` ends its children. The child runs no loop that could be
    cancelled.
    """
    with started(TO_A_CHILD, edgegap_simulator) as process:
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert (output, process.returncode) == (f"{-signal.SIGTERM}\n", 0)
    assert "Traceback" not in errors


# A program that handles signals forks workers, which are programs of their own.
WORKERS = """
import asyncio, multiprocessing, os, signal, sys
import edgegap_async
from edgegap_async import EdgegapSession

async def worker():
    async with EdgegapSession() as edgegap:
        async with edgegap.deployments.running("game", "1", users=["203.0.113.7"]):
            os.write(ready, b"x")
            await asyncio.sleep(600)

def child():
    edgegap_async.run(worker())

async def main():
    number = signal.Signals(int(sys.argv[1]))
    if sys.argv[2] == "fork":
        pid = os.fork()
        if not pid:
            try:
                child()
            except SystemExit as ended:
                os._exit(ended.code)
    else:
        context = multiprocessing.get_context("fork")
        process = context.Process(target=child)
        process.start()
        pid = process.pid
    await asyncio.to_thread(os.read, done, 1)
    os.kill(pid, number)
    if sys.argv[2] == "fork":
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    else:
        process.join()
        print(process.exitcode)

done, ready = os.pipe()
edgegap_async.run(main())
"""


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGTERM, "multiprocessing"),
        (signal.SIGTERM, "fork"),
        (signal.SIGHUP, "fork"),
    ],
)
def test_a_signal_stops_the_servers_of_a_forked_worker_that_runs_a_program(
    number: signal.Signals, how: str, edgegap_simulator: Simulator
) -> None:
    with started(WORKERS, edgegap_simulator, str(int(number)), how) as process:
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    assert (output, process.returncode) == (f"{128 + number}\n", 0), errors
    assert len(edgegap_simulator.deployed()) == 1
    assert forgotten(edgegap_simulator) == set()
