"""The end of a server in use: the code inside its block is told."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from support.deploy_many import requests
from support.limiter_model import now
from support.owning import PLAYERS, deploy, forgotten, owning, running
from support.raw_server import RawServer, answer

from edgegap_async import EdgegapSession, EndReason
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    SessionClosed,
)
from edgegap_async.simulator import Fault, Simulator

AT_ONCE: dict[str, Any] = {"ready_after": (0.0, 0.0), "stop_takes": 0.0}
# Seconds until an end is known, at the most.
SOON = 3.0


async def stop_as_others_do(sim: Simulator, request_id: str) -> None:
    async with EdgegapSession("others", base_url=sim.url) as other:
        await other.deployments.stop(request_id)


@pytest.mark.parametrize("after", [0, 100])
@pytest.mark.parametrize("many", [1, 12])
async def test_a_stop_by_somebody_else_is_told(after: float, many: int) -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):

        async def play() -> tuple[EndReason, float]:
            async with running(edgegap) as server:
                reason = await server.wait_ended()
                assert server.request_id not in sim.running()
                return reason, now()

        games = [asyncio.ensure_future(play()) for _ in range(many)]
        await asyncio.sleep(after + 5)
        began = now()
        for request_id in sim.deployed():
            await stop_as_others_do(sim, request_id)
        ends = await asyncio.gather(*games)
        # A stop and a server that is gone look alike, unless TERMINATING is seen.
        assert {reason for reason, _ in ends} <= {EndReason.STOPPED, EndReason.GONE}
        young = 30 * (not after)
        assert max(at for _, at in ends) - began < SOON + young


@pytest.mark.parametrize("many", [1, 12])
async def test_a_crash_is_told_and_the_server_is_stopped(many: int) -> None:
    options = {**AT_ONCE, "crash_after": (60.0, 60.0)}
    async with owning(options=options) as (edgegap, sim):

        async def play() -> EndReason:
            async with running(edgegap) as server:
                began = now()
                reason = await server.wait_ended()
                assert 55 < now() - began < 60 + SOON
                assert server.request_id in sim.running()
                return reason

        reasons = await asyncio.gather(*(play() for _ in range(many)))
        assert {*reasons} == {EndReason.FAILED}
        await asyncio.sleep(1)
        assert forgotten(sim) == set()


@pytest.mark.parametrize("after", [0.7, 1.5, 4.0])
async def test_a_crash_soon_after_the_start_is_told_as_soon(after: float) -> None:
    """A list has shown the server, so that one without it does not lag."""
    options = {**AT_ONCE, "crash_after": (after, after + 0.1)}
    async with owning(options=options) as (edgegap, sim):

        async def play() -> float:
            async with running(edgegap) as server:
                began = now()
                assert await server.wait_ended() is EndReason.FAILED
                return now() - began

        taken = await asyncio.gather(*(play() for _ in range(3)))
        assert max(taken) < after + SOON
        assert sim.arrivals("status") < 30


async def test_a_stop_by_this_session_is_told_at_once() -> None:
    async with owning(options=AT_ONCE) as (edgegap, _), running(edgegap) as server:
        ended = asyncio.ensure_future(server.wait_ended())
        await asyncio.sleep(1)
        await edgegap.deployments.stop(server.request_id)
        began = now()
        assert await ended is EndReason.STOPPED
        assert now() - began < 0.1
        assert await server.wait_ended() is EndReason.STOPPED


@pytest.mark.parametrize("way", ["adopt", "deploy_many", "fleet"])
async def test_every_way_to_a_server_tells_its_end(way: str) -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):

        async def play() -> EndReason:
            if way == "adopt":
                accepted = await deploy(edgegap)
                async with edgegap.deployments.adopt(accepted.request_id) as server:
                    return await server.wait_ended()
            if way == "fleet":
                async with edgegap.private_fleets.running(
                    "game", "1", users=PLAYERS, private_host_ids=["h"]
                ) as server:
                    return await server.wait_ended()
            async with edgegap.deployments.deploy_many(requests(1)) as outcomes:
                return await (await anext(outcomes)).wait_ended()

        game = asyncio.ensure_future(play())
        await asyncio.sleep(60)
        (request_id,) = sim.deployed()
        await stop_as_others_do(sim, request_id)
        began = now()
        assert await game in (EndReason.STOPPED, EndReason.GONE)
        assert now() - began < SOON


async def test_the_reason_of_an_end_stays_the_same() -> None:
    async with owning(options={**AT_ONCE, "gone": "400"}) as (edgegap, sim):
        accepted = await deploy(edgegap)
        async with edgegap.deployments.adopt(accepted.request_id) as server:
            await asyncio.sleep(60)
            await stop_as_others_do(sim, server.request_id)
            reasons = {await server.wait_ended() for _ in range(3)}
            assert reasons == {EndReason.GONE}


@pytest.mark.slow
async def test_servers_that_are_not_ready_yet_have_not_ended() -> None:
    slow = {**AT_ONCE, "ready_after": (40.0, 40.0)}
    async with owning(options=slow) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(10), until_ready=False)
        async with many as outcomes:
            taken = [await anext(outcomes) for _ in range(10)]
            ends = [asyncio.ensure_future(each.wait_ended()) for each in taken]
            await asyncio.sleep(30)
            # A status every two seconds for each of them.
            assert sim.arrivals("status") < 10 * 30 / 2 * 1.2
            await asyncio.sleep(60)
            assert not any(end.done() for end in ends)
            for end in ends:
                end.cancel()
            await asyncio.wait(ends)


async def test_an_outcome_without_a_server_has_no_end() -> None:
    async with (
        owning(Fault("deploy", "422")) as (edgegap, _),
        edgegap.deployments.deploy_many(requests(1)) as outcomes,
    ):
        outcome = await anext(outcomes)
        with pytest.raises(ValueError, match="no deployment"):
            await outcome.wait_ended()


async def test_a_wait_for_an_end_has_a_timeout_and_ends_with_the_session() -> None:
    async with owning(options=AT_ONCE) as (edgegap, _):
        block = running(edgegap)
        server = await block.__aenter__()
        began = now()
        with pytest.raises(DeadlineExceeded):
            await server.wait_ended(timeout=5)
        assert now() - began == pytest.approx(5, abs=0.01)
        waiting = asyncio.ensure_future(server.wait_ended())
        await asyncio.sleep(1)
        await edgegap.aclose()
        # The session has stopped it, or was closed before that was known.
        with suppress(SessionClosed):
            assert await waiting is EndReason.STOPPED
        await block.__aexit__(None, None, None)


@pytest.mark.full
@pytest.mark.slow
async def test_a_hundred_servers_in_use_cost_a_few_requests() -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):

        async def play() -> None:
            async with running(edgegap) as server:
                await server.wait_ended()

        games = [asyncio.ensure_future(play()) for _ in range(100)]
        await asyncio.sleep(60)
        before = sim.arrivals("status") + sim.arrivals("list")
        await asyncio.sleep(100)
        assert sim.arrivals("status") + sim.arrivals("list") - before < 200
        for game in games:
            game.cancel()
        await asyncio.wait(games)


@pytest.mark.measured
@pytest.mark.parametrize("kept", [False, True])
async def test_a_server_runs_no_longer_than_max_seconds(kept: bool) -> None:
    async with owning(options=AT_ONCE) as (edgegap, sim):
        async with running(edgegap, max_seconds=50) as server:
            began = now()
            if kept:
                server.keep()
                await asyncio.sleep(100)
                assert sim.stopped() == set()
            else:
                assert await server.wait_ended() is EndReason.STOPPED
                assert now() - began == pytest.approx(50, abs=0.5)
                assert sim.stopped() == {server.request_id}
        await asyncio.sleep(100)
        assert len(sim.stopped()) == (not kept)


@pytest.mark.parametrize("wrong", [0, -1, "x", float("nan")])
async def test_wrong_max_seconds_are_refused_before_anything_is_sent(
    wrong: Any,
) -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(ValueError, match="max_seconds"):
            running(edgegap, max_seconds=wrong)
        with pytest.raises(ValueError, match="max_seconds"):
            edgegap.deployments.adopt("abc", max_seconds=wrong)
        assert sim.deployed() == ()


FAILING: dict[str, Any] = {**AT_ONCE, "error_share": 1.0}


async def fail_in_running(edgegap: EdgegapSession) -> DeploymentFailed:
    with pytest.raises(DeploymentFailed) as caught:
        async with running(edgegap):
            pass
    return caught.value


async def fail_in_deploy_many(edgegap: EdgegapSession) -> DeploymentFailed:
    async with edgegap.deployments.deploy_many(requests(1)) as outcomes:
        error = (await anext(outcomes)).error
    assert isinstance(error, DeploymentFailed)
    return error


async def fail_in_a_wait(edgegap: EdgegapSession) -> DeploymentFailed:
    accepted = await deploy(edgegap)
    with pytest.raises(DeploymentFailed) as caught:
        await edgegap.deployments.wait_until_ready(
            accepted.request_id, stop_on_failure=True
        )
    return caught.value


@pytest.mark.parametrize("fail", [fail_in_running, fail_in_deploy_many, fail_in_a_wait])
async def test_the_logs_of_a_failed_server_are_fetched_before_its_stop(
    fail: Any,
) -> None:
    async with owning(options=FAILING) as (edgegap, sim):
        error = await fail(edgegap)
        assert error.logs is not None
        assert error.logs.crash_data is not None or error.logs.encoding == "utf-8"
        await asyncio.sleep(1)
        assert forgotten(sim) == set()


@pytest.mark.parametrize("kind", ["hang-before", "503-before", "404-html", "stalled"])
@pytest.mark.parametrize("fail", [fail_in_running, fail_in_deploy_many])
async def test_logs_that_can_not_be_had_delay_a_stop_by_three_seconds_at_most(
    kind: str, fail: Any
) -> None:
    faults = Fault("container_logs", kind)
    async with owning(faults, options=FAILING) as (edgegap, sim):
        began = now()
        error = await fail(edgegap)
        assert error.logs is None
        assert now() - began < 4
        await asyncio.sleep(1)
        assert forgotten(sim) == set()


async def test_a_failed_server_is_stopped_although_the_wait_is_cancelled() -> None:
    faults = Fault("container_logs", "hang-before")
    async with owning(faults, options=FAILING) as (edgegap, sim):
        waiting = asyncio.ensure_future(fail_in_running(edgegap))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(5)
        assert forgotten(sim) == set()


@pytest.mark.parametrize(("storage", "sent"), [("mine", "mine"), (True, "true")])
async def test_automatic_stops_say_where_logs_are_kept(storage: Any, sent: str) -> None:
    accepted = answer(202, json.dumps({"request_id": "c065"}))
    async with (
        RawServer(accepted, answer(), answer()) as server,
        EdgegapSession(
            "t",
            base_url=server.url,
            deploy_once=False,
            container_log_storage=storage,
        ) as edgegap,
    ):
        async with running(edgegap):
            pass
        await edgegap.deployments.ensure_stopped("c066", container_log_storage=False)
        stops = [it.path for it in server.arrivals if it.method == "DELETE"]
        assert stops == [
            f"/v1/stop/c065?container_log_storage={sent}",
            "/v1/stop/c066?container_log_storage=false",
        ]
