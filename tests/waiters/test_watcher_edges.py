"""Waiters that share a poller each get their own outcome soon."""

import asyncio
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import deploy, owning, running
from support.raw_server import answer, failure, scripted
from support.waiting import accepted_deployments, delays, polls_of, start
from support.webhook_samples import receiver

from edgegap_async import (
    DeploymentState,
    EdgegapSession,
    Limits,
    ReadyDeployment,
    Retry,
)
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentTerminated,
    NotFound,
    ReadyTimeout,
    UnexpectedAnswer,
)
from edgegap_async.simulator import Fault
from edgegap_async.webhooks import WebhookEvent

SILENT = (Fault("status", "hang-before"), Fault("list", "hang-before"))


async def test_a_waiter_with_a_short_timeout_does_not_delay_others() -> None:
    acts = [answer(503).later(1.0), answer(429, retry_after="30"), answer()]
    async with scripted(*acts) as (edgegap, _):
        wait = edgegap.deployments.wait_until_ready
        began = now()
        hurried = asyncio.ensure_future(wait("c065", timeout=5))
        # Its poll is in progress.
        await asyncio.sleep(0.5)
        patient = [
            asyncio.ensure_future(wait("c065", timeout=seconds))
            for seconds in (None, 100)
        ]
        # No request may be sent for the next thirty seconds.
        await failure(edgegap.deployments.status("c065", timeout=3))
        late = await failure(hurried)
        assert isinstance(late, ReadyTimeout)
        assert now() - began <= 5.01
        assert [(await each).request_id for each in patient] == ["c065", "c065"]
        assert 30 < now() - began < 35


async def test_a_listed_waiter_needs_no_status() -> None:
    async with accepted_deployments(
        2, ready_after=(4.0, 4.0), session={"limits": Limits(deploy=None, status=0.1)}
    ) as it:
        edgegap, sim, ids = it
        assert (await delays(edgegap, sim, ids, timeout=6))[-1] < 0.4


async def test_a_single_waiter_without_a_status_is_resolved_by_a_list() -> None:
    async with accepted_deployments(
        1, Fault("status", "hang-before"), ready_after=(6.0, 6.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        assert (await delays(edgegap, sim, ids))[-1] < 0.5


async def test_the_last_waiter_does_not_wait_for_a_list() -> None:
    async with accepted_deployments(
        2, Fault("list", "hang-before"), ready_after=(4.0, 4.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        first, second = (
            asyncio.ensure_future(delays(edgegap, sim, [it])) for it in ids
        )
        await asyncio.sleep(2)
        first.cancel()
        assert (await second)[0] < 0.4


async def test_a_cancelled_waiter_does_not_delay_others() -> None:
    async with accepted_deployments(
        21, *SILENT, ready_after=(9.0, 9.0), session={"retry": Retry(tries=1)}
    ) as (edgegap, sim, ids):
        sim.faults = [SILENT[0], Fault("list", "503-before")]
        gone = [
            asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(it, timeout=None)
            )
            for it in ids[1:]
        ]
        # All twenty wait for their statuses, which are never answered.
        await asyncio.sleep(8)
        last = asyncio.ensure_future(delays(edgegap, sim, ids[:1]))
        await asyncio.sleep(0)
        sim.faults = []
        for wait in gone:
            wait.cancel()
        # Their slots come back once a request that was sent later is answered: one a
        # second probes for that.
        assert (await last)[0] < 1.2


@pytest.mark.slow
async def test_waiters_for_an_end_do_not_delay_waiters_for_ready() -> None:
    async with accepted_deployments(205, ready_after=(100.0, 100.0)) as (
        edgegap,
        _,
        ids,
    ):
        ending = [
            asyncio.ensure_future(edgegap.deployments.wait_until_stopped(it))
            for it in ids[5:]
        ]
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in [*ids[:5], "no-such"]
        ]
        began = now()
        assert isinstance(await failure(waits[-1]), DeploymentTerminated)
        assert now() - began < 15
        for wait in (*ending, *waits):
            wait.cancel()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("many", [250, pytest.param(1000, marks=pytest.mark.full)])
async def test_many_long_waiters_cost_a_few_requests_per_second(many: int) -> None:
    async with accepted_deployments(many, ready_after=(150.0, 150.0)) as (
        edgegap,
        sim,
        ids,
    ):
        waits = asyncio.ensure_future(delays(edgegap, sim, ids, timeout=None))
        await asyncio.sleep(80)
        before = polls_of(sim)
        await asyncio.sleep(60)
        assert polls_of(sim) - before < 4 * 60
        assert (await waits)[-1] < 2.6


@pytest.mark.measured
@pytest.mark.parametrize("ready", [None, False])
async def test_only_a_row_with_ready_resolves_a_waiter(
    ready: bool | None,
) -> None:
    row = (
        {"request_id": "c065"}
        if ready is None
        else {"request_id": "c065", "ready": ready}
    )
    page = {
        "data": [row, {**row, "request_id": "c066"}],
        "pagination": {"has_next": False},
    }
    pending = {"request_id": "c065", "current_status": "Status.DEPLOYING"}
    async with scripted(answer(200, page), answer(200, pending)) as (edgegap, _):
        waits = [
            edgegap.deployments.wait_until_ready(it, timeout=5)
            for it in ("c065", "c066")
        ]
        for late in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(late, ReadyTimeout)
            assert late.status is None or late.status.state is DeploymentState.DEPLOYING


@pytest.mark.slow
async def test_several_consumers_get_each_outcome_once() -> None:
    async with accepted_deployments(40, ready_after=(2.0, 30.0)) as (edgegap, _, ids):
        taken: list[tuple[str, Any]] = []
        async with edgegap.deployments.wait_many(ids, timeout=20) as outcomes:
            began = now()

            async def take() -> None:
                async for each in outcomes:
                    taken.append(each)
                    assert isinstance(each[1], ReadyDeployment) or now() - began >= 20

            await asyncio.gather(*(take() for _ in range(5)))
            assert now() - began <= 20.01
        assert sorted(request_id for request_id, _ in taken) == sorted(ids)
        assert {type(outcome) for _, outcome in taken} == {
            ReadyDeployment,
            ReadyTimeout,
        }


@pytest.mark.parametrize("stopper", ["this session", "others"])
async def test_a_ready_webhook_from_before_the_end_is_ignored(stopper: str) -> None:
    async with accepted_deployments(
        0, ready_after=(0.0, 0.0), session={"webhooks": receiver(), "deploy_once": True}
    ) as it:
        edgegap, sim, _ = it
        sim.faults = [Fault("webhook", "lost")]
        accepted = await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
        status = await edgegap.deployments.status(accepted.request_id)
        events = {
            name: WebhookEvent(
                name, accepted.once_tag or "", accepted.request_id, status
            )  # type: ignore[arg-type]
            for name in ("ready", "terminated")
        }
        edgegap.deployments.notify(events["ready"])
        assert (
            await edgegap.deployments.wait_until_ready(accepted.request_id)
        ).request_id == accepted.request_id
        async with EdgegapSession("u", base_url=sim.url) as other:
            await (
                edgegap if stopper == "this session" else other
            ).deployments.ensure_stopped(accepted.request_id)
        if stopper == "others":
            edgegap.deployments.notify(events["terminated"])
            # This webhook arrives late.
            edgegap.deployments.notify(events["ready"])
        error = await failure(edgegap.deployments.wait_until_ready(accepted.request_id))
        assert isinstance(error, DeploymentTerminated)


async def test_a_single_waiter_with_a_failing_status_is_resolved_by_a_list() -> None:
    async with accepted_deployments(
        1, Fault("status", "503-before"), session={"retry": Retry(tries=1)}
    ) as (edgegap, sim, ids):
        assert (await delays(edgegap, sim, ids))[-1] < 0.7


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("many", [150, pytest.param(600, marks=pytest.mark.full)])
async def test_lists_that_keep_failing_are_polled_rarely(many: int) -> None:
    async with accepted_deployments(
        many, Fault("list", "403-before"), ready_after=(60.0, 60.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in ids
        ]
        await asyncio.sleep(50)
        assert 10 < sim.arrivals("list") < 50
        sim.faults = []
        await asyncio.gather(*waits)
        assert now() - (sim.ready_or_failed_at(ids[0]) or 0) < 3


@pytest.mark.parametrize(("many", "lasts"), [(3, 1.0), (1, 61.0)])
async def test_polls_end_with_the_last_waiter(many: int, lasts: float) -> None:
    async with accepted_deployments(
        many, Fault("list", "503-before"), ready_after=(100.0, 100.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        waits = [
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(it))
            for it in ids
        ]
        await asyncio.sleep(lasts)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        await asyncio.sleep(0.01)
        assert not [
            task for task in asyncio.all_tasks() if task.get_name() == "edgegap watcher"
        ]
        await asyncio.sleep(0.1)
        before = polls_of(sim)
        await asyncio.sleep(30)
        assert polls_of(sim) == before


async def test_occasional_status_failures_cause_no_lists() -> None:
    pending = answer(200, {"request_id": "c065", "current_status": "Status.DEPLOYING"})
    async with scripted(
        *[answer(503), pending] * 6, answer(), retry=Retry(tries=1)
    ) as (edgegap, server):
        assert (await edgegap.deployments.wait_until_ready("c065")).request_id == "c065"
        assert {arrival.path for arrival in server.arrivals} == {"/v1/status/c065"}


@pytest.mark.slow
async def test_filters_stay_trusted_if_lists_lag() -> None:
    lag = Fault("list", "lag", seconds=2.0)
    async with accepted_deployments(
        60, lag, neighbours=3000, ready_after=(2.0, 20.0)
    ) as (
        edgegap,
        sim,
        ids,
    ):
        assert (await delays(edgegap, sim, ids))[-1] < 3
        assert polls_of(sim) < 180


async def test_slow_statuses_are_polled_concurrently() -> None:
    async with accepted_deployments(
        20, Fault("status", "late", seconds=1.0), ready_after=(0.0, 0.0)
    ) as (edgegap, _, ids):
        began = now()
        await asyncio.gather(*(edgegap.deployments.stop(it) for it in ids))
        await asyncio.gather(
            *(edgegap.deployments.wait_until_stopped(it) for it in ids)
        )
        assert now() - began < 6


@pytest.mark.parametrize("turns", range(6))
async def test_a_waiter_joining_as_the_last_one_leaves_is_served(turns: int) -> None:
    async with accepted_deployments(1, ready_after=(5.0, 5.0)) as (edgegap, sim, ids):
        first = asyncio.ensure_future(edgegap.deployments.wait_until_ready(ids[0]))
        await asyncio.sleep(1)
        first.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert (await delays(edgegap, sim, ids))[0] < 0.4


async def test_an_unusually_quick_server_is_noticed_soon() -> None:
    takes = iter([10.0, 0.5, 0.5])
    async with accepted_deployments(
        1, ready_after=lambda: next(takes), stop_takes=0.1
    ) as (
        edgegap,
        sim,
        ids,
    ):
        await delays(edgegap, sim, ids)
        assert (await delays(edgegap, sim, [await start(edgegap)]))[0] < 2
        third = await start(edgegap)
        await asyncio.sleep(0.6)
        await edgegap.deployments.stop(third)
        await asyncio.sleep(0.2)
        began = now()
        await edgegap.deployments.wait_until_stopped(third)
        assert now() - began < 0.1


async def test_a_stop_of_this_session_resolves_waiters_for_the_end() -> None:
    async with accepted_deployments(1, ready_after=(0.0, 0.0), stop_takes=0.0) as (
        edgegap,
        _,
        ids,
    ):
        waiting = asyncio.ensure_future(edgegap.deployments.wait_until_stopped(ids[0]))
        # By now, polls are two seconds apart.
        await asyncio.sleep(70.5)
        await edgegap.deployments.ensure_stopped(ids[0])
        stopped = now()
        await waiting
        assert now() - stopped < 0.2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("list", "odd-rows"),
        Fault("list", "odd-values"),
        Fault("list", "slow-numbers"),
        Fault("list", "nested-values"),
        Fault("list", "next-missing"),
        Fault("list", "next-text"),
        Fault("status", "odd-values"),
        Fault("status", "slow-numbers"),
        Fault("status", "nested-values"),
        Fault("status", "null", 0.5),
        Fault("status", "other-id", 0.5),
        Fault("list", "text", 0.5),
    ],
    ids=lambda fault: f"{fault.operation}-{fault.kind}",
)
async def test_odd_answers_do_not_end_a_wait(fault: Fault) -> None:
    async with owning(fault, options={"ready_after": (1.0, 3.0)}) as (edgegap, _):
        accepted = [await deploy(edgegap, once=False) for _ in range(30)]
        ids = [each.request_id for each in accepted]
        ready = await asyncio.gather(
            *(edgegap.deployments.wait_until_ready(each, timeout=30) for each in ids)
        )
        assert [each.request_id for each in ready] == ids


async def adopted(edgegap: EdgegapSession, request_id: str) -> object:
    async with edgegap.deployments.adopt(request_id, ready_timeout=20) as server:
        return server


async def started(edgegap: EdgegapSession, _: str) -> object:
    async with running(edgegap, ready_timeout=20, once=False) as server:
        return server


@pytest.mark.parametrize(
    "wait",
    [
        lambda it, request_id: it.deployments.wait_until_ready(request_id, timeout=20),
        lambda it, request_id: it.deployments.wait_until_stopped(
            request_id, timeout=20
        ),
        adopted,
        started,
    ],
    ids=["ready", "stopped", "adopt", "running"],
)
async def test_the_address_of_another_server_is_never_handed_out(wait: Any) -> None:
    """Lists fail, and each status is that of another deployment."""
    faults = (Fault("status", "other-id"), Fault("list", "500-before"))
    async with owning(*faults, options={"ready_after": (0.0, 0.0)}) as (edgegap, _):
        request_id = (await deploy(edgegap, once=False)).request_id
        with pytest.raises(DeadlineExceeded):
            await wait(edgegap, request_id)
        # An adopted server is stopped meanwhile.
        with pytest.raises((UnexpectedAnswer, NotFound)):
            await edgegap.deployments.status(request_id)


async def test_a_probe_with_a_cancellation_of_its_own_is_an_error_of_the_wait() -> None:
    async def probe(server: object) -> None:
        inner = asyncio.create_task(asyncio.sleep(100))
        inner.cancel()
        await inner

    async with owning(options={"ready_after": (1.0, 1.0)}) as (edgegap, _):
        made = await deploy(edgegap)
        wait = edgegap.deployments.wait_until_ready(made.request_id, probe=probe)
        with pytest.raises(RuntimeError, match="what the probe awaited was cancelled"):
            await wait
