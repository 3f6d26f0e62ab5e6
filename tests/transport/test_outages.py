"""Requests that were never sent: retried until a connection is made, the deadline
passes, or a minute has passed without any connection.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from support.deploy_many import requests
from support.limiter_model import now
from support.owning import PLAYERS, forgotten
from support.raw_server import (
    CUT,
    CUT_UNREAD,
    GET,
    GOOD,
    OPERATIONS,
    POOL,
    TOKEN,
    RawServer,
    answer,
    each_http_session,
    failure,
    idle_usage,
    never_accepts,
    operations,
    scripted,
    session,
)
from support.tls import untrusted

from edgegap_async import DeployRequest, EdgegapSession, Retry
from edgegap_async.errors import (
    DeadlineExceeded,
    SessionClosed,
    TransportError,
)
from edgegap_async.events import Event
from edgegap_async.simulator import Simulator

# Seconds.
OUTAGE = 10.0
# A host name that only the resolvers of these tests know.
HOST = "api.test"


class Resolver(AbstractResolver):
    """Knows `HOST` at one address, or fails (None), until a time of the loop; then at
    127.0.0.1.
    """

    # It keeps what was resolved.
    connector: aiohttp.TCPConnector

    def __init__(self, address: str | None, until: float) -> None:
        self.address, self.until = address, until
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        self.asked += 1
        address = "127.0.0.1" if now() >= self.until else self.address
        if host != HOST or address is None:
            raise OSError(None, "Temporary failure in name resolution")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        pass


# The address of the name during an outage: none, or a machine that refuses
# connections.
failing = pytest.mark.parametrize(
    "address", [None, "127.0.0.2"], ids=["DNS fails", "refused"]
)


@asynccontextmanager
async def outage(
    address: str | None, seconds: float = OUTAGE, **options: Any
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    """A simulator that can't be reached for so long."""
    async with resolved_by(Resolver(address, now() + seconds), **options) as opened:
        yield opened


@asynccontextmanager
async def resolved_by(
    resolver: "Resolver", **options: Any
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    """A simulator under a name that is cached for ever once it is known."""
    connector = aiohttp.TCPConnector(resolver=resolver, ttl_dns_cache=None, limit=POOL)
    resolver.connector = connector
    async with (
        asyncio.timeout(24 * 60 * 60),
        Simulator() as sim,
        aiohttp.ClientSession(connector=connector) as http,
        EdgegapSession(
            TOKEN,
            base_url=sim.url.replace("127.0.0.1", HOST),
            http=http,
            allow_insecure=True,
            **options,
        ) as edgegap,
    ):
        yield edgegap, sim


def deploy(edgegap: EdgegapSession, **options: Any) -> Any:
    return edgegap.deployments.deploy("game", "1", users=PLAYERS, **options)


@failing
@pytest.mark.parametrize("once", [True, False], ids=["once", "not once"])
async def test_deploys_outlast_ten_seconds_without_a_connection(
    address: str | None, once: bool
) -> None:
    async with outage(address, deploy_once=once) as (edgegap, sim):
        began = now()
        servers = await asyncio.gather(*(deploy(edgegap) for _ in range(20)))
        assert OUTAGE <= now() - began < OUTAGE + 3
        assert {it.request_id for it in servers} == {*sim.deployed()}
        assert len(sim.deployed()) == sim.arrivals("deploy") == 20
    assert edgegap.leftovers == ()


@pytest.mark.full
@pytest.mark.slow
@failing
async def test_deploy_many_outlasts_ten_seconds_without_a_connection(
    address: str | None,
) -> None:
    async with outage(address) as (edgegap, sim):
        began = now()
        async with edgegap.deployments.deploy_many(
            requests(300), until_ready=False
        ) as outcomes:
            taken = [outcome async for outcome in outcomes]
        assert [outcome.error for outcome in taken if outcome.error] == []
        # 300 at 40 a second
        assert now() - began < OUTAGE + 12
        assert len(sim.deployed()) == sim.arrivals("deploy") == 300
        held = [it.deployment.request_id for it in taken if it.deployment]
        assert forgotten(sim, held) == set()


@pytest.mark.full
@pytest.mark.slow
async def test_deploy_many_ends_a_minute_after_the_last_connection() -> None:
    given: list[DeployRequest] = requests(40)
    async with scripted(closed=True, deploy_once=True) as (edgegap, _):
        began = now()
        async with edgegap.deployments.deploy_many(given) as outcomes:
            errors = [outcome.error async for outcome in outcomes]
        assert 60 <= now() - began < 70
        assert {type(error) for error in errors} == {TransportError}
        assert {error.request_sent for error in errors if error} == {False}
        assert len(errors) == 40
    assert edgegap.leftovers == ()


@operations
@each_http_session
async def test_a_port_that_refuses_for_ten_seconds_ends_no_call(
    opened: Any, name: str
) -> None:
    async with scripted(GOOD, closed=True) as (edgegap, server):
        began = now()
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(OUTAGE)
        await server.listen()
        await call
        # The longest pause between two attempts is 2 s.
        assert now() - began < OUTAGE + 2
        assert len(server.arrivals) == idle_usage(edgegap, name).sent == 1


@operations
@pytest.mark.parametrize("timeout", [0.5, 5.0, 90.0])
async def test_an_outage_lasts_until_the_deadline(name: str, timeout: float) -> None:
    attempts: list[Event] = []
    async with scripted(closed=True, on_event=attempts.append) as (edgegap, _):
        began = now()
        error = await failure(OPERATIONS[name](edgegap, timeout=timeout))
        assert now() - began == pytest.approx(timeout, abs=0.051)
        assert isinstance(error, DeadlineExceeded)
        assert not error.request_sent
        assert isinstance(error.__cause__, TransportError)
        assert "Connect" in str(error.__cause__)
        assert idle_usage(edgegap, name).sent == 0
        # About one attempt per second, and no busy loop.
        assert len(attempts) < 15 + 2 * timeout


@pytest.mark.parametrize("timeout", [0.5, 5.0])
async def test_a_deploy_once_that_was_never_sent_says_so_at_its_deadline(
    timeout: float,
) -> None:
    async with scripted(closed=True, deploy_once=True) as (edgegap, _):
        began = now()
        error = await failure(deploy(edgegap, timeout=timeout))
        assert now() - began == pytest.approx(timeout, abs=0.051)
        assert type(error) is DeadlineExceeded
        assert not error.request_sent
        assert isinstance(error.__cause__, TransportError)
        assert "Connect" in str(error)
    assert edgegap.leftovers == ()


async def test_a_connection_that_is_never_made_is_named_at_the_deadline() -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            error = await failure(GET(edgegap, timeout=5))
            assert isinstance(error, DeadlineExceeded)
            assert not error.request_sent
            assert "never sent" in str(error.__cause__)


@operations
async def test_without_a_deadline_a_minute_without_a_connection_ends_a_call(
    name: str,
) -> None:
    async with scripted(closed=True, timeout=None) as (edgegap, _):
        began = now()
        error = await failure(OPERATIONS[name](edgegap))
        assert 60 <= now() - began < 62.1
        assert (type(error), error.request_sent) == (TransportError, False)


async def test_a_call_goes_on_while_other_calls_of_the_session_connect() -> None:
    resolver = Resolver(None, now() + 40)
    # Every request resolves the name and makes a connection.
    connector = aiohttp.TCPConnector(
        resolver=resolver, limit=POOL, force_close=True, use_dns_cache=False
    )
    async with (
        RawServer(answer()) as server,
        aiohttp.ClientSession(connector=connector) as http,
        session(
            server.url.replace("127.0.0.1", HOST),
            http=http,
            allow_insecure=True,
            timeout=None,
        ) as edgegap,
    ):
        began = now()
        call = asyncio.ensure_future(GET(edgegap))
        await asyncio.sleep(40)
        resolver.until = 0.0
        await GET(edgegap)
        resolver.until = began + 90
        assert not call.done()
        await call
        assert 90 <= now() - began < 93


@pytest.mark.parametrize("name", ["GET", "DELETE"])
async def test_tries_count_only_what_was_sent(name: str) -> None:
    act = CUT.later(0.1)
    async with scripted(act, GOOD, retry=Retry(tries=2)) as (edgegap, server):
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(0.05)
        server.refuse()
        await asyncio.sleep(OUTAGE)
        await server.listen()
        await call
        assert len(server.arrivals) == 2


async def test_an_error_after_an_outage_tells_what_was_sent_before() -> None:
    async with scripted(CUT.later(0.1)) as (edgegap, server):
        call = asyncio.ensure_future(failure(GET(edgegap, timeout=20)))
        await asyncio.sleep(0.05)
        server.refuse()
        error = await call
        assert isinstance(error, DeadlineExceeded)
        assert error.request_sent


async def test_with_one_try_a_request_that_was_never_sent_is_not_retried() -> None:
    events: list[Event] = []
    async with scripted(closed=True, retry=Retry(tries=1), on_event=events.append) as (
        edgegap,
        _,
    ):
        error = await failure(GET(edgegap))
        assert (type(error), error.request_sent) == (TransportError, False)
        assert [event.kind for event in events] == ["attempt", "call"]


@pytest.mark.parametrize("name", ["GET", "POST", "deploy"])
@pytest.mark.parametrize("timeout", [60, None])
async def test_an_invalid_certificate_is_raised_after_one_attempt(
    name: str, timeout: float | None, tmp_path: Path
) -> None:
    events: list[Event] = []
    async with (
        untrusted(tmp_path) as url,
        session(url, on_event=events.append) as edgegap,
    ):
        error = await failure(OPERATIONS[name](edgegap, timeout=timeout))
        assert isinstance(error, TransportError)
        assert (error.permanent, error.request_sent) == (True, False)
        assert "certificate verify failed" in str(error)
        assert [event.kind for event in events] == ["attempt", "call"]
        assert idle_usage(edgegap, name).sent == 0


async def test_a_certificate_other_than_the_expected_one_is_raised_after_one_attempt(
    tmp_path: Path,
) -> None:
    events: list[Event] = []
    connector = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(b"x" * 32), limit=POOL)
    async with (
        untrusted(tmp_path) as url,
        aiohttp.ClientSession(connector=connector) as http,
        session(url, http=http, on_event=events.append) as edgegap,
    ):
        error = await failure(GET(edgegap))
        assert isinstance(error, TransportError)
        assert (error.permanent, error.request_sent) == (True, False)
        assert "Fingerprint" in str(error)
        assert [event.kind for event in events] == ["attempt", "call"]


async def test_deploy_many_ends_at_once_where_the_certificate_is_invalid(
    tmp_path: Path,
) -> None:
    async with untrusted(tmp_path) as url, session(url, deploy_once=True) as edgegap:
        began = now()
        async with edgegap.deployments.deploy_many(requests(30)) as outcomes:
            errors = [outcome.error async for outcome in outcomes]
        assert now() - began < 2
        assert {type(error) for error in errors} == {TransportError}
        assert all("certificate" in str(error) for error in errors)


async def test_a_server_that_does_not_speak_tls_yet_is_retried() -> None:
    async with RawServer(CUT_UNREAD) as server:
        url = server.url.replace("http:", "https:")
        async with session(url) as edgegap:
            error = await failure(GET(edgegap, timeout=5))
        assert isinstance(error, DeadlineExceeded)
        assert not error.request_sent
        assert server.connections > 3


async def test_a_new_address_is_used_as_soon_as_the_old_one_refuses() -> None:
    async with outage("127.0.0.2", 3.0) as (edgegap, sim):
        server = await deploy(edgegap)
        assert sim.deployed() == (server.request_id,)


async def test_calls_that_wait_for_an_address_that_another_call_drops_are_retried() -> (
    None
):
    class Dropping(Resolver):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            found = await super().resolve(*args, **kwargs)
            await asyncio.sleep(0.1)
            # It runs before those that wait for this resolution.
            asyncio.get_running_loop().call_soon(self.connector.clear_dns_cache)
            return found

    events: list[Event] = []
    async with resolved_by(Dropping(None, 0.0), on_event=events.append) as opened:
        edgegap, sim = opened
        servers = await asyncio.gather(*(deploy(edgegap) for _ in range(5)))
        assert {it.request_id for it in servers} == {*sim.deployed()}
        assert sim.arrivals("deploy") == 5
    outcomes = [it.outcome for it in events if it.kind == "attempt"]
    # One has asked for the address, the others waited for it.
    assert outcomes.count("TransportError") == 4


class Breaking(Resolver):
    """Breaks each resolution off after a second: "closed" closes aiohttp's connections
    while calls wait, "cancelled" raises a cancellation.
    """

    def __init__(self, how: str) -> None:
        super().__init__(None, 0.0)
        self.how = how

    async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
        found = await super().resolve(*args, **kwargs)
        await asyncio.sleep(1)
        if self.how == "closed":
            # Not here: it waits for this task.
            self.closing = asyncio.ensure_future(self.connector.close())
            await asyncio.sleep(60)
        elif self.how == "cancelled":
            raise asyncio.CancelledError
        return found


@pytest.mark.parametrize(
    ("how", "ended"), [("closed", SessionClosed), ("cancelled", DeadlineExceeded)]
)
@pytest.mark.parametrize("name", ["deploy", "GET"])
async def test_a_cancellation_that_is_not_the_callers_is_a_typed_error(
    how: str, ended: type[Exception], name: str
) -> None:
    async with resolved_by(Breaking(how), timeout=5) as (edgegap, sim):
        began = now()
        errors = await asyncio.gather(
            *(OPERATIONS[name](edgegap) for _ in range(5)), return_exceptions=True
        )
        assert now() - began < 5.1
        assert {type(it) for it in errors} == {ended}
        assert {getattr(it, "request_sent", None) for it in errors} == {False}
        assert sim.deployed() == ()
    assert edgegap.leftovers == ()


async def test_a_cancellation_of_the_caller_stays_one() -> None:
    async with resolved_by(Breaking("waits"), timeout=5) as (edgegap, sim):
        call = asyncio.ensure_future(edgegap.deployments.list())
        await asyncio.sleep(0.5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sim.arrivals("list") == 0


async def test_closing_ends_a_call_in_an_outage() -> None:
    async with scripted(closed=True, deploy_once=True, timeout=None) as (edgegap, _):
        calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(3)]
        await asyncio.sleep(20)
        began = now()
        await edgegap.aclose()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert now() - began < 0.01
        assert {type(error) for error in ended} == {SessionClosed}
        assert {getattr(error, "request_sent", None) for error in ended} == {False}
    assert edgegap.leftovers == ()


async def adopt(edgegap: EdgegapSession) -> None:
    async with edgegap.deployments.adopt("c065", ready_timeout=None):
        pass


async def wait_many(edgegap: EdgegapSession) -> None:
    async with edgegap.deployments.wait_many(["c065"], timeout=None) as outcomes:
        async for _, outcome in outcomes:
            assert isinstance(outcome, TransportError)
            raise outcome


@pytest.mark.measured
@pytest.mark.parametrize(
    "call",
    [
        lambda edgegap: edgegap.deployments.ensure_stopped("c065", timeout=None),
        lambda edgegap: edgegap.deployments.wait_until_ready("c065", timeout=None),
        lambda edgegap: edgegap.deployments.wait_until_stopped("c065", timeout=None),
        adopt,
        wait_many,
    ],
    ids=[
        "ensure_stopped",
        "wait_until_ready",
        "wait_until_stopped",
        "adopt",
        "wait_many",
    ],
)
async def test_stops_and_waits_end_at_once_if_the_certificate_is_invalid(
    call: Callable[[EdgegapSession], Awaitable[None]], tmp_path: Path
) -> None:
    async with untrusted(tmp_path) as url, session(url) as edgegap:
        with pytest.raises(TransportError, match="certificate") as caught:
            await asyncio.wait_for(call(edgegap), 30)
        assert caught.value.permanent
        assert not caught.value.request_sent
