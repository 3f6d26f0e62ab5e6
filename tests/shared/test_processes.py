"""Processes with one journal: one of them is killed, paused, blocked or forks."""

import os
import signal
import subprocess
import time

import pytest
from support.journals import entries_of
from support.programs import started, until

from edgegap_async._shared.store import StoreError
from edgegap_async.simulator import Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no SIGSTOP"),
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
]
# Arguments: the store, the owner lease, and what to do.
PROGRAM = """
import asyncio, os, signal, sys, time
from edgegap_async import DeploymentTerminated, EdgegapSession, SharedState

url, lease, *steps = sys.argv[1:]
shared = SharedState(url, key="studio", owner_lease=float(lease))

def say(*words):
    print(*words, flush=True)

def session():
    return EdgegapSession(shared=shared, attempt_timeout=1.0)

async def hand_out(edgegap):
    accepted = await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
    say("handed", accepted.request_id)

def running(edgegap):
    return edgegap.deployments.running("game", "1", users=["203.0.113.7"])

async def hold(edgegap):
    await hand_out(edgegap)
    async with running(edgegap) as server:
        say("held", server.request_id)
        await asyncio.sleep(60)

async def keep(edgegap):
    # SIGUSR1 says when.
    go = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go.set)
    try:
        async with running(edgegap) as server:
            say("held", server.request_id)
            await go.wait()
            server.keep()
        say("kept")
    except DeploymentTerminated as error:
        say("refused", error)

async def block(edgegap):
    async with running(edgegap) as server:
        say("held", server.request_id)
        time.sleep(4 * float(lease))
        say("still there")
        await asyncio.sleep(60)

async def fork(edgegap):
    async with running(edgegap) as server:
        say("held", server.request_id)
        child = os.fork()
        if child == 0:
            os._exit(in_child())
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        say("child", os.waitstatus_to_exitcode(status))
        await asyncio.sleep(60)

def in_child():
    async def main():
        async with session() as edgegap:
            async with running(edgegap) as server:
                say("child holds", server.request_id)
    # asyncio knows that the loop of the parent runs here.
    asyncio.events._set_running_loop(None)
    asyncio.run(main())
    return 0

async def idle(edgegap):
    say("idle")
    await asyncio.sleep(60)

async def main():
    async with session() as edgegap:
        await globals()[steps[0]](edgegap)

asyncio.run(main())
"""


def line(process: subprocess.Popen[str]) -> list[str]:
    """The words of the next line that a program prints."""
    assert process.stdout
    assert process.stderr
    text = process.stdout.readline()
    assert text, process.stderr.read()
    return text.split()


def pause(process: subprocess.Popen[str], url: str) -> None:
    """Stop a process, but not within a transaction of SQLite: it would hold the lock."""
    while True:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        try:
            entries_of(url)
        except StoreError:
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        else:
            return


def test_what_a_killed_process_held_is_stopped_and_what_it_handed_out_is_not(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with (
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "hold") as victim,
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "idle") as other,
    ):
        _, handed = line(victim)
        _, held = line(victim)
        line(other)
        victim.kill()
        until(lambda: edgegap_simulator.stopped() == {held})
        # Its tags are searched for, too.
        time.sleep(3)
        assert edgegap_simulator.running() == {handed}
        assert {it.state for it in entries_of(one_store_url)} <= {
            "pending",
            "quarantine",
        }


@pytest.mark.full
def test_a_process_that_starts_stops_what_all_before_it_have_left(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with (
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "hold") as first,
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "hold") as second,
    ):
        held = set()
        for process in (first, second):
            line(process)
            held.add(line(process)[1])
        first.kill()
        second.kill()
    with started(PROGRAM, edgegap_simulator, one_store_url, "1", "idle") as third:
        line(third)
        until(lambda: edgegap_simulator.stopped() == held)


@pytest.mark.full
def test_a_process_that_was_paused_for_too_long_learns_that_its_server_is_gone(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with (
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "keep") as paused,
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "idle") as other,
    ):
        _, held = line(paused)
        line(other)
        pause(paused, one_store_url)
        until(lambda: edgegap_simulator.stopped() == {held})
        paused.send_signal(signal.SIGUSR1)
        paused.send_signal(signal.SIGCONT)
        words = line(paused)
        assert words[0] == "refused"
        assert "another process has taken deployment" in " ".join(words)
        assert paused.wait(20) == 0


@pytest.mark.full
def test_a_short_pause_changes_nothing(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with (
        started(PROGRAM, edgegap_simulator, one_store_url, "6", "keep") as paused,
        started(PROGRAM, edgegap_simulator, one_store_url, "6", "idle") as other,
    ):
        line(paused)
        line(other)
        pause(paused, one_store_url)
        time.sleep(2)
        paused.send_signal(signal.SIGUSR1)
        paused.send_signal(signal.SIGCONT)
        assert line(paused) == ["kept"]
        assert paused.wait(20) == 0
        assert edgegap_simulator.stopped() == set()


@pytest.mark.full
def test_a_blocked_loop_loses_nothing(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with (
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "block") as blocked,
        started(PROGRAM, edgegap_simulator, one_store_url, "1", "idle") as other,
    ):
        line(other)
        line(blocked)
        assert line(blocked) == ["still", "there"]
        assert edgegap_simulator.stopped() == set()


@pytest.mark.full
def test_the_child_of_a_fork_has_a_journal_of_its_own(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with started(PROGRAM, edgegap_simulator, one_store_url, "1", "fork") as parent:
        _, held = line(parent)
        *_, of_child = line(parent)
        assert line(parent) == ["child", "0"]
        assert edgegap_simulator.stopped() == {of_child}
        # The parent still renews its ownership, and has its entry.
        time.sleep(1.5)
        assert [
            it.request_id for it in entries_of(one_store_url) if it.state == "held"
        ] == [held]
        assert edgegap_simulator.stopped() == {of_child}
