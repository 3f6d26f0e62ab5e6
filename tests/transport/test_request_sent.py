"""Whether a request was sent, and what follows: whether it is retried, and when its
slot returns.
"""

import asyncio
from dataclasses import replace
from itertools import pairwise

import aiohttp
import pytest
from support.raw_server import (
    ACCEPTED,
    CUT,
    CUT_IN_BODY,
    CUT_UNREAD,
    GARBAGE,
    GET,
    GOOD,
    OPERATIONS,
    SAFE,
    SILENT,
    STUCK,
    UNSAFE,
    Act,
    RawServer,
    answer,
    closed_after,
    deploy,
    ended_in_background,
    failure,
    half,
    idle_usage,
    never_accepts,
    operations,
    scripted,
    session,
)

from edgegap_async import Limits, Retry
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    TransportError,
)

ONCE = Retry(tries=1)

LOST = {
    "cut": CUT,
    "cut unread": CUT_UNREAD,
    "garbage": GARBAGE,
    "half an answer": half(),
    "silent": SILENT,
}
LOST |= {"stuck": STUCK, "accepted late": Act(unread=True, after=40.0)}


@operations
@pytest.mark.parametrize("act", LOST.values(), ids=LOST)
@pytest.mark.parametrize("timeout", [60, 5])
async def test_a_request_without_an_answer_counts_as_sent(
    name: str, act: Act, timeout: float
) -> None:
    async with scripted(act, retry=ONCE) as (edgegap, server):
        error = await failure(OPERATIONS[name](edgegap, timeout=timeout))
        assert error.request_sent
        await ended_in_background(name)
        assert idle_usage(edgegap, name).sent == 1
        assert len(server.arrivals) <= 1
        if name == "deploy":
            assert isinstance(error, DeployOutcomeUnknown)
            error = error.__cause__
        late = timeout == 5 and act in (SILENT, STUCK, LOST["accepted late"])
        assert type(error) is (DeadlineExceeded if late else TransportError)


@operations
@pytest.mark.parametrize("timeout", [60, 5])
async def test_a_request_without_a_connection_counts_as_not_sent(
    name: str, timeout: float
) -> None:
    with never_accepts() as url:
        async with (
            scripted(closed=True, retry=ONCE) as (refused, _),
            session(url, retry=ONCE) as hanging,
        ):
            error = await failure(OPERATIONS[name](refused, timeout=timeout))
            assert (
                type(error),
                error.request_sent,
                idle_usage(refused, name).sent,
            ) == (
                TransportError,
                False,
                0,
            )
            error = await failure(OPERATIONS[name](hanging, timeout=timeout))
            await ended_in_background(name)
            kind = DeadlineExceeded if timeout == 5 else TransportError
            assert (
                type(error),
                error.request_sent,
                idle_usage(hanging, name).sent,
            ) == (
                kind,
                False,
                0,
            )


async def test_a_request_that_waits_for_a_pooled_connection_counts_as_not_sent() -> (
    None
):
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        RawServer(SILENT) as server,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        with pytest.warns(UserWarning, match="pool of 1"):
            edgegap = session(server.url, http=http, retry=ONCE)
        first, second = await asyncio.gather(
            GET(edgegap), GET(edgegap, timeout=10), return_exceptions=True
        )
        assert [first.request_sent, second.request_sent] == [True, False]  # type: ignore[union-attr]
        assert idle_usage(edgegap, "GET").sent == 1
        await edgegap.aclose()


@pytest.mark.parametrize(
    ("act", "wait"), [(None, 0.0), (CUT, 1.252), (answer(400), 1.002), (STUCK, 1.002)]
)
async def test_a_slot_returns_when_its_request_can_no_longer_arrive(
    act: Act | None, wait: float
) -> None:
    """At once if it was never sent, one period after the answer, and later without an
    answer.
    """
    limits = Limits(status=10, burst=10)
    acts = [act] * 10 if act else []
    loop = asyncio.get_running_loop()
    async with scripted(
        *acts,
        answer(),
        closed=act is None,
        limits=limits,
        retry=ONCE,
        attempt_timeout=0.5,
    ) as (
        edgegap,
        server,
    ):
        start = loop.time()
        await asyncio.gather(*(GET(edgegap) for _ in range(10)), return_exceptions=True)
        await server.listen()
        await GET(edgegap)
        # Requests that were never sent have still used the burst, so the next one waits
        # for the shaper.
        assert loop.time() - start == pytest.approx(max(wait, 1 / 11), abs=0.01)


@pytest.mark.measured
@pytest.mark.parametrize("name", ["GET", "DELETE", "deploy"])
async def test_a_call_cancelled_at_any_turn_returns_its_slot(name: str) -> None:
    for turns in range(30):
        async with scripted(
            answer(202), limits=Limits(deploy=1, status=1, other=1)
        ) as (edgegap, server):
            call = asyncio.ensure_future(OPERATIONS[name](edgegap))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = not call.cancel()
            assert (await asyncio.wait([call]))[0] == {call}
            assert call.cancelled() is not done
            await asyncio.sleep(0.5)
            # The server of a deploy whose caller has left is stopped.
            stops = name == "deploy" and len(server.arrivals) > 1
            assert len(server.arrivals) - stops <= idle_usage(edgegap, name).sent
            assert idle_usage(edgegap, name).sent in ((1,) if done else (0, 1))
            await asyncio.sleep(2.5)
            await OPERATIONS[name](edgegap, timeout=0.01)
        # The next server may get the same port, and would share the budget.
        await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("where", "sent"),
    [("queued", 0), ("connecting", 0), ("sent", 1), ("in the answer", 1)],
)
@pytest.mark.parametrize("name", ["GET", "DELETE", "deploy"])
async def test_a_cancelled_call_counts_as_sent_once_its_request_left(
    where: str, sent: int, name: str
) -> None:
    limits = Limits(deploy=1, status=1, other=1)
    act = STUCK if where == "in the answer" else SILENT
    with never_accepts() as hanging:
        async with (
            RawServer(act) as server,
            session(server.url, limits=limits) as edgegap,
        ):
            if where == "connecting":
                edgegap = session(hanging, limits=limits)
            before = (
                [asyncio.ensure_future(OPERATIONS[name](edgegap))]
                if where == "queued"
                else []
            )
            call = asyncio.ensure_future(OPERATIONS[name](edgegap))
            await asyncio.sleep(0.2)
            for task in [call, *before]:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await ended_in_background(name)
            assert idle_usage(edgegap, name).sent == sent + len(before)
            assert len(server.arrivals) == sent + len(before)
            await edgegap.aclose()


@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize(
    "act", [CUT, CUT_UNREAD], ids=["while in use", "on connecting"]
)
async def test_a_resend_by_aiohttp_takes_a_slot_of_its_own(name: str, act: Act) -> None:
    acts = [answer(202), CUT, answer(202)] if act is CUT else [CUT_UNREAD, answer(202)]
    async with scripted(*acts, limits=Limits(status=1, other=1)) as (edgegap, server):
        for _ in range(2):
            await OPERATIONS[name](edgegap)
        times = server.times
        assert idle_usage(edgegap, name).sent == 3
        assert all(after - before > 1 for before, after in pairwise(times))


@pytest.mark.parametrize("name", UNSAFE)
async def test_a_post_on_a_dead_connection_is_not_sent_twice(name: str) -> None:
    async with scripted(ACCEPTED, CUT, ACCEPTED) as (edgegap, server):
        await deploy(edgegap)
        error = await failure(OPERATIONS[name](edgegap))
        assert (error.request_sent, len(server.arrivals)) == (True, 2)


@operations
async def test_a_connection_closed_after_its_answer_loses_no_request(name: str) -> None:
    async with scripted(closed_after(GOOD)) as (edgegap, server):
        for _ in range(5):
            await OPERATIONS[name](edgegap)
            await asyncio.sleep(0.01)
        assert idle_usage(edgegap, name).sent == len(server.arrivals) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("act", [CUT_IN_BODY, replace(SILENT, headers_only=True), CUT])
# 16 MB don't fit into the kernel's buffers.
@pytest.mark.parametrize("size", [100_000, 16_000_000])
async def test_a_partly_sent_body_counts_as_sent(act: Act, size: int) -> None:
    async with scripted(act, ACCEPTED) as (edgegap, server):
        assert isinstance(await failure(deploy(edgegap, size)), DeployOutcomeUnknown)
        assert (len(server.arrivals), idle_usage(edgegap, "deploy").sent) == (1, 1)
        await deploy(edgegap, size)
        assert len(server.arrivals[1].body) > size
