"""Bodies that are huge or never end cost little memory, and delay no deploy."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_struct
from support.limiter_model import now
from support.owning import owning
from support.raw_server import (
    ACCEPTED,
    DELETE,
    GET,
    STUCK,
    Act,
    OpenSession,
    answer,
    deploy,
    each_http_session,
    failure,
    idle_usage,
    scripted,
)

from edgegap_async import EdgegapSession, endpoints
from edgegap_async._transport.response import MOST_VALUES, Reply, read
from edgegap_async.errors import (
    DeployOutcomeUnknown,
    NotFound,
    ResponseTooLarge,
    ServerError,
    UnexpectedAnswer,
)
from edgegap_async.simulator import Fault

MIB = 1024 * 1024
CALLS: dict[str, Callable[[EdgegapSession], Awaitable[object]]] = {
    "status": lambda it: it.deployments.status("c065"),
    "stop": lambda it: it.deployments.stop("c065"),
    "list": lambda it: it.deployments.list(),
    "container_logs": lambda it: it.deployments.container_logs("c065"),
    "metrics": lambda it: it.deployments.metrics("c065"),
    "locations.list": lambda it: it.locations.list(),
    "tags.list": lambda it: it.tags.list("c065"),
    "private_fleets.hosts": lambda it: it.private_fleets.hosts("fleet"),
}
LIMITS = {"container_logs": 64, "metrics": 64} | dict.fromkeys(
    ("list", "locations.list", "tags.list", "private_fleets.hosts"), 2
)
ADVICE = {
    "status": "a proxy may have answered",
    "stop": "a proxy may have answered",
    "list": "limit=",
    "container_logs": "endpoint storage",
    "metrics": "steps=",
}


def endless(head: str, block: bytes) -> Act:
    """A response whose body is far longer than anything that is read."""
    chunk = b"%x\r\n%s\r\n" % (len(block), block)
    return Act(
        f"HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + chunk * (70 * MIB // len(block)),
        silent=True,
    )


@pytest.mark.measured
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=pytest.mark.slow) if LIMITS.get(call) == 64 else call
        for call in CALLS
    ],
)
async def test_a_body_that_never_ends_is_not_read_to_its_end(call: str) -> None:
    async with scripted(endless("200 OK", b" " * MIB)) as (edgegap, server):
        error = await failure(CALLS[call](edgegap))
        assert isinstance(error, ResponseTooLarge)
        assert (error.status, error.request_sent, error.body) == (200, True, b"")
        assert f"more than {LIMITS.get(call, 1)} MiB" in str(error)
        assert ADVICE.get(call, "limit=") in str(error)
        assert len(server.arrivals) == 1


@pytest.mark.parametrize("kind", ["endless", "gzip-bomb"])
async def test_a_wait_goes_on_when_no_status_can_be_read(kind: str) -> None:
    async with owning(Fault("status", kind)) as (edgegap, _):
        accepted = await edgegap.deployments.deploy("a", "1", users=["::1"])
        request_id = accepted.request_id
        assert isinstance(
            await failure(edgegap.deployments.status(request_id)), ResponseTooLarge
        )
        # The deployment is found READY by its list.
        ready = await edgegap.deployments.wait_until_ready(request_id)
        assert ready.request_id == request_id


@each_http_session
@pytest.mark.parametrize("size", [-1, 0, 1])
async def test_the_limit_is_that_of_the_decompressed_body(
    size: int, opened: OpenSession
) -> None:
    text = json.dumps({"request_id": "c065"}).encode().ljust(MIB + size)
    packed = answer(200, gzip.compress(text), content_encoding="gzip")
    for act in (packed, answer(200, text)):
        async with opened(act) as (edgegap, _):
            if size > 0:
                assert isinstance(await failure(GET(edgegap)), ResponseTooLarge)
            else:
                await GET(edgegap)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (503, ServerError)])
async def test_an_endless_error_is_still_that_error(status: int, kind: type) -> None:
    act = endless(f"{status} No", b"<html>" + b"x" * MIB)
    async with scripted(act) as (edgegap, _):
        error = await failure(DELETE(edgegap))
        assert isinstance(error, kind)
        assert len(str(error)) < 500


async def test_the_page_of_an_error_is_read_to_its_end_and_keeps_the_connection() -> (
    None
):
    page = b"<html>" + b"x" * 60_000
    async with scripted(answer(404, page), answer(302, page)) as (edgegap, server):
        assert isinstance(await failure(GET(edgegap)), NotFound)
        error = await failure(GET(edgegap))
        assert isinstance(error, UnexpectedAnswer)
        assert 7000 < len(error.body) <= 8192
        assert server.connections == 1


async def test_an_endless_answer_to_a_deploy_is_an_unknown_outcome() -> None:
    async with scripted(endless("202 Accepted", b" " * MIB)) as (edgegap, server):
        error = await failure(deploy(edgegap))
        assert isinstance(error, DeployOutcomeUnknown)
        assert isinstance(error.__cause__, ResponseTooLarge)
        assert len(server.arrivals) == 1


async def test_the_server_behind_an_endless_answer_to_a_deploy_is_found() -> None:
    async with owning(Fault("deploy", "endless", times=1)) as (edgegap, sim):
        accepted = await edgegap.deployments.deploy("a", "1", users=["::1"])
        assert (accepted.request_id,) == sim.deployed()


async def test_an_answer_without_content_may_have_any_body() -> None:
    async with scripted(endless("200 OK", b" " * MIB)) as (edgegap, _):
        assert await edgegap.tags.delete("c065", "a") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("item", [b"{},", b"[],", b'"",', b"0,", b'{"a":[]},'])
def test_an_answer_with_millions_of_values_is_too_large(item: bytes) -> None:
    body = b'{"cpu": {"labels": [%s0]}}' % (item * MOST_VALUES)
    with pytest.raises(ResponseTooLarge, match=r"500,000 values.*steps="):
        read(endpoints.METRICS, Reply(200, body))


def test_a_status_may_hold_fewer_values_than_metrics() -> None:
    text = '{"request_id": "a", "sessions": [%s{}]}'
    with pytest.raises(ResponseTooLarge, match="65,536 values"):
        read(endpoints.STATUS, Reply(200, (text % ("{}," * 100_000)).encode()))
    seen = read(endpoints.STATUS, Reply(200, (text % ("{}," * 1000)).encode()))
    assert len(seen.sessions or ()) == 1001


def test_a_full_page_of_the_longest_rows_is_not_too_large() -> None:
    port = {"external": 1, "internal": 2, "protocol": "UDP", "name": "x", "link": "y"}
    row = {"request_id": "c065", "ports": {f"{each}": port for each in range(100)}}
    page = json.dumps({"data": [row] * 100}).encode()
    assert len(page) > 800_000
    assert len(read(endpoints.LIST, Reply(200, page)).data) == 100


@pytest.mark.parametrize("line", ['{"a": [1, 2], "b": {}}', "[,{" * 9, '\\,"[,'])
@pytest.mark.parametrize("bound", [MIB, 64 * MIB])
def test_commas_and_brackets_inside_a_text_are_no_values(line: str, bound: int) -> None:
    logs = line * (800 * 1024 // len(line))
    body = json.dumps({"logs": logs, "encoding": "utf-8"}).encode()
    endpoint = replace_struct(endpoints.CONTAINER_LOGS, max_bytes=bound)
    assert read(endpoint, Reply(200, body)).logs == logs


def test_a_long_text_is_not_too_large() -> None:
    body = json.dumps({"logs": "a, b, c\n" * 800_000}).encode()
    assert len(read(endpoints.CONTAINER_LOGS, Reply(200, body)).logs or "") > 6_000_000


@pytest.mark.slow
async def test_large_answers_are_read_four_at_a_time() -> None:
    """All others wait after the first MiB, and are read in the end."""
    text = b'{"logs": "%s"}' % (b"x" * 2 * MIB)
    slow = answer(200, text)
    stuck = replace(STUCK, raw=slow.raw[: -MIB // 2])
    small = {"/v1/status": answer()}
    async with scripted(*[stuck] * 4, slow, routes=small) as (edgegap, server):
        read_logs = CALLS["container_logs"]
        first = [asyncio.ensure_future(read_logs(edgegap)) for _ in range(4)]
        await asyncio.sleep(1)
        later = asyncio.ensure_future(read_logs(edgegap))
        await asyncio.sleep(5)
        assert not later.done()
        assert len(server.arrivals) == 5
        # Small ones don't wait.
        await GET(edgegap)
        # The first ones are given up, and retried.
        await asyncio.gather(later, *first)


BUSY: dict[str, Callable[[EdgegapSession], Awaitable[object]]] = {
    "status": GET,
    "logs": CALLS["container_logs"],
    "list": CALLS["list"],
    "tags": lambda it: it.tags.create("c065", "a"),
}


# Only deploys and stops are answered.
SOUND = {
    "/v1/stop": answer(200, {"message": "stopped"}),
    "/v2/deployments": ACCEPTED,
}


@each_http_session
@pytest.mark.parametrize(
    "busy",
    [
        pytest.param(busy, marks=() if busy == "status" else pytest.mark.slow)
        for busy in BUSY
    ],
)
async def test_bodies_that_never_end_delay_no_deploy_and_no_stop(
    busy: str, opened: OpenSession
) -> None:
    async with opened(STUCK, routes=SOUND, timeout=None) as (edgegap, _):
        stuck = [asyncio.ensure_future(BUSY[busy](edgegap)) for _ in range(400)]
        await asyncio.sleep(12)
        began = now()
        await asyncio.gather(
            *(deploy(edgegap) for _ in range(20)), *(DELETE(edgegap) for _ in range(5))
        )
        assert now() - began < 1.5
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        assert idle_usage(edgegap, "deploy").sent == 20
