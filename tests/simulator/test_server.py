"""The start, the end and the counts of a simulator."""

import asyncio
import gc
import io
import weakref

import pytest
from support.plain_client import Plain, plain

from edgegap_async.simulator import Simulator

BODY = (
    b'{"application": "a", "version": "v", "users": '
    b'[{"user_type": "ip_address", "user_data": {"ip_address": "::1"}}]}'
)
HEAD = (
    b"POST /v2/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: token x\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


async def send_and_close(sim: Simulator, *parts: bytes) -> None:
    host, port = sim.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.writelines(parts)
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()


async def test_a_complete_request_is_carried_out_after_its_client_has_gone() -> None:
    sim = Simulator(delay_before=(1, 1))
    async with sim:
        await send_and_close(sim, HEAD, BODY[:-1])
        await asyncio.sleep(5)
        assert (sim.arrivals("deploy"), sim.deployed()) == (0, ())
        await send_and_close(sim, HEAD, BODY)
        await asyncio.sleep(5)
        assert (sim.arrivals("deploy"), len(sim.deployed())) == (1, 1)


async def test_counts_are_served_as_json_without_a_token_and_do_not_count() -> None:
    sim = Simulator(token="right", ready_after=(1, 1))
    async with plain(sim, "token right") as api:
        first, second = await api.deploy(), await api.deploy()
        await asyncio.sleep(5)
        await api("DELETE", f"/v1/stop/{first}")
        await asyncio.sleep(1)
        async with api.http.get(
            "/_simulator/counts", headers={"Authorization": ""}
        ) as response:
            counts = await response.json()
        assert counts == sim.counts()

    assert counts["limits"]["deploy"] == {
        "arrivals": 2,
        "accepted": 2,
        "refused": 0,
        "busiest_second": 2,
    }
    assert counts["limits"]["list"]["arrivals"] == 0
    assert (sim.deployed(), sim.running()) == ((first, second), {second})
    assert [counts[name] for name in ("deployed", "running", "stopped")] == [2, 1, 1]


async def test_a_deployment_that_is_stopping_counts_once() -> None:
    sim = Simulator(ready_after=(1, 1), stop_takes=5)
    async with plain(sim) as api:
        stopping, early, running = [await api.deploy() for _ in range(3)]
        # Not READY yet.
        await api("DELETE", f"/v1/stop/{early}")
        await asyncio.sleep(2)
        await api("DELETE", f"/v1/stop/{stopping}")
        for _ in range(3):
            counts = sim.counts()
            assert (counts["running"], counts["stopped"]) == (1, 2)
            assert running in sim.running() - sim.stopped()
            await asyncio.sleep(4)


async def test_most_at_once_counts_what_existed_at_one_time() -> None:
    sim = Simulator(ready_after=(0, 0), stop_takes=1, neighbours=5)
    async with plain(sim) as api:
        for _ in range(3):
            made = [await api.deploy() for _ in range(2)]
            for each in made:
                await api("DELETE", f"/v1/stop/{each}")
            await asyncio.sleep(2)
        assert (sim.counts()["deployed"], sim.counts()["most_at_once"]) == (6, 2)


async def test_exit_cancels_requests_and_closes_connections_at_once() -> None:
    loop = asyncio.get_running_loop()
    sim = Simulator(delay_after=(3600, 3600))
    async with plain(sim) as api:
        calls = [asyncio.create_task(is_cut(api)) for _ in range(50)]
        await asyncio.sleep(1)
        began = loop.time()
        await sim.__aexit__(None, None, None)
        assert loop.time() - began < 0.1
        assert await asyncio.gather(*calls) == [True] * 50
        assert sim.arrivals("other") == 50


async def is_cut(api: Plain) -> bool:
    try:
        await api.get("/v1/locations")
    except OSError:
        # aiohttp's connection errors are OSErrors.
        return True
    return False


async def test_after_exit_running_shows_the_state_at_exit() -> None:
    sim = Simulator()
    async with plain(sim) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
    await asyncio.sleep(100)
    assert sim.running() == {request_id}
    assert sim.url in repr(sim)


async def test_it_can_be_entered_once_and_has_no_state_before() -> None:
    sim = Simulator()
    with pytest.raises(RuntimeError, match="not started"):
        sim.running()
    assert "not started" in repr(sim)
    async with sim:
        with pytest.raises(RuntimeError, match="once"):
            await sim.__aenter__()


async def test_a_taken_port_is_an_os_error() -> None:
    async with Simulator() as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(OSError):
            await Simulator(port=port).__aenter__()
    async with Simulator(port=port) as again:
        assert again.url == sim.url


async def test_a_cancellation_during_exit_is_raised_after_exit() -> None:
    sim = Simulator()
    await sim.__aenter__()
    ending = asyncio.create_task(sim.__aexit__(None, None, None))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    async with Simulator(port=int(sim.url.rpartition(":")[2])):
        pass


async def test_a_closed_simulator_is_freed() -> None:
    sim = Simulator()
    async with plain(sim) as api:
        assert (await api("GET", "/v1/deployments"))[0] == 200
        assert (await api("GET", "/v1/nothing"))[0] == 404
        assert (await api("PUT", "/v1/deployments"))[0] == 405
    left = weakref.ref(sim)
    del sim, api
    gc.collect()
    assert left() is None


async def test_a_body_that_is_too_large_gets_a_json_error() -> None:
    sim = Simulator()
    async with plain(sim) as api:
        body = b" " * (2**20 + 1)
        async with api.http.post("/v2/deployments", data=io.BytesIO(body)) as response:
            assert response.status == 413
            assert "message" in await response.json()
        assert sim.deployed() == ()


async def test_a_wrong_method_gets_the_right_ones() -> None:
    async with plain(Simulator()) as api, api.http.put("/v1/status/c065") as response:
        assert response.status == 405
        assert {*response.headers["Allow"].split(",")} >= {"GET"}
        assert "message" in await response.json()
