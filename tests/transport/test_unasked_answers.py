"""An answer that no request has asked for is not the answer to the next one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest
from support.limiter_model import now
from support.owning import forgotten, owning
from support.raw_server import (
    Act,
    OpenSession,
    RawServer,
    answer,
    each_http_session,
    scripted,
    session,
)

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault

# The calls, and what names the answer in each result.
CALLS: dict[str, Callable[[EdgegapSession], Awaitable[object]]] = {
    "logs": lambda it: it.deployments.container_logs("c065"),
    "metrics": lambda it: it.deployments.metrics("c065"),
    "list": lambda it: it.deployments.list(),
    "locations": lambda it: it.locations.list(),
    "hosts": lambda it: it.private_fleets.hosts("fleet"),
    "tags": lambda it: it.tags.list("c065"),
    "tag": lambda it: it.tags.get("c065", "a"),
    "stop": lambda it: it.deployments.stop("c065"),
    "deploy": lambda it: it.deployments.deploy("a", "1", users=["::1"]),
    "create": lambda it: it.tags.create("c065", "a"),
    "update": lambda it: it.tags.update("c065", "a", name="b"),
}
each_call = pytest.mark.parametrize("name", CALLS)


def numbered(number: int, again: float | None = 0.01) -> Act:
    """An answer to any call, which holds this number, and is sent twice."""
    name = f"number-{number}"
    body = {
        **dict.fromkeys(("request_id", "logs", "name", "message"), name),
        "cpu": {"labels": [name]},
        "data": [{"request_id": name, "host_id": name}],
        "locations": [{"city": name}],
        "tags": [{"name": name}],
    }
    return replace(answer(200, body), again=again)


@each_call
@each_http_session
@pytest.mark.parametrize("again", [0.0, 0.01, 0.4])
async def test_each_call_gets_its_own_answer_and_costs_one_request(
    name: str, again: float, opened: OpenSession
) -> None:
    acts = [numbered(number, again) for number in range(4)]
    async with opened(*acts) as (edgegap, server):
        for number in range(4):
            assert f"number-{number}'" in repr(await CALLS[name](edgegap))
            await asyncio.sleep(0.5)
        # The connections are not used again.
        assert len(server.arrivals) == server.connections == 4


async def test_any_number_of_such_connections_is_dropped_at_once() -> None:
    slow = [replace(numbered(number), after=1.0) for number in range(30)]
    async with scripted(*slow, numbered(30, None)) as (edgegap, server):
        await asyncio.gather(*(CALLS["logs"](edgegap) for _ in range(30)))
        assert server.connections == 30
        await asyncio.sleep(0.5)
        began = now()
        assert "number-30'" in repr(await CALLS["logs"](edgegap))
        assert now() - began < 0.01
        assert (len(server.arrivals), server.connections) == (31, 31)


@each_http_session
@pytest.mark.parametrize("status", [404, 500, 204, 302])
async def test_an_unasked_error_is_no_error_of_the_next_call(
    status: int, opened: OpenSession
) -> None:
    unasked = answer(status, b"" if status == 204 else {"message": "of another call"})
    acts = [numbered(number, None) for number in range(3)]
    async with opened(*acts) as (edgegap, server):
        await CALLS["logs"](edgegap)
        # It comes while the connection is idle.
        (writer,) = server.writers
        writer.write(unasked.raw)
        await asyncio.sleep(0.5)
        assert "number-1'" in repr(await CALLS["logs"](edgegap))
        assert len(server.arrivals) == 2


@pytest.mark.parametrize("part", [1, 10, 60])
async def test_a_part_of_an_unasked_answer_spoils_no_other(part: int) -> None:
    async with scripted(*(numbered(number, None) for number in range(3))) as (
        edgegap,
        server,
    ):
        await CALLS["logs"](edgegap)
        (writer,) = server.writers
        writer.write(numbered(7).raw[:part])
        await asyncio.sleep(0.5)
        assert "number-1'" in repr(await CALLS["logs"](edgegap))


@each_http_session
async def test_connections_on_which_nothing_came_are_used_again(
    opened: OpenSession,
) -> None:
    async with opened(numbered(0, None)) as (edgegap, server):
        for _ in range(5):
            await CALLS["logs"](edgegap)
            await CALLS["stop"](edgegap)
        assert server.connections == 1


async def test_one_warning_tells_of_unasked_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with scripted(numbered(0)) as (edgegap, _):
        for _ in range(4):
            await CALLS["logs"](edgegap)
            await asyncio.sleep(0.5)
    dropped = [each for each in caplog.records if "dropped" in each.message]
    assert [each.levelname for each in dropped] == ["WARNING", "INFO", "INFO"]


class GuardedRequest(aiohttp.ClientRequest):
    """A request of the caller's HTTP session, whose way to send is fixed."""

    def __setattr__(self, name: str, value: object) -> None:
        assert name != "send"
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(name)


async def test_a_request_class_that_guards_its_attributes_is_no_obstacle() -> None:
    acts = [numbered(number) for number in range(3)]
    async with (
        aiohttp.ClientSession(
            request_class=GuardedRequest, connector=aiohttp.TCPConnector(limit=0)
        ) as http,
        RawServer(*acts) as server,
        session(server.url, http=http) as edgegap,
    ):
        for number in range(3):
            assert f"number-{number}'" in repr(await CALLS["logs"](edgegap))
            await asyncio.sleep(0.5)
        assert len(server.arrivals) == server.connections == 3


@pytest.mark.parametrize("operation", ["deploy", "status", "list", "stop"])
async def test_no_server_is_handed_out_twice_or_forgotten(operation: str) -> None:
    """As the answer to one deploy is taken for that to the next."""
    async with owning(Fault(operation, "answered-twice", seconds=0.01)) as (
        edgegap,
        sim,
    ):
        ids = []
        for _ in range(10):
            async with edgegap.deployments.running("a", "1", users=["::1"]) as server:
                ids.append(server.request_id)
            await asyncio.sleep(0.5)
        assert sorted(ids) == sorted(sim.deployed())
        assert len({*ids}) == 10
        await asyncio.sleep(60)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()
