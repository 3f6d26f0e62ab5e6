"""Ctrl-C while a session closes itself at the end of its loop: the closing ends at once,
and names what may still be running.
"""

import asyncio
import gc
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import deploy, forgotten, running

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
    pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def interrupts_are_not_ignored() -> Iterator[None]:
    """A shell ignores them in the processes that it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


NO_STOPS = Fault("stop", "503-before")


async def in_running(edgegap: EdgegapSession) -> Any:
    block = running(edgegap)
    await block.__aenter__()
    return block


async def in_deploy_many(edgegap: EdgegapSession) -> Any:
    block = edgegap.deployments.deploy_many(requests(3))
    outcomes = await block.__aenter__()
    await anext(outcomes)
    return block


async def lost(edgegap: EdgegapSession) -> Any:
    """Its tag is searched for."""
    return asyncio.ensure_future(deploy(edgegap))


def interrupted(
    sim: Simulator, begin: Any, after: int, **options: Any
) -> EdgegapSession:
    """Run a program that closes nothing, and interrupt the end of its loop.

    Args:
        begin: what it begins.
        after: the number of requests at the end of the loop before the interrupt.
    """
    returned = False
    count = 0

    def on_event(event: Any) -> None:
        nonlocal count
        closing = event.operation in ("deployments.stop", "deployments.list")
        if returned and closing and event.kind == "attempt":
            count += 1
            if count == after:
                signal.raise_signal(signal.SIGINT)

    async def main() -> tuple[EdgegapSession, Any]:
        nonlocal returned
        edgegap = EdgegapSession(
            "made-up", base_url=sim.url, on_event=on_event, **options
        )
        sessions.append(edgegap)
        held = await begin(edgegap)
        await asyncio.sleep(0.05)
        returned = True
        return edgegap, held

    sessions: list[EdgegapSession] = []
    asyncio.run(main())
    gc.collect()
    return sessions[0]


def unnamed(edgegap: EdgegapSession, sim: Simulator) -> set[str]:
    ids = {request_id for request_id, _ in edgegap.leftovers}
    tags = {tag for _, tag in edgegap.leftovers}
    left = forgotten(sim) - ids
    return {each for each in left if not tags & {*sim.tags_of(each)}}


@pytest.mark.parametrize("begin", [in_running, in_deploy_many])
@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.edgegap_simulator(faults=[NO_STOPS])
def test_an_interrupt_ends_the_closing_and_names_the_servers(
    begin: Any,
    after: int,
    edgegap_simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        edgegap = interrupted(edgegap_simulator, begin, after, cleanup_timeout=60.0)
    assert signal.getsignal(signal.SIGINT) is handler
    assert forgotten(edgegap_simulator)
    assert unnamed(edgegap, edgegap_simulator) == set()
    said = [it.getMessage() for it in caplog.records if it.levelno >= 30]
    # And nothing of asyncio's, such as a task that was destroyed.
    assert len(said) == 1
    assert "may still be running" in said[0]
    texts = [str(it.message) for it in caught]
    assert [it for it in texts if "never awaited" in it or "Unclosed" in it] == []
    asyncio.run(edgegap.aclose())


PROGRAM = """
import asyncio, logging, signal, sys
from edgegap_async import EdgegapSession

returned = False

def on_event(event):
    if returned and event.operation == "deployments.stop":
        signal.raise_signal(signal.SIGINT)

async def main():
    global returned, block
    edgegap = EdgegapSession("made-up", base_url=sys.argv[1], on_event=on_event)
    block = edgegap.deployments.running("game", "1", users=["203.0.113.7"])
    await block.__aenter__()
    returned = True

logging.basicConfig()
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""


@pytest.mark.edgegap_simulator(faults=[NO_STOPS])
def test_a_second_interrupt_is_raised_after_the_servers_were_named(
    edgegap_simulator: Simulator,
) -> None:
    """In a process of its own, as it breaks off the loop."""
    command = [sys.executable, "-c", PROGRAM, edgegap_simulator.url]
    ended = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=60, check=False
    )
    (request_id,) = edgegap_simulator.deployed()
    named = f"may still be running: {request_id}"
    assert ended.stderr.count(named) == 1
    assert "\nKeyboardInterrupt\n" in ended.stderr
    assert ended.returncode


@pytest.mark.measured
@pytest.mark.edgegap_simulator(
    faults=[Fault("deploy", "hang-after"), Fault("list", "lag", seconds=1e6)]
)
def test_an_interrupt_ends_the_search_for_a_tag_and_names_it(
    edgegap_simulator: Simulator,
) -> None:
    edgegap = interrupted(edgegap_simulator, lost, 1, cleanup_timeout=60.0)
    assert edgegap_simulator.deployed()
    assert unnamed(edgegap, edgegap_simulator) == set()
    asyncio.run(edgegap.aclose())


def test_an_interrupt_after_the_last_stop_leaves_nothing(
    edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    edgegap = interrupted(edgegap_simulator, in_running, 1)
    assert forgotten(edgegap_simulator) == set()
    assert edgegap.leftovers == ()
    assert [it for it in caplog.records if it.levelno >= 30] == []
    asyncio.run(edgegap.aclose())


@pytest.mark.edgegap_simulator(faults=[NO_STOPS])
def test_a_handler_of_the_program_stays(edgegap_simulator: Simulator) -> None:
    seen = []
    handler = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        edgegap = interrupted(edgegap_simulator, in_running, 1, cleanup_timeout=1.0)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert seen == [1]
    assert unnamed(edgegap, edgegap_simulator) == set()
    asyncio.run(edgegap.aclose())


def test_a_stop_that_an_interrupt_breaks_off_says_so(
    edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    interrupts = 1

    def on_event(event: Any) -> None:
        nonlocal interrupts
        if event.operation == "deployments.stop" and interrupts:
            interrupts -= 1
            raise KeyboardInterrupt

    async def main() -> None:
        async with (
            EdgegapSession(
                "made-up", base_url=edgegap_simulator.url, on_event=on_event
            ) as edgegap,
            running(edgegap),
        ):
            pass

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    (request_id,) = edgegap_simulator.deployed()
    said = [it.getMessage() for it in caplog.records]
    assert f"stop failed: deployment {request_id}: KeyboardInterrupt" in said
