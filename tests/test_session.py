"""The life of a session: where it can be used, how it ends, what it shows of itself,
and a given `http=`.
"""

import asyncio
import logging
import os
import warnings
from typing import Any

import aiohttp
import pytest
from support.raw_server import (
    CUT,
    GET,
    GOOD,
    OPERATIONS,
    POOL,
    SILENT,
    TOKEN,
    Act,
    OpenSession,
    RawServer,
    answer,
    deploy,
    each_http_session,
    failure,
    idle_usage,
    operations,
    scripted,
    session,
    with_http,
)

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async.errors import (
    Forbidden,
    SessionClosed,
    TransportError,
    UnexpectedAnswer,
    WrongLoop,
)
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

FAILED, REFUSED = answer(503, {"message": "no"}), answer(429, {"message": "no"})


@operations
async def test_calls_after_closing_raise_session_closed(name: str) -> None:
    async with scripted(GOOD) as (edgegap, server):
        await OPERATIONS[name](edgegap)
        usage = edgegap.usage()
        await edgegap.aclose()
        await edgegap.aclose()
        assert isinstance(await failure(OPERATIONS[name](edgegap)), SessionClosed)
        assert isinstance(
            await failure(edgegap.deployments.wait_until_ready("c065")), SessionClosed
        )
        assert (edgegap.usage(), len(server.arrivals)) == (usage, 1)


async def test_closing_twice_releases_shared_limits_once() -> None:
    async with (
        RawServer() as server,
        session(server.url) as edgegap,
        session(server.url) as other,
    ):
        await asyncio.gather(GET(edgegap), GET(other))
        await edgegap.aclose()
        await edgegap.aclose()
        with pytest.raises(ValueError, match=r"^limits: "):
            await GET(session(server.url, limits=Limits(status=5)))
        await GET(other)


# Nothing listens at the discard port.
NO_SERVER = "http://127.0.0.1:9"


def test_a_session_belongs_to_the_loop_of_its_first_call() -> None:
    # The session is made outside of a loop.
    edgegap = session(NO_SERVER, retry=Retry(tries=1))
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as home:
        assert isinstance(home.run(failure(GET(edgegap))), TransportError)
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as elsewhere:
            error = elsewhere.run(failure(GET(edgegap)))
            assert isinstance(error, WrongLoop)
            assert isinstance(error, RuntimeError)
            assert not error.request_sent
            with pytest.raises(WrongLoop):
                elsewhere.run(edgegap.aclose())
        assert isinstance(home.run(failure(GET(edgegap))), TransportError)
        home.run(edgegap.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# pytest may have threads, and Python warns about a fork beside threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork_a_session_belongs_to_the_parent() -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        edgegap = session(NO_SERVER, retry=Retry(tries=1))
        runner.run(failure(GET(edgegap)))
        child = os.fork()
        if not child:
            try:
                os._exit(
                    0 if isinstance(runner.run(failure(GET(edgegap))), WrongLoop) else 1
                )
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        runner.run(edgegap.aclose())


async def test_usage_and_repr_show_waiting_and_running_calls() -> None:
    limits = Limits(deploy=20, status=0.5, list=None, other=20)
    async with scripted(SILENT, REFUSED, limits=limits, retry=Retry(tries=1)) as (
        edgegap,
        server,
    ):
        usage = edgegap.usage()
        assert list(usage) == ["deploy", "status", "list", "other"]
        idle = usage["status"]
        assert (
            idle.waiting,
            idle.in_flight,
            idle.expected_wait,
            idle.busiest_second,
        ) == (0, 0, 0.0, 0)
        assert (idle.sent, idle.refused) == (0, 0)
        assert [each.rate for each in usage.values()] == [20, 0.5, None, 20]
        assert repr(edgegap) == f"<EdgegapSession {server.url} open>"
        calls = [asyncio.ensure_future(GET(edgegap)) for _ in range(3)]
        await asyncio.sleep(0.1)
        busy = edgegap.usage()["status"]
        # Whether a request was sent is known only at its end.
        assert (busy.in_flight, busy.waiting, busy.busiest_second) == (1, 2, 0)
        assert 0 < busy.expected_wait <= 6
        assert (
            repr(edgegap)
            == f"<EdgegapSession {server.url} open: status 2 waiting 1 in flight>"
        )
        await failure(calls[0])
        await failure(calls[1])
        calls[2].cancel()
        await asyncio.wait(calls)
        assert (
            idle_usage(edgegap, "GET").sent,
            idle_usage(edgegap, "GET").refused,
        ) == (2, 1)
        assert idle_usage(edgegap, "GET").busiest_second == 1
        await edgegap.aclose()
        assert repr(edgegap) == f"<EdgegapSession {server.url} closed>"


@pytest.mark.parametrize(
    ("acts", "levels"),
    [
        ([GOOD], ["DEBUG"]),
        ([FAILED, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([REFUSED, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([CUT, GOOD], ["DEBUG", "INFO", "DEBUG"]),
        ([FAILED], ["DEBUG", "INFO", "DEBUG", "INFO"]),
        ([answer(404)], ["DEBUG", "DEBUG"]),
    ],
)
async def test_attempts_are_logged_at_debug_and_retries_at_info(
    acts: list[Act], levels: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    async with scripted(*acts, retry=Retry(tries=2)) as (edgegap, _):
        await asyncio.wait([asyncio.ensure_future(GET(edgegap))])
    assert [
        record.levelname for record in caplog.records if record.name == "edgegap_async"
    ] == levels
    assert TOKEN not in caplog.text


def test_a_wrong_url_of_the_environment_is_named_after_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url, told in (
        ("api.edgegap.com", "an http or https URL, such as"),
        ("http://simulator:8000", "simulator in clear; allow_insecure=True permits"),
    ):
        monkeypatch.setenv("EDGEGAP_BASE_URL", url)
        with pytest.raises(ValueError, match=f"^EDGEGAP_BASE_URL must be .*{told}"):
            EdgegapSession("token")


async def test_token_and_url_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


async def test_a_given_http_session_runs_no_middlewares_and_no_raise_for_status() -> (
    None
):
    runs = []

    async def middleware(request: Any, handler: Any) -> Any:
        runs.append(request)
        return await handler(request)

    refusal = answer(403, {"message": "not yours"})
    options = {"middlewares": (middleware,), "raise_for_status": True}
    async with with_http(refusal, http_options=options) as (edgegap, _):
        error = await failure(GET(edgegap))
        assert isinstance(error, Forbidden)
        assert (error.message, runs) == ("not yours", [])


@each_http_session
async def test_redirects_are_not_followed(opened: OpenSession) -> None:
    async with opened(answer(302, "", location="/v1/status/other")) as (
        edgegap,
        server,
    ):
        assert isinstance(await failure(GET(edgegap)), UnexpectedAnswer)
        assert isinstance(await failure(deploy(edgegap)), UnexpectedAnswer)
        assert len(server.arrivals) == 2


async def test_a_connection_pool_that_is_too_small_is_warned_about_once() -> None:
    for limit, per_host, limits, warning in [
        (109, 0, None, "limit=110"),
        (0, 20, None, "limit=110"),
        (110, 0, None, None),
        (0, 0, Limits.off(), None),
        (100, 0, Limits.off(), "limit=0"),
        (12, 0, Limits(share=0.1), None),
    ]:
        connector = aiohttp.TCPConnector(limit=limit, limit_per_host=per_host)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            RawServer() as server,
        ):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                edgegap = session(server.url, http=http, limits=limits)
                await asyncio.gather(GET(edgegap), GET(edgegap))
            assert [(warning or "?") in str(each.message) for each in caught] == [
                True
            ] * bool(warning)
            await edgegap.aclose()


async def test_a_closed_http_session_raises_session_closed() -> None:
    async with RawServer() as server:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=POOL)
        ) as http:
            edgegap = session(server.url, http=http)
            await GET(edgegap)
        error = await failure(deploy(edgegap))
        assert (type(error), error.request_sent) == (SessionClosed, False)
        await edgegap.aclose()
        # The closed session no longer shares the limits.
        async with session(server.url, limits=Limits(status=5)) as other:
            await GET(other)
