"""The life of a session: where it may be used, how it ends, what it tells of itself, and the caller's own `http=`."""

import asyncio
import logging
import os
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from raw_server import (
    CUT,
    GET,
    GOOD,
    OPERATIONS,
    SILENT,
    TOKEN,
    Act,
    RawServer,
    answer,
    deploy,
    failure,
    never_accepts,
    operations,
    scripted,
    session,
    used,
)

from edgegap_async import EdgegapSession, Limits, LimitUsage, Retry
from edgegap_async.errors import (
    DeployOutcomeUnknown,
    EdgegapError,
    Forbidden,
    ServerError,
    SessionClosed,
    UnexpectedAnswer,
    WrongLoop,
)
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

FAILED, REFUSED = answer(503, {"message": "no"}), answer(429, {"message": "no"})
HELD = answer(429, {"message": "no"}, retry_after="30")
POOL = 110  # connections: what the documented limits need


async def ended(call: asyncio.Future[object], seconds: float = 0.01) -> EdgegapError | None:
    """How a call fails; it must end within so many seconds."""
    done, _ = await asyncio.wait([call], timeout=seconds)
    call.cancel()
    await asyncio.wait([call])
    assert done, "it did not end"
    error = call.exception()
    assert error is None or isinstance(error, EdgegapError)
    return error


@asynccontextmanager
async def with_http(*acts: Act, limit: int = POOL, **options: Any) -> AsyncIterator[tuple[EdgegapSession, RawServer]]:
    """As `scripted`, with an HTTP session of the caller's."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit), **options) as http,
        scripted(*acts, http=http) as (edgegap, server),
    ):
        yield edgegap, server
        await edgegap.aclose()
        assert not http.closed


Scripted = Callable[..., Any]
whose_http = pytest.mark.parametrize("opened", [scripted, with_http], ids=["our http", "their http"])


@whose_http
async def test_aclose_ends_what_waits(opened: Scripted) -> None:
    acts = [answer(503, {"message": "no"}, retry_after="20"), HELD, SILENT, SILENT]
    async with opened(*acts) as (edgegap, server):
        pausing = asyncio.ensure_future(edgegap.tags.list("c065"))
        await asyncio.sleep(0.1)
        held = asyncio.ensure_future(GET(edgegap))
        await asyncio.sleep(0.1)
        queued = asyncio.ensure_future(GET(edgegap))
        waiting = asyncio.ensure_future(edgegap.deployments.wait_until_ready("c065", timeout=None))
        await asyncio.sleep(0.1)
        await edgegap.aclose()
        errors = [await ended(call) for call in (pausing, held, queued, waiting)]
        assert [type(error) for error in errors] == [SessionClosed] * 4
        assert [error.request_sent for error in errors] == [True, True, False, False]
        assert len(server.arrivals) == 2


@operations
async def test_aclose_ends_what_is_under_way(name: str) -> None:
    async with scripted(SILENT) as (edgegap, _):
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(0.5)
        await edgegap.aclose()
        error = await ended(call)
        assert error.request_sent
        assert type(error) is (DeployOutcomeUnknown if name == "deploy" else SessionClosed)
        assert type(error.__cause__) is (SessionClosed if name == "deploy" else type(None))


@operations
async def test_aclose_ends_what_is_connecting(name: str) -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            call = asyncio.ensure_future(OPERATIONS[name](edgegap))
            await asyncio.sleep(0.5)
            await edgegap.aclose()
            error = await ended(call, 15)
            assert (type(error), error.request_sent) == (SessionClosed, False)


@pytest.mark.parametrize("act", [SILENT, FAILED.later(1), REFUSED.later(1), HELD.later(1), CUT.later(1)])
async def test_with_their_http_what_is_under_way_ends_and_is_not_repeated(act: Act) -> None:
    async with with_http(act) as (edgegap, server):
        call = asyncio.ensure_future(GET(edgegap, timeout=20))
        await asyncio.sleep(0.5)
        await edgegap.aclose()
        assert isinstance(await ended(call, 20), SessionClosed | ServerError)
        assert len(server.arrivals) == 1


@whose_http
@pytest.mark.parametrize("act", [GOOD, FAILED, REFUSED, HELD])
async def test_closed_in_any_turn_of_the_loop_it_sends_no_more(opened: Scripted, act: Act) -> None:
    for turns in range(30):
        async with opened(act) as (edgegap, server):
            call = asyncio.ensure_future(GET(edgegap))
            for _ in range(turns):
                await asyncio.sleep(0)
            await edgegap.aclose()
            assert isinstance(await ended(call, 1), SessionClosed | ServerError | None)
            await asyncio.sleep(40)
            assert len(server.arrivals) <= 1
            used(edgegap, "GET")


@operations
async def test_after_the_end(name: str) -> None:
    async with scripted(GOOD) as (edgegap, server):
        await OPERATIONS[name](edgegap)
        usage = edgegap.usage()
        await edgegap.aclose()
        await edgegap.aclose()
        assert isinstance(await failure(OPERATIONS[name](edgegap)), SessionClosed)
        assert isinstance(await failure(edgegap.deployments.wait_until_ready("c065")), SessionClosed)
        assert (edgegap.usage(), len(server.arrivals)) == (usage, 1)


async def test_a_session_that_was_never_used_can_be_closed() -> None:
    edgegap = EdgegapSession(TOKEN)
    await edgegap.aclose()
    assert isinstance(await failure(GET(edgegap)), SessionClosed)


def test_it_belongs_to_the_loop_of_its_first_call() -> None:
    async def first() -> tuple[EdgegapSession, RawServer]:
        server = await RawServer().__aenter__()
        edgegap = made_outside(server.url)
        await GET(edgegap)
        return edgegap, server

    def made_outside(url: str) -> EdgegapSession:
        return session(url)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as home:
        edgegap, server = home.run(first())
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as elsewhere:
            error = elsewhere.run(failure(GET(edgegap)))
            assert isinstance(error, WrongLoop)
            assert isinstance(error, RuntimeError)
            assert not error.request_sent
            with pytest.raises(WrongLoop):
                elsewhere.run(edgegap.aclose())
        home.run(GET(edgegap))
        assert len(server.arrivals) == 2
        home.run(edgegap.aclose())
        home.run(server.__aexit__(None, None, None))


def test_a_session_made_outside_a_loop_is_used_inside_one() -> None:
    edgegap = session("http://127.0.0.1:9", retry=Retry(tries=1))  # nobody listens at the port for discarding

    async def use() -> None:
        async with edgegap:
            await failure(GET(edgegap))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(use())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads, which pytest may have
def test_after_a_fork_it_belongs_to_the_parent() -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        edgegap = session("http://127.0.0.1:9", retry=Retry(tries=1))
        runner.run(failure(GET(edgegap)))
        child = os.fork()
        if not child:
            try:
                os._exit(0 if isinstance(runner.run(failure(GET(edgegap))), WrongLoop) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        runner.run(edgegap.aclose())


async def test_usage_and_repr() -> None:
    limits = Limits(status=1, list=None, share=0.5)
    async with scripted(SILENT, REFUSED, limits=limits, retry=Retry(tries=1)) as (edgegap, server):
        idle = LimitUsage(rate=0.5, waiting=0, in_flight=0, expected_wait=0.0, sent=0, refused=0, busiest_second=0)
        usage = edgegap.usage()
        assert list(usage) == ["deploy", "status", "list", "other"]
        assert usage["status"] == idle
        assert [each.rate for each in usage.values()] == [20, 0.5, None, 20]
        assert repr(edgegap) == f"<EdgegapSession {server.url} open>"
        calls = [asyncio.ensure_future(GET(edgegap)) for _ in range(3)]
        await asyncio.sleep(0.1)
        busy = edgegap.usage()["status"]
        assert (busy.in_flight, busy.waiting, busy.busiest_second) == (1, 2, 1)
        assert 0 < busy.expected_wait <= 6
        assert repr(edgegap) == f"<EdgegapSession {server.url} open: status 2 waiting 1 in flight>"
        await failure(calls[0])
        await failure(calls[1])
        calls[2].cancel()
        await asyncio.wait(calls)
        assert (used(edgegap, "GET").sent, used(edgegap, "GET").refused) == (2, 1)
        await edgegap.aclose()
        assert repr(edgegap) == f"<EdgegapSession {server.url} closed>"


@pytest.mark.parametrize(
    ("acts", "levels"),
    [
        ([GOOD], ["DEBUG"]),
        ([FAILED, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([REFUSED, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([CUT, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([FAILED], ["DEBUG", "INFO", "DEBUG", "WARNING"]),
        ([answer(404)], ["DEBUG", "DEBUG"]),
    ],
)
async def test_what_is_logged(acts: list[Act], levels: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    async with scripted(*acts, retry=Retry(tries=2)) as (edgegap, _):
        await asyncio.wait([asyncio.ensure_future(GET(edgegap))])
    assert [record.levelname for record in caplog.records if record.name == "edgegap_async"] == levels
    assert TOKEN not in caplog.text


async def test_token_and_url_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer() as server:
        monkeypatch.setenv("EDGEGAP_BASE_URL", server.url)
        monkeypatch.setenv("EDGEGAP_API_TOKEN", "token of-the-environment\n")
        async with EdgegapSession() as edgegap, EdgegapSession("given") as other:
            await GET(edgegap)
            await GET(other)
        assert [arrival.headers["Authorization"] for arrival in server.arrivals] == [
            "token of-the-environment",
            "token given",
        ]


async def test_their_middlewares_are_not_run_and_their_raise_for_status_is_overridden() -> None:
    runs = []

    async def middleware(request: Any, handler: Any) -> Any:
        runs.append(request)
        return await handler(request)

    refusal = answer(403, {"message": "not yours"})
    async with with_http(refusal, middlewares=(middleware,), raise_for_status=True) as (edgegap, _):
        error = await failure(GET(edgegap))
        assert isinstance(error, Forbidden)
        assert (error.message, runs) == ("not yours", [])


@whose_http
async def test_redirects_are_not_followed(opened: Scripted) -> None:
    async with opened(answer(302, "", location="/v1/status/other")) as (edgegap, server):
        assert isinstance(await failure(GET(edgegap)), UnexpectedAnswer)
        assert isinstance(await failure(deploy(edgegap)), DeployOutcomeUnknown)
        assert len(server.arrivals) == 2


async def test_a_pool_that_is_too_small_is_told_once() -> None:
    for limit, per_host, limits, told in [
        (109, 0, None, "limit=110"),
        (0, 20, None, "limit=110"),
        (110, 0, None, None),
        (0, 0, Limits.off(), None),
        (100, 0, Limits.off(), "limit=0"),
        (10, 0, Limits(share=0.05), None),
    ]:
        connector = aiohttp.TCPConnector(limit=limit, limit_per_host=per_host)
        async with aiohttp.ClientSession(connector=connector) as http, RawServer() as server:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                edgegap = session(server.url, http=http, limits=limits)
                await asyncio.gather(GET(edgegap), GET(edgegap))
            assert [(told or "?") in str(each.message) for each in caught] == [True] * bool(told)
            await edgegap.aclose()


async def test_their_http_session_may_be_closed_under_it() -> None:
    async with RawServer() as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=POOL)) as http:
        edgegap = session(server.url, http=http)
        await GET(edgegap)
        await http.close()
        error = await failure(deploy(edgegap))
        assert (type(error), error.request_sent) == (SessionClosed, False)
        await edgegap.aclose()
