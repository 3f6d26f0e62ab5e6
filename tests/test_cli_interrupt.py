"""Ctrl-C during a launch, in virtual time: what was sent is waited for, and all that
was started is stopped.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from support.launches import launched, matches, session

from edgegap_async import EdgegapSession
from edgegap_async.cli.run_launch import run_launch
from edgegap_async.simulator import Fault, Simulator

INTERRUPTED = 130


def interrupt_after(seconds: float, number: signal.Signals = signal.SIGINT) -> None:
    asyncio.get_running_loop().call_later(seconds, signal.raise_signal, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_was_sent_is_waited_for_and_all_is_stopped(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Simulator(delay_after=(0.8, 0.8))
    interrupt_after(1.0, number)

    assert await launched(simulator, 400) == INTERRUPTED

    sent = len(simulator.deployed())
    # one second of it
    assert 10 < sent <= 40
    assert simulator.stopped() == set(simulator.deployed())
    told = capsys.readouterr().err
    assert "interrupted: nothing more is started" in told
    assert f"stopped: {sent} servers: " in told
    assert all(request_id in told for request_id in simulator.deployed())
    assert "not known" not in told


async def test_what_is_ready_is_stopped_too(capsys: pytest.CaptureFixture[str]) -> None:
    simulator = Simulator(ready_after=(0.5, 5))
    interrupt_after(3)

    assert await launched(simulator, 20) == INTERRUPTED

    assert 0 < len(capsys.readouterr().out.splitlines()) < 20
    assert len(simulator.stopped()) == 20


async def test_a_deploy_that_is_refused_afterwards_is_not_sent_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(rates={"deploy": 2}, delay_before=(0.5, 0.5))
    interrupt_after(0.3)

    assert await launched(simulator, 50) == INTERRUPTED

    sent = simulator.arrivals("deploy")
    assert simulator.refused("deploy") == sent - 2 > 0
    assert f"{sent} deploys in flight are waited for" in capsys.readouterr().err
    assert simulator.stopped() == set(simulator.deployed())


async def test_a_deploy_that_waits_for_its_repeat_is_withdrawn() -> None:
    simulator = Simulator(rates={"deploy": 2}, retry_after=30)
    loop = asyncio.get_running_loop()
    began = loop.time()
    interrupt_after(1)

    assert await launched(simulator, 50) == INTERRUPTED

    assert loop.time() - began < 5
    assert simulator.arrivals("deploy") < 50
    assert simulator.stopped() == set(simulator.deployed())


async def test_a_deploy_that_never_left_is_not_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_after(10)
    with unreachable() as url:
        async with EdgegapSession("made-up", base_url=url) as edgegap:
            assert (
                await run_launch(edgegap, matches(1), timeout=None, stop=False)
                == INTERRUPTED
            )

    told = capsys.readouterr().err
    # its one attempt ended by its time-out
    assert "0 of 1 matches have their server, 0 failed, in 30." in told
    assert "not known" not in told


async def test_an_answer_that_is_lost_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_after(0.1)

    assert await launched(Simulator(delay_after=(40, 40)), 1) == INTERRUPTED

    assert "not known: m0: the search for the tag once-" in capsys.readouterr().err


async def test_what_a_lost_answer_has_started_is_found_and_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(faults=[Fault("deploy", "cut-after", 0.5)])
    interrupt_after(1.0)

    assert await launched(simulator, 400) == INTERRUPTED

    sent = len(simulator.deployed())
    assert simulator.arrivals("deploy") == sent <= 40
    assert simulator.stopped() == set(simulator.deployed())
    told = capsys.readouterr().err
    assert all(f"{request_id} (m" in told for request_id in simulator.deployed())
    assert "0 failed" in told
    assert "not known" not in told


async def test_what_was_lost_and_started_nothing_is_not_sent_again() -> None:
    simulator = Simulator(faults=[Fault("deploy", "cut-before")])
    interrupt_after(1.0)

    assert await launched(simulator, 400) == INTERRUPTED

    assert 10 < simulator.arrivals("deploy") <= 40
    assert not simulator.deployed()


async def test_twice_it_ends_at_once_and_tells_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(delay_after=(1, 1))
    interrupt_after(1.1)
    interrupt_after(1.2)

    async with session(simulator) as edgegap:
        launch = asyncio.create_task(
            run_launch(edgegap, matches(400), timeout=300, stop=False)
        )
        with suppress(asyncio.CancelledError):
            await launch
        assert launch.cancelled()
        told = capsys.readouterr().err
        left = len(simulator.deployed())

    assert (
        told.count("its deploy was in flight and may have started a server")
        + told.count("(m")
        == left
    )
    assert "running: " in told


async def test_it_does_not_end_while_it_stops(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(ready_after=(1, 1))
    interrupt_after(2.0)

    assert await launched(simulator, 60, stop=True) == INTERRUPTED
    assert simulator.stopped() == set(simulator.deployed())


@contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a server that accepts nobody: its queue of connections is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
