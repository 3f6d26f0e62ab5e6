"""`max_running` counts every server that may exist."""

import asyncio
from typing import Any

import pytest
from support.deploy_many import requests
from support.limiter_model import now
from support.owning import PLAYERS, forgotten, owning

from edgegap_async import BulkStopFilter, EdgegapSession
from edgegap_async.errors import InvalidRequest
from edgegap_async.models.deploy import DeployRequest, FleetDeployRequest
from edgegap_async.simulator import Fault, Simulator

FAULTS: dict[str, list[Fault]] = {
    "lost answers": [Fault("deploy", "cut-after", 0.3)],
    "lost requests": [Fault("deploy", "cut-before", 0.3)],
    "lost answers, lists lag 8 s": [
        Fault("deploy", "cut-after", 0.3),
        Fault("list", "lag", seconds=8.0),
    ],
    "lost requests, lists lag 8 s": [
        Fault("deploy", "cut-before", 0.3),
        Fault("list", "lag", seconds=8.0),
    ],
    "processed late": [Fault("deploy", "processed-late", 0.3, seconds=10.0)],
}


async def count_running(sim: Simulator, counts: list[int]) -> None:
    while True:
        counts.append(len(sim.running()))
        await asyncio.sleep(0.25)


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_no_more_servers_exist_than_allowed(faults: list[Fault]) -> None:
    options = {"ready_after": (0.0, 0.0), "stop_takes": 0.0}
    async with owning(faults, options=options) as (edgegap, sim):
        counts: list[int] = []
        counting = asyncio.ensure_future(count_running(sim, counts))
        many = edgegap.deployments.deploy_many(requests(30), max_running=5)
        served = 0
        async with many as outcomes:
            async for outcome in outcomes:
                if outcome.deployment:
                    served += 1
                    await edgegap.deployments.stop(outcome.deployment.request_id)
        assert served >= 29
        counting.cancel()
        assert max(counts) <= 5
        await asyncio.sleep(60)
        assert forgotten(sim) == set()


async def stop_by_bulk(edgegap: EdgegapSession, ids: list[str]) -> None:
    await edgegap.deployments.bulk_stop(BulkStopFilter("request_id", ids))


async def stop_each(edgegap: EdgegapSession, ids: list[str]) -> None:
    for request_id in ids:
        await edgegap.deployments.stop(request_id)


async def stop_surely(edgegap: EdgegapSession, ids: list[str]) -> None:
    for request_id in ids:
        await edgegap.deployments.ensure_stopped(request_id)


@pytest.mark.parametrize("stop", [stop_by_bulk, stop_each, stop_surely])
async def test_a_stop_frees_capacity_at_once(stop: Any) -> None:
    async with owning(options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(6), max_running=2)
        began = now()
        async with many as outcomes:
            for _ in range(3):
                pair = [(await anext(outcomes)).deployment for _ in range(2)]
                await stop(edgegap, [server.request_id for server in pair])
        assert now() - began < 10
        assert len(sim.deployed()) == 6


async def test_a_server_that_ends_by_itself_frees_capacity() -> None:
    async with owning(options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(2), max_running=1)
        async with many as outcomes:
            first = (await anext(outcomes)).deployment
            async with EdgegapSession("another", base_url=sim.url) as another:
                await another.deployments.stop(first.request_id)
            second = (await anext(outcomes)).deployment
        assert sim.running() == {second.request_id}


def fleet_requests(count: int) -> list[FleetDeployRequest]:
    return [
        FleetDeployRequest("game", "1", users=PLAYERS, private_host_ids=["host"])
        for _ in range(count)
    ]


async def test_private_fleets_deploy_many_and_adopt() -> None:
    options = {"ready_after": (0.0, 0.0)}
    async with owning(
        Fault("private_fleets.deploy", "cut-after", 0.3), options=options
    ) as (
        edgegap,
        sim,
    ):
        async with edgegap.private_fleets.deploy_many(fleet_requests(20)) as outcomes:
            taken = [outcome async for outcome in outcomes]
        held = [outcome.deployment.request_id for outcome in taken]
        assert sim.running() == {*held}
        assert len(sim.deployed()) == 20
        async with edgegap.private_fleets.adopt(held[0]) as server:
            assert server.request_id == held[0]
        assert held[0] in sim.stopped()


@pytest.mark.parametrize(
    ("fleet", "given"), [(False, fleet_requests(1)), (True, requests(1))]
)
async def test_a_request_for_the_other_endpoint_is_refused_by_name(
    fleet: bool, given: list[DeployRequest]
) -> None:
    async with owning() as (edgegap, sim):
        namespace: Any = edgegap.private_fleets if fleet else edgegap.deployments
        async with namespace.deploy_many(given) as outcomes:
            error = (await anext(outcomes)).error
        assert isinstance(error, InvalidRequest)
        assert "FleetDeployRequest" in str(error)
        assert sim.arrivals("deploy") == 0


async def test_a_late_server_keeps_the_permit_of_its_deploy() -> None:
    faults = [Fault("deploy", "cut-after", times=1), Fault("list", "lag", seconds=8.0)]
    async with owning(faults, options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        began = now()
        many = edgegap.deployments.deploy_many(requests(2), max_running=1)
        async with many as outcomes:
            first = (await anext(outcomes)).deployment
            assert now() - began < 12
            await asyncio.sleep(100)
            assert sim.running() == {first.request_id}
            await edgegap.deployments.stop(first.request_id)
            assert (await anext(outcomes)).deployment
        assert len(sim.deployed()) == 2


async def test_a_server_that_ends_is_noticed_although_statuses_are_not_answered() -> (
    None
):
    """Lists fail, so that statuses alone can tell."""
    options = {"ready_after": (0.0, 0.0), "gone": "terminated"}
    async with owning(options=options) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(21), max_running=20)
        async with many as outcomes:
            held = [(await anext(outcomes)).deployment.request_id for _ in range(20)]
            async with EdgegapSession("another", base_url=sim.url) as another:
                await another.deployments.stop(held[7])
            sim.faults = [
                Fault("list", "502-before"),
                Fault("status", "hang-before", times=40),
            ]
            began = now()
            assert (await anext(outcomes)).deployment
            # In turn, the statuses of one look would take ten minutes.
            assert now() - began < 300
