"""`load.run` against the simulator, in virtual time: the schedule is kept, the figures are
right, and nothing is left running.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import PLAYERS, owning

from edgegap_async import DeployRequest, load
from edgegap_async.load import Plan, Ramp
from edgegap_async.load.runner import LoadTest
from edgegap_async.simulator import Fault, Simulator

pytestmark = pytest.mark.slow
REQUEST = DeployRequest("game", "1", users=PLAYERS)
AT_ONCE = {"ready_after": (0.0, 0.0)}


def left(sim: Simulator) -> frozenset[str]:
    """The servers that nobody has stopped."""
    return sim.running() - sim.stopped()


def plan(**options: Any) -> Plan:
    return Plan(request=REQUEST, **{"rate": 10, "hold": 5, **options})


async def test_each_deploy_is_sent_when_it_is_due_and_its_server_is_stopped() -> None:
    async with owning(options={"ready_after": (3.0, 3.0)}) as (edgegap, sim):
        report = await load.run(plan(), edgegap)
        assert not left(sim)
        assert len(sim.stopped()) == 50
    assert report.counts == load.Counts(
        due=50, sent=50, accepted=50, ready=50, failed=0, stopped=50
    )
    assert report.series.due[:6] == [10, 10, 10, 10, 10, 0]
    assert report.series.sent[:6] == [10, 10, 10, 10, 10, 0]
    assert report.schedule_kept == 1
    assert report.limits["deploy"].busiest_second == 10
    assert sum(report.series.ready) == 50
    assert report.series.running[-1] == 0
    assert (report.failures, report.running, report.not_stopped) == ([], [], [])


@pytest.mark.full
async def test_the_locations_of_a_sample_are_asked_for() -> None:
    async with owning(options={"ready_after": (1.0, 1.0)}) as (edgegap, _):
        report = await load.run(plan(hold=20), edgegap)
        asked = sum(it.servers for it in report.locations)
        # Two per second, of 200 servers.
        assert 35 <= asked <= 45
        assert report.limits["status"].requests < 60
        known = {
            (it.city, it.country, it.latitude, it.longitude)
            async for it in edgegap.locations.iterate()
        }
    assert {
        (it.city, it.country, it.latitude, it.longitude) for it in report.locations
    } <= known
    assert [*report.locations] == sorted(report.locations, key=lambda it: -it.servers)
    assert load.Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "fault", [Fault("status", "500-before"), Fault("status", "hang-before")]
)
async def test_locations_that_are_not_known_delay_nothing(fault: Fault) -> None:
    options = {"ready_after": (1.0, 1.0)}
    async with owning(fault, options=options) as (edgegap, sim):
        report = await load.run(plan(), edgegap)
        assert not left(sim)
    assert (report.locations, report.counts.ready) == ([], 50)
    assert report.seconds < 20


@pytest.mark.full
async def test_the_percentiles_are_right_within_two_percent() -> None:
    """The n-th server takes n seconds more, so that each percentile is known."""
    times = iter(100.0 + number for number in range(200))
    async with owning(
        options={"ready_after": lambda: next(times), "delay_after": (0.5, 0.5)}
    ) as (edgegap, _):
        report = await load.run(plan(hold=20, ready_timeout=1000), edgegap)
    assert report.ready_after
    assert report.accepted_after
    assert report.queued
    expected = {"p50": 199, "p90": 279, "p95": 289, "p99": 297, "max": 299}
    for name, seconds in expected.items():
        assert getattr(report.ready_after, name) == pytest.approx(seconds, rel=0.02)
        assert getattr(report.accepted_after, name) == pytest.approx(0.5, rel=0.02)
    assert report.queued.max < 0.05


@pytest.mark.full
async def test_forty_per_second_for_a_minute_are_forty_in_the_busiest_second() -> None:
    async with owning(options={"delay_after": (0.02, 0.02)}) as (edgegap, sim):
        report = await load.run(plan(rate=40, hold=60, lifetime=10), edgegap)
        assert sim.busiest_second("deploy") == 40
        assert (sim.refused("deploy"), left(sim)) == (0, frozenset())
    assert report.limits["deploy"].busiest_second == 40
    assert report.schedule_kept >= 0.98
    assert report.counts.ready == report.counts.due == 2400


@pytest.mark.full
async def test_servers_that_are_slow_do_not_slow_the_schedule() -> None:
    async with owning(options={"ready_after": (120.0, 120.0)}) as (edgegap, _):
        report = await load.run(plan(rate=30, hold=10), edgegap)
    assert report.series.sent[:10] == [30] * 10
    assert report.counts.ready == 300
    assert report.schedule_kept == 1


@pytest.mark.full
async def test_refusals_do_not_change_what_is_due_and_count_as_a_wait() -> None:
    """The server allows half of what is asked for."""
    async with owning(options={**AT_ONCE, "rates": {"deploy": 20}}) as (edgegap, sim):
        report = await load.run(plan(rate=40, hold=10), edgegap)
        assert sim.refused("deploy") > 0
        assert report.limits["deploy"].refused == sim.refused("deploy")
    assert report.series.due[:10] == [40] * 10
    assert sum(report.series.refused["deploy"]) == report.limits["deploy"].refused
    assert report.counts.ready == 400
    assert report.schedule_kept < 0.7
    assert report.queued
    assert report.total
    assert report.queued.max > 5
    assert report.total.max > 5


@pytest.mark.full
async def test_a_slow_api_is_a_wait_of_later_deploys() -> None:
    """Each answer takes 4 s, so 40 slots serve about 8 per second."""
    async with owning(options={**AT_ONCE, "delay_after": (4.0, 4.0)}) as (edgegap, _):
        report = await load.run(plan(rate=20, hold=10), edgegap)
    assert report.series.due[:10] == [20] * 10
    assert report.accepted_after
    assert report.accepted_after.p50 == pytest.approx(4, rel=0.02)
    assert report.queued
    assert report.queued.max > 8


@pytest.mark.full
async def test_more_than_the_limit_waits_and_is_not_lost() -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        report = await load.run(plan(rate=200, hold=3), edgegap)
        assert sim.busiest_second("deploy") <= 40
    assert report.counts.due == report.counts.ready == 600
    assert report.queued
    assert report.queued.max == pytest.approx(12, rel=0.1)
    assert max(report.series.waiting) > 450


@pytest.mark.full
async def test_a_ramp_rises_evenly_and_then_holds() -> None:
    async with owning(options=AT_ONCE) as (edgegap, _):
        report = await load.run(plan(rate=None, ramp=Ramp(0, 20, 10), hold=3), edgegap)
    assert report.series.due[:13] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20, 20, 20]
    assert report.series.sent[:13] == report.series.due[:13]


@pytest.mark.measured
async def test_each_server_runs_for_its_lifetime() -> None:
    async with owning(options={**AT_ONCE, "stop_takes": 0.0}) as (edgegap, sim):
        running: list[int] = []
        report = await load.run(
            plan(rate=5, hold=40, lifetime=10),
            edgegap,
            on_update=lambda _: running.append(len(left(sim))),
        )
    # Polls find out after up to about a second that a server is READY.
    assert all(50 <= each <= 62 for each in running[14:39])
    assert report.counts.stopped == 200


async def test_without_stop_at_end_each_server_lives_on_until_its_end() -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        began = now()
        report = await load.run(plan(hold=1, lifetime=60, stop_at_end=False), edgegap)
        assert 60 < now() - began < 64
        assert (report.running, left(sim)) == ([], frozenset())
        kept = await load.run(plan(hold=1, stop_at_end=False), edgegap)
        assert {*kept.running} == left(sim)
        assert len(kept.running) == 10


@pytest.mark.parametrize("after", [0.0, 0.05, 2.0, 7.0, 11.0])
async def test_a_cancelled_test_stops_all_servers(after: float) -> None:
    async with owning(options={"ready_after": (1.0, 5.0)}) as (edgegap, sim):
        task = asyncio.create_task(load.run(plan(rate=30, hold=10), edgegap))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(5)
        assert not left(sim)
        assert len(sim.stopped()) == len(sim.deployed())


@pytest.mark.full
async def test_cancelled_again_and_again_it_still_stops_all_servers() -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        task = asyncio.create_task(load.run(plan(rate=30, hold=10), edgegap))
        await asyncio.sleep(8)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.01)
        assert task.cancelled()
        await asyncio.sleep(5)
        assert not left(sim)


async def test_an_error_of_the_callback_ends_the_test_and_stops_all_servers() -> None:
    def failing(progress: load.Progress) -> None:
        if progress.ready > 5:
            raise ZeroDivisionError("mine")

    async with owning(options=AT_ONCE) as (edgegap, sim):
        with pytest.raises(ZeroDivisionError, match="mine"):
            await load.run(plan(), edgegap, on_update=failing)
        await asyncio.sleep(5)
        assert not left(sim)
        assert 5 < len(sim.deployed()) < 50


async def test_failures_are_counted_by_kind_and_by_second() -> None:
    faults = [Fault("deploy", "422", times=3)]
    async with owning(
        faults, options={"error_share": 0.5, "ready_after": (1.0, 1.0)}
    ) as (edgegap, sim):
        report = await load.run(plan(), edgegap)
        await asyncio.sleep(5)
        assert not left(sim)
    kinds = {it.kind: it for it in report.failures}
    assert kinds["AllocationFailed"].count == 3
    assert kinds["DeploymentFailed"].count == 47 - report.counts.ready > 5
    assert kinds["DeploymentFailed"].request_ids
    assert report.counts.failed == 50 - report.counts.ready
    assert {kind: sum(it) for kind, it in report.series.failures.items()} == {
        kind: it.count for kind, it in kinds.items()
    }


async def test_a_refused_token_ends_the_test_at_once() -> None:
    async with owning(options={"token": "another"}) as (edgegap, _):
        report = await load.run(plan(hold=60), edgegap)
    assert report.error
    assert report.seconds < 5
    assert report.counts.ready == 0


async def test_max_running_caps_what_exists_and_the_wait_is_queued() -> None:
    async with owning(options={"ready_after": (2.0, 2.0)}) as (edgegap, sim):
        most = 0

        def look(_: load.Progress) -> None:
            nonlocal most
            most = max(most, len(left(sim)))

        report = await load.run(
            plan(count=20, hold=None, lifetime=5, max_running=5),
            edgegap,
            on_update=look,
        )
    assert most <= 5
    assert report.counts.ready == 20
    assert report.queued
    assert report.queued.max > 10


@pytest.mark.full
async def test_the_progress_says_what_was_asked_and_reached() -> None:
    seen: list[load.Progress] = []
    async with owning(options={"ready_after": (2.0, 2.0)}) as (edgegap, _):
        await load.run(plan(rate=20, hold=10), edgegap, on_update=seen.append)
    assert [it.asked for it in seen[1:9]] == [20] * 8
    assert all(abs(it.reached - 20) <= 1 for it in seen[1:9])
    assert all(30 <= it.in_flight <= 70 for it in seen[4:9])
    assert seen[8].ready_after
    assert seen[-1].due == 200


async def test_a_server_that_can_not_be_stopped_is_named_once() -> None:
    """Its stop is in progress when all are stopped at the end."""
    faults = [Fault("deploy", "422"), Fault("stop", "500-before")]
    async with owning(faults) as (edgegap, sim):
        report = await load.run(plan(hold=1), edgegap)
        assert sorted(report.not_stopped) == sorted(sim.deployed())


@pytest.mark.full
async def test_the_progress_of_a_second_test_has_no_refusals_of_the_first() -> None:
    seen: list[load.Progress] = []
    async with owning(options={**AT_ONCE, "rates": {"deploy": 20}}) as (edgegap, _):
        first = await load.run(plan(rate=40, hold=3), edgegap)
        second = await load.run(plan(hold=2), edgegap, on_update=seen.append)
    assert first.limits["deploy"].refused > 0
    assert sum(second.series.refused.get("deploy", [])) == 0
    assert {it.refused for it in seen} == {0}


async def test_after_an_interrupt_deploys_that_were_withdrawn_do_not_wait() -> None:
    seen: list[load.Progress] = []

    def look(progress: load.Progress) -> None:
        seen.append(progress)
        if progress.seconds >= 3:
            test.interrupt()

    async with owning(options={**AT_ONCE, "delay_after": (0.2, 0.2)}) as (edgegap, _):
        test = LoadTest(plan(rate=200, hold=10), edgegap, look)
        report = await test.run()
    assert report.interrupted
    assert seen[2].waiting > 400
    assert len(seen) > 4
    assert {(it.waiting, it.in_flight) for it in seen[4:]} == {(0, 0)}
    assert report.series.waiting[2] > 400
    assert {*report.series.waiting[4:]} == {0}


async def test_a_report_survives_its_json() -> None:
    async with owning(options=AT_ONCE) as (edgegap, _):
        report = await load.run(plan(hold=2, lifetime=1), edgegap)
    assert load.Report.from_json(report.to_json()) == report


async def test_a_cancellation_while_servers_are_stopped_after_an_error_is_raised() -> (
    None
):
    def failing(progress: load.Progress) -> None:
        if progress.ready > 5:
            raise ZeroDivisionError("mine")

    options = {**AT_ONCE, "delay_after": (0.5, 0.5)}
    async with owning(options=options) as (edgegap, sim):
        task = asyncio.create_task(load.run(plan(), edgegap, on_update=failing))
        async for _ in pauses(0.05):
            if sim.stopped():
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(5)
        assert not left(sim)


async def pauses(seconds: float) -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(seconds)
        yield
