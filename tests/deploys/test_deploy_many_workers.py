"""Several tasks take the outcomes of one `deploy_many`: the server of each is its task's to
handle, whatever the others do meanwhile.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import owning

INSTANT = {"ready_after": (0.0, 0.0)}
COUNT = 60


class Fails(Exception):
    """A worker can't handle its outcome."""


async def at_once() -> None:
    raise Fails


async def in_the_next_turn() -> None:
    await asyncio.sleep(0)
    raise Fails


async def after_a_while() -> None:
    await asyncio.sleep(0.3)
    raise Fails


async def cancelled() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


FAILURES = [at_once, in_the_next_turn, after_a_while, cancelled]
failures = pytest.mark.parametrize("fail", FAILURES)


async def handled_by_workers(
    outcomes: Any, fail: Callable[[], Any], pause: float
) -> tuple[list[str], list[str]]:
    """Take all outcomes by four workers, of which the first fails at its third.

    Returns:
        The servers that were handled, and those of the worker that failed.
    """
    good, bad = [], []

    async def work(number: int) -> None:
        count = 0
        async for outcome in outcomes:
            count += 1
            if number == 0 and count == 3:
                bad.append(outcome.deployment.request_id)
                await fail()
            good.append(outcome.deployment.request_id)
            if pause:
                await asyncio.sleep(pause)

    workers = [work(number) for number in range(4)]
    await asyncio.gather(*workers, return_exceptions=True)
    return good, bad


@failures
@pytest.mark.parametrize("pause", [0.0, 0.001, 0.1])
async def test_the_server_of_a_worker_that_failed_is_stopped_with_its_block(
    fail: Callable[[], Any], pause: float
) -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        good: list[str] = []
        bad: list[str] = []
        with suppress(Fails):
            async with edgegap.deployments.deploy_many(requests(COUNT)) as outcomes:
                good, bad = await handled_by_workers(outcomes, fail, pause)
                raise Fails
        await asyncio.sleep(10)
        assert len(good) + len(bad) == COUNT
        assert sim.stopped() == {*bad}
    assert edgegap.leftovers == ()


@failures
async def test_a_block_that_ends_without_an_exception_hands_all_servers_over(
    fail: Callable[[], Any],
) -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests(COUNT)) as outcomes:
            await handled_by_workers(outcomes, fail, 0.01)
        await asyncio.sleep(10)
        assert sim.stopped() == set()
        assert len(sim.running()) == COUNT


async def test_a_task_group_stops_what_its_workers_have_not_handled() -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        handled = set()

        async def work(outcomes: Any, number: int) -> None:
            async for outcome in outcomes:
                await asyncio.sleep(0.05 * number)
                if number == 3 and len(handled) > 20:
                    raise Fails
                handled.add(outcome.deployment.request_id)

        async def work_in_a_group() -> None:
            async with (
                edgegap.deployments.deploy_many(requests(COUNT)) as outcomes,
                asyncio.TaskGroup() as group,
            ):
                for number in range(4):
                    group.create_task(work(outcomes, number))

        with pytest.raises(ExceptionGroup):
            await work_in_a_group()
        await asyncio.sleep(10)
        assert {*sim.deployed()} - sim.stopped() == handled
    assert edgegap.leftovers == ()


async def test_a_worker_that_handles_all_in_one_turn_has_its_servers() -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        taken: list[str] = []
        with suppress(Fails):
            async with edgegap.deployments.deploy_many(requests(COUNT)) as outcomes:
                await asyncio.sleep(10)
                taken = [
                    (await anext(outcomes)).deployment.request_id for _ in range(COUNT)
                ]
                raise Fails
        await asyncio.sleep(10)
        # The last one was not handled to the end.
        assert sim.stopped() == {taken[-1]}


@pytest.mark.parametrize("fails", [True, False])
async def test_outcomes_taken_with_a_time_out_are_handled_by_who_has_waited(
    fails: bool,
) -> None:
    """`asyncio.wait_for` takes them in a task of its own in Python 3.11."""
    async with owning(options=INSTANT) as (edgegap, sim):
        taken = []
        with suppress(Fails):
            async with edgegap.deployments.deploy_many(requests(5)) as outcomes:
                for _ in range(5):
                    outcome = await asyncio.wait_for(anext(outcomes), 60)
                    taken.append(outcome.deployment.request_id)
                    await asyncio.sleep(0.1)
                if fails:
                    raise Fails
        await asyncio.sleep(10)
        assert sim.stopped() == ({taken[-1]} if fails else set())


@pytest.mark.full
@pytest.mark.slow
async def test_a_task_that_takes_many_outcomes_stays_small() -> None:
    async with (
        owning(options={**INSTANT, "enforcement": "off"}, limits=None) as (edgegap, _),
        edgegap.deployments.deploy_many(requests(300)) as outcomes,
    ):
        task: Any = asyncio.current_task()
        async for _ in outcomes:
            await asyncio.sleep(0)
        assert len(task._callbacks or ()) < 3
