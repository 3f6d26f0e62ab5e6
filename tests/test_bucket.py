"""The bucket against a network that delays, a loop that stalls and callers that go away: all in virtual time.

No plan here has ten answers for each slot: until so many are seen, a bucket knows nothing of the distance.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegap_async import Limits
from edgegap_async._endpoint import Limit
from edgegap_async._limits import Bucket
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

T = TypeVar("T")
ALLOWANCE = 0.25  # seconds after it was given up in which a request may still arrive
AT_REST = 4.0  # seconds after which everything is back: a period, the longest allowance, the shape
plans = settings(max_examples=120, deadline=None)


class Loop(VirtualTimeLoop):
    """Virtual time, of which a stall takes some: other code keeps the loop from running."""

    lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.lost += seconds


def made(rate: float | None, burst: int | None = None) -> Bucket:
    return Bucket(Limit("deploy", rate, burst))


async def slot(bucket: Bucket, ticket: int | None = None) -> None:
    """How a slot is taken: the one place that knows."""
    await bucket.acquire(bucket.ticket() if ticket is None else ticket)


@dataclass(frozen=True)
class Call:
    """When a request is made, how long it takes there and back, and when somebody loses patience; in seconds."""

    start: float
    there: float
    back: float
    patience: float
    leaves: bool  # without having sent anything
    cancelled: float | None  # after its start


def milliseconds(most: int) -> st.SearchStrategy[float]:
    """On a grid, so that things often happen in the same instant."""
    return st.integers(0, most // 20).map(lambda steps: steps * 0.02)


CALLS = st.builds(
    Call,
    start=milliseconds(1500),
    there=milliseconds(400),
    back=milliseconds(400),
    patience=st.just(9.0) | milliseconds(600),
    leaves=st.sampled_from([False] * 5 + [True]),
    cancelled=st.none() | milliseconds(2500),
)
STALLS = st.lists(st.tuples(milliseconds(3000), milliseconds(400)), max_size=6)


async def perform(call: Call, bucket: Bucket, arrivals: list[float]) -> None:
    """One call; `arrivals` gets the time at which the server counts it."""
    await asyncio.sleep(call.start)
    await slot(bucket)
    granted = now()
    if call.leaves:
        try:
            await asyncio.sleep(call.there)
        finally:
            bucket.never_sent()
        return
    answered = False
    try:
        await asyncio.sleep(min(call.there + call.back, call.patience))
        answered = call.there + call.back <= call.patience
    finally:
        if answered:
            arrivals.append(granted + call.there)
            bucket.answered(now() - granted)
        else:
            arrivals.append(min(granted + call.there, now() + ALLOWANCE))
            bucket.given_up()


async def carry_out(calls: list[Call], stalls: list[tuple[float, float]], bucket: Bucket) -> list[float]:
    """All of a plan; the arrivals at the server."""
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()
    for start, length in stalls:
        loop.call_later(start, stall, length)
    tasks = [asyncio.create_task(perform(call, bucket, arrivals)) for call in calls]
    for call, task in zip(calls, tasks, strict=True):
        if call.cancelled is not None:
            loop.call_later(call.start + call.cancelled, task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(arrivals)


def busiest_second(times: list[float]) -> int:
    return max((sum(start <= time < start + 1 for time in times) for start in times), default=0)


@plans
@given(st.lists(CALLS, min_size=5, max_size=40), STALLS, st.integers(4, 6), st.sampled_from([None, 1, 2, 9]))
def test_no_second_sees_more_than_the_limit(
    calls: list[Call], stalls: list[tuple[float, float]], rate: int, burst: int | None
) -> None:
    assert busiest_second(run(carry_out(calls, stalls, made(rate, burst)))) <= rate


async def pace(bucket: Bucket, count: int) -> list[float]:
    """When `count` calls that wait for nothing else are granted, in seconds from now."""
    start, times = now(), []
    for _ in range(count):
        await slot(bucket)
        times.append(now() - start)
        bucket.answered(0.0)
    return times


@plans
@given(st.lists(CALLS, min_size=5, max_size=30), STALLS, st.sampled_from([None, 1, 9]))
def test_whoever_goes_no_slot_is_lost(calls: list[Call], stalls: list[tuple[float, float]], burst: int | None) -> None:
    async def afterwards() -> tuple[Bucket, list[float], list[float]]:
        used = made(5, burst)
        await carry_out(calls, stalls, used)
        usage = used.usage()
        assert (usage.waiting, usage.in_flight, usage.expected_wait) == (0, 0, 0)
        await asyncio.sleep(AT_REST)
        return used, await pace(used, 15), await pace(made(5, burst), 15)

    used, times, fresh = run(afterwards())
    assert times == pytest.approx(fresh, abs=0.005)
    assert (used.usage().waiting, used.usage().in_flight) == (0, 0)


@pytest.mark.parametrize("who", range(6))
def test_a_waiter_may_go_in_any_turn_of_the_loop(who: int) -> None:
    async def cancelled_after(turns: int) -> list[float]:
        bucket = made(2, 1)
        tasks = [asyncio.create_task(slot(bucket)) for _ in range(6)]
        await asyncio.sleep(0.499)
        stall(0.1)  # what the head waits for, and the cancellation, come in the same turns
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[who].cancel()
        await asyncio.sleep(0)
        for task in tasks:
            await asyncio.wait([task])
            if not task.cancelled():
                bucket.never_sent()
        assert (bucket.usage().waiting, bucket.usage().in_flight) == (0, 0)
        await asyncio.sleep(AT_REST)
        return await pace(bucket, 4)

    paces = [run(cancelled_after(turns)) for turns in range(12)]
    assert paces == [pytest.approx([0, 0.5, 1.002, 1.502], abs=0.01)] * 12


Acquire = Callable[[int], Awaitable[None]]


async def granted_order(acquire: Acquire, starts: list[float], stalls: list[tuple[float, float]]) -> list[int]:
    """The order in which calls were granted, each told by its place in the order in which they asked."""
    asked, granted = 0, list[int]()
    loop = asyncio.get_running_loop()

    async def call(start: float) -> None:
        nonlocal asked
        await asyncio.sleep(start)
        place, asked = asked, asked + 1
        await acquire(place)
        granted.append(place)

    for start, length in stalls:
        loop.call_later(start, stall, length)
    await asyncio.gather(*map(call, starts))
    return granted


def ours(rate: float) -> Acquire:
    bucket = made(rate)

    async def acquire(_: int) -> None:
        await slot(bucket)
        asyncio.get_running_loop().call_later(0.05, bucket.answered, 0.05)

    return acquire


@plans
@given(st.lists(milliseconds(2000), min_size=5, max_size=40), STALLS)
def test_first_come_first_served(starts: list[float], stalls: list[tuple[float, float]]) -> None:
    async def order() -> list[int]:
        return await granted_order(ours(8), starts, stalls)

    assert run(order()) == list(range(len(starts)))


def test_newcomers_after_a_stall_overtake_in_a_bare_limiter_and_not_in_ours() -> None:
    async def order(limiter: str) -> list[int]:
        bare = AsyncLimiter(10, 1)
        acquire = ours(10) if limiter == "ours" else lambda _: bare.acquire()
        return await granted_order(acquire, [0.0] * 20 + [0.5] * 12, [(0.25, 0.3)])

    assert run(order("ours")) == list(range(32))
    assert run(order("bare")) != list(range(32))


def test_a_repeat_keeps_the_place_of_its_first_arrival() -> None:
    async def order() -> list[str]:
        bucket, granted = made(2), list[str]()

        async def call(name: str, ticket: int) -> None:
            await slot(bucket, ticket)
            granted.append(name)
            bucket.answered(0.0)

        first = bucket.ticket()
        await call("first", first)
        others = [asyncio.create_task(call(str(number), bucket.ticket())) for number in range(6)]
        await asyncio.sleep(0.7)
        await call("again", first)
        await asyncio.gather(*others)
        return granted

    # What is already at the head stays there.
    assert run(order()) == ["first", "0", "1", "again", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("limits", "at_once", "in_a_second", "fifth"),
    [
        (Limits(), 10, 40, 0),
        (Limits(deploy=40, share=0.5), 5, 20, 0),
        (Limits(deploy=30, share=0.7), 5, 21, 0),  # though 30 * 0.7 is a little less than 21
        (Limits(deploy=40, share=1 / 3), 3, 13, 2 / (1.1 * 40 / 3)),
        (Limits(deploy=10, burst=10), 10, 10, 0),
        (Limits(deploy=10, burst=99), 10, 10, 0),
        (Limits(deploy=40, burst=1), 1, 40, 4 / 40),
        (Limits(deploy=2.5), 1, 2, 2 * 1.002),  # two slots: what is whole of the limit is held
        (Limits(deploy=1), 1, 1, 4 * 1.002),
        (Limits(deploy=0.5), 1, 1, 4 * 2.002),
        (Limits(deploy=10, share=0.01), 1, 1, 4 * 10.002),
        (Limits.off(), 50, 50, 0),
    ],
)
def test_the_pace_of_each_limit(limits: Limits, at_once: int, in_a_second: int, fifth: float) -> None:
    times = run(pace(Bucket(limits.kept("deploy")), 50))
    assert (sum(time < 0.001 for time in times), sum(time < 1 for time in times)) == (at_once, in_a_second)
    assert times[4] == pytest.approx(fifth, abs=0.01)


@given(st.lists(milliseconds(1500), min_size=1, max_size=12), st.sampled_from([0.5, 2, 5]))
@plans
def test_the_hopeful_wait_is_never_longer_than_the_real_one(starts: list[float], rate: float) -> None:
    async def call(bucket: Bucket, start: float, waits: list[tuple[float, float]]) -> None:
        await asyncio.sleep(start)
        asked, hope = now(), bucket.hopeful_wait()
        await slot(bucket)
        waits.append((hope, now() - asked))
        bucket.answered(0.0)

    async def all_of_them() -> list[tuple[float, float]]:
        bucket, waits = made(rate), list[tuple[float, float]]()
        await asyncio.gather(*(call(bucket, start, waits) for start in starts))
        return waits

    assert all(hope <= wait + 0.001 for hope, wait in run(all_of_them()))


def model(acquire: Acquire, answered: Callable[[], None], length: float) -> list[float]:
    """Arrivals at a server 1 ms away, as callers without end would make them."""

    async def caller(arrivals: list[float], end: float) -> None:
        while True:
            await acquire(0)
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
def test_saturated_it_reaches_the_limit(rate: int, least: float) -> None:
    bucket = made(rate)
    arrivals = model(lambda _: slot(bucket), lambda: bucket.answered(0.002), 20)
    reached = sum(time < arrivals[0] + 20 for time in arrivals) / (rate * 20)
    assert busiest_second(arrivals) <= rate
    assert reached >= least


def test_a_bare_limiter_breaks_the_limit_in_the_same_model() -> None:
    bare = AsyncLimiter(40, 1)
    assert busiest_second(model(lambda _: bare.acquire(), lambda: None, 3)) > 70
