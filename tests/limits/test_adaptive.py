"""The SDK adapts to a limit that is lower than documented or counted in another way,
and to a long round trip.

The tests put a session under load, count the requests that arrive at the simulator, and
check `usage()`. `benchmarks/adaptive.py` and `benchmarks/far.py` measure the same for
longer and with other rules.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from support.limiter_model import run
from support.raw_server import GET, answer, deploy, scripted, session

from edgegap_async import (
    EdgegapError,
    EdgegapSession,
    Limits,
    LimitUsage,
    SessionClosed,
)
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.rate_limits import Enforcement

# Seconds until a request arrives at the server.
WAY = (0.0, 0.01)
# Requests per second: the lowest rate, and its growth in each second.
SLOWEST, GROWTH = 4, 0.25
Call = Callable[[EdgegapSession], Awaitable[object]]


def list_all(
    edgegap: EdgegapSession, timeout: float | None = None
) -> Awaitable[object]:
    return edgegap.deployments.list(timeout=timeout)


def start_one(edgegap: EdgegapSession) -> Awaitable[object]:
    return deploy(edgegap, timeout=None)


async def load(
    edgegap: EdgegapSession, seconds: float, call: Call = start_one, callers: int = 50
) -> None:
    """Keep so many callers busy without a pause, for some seconds."""

    async def caller() -> None:
        while True:
            try:
                await call(edgegap)
            except SessionClosed:
                return
            except EdgegapError:
                pass

    tasks = [asyncio.ensure_future(caller()) for _ in range(callers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def used(edgegap: EdgegapSession) -> LimitUsage:
    return edgegap.usage()["deploy"]


def port(simulator: Simulator) -> int:
    return int(simulator.url.rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "refusals", "share"),
    [
        ("fixed-window", 15, 0.85),
        ("sliding-window", 15, 0.85),
        ("token-bucket", 15, 0.85),
        ("spacing", 40, 0.75),
    ],
)
async def test_a_limit_lower_than_documented_is_found(
    rule: Enforcement, refusals: int, share: float
) -> None:
    async with Simulator(
        enforcement=rule, rates={"deploy": 25}, delay_before=WAY
    ) as simulator:
        edgegap = session(simulator.url)
        assert (used(edgegap).rate, used(edgegap).burst) == (40, 10)
        assert "429" not in used(edgegap).why
        await load(edgegap, 30)
        by_then = len(simulator.deployed())
        await load(edgegap, 30)
        assert simulator.refused("deploy") <= refusals
        assert len(simulator.deployed()) - by_then >= share * 25 * 30
        assert used(edgegap).refused == simulator.refused("deploy")
        assert SLOWEST <= (used(edgegap).rate or 0) <= 32
        assert used(edgegap).burst == 1
        assert "429" in used(edgegap).why

    # No further 429 arrives, so the rate grows back to the limit, and not above it.
    last = used(edgegap).rate
    for _ in range(120):
        await asyncio.sleep(1)
        assert used(edgegap).rate == pytest.approx(min(40, last + GROWTH), abs=0.001)
        last = used(edgegap).rate
    assert last == 40
    async with Simulator(
        enforcement=rule, delay_before=WAY, port=port(simulator)
    ) as lifted:
        await load(edgegap, 5)
        await edgegap.aclose()
        assert lifted.busiest_second("deploy") <= 40
        assert len(lifted.deployed()) >= 0.9 * 40 * 5


@pytest.mark.parametrize("rule", ["sliding-window", "spacing"])
async def test_a_limit_lifted_under_load_is_found_and_held(
    rule: Enforcement,
) -> None:
    async with Simulator(
        enforcement=rule, rates={"list": 6}, delay_before=WAY
    ) as simulator:
        edgegap = session(simulator.url)
        await load(edgegap, 20, list_all)
        assert simulator.refused("list") > 0
        assert edgegap.usage()["list"].rate <= 8
        assert "less than the limit" in edgegap.usage()["list"].why
    async with Simulator(
        enforcement="off", delay_before=WAY, port=port(simulator)
    ) as lifted:
        await load(edgegap, 30, list_all)
        by_then = lifted.arrivals("list")
        await load(edgegap, 20, list_all)
        assert lifted.busiest_second("list") <= 10
        assert lifted.arrivals("list") - by_then >= 0.95 * 10 * 20
        usage = edgegap.usage()["list"]
        assert usage.rate == 10
        assert "less than the limit" not in usage.why
        await edgegap.aclose()


async def test_refusals_in_one_burst_cut_the_rate_once() -> None:
    simulator = Simulator(
        enforcement="off", delay_before=(0.15, 0.15), delay_after=(0.15, 0.15)
    )
    async with simulator, session(simulator.url, limits=Limits(deploy=300)) as edgegap:

        async def refuse_for_a_moment() -> tuple[int, float, float, float]:
            """Refuse all requests for less than a round trip.

            Returns:
                How many were refused, how many were admitted in the second before, and
                the rate before and after.
            """
            by_then = simulator.arrivals("deploy")
            await asyncio.sleep(1)
            admitted, refused = (
                simulator.arrivals("deploy") - by_then,
                simulator.refused("deploy"),
            )
            rate = used(edgegap).rate
            simulator.faults = [Fault("deploy", "429")]
            # Less than a round trip: all requests are sent before the first 429.
            await asyncio.sleep(0.25)
            simulator.faults = []
            await asyncio.sleep(0.3)
            return (
                simulator.refused("deploy") - refused,
                admitted,
                rate,
                used(edgegap).rate,
            )

        busy = asyncio.ensure_future(load(edgegap, 5, callers=400))
        await asyncio.sleep(0.5)
        first = await refuse_for_a_moment()
        await asyncio.sleep(1)
        second = await refuse_for_a_moment()
        await busy
    together, admitted, before, after = first
    assert together >= 40
    assert before == 300
    assert after == pytest.approx(0.95 * admitted, rel=0.02)
    together, _, before, after = second
    assert together >= 30
    assert after == pytest.approx(0.85 * before, abs=1.5)


async def test_the_first_refusal_ends_bursts() -> None:
    refused = []
    async with (
        Simulator(enforcement="spacing") as simulator,
        session(simulator.url) as edgegap,
    ):
        # Five deploys each second: no call ever waits for long.
        for _ in range(20):
            await asyncio.gather(*(deploy(edgegap) for _ in range(5)))
            refused.append(simulator.refused("deploy"))
            await asyncio.sleep(1)
        assert used(edgegap).burst == 1
        assert used(edgegap).rate == 40
        assert refused[0] > 0
        assert refused[-1] - refused[0] <= 2


@pytest.mark.parametrize(("asked", "pause"), [({"retry_after": "3"}, 3), ({}, 0.9)])
async def test_retry_after_holds_all_calls_of_the_limit(
    asked: Any, pause: float
) -> None:
    script = [*[answer()] * 30, answer(429, {"message": "no"}, **asked), answer()]
    async with scripted(*script) as (edgegap, server), session(server.url) as other:
        await asyncio.gather(
            *(load(each, 10, GET, callers=20) for each in (edgegap, other))
        )
    refused = server.times[30]
    after = [time - refused for time in server.times[31:]]
    assert pause <= after[0] <= pause + 0.1
    assert min(later - sooner for sooner, later in pairwise(after)) >= 0.9 / 20
    assert len(after) >= 0.9 * 20 * (10 - refused - pause)


async def test_without_load_only_further_refusals_cut_the_rate() -> None:
    refusal = answer(429, {"message": "no"})
    async with scripted(answer(), refusal, answer(), refusal, answer()) as (
        edgegap,
        server,
    ):
        rates = []
        for _ in range(3):
            await deploy(edgegap)
            rates.append(used(edgegap).rate)
            await asyncio.sleep(1)
        assert rates == pytest.approx([40, 40, 0.85 * 40], abs=2 * GROWTH)
        assert (used(edgegap).burst, used(edgegap).refused, len(server.arrivals)) == (
            1,
            2,
            5,
        )


@pytest.mark.parametrize(("quiet", "at_once"), [(290, 1), (310, 10)])
async def test_five_minutes_without_a_429_restore_the_limit(
    quiet: float, at_once: int
) -> None:
    async with scripted(answer(429, {"message": "no"}), answer()) as (edgegap, server):
        why = used(edgegap).why
        await deploy(edgegap)
        await asyncio.sleep(quiet)
        await deploy(edgegap)
        await asyncio.sleep(1)
        by_then = len(server.arrivals)
        await asyncio.gather(*(deploy(edgegap) for _ in range(12)))
        times = server.times[by_then:]
        assert sum(time < times[0] + 0.01 for time in times) == at_once
        assert (used(edgegap).burst, used(edgegap).why == why) == (
            at_once,
            at_once == 10,
        )


def test_usage_works_after_the_loop_has_ended() -> None:
    async def program() -> tuple[EdgegapSession, LimitUsage]:
        async with (
            Simulator(rates={"deploy": 25}) as simulator,
            session(simulator.url) as edgegap,
        ):
            await load(edgegap, 3)
            return edgegap, used(edgegap)

    edgegap, usage = run(program())
    assert SLOWEST <= usage.rate < 40
    assert used(edgegap).rate == pytest.approx(usage.rate, abs=0.1)
    assert used(edgegap).why == usage.why


@pytest.mark.parametrize(
    ("way", "early", "least", "most"),
    [
        ((0.12, 0.13), True, 0.9, 1),
        ((0.12, 0.13), False, 0.75, 0.82),
        ((0.02, 0.2), True, 0.8, 1),
    ],
)
async def test_early_return_makes_up_for_a_long_round_trip(
    way: tuple[float, float], early: bool, least: float, most: float
) -> None:
    async with Simulator(
        enforcement="off", delay_before=way, delay_after=way
    ) as simulator:
        async with session(simulator.url, limits=Limits(early_return=early)) as edgegap:
            busy = asyncio.ensure_future(load(edgegap, 37, list_all, 30))
            # After ten answers per slot, slots come back early.
            await asyncio.sleep(16)
            by_then = simulator.arrivals("list")
            await asyncio.sleep(20)
            assert least <= (simulator.arrivals("list") - by_then) / (10 * 20) <= most
            await busy
        assert simulator.busiest_second("list") <= 10
