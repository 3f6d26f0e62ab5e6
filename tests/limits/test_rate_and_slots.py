"""The rate that a limiter reaches, the order of its calls, and when slots come back."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import (
    STALLS,
    busiest_second,
    made,
    moments,
    now,
    pace,
    plans,
    run,
    slot,
    stall,
)
from support.raw_server import OWN_STATUS, answer, scripted, with_http

from edgegap_async import Limits
from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.slots import Slots


@pytest.mark.parametrize(
    ("limits", "at_once", "in_a_second", "fifth"),
    [
        (Limits(), 10, 40, 0),
        (Limits(deploy=40, share=0.5), 5, 20, 0),
        # As floats, 100 * 0.29 is a little less than 29.
        (Limits(deploy=100, share=0.29), 7, 29, 0),
        (Limits(deploy=40, share=1 / 3), 3, 13, 2 / (1.1 * 40 / 3)),
        (Limits(deploy=10, burst=10), 10, 10, 0),
        (Limits(deploy=10, burst=99), 10, 10, 0),
        (Limits(deploy=40, burst=1), 1, 40, 4 / 40),
        # 2.5 requests per second are two slots.
        (Limits(deploy=2.5), 1, 2, 2 * 1.002),
        (Limits(deploy=1), 1, 1, 4 * 1.002),
        (Limits(deploy=0.5), 1, 1, 4 * 2.002),
        (Limits(deploy=0.1), 1, 1, 4 * 10.002),
        (Limits.off(), 50, 50, 0),
    ],
)
def test_each_limit_has_its_documented_pace(
    limits: Limits, at_once: int, in_a_second: int, fifth: float
) -> None:
    times = run(pace(Limiter(Slots(limits.kept("deploy"))), 50))
    assert (sum(time < 0.001 for time in times), sum(time < 1 for time in times)) == (
        at_once,
        in_a_second,
    )
    assert times[4] == pytest.approx(fifth, abs=0.01)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"share": 1 / 12}, "0.0833 leaves 0.83 of the 10 .* list limit"),
        ({"share": 0.01, "list": None}, "deploy limit"),
        ({"deploy": 2, "share": 0.4}, "0.4 leaves 0.8 of the 2 .* deploy limit"),
        ({"other": 0.5, "share": 0.99}, "0.5 .* other limit"),
    ],
)
def test_a_share_of_less_than_one_request_per_second_is_refused(
    limits: dict[str, float | None], named: str
) -> None:
    with pytest.raises(ValueError, match=f"^limits: share of .*{named}"):
        Limits(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(share=0.1),
        Limits(deploy=49, status=49, list=49, other=49, share=1 / 49),
        Limits(list=0.5),
        Limits(list=None, share=0.05),
        Limits.off(),
    ],
)
def test_a_share_of_one_request_per_second_is_allowed(limits: Limits) -> None:
    rates = [limits.kept(name).rate for name in ("deploy", "status", "list", "other")]
    assert all(rate is None or rate == 0.5 or rate > 0.999 for rate in rates)


@plans
@given(st.lists(moments(1.5), min_size=1, max_size=12), st.sampled_from([0.5, 2, 5]))
def test_the_shortest_wait_is_never_longer_than_the_real_one(
    starts: list[float], rate: float
) -> None:
    async def call(
        limiter: Limiter, start: float, waits: list[tuple[float, float]]
    ) -> None:
        await asyncio.sleep(start)
        asked, hope = now(), limiter.shortest_wait()
        await slot(limiter)
        waits.append((hope, now() - asked))
        limiter.answered(now())

    async def all_of_them() -> list[tuple[float, float]]:
        limiter, waits = made(rate), list[tuple[float, float]]()
        await asyncio.gather(*(call(limiter, start, waits) for start in starts))
        return waits

    assert all(hope <= wait + 0.001 for hope, wait in run(all_of_them()))


def test_the_shortest_wait_knows_that_a_cut_rate_recovers() -> None:
    async def wait() -> tuple[float, float]:
        limiter, start = made(40), now()

        async def call() -> None:
            await slot(limiter)
            limiter.answered(now(), refused=2 < now() - start < 7)

        await asyncio.gather(*(call() for _ in range(200)))
        assert limiter.usage().rate < 15
        queue = [asyncio.create_task(call()) for _ in range(400)]
        await asyncio.sleep(0)
        asked, hope = now(), limiter.shortest_wait()
        await call()
        await asyncio.gather(*queue)
        return hope, now() - asked

    hope, real = run(wait())
    assert hope <= real


def saturate(
    acquire: Callable[[], Awaitable[None]], answered: Callable[[], None], length: float
) -> list[float]:
    """Return the arrivals at a server 1 ms away, under more load than the limit."""

    async def caller(arrivals: list[float], end: float) -> None:
        while True:
            await acquire()
            if now() >= end:
                return answered()
            await asyncio.sleep(0.001)
            arrivals.append(now())
            await asyncio.sleep(0.001)
            answered()

    async def callers() -> list[float]:
        arrivals, end = list[float](), now() + length
        await asyncio.gather(*(caller(arrivals, end) for _ in range(20)))
        return arrivals

    return run(callers())


@pytest.mark.parametrize(("rate", "least"), [(40, 0.98), (20, 0.98), (10, 0.98)])
def test_a_saturated_limiter_reaches_the_limit(rate: int, least: float) -> None:
    limiter = made(rate)
    arrivals = saturate(
        lambda: slot(limiter), lambda: limiter.answered(now() - 0.002), 20
    )
    reached = sum(time < arrivals[0] + 20 for time in arrivals) / (rate * 20)
    assert busiest_second(arrivals) <= rate
    assert reached >= least


def test_a_plain_aiolimiter_exceeds_the_limit_under_the_same_load() -> None:
    bare = AsyncLimiter(40, 1)
    assert busiest_second(saturate(bare.acquire, lambda: None, 3)) > 70


@pytest.mark.parametrize(
    ("round_trip", "ends", "back_after"),
    [
        (0.0, lambda limiter: limiter.answered(now()), 1.002),
        (1.5, lambda limiter: limiter.answered(now()), 1.002),
        # The slot is back at once. The next call waits for the shaper.
        (0.0, Limiter.never_sent, 0.091),
    ],
)
def test_a_slot_comes_back_one_period_after_its_request_ends(
    round_trip: float, ends: Callable[[Limiter], None], back_after: float
) -> None:
    async def wait() -> float:
        limiter = made(10, 10)
        await slot(limiter)
        limiter.answered(now() - round_trip)
        await asyncio.sleep(5)
        start = now()
        # A part of the slots is a reserve while requests have no answer.
        for count in (7, 3):
            for _ in range(count):
                await slot(limiter)
            for _ in range(count):
                ends(limiter)
        await slot(limiter)
        limiter.never_sent()
        return now() - start

    assert run(wait()) == pytest.approx(back_after, abs=0.0005)


def test_a_slow_request_delays_no_other_slot() -> None:
    async def wait() -> float:
        limiter, start = made(10, 10), now()
        await slot(limiter)
        for _ in range(9):
            await slot(limiter)
            limiter.answered(now())
        await slot(limiter)
        limiter.answered(now())
        limiter.answered(start)
        return now() - start

    assert run(wait()) == pytest.approx(1.002, abs=0.0005)


@pytest.mark.parametrize("end", ["answered", "never sent"])
def test_a_slot_that_comes_back_early_wakes_a_waiter(end: str) -> None:
    async def wait() -> float:
        limiter = made(2, 2)
        await slot(limiter)
        await slot(limiter)
        start = now()
        waiting = asyncio.create_task(slot(limiter))
        # Both requests are in flight, so no time is known at which a slot comes back.
        await asyncio.sleep(3)
        limiter.answered(now() - 3.0) if end == "answered" else limiter.never_sent()
        await waiting
        limiter.answered(now())
        limiter.answered(now())
        return now() - start

    assert run(wait()) == pytest.approx(4.002 if end == "answered" else 3, abs=0.001)


@pytest.mark.slow
@plans
@given(st.lists(moments(2), min_size=2, max_size=30), STALLS)
def test_a_session_sends_in_the_order_of_its_calls(
    starts: list[float], stalls: list[tuple[float, float]]
) -> None:
    async def order() -> tuple[list[str], list[str]]:
        asked, sent = list[str](), list[str]()

        async def sends(
            _: object, __: object, request: aiohttp.TraceRequestStartParams
        ) -> None:
            sent.append(request.url.name)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(sends)
        theirs = {"trace_configs": [trace]}
        async with with_http(
            http_options=theirs, limits=Limits(status=10, burst=1)
        ) as (edgegap, _):

            async def call(start: float) -> None:
                await asyncio.sleep(start)
                asked.append(f"{len(asked)}")
                await edgegap.deployments.status(asked[-1])

            for start, length in stalls:
                asyncio.get_running_loop().call_later(start, stall, length)
            await asyncio.gather(*map(call, starts))
        return asked, sent

    asked, sent = run(order())
    assert sent == asked


async def test_sequential_calls_reach_the_limit() -> None:
    async with scripted(limits=Limits(status=10)) as (edgegap, server):
        for _ in range(100):
            await edgegap.deployments.status("c065")
        assert busiest_second(server.times) == 10
        assert server.times[-1] == pytest.approx(9 * 1.002 + 8 / 11, abs=0.01)


async def test_a_retry_goes_first_and_never_fails_because_of_the_queue() -> None:
    async with scripted(answer(503), OWN_STATUS, limits=Limits(status=1)) as (
        edgegap,
        server,
    ):
        first = asyncio.create_task(edgegap.deployments.status("first", timeout=6))
        queue = [
            asyncio.create_task(edgegap.deployments.status(f"{number}"))
            for number in range(20)
        ]
        await first
        assert [arrival.path.rpartition("/")[2] for arrival in server.arrivals] == [
            "first",
            "0",
            "first",
        ]
        await asyncio.gather(*queue)


async def test_requests_that_were_never_sent_are_in_no_busiest_second() -> None:
    async with scripted(closed=True) as (edgegap, server):
        calls = [edgegap.deployments.status("c065", timeout=3) for _ in range(40)]
        await asyncio.gather(*calls, return_exceptions=True)
        usage = edgegap.usage()["status"]
        assert (usage.sent, usage.busiest_second, len(server.arrivals)) == (0, 0, 0)
        await server.listen()
        for _ in range(3):
            await edgegap.deployments.status("c065")
        usage = edgegap.usage()["status"]
        assert (usage.sent, usage.busiest_second, len(server.arrivals)) == (3, 3, 3)


async def test_the_busiest_second_is_that_of_the_server() -> None:
    async with scripted() as (edgegap, server):
        for _ in range(70):
            await edgegap.deployments.status("c065")
        assert edgegap.usage()["status"].busiest_second == busiest_second(server.times)
