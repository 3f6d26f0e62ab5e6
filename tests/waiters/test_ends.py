"""Waits for an end: each is told once it is true, and many cost a few requests."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.deploy_many import requests
from support.limiter_model import now
from support.waiting import accepted_deployments, polls_of

from edgegap_async import BulkStopFilter, EdgegapSession
from edgegap_async._records.existence import YOUNG
from edgegap_async._waiters.end_watcher import SLOWEST_STATUS
from edgegap_async.errors import DeadlineExceeded, SessionClosed
from edgegap_async.simulator import Fault, Simulator

AT_ONCE: dict[str, Any] = {"ready_after": (0.0, 0.0), "stop_takes": 0.0}


async def end_after(sim: Simulator, edgegap: EdgegapSession, request_id: str) -> float:
    """Wait for the end of a server, and return by how many seconds it was known late."""
    await edgegap.deployments.wait_until_stopped(request_id, timeout=None)
    assert request_id not in sim.running()
    return now()


async def stop_as_others_do(sim: Simulator, ids: Sequence[str], pause: float) -> None:
    """Stop servers one after the other, by another session."""
    async with EdgegapSession("others", base_url=sim.url) as other:
        for request_id in ids:
            await asyncio.sleep(pause)
            await other.deployments.stop(request_id)


FAULTS: dict[str, list[Fault]] = {
    "none": [],
    "no total_count": [Fault("list", "total-missing")],
    "total_count of all": [Fault("list", "total-of-all")],
    "filters ignored": [Fault("list", "filters-ignored")],
    "filters refused": [Fault("list", "filters-refused")],
    "filters match nothing": [Fault("list", "filters-empty")],
    "filters mean all of": [Fault("list", "filters-all-of")],
    "lists lag": [Fault("list", "lag", seconds=3.0)],
    "lists fail": [Fault("list", "503-before")],
    "lists fail now and then": [Fault("list", "503-before", 0.3)],
    "statuses fail": [Fault("status", "503-before")],
    "order shuffled": [Fault("list", "order-shuffled")],
}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("gone", ["404", "410", "400", "terminated"])
async def test_each_end_is_told_once_it_is_true(faults: list[Fault], gone: str) -> None:
    options = {**AT_ONCE, "gone": gone, "max_page_size": 5, "neighbours": 7}
    async with accepted_deployments(20, *faults, **options) as (edgegap, sim, ids):
        await asyncio.sleep(YOUNG)
        ends = [asyncio.ensure_future(end_after(sim, edgegap, it)) for it in ids[:12]]
        await asyncio.sleep(5)
        began = now()
        await stop_as_others_do(sim, ids[:12], 0.1)
        assert max(await asyncio.gather(*ends)) - began < 15
        assert sim.busiest_second("status") <= 20


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("neighbours", [0, 3])
async def test_all_may_end_at_once(neighbours: int) -> None:
    options = {**AT_ONCE, "neighbours": neighbours}
    async with accepted_deployments(300, **options) as (edgegap, sim, ids):
        await asyncio.sleep(YOUNG)
        ends = [asyncio.ensure_future(end_after(sim, edgegap, it)) for it in ids]
        await asyncio.sleep(5)
        before, began = sim.arrivals("status"), now()
        async with EdgegapSession("others", base_url=sim.url) as other:
            await other.deployments.bulk_stop(BulkStopFilter("request_id", ids))
        assert max(await asyncio.gather(*ends)) - began < 10
        # Without any other deployment, three statuses confirm what no list can prove.
        assert sim.arrivals("status") - before <= 12


@pytest.mark.measured
@pytest.mark.slow
async def test_waits_after_stops_cost_no_status_each() -> None:
    options = {"ready_after": (0.0, 0.0), "stop_takes": 20.0}
    async with accepted_deployments(60, **options) as (edgegap, sim, ids):
        await asyncio.sleep(1)
        for request_id in ids:
            await edgegap.deployments.stop(request_id)
        before = polls_of(sim)
        began = now()
        await asyncio.gather(*(end_after(sim, edgegap, it) for it in ids))
        assert polls_of(sim) - before < 6 * (now() - began)
        assert sim.arrivals("status") <= 25


async def test_a_single_wait_is_served_by_its_status() -> None:
    async with accepted_deployments(1, **AT_ONCE) as (edgegap, sim, ids):
        end = asyncio.ensure_future(end_after(sim, edgegap, ids[0]))
        await asyncio.sleep(YOUNG)
        lists = sim.arrivals("list")
        await stop_as_others_do(sim, ids, 0.0)
        began = now()
        assert await end - began <= SLOWEST_STATUS + 0.1
        assert sim.arrivals("list") == lists


@pytest.mark.slow
async def test_a_server_that_lists_do_not_show_so_far_has_not_ended() -> None:
    lag = Fault("list", "lag", seconds=20.0)
    async with accepted_deployments(5, lag, **AT_ONCE) as (edgegap, sim, ids):
        ends = [asyncio.ensure_future(end_after(sim, edgegap, it)) for it in ids]
        await asyncio.sleep(60)
        assert not any(end.done() for end in ends)
        await stop_as_others_do(sim, ids, 0.0)
        await asyncio.wait_for(asyncio.gather(*ends), 60)


async def test_a_wait_ends_with_its_timeout_and_with_the_session() -> None:
    async with accepted_deployments(30, **AT_ONCE) as (edgegap, _, ids):
        began = now()
        with pytest.raises(DeadlineExceeded, match="has not ended within 7 s"):
            await asyncio.gather(
                *(
                    edgegap.deployments.wait_until_stopped(it, timeout=7 + number)
                    for number, it in enumerate(ids)
                )
            )
        assert now() - began == pytest.approx(7, abs=0.01)
        wait = asyncio.ensure_future(edgegap.deployments.wait_until_stopped(ids[0]))
        await asyncio.sleep(3)
        await edgegap.aclose()
        with pytest.raises(SessionClosed):
            await wait


async def test_nothing_is_polled_when_nobody_waits_any_more() -> None:
    async with accepted_deployments(30, **AT_ONCE) as (edgegap, sim, ids):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_stopped(it))
            for it in ids
        ]
        await asyncio.sleep(10)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        await asyncio.sleep(1)
        before = polls_of(sim)
        await asyncio.sleep(60)
        assert polls_of(sim) == before


@pytest.mark.parametrize("timeout", [0.05, 0.4])
async def test_waits_shorter_than_an_answer_are_resolved_in_the_end(
    timeout: float,
) -> None:
    options = {**AT_ONCE, "delay_before": (0.5, 0.5), "delay_after": (0.5, 0.5)}
    async with accepted_deployments(1, **options) as (edgegap, sim, ids):
        await edgegap.deployments.stop(ids[0])
        for _ in range(100):
            try:
                async with asyncio.timeout(timeout):
                    await edgegap.deployments.wait_until_stopped(ids[0])
                break
            except TimeoutError:
                await asyncio.sleep(timeout)
        else:
            raise AssertionError("never resolved")
        assert sim.arrivals("status") < 10


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["ids", "all"])
@pytest.mark.parametrize("held", [150, pytest.param(500, marks=pytest.mark.full)])
async def test_capacity_is_watched_by_lists(held: int, ending: str) -> None:
    """One request waits: 60 requests in 120 s are allowed."""
    async with accepted_deployments(0, ready_after=(0.0, 0.0)) as (edgegap, sim, _):
        many = edgegap.deployments.deploy_many(requests(held + 1), max_running=held)
        async with many as outcomes:
            ids = [
                (await anext(outcomes)).deployment.request_id  # type: ignore[union-attr]
                for _ in range(held)
            ]
            last = asyncio.ensure_future(anext(outcomes))
            await asyncio.sleep(60)
            before = polls_of(sim)
            await asyncio.sleep(120)
            assert polls_of(sim) - before <= 60
            assert not last.done()
            await stop_as_others_do(sim, ids[:1] if ending == "ids" else ids, 0.0)
            began = now()
            await last
            assert now() - began < 25
