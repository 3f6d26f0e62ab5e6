"""A session that nobody closes: at the end of its loop it stops what it has to, and names
the rest.
"""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import PLAYERS, deploy, forgotten, running

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
    pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning"),
]
# The sessions of a test, so that they live until its end.
Begun = Callable[[EdgegapSession], Awaitable[Any]]


async def in_running(edgegap: EdgegapSession) -> Any:
    block = running(edgegap)
    await block.__aenter__()
    return block


async def in_a_fleet(edgegap: EdgegapSession) -> Any:
    block = edgegap.private_fleets.running(
        "game", "1", users=PLAYERS, private_host_ids=["host"]
    )
    await block.__aenter__()
    return block


async def in_adopt(edgegap: EdgegapSession) -> Any:
    accepted = await deploy(edgegap)
    block = edgegap.deployments.adopt(accepted.request_id)
    await block.__aenter__()
    return block


async def in_deploy_many(edgegap: EdgegapSession) -> Any:
    block = edgegap.deployments.deploy_many(requests(5))
    outcomes = await block.__aenter__()
    await anext(outcomes)
    return block


async def left_by_callers(edgegap: EdgegapSession) -> Any:
    calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def left_while_sending(edgegap: EdgegapSession) -> Any:
    return asyncio.ensure_future(deploy(edgegap))


BEGUN = [
    in_running,
    left_by_callers,
    *(
        pytest.param(begin, marks=pytest.mark.full)
        for begin in (in_a_fleet, in_adopt, in_deploy_many, left_while_sending)
    ),
]


def run_without_closing(sim: Simulator, begin: Begun, **options: Any) -> EdgegapSession:
    """Run a program that begins something, and closes nothing."""

    async def main() -> tuple[EdgegapSession, Any]:
        edgegap = EdgegapSession("made-up", base_url=sim.url, **options)
        held = await begin(edgegap)
        await asyncio.sleep(0.02)
        return edgegap, held

    edgegap, _ = asyncio.run(main())
    gc.collect()
    return edgegap


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelname == "ERROR"]


@pytest.mark.full
@pytest.mark.edgegap_simulator(delay_after=(0.2, 0.2))
@pytest.mark.parametrize("begin", BEGUN)
def test_the_end_of_the_loop_stops_what_is_due(
    begin: Begun, edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    run_without_closing(edgegap_simulator, begin)
    assert edgegap_simulator.deployed()
    assert forgotten(edgegap_simulator) == set()
    assert errors_of(caplog) == []


@pytest.mark.edgegap_simulator(faults=[Fault("stop", "503-before", times=1)])
@pytest.mark.parametrize("begin", [in_running, in_deploy_many])
def test_a_stop_that_fails_is_retried_at_the_end_of_the_loop(
    begin: Begun, edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    run_without_closing(edgegap_simulator, begin)
    assert forgotten(edgegap_simulator) == set()
    assert errors_of(caplog) == []


@pytest.mark.edgegap_simulator(faults=[Fault("stop", "503-before")])
@pytest.mark.parametrize("begin", [in_running, in_deploy_many])
def test_what_could_not_be_stopped_is_named_in_one_warning(
    begin: Begun, edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    edgegap = run_without_closing(edgegap_simulator, begin, cleanup_timeout=0.5)
    left = forgotten(edgegap_simulator)
    assert left
    assert {request_id for request_id, _ in edgegap.leftovers} == left
    warned = [it.getMessage() for it in caplog.records if it.levelno >= 30]
    assert len(warned) == 1
    assert all(request_id in warned[0] for request_id in left)


def test_a_server_that_was_handed_out_is_not_stopped(
    edgegap_simulator: Simulator,
) -> None:
    run_without_closing(edgegap_simulator, deploy)
    assert len(edgegap_simulator.running()) == 1


@pytest.mark.edgegap_simulator(faults=[Fault("stop", "503-before")])
def test_aclose_works_after_the_loop_has_ended(edgegap_simulator: Simulator) -> None:
    edgegap = run_without_closing(edgegap_simulator, in_running, cleanup_timeout=0.1)
    left = edgegap.leftovers
    for _ in range(2):
        asyncio.run(edgegap.aclose())
        assert edgegap.leftovers == left != ()


@pytest.mark.measured
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_aclose_works_after_a_loop_that_was_not_shut_down(
    edgegap_simulator: Simulator,
) -> None:
    """As `loop.run_until_complete` does, which closes no generators."""
    edgegap = EdgegapSession("made-up", base_url=edgegap_simulator.url)
    loop = asyncio.new_event_loop()
    block = loop.run_until_complete(in_running(edgegap))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    asyncio.run(edgegap.aclose())
    assert len(edgegap.leftovers) == 1
    assert edgegap.leftovers[0][0] in edgegap_simulator.running()
    # The connections of a loop that was not shut down are never closed. They warn as they
    # are collected, which must not be in another test.
    del block, edgegap, task, loop
    gc.collect()


@pytest.mark.filterwarnings("default::ResourceWarning")
@pytest.mark.parametrize("deploys", [False, True])
def test_a_session_collected_open_says_so_once(
    deploys: bool, edgegap_simulator: Simulator
) -> None:
    async def main() -> None:
        edgegap = EdgegapSession("made-up", base_url=edgegap_simulator.url)
        if deploys:
            await deploy(edgegap)
        else:
            await edgegap.deployments.list()
        del edgegap
        gc.collect()
        await asyncio.sleep(0.05)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    texts = [str(it.message) for it in caught if it.category is ResourceWarning]
    # Other tests may have left something for the collector.
    url = edgegap_simulator.url
    texts = [text for text in texts if url in text or "Unclosed" in text]
    assert len(texts) == 1
    assert "was not closed" in texts[0]
    assert "made-up" not in texts[0]


def test_a_closed_session_says_nothing(edgegap_simulator: Simulator) -> None:
    async def main() -> None:
        async with EdgegapSession("made-up", base_url=edgegap_simulator.url) as edgegap:
            await edgegap.deployments.list()

    # What other tests have left is collected before.
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()
