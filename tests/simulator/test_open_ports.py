"""Ports of deployments that are READY send back what arrives, until the deployment ends."""

import asyncio
import socket
from typing import Any

import pytest
from support.control import ok
from support.owning import deploy, owning
from support.plain_client import DEPLOY, plain

from edgegap_async.probes import tcp
from edgegap_async.simulator import Fault, Simulator

OPEN = {"ready_after": (2.0, 2.0), "stop_takes": 1.0, "open_ports": True}


async def echoed(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"hello")
    data = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return data


def refused(port: int) -> bool:
    with socket.socket() as client:
        client.setblocking(True)
        return client.connect_ex(("127.0.0.1", port)) != 0


async def test_a_probe_succeeds_once_a_deployment_is_ready() -> None:
    async with owning(options=OPEN) as (edgegap, _):
        made = await deploy(edgegap)
        server = await edgegap.deployments.wait_until_ready(
            made.request_id, probe=tcp("web"), timeout=30
        )
        host, port = server.address("web")
        assert host == "localhost"
        assert await echoed("127.0.0.1", port) == b"hello"


@pytest.mark.parametrize("end", ["crash", "stop", "reset", "close"])
async def test_ports_are_open_from_ready_to_the_end_only(end: str) -> None:
    sim = Simulator(**OPEN)  # type: ignore[arg-type]
    async with plain(sim) as api:
        request_id = await api.deploy()
        await asyncio.sleep(1.5)
        status = await api.get(f"/v1/status/{request_id}")
        port = status["ports"]["web"]["external"]
        assert status["ports"]["web"]["link"].endswith(f"//localhost:{port}")
        assert status["public_ip"] == "127.0.0.1"
        assert refused(port)
        await asyncio.sleep(1)
        assert not refused(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        if end == "crash":
            sim.crash(request_id)
        elif end == "stop":
            await api("DELETE", f"/v1/stop/{request_id}")
        elif end == "reset":
            await ok(api, "POST", "reset")
        if end != "close":
            await asyncio.sleep(0.1)
            assert refused(port)
    assert refused(port)
    # Those that are connected notice it.
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_a_crash_in_the_turn_in_which_it_is_ready_leaves_no_port() -> None:
    sim = Simulator(**{**OPEN, "ready_after": (0.0, 0.0)})  # type: ignore[arg-type]
    async with plain(sim) as api:
        for turns in range(6):
            request_id = await api.deploy()
            for _ in range(turns):
                await asyncio.sleep(0)
            sim.crash(request_id)
            ports = (await api.get(f"/v1/status/{request_id}"))["ports"]
            await asyncio.sleep(0.1)
            assert refused(ports["web"]["external"])


async def test_udp_ports_send_back_datagrams() -> None:
    async with plain(Simulator(**OPEN)) as api:  # type: ignore[arg-type]
        request_id = await api.deploy()
        await asyncio.sleep(3)
        ports = (await api.get(f"/v1/status/{request_id}"))["ports"]
        (udp,) = (it for it in ports.values() if it["protocol"] == "UDP")
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                arrived.set_result(data)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Client, remote_addr=("127.0.0.1", udp["external"])
        )
        transport.sendto(b"ping")
        assert await asyncio.wait_for(arrived, 5) == b"ping"
        transport.close()


async def test_many_deployments_have_ports_of_their_own() -> None:
    async with plain(Simulator(**OPEN, rates={"deploy": None})) as api:  # type: ignore[arg-type]
        ids = [await api.deploy() for _ in range(20)]
        await asyncio.sleep(3)
        found = [(await api.get(f"/v1/status/{it}"))["ports"] for it in ids]
        numbers = [port["external"] for ports in found for port in ports.values()]
        assert len({*numbers}) == len(numbers) == 40
        assert not any(refused(ports["web"]["external"]) for ports in found)


async def test_a_server_that_was_not_allocated_has_no_ports() -> None:
    sim = Simulator(**OPEN, faults=[Fault("deploy", "422")])  # type: ignore[arg-type]
    async with plain(sim) as api:
        status, _ = await api("POST", "/v2/deployments", DEPLOY)
        assert status == 422
        await asyncio.sleep(3)
    assert sim.counts()["deployed"] == 1
