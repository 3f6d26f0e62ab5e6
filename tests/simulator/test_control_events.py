"""The server-sent events of the page: what a client gets, and what a bad one costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
import pytest
from support.control import control, events, ok
from support.plain_client import DEPLOY, plain

from edgegap_async.models.deploy import DeployRequest
from edgegap_async.simulator import Fault, Simulator


async def next_with(
    stream: AsyncIterator[tuple[str, Any]], field: str
) -> dict[str, Any]:
    """Return the next tick in which a field is not empty."""
    async for name, data in stream:
        assert name == "tick"
        if data[field]:
            return dict(data)
    raise AssertionError("the events have ended")


async def test_the_snapshot_has_what_runs_and_ticks_have_what_changes() -> None:
    async with plain(Simulator(ready_after=(8, 8), stop_takes=1)) as api:
        first = await api.deploy(tags=["a"])
        async with aclosing(events(api)) as stream:
            name, snapshot = await anext(stream)
            assert name == "snapshot"
            assert [row["request_id"] for row in snapshot["deployments"]] == [first]
            assert (
                snapshot["deployments"]
                == (await ok(api, "GET", "deployments"))["deployments"]
            )
            cities = {each["city"] for each in snapshot["cities"]}
            assert snapshot["deployments"][0]["city"] in cities

            second = await api.deploy()
            tick = await next_with(stream, "deployments")
            assert [row["request_id"] for row in tick["deployments"]] == [second]
            assert tick["states"]["pending"] == 2
            seen: list[str] = []
            while tick["states"]["ready"] < 2:
                tick = await next_with(stream, "deployments")
                seen += [row["state"] for row in tick["deployments"]]
            assert seen == [
                state
                for state in ("SEEKING", "SEEKED", "SCANNING", "DEPLOYING", "READY")
                for _ in range(2)
            ]

            await api("POST", f"/v1/deployments/{first}/tags", {"name": "b"})
            (row,) = (await next_with(stream, "deployments"))["deployments"]
            assert row["tags"] == ["a", "b"]
            await ok(api, "POST", f"crash/{first}")
            (row,) = (await next_with(stream, "deployments"))["deployments"]
            assert row["state"] == "ERROR"
            await ok(api, "POST", f"stop/{second}")
            (row,) = (await next_with(stream, "deployments"))["deployments"]
            assert (row["request_id"], row["state"]) == (second, "TERMINATING")
            assert (await next_with(stream, "removed"))["removed"] == [second]


async def test_a_stop_of_a_deployment_that_starts_is_a_change() -> None:
    async with plain(Simulator(ready_after=(99, 99))) as api:
        made = await api.deploy()
        async with aclosing(events(api)) as stream:
            await anext(stream)
            await ok(api, "POST", f"stop/{made}")
            (row,) = (await next_with(stream, "deployments"))["deployments"]
            assert (row["state"], row["stop_requested"]) == ("INITIALIZING", True)


async def test_ticks_have_faults_limits_and_counts() -> None:
    sim = Simulator(rates={"list": 1}, faults=[Fault("status", "500-before", times=9)])
    async with plain(sim) as api, aclosing(events(api)) as stream:
        await anext(stream)
        for _ in range(2):
            await api("GET", "/v1/deployments")
        await api("GET", "/v1/status/x")
        await ok(api, "POST", "limits", {"rates": {"deploy": 7}})
        _, tick = await anext(stream)
        assert tick["limits"]["list"]["refused"] == 1
        assert sum(each[1] for each in tick["limits"]["list"]["seconds"]) == 2
        assert tick["limits"]["deploy"]["rate"] == 7
        assert tick["faults"] == (await ok(api, "GET", "faults"))["faults"]
        assert tick["faults"][0]["occurred"] == 1
        assert tick["counts"]["webhooks"] == sim.webhooks()
        await asyncio.sleep(5)
        # Only seconds that may have changed are repeated.
        for _ in range(16):
            _, tick = await anext(stream)
        assert tick["limits"]["list"]["seconds"] == []


async def test_events_come_four_times_a_second() -> None:
    async with plain(Simulator()) as api, aclosing(events(api)) as stream:
        loop = asyncio.get_running_loop()
        await anext(stream)
        began = loop.time()
        for _ in range(40):
            await anext(stream)
        assert loop.time() - began == pytest.approx(10, rel=0.05)


async def test_after_a_reset_all_clients_get_a_snapshot() -> None:
    async with (
        plain(Simulator()) as api,
        aclosing(events(api)) as one,
        aclosing(events(api)) as two,
    ):
        await api.deploy()
        for stream in (one, two):
            while (await anext(stream))[1]["states"]["pending"] == 0:
                pass
        await ok(api, "POST", "reset")
        made = await api.deploy()
        for stream in (one, two):
            name, data = "tick", {}
            while name == "tick":
                name, data = await anext(stream)
            assert [row["request_id"] for row in data["deployments"]] == [made]
            assert data["counts"]["deployed"] == 1
            # And the ticks go on from there.
            assert (await anext(stream))[0] == "tick"


async def test_a_client_that_comes_later_makes_the_others_miss_nothing() -> None:
    async with (
        plain(Simulator(ready_after=(99, 99))) as api,
        aclosing(events(api)) as one,
    ):
        await anext(one)
        made = await api.deploy()
        async with aclosing(events(api)) as two:
            _, snapshot = await anext(two)
            assert [row["request_id"] for row in snapshot["deployments"]] == [made]
            tick = await next_with(one, "deployments")
            assert [row["request_id"] for row in tick["deployments"]] == [made]


@pytest.mark.full
@pytest.mark.slow
async def test_a_slow_client_is_dropped_and_never_delays_the_others() -> None:
    # With many faults, each event is so large that the buffers of a connection are full
    # after some of them.
    sim = Simulator(faults=[Fault("status", "ok", times=9)] * 1500)
    async with plain(sim) as api:
        host, port = sim.url.removeprefix("http://").split(":")
        # It reads the first bytes only.
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(b"GET /_simulator/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        loop = asyncio.get_running_loop()
        async with aclosing(events(api)) as stream:
            began = loop.time()
            for _ in range(120):
                await anext(stream)
            assert loop.time() - began == pytest.approx(30, rel=0.1)
        # The connection has ended in the middle of the events.
        async with asyncio.timeout(60):
            while await reader.read(2**20):
                pass
        writer.close()


@pytest.mark.full
@pytest.mark.slow
async def test_more_than_20000_deployments_are_counted_but_not_shown() -> None:
    sim = Simulator()
    async with plain(sim) as api, aclosing(events(api)) as stream:
        await anext(stream)
        # Requests would take too long.
        world, now = sim._parts.world, asyncio.get_running_loop().time()
        body = msgspec.convert(DEPLOY, DeployRequest)
        for _ in range(20_010):
            world.deploy(body, now)
        tick = await next_with(stream, "deployments")
        assert len(tick["deployments"]) == 20_000
        assert (tick["not_shown"], tick["states"]["pending"]) == (10, 20_010)


async def test_there_are_32_clients_at_most_and_one_that_leaves_makes_room() -> None:
    async with plain(Simulator()) as api:
        streams = [events(api) for _ in range(32)]
        for stream in streams:
            await anext(stream)
        assert (await control(api, "GET", "events"))[0] == 503
        await streams.pop().aclose()
        await asyncio.sleep(1)
        async with aclosing(events(api)) as stream:
            assert (await anext(stream))[0] == "snapshot"
        for stream in streams:
            await stream.aclose()


async def test_the_simulator_ends_although_clients_listen() -> None:
    sim = Simulator()
    async with plain(sim) as api, aclosing(events(api)) as stream:
        await anext(stream)
        await sim.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ClientError):
            async for _ in stream:
                pass
