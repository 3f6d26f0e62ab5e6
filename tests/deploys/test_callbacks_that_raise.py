"""A callback of the user raises what ends the task of a deploy: its server is stopped, or
named.
"""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import PLAYERS, deploy, forgotten, owning

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator

INSTANT = {"ready_after": (0.0, 0.0)}


class Fatal(BaseException):
    """What no `except Exception` catches."""


def cancel() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()


def cancelled() -> None:
    raise asyncio.CancelledError


def fatal() -> None:
    raise Fatal


def of_deploys(act: Callable[[], object], number: int) -> Callable[[Any], None]:
    """An `on_event` that acts on one event of deploys: the first one is its number 1."""
    seen = 0

    def on_event(event: Any) -> None:
        nonlocal seen
        if event.operation.endswith("deploy"):
            seen += 1
            if seen == number:
                act()

    return on_event


def unnamed(edgegap: EdgegapSession, sim: Simulator, held: list[str]) -> set[str]:
    """The servers that run on, and of which nobody knows."""
    ids = {request_id for request_id, _ in edgegap.leftovers}
    tags = {tag for _, tag in edgegap.leftovers}
    left = forgotten(sim, held) - ids
    return {each for each in left if not tags & {*sim.tags_of(each)}}


@pytest.mark.measured
@pytest.mark.parametrize("kind", ["ok", "cut-after", "502-after", "403-after", "422"])
@pytest.mark.parametrize("act", [cancel, cancelled, fatal])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_deploy_that_an_event_ends_leaves_no_server(
    act: Callable[[], None], kind: str, number: int
) -> None:
    async with owning(
        Fault("deploy", kind), options=INSTANT, on_event=of_deploys(act, number)
    ) as (edgegap, sim):
        held = []
        with suppress(BaseException):
            held.append((await deploy(edgegap)).request_id)
        await asyncio.sleep(30)
        assert len(sim.deployed()) == 1
        assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("act", [cancel, cancelled, fatal])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_deploy_many_stops_a_server_whose_task_an_event_has_ended(
    act: Callable[[], None], number: int
) -> None:
    async with owning(options=INSTANT, on_event=of_deploys(act, number)) as (
        edgegap,
        sim,
    ):
        held = []
        with suppress(BaseException):
            async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
                async for outcome in outcomes:
                    held += [it.request_id for it in (outcome.deployment,) if it]
        await asyncio.sleep(30)
        running = sim.running() - sim.stopped()
        await edgegap.aclose()
        assert running <= {*held}


async def test_an_event_that_ends_every_task_of_the_session_leaves_its_servers_named() -> (
    None
):
    """Neither a search nor a stop comes to an end then."""

    def on_event(event: Any) -> None:
        cancel()

    async with owning(options=INSTANT, on_event=on_event) as (edgegap, sim):
        for _ in range(3):
            with suppress(BaseException):
                await deploy(edgegap)
        await asyncio.sleep(30)
        await edgegap.aclose()
        assert len(sim.deployed()) == 3
        assert unnamed(edgegap, sim, []) == set()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
@pytest.mark.slow
def test_a_program_that_an_event_ends_leaves_no_server(
    error: type[BaseException], closes: bool, edgegap_simulator: Simulator
) -> None:
    def end() -> None:
        raise error

    sessions = []

    async def main() -> None:
        edgegap = EdgegapSession(
            "made-up", base_url=edgegap_simulator.url, on_event=of_deploys(end, 2)
        )
        sessions.append(edgegap)
        if closes:
            async with edgegap:
                await deploy(edgegap)
        await deploy(edgegap)

    with pytest.raises(error):
        asyncio.run(main())
    gc.collect()
    assert len(edgegap_simulator.deployed()) == 1
    assert unnamed(sessions[0], edgegap_simulator, []) == set()
    asyncio.run(sessions[0].aclose())


@pytest.mark.parametrize("act", [cancelled, fatal, ZeroDivisionError])
async def test_an_intent_that_raises_anything_starts_nothing(act: Any) -> None:
    def on_intent(_: str) -> None:
        if act is ZeroDivisionError:
            raise act
        act()

    async with owning(on_intent=on_intent) as (edgegap, sim):
        with pytest.raises(BaseException):  # noqa: B017
            await deploy(edgegap)
        await asyncio.sleep(10)
        assert sim.arrivals("deploy") == sim.arrivals("list") == 0
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("seconds", [6.0, 12.0, 25.0])
async def test_an_intent_that_fails_while_an_earlier_server_turns_up_leaves_none(
    seconds: float,
) -> None:
    """With `max_running`, a redeploy waits for the permit of the attempt before it."""
    told: list[str] = []

    def on_intent(tag: str) -> None:
        told.append(tag)
        if len(told) > 1:
            raise OSError("no space left on device")

    late = Fault("deploy", "processed-late", seconds=seconds, times=1)
    async with owning(late, options=INSTANT, on_intent=on_intent) as (edgegap, sim):
        held = []
        with suppress(BaseExceptionGroup):
            async with edgegap.deployments.deploy_many(
                requests(1), max_running=1
            ) as outcomes:
                async for outcome in outcomes:
                    assert outcome.deployment
                    held.append(outcome.deployment.request_id)
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 1
        assert forgotten(sim, held) == set()
    assert edgegap.leftovers == ()


async def test_an_intent_is_not_told_of_a_tag_that_is_never_sent() -> None:
    told: list[str] = []
    late = Fault("deploy", "processed-late", seconds=12.0, times=1)
    async with owning(late, options=INSTANT, on_intent=told.append) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(
            requests(1), max_running=1
        ) as outcomes:
            taken = [outcome async for outcome in outcomes]
        assert [it.deployment.request_id for it in taken if it.deployment] == [
            *sim.deployed()
        ]
        assert len(told) == 1
        assert told[0] in sim.tags_of(sim.deployed()[0])


async def test_a_stop_that_an_event_ends_is_tried_again() -> None:
    acts = [cancel, fatal, cancelled]

    def on_event(event: Any) -> None:
        if event.operation.endswith(".stop") and acts:
            acts.pop(0)()

    async with owning(options=INSTANT, on_event=on_event) as (edgegap, sim):
        for _ in range(3):
            async with edgegap.deployments.running("game", "1", users=PLAYERS):
                pass
        await asyncio.sleep(30)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()
