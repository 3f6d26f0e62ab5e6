"""`deploy_many`: a stream of requests in, an outcome for each, at the full rate and
with bounded memory.
"""

import asyncio
from collections.abc import Iterator

import pytest
from support.deploy_many import AT_ONCE, ids, outcomes_of, requests, slowly
from support.limiter_model import now
from support.owning import forgotten, owning

from edgegap_async import (
    AllocationFailed,
    DeploymentAccepted,
    DeploymentFailed,
    DeployRequest,
    EdgegapSession,
    ReadyDeployment,
    ReadyTimeout,
    SessionClosed,
)
from edgegap_async.simulator import Fault

SLOW = {"ready_after": (60.0, 60.0)}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_request_gets_its_server(asynchronous: bool) -> None:
    given = [*requests(30)]
    async with owning() as (edgegap, sim):
        settled = await outcomes_of(edgegap, slowly(given) if asynchronous else given)
        assert {id(outcome.request) for outcome in settled} == {
            id(request) for request in given
        }
        for outcome in settled:
            assert isinstance(outcome.deployment, ReadyDeployment)
            assert outcome.error is None
            assert (
                sim.tags_of(outcome.deployment.request_id)[0]
                == (outcome.request.tags or ())[0]
            )
        assert ids(settled) == sim.running()
    assert (len(ids(settled)), sim.stopped(), edgegap.leftovers) == (30, set(), ())


async def test_an_outcome_comes_as_soon_as_it_is_known() -> None:
    async with owning(options={"ready_after": (1.0, 20.0)}) as (edgegap, _):
        told = []
        began = now()
        async with edgegap.deployments.deploy_many(requests(20)) as outcomes:
            async for outcome in outcomes:
                # all are sent within a second
                assert now() - began == pytest.approx(outcome.seconds, abs=1)
                told.append(now() - began)
        assert told[0] < 5
        assert told[-1] > 15


async def test_without_until_ready_an_outcome_comes_with_the_acceptance() -> None:
    async with owning(options=SLOW) as (edgegap, sim):
        began = now()
        settled = await outcomes_of(edgegap, requests(10), until_ready=False)
        assert {type(outcome.deployment) for outcome in settled} == {DeploymentAccepted}
        assert sim.arrivals("status") == 0
        assert now() - began < 1
    assert (len(ids(settled)), sim.stopped()) == (10, set())


@pytest.mark.parametrize("stop_on_failure", [True, False])
async def test_one_failure_does_not_affect_the_others(stop_on_failure: bool) -> None:
    async with owning(
        Fault("deploy", "422", 0.2), options={"error_share": 0.3, "seed": 3}
    ) as (edgegap, sim):
        settled = await outcomes_of(
            edgegap, requests(40), stop_on_failure=stop_on_failure
        )
        failed = {
            outcome.error.request_id
            for outcome in settled
            if isinstance(outcome.error, DeploymentFailed)
        }
        refused = {
            outcome.error.request_id
            for outcome in settled
            if isinstance(outcome.error, AllocationFailed)
        }
        assert len(ids(settled)) + len(failed) + len(refused) == len(settled) == 40
        assert min(len(failed), len(refused)) > 3
        await asyncio.sleep(5)
        assert sim.stopped() == (failed | refused if stop_on_failure else refused)
    assert forgotten(sim, ids(settled)) == (set() if stop_on_failure else failed)


async def test_a_failed_server_with_an_untaken_outcome_is_stopped() -> None:
    async with owning(options={"error_share": 1.0, **AT_ONCE}) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests(5), stop_on_failure=False):
            await asyncio.sleep(10)
            assert sim.stopped() == set()
        await asyncio.sleep(5)
        assert len(sim.stopped()) == 5


class TestTime:
    @pytest.mark.slow
    async def test_ready_timeout_counts_from_the_sending(self) -> None:
        async with owning(options={"ready_after": (9.0, 9.0)}) as (edgegap, sim):
            began = now()
            settled = await outcomes_of(edgegap, requests(80), ready_timeout=5)
            # the last is sent two seconds after the first
            assert 80 / 40 - 0.5 + 5 < now() - began < 9
            assert {type(outcome.error) for outcome in settled} == {ReadyTimeout}
            assert max(outcome.seconds or 0 for outcome in settled) == pytest.approx(
                5, abs=0.1
            )
            await asyncio.sleep(10)
            assert (len(sim.stopped()), forgotten(sim)) == (80, set())

    @pytest.mark.parametrize("ready_after", [0.5, 60.0])
    async def test_a_deploy_slower_than_ready_timeout_is_polled_once_more(
        self, ready_after: float
    ) -> None:
        # It is found beside its request, which never gets an answer.
        late = Fault("deploy", "hang-after", times=1)
        async with owning(
            late, options={"ready_after": (ready_after, ready_after)}
        ) as (edgegap, sim):
            (settled,) = await outcomes_of(edgegap, requests(1), ready_timeout=5)
            assert isinstance(
                settled.error if ready_after > 5 else settled.deployment,
                ReadyTimeout | ReadyDeployment,
            )
            assert settled.error is None or "not ready within 5 s" in str(settled.error)
            assert settled.seconds == pytest.approx(min(ready_after + 4, 5), abs=1.5)
            assert sim.arrivals("status") > 0

    @pytest.mark.full
    @pytest.mark.slow
    async def test_without_a_timeout_the_wait_has_no_end(self) -> None:
        async with owning(options={"ready_after": (900.0, 900.0)}) as (edgegap, _):
            (settled,) = await outcomes_of(edgegap, requests(1), ready_timeout=None)
            assert isinstance(settled.deployment, ReadyDeployment)
            assert settled.seconds == pytest.approx(900, abs=3)

    @pytest.mark.slow
    async def test_seconds_do_not_count_the_queue(self) -> None:
        async with owning(options=AT_ONCE) as (edgegap, _):
            began = now()
            settled = await outcomes_of(edgegap, requests(200), until_ready=False)
            assert now() - began > 4
            assert all(0 < (outcome.seconds or 0) < 0.2 for outcome in settled)

    async def test_seconds_count_from_the_request_that_started_the_server(self) -> None:
        refused = Fault("deploy", "429-seconds", seconds=20, times=1)
        async with owning(refused, options=AT_ONCE) as (edgegap, _):
            began = now()
            (settled,) = await outcomes_of(edgegap, requests(1), until_ready=False)
            assert now() - began > 20
            assert 0 < (settled.seconds or 0) < 0.2

    async def test_a_request_that_was_never_sent_has_no_seconds(self) -> None:
        async with owning() as (edgegap, _):
            async with edgegap.deployments.deploy_many(requests(1)) as outcomes:
                await edgegap.aclose()
                (settled,) = [outcome async for outcome in outcomes]
            assert isinstance(settled.error, SessionClosed)
            assert settled.seconds is None


class TestRate:
    @pytest.mark.slow
    @pytest.mark.parametrize("many", [400, pytest.param(1000, marks=pytest.mark.full)])
    async def test_slow_servers_do_not_slow_down_the_deploys(self, many: int) -> None:
        async with owning(options={"ready_after": (250.0, 250.0)}) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(many)) as outcomes:
                taking = asyncio.ensure_future(anext(outcomes))
                await asyncio.sleep(1.05 * many / 40)
                assert outcomes.accepted == len(sim.deployed()) == many
                taking.cancel()
            assert sim.busiest_second("deploy") <= 40

    @pytest.mark.full
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "ready_after", [100.0, pytest.param(0.0, marks=pytest.mark.full)]
    )
    async def test_a_consumer_that_stands_still_bounds_what_is_started(
        self, ready_after: float
    ) -> None:
        options = {"ready_after": (ready_after, ready_after)}
        async with owning(options=options) as (edgegap, sim):
            many = edgegap.deployments.deploy_many(requests(1500))
            async with many as outcomes:
                await asyncio.sleep(90)
                assert len(sim.deployed()) <= 600
                outcomes.withdraw(until_ready=False)

    @pytest.mark.full
    @pytest.mark.slow
    async def test_ten_thousand_requests_need_few_tasks(self) -> None:
        read: list[DeployRequest] = []

        def reading() -> Iterator[DeployRequest]:
            for request in requests(10_000):
                read.append(request)
                yield request

        async with (
            owning(options=AT_ONCE) as (edgegap, sim),
            edgegap.deployments.deploy_many(reading(), until_ready=False) as outcomes,
        ):
            for _ in range(400):
                await anext(outcomes)
                # for each that is queued there are two
                assert len(asyncio.all_tasks()) < 500
                assert len(read) <= len(sim.deployed()) + 202

    @pytest.mark.full
    @pytest.mark.slow
    async def test_untaken_outcomes_bound_the_servers_that_are_started(self) -> None:
        async with owning(options=AT_ONCE) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(
                requests(2000), until_ready=False
            ) as outcomes:
                await asyncio.sleep(120)
                assert 400 <= len(sim.deployed()) <= 602
                taken = [await anext(outcomes) for _ in range(300)]
                await asyncio.sleep(120)
                assert 700 <= len(sim.deployed()) <= 902
            await asyncio.sleep(60)
            assert forgotten(sim, ids(taken)) == set()

    @pytest.mark.parametrize("until_ready", [True, False])
    async def test_concurrency_bounds_the_requests_in_progress(
        self, until_ready: bool
    ) -> None:
        async with (
            owning() as (edgegap, sim),
            edgegap.deployments.deploy_many(
                requests(20), concurrency=4, until_ready=until_ready
            ) as outcomes,
        ):
            for taken in range(20):
                await asyncio.sleep(10)
                assert len(sim.deployed()) == min(taken + 4, 20)
                await anext(outcomes)


class TestPurse:
    @pytest.mark.parametrize("by", ["session", "stop", "itself"])
    async def test_max_running_caps_the_servers_that_exist(self, by: str) -> None:
        async with owning(options=AT_ONCE) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(
                requests(12), max_running=3
            ) as outcomes:
                count = 0
                async for outcome in outcomes:
                    count += 1
                    await asyncio.sleep(15)
                    assert len(sim.running()) <= 3
                    (request_id,) = ids([outcome])
                    if by == "session":
                        await edgegap.deployments.ensure_stopped(request_id)
                    elif by == "stop":
                        await edgegap.deployments.stop(request_id)
                    else:
                        async with EdgegapSession("other", base_url=sim.url) as other:
                            await other.deployments.stop(request_id)
            assert count == 12

    @pytest.mark.slow
    async def test_a_failed_deploy_releases_its_capacity(self) -> None:
        faults = [Fault("deploy", "422", 0.3), Fault("deploy", "500-before", 0.1)]
        async with owning(faults, options={"error_share": 0.5, **AT_ONCE}) as (
            edgegap,
            sim,
        ):
            async with edgegap.deployments.deploy_many(
                requests(60), max_running=2
            ) as outcomes:
                async for outcome in outcomes:
                    for request_id in ids([outcome]):
                        await edgegap.deployments.ensure_stopped(request_id)
            await asyncio.sleep(10)
            assert forgotten(sim) == set()

    async def test_closing_ends_the_wait_for_capacity(self) -> None:
        async with owning(options=AT_ONCE) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(
                requests(3), max_running=1
            ) as outcomes:
                taken = await anext(outcomes)
                waiting = asyncio.ensure_future(anext(outcomes))
                await asyncio.sleep(5)
                await edgegap.aclose()
                with pytest.raises(SessionClosed):
                    await waiting
            assert {*sim.deployed()} == ids([taken])


@pytest.mark.measured
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("until_ready", None),
        ("ready_timeout", 0),
        ("ready_timeout", "5"),
        ("stop_on_failure", "no"),
        ("concurrency", 0),
        ("concurrency", True),
        ("max_running", 0),
        ("max_running", 1.5),
        ("priority", "high"),
    ],
)
async def test_a_wrong_argument_is_named(argument: str, value: object) -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(ValueError, match=argument):
            edgegap.deployments.deploy_many(requests(1), **{argument: value})  # type: ignore[arg-type]
        assert not sim.deployed()
