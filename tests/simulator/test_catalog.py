"""Once a program has created an application, only versions that exist can be deployed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from edgegap_async import (
    BadRequest,
    EdgegapSession,
    EnvironmentVariable,
    PortSpec,
)
from edgegap_async.simulator import Simulator

VERSION: dict[str, Any] = {
    "req_cpu": 256,
    "req_memory": 512,
    "docker_repository": "registry.example.com",
    "docker_image": "arena",
    "docker_tag": "v1",
}
PORTS = [
    PortSpec(7777, "UDP", name="game"),
    PortSpec(9000, "TCP"),
    PortSpec(8080, "WS", tls_upgrade=True, name="lobby"),
]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(ready_after=(1, 1), stop_takes=1) as sim:
        yield sim


@pytest.fixture
async def edgegap(sim: Simulator) -> AsyncIterator[EdgegapSession]:
    async with EdgegapSession("made-up", base_url=sim.url) as session:
        yield session


async def created(edgegap: EdgegapSession, **settings: Any) -> None:
    await edgegap.apps.create("arena", image="")
    await edgegap.versions.create("arena", "v1", **(VERSION | settings))


async def deploy(
    edgegap: EdgegapSession, app: str = "arena", version: str = "v1", **more: Any
) -> str:
    accepted = await edgegap.deployments.deploy(
        app, version, users=["203.0.113.7"], **more
    )
    return accepted.request_id


async def refusal(edgegap: EdgegapSession, app: str, version: str) -> str:
    with pytest.raises(BadRequest) as raised:
        await deploy(edgegap, app, version)
    return raised.value.message


async def test_anything_can_be_deployed_until_an_application_was_created(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    early = await deploy(edgegap, "unheard-of", "1")
    await created(edgegap)
    known = await deploy(edgegap)
    for app, version in (("unheard-of", "1"), ("arena", "v2"), ("ARENA", "v1")):
        assert "Invalid application or version" in await refusal(edgegap, app, version)
    assert sim.deployed() == (early, known)
    # What runs goes on.
    assert sim.running() == {early, known}
    await edgegap.apps.delete("arena")
    await refusal(edgegap, "arena", "v1")


async def test_a_fleet_deploy_needs_a_known_version_too(
    edgegap: EdgegapSession,
) -> None:
    await created(edgegap)
    fleets = edgegap.private_fleets
    hosts, users = ["alpha"], ["203.0.113.7"]
    await fleets.deploy("arena", "v1", private_host_ids=hosts, users=users)
    with pytest.raises(BadRequest):
        await fleets.deploy("arena", "v2", private_host_ids=hosts, users=users)


@pytest.mark.parametrize("whole", [False, True])
async def test_what_is_not_active_can_not_be_deployed(
    sim: Simulator, edgegap: EdgegapSession, whole: bool
) -> None:
    async def activate(active: bool) -> None:
        if whole:
            await edgegap.apps.update("arena", is_active=active)
        else:
            await edgegap.versions.update("arena", "v1", is_active=active)

    await created(edgegap)
    await activate(False)
    assert "not active" in await refusal(edgegap, "arena", "v1")
    await activate(True)
    request_id = await deploy(edgegap)
    assert sim.deployed() == (request_id,)


async def test_a_deployment_has_the_ports_of_its_version(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    await created(edgegap, ports=PORTS)
    request_id = await deploy(edgegap)
    server = await edgegap.deployments.wait_until_ready(request_id)
    shown = {key: (it.internal, it.protocol) for key, it in server.ports.items()}
    assert shown == {
        "game": (7777, "UDP"),
        "9000": (9000, "TCP"),
        "lobby": (8080, "WS"),
    }
    externals = {server.address(name)[1] for name in ("game", 9000, "lobby")}
    assert len(externals) == 3
    assert [(it.link or "")[:8] == "https://" for it in server.ports.values()] == (
        [False, False, True]
    )
    environment = sim.environment(request_id)
    assert environment["ARBITRIUM_PORT_GAME_INTERNAL"] == "7777"
    assert "ARBITRIUM_PORT_WEB_INTERNAL" not in environment
    logs = (await edgegap.deployments.container_logs(request_id)).logs or ""
    assert "Listening on 7777/UDP, 9000/TCP, 8080/WS\n" in logs
    # Later changes are for later deployments.
    await edgegap.versions.update("arena", "v1", ports=[])
    status = await edgegap.deployments.status(request_id)
    assert status.ports.keys() == server.ports.keys()
    other = await edgegap.deployments.wait_until_ready(await deploy(edgegap))
    assert other.ports == {}
    output = await edgegap.deployments.container_logs(other.request_id)
    assert "Listening on no port\n" in (output.logs or "")


async def test_a_deployment_has_the_variables_of_its_version(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    envs = [
        EnvironmentVariable("MODE", "ranked"),
        EnvironmentVariable("KEY", "hidden", is_hidden=True),
    ]
    await created(edgegap, envs=envs)
    request_id = await deploy(
        edgegap, environment_variables={"MODE": "casual", "MAP": "b"}
    )
    environment = sim.environment(request_id)
    assert [environment[key] for key in ("MODE", "KEY", "MAP")] == (
        ["casual", "hidden", "b"]
    )
    url = f"{sim.url}/_simulator/environment/{request_id}"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        shown = await response.json()
    assert (shown["MODE"], shown["KEY"]) == ("casual", None)


@pytest.mark.full
@pytest.mark.parametrize(
    ("minutes", "lives"),
    [
        (2, 120),
        pytest.param(1440, 86_400, marks=pytest.mark.slow),
        pytest.param(None, 86_400, marks=pytest.mark.slow),
    ],
)
async def test_a_deployment_ends_after_the_max_duration_of_its_version(
    sim: Simulator, edgegap: EdgegapSession, minutes: int | None, lives: int
) -> None:
    await created(edgegap, **({} if minutes is None else {"max_duration": minutes}))
    request_id = await deploy(edgegap)
    status = await edgegap.deployments.status(request_id)
    assert status.max_duration == (minutes or 1440)
    # It is READY after one second, and its stop takes another one.
    await asyncio.sleep(lives)
    assert sim.running() == {request_id}
    await asyncio.sleep(3)
    assert sim.running() == set()


@pytest.mark.slow
async def test_a_deployment_without_a_max_duration_does_not_end(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    await created(edgegap, max_duration=-1)
    request_id = await deploy(edgegap)
    await asyncio.sleep(10 * 86_400)
    assert sim.running() == {request_id}
    await edgegap.deployments.stop(request_id)


async def test_a_reset_forgets_applications(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    await created(edgegap)
    await refusal(edgegap, "unheard-of", "1")
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{sim.url}/_simulator/reset", json={}) as response,
    ):
        assert response.status == 200
    assert (await edgegap.apps.list()).applications == ()
    await deploy(edgegap, "unheard-of", "1")
