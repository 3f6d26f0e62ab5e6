"""`aclose`: what waits and what is under way ends, and nothing more is sent, in
whatever turn of the loop it comes.
"""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import STALLS, moments, plans, run, stall
from support.owning import owning
from support.raw_server import (
    CUT,
    GET,
    GOOD,
    OPERATIONS,
    SILENT,
    Act,
    OpenSession,
    answer,
    each_http_session,
    idle_usage,
    never_accepts,
    operations,
    scripted,
    session,
    with_http,
)

from edgegap_async import EdgegapError, Limits
from edgegap_async.errors import (
    DeployOutcomeUnknown,
    RateLimited,
    ServerError,
    SessionClosed,
)

pytestmark = pytest.mark.usefixtures("fixed_seed")
FAILED, REFUSED = answer(503, {"message": "no"}), answer(429, {"message": "no"})
HELD = answer(429, {"message": "no"}, retry_after="30")


async def ended(
    call: asyncio.Future[object], seconds: float = 0.01
) -> EdgegapError | None:
    """How a call fails; it must end within so many seconds."""
    done, _ = await asyncio.wait([call], timeout=seconds)
    call.cancel()
    await asyncio.wait([call])
    assert done, "it did not end"
    error = call.exception()
    assert error is None or isinstance(error, EdgegapError)
    return error


@each_http_session
async def test_aclose_ends_waiting_calls(opened: OpenSession) -> None:
    acts = [answer(503, {"message": "no"}, retry_after="20"), HELD, SILENT, SILENT]
    async with opened(*acts) as (edgegap, server):
        pausing = asyncio.ensure_future(edgegap.tags.list("c065"))
        await asyncio.sleep(0.1)
        held = asyncio.ensure_future(GET(edgegap))
        await asyncio.sleep(0.1)
        queued = asyncio.ensure_future(GET(edgegap))
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready("c065", timeout=None)
        )
        await asyncio.sleep(0.1)
        await edgegap.aclose()
        errors = [await ended(call) for call in (pausing, held, queued, waiting)]
        assert [type(error) for error in errors] == [SessionClosed] * 4
        assert [error.request_sent for error in errors] == [True, True, False, False]
        assert len(server.arrivals) == 2


@operations
async def test_aclose_ends_calls_in_progress(name: str) -> None:
    async with scripted(SILENT) as (edgegap, _):
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(0.5)
        await edgegap.aclose()
        error = await ended(call)
        assert error.request_sent
        assert type(error) is (
            DeployOutcomeUnknown if name == "deploy" else SessionClosed
        )
        assert type(error.__cause__) is (
            SessionClosed if name == "deploy" else type(None)
        )


@operations
async def test_aclose_ends_calls_that_are_connecting(name: str) -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            call = asyncio.ensure_future(OPERATIONS[name](edgegap))
            await asyncio.sleep(0.5)
            await edgegap.aclose()
            error = await ended(call)
            assert (type(error), error.request_sent) == (SessionClosed, False)


@pytest.mark.parametrize(
    "act", [SILENT, FAILED.later(1), REFUSED.later(1), HELD.later(1), CUT.later(1)]
)
async def test_closing_the_callers_http_session_ends_calls_without_a_retry(
    act: Act,
) -> None:
    async with with_http(act) as (edgegap, server):
        call = asyncio.ensure_future(GET(edgegap, timeout=20))
        await asyncio.sleep(0.5)
        await edgegap.aclose()
        assert isinstance(await ended(call), SessionClosed | ServerError | RateLimited)
        assert len(server.arrivals) == 1


@each_http_session
@pytest.mark.parametrize("act", [GOOD, FAILED, REFUSED, HELD])
async def test_a_session_closed_in_any_turn_sends_nothing_more(
    opened: OpenSession, act: Act
) -> None:
    for turns in range(30):
        async with opened(act) as (edgegap, server):
            call = asyncio.ensure_future(GET(edgegap))
            for _ in range(turns):
                await asyncio.sleep(0)
            await edgegap.aclose()
            assert isinstance(
                await ended(call), SessionClosed | ServerError | RateLimited | None
            )
            await asyncio.sleep(40)
            assert len(server.arrivals) <= 1
            idle_usage(edgegap, "GET")


async def sent_after_the_close(
    opened: OpenSession,
    acts: list[Act],
    starts: list[float],
    close: float,
    stalls: list[tuple[float, float]],
    rate: int,
) -> int:
    """How many requests; all calls must have ended well."""
    loop = asyncio.get_running_loop()
    for start, length in stalls:
        loop.call_later(start, stall, length)
    async with opened(*acts, limits=Limits(status=rate, burst=rate)) as (
        edgegap,
        server,
    ):

        async def call(start: float) -> None:
            await asyncio.sleep(start)
            await GET(edgegap)

        calls = [asyncio.create_task(call(start)) for start in starts]
        await asyncio.sleep(close)
        await edgegap.aclose()
        usage = edgegap.usage()["status"]
        _, late = await asyncio.wait(calls, timeout=30)
        assert not late
        assert all(isinstance(call.exception(), EdgegapError | None) for call in calls)
        await asyncio.sleep(5)
        return (
            max(len(server.arrivals), idle_usage(edgegap, "GET").sent)
            - usage.sent
            - usage.in_flight
        )


@pytest.mark.slow
@plans
@given(
    st.sampled_from([with_http, scripted]),
    st.lists(
        st.sampled_from([FAILED, REFUSED, answer(429, retry_after="1"), CUT, GOOD]),
        min_size=1,
        max_size=5,
    ),
    st.lists(moments(1), min_size=1, max_size=8),
    moments(3),
    STALLS,
    st.sampled_from([1, 4, 20]),
)
def test_nothing_is_sent_after_closing(
    opened: OpenSession,
    acts: list[Act],
    starts: list[float],
    close: float,
    stalls: list[tuple[float, float]],
    rate: int,
) -> None:
    assert run(sent_after_the_close(opened, acts, starts, close, stalls, rate)) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("act", [FAILED, REFUSED, CUT])
def test_closing_as_a_retry_is_due_sends_nothing_more(act: Act) -> None:
    for close in (step / 50 for step in range(1, 50)):
        assert (
            run(
                sent_after_the_close(
                    with_http, [act], [0.0], close, [(close - 0.01, 0.3)], 20
                )
            )
            <= 0
        )


async def test_a_second_aclose_waits_for_the_first() -> None:
    options = {"ready_after": (0.0, 0.0), "delay_after": (1.0, 1.0)}
    async with owning(options=options) as (edgegap, sim):
        accepted = await edgegap.deployments.deploy("g", "1", users=["192.0.2.1"])
        async with edgegap.deployments.adopt(accepted.request_id):
            first = asyncio.create_task(edgegap.aclose())
            await asyncio.sleep(0.01)
            await edgegap.aclose()
            assert first.done()
            assert sim.stopped() == {accepted.request_id}
        await edgegap.aclose()
