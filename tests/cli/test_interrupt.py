"""Ctrl-C during a launch, in virtual time: requests that were sent are awaited, and
every server is stopped.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from support.launches import launch_matches, matches, session

from edgegap_async import EdgegapSession
from edgegap_async.cli.launcher import Launch
from edgegap_async.cli.run_launch import run_launch
from edgegap_async.simulator import Fault, Simulator

INTERRUPTED = 130


def interrupt_after(seconds: float, number: signal.Signals = signal.SIGINT) -> None:
    asyncio.get_running_loop().call_later(seconds, signal.raise_signal, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_awaits_sent_deploys_and_stops_every_server(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Simulator(delay_after=(0.8, 0.8))
    interrupt_after(1.0, number)

    assert await launch_matches(simulator, 400) == INTERRUPTED

    sent = len(simulator.deployed())
    # A second at the full rate.
    assert 10 < sent <= 40
    assert simulator.stopped() == set(simulator.deployed())
    output = capsys.readouterr().err
    assert "interrupted: waiting for" in output
    assert f"stopped: {sent} servers: " in output
    assert all(request_id in output for request_id in simulator.deployed())
    assert "not known" not in output


async def test_an_interrupt_before_the_first_deploy_starts_nothing() -> None:
    simulator = Simulator()
    async with session(simulator) as edgegap:
        launch = Launch(
            edgegap,
            matches(10),
            timeout=300,
            on_ready=lambda match_id, server, seconds: None,
        )
        launch.interrupt()
        await launch.run()
    assert not simulator.deployed()


async def test_an_interrupt_stops_servers_that_are_ready(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(ready_after=(0.5, 5))
    interrupt_after(3)

    assert await launch_matches(simulator, 20) == INTERRUPTED

    assert 0 < len(capsys.readouterr().out.splitlines()) < 20
    assert len(simulator.stopped()) == 20


async def test_a_deploy_refused_after_an_interrupt_is_not_retried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(rates={"deploy": 2}, delay_before=(0.5, 0.5))
    interrupt_after(0.3)

    assert await launch_matches(simulator, 50) == INTERRUPTED

    sent = simulator.arrivals("deploy")
    assert simulator.refused("deploy") == sent - 2 > 0
    assert f"waiting for {sent} deploys in flight" in capsys.readouterr().err
    assert simulator.stopped() == set(simulator.deployed())


async def test_an_interrupt_withdraws_a_deploy_that_waits_for_its_retry() -> None:
    simulator = Simulator(rates={"deploy": 2}, retry_after=30)
    loop = asyncio.get_running_loop()
    began = loop.time()
    interrupt_after(1)

    assert await launch_matches(simulator, 50) == INTERRUPTED

    assert loop.time() - began < 5
    assert simulator.arrivals("deploy") < 50
    assert simulator.stopped() == set(simulator.deployed())


async def test_a_deploy_that_was_never_sent_is_not_retried_after_an_interrupt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_after(10)
    with unreachable() as url:
        async with EdgegapSession("made-up", base_url=url) as edgegap:
            assert (
                await run_launch(edgegap, matches(1), timeout=None, stop=False)
                == INTERRUPTED
            )

    output = capsys.readouterr().err
    # The one attempt ended with its timeout.
    assert "0 of 1 matches have their server, 0 failed, in 30." in output
    assert "not known" not in output


async def test_a_lost_answer_is_reported_as_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_after(0.1)

    assert await launch_matches(Simulator(delay_after=(40, 40)), 1) == INTERRUPTED

    assert "unknown: m0: the search for the tag once-" in capsys.readouterr().err


async def test_a_server_whose_answer_was_lost_is_found_and_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(faults=[Fault("deploy", "cut-after", 0.5)])
    interrupt_after(1.0)

    assert await launch_matches(simulator, 400) == INTERRUPTED

    sent = len(simulator.deployed())
    assert simulator.arrivals("deploy") == sent <= 40
    assert simulator.stopped() == set(simulator.deployed())
    output = capsys.readouterr().err
    assert all(f"{request_id} (m" in output for request_id in simulator.deployed())
    assert "0 failed" in output
    assert "not known" not in output


async def test_a_lost_deploy_that_started_nothing_is_not_retried() -> None:
    simulator = Simulator(faults=[Fault("deploy", "cut-before")])
    interrupt_after(1.0)

    assert await launch_matches(simulator, 400) == INTERRUPTED

    assert 10 < simulator.arrivals("deploy") <= 40
    assert not simulator.deployed()


@pytest.mark.slow
async def test_a_second_interrupt_ends_at_once_and_names_what_is_left(
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
        output = capsys.readouterr().err
        left = len(simulator.deployed())

    assert (
        output.count("its deploy was in flight and may have started a server")
        + output.count("(m")
        == left
    )
    assert "running: " in output


async def test_an_interrupt_does_not_end_the_stops_under_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(ready_after=(1, 1))
    interrupt_after(2.0)

    assert await launch_matches(simulator, 60, stop=True) == INTERRUPTED
    assert simulator.stopped() == set(simulator.deployed())


@contextmanager
def unreachable() -> Iterator[str]:
    """Yield the URL of a server that accepts no connection, as its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
