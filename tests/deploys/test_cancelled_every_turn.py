"""Cancellation that is delivered on every turn of the loop, as anyio's cancel scopes
deliver it. Cleanup ends, nothing is forgotten, and the cancellation is raised.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from support.limiter_model import now
from support.owning import at_every_turn, deploy, forgotten, owning, running

from edgegap_async import DeployRequest, EdgegapError, EdgegapSession
from edgegap_async.simulator import Fault, Simulator

faulty = pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault("deploy", "cut-after")],
        [Fault("deploy", "cut-before", 0.5), Fault("stop", "503-before", 0.5)],
    ],
    ids=["no faults", "answers lost", "deploys lost and stops failing"],
)
taken: set[str] = set()


def requests(count: int) -> list[DeployRequest]:
    return [DeployRequest("game", "1", users=["203.0.113.7"]) for _ in range(count)]


async def deploys(edgegap: EdgegapSession, _: Simulator) -> str:
    return (await deploy(edgegap)).request_id


async def runs(edgegap: EdgegapSession, _: Simulator) -> None:
    async with running(edgegap):
        await asyncio.sleep(0.01)


async def adopts(edgegap: EdgegapSession, _: Simulator) -> None:
    accepted = await deploy(edgegap)
    taken.add(accepted.request_id)
    async with edgegap.deployments.adopt(accepted.request_id):
        taken.discard(accepted.request_id)
        await asyncio.sleep(0.01)


async def deploys_many(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
        async for outcome in outcomes:
            if outcome.deployment:
                taken.add(outcome.deployment.request_id)


async def waits_for_many(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(
        requests(3), until_ready=False
    ) as outcomes:
        async for outcome in outcomes:
            if outcome.deployment:
                taken.add(outcome.deployment.request_id)
    async with edgegap.deployments.wait_many(tuple(taken)) as ready:
        async for _ in ready:
            pass


async def closes(edgegap: EdgegapSession, _: Simulator) -> None:
    loop = asyncio.get_running_loop()
    attempt = loop.create_task(deploys_many(edgegap, _))
    await asyncio.sleep(0.002)
    await edgegap.aclose()
    await asyncio.gather(attempt, return_exceptions=True)


@pytest.mark.slow
@faulty
@pytest.mark.parametrize(
    "attempt",
    [
        deploys,
        deploys_many,
        closes,
        *(
            pytest.param(attempt, marks=pytest.mark.full)
            for attempt in (runs, adopts, waits_for_many)
        ),
    ],
)
def test_cleanup_ends_and_no_server_is_forgotten(
    attempt: Any, faults: list[Fault]
) -> None:
    errors, turns = at_every_turn(
        attempt, *faults, strike="cancel-every-turn", taken=taken
    )
    assert turns > 10
    unexpected = [
        error for error in errors if not isinstance(error, EdgegapError | None)
    ]
    assert unexpected == []


@pytest.mark.slow
async def test_deploy_many_in_an_anyio_scope_leaves_its_block_at_once() -> None:
    async with owning(options={"delay_after": (0.3, 0.3)}) as (edgegap, sim):
        mine: set[str] = set()
        with anyio.move_on_after(2) as scope:
            async with edgegap.deployments.deploy_many(requests(300)) as outcomes:
                async for outcome in outcomes:
                    if outcome.deployment:
                        mine.add(outcome.deployment.request_id)
        assert scope.cancelled_caught
        await asyncio.sleep(30)
        assert sim.deployed()
        assert forgotten(sim, mine) == set()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.3])
async def test_a_whole_session_in_an_anyio_scope_is_closed(seconds: float) -> None:
    options: dict[str, Any] = {"delay_after": (0.2, 0.2), "ready_after": (0.0, 0.1)}
    mine: set[str] = set()
    async with Simulator(**options) as sim:
        with anyio.move_on_after(seconds) as scope:
            async with (
                EdgegapSession("t", base_url=sim.url) as edgegap,
                edgegap.deployments.deploy_many(requests(300)) as outcomes,
            ):
                async for outcome in outcomes:
                    if outcome.deployment:
                        mine.add(outcome.deployment.request_id)
        assert scope.cancelled_caught
        assert edgegap.leftovers == ()
        # A busy machine may not have sent a request in so short a time.
        assert sim.deployed() or seconds < 0.5
        assert forgotten(sim, mine) == set()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.real_time
async def test_a_stop_that_never_succeeds_is_named_after_cleanup_timeout() -> None:
    async with Simulator(
        faults=[Fault("stop", "503-before")], ready_after=(0, 0)
    ) as sim:
        began = now()
        with anyio.move_on_after(0.5):
            async with (
                EdgegapSession("t", base_url=sim.url, cleanup_timeout=1.0) as edgegap,
                running(edgegap),
            ):
                await asyncio.sleep(60)
        assert 1.5 <= now() - began < 4
        assert {request_id for request_id, _ in edgegap.leftovers} == {*sim.deployed()}


async def test_requests_that_ignore_their_cancellation_hold_up_nobody_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def stubborn() -> AsyncIterator[DeployRequest]:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return
        yield

    async with owning(cleanup_timeout=5.0) as (edgegap, _):
        began = now()
        async with edgegap.deployments.deploy_many(stubborn()):
            await asyncio.sleep(1)
        assert now() - began < 7
        assert "did not end" in caplog.text
        release.set()
        await asyncio.sleep(0.01)
