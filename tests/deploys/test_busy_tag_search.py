"""Servers that come and go at the full rate, as in a load test: the tags of deploys without
an outcome are searched for all the same.
"""

import asyncio
from contextlib import suppress

import pytest
from support.limiter_model import now
from support.owning import deploy, owning
from support.raw_server import failure

from edgegap_async import EdgegapSession
from edgegap_async._records.search_tags import Knowledge, SearchedTag, SearchTags
from edgegap_async._records.state import DeployRecord, DeployState
from edgegap_async.errors import DeployOutcomeUnknown
from edgegap_async.simulator import Fault

OPTIONS = {"ready_after": (0.0, 0.0), "stop_takes": 0.0}


async def short_lived(edgegap: EdgegapSession, rate: float, seconds: float) -> None:
    """Deploy at a rate, and stop each server after a second."""

    async def use() -> None:
        server = await deploy(edgegap)
        await asyncio.sleep(1)
        await edgegap.deployments.stop(server.request_id)

    end = now() + seconds
    async with asyncio.TaskGroup() as group:
        while now() < end:
            group.create_task(use())
            await asyncio.sleep(1 / rate)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "late", [15.0, *(pytest.param(it, marks=pytest.mark.full) for it in (100.0, 250.0))]
)
@pytest.mark.parametrize("left", [True, pytest.param(False, marks=pytest.mark.full)])
async def test_a_late_server_is_found_among_many_short_lived_ones(
    late: float, left: bool
) -> None:
    """Its tag is watched."""
    fault = Fault("deploy", "processed-late", seconds=late, times=1)
    async with owning(fault, options=OPTIONS) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        if left:
            call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await short_lived(edgegap, 36, late + 25)
        own = 0 if left else 1
        assert len(sim.running()) == own
        assert len(sim.deployed()) > 36 * late
    assert edgegap.leftovers == ()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("fails", [15, pytest.param(60, marks=pytest.mark.full)])
async def test_an_unknown_server_is_found_among_many_short_lived_ones(
    fails: int,
) -> None:
    """Its tag is in quarantine."""
    async with owning(
        Fault("deploy", "cut-after", times=1),
        Fault("list", "503-before"),
        options=OPTIONS,
    ) as (edgegap, sim):
        assert isinstance(
            await failure(deploy(edgegap, timeout=None)), DeployOutcomeUnknown
        )
        busy = asyncio.ensure_future(short_lived(edgegap, 36, fails + 30))
        await asyncio.sleep(fails)
        (unknown,) = sim.deployed()[:1]
        assert unknown not in sim.stopped()
        sim.faults = ()
        await asyncio.sleep(25)
        assert unknown in sim.stopped()
        await busy


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("busy", [20, pytest.param(60, marks=pytest.mark.full)])
async def test_the_tags_of_servers_that_have_ended_are_looked_at_once(
    busy: int,
) -> None:
    async with owning(options=OPTIONS) as (edgegap, sim):
        # A server that lists have to show, so that they prove something.
        await deploy(edgegap)
        await asyncio.sleep(10)
        await short_lived(edgegap, 36, busy)
        await asyncio.sleep(12)
        # Nothing is left to look at.
        before = sim.arrivals("list")
        await asyncio.sleep(60)
        assert sim.arrivals("list") == before
        # One list every two seconds, and those that measure the lag.
        assert before < busy + 10


@pytest.mark.full
@pytest.mark.slow
async def test_second_servers_of_servers_that_have_ended_are_stopped() -> None:
    twice = Fault("deploy", "twice-first", seconds=2.0, share=0.2)
    async with owning(twice, options={**OPTIONS, "seed": 1}) as (edgegap, sim):
        await short_lived(edgegap, 10, 20)
        await asyncio.sleep(20)
        assert len(sim.deployed()) > 220
        assert sim.running() == frozenset()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("most", [1, 4, 99])
async def test_each_kind_of_tag_has_its_turn(most: int) -> None:
    """Whatever is due for longest is first."""
    tags, loop = SearchTags(), asyncio.get_running_loop()
    kinds = [Knowledge.CHECKED, Knowledge.WATCHED, Knowledge.QUARANTINED]
    entries = []
    for number in range(300):
        record = DeployRecord(DeployState.RELEASED)
        record.sent_at = 0.0
        entry = SearchedTag(f"tag{number}", record, loop.create_future())
        # Many are CHECKED.
        kind = kinds[number % 3] if number % 10 == 0 else kinds[0]
        tags.put(entry, kind, float(number))
        entries.append(entry)
    order = []
    time = 1000.0
    while len(order) < 300:
        due = tags.due(time, most, probe=False)
        assert 0 < len(due) <= most
        for entry in due:
            tags.asked(entry, time + 10_000)
        order += due
    assert order == entries
