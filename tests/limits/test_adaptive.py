"""The SDK adapts to a limit that is lower than documented or counted in another way,
and to a long round trip.

The tests put a session under load, count the requests that arrive at the simulator, and
check `usage()`. `benchmarks/adaptive.py` and `benchmarks/far.py` measure the same for
longer and with other rules.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from support.limiter_model import busiest_second, run
from support.raw_server import answer, deploy, scripted, session

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
# Requests per second: the lowest rate.
SLOWEST = 1
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


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "refusals", "share"),
    [
        ("sliding-window", 20, 0.93),
        *(
            pytest.param(*it, marks=pytest.mark.full)
            for it in (
                ("fixed-window", 25, 0.93),
                ("token-bucket", 45, 0.93),
                ("spacing", 40, 0.75),
            )
        ),
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
    rates = []
    for _ in range(120):
        await asyncio.sleep(1)
        rates.append(used(edgegap).rate or 0)
    assert rates == sorted(rates)
    assert rates[-1] == 40
    async with Simulator(
        enforcement=rule, delay_before=WAY, port=port(simulator)
    ) as lifted:
        await load(edgegap, 5)
        await edgegap.aclose()
        assert lifted.busiest_second("deploy") <= 40
        assert len(lifted.deployed()) >= 0.9 * 40 * 5


@pytest.mark.slow
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


@pytest.mark.full
@pytest.mark.slow
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
    assert first[2] == 300
    for together, admitted, _, after in (first, second):
        assert together >= 30
        # A cut for each of them would leave next to nothing.
        assert 0.8 * admitted <= after <= admitted


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


async def refused_under_load(
    refusals: int, busy: int = 40
) -> tuple[list[float], list[float]]:
    """Refuse some of the calls of a busy session, with a `Retry-After` of 3 s.

    Returns:
        Seconds from the last refusal to each request after it, and of those calls.
    """
    refusal = answer(429, {"message": "no"}, retry_after="3")
    script = [*[answer()] * busy, *[refusal] * refusals, answer()]
    async with scripted(*script) as (edgegap, server), session(server.url) as other:
        numbers = iter(range(10_000))

        def call(edgegap: EdgegapSession) -> Awaitable[object]:
            return edgegap.deployments.status(f"{next(numbers)}", timeout=None)

        await asyncio.gather(
            *(load(each, 10, call, callers=20) for each in (edgegap, other))
        )
    last = busy + refusals
    paths = [arrival.path for arrival in server.arrivals]
    refused = server.times[last - 1]
    assert busiest_second(server.times) <= 20
    # Without those that were on their way at the time of the refusal.
    after = {
        time - refused: path
        for time, path in zip(server.times[last:], paths[last:], strict=True)
        if time > refused + 0.01
    }
    again = [time for time, path in after.items() if path in paths[busy:last]]
    return list(after), again


async def test_retry_after_of_a_sporadic_refusal_delays_its_own_call_only() -> None:
    after, again = await refused_under_load(1)
    assert after[0] <= 0.1
    assert sum(time < 3 for time in after) >= 0.9 * 20 * 3
    assert 3 <= again[0] <= 3.1


@pytest.mark.parametrize("refusals", [2, 4])
async def test_retry_after_of_several_refusals_in_a_second_holds_all_calls(
    refusals: int,
) -> None:
    after, _ = await refused_under_load(refusals)
    assert 2.9 <= after[0] <= 3.1
    assert min(later - sooner for sooner, later in pairwise(after)) >= 0.9 / 20


async def test_without_load_a_refusal_cuts_no_rate() -> None:
    refusal = answer(429, {"message": "no"})
    async with scripted(answer(), refusal, answer(), refusal, answer()) as (
        edgegap,
        server,
    ):
        for _ in range(3):
            await deploy(edgegap)
            assert used(edgegap).rate == 40
            await asyncio.sleep(1)
        assert (used(edgegap).burst, used(edgegap).refused, len(server.arrivals)) == (
            1,
            2,
            5,
        )


async def test_without_load_many_refusals_at_once_cut_the_rate() -> None:
    refusal = answer(429, {"message": "no"})
    async with scripted(*[answer()] * 4, *[refusal] * 3, answer()) as (edgegap, _):
        await asyncio.gather(*(deploy(edgegap) for _ in range(7)))
        assert 0.8 * 40 <= used(edgegap).rate < 40


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "seconds"),
    [
        (0.01, 20),
        *(pytest.param(it, 60, marks=pytest.mark.full) for it in (0.003, 0.01, 0.03)),
    ],
)
async def test_sporadic_refusals_leave_the_rate_as_it_is(
    share: float, seconds: int
) -> None:
    async with Simulator(
        faults=[Fault("deploy", "429", share)], delay_before=WAY
    ) as simulator:
        async with session(simulator.url) as edgegap:
            await load(edgegap, seconds)
            by_then = len(simulator.deployed())
            await load(edgegap, seconds)
            reached = (len(simulator.deployed()) - by_then) / (40 * seconds)
        assert reached >= 0.97 * (1 - share) - 0.04
        assert simulator.busiest_second("deploy") <= 40


@pytest.mark.full
@pytest.mark.slow
async def test_a_limit_that_drops_and_rises_is_followed() -> None:
    async with Simulator(enforcement="sliding-window", delay_before=WAY) as simulator:
        edgegap, url = session(simulator.url), simulator.url
        await load(edgegap, 10)
    for limit, seconds, least in ((10, 3, 0.0), (10, 20, 0.85), (40, 50, 0.0)):
        async with Simulator(
            rates={"deploy": limit}, delay_before=WAY, port=port(simulator)
        ) as changed:
            await load(edgegap, seconds)
            assert len(changed.deployed()) >= least * limit * seconds
            if seconds == 3:
                assert used(edgegap).rate <= 11
    assert url == changed.url
    assert used(edgegap).rate == 40
    await edgegap.aclose()


@pytest.mark.measured
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


@pytest.mark.full
@pytest.mark.slow
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
