"""Many waiters get the right outcome in time for a few requests per second, whatever
faults lists and statuses have.
"""

import asyncio
from itertools import chain, repeat
from typing import Any

import pytest
from support.limiter_model import now
from support.raw_server import failure
from support.waiting import accepted_deployments, delays, polls_of, start

from edgegap_async import EdgegapSession, ReadyDeployment
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    ReadyTimeout,
    SessionClosed,
)
from edgegap_async.simulator import Fault


@pytest.mark.slow
@pytest.mark.parametrize("neighbours", [0, 20_000])
async def test_a_hundred_waiters_share_a_few_requests_per_second(
    neighbours: int,
) -> None:
    async with accepted_deployments(100, neighbours=neighbours) as (edgegap, sim, ids):
        late = await delays(edgegap, sim, ids)
        assert late[94] < 0.3
        assert late[-1] < 0.5
        # These are the requests of eight seconds.
        assert polls_of(sim) < 60


@pytest.mark.slow
@pytest.mark.parametrize("many", [2, 5, 300])
async def test_all_waiters_are_resolved_soon(many: int) -> None:
    async with accepted_deployments(many) as (edgegap, sim, ids):
        late = await delays(edgegap, sim, ids)
        assert late[int(0.94 * many)] < 0.3
        assert polls_of(sim) < 80


TROUBLE: dict[str, tuple[Fault, ...]] = {
    "ignored": (Fault("list", "filters-ignored"),),
    "status ignored": (Fault("list", "filters-ignored", fields=("status",)),),
    "IDs ignored": (Fault("list", "filters-ignored", fields=("request_id",)),),
    "refused": (Fault("list", "filters-refused"),),
    "matching nothing": (Fault("list", "filters-empty"),),
    "lagging": (Fault("list", "lag", seconds=2.0),),
    "failing now and then": (
        Fault("list", "503-before", 0.3),
        Fault("status", "cut-before", 0.3),
    ),
    "failing five times": (
        Fault("list", "503-before", times=25),
        Fault("status", "503-before", times=25),
    ),
    "broken": (
        Fault("list", "not-json", 0.3),
        Fault("list", "no-id", 0.3),
        Fault("list", "truncated", 0.2),
    ),
    "no list at all": (Fault("list", "503-before"),),
    "forbidden lists": (Fault("list", "403-before"),),
    "silent lists": (Fault("list", "hang-before"),),
    "statuses out of order": (Fault("status", "502-after"),),
    "429 now and then": (Fault("list", "429", 0.1), Fault("status", "429", 0.1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("neighbours", [0, 3000])
@pytest.mark.parametrize("faults", TROUBLE.values(), ids=TROUBLE)
async def test_all_waiters_get_the_right_outcome_under_any_fault(
    faults: tuple[Fault, ...], neighbours: int
) -> None:
    async with accepted_deployments(60, *faults, neighbours=neighbours) as (
        edgegap,
        sim,
        ids,
    ):
        late = await delays(edgegap, sim, ids)
        assert late[-1] < 40
        assert sim.busiest_second("status") <= 20
        assert sim.busiest_second("list") <= 10


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("filters-ignored", 0.6),
        ("filters-empty", 8.0),
        pytest.param("filters-refused", 3.0, marks=pytest.mark.full),
    ],
)
async def test_a_wrong_filter_is_noticed(kind: str, most: float) -> None:
    async with accepted_deployments(
        100, Fault("list", kind), neighbours=20_000, ready_after=(2.0, 20.0)
    ) as (edgegap, sim, ids):
        late = await delays(edgegap, sim, ids)
        assert late[-1] < most
        # Once the fault is noticed, pages of all deployments resolve the waiters.
        assert late[39] < 0.3
        assert polls_of(sim) < 250


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 10])
async def test_small_pages_are_read_completely(size: int) -> None:
    async with accepted_deployments(60, max_page_size=size) as (edgegap, sim, ids):
        late = await delays(edgegap, sim, ids)
        # Sixty pages of one row take six seconds.
        assert late[56] < (0.4 if size == 10 else 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [(), (Fault("list", "filters-ignored"),), (Fault("list", "503-before"),)]
)
async def test_a_failure_among_many_waiters_is_raised_with_its_detail(
    faults: tuple[Fault, ...],
) -> None:
    async with accepted_deployments(100, *faults, error_share=0.2) as (
        edgegap,
        sim,
        ids,
    ):
        began = now()
        waits = [edgegap.deployments.wait_until_ready(it, timeout=120) for it in ids]
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        failed = [error for error in outcomes if isinstance(error, DeploymentFailed)]
        assert (
            len(failed) + sum(isinstance(it, ReadyDeployment) for it in outcomes) == 100
        )
        assert 5 < len(failed) < 40
        assert all(
            error.detail and error.status and error.request_id in str(error)
            for error in failed
        )
        assert now() - began < (15 if not faults else 60)
        assert {error.request_id for error in failed} <= sim.running()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("gone", ["404", "410", "400", "terminated"])
@pytest.mark.parametrize("by", ["this session", "others"])
async def test_an_end_among_many_waiters_is_raised(gone: Any, by: str) -> None:
    async with accepted_deployments(50, gone=gone, ready_after=(40.0, 50.0)) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in ids
        ]
        await asyncio.sleep(45)
        stopped = [wait for wait in waits if not wait.done()][:5]
        wanted = [ids[waits.index(wait)] for wait in stopped]
        async with EdgegapSession("u", base_url=sim.url) as other:
            stopper = edgegap if by == "this session" else other
            await asyncio.gather(
                *(stopper.deployments.ensure_stopped(it) for it in wanted)
            )
        await asyncio.wait(waits)
        # A stop before READY is carried out after READY, so some waiters may get READY
        # first.
        ends = [
            it.result() if it.exception() is None else it.exception() for it in stopped
        ]
        assert {type(end) for end in ends} <= {DeploymentTerminated, ReadyDeployment}
        assert all(it.exception() is None for it in waits if it not in stopped)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("many", [80, pytest.param(300, marks=pytest.mark.full)])
async def test_stops_by_others_are_noticed_among_many_slow_deployments(
    many: int,
) -> None:
    starts = chain([100.0] * 5, repeat(400.0))
    async with accepted_deployments(
        many, ready_after=starts.__next__, delay_before=(0.0, 0.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(it, timeout=None)
            )
            for it in ids
        ]
        ended = sim.deployed()[:5]
        await asyncio.sleep(50)
        async with EdgegapSession("another", base_url=sim.url) as other:
            # The stops are carried out once the deployments are READY.
            await asyncio.gather(*(other.deployments.stop(it) for it in ended))
        await asyncio.sleep(100 - 50 + 40)
        done = {ids[number] for number, wait in enumerate(waits) if wait.done()}
        assert done == {*ended}
        assert all(
            isinstance(wait.exception(), DeploymentTerminated)
            for wait in waits
            if wait.done()
        )
        # These are a few requests per second.
        assert polls_of(sim) < 3.5 * 140
        await asyncio.wait(waits)


@pytest.mark.slow
async def test_an_unknown_id_is_noticed_among_many_waiters() -> None:
    async with accepted_deployments(20, ready_after=(30.0, 30.0)) as (edgegap, _, ids):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in [*ids, "no-such"]
        ]
        began = now()
        assert isinstance(await failure(waits[-1]), DeploymentTerminated)
        assert now() - began < 25
        assert not any(wait.done() for wait in waits[:-1])
        await asyncio.gather(*waits[:-1])


async def test_fifty_waiters_for_one_deployment_cost_as_much_as_one() -> None:
    costs = []
    for many in (1, 50):
        async with accepted_deployments(1, ready_after=(6.0, 6.0)) as (
            edgegap,
            sim,
            (it,),
        ):
            ready = await asyncio.gather(
                *(edgegap.deployments.wait_until_ready(it) for _ in range(many))
            )
            assert {each.request_id for each in ready} == {it}
            costs.append(polls_of(sim))
    assert costs[0] == costs[1] < 30


async def test_each_waiter_has_its_own_timeout_and_error() -> None:
    async with accepted_deployments(1, ready_after=(6.0, 6.0), error_share=1.0) as (
        edgegap,
        sim,
        (it,),
    ):
        waits = [
            edgegap.deployments.wait_until_ready(it, timeout=seconds)
            for seconds in (1, 2, 50, 60)
        ]
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(end) for end in ends] == [
            ReadyTimeout,
            ReadyTimeout,
            DeploymentFailed,
            DeploymentFailed,
        ]
        assert len({id(end) for end in ends}) == 4
        assert polls_of(sim) < 30


async def test_without_waiters_nothing_is_polled() -> None:
    async with accepted_deployments(30, ready_after=(1000.0, 1000.0)) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(it, timeout=None)
            )
            for it in ids
        ]
        await asyncio.sleep(5)
        for wait in waits[:-1]:
            wait.cancel()
        await asyncio.wait(waits[:-1])
        before = polls_of(sim)
        await asyncio.sleep(1.9)
        # Only one waiter is left.
        assert 0 < polls_of(sim) - before < 12
        waits[-1].cancel()
        await asyncio.wait(waits)
        before = polls_of(sim)
        await asyncio.sleep(100)
        assert polls_of(sim) == before


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("many", [250, pytest.param(1000, marks=pytest.mark.full)])
async def test_user_calls_keep_nine_tenths_of_the_limit_beside_many_waiters(
    many: int,
) -> None:
    async with accepted_deployments(many, ready_after=(60.0, 60.0)) as (
        edgegap,
        _,
        ids,
    ):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in ids
        ]
        # By now, all waiters are overdue.
        await asyncio.sleep(20)
        end, done = now() + 30, [0, 0]

        async def calls(number: int) -> None:
            while now() < end:
                await (
                    edgegap.deployments.list()
                    if number
                    else edgegap.deployments.status(ids[0])
                )
                done[number] += 1

        await asyncio.gather(*(calls(number) for number in (0, 1) for _ in range(20)))
        assert done[0] >= 0.9 * 0.95 * 20 * 30
        assert done[1] >= 0.9 * 0.95 * 10 * 30
        await asyncio.gather(*waits)


async def test_the_first_poll_waits_for_most_of_the_shortest_start() -> None:
    async with accepted_deployments(0, ready_after=(2.0, 2.0)) as (edgegap, sim, _):
        for number in range(3):
            request_id = await start(edgegap)
            before = polls_of(sim)
            waiting = asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(request_id)
            )
            await asyncio.sleep(1.5)
            # The first start shows how long one takes. Then the first poll is later.
            assert (polls_of(sim) == before) == (number > 0)
            await waiting
            assert now() - (sim.ready_or_failed_at(request_id) or 0) < 0.3


async def test_wait_many_reports_each_outcome_as_it_is_known() -> None:
    async with accepted_deployments(30, error_share=0.2) as (edgegap, sim, ids):
        found: dict[str, Any] = {}
        async with edgegap.deployments.wait_many(
            [*ids, *ids[:3], "no-such"], timeout=60
        ) as outcomes:
            async for request_id, outcome in outcomes:
                assert request_id not in found
                found[request_id] = outcome
                if resolved_at := request_id in ids and sim.ready_or_failed_at(
                    request_id
                ):
                    assert now() - resolved_at < 5
        assert set(found) == {*ids, "no-such"}
        assert isinstance(found["no-such"], DeploymentTerminated)
        kinds = {type(found[it]) for it in ids}
        assert kinds == {ReadyDeployment, DeploymentFailed}


async def test_wait_many_reports_the_rest_after_its_timeout() -> None:
    async with accepted_deployments(10, ready_after=(2.0, 30.0)) as (edgegap, _, ids):
        began = now()
        async with edgegap.deployments.wait_many(ids, timeout=15) as outcomes:
            found = {request_id: outcome async for request_id, outcome in outcomes}
        assert now() - began == pytest.approx(15, abs=0.01)
        assert set(found) == {*ids}
        assert {type(outcome) for outcome in found.values()} == {
            ReadyDeployment,
            ReadyTimeout,
        }


async def test_wait_many_may_be_left_early_and_the_session_closed() -> None:
    async with accepted_deployments(10, ready_after=(2.0, 30.0)) as (edgegap, sim, ids):
        async with edgegap.deployments.wait_many(ids) as outcomes:
            async for _ in outcomes:
                break
        await asyncio.sleep(0.1)
        before = polls_of(sim)
        await asyncio.sleep(10)
        assert polls_of(sim) == before
        async with edgegap.deployments.wait_many(ids, timeout=None) as outcomes:
            await anext(outcomes)
            await edgegap.aclose()
            rest = [outcome async for _, outcome in outcomes]
        assert {type(outcome) for outcome in rest} <= {ReadyDeployment, SessionClosed}
        assert any(isinstance(outcome, SessionClosed) for outcome in rest)


async def test_wait_many_of_nothing_ends_at_once() -> None:
    async with accepted_deployments(0) as (edgegap, sim, _):
        async with edgegap.deployments.wait_many([]) as outcomes:
            assert [it async for it in outcomes] == []
        assert polls_of(sim) == 0


@pytest.mark.measured
@pytest.mark.parametrize("gone", ["404", "410", "400", "terminated"])
async def test_wait_until_stopped_returns_once_it_is_gone(gone: Any) -> None:
    async with accepted_deployments(
        5, gone=gone, stop_takes=3.0, ready_after=(4.0, 4.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_stopped(it))
            for it in [*ids, *ids]
        ]
        await asyncio.sleep(1)
        await asyncio.gather(*(edgegap.deployments.stop(it) for it in ids))
        began = now()
        await asyncio.gather(*waits)
        assert 6 - 0.1 < now() - began < 6.6
        assert sim.running() == set()
        await edgegap.deployments.wait_until_stopped("no-such")


async def test_wait_until_stopped_ends_with_its_timeout_or_session() -> None:
    async with accepted_deployments(1) as (edgegap, _, (it,)):
        began = now()
        late = await failure(edgegap.deployments.wait_until_stopped(it, timeout=20))
        assert isinstance(late, DeadlineExceeded)
        assert not isinstance(late, ReadyTimeout)
        assert it in str(late)
        assert now() - began == pytest.approx(20, abs=0.01)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_stopped(it, timeout=None)
        )
        await asyncio.sleep(1)
        await edgegap.aclose()
        assert isinstance(await failure(waiting), SessionClosed)


async def test_a_probe_runs_once_the_server_is_ready() -> None:
    async with accepted_deployments(1, ready_after=(2.0, 2.0)) as (edgegap, sim, (it,)):
        seen: list[ReadyDeployment] = []

        async def probe(server: ReadyDeployment) -> None:
            seen.append(server)
            await asyncio.sleep(5)

        ready = await edgegap.deployments.wait_until_ready(it, probe=probe)
        assert seen == [ready]
        assert now() - (sim.ready_or_failed_at(it) or 0) == pytest.approx(5, abs=0.4)


@pytest.mark.measured
@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), TimeoutError("own"), LookupError("no port"), None]
)
async def test_a_probe_that_fails_or_hangs_ends_the_wait(
    error: Exception | None, stop: bool
) -> None:
    async with accepted_deployments(1, ready_after=(2.0, 2.0)) as (edgegap, sim, (it,)):

        async def probe(_: ReadyDeployment) -> None:
            if error:
                raise error
            await asyncio.Event().wait()

        with pytest.raises(type(error) if error else ReadyTimeout) as caught:
            await edgegap.deployments.wait_until_ready(
                it, probe=probe, timeout=9, stop_on_failure=stop
            )
        assert error is None or caught.value is error
        assert error or "READY, but its probe" in str(caught.value)
        await asyncio.sleep(5)
        assert sim.stopped() == ({it} if stop else set())


async def test_a_probe_ends_with_the_session() -> None:
    async with accepted_deployments(1, ready_after=(0.0, 0.0)) as (edgegap, _, (it,)):
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(
                it, probe=lambda _: asyncio.Event().wait(), timeout=None
            )
        )
        await asyncio.sleep(1)
        await edgegap.aclose()
        assert isinstance(await failure(waiting), SessionClosed)


@pytest.mark.measured
@pytest.mark.parametrize(
    "wrong", [{"probe": 1}, {"timeout": 0}, {"timeout": "1"}, {"stop_on_failure": 1}]
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(
    wrong: dict[str, Any],
) -> None:
    async with accepted_deployments(0) as (edgegap, sim, _):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await edgegap.deployments.wait_until_ready("id", **wrong)
        for ids in ("id", ["a", ".."], ["a", ""], [1], None):
            with pytest.raises(ValueError, match="request_ids"):
                edgegap.deployments.wait_many(ids)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout"):
            edgegap.deployments.wait_many([], timeout=-1)
        with pytest.raises(ValueError, match="request_id"):
            await edgegap.deployments.wait_until_stopped("..")
        with pytest.raises(ValueError, match="timeout"):
            await edgegap.deployments.wait_until_stopped("a", timeout=0)
        with pytest.raises(ValueError, match="ready_timeout"):
            async with edgegap.deployments.running(
                "game", "1", users=["::1"], ready_timeout=-1
            ):
                pass
        assert (polls_of(sim), sim.deployed()) == (0, ())
