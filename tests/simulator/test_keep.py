"""`Simulator(keep=...)`: the memory of a simulator that runs for long."""

import asyncio
import gc

import pytest
from support.control import ok
from support.plain_client import plain
from support.receiving import client_and_receiver

from edgegap_async.simulator import Simulator
from edgegap_async.simulator.world.deployment import Deployment

AT_ONCE = {"ready_after": (0, 0), "stop_takes": 0.0, "enforcement": "off"}


def in_memory() -> int:
    """Return how many deployments exist in this process."""
    gc.collect()
    return sum(isinstance(each, Deployment) for each in gc.get_objects())


@pytest.mark.parametrize("keep", [0, 1, 3])
async def test_the_deployments_that_ended_first_are_forgotten(keep: int) -> None:
    sim = Simulator(ready_after=(0, 0), stop_takes=0, keep=keep, gone="410")
    async with plain(sim) as api:
        made = [await api.deploy() for _ in range(6)]
        # The first is the last to end.
        for each in (*made[1:5], made[0]):
            await api("DELETE", f"/v1/stop/{each}")
            await asyncio.sleep(0.1)
        ended = [*made[1:5], made[0]]
        kept = ended[len(ended) - keep :]
        statuses = [(await api("GET", f"/v1/status/{each}"))[0] for each in ended]
        assert statuses == [404] * (5 - keep) + [410] * keep
        assert {*sim.deployed()} == {*kept, made[5]}
        assert sim.stopped() == {*kept}
        assert sim.running() == {made[5]}
        counts = sim.counts()
        assert [counts[name] for name in ("deployed", "stopped")] == [6, 5]
        rows = (await ok(api, "GET", "deployments"))["deployments"]
        assert {row["request_id"] for row in rows} == {*kept, made[5]}


async def test_by_default_all_are_remembered() -> None:
    async with plain(Simulator(**AT_ONCE)) as api:
        made = [await api.deploy() for _ in range(5)]
        for each in made:
            await api("DELETE", f"/v1/stop/{each}")
        listed = (await ok(api, "GET", "deployments"))["deployments"]
        assert [row["request_id"] for row in listed] == made


@pytest.mark.full
@pytest.mark.slow
async def test_memory_is_bounded_by_what_exists() -> None:
    sim = Simulator(**AT_ONCE, keep=10)
    async with client_and_receiver(sim) as (api, receiver):
        hooks = receiver.fields()
        running = [await api.deploy(**hooks) for _ in range(20)]
        for _ in range(300):
            made = await api.deploy(**hooks)
            await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(5)
        await api("GET", f"/v1/status/{running[0]}")
        # What is outdated in the schedules is removed only if it is more than the rest.
        assert in_memory() < 200
        assert sim.running() == {*running}


async def test_changes_that_are_due_at_once_are_all_carried_out() -> None:
    delays = iter([*[0.0] * 100, *[5.0] * 10])
    sim = Simulator(ready_after=lambda: next(delays), stop_takes=1, enforcement="off")
    async with plain(sim) as api:
        for _ in range(100):
            await api.deploy()
        await ok(api, "POST", "stop-all")
        later = {await api.deploy() for _ in range(10)}
        # At the end of the first ones, the schedule is mostly outdated.
        await asyncio.sleep(9)
        assert {*await api.listed(("status", "eq", "ready"))} == later


async def test_a_stopped_deployment_stays_for_its_late_webhook() -> None:
    async with client_and_receiver(Simulator(**AT_ONCE, keep=0)) as (api, receiver):
        made = await api.deploy(**receiver.fields("terminated"))
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(1)
        assert receiver.ids_and_events == [(made, "terminated")]


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="keep"):
        Simulator(keep=-1)
