"""A program that cancels every task there is, as shutdown code often does. The session
is still open: its background work goes on, and nothing waits forever.
"""

import asyncio

import pytest
from support.owning import deploy, forgotten, owning

from edgegap_async import DeployOutcomeUnknown, DeployRequest
from edgegap_async.simulator import Fault


def cancel_all_of_the_sdk() -> int:
    """Cancel its tasks, but not those of the simulator. How many there were."""
    tasks = [
        task
        for task in asyncio.all_tasks() - {asyncio.current_task()}
        if task.get_name().startswith("edgegap ")
    ]
    for task in tasks:
        task.cancel()
    return len(tasks)


def requests(count: int) -> list[DeployRequest]:
    return [DeployRequest("game", "1", users=["203.0.113.7"]) for _ in range(count)]


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("kind", ["cut-after", "cut-before"])
async def test_deploy_many_ends_when_all_tasks_are_cancelled(
    kind: str, seconds: float
) -> None:
    async with owning(Fault("deploy", kind)) as (edgegap, sim):
        taken: list[str] = []

        async def consume() -> None:
            async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
                await asyncio.sleep(seconds)
                assert cancel_all_of_the_sdk() > 2
                async for outcome in outcomes:
                    server = outcome.deployment
                    taken.append(server.request_id)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(consume(), 120)
        await asyncio.sleep(60)
        assert forgotten(sim, taken) == set()


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
async def test_a_deploy_whose_task_is_cancelled_fails_with_its_tag(
    seconds: float,
) -> None:
    async with owning(
        Fault("deploy", "cut-after"), Fault("list", "lag", seconds=4)
    ) as (
        edgegap,
        sim,
    ):
        waiting = asyncio.create_task(deploy(edgegap))
        await asyncio.sleep(seconds)
        cancel_all_of_the_sdk()
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await waiting
        assert caught.value.tag
        await asyncio.sleep(60)
        assert forgotten(sim) == set()


async def test_a_lost_deploy_is_found_by_a_search_that_was_cancelled() -> None:
    lost = Fault("deploy", "cut-after")
    async with owning(lost, Fault("list", "lag", seconds=3)) as (edgegap, sim):
        waiting = asyncio.create_task(deploy(edgegap))
        await asyncio.sleep(1)
        for task in asyncio.all_tasks():
            if task.get_name() == "edgegap tag search":
                task.cancel()
        accepted = await waiting
        assert [accepted.request_id] == list(sim.deployed())


async def test_a_stop_that_was_cancelled_is_tried_again() -> None:
    failing = Fault("stop", "503-before")
    async with owning(failing, options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        with pytest.raises(ZeroDivisionError):
            async with edgegap.deployments.running("g", "1", users=["203.0.113.7"]):
                raise ZeroDivisionError
        assert cancel_all_of_the_sdk() > 0
        arrivals = sim.arrivals("other")
        await asyncio.sleep(30)
        assert sim.arrivals("other") > arrivals + 2
        await edgegap.aclose()
        assert [left for left, _ in edgegap.leftovers] == list(sim.deployed())
