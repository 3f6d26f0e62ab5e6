"""A wait may be cancelled, or its session closed, in every turn of the loop, while
others wait.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
from support.owning import SteppingLoop
from support.turns import chosen_turns
from support.waiting import polls_of

from edgegap_async import EdgegapSession, ReadyDeployment
from edgegap_async.errors import DeploymentTerminated, EdgegapError, SessionClosed
from edgegap_async.simulator import Simulator

LONG = 1000.0

Attempt: TypeAlias = Callable[[EdgegapSession, list[str]], Coroutine[Any, Any, object]]


async def waits_for_one(edgegap: EdgegapSession, ids: list[str]) -> None:
    async def listens(server: ReadyDeployment) -> None:
        await asyncio.sleep(0.01)

    await edgegap.deployments.wait_until_ready(ids[0], probe=listens)


async def waits_for_many(edgegap: EdgegapSession, ids: list[str]) -> None:
    async with edgegap.deployments.wait_many(ids) as outcomes:
        async for _, outcome in outcomes:
            if isinstance(outcome, EdgegapError):
                raise outcome


async def waits_for_an_end(edgegap: EdgegapSession, ids: list[str]) -> None:
    stop = asyncio.create_task(edgegap.deployments.stop(ids[0]))
    try:
        await edgegap.deployments.wait_until_stopped(ids[0])
    finally:
        stop.cancel()
        await asyncio.wait({stop})


async def act_in_turn(attempt: Attempt, beside: int, turn: int, action: str) -> bool:
    """Cancel a wait, or close its session, in a turn of the loop.

    Args:
        attempt: the wait.
        beside: how many others wait.
        turn: the turn in which to act.
        action: "cancel" or "close".

    Returns:
        Whether the wait had ended before that turn.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    async with (
        asyncio.timeout(LONG),
        Simulator(ready_after=(0.1, 0.6), stop_takes=0.2) as sim,
        EdgegapSession("t", base_url=sim.url, deploy_once=False) as edgegap,
    ):
        for _ in range(3):
            await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
        ids = [*sim.deployed()]
        await asyncio.sleep(0.05)
        others = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in ids[:beside]
        ]
        task = asyncio.ensure_future(attempt(edgegap, ids))
        closing: list[asyncio.Task[None]] = []

        def act() -> None:
            if action == "cancel":
                task.cancel()
            else:
                closing.append(loop.create_task(edgegap.aclose()))

        dues: dict[int, Callable[[], object]] = {turn: act}
        loop.begin(dues)
        await asyncio.wait([task])
        over = turn in dues
        dues.clear()
        await asyncio.gather(*closing)
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        kinds = (
            ReadyDeployment,
            DeploymentTerminated,
            *((SessionClosed,) if closing else ()),
        )
        assert all(isinstance(outcome, kinds) for outcome in outcomes), outcomes
        if task.cancelled() or (error := task.exception()) is None:
            assert not (closing and task.cancelled())
        else:
            assert isinstance(error, SessionClosed), error
            assert closing
        # Requests that are on their way arrive.
        await asyncio.sleep(0.1)
        before = polls_of(sim)
        await asyncio.sleep(5)
        assert polls_of(sim) == before
        assert {
            usage.in_flight + usage.waiting for usage in edgegap.usage().values()
        } == {0}
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks, f"tasks left behind: {tasks}"
    return over


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "action", ["cancel", pytest.param("close", marks=pytest.mark.full)]
)
@pytest.mark.parametrize(
    ("attempt", "beside"),
    [
        *(pytest.param(waits_for_one, it, marks=pytest.mark.full) for it in (0, 2)),
        (waits_for_many, 2),
        (waits_for_an_end, 1),
    ],
)
def test_a_wait_may_be_cancelled_and_the_session_closed_in_every_turn(
    attempt: Attempt, beside: int, action: str
) -> None:
    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        turns = next(
            turn
            for turn in chosen_turns(2000)
            if runner.run(act_in_turn(attempt, beside, turn, action))
        )
    # A coroutine that was never awaited causes a warning, which fails the test.
    gc.collect()
    assert turns > 20
