"""`aclose()` while blocks are open: their servers are stopped, or named in `leftovers`."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from support.owning import forgotten, owning, running

from edgegap_async import DeployRequest, EdgegapSession
from edgegap_async.simulator import Fault

PLAYERS = ["203.0.113.7"]
OPTIONS = {"ready_after": (0.0, 0.0)}


async def started_elsewhere(url: str) -> str:
    """A server that another session has started."""
    async with EdgegapSession("made-up", base_url=url) as other:
        accepted = await other.deployments.deploy("game", "1", users=PLAYERS)
        return accepted.request_id


async def adopted(edgegap: EdgegapSession, url: str) -> Any:
    return edgegap.deployments.adopt(await started_elsewhere(url))


async def ran_without_once(edgegap: EdgegapSession, _: str) -> Any:
    return running(edgegap, once=False)


async def ran_on_a_fleet_without_once(edgegap: EdgegapSession, _: str) -> Any:
    return edgegap.private_fleets.running(
        "game", "1", users=PLAYERS, private_host_ids=["h"], once=False
    )


blocks = pytest.mark.parametrize(
    "block", [adopted, ran_without_once, ran_on_a_fleet_without_once]
)


@blocks
async def test_the_server_of_an_open_block_is_stopped(block: Any) -> None:
    async with owning(options=OPTIONS) as (edgegap, sim):
        opened: AbstractAsyncContextManager[Any] = await block(edgegap, sim.url)
        async with opened:
            await edgegap.aclose()
            assert sim.stopped() == {*sim.deployed()} != set()
        assert edgegap.leftovers == ()


@blocks
async def test_a_server_that_can_not_be_stopped_is_named(block: Any) -> None:
    async with owning(
        Fault("stop", "503-before"), options=OPTIONS, cleanup_timeout=2.0
    ) as (edgegap, sim):
        async with await block(edgegap, sim.url):
            await edgegap.aclose()
        (request_id,) = sim.deployed()
        assert [left for left, _ in edgegap.leftovers] == [request_id]


async def test_untaken_outcomes_are_stopped_without_once() -> None:
    async with owning(options=OPTIONS, deploy_once=False) as (edgegap, sim):
        requests = [DeployRequest("game", "1", users=PLAYERS) for _ in range(5)]
        async with edgegap.deployments.deploy_many(requests):
            await asyncio.sleep(5)
            await edgegap.aclose()
        assert len(sim.stopped()) == 5
        assert forgotten(sim) == set()
        assert edgegap.leftovers == ()


async def test_each_server_that_can_not_be_stopped_is_named() -> None:
    async with owning(
        Fault("stop", "503-before"), options=OPTIONS, cleanup_timeout=0.0
    ) as (edgegap, sim):
        first, second = await adopted(edgegap, sim.url), await adopted(edgegap, sim.url)
        async with first, second:
            await edgegap.aclose()
        assert {left for left, _ in edgegap.leftovers} == {*sim.deployed()}


NO_STOPS = Fault("stop", "503-before")


async def in_blocks(edgegap: EdgegapSession, depth: int) -> None:
    if not depth:
        await asyncio.sleep(1000)
        return
    async with running(edgegap):
        await in_blocks(edgegap, depth - 1)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_a_cancelled_task_leaves_its_blocks_and_closes_in_one_cleanup_timeout(
    how: str, depth: int
) -> None:
    """`docker stop` allows ten seconds."""
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, sim):

        async def use() -> None:
            async with edgegap:
                await in_blocks(edgegap, depth)

        timeout = 5 if how == "timed out" else None
        using = asyncio.ensure_future(asyncio.wait_for(use(), timeout))
        await asyncio.sleep(4.999)
        began = asyncio.get_running_loop().time()
        if how == "cancelled":
            using.cancel()
        await asyncio.wait([using])
        assert 8 <= asyncio.get_running_loop().time() - began < 9.1
        assert {request_id for request_id, _ in edgegap.leftovers} == forgotten(sim)
        assert len(edgegap.leftovers) == depth


async def in_group(edgegap: EdgegapSession) -> None:
    async with asyncio.TaskGroup() as group:
        for depth in (1, 2):
            group.create_task(in_blocks(edgegap, depth))


async def gathered(edgegap: EdgegapSession) -> None:
    await asyncio.gather(*(in_blocks(edgegap, depth) for depth in (1, 2)))


async def in_inner_group(edgegap: EdgegapSession) -> None:
    async with running(edgegap), asyncio.TaskGroup() as group:
        group.create_task(in_group(edgegap))


async def in_group_of_outcomes(edgegap: EdgegapSession) -> None:
    requests = [DeployRequest("game", "1", users=PLAYERS) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        group.create_task(in_blocks(edgegap, 1))
        async with edgegap.deployments.deploy_many(requests):
            await asyncio.sleep(1000)


@pytest.mark.parametrize(
    "use", [in_group, gathered, in_inner_group, in_group_of_outcomes]
)
async def test_a_program_with_several_tasks_ends_in_one_cleanup_timeout(
    use: Any,
) -> None:
    """The tasks of its matches leave their blocks first, and then its session closes."""
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, sim):

        async def main() -> None:
            async with edgegap:
                await use(edgegap)

        program = asyncio.ensure_future(main())
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        program.cancel()
        await asyncio.wait([program])
        assert program.cancelled()
        assert 8 <= asyncio.get_running_loop().time() - began < 9.2
        left = {request_id for request_id, _ in edgegap.leftovers}
        assert left == forgotten(sim) != set()


async def test_a_match_that_was_cancelled_by_itself_takes_no_time_from_the_closing() -> (
    None
):
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, sim):

        async def main() -> None:
            async with edgegap:
                await in_blocks(edgegap, 1)

        program = asyncio.ensure_future(main())
        match = asyncio.ensure_future(in_blocks(edgegap, 1))
        await asyncio.sleep(5)
        match.cancel()
        await asyncio.sleep(7)
        began = asyncio.get_running_loop().time()
        program.cancel()
        await asyncio.wait([program, match])
        assert 8 <= asyncio.get_running_loop().time() - began < 9.2
        assert len(edgegap.leftovers) == len(forgotten(sim)) == 2


async def test_a_task_that_is_cancelled_again_later_has_its_time_again() -> None:
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, sim):
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began = loop.time()
            try:
                async with asyncio.timeout(5):
                    await in_blocks(edgegap, 1)
            except TimeoutError:
                assert 13 <= loop.time() - began < 13.1
            await asyncio.sleep(20)
        sim.faults = []
        await asyncio.sleep(10)
        assert forgotten(sim) == set()


async def test_closing_after_a_block_without_a_cancellation_has_its_own_time() -> None:
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with running(edgegap):
            pass
        assert 8 <= loop.time() - began < 8.1
        await edgegap.aclose()
        assert 16 <= loop.time() - began < 16.2


async def test_deploy_many_and_closing_share_the_time_of_a_cancellation() -> None:
    async with owning(NO_STOPS, options=OPTIONS) as (edgegap, sim):

        async def use() -> None:
            async with (
                edgegap,
                edgegap.deployments.deploy_many(
                    [DeployRequest("game", "1", users=PLAYERS)]
                ) as outcomes,
            ):
                await anext(outcomes)
                await in_blocks(edgegap, 1)

        using = asyncio.ensure_future(use())
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        using.cancel()
        await asyncio.wait([using])
        assert asyncio.get_running_loop().time() - began < 9.1
        assert {request_id for request_id, _ in edgegap.leftovers} == forgotten(sim)


SLOW: dict[str, Any] = {"delay_before": (0.1, 0.1), "delay_after": (0.1, 0.1)}


@pytest.mark.slow
async def test_the_many_blocks_of_a_task_that_is_cancelled_are_stopped_side_by_side() -> (
    None
):
    """One after the other, their stops would take longer than there is time."""
    async with owning(options={**OPTIONS, **SLOW}) as (edgegap, sim):

        async def main() -> None:
            async with edgegap, AsyncExitStack() as stack:
                entering = (
                    stack.enter_async_context(running(edgegap)) for _ in range(100)
                )
                await asyncio.gather(*entering)
                await asyncio.sleep(1000)

        program = asyncio.ensure_future(main())
        await asyncio.sleep(60)
        program.cancel()
        await asyncio.wait([program])
        assert program.cancelled()
        assert len(sim.deployed()) == 100
        assert edgegap.leftovers == ()
        assert forgotten(sim) == set()


@pytest.mark.slow
async def test_a_session_that_is_closed_before_its_blocks_stops_them_side_by_side() -> (
    None
):
    """As in the recipe for servers that end with the application."""
    async with owning(options={**OPTIONS, **SLOW}) as (edgegap, sim):
        async with AsyncExitStack() as stack, edgegap:
            entering = (stack.enter_async_context(running(edgegap)) for _ in range(100))
            await asyncio.gather(*entering)
            began = asyncio.get_running_loop().time()
        # One after the other, they would take 20 seconds.
        assert asyncio.get_running_loop().time() - began < 4
        assert edgegap.leftovers == ()
        assert forgotten(sim) == set()
