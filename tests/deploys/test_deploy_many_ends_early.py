"""`deploy_many` that ends before all is done: withdrawn, left, cancelled, closed, or
broken. No server is forgotten.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from support.deploy_many import AT_ONCE, faulty, ids, outcomes_of, requests, slowly
from support.limiter_model import now
from support.owning import at_every_turn, forgotten, owning

from edgegap_async import (
    AllocationFailed,
    DeploymentAccepted,
    DeployOutcomeUnknown,
    EdgegapSession,
    ReadyDeployment,
    ReadyTimeout,
    SessionClosed,
)
from edgegap_async._deploys.batch import DeployStream
from edgegap_async.simulator import Fault, Simulator

once = pytest.mark.parametrize("once", [True, False])
LONG = {"ready_after": (30.0, 30.0)}


class TestWithdraw:
    @pytest.mark.slow
    @once
    async def test_withdraw_starts_nothing_more_and_reports_sent_requests(
        self, once: bool
    ) -> None:
        options = {"ready_after": (3.0, 9.0), "delay_after": (0.5, 0.5)}
        async with owning(options=options, deploy_once=once) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(400)) as outcomes:
                await asyncio.sleep(1)
                outcomes.withdraw()
                sent = len(sim.deployed())
                assert 0 < outcomes.accepted < sent <= 40
                assert len(outcomes.in_flight) == sent - outcomes.accepted
                settled = [outcome async for outcome in outcomes]
                assert outcomes.in_flight == ()
            await asyncio.sleep(60)
            assert {type(outcome.deployment) for outcome in settled} == {
                ReadyDeployment
            }
            assert ids(settled) == {*sim.deployed()} == sim.running()
            assert len(settled) == sent

    async def test_withdraw_without_until_ready_ends_at_once(self) -> None:
        async with owning(options={**LONG, "delay_after": (0.5, 0.5)}) as (
            edgegap,
            sim,
        ):
            async with edgegap.deployments.deploy_many(requests(400)) as outcomes:
                await asyncio.sleep(1)
                outcomes.withdraw()
                # on second thoughts
                outcomes.withdraw(until_ready=False)
                began = now()
                settled = [outcome async for outcome in outcomes]
                assert now() - began < 1
            assert {type(outcome.deployment) for outcome in settled} == {
                DeploymentAccepted
            }
            assert ids(settled) == {*sim.deployed()} == sim.running()

    async def test_withdraw_reports_ready_servers_as_ready(self) -> None:
        async with owning(options=AT_ONCE) as (edgegap, _):
            async with edgegap.deployments.deploy_many(requests(1)) as outcomes:
                await asyncio.sleep(5)
                outcomes.withdraw(until_ready=False)
                (settled,) = [outcome async for outcome in outcomes]
            assert isinstance(settled.deployment, ReadyDeployment)

    @once
    @pytest.mark.parametrize("kind", ["429", "429-seconds"])
    async def test_withdraw_does_not_resend_refused_requests(
        self, kind: str, once: bool
    ) -> None:
        refused = Fault("deploy", kind, seconds=5 if kind == "429-seconds" else None)
        options = {"delay_before": (0.5, 0.5)}
        async with owning(refused, options=options, deploy_once=once) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(50)) as outcomes:
                await asyncio.sleep(0.3)
                sent = len(outcomes.in_flight)
                outcomes.withdraw()
                assert [outcome async for outcome in outcomes] == []
            await asyncio.sleep(60)
            assert sim.arrivals("deploy") == sent > 0

    @once
    async def test_withdraw_cancels_pending_retries(self, once: bool) -> None:
        async with owning(
            Fault("deploy", "429-seconds", seconds=30), deploy_once=once
        ) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(50)) as outcomes:
                await asyncio.sleep(1)
                began, sent = now(), sim.arrivals("deploy")
                assert outcomes.in_flight == ()
                outcomes.withdraw()
                assert [outcome async for outcome in outcomes] == []
                assert now() - began < 0.1
            await asyncio.sleep(60)
            assert sim.arrivals("deploy") == sent > 0

    @pytest.mark.slow
    async def test_withdraw_does_not_redeploy_lost_requests(
        self,
    ) -> None:
        async with owning(Fault("deploy", "cut-before")) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(400)) as outcomes:
                await asyncio.sleep(1)
                outcomes.withdraw()
                assert len(outcomes.in_flight) == sim.arrivals("deploy") > 10
                lost = [outcome.error async for outcome in outcomes]
            # it may still turn up
            assert all(
                isinstance(error, DeployOutcomeUnknown) and error.tag for error in lost
            )
            await asyncio.sleep(60)
            assert 10 < sim.arrivals("deploy") == len(lost) <= 40

    async def test_withdraw_reports_servers_of_lost_answers(self) -> None:
        async with owning(Fault("deploy", "cut-after")) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(400)) as outcomes:
                await asyncio.sleep(1)
                outcomes.withdraw()
                settled = [outcome async for outcome in outcomes]
            assert ids(settled) == {*sim.deployed()} == sim.running()

    async def test_withdraw_reports_unknown_outcomes(self) -> None:
        async with owning(
            Fault("deploy", "cut-before"), Fault("list", "503-before")
        ) as (edgegap, _):
            async with edgegap.deployments.deploy_many(requests(1)) as outcomes:
                await asyncio.sleep(1)
                outcomes.withdraw()
                (settled,) = [outcome async for outcome in outcomes]
            assert isinstance(settled.error, DeployOutcomeUnknown)
            assert 10 < (settled.seconds or 0) < 30

    async def test_withdraw_before_the_first_request_starts_nothing(self) -> None:
        async with owning() as (edgegap, sim):
            async with edgegap.deployments.deploy_many(requests(10)) as outcomes:
                outcomes.withdraw()
                assert [outcome async for outcome in outcomes] == []
            assert sim.arrivals("deploy") == 0

    async def test_withdraw_ends_a_wait_for_the_next_request(self) -> None:
        ended = []

        async def endless() -> AsyncIterator[Any]:
            try:
                for request in requests(3):
                    yield request
                await asyncio.sleep(10_000)
            finally:
                ended.append(True)

        async with owning(options=AT_ONCE) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(endless()) as outcomes:
                await asyncio.sleep(10)
                outcomes.withdraw()
                assert len(ids([outcome async for outcome in outcomes])) == 3
            assert (ended, len(sim.running())) == ([True], 3)

    @pytest.mark.measured
    @pytest.mark.parametrize("bound", ["concurrency", "max_running"])
    async def test_withdraw_ends_a_wait_for_capacity(self, bound: str) -> None:
        async with owning(options=AT_ONCE) as (edgegap, sim):
            async with edgegap.deployments.deploy_many(
                requests(9), **{bound: 2}
            ) as outcomes:  # type: ignore[arg-type]
                await asyncio.sleep(10)
                outcomes.withdraw()
                assert len(ids([outcome async for outcome in outcomes])) == 2
            assert len(sim.deployed()) == 2

    async def test_a_wrong_argument_withdraws_nothing(self) -> None:
        async with (
            owning(options=AT_ONCE) as (edgegap, _),
            edgegap.deployments.deploy_many(requests(3)) as outcomes,
        ):
            with pytest.raises(ValueError, match="until_ready"):
                outcomes.withdraw(until_ready="no")  # type: ignore[arg-type]
            assert len([outcome async for outcome in outcomes]) == 3


class Mine(Exception):
    pass


async def breaks(outcomes: DeployStream) -> None:
    pass


async def raises(outcomes: DeployStream) -> None:
    raise Mine


async def is_late(outcomes: DeployStream) -> None:
    async with asyncio.timeout(0.2):
        await asyncio.sleep(100)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("until_ready", [True, False])
@pytest.mark.parametrize(
    ("leave", "error"), [(breaks, None), (raises, Mine), (is_late, TimeoutError)]
)
async def test_leaving_the_block_stops_untaken_servers(
    leave: Any, error: Any, until_ready: bool
) -> None:
    taken: list[Any] = []
    async with owning(options={"delay_after": (0.2, 0.2)}) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(400), until_ready=until_ready)
        with pytest.raises(error) if error else nullcontext():
            async with many as outcomes:
                async for outcome in outcomes:
                    taken.append(outcome)
                    if len(taken) == 5:
                        break
                await leave(outcomes)
        sent = sim.arrivals("deploy")
        await asyncio.sleep(60)
        # those that were on their way to the simulator
        assert len(sim.deployed()) <= sent + 40
        assert len(taken) == 5
        # An exception leaves the outcome in hand unhandled.
        held = ids(taken[:-1] if error else taken)
        assert forgotten(sim, held) == set()
        assert sim.running() == held
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)
    assert edgegap.leftovers == ()


def none_at_all() -> Iterator[Any]:
    yield from requests(3)
    raise Mine


async def none_after_a_while() -> AsyncIterator[Any]:
    async for request in slowly(requests(3)):
        yield request
    raise Mine


async def cancelled_inside() -> AsyncIterator[Any]:
    async for request in slowly(requests(3)):
        yield request
    raise asyncio.CancelledError


@pytest.mark.measured
@pytest.mark.parametrize(
    ("given", "error"),
    [
        (none_at_all, Mine),
        (none_after_a_while, Mine),
        (cancelled_inside, asyncio.CancelledError),
    ],
)
async def test_an_error_of_the_requests_comes_after_the_outcomes_before_it(
    given: Callable[[], Any], error: type[BaseException]
) -> None:
    async with owning() as (edgegap, sim):
        async with edgegap.deployments.deploy_many(given()) as outcomes:
            taken = [await anext(outcomes) for _ in range(3)]
            with pytest.raises(error):
                await anext(outcomes)
        assert len(ids(taken)) == 3
        assert sim.running() == ids(taken)


async def test_an_error_of_on_intent_ends_deploy_many_without_leftovers() -> None:
    intents: list[str] = []

    def note(tag: str) -> None:
        intents.append(tag)
        if len(intents) == 5:
            raise Mine

    async with owning(on_intent=note) as (edgegap, sim):
        with pytest.raises(ExceptionGroup) as caught:
            await outcomes_of(edgegap, requests(400))
        assert caught.group_contains(Mine)
        await asyncio.sleep(60)
        assert forgotten(sim) == set()


async def test_the_iteration_ends_for_every_consumer() -> None:
    async with (
        owning(options=AT_ONCE) as (edgegap, _),
        edgegap.deployments.deploy_many(requests(5)) as outcomes,
    ):

        async def take() -> int:
            return len([outcome async for outcome in outcomes])

        assert sum(await asyncio.gather(*(take() for _ in range(3)))) == 5
        assert await take() == 0


async def test_closing_stops_untaken_servers_and_reports_it() -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests(10)) as outcomes:
            await asyncio.sleep(10)
            taken = await anext(outcomes)
            await edgegap.aclose()
            rest = [outcome async for outcome in outcomes]
        assert {type(outcome.error) for outcome in rest} == {SessionClosed}
        assert {outcome.deployment for outcome in rest} == {None}
        # The outcome in hand too: the next one was not asked for.
        assert len(rest) == 9
        assert len(sim.stopped()) == 10
        assert {taken.deployment.request_id} < sim.stopped()


async def test_closing_stops_untaken_servers_that_were_late() -> None:
    async with owning(options=LONG) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(
            requests(2), ready_timeout=5, stop_on_failure=False
        ) as outcomes:
            await asyncio.sleep(10)
            late = await anext(outcomes)
            assert isinstance(late.error, ReadyTimeout)
            await edgegap.aclose()
        assert late.error.request_id in sim.stopped()
        assert forgotten(sim) == set()


# by the attempts below
taken: set[str] = set()
# of them
latest: list[DeployStream] = []


async def all_of_three(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
        async for outcome in outcomes:
            taken.update(ids([outcome]))


async def the_first_of_three(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(
        slowly(requests(3)), until_ready=False, concurrency=2
    ) as outcomes:
        async for outcome in outcomes:
            taken.update(ids([outcome]))
            break


async def one_after_the_other(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(requests(2), max_running=1) as outcomes:
        async for outcome in outcomes:
            for request_id in ids([outcome]):
                taken.add(request_id)
                await edgegap.deployments.ensure_stopped(request_id)


async def broken(edgegap: EdgegapSession, _: Simulator) -> None:
    try:
        async with edgegap.deployments.deploy_many(
            none_after_a_while(), until_ready=False
        ) as outcomes:
            async for outcome in outcomes:
                taken.update(ids([outcome]))
            raise AssertionError("the requests were to break it")
    except Mine:
        pass


async def withdrawn_early(edgegap: EdgegapSession, _: Simulator) -> None:
    async with edgegap.deployments.deploy_many(requests(2)) as outcomes:
        await asyncio.sleep(0.002)
        outcomes.withdraw(until_ready=False)
        async for outcome in outcomes:
            taken.update(ids([outcome]))


attempts = pytest.mark.parametrize(
    "attempt",
    [
        broken,
        *(
            pytest.param(attempt, marks=pytest.mark.full)
            for attempt in (
                all_of_three,
                the_first_of_three,
                one_after_the_other,
                withdrawn_early,
            )
        ),
    ],
)


@pytest.mark.full
@pytest.mark.slow
@faulty
@attempts
@pytest.mark.parametrize("again", [(), pytest.param((1, 3, 7), marks=pytest.mark.full)])
def test_cancelling_deploy_many_in_any_turn_leaves_no_server(
    attempt: Any, again: tuple[int, ...], faults: list[Fault]
) -> None:
    _, turns = at_every_turn(attempt, *faults, again=again, taken=taken)
    assert turns > 10


@pytest.mark.slow
@faulty
@attempts
@pytest.mark.parametrize(
    "cancelled", [(), pytest.param((2, 5), marks=pytest.mark.full)]
)
def test_closing_in_any_turn_of_deploy_many_leaves_no_server(
    attempt: Any, cancelled: tuple[int, ...], faults: list[Fault]
) -> None:
    errors, turns = at_every_turn(
        attempt, *faults, strike="close", again=cancelled, taken=taken
    )
    assert turns > 10
    assert all(isinstance(error, SessionClosed | None) for error in errors)


async def all_that_was_started(edgegap: EdgegapSession, sim: Simulator) -> None:
    """Whatever becomes of the rest, each server that was started is told."""
    latest.clear()
    failed = []
    async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
        latest.append(outcomes)
        async for outcome in outcomes:
            taken.update(ids([outcome]))
            failed += (
                [outcome.error.request_id]
                if isinstance(outcome.error, AllocationFailed)
                else []
            )
    assert taken | {*failed} == {*sim.deployed()}


@pytest.mark.slow
@faulty
@pytest.mark.parametrize(
    "until_ready", [True, pytest.param(False, marks=pytest.mark.full)]
)
def test_withdrawing_in_any_turn_reports_every_server(
    until_ready: bool, faults: list[Fault]
) -> None:
    def withdraw() -> None:
        for outcomes in latest:
            outcomes.withdraw(until_ready=until_ready)

    latest.clear()
    errors, turns = at_every_turn(
        all_that_was_started, *faults, strike=withdraw, taken=taken
    )
    assert {*errors} == {None}
    assert turns > 10


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(delay_after=(0.4, 0.4), ready_after=(0.0, 0.0))
@pytest.mark.parametrize("seconds", [0.6, 1.0])
def test_a_loop_shutdown_leaves_no_unnamed_server(
    seconds: float, edgegap_simulator: Simulator
) -> None:
    taken.clear()
    sessions = []

    async def main() -> asyncio.Task[None]:
        async def works() -> None:
            async with EdgegapSession("t", base_url=edgegap_simulator.url) as edgegap:
                sessions.append(edgegap)
                await all_of_three(edgegap, edgegap_simulator)
                await asyncio.sleep(100)

        task = asyncio.create_task(works())
        await asyncio.sleep(seconds)
        return task

    assert asyncio.run(main()).cancelled()
    named = {request_id for request_id, _ in sessions[0].leftovers}
    assert forgotten(edgegap_simulator, taken) <= named


async def test_requests_that_go_on_when_cancelled_start_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stubborn() -> AsyncIterator[Any]:
        for request in requests(50):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            yield request

    async with owning(options=AT_ONCE) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(stubborn()) as outcomes:
            taken = ids([await anext(outcomes)])
        started = len(sim.deployed())
        await asyncio.sleep(30)
        assert len(sim.deployed()) == started < 10
        assert "failed" not in caplog.text
        assert forgotten(sim, taken) == set()


@pytest.mark.measured
@pytest.mark.parametrize("way", ["anext", "wait_for", "tasks"])
async def test_an_exception_long_after_stops_only_the_outcome_in_hand(way: str) -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        taken: list[Any] = []

        async def take(outcomes: DeployStream) -> None:
            taken.append(await anext(outcomes))
            # It is handled.
            await asyncio.sleep(0.1)

        async def consume() -> None:
            async with edgegap.deployments.deploy_many(requests(10)) as outcomes:
                for _ in range(10):
                    if way == "anext":
                        taken.append(await anext(outcomes))
                    elif way == "wait_for":
                        taken.append(await asyncio.wait_for(anext(outcomes), 60))
                    else:
                        await asyncio.create_task(take(outcomes))
                await asyncio.sleep(100)
                raise Mine

        with pytest.raises(Mine):
            await consume()
        await asyncio.sleep(30)
        assert sim.running() == ids(taken if way == "tasks" else taken[:-1])
