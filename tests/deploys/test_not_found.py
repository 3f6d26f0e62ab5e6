"""A "not found" that comes too early, or from a gateway, is not the end of a server."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import deploy, forgotten, owning, running
from support.raw_server import (
    ACCEPTED,
    READY,
    RawServer,
    answer,
    failure,
    scripted,
    session,
)

from edgegap_async import EdgegapSession
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentTerminated,
    DeployOutcomeUnknown,
)
from edgegap_async.simulator import Fault, Simulator

# Replicas lag: the first requests for a deployment are answered 404.
LAGS: dict[str, dict[str, Any]] = {
    "1 s": {"replica_lag": 1.0},
    "10 s": {"replica_lag": 10.0},
    "1 s, and it ends with 410": {"replica_lag": 1.0, "gone": "410"},
}
lagging = pytest.mark.parametrize("options", LAGS.values(), ids=LAGS)
GATEWAY = ("404-text", "404-html", "404-empty", "404-json")
gateways = pytest.mark.parametrize("kind", GATEWAY)


@lagging
async def test_a_caller_that_leaves_leaves_no_server(options: dict[str, Any]) -> None:
    async with owning(options={"delay_after": (0.5, 0.5), **options}) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.2)
        call.cancel()
        await asyncio.sleep(40)
        assert len(sim.deployed()) == 1
        assert forgotten(sim) == set()


@lagging
async def test_a_block_waits_for_its_server_and_stops_it(
    options: dict[str, Any],
) -> None:
    async with owning(options={"ready_after": (0.0, 0.0), **options}) as (edgegap, sim):
        async with running(edgegap) as server:
            assert sim.running() == {server.request_id}
        await asyncio.sleep(40)
        assert forgotten(sim) == set()


@lagging
async def test_deploy_many_serves_and_stops_all(options: dict[str, Any]) -> None:
    async with owning(options={"ready_after": (0.0, 0.0), **options}) as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(20))
        async with many as outcomes:
            taken = [await anext(outcomes) for _ in range(5)]
        assert [outcome.error for outcome in taken] == [None] * 5
        await asyncio.sleep(60)
        held = [outcome.deployment.request_id for outcome in taken]
        assert forgotten(sim, held) == set()


async def test_closing_in_the_lag_names_the_server() -> None:
    options = {"delay_after": (0.5, 0.5), "replica_lag": 60.0}
    async with owning(options=options) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.2)
        call.cancel()
        await asyncio.sleep(1)
        await edgegap.aclose()
        assert {request_id for request_id, _ in edgegap.leftovers} == forgotten(sim)
        assert len(edgegap.leftovers) == 1


async def test_a_deployment_of_unknown_age_is_gone_at_once() -> None:
    async with owning() as (edgegap, _):
        began = asyncio.get_running_loop().time()
        await edgegap.deployments.ensure_stopped("another", wait=True)
        with pytest.raises(DeploymentTerminated):
            await edgegap.deployments.wait_until_ready("another")
        assert asyncio.get_running_loop().time() - began < 0.1


@pytest.mark.parametrize("by", ["reap", "list", "status"])
async def test_a_server_of_another_process_that_was_just_seen_is_stopped(
    by: str,
) -> None:
    """Its stops are answered 404 while replicas lag."""
    async with owning() as (edgegap, sim):
        async with EdgegapSession("another", base_url=sim.url) as another:
            request_id = (await deploy(another, tags=["mine"])).request_id
        lag = Fault("stop", "not-found", times=3)
        sim.faults = [lag]
        if by == "list":
            await edgegap.deployments.list()
        elif by == "status":
            await edgegap.deployments.status(request_id)
        if by == "reap":
            await edgegap.deployments.reap(["mine"])
        else:
            await edgegap.deployments.ensure_stopped(request_id)
        assert sim.stopped() == {request_id}


async def old_server(edgegap: EdgegapSession, sim: Simulator) -> str:
    """A server that is too old to be "not visible yet"."""
    server = await deploy(edgegap)
    await asyncio.sleep(40)
    assert server.request_id in sim.running()
    return str(server.request_id)


@gateways
async def test_a_stop_answered_by_a_gateway_is_retried(kind: str) -> None:
    async with owning() as (edgegap, sim):
        request_id = await old_server(edgegap, sim)
        sim.faults = [Fault("stop", kind, times=3)]
        await edgegap.deployments.ensure_stopped(request_id)
        assert sim.stopped() == {request_id}


@gateways
async def test_a_gateway_that_answers_every_stop_never_stops_a_server(
    kind: str,
) -> None:
    async with owning() as (edgegap, sim):
        request_id = await old_server(edgegap, sim)
        sim.faults = [Fault("stop", kind)]
        error = await failure(
            edgegap.deployments.ensure_stopped(request_id, timeout=60)
        )
        assert isinstance(error, DeadlineExceeded)
        async with edgegap.deployments.adopt(request_id):
            pass
        await edgegap.aclose()
        assert edgegap.leftovers[0][0] == request_id
        assert sim.running() == {request_id}


@gateways
@pytest.mark.parametrize("faults", [(), ("filters-ignored",), ("filters-empty",)])
async def test_a_wait_outlasts_a_gateway(kind: str, faults: tuple[str, ...]) -> None:
    options = {"ready_after": (60.0, 60.0), "neighbours": 3}
    async with owning(options=options) as (edgegap, sim):
        request_id = await old_server(edgegap, sim)
        sim.faults = [
            Fault("status", kind, times=6),
            *(Fault("list", name) for name in faults),
        ]
        ready = await edgegap.deployments.wait_until_ready(request_id)
        assert ready.request_id == request_id


@pytest.mark.measured
@gateways
async def test_a_list_confirms_that_a_deployment_is_gone(kind: str) -> None:
    """The gateway says so too, and this time it is true."""
    async with owning(options={"neighbours": 3, "stop_takes": 0.0}) as (edgegap, sim):
        request_id = await old_server(edgegap, sim)
        async with EdgegapSession("another", base_url=sim.url) as another:
            await another.deployments.stop(request_id)
        sim.faults = [Fault("status", kind), Fault("stop", kind)]
        await edgegap.deployments.ensure_stopped(request_id, timeout=20)
        with pytest.raises(DeploymentTerminated):
            await edgegap.deployments.wait_until_ready(request_id, timeout=20)


@pytest.mark.parametrize(
    ("body", "gone"),
    [
        ({"message": "Not Found"}, True),
        ("default backend - 404", False),
        ("", False),
    ],
)
async def test_without_a_list_only_the_form_of_the_api_counts(
    body: object, gone: bool
) -> None:
    """Three times within ten seconds."""
    lists = answer(200, {"data": []})
    async with (
        RawServer(answer(404, body), lists=lists) as server,
        session(server.url) as edgegap,
    ):
        began = asyncio.get_running_loop().time()
        stopping = edgegap.deployments.ensure_stopped("c065", timeout=60)
        if gone:
            await stopping
            assert asyncio.get_running_loop().time() - began >= 10
        else:
            assert isinstance(await failure(stopping), DeadlineExceeded)


@pytest.mark.slow
async def test_many_stops_share_the_lists_that_confirm_them() -> None:
    """A gateway answers all, and all are gone."""
    async with owning(options={"neighbours": 3, "stop_takes": 0.0}) as (edgegap, sim):
        servers = [await old_server(edgegap, sim)]
        servers += [(await deploy(edgegap)).request_id for _ in range(99)]
        await asyncio.sleep(40)
        async with EdgegapSession("another", base_url=sim.url) as another:
            await asyncio.gather(*(another.deployments.stop(it) for it in servers))
        before = sim.arrivals("list")
        sim.faults = [Fault("stop", "404-text")]
        await asyncio.gather(
            *(edgegap.deployments.ensure_stopped(it, timeout=60) for it in servers)
        )
        assert sim.arrivals("list") - before < 20


@pytest.mark.slow
async def test_answers_in_between_start_the_count_again() -> None:
    """Every fourth status is a gateway's, and no list can be had."""
    async with owning(options={"ready_after": (120.0, 120.0)}) as (edgegap, sim):
        request_id = await old_server(edgegap, sim)
        script = Fault.script("status", *["ok", "ok", "ok", "404-json"] * 30)
        sim.faults = [*script, Fault("list", "503-before")]
        ready = await edgegap.deployments.wait_until_ready(request_id)
        assert ready.request_id == request_id


@pytest.mark.parametrize("gone", ["410", "terminated"])
async def test_a_young_server_that_has_ended_by_itself_needs_no_patience(
    gone: str,
) -> None:
    async with owning(
        options={"gone": gone, "ready_after": (0.0, 0.0), "stop_takes": 0.0}
    ) as (edgegap, sim):
        async with running(edgegap) as server:
            async with EdgegapSession("another", base_url=sim.url) as another:
                await another.deployments.stop(server.request_id)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 1
        await edgegap.aclose()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    ("status", "body", "gone"),
    [
        (410, {"message": "deployment c065 already terminated"}, True),
        (410, {"message": "The deployment is gone"}, True),
        (410, {"message": "c065: gone"}, True),
        (404, {"message": "Deployment c065 not found"}, False),
        (400, {"message": "Bad Request ID provided"}, False),
        (410, {"message": "Gone"}, False),
        (410, {"errors": ["deployment c065 already terminated"]}, False),
        (410, "<html>Gone: deployment", False),
        (410, "", False),
    ],
)
async def test_only_a_410_of_the_api_ends_a_young_server(
    status: int, body: object, gone: bool
) -> None:
    """It says that the server has existed, so it can't be "not visible yet"."""
    acts = [ACCEPTED, answer(status, body)]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, _):
        await deploy(edgegap)
        stopping = edgegap.deployments.ensure_stopped("c065", timeout=25)
        if gone:
            began = asyncio.get_running_loop().time()
            await stopping
            with pytest.raises(DeploymentTerminated):
                await edgegap.deployments.wait_until_ready("c065")
            assert asyncio.get_running_loop().time() - began < 1
        else:
            assert isinstance(await failure(stopping), DeadlineExceeded)


# The forms of the API's own answer that may mean "not visible yet".
NOT_FOUND = {
    "404": answer(404, {"message": "Deployment c065 not found"}),
    "400": answer(400, {"message": "Bad Request ID provided"}),
}
not_found = pytest.mark.parametrize("form", NOT_FOUND)
STOPPED = answer(202, {"message": "stopping"})
DEPLOYING = answer(200, {"request_id": "c065"})
NO_LISTS = answer(503, "")


async def deployed_a_second_ago(edgegap: EdgegapSession) -> None:
    await deploy(edgegap)
    # A suspended process first ends what had to end before, so a later answer is read.
    await edgegap.deployments.status("c065")
    await asyncio.sleep(1)


@not_found
@pytest.mark.parametrize("seconds", [0.0, 31.0, 3600.0])
async def test_a_stop_that_was_answered_before_a_suspension_is_sent_again(
    form: str, seconds: float
) -> None:
    """The age of a server counts when the stop was sent, not when its answer is read."""
    too_early = replace(NOT_FOUND[form], suspended=seconds)
    acts = [ACCEPTED, DEPLOYING, too_early, DEPLOYING, STOPPED]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, server):
        await deployed_a_second_ago(edgegap)
        await edgegap.deployments.ensure_stopped("c065", timeout=None)
        stops = [it for it in server.arrivals if it.method == "DELETE"]
        assert len(stops) == 2


@not_found
@pytest.mark.parametrize("seconds", [0.0, 31.0, 3600.0])
async def test_a_status_that_was_answered_before_a_suspension_ends_no_wait(
    form: str, seconds: float
) -> None:
    too_early = replace(NOT_FOUND[form], suspended=seconds)
    acts = [ACCEPTED, DEPLOYING, too_early, answer(200, READY)]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, server):
        await deployed_a_second_ago(edgegap)
        error = await failure(
            edgegap.deployments.wait_until_stopped("c065", timeout=seconds + 60)
        )
        assert isinstance(error, DeadlineExceeded)
        assert len(server.arrivals) > 4


@not_found
async def test_a_wait_for_a_server_outlasts_a_status_from_before_a_suspension(
    form: str,
) -> None:
    too_early = replace(NOT_FOUND[form], suspended=60.0)
    acts = [ACCEPTED, DEPLOYING, too_early, answer(200, READY)]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, _):
        await deployed_a_second_ago(edgegap)
        ready = await edgegap.deployments.wait_until_ready("c065")
        assert ready.request_id == "c065"


@pytest.mark.measured
@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        ("", True),
        ("null", True),
        ('"stopping"', True),
        ("[]", True),
        ({"message": ["stopping"]}, True),
        ('{"message": "stop', True),
        ("stopping", True),
        ("<html><title>Maintenance</title></html>", False),
        (" \r\n<!DOCTYPE html><html>", False),
        ("<?xml version='1.0'?><Error/>", False),
    ],
)
async def test_a_page_does_not_accept_a_stop(body: object, accepted: bool) -> None:
    """A gateway answers with a page of its own: a login, a maintenance."""
    acts = [answer(200, body), STOPPED]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, server):
        await edgegap.deployments.ensure_stopped("c065", timeout=None)
        assert len(server.arrivals) == (1 if accepted else 2)


async def test_a_server_whose_stop_was_answered_with_a_page_is_stopped() -> None:
    pages = Fault("stop", "page-before", times=3)
    async with owning(pages, options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        async with running(edgegap):
            pass
        await asyncio.sleep(20)
        assert forgotten(sim) == set()
        sim.faults = [Fault("stop", "page-before")]
        async with running(edgegap):
            pass
        await edgegap.aclose()
        assert {request_id for request_id, _ in edgegap.leftovers} == forgotten(sim)
        assert len(edgegap.leftovers) == 1


OTHERS = {"request_id": "0ther", "current_status": "Status.TERMINATED"}


@pytest.mark.parametrize("other", [OTHERS, {**OTHERS, "tags": ["a"]}])
async def test_a_status_of_another_deployment_ends_no_stop(other: object) -> None:
    """It bears another request_id, as of a cache or a proxy that mixes answers up."""
    acts = [ACCEPTED, NOT_FOUND["404"], answer(200, other), STOPPED]
    async with scripted(*acts, lists=NO_LISTS) as (edgegap, server):
        await deploy(edgegap)
        await edgegap.deployments.ensure_stopped("c065", timeout=None)
        stops = [it for it in server.arrivals if it.method == "DELETE"]
        assert len(stops) == 2


@pytest.mark.parametrize("times", [1, 5, None])
async def test_tags_of_a_status_of_another_deployment_are_not_believed(
    times: int | None,
) -> None:
    """A list without tags makes the search ask each status."""
    async with owning(
        Fault("deploy", "cut-after", times=1),
        Fault("list", "tags-missing"),
        Fault("status", "other-id", times=times),
        options={"neighbours": 3},
    ) as (edgegap, sim):
        held = []
        with suppress(DeployOutcomeUnknown):
            held.append((await deploy(edgegap, timeout=None)).request_id)
        assert bool(held) == (times is not None)
        assert len(sim.deployed()) == 1
        sim.faults = []
        await asyncio.sleep(20)
        assert forgotten(sim, held) == set()
