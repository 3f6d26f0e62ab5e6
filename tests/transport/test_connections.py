"""Connections that are never made, proxies, and balancers that close idle connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.limiter_model import now
from support.owning import owning
from support.raw_server import OPERATIONS, deploy, failure, idle_usage, session

from edgegap_async import EdgegapSession
from edgegap_async.errors import DeadlineExceeded, SessionClosed, TransportError
from edgegap_async.simulator import Fault

# What a proxy answers to CONNECT.
GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"
REFUSED = b"HTTP/1.1 %d my-secret-text\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def silent(greeting: bytes | None = None) -> AsyncIterator[str]:
    """Start a server that never speaks TLS, and yield the address.

    Args:
        greeting: the answer to CONNECT, if it is a proxy.
    """

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if greeting:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(greeting)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def unanswered(kind: str, once: bool) -> AsyncIterator[EdgegapSession]:
    """Open a session whose connections are never made."""
    greeting = GRANTED if kind == "tunnel" else None
    async with (
        silent(greeting) as address,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=110),
            proxy=None if kind == "tls" else f"http://{address}",
        ) as http,
    ):
        edgegap = session(f"https://{address}", http=http, deploy_once=once)
        async with edgegap:
            yield edgegap


never_made = pytest.mark.parametrize("kind", ["tls", "proxy", "tunnel"])
tagged = pytest.mark.parametrize("once", [True, False])


@never_made
@tagged
@pytest.mark.parametrize("timeout", [1, 20, 100])
@pytest.mark.parametrize("name", ["GET", "deploy"])
async def test_a_connection_that_is_never_made_sends_nothing(
    kind: str, once: bool, timeout: float, name: str
) -> None:
    async with unanswered(kind, once) as edgegap:
        error = await failure(OPERATIONS[name](edgegap, timeout=timeout))
        assert isinstance(error, DeadlineExceeded)
        assert not error.request_sent
        # The attempt is given up in the next turn.
        await asyncio.sleep(0.01)
        assert idle_usage(edgegap, name).sent == 0
        # Nothing was started, so nothing is searched for.
        assert edgegap.usage()["list"].sent == 0
        began = now()
        await edgegap.aclose()
        assert now() - began < 0.1
        assert edgegap.leftovers == ()


@never_made
@tagged
@pytest.mark.parametrize("seconds", [1, 5, 40])
@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_closing_does_not_wait_for_a_connection(
    kind: str, once: bool, seconds: float, how: str
) -> None:
    async with unanswered(kind, once) as edgegap:
        task = asyncio.ensure_future(deploy(edgegap, timeout=None))
        await asyncio.sleep(seconds)
        began = now()
        if how == "cancelled":
            task.cancel()
        await edgegap.aclose()
        assert now() - began < 0.1
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if how == "closed":
            assert isinstance(result, SessionClosed)
            assert not result.request_sent
        assert edgegap.leftovers == ()


@pytest.mark.measured
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (407, "407 (Proxy Authentication Required)"),
        (403, "403 (Forbidden)"),
        (502, "502 (Bad Gateway)"),
        (599, "599"),
    ],
)
@pytest.mark.parametrize("name", ["GET", "deploy"])
async def test_the_refusal_of_a_proxy_is_named(
    status: int, text: str, name: str
) -> None:
    async with (
        silent(REFUSED % status) as address,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=110), proxy=f"http://{address}"
        ) as http,
    ):
        edgegap = session("https://api.invalid", http=http)
        began = now()
        error = await failure(OPERATIONS[name](edgegap, timeout=20))
        assert not error.request_sent
        assert f"the proxy answered {text} to CONNECT" in str(error)
        assert "my-secret-text" not in str(error)
        # A password that is missing is missing the next time, too.
        assert isinstance(error, TransportError) == (status == 407)
        assert (now() - began < 1) == (status == 407)
        await edgegap.aclose()


@pytest.fixture
def one_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let aiohttp measure how long a connection was idle on the loop's clock."""

    def measure() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("aiohttp.connector.monotonic", loop.time)

    assert aiohttp.connector.monotonic is time.monotonic
    return measure


WRITES: list[Callable[[EdgegapSession, str], Awaitable[object]]] = [
    lambda it, _: it.deployments.deploy("game", "1", users=["::1"]),
    lambda it, request_id: it.tags.create(request_id, f"tag-{now():.6f}"),
]


@pytest.mark.parametrize("write", WRITES, ids=["deploy", "tag"])
@pytest.mark.parametrize("interval", [0.9, 1.93, 1.97, 2.05, 5.0])
async def test_a_balancer_that_closes_idle_connections_costs_no_search(
    write: Callable[[EdgegapSession, str], Awaitable[object]],
    interval: float,
    one_clock: Callable[[], None],
) -> None:
    """It closes them after 2 s, and is 50 ms away."""
    one_clock()
    faults = [
        Fault(call, "idle-connection", seconds=1.9)
        for call in ("deploy", "tags.create", "status", "list", "stop")
    ]
    async with owning(faults) as (edgegap, sim):
        request_id = (
            await edgegap.deployments.deploy("a", "1", users=["::1"])
        ).request_id
        for _ in range(12):
            await asyncio.sleep(interval)
            began = now()
            await write(edgegap, request_id)
            assert now() - began < 0.5
            # Other calls use connections, too.
            await edgegap.deployments.status(request_id)
        assert edgegap.usage()["deploy"].sent == sim.arrivals("deploy")
