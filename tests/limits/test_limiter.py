"""The limiter with a network that delays, a loop that stalls and callers that are
cancelled, in virtual time.

No plan here has ten answers per slot. So slots never come back early in these tests.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import (
    AT_REST,
    STALLS,
    busiest_second,
    come_to_rest,
    made,
    moments,
    now,
    pace,
    plans,
    run,
    slot,
    stall,
)

from edgegap_async._limits.limiter import Limiter

# Seconds for which a request may still arrive after its caller gave it up.
ALLOWANCE = 0.25


@dataclass(frozen=True)
class Call:
    """A request of a plan. Times are in seconds.

    Attributes:
        start: when the call is made.
        there, back: how long the request and its answer are on their way.
        patience: how long the caller waits for the answer.
        leaves: the caller leaves without having sent anything.
        cancelled: seconds from the start until the call is cancelled. None: never.
        refused: the answer is a 429.
    """

    start: float
    there: float
    back: float
    patience: float
    leaves: bool
    cancelled: float | None
    refused: bool


def calls_of(refused: st.SearchStrategy[bool]) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        start=moments(1.5),
        there=moments(0.4),
        back=moments(0.4),
        patience=st.just(9.0) | moments(0.6),
        leaves=st.sampled_from([False] * 5 + [True]),
        cancelled=st.none() | moments(2.5),
        refused=refused,
    )


ADMITTED, ANY = calls_of(st.just(False)), calls_of(st.booleans())


async def perform(call: Call, limiter: Limiter, arrivals: list[float]) -> None:
    """Make a call, and add the time at which the server counts it to `arrivals`."""
    await asyncio.sleep(call.start)
    await slot(limiter)
    granted = now()
    if call.leaves:
        try:
            await asyncio.sleep(call.there)
        finally:
            limiter.never_sent()
        return
    answered = False
    try:
        await asyncio.sleep(min(call.there + call.back, call.patience))
        answered = call.there + call.back <= call.patience
    finally:
        if answered:
            arrivals.append(granted + call.there)
            limiter.answered(granted, refused=call.refused)
        else:
            arrivals.append(min(granted + call.there, now() + ALLOWANCE))
            limiter.given_up(granted)


async def carry_out(
    calls: list[Call], stalls: list[tuple[float, float]], limiter: Limiter
) -> list[float]:
    """Carry out a plan, and return the arrivals at the server."""
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()
    for start, length in stalls:
        loop.call_later(start, stall, length)
    tasks = [asyncio.create_task(perform(call, limiter, arrivals)) for call in calls]
    for call, task in zip(calls, tasks, strict=True):
        if call.cancelled is not None:
            loop.call_later(call.start + call.cancelled, task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(arrivals)


@pytest.mark.slow
@plans
@given(
    st.lists(ANY, min_size=5, max_size=40)
    | st.lists(ADMITTED, min_size=20, max_size=40),
    STALLS,
    st.integers(5, 6),
    st.sampled_from([None, 1, 2, 9]),
)
def test_no_second_sees_more_than_the_limit(
    calls: list[Call], stalls: list[tuple[float, float]], rate: int, burst: int | None
) -> None:
    assert busiest_second(run(carry_out(calls, stalls, made(rate, burst)))) <= rate


@pytest.mark.full
@pytest.mark.slow
@plans
@given(
    st.lists(ADMITTED, min_size=5, max_size=30), STALLS, st.sampled_from([None, 1, 9])
)
def test_no_slot_is_lost_by_cancellation(
    calls: list[Call], stalls: list[tuple[float, float]], burst: int | None
) -> None:
    async def afterwards() -> tuple[Limiter, list[float], list[float]]:
        used = made(5, burst)
        await carry_out(calls, stalls, used)
        usage = used.usage()
        assert (usage.waiting, usage.in_flight, usage.expected_wait) == (0, 0, 0)
        await come_to_rest(used)
        return used, await pace(used, 15), await pace(made(5, burst), 15)

    used, times, fresh = run(afterwards())
    assert times == pytest.approx(fresh, abs=0.005)
    assert (used.usage().waiting, used.usage().in_flight) == (0, 0)


@pytest.mark.parametrize("which", range(6))
def test_a_call_cancelled_in_any_turn_of_the_loop_loses_no_slot(which: int) -> None:
    async def cancelled_after(turns: int) -> list[float]:
        limiter = made(2, 1)
        tasks = [asyncio.create_task(slot(limiter)) for _ in range(6)]
        await asyncio.sleep(0.499)
        # The slot of the head and the cancellation come in the same turns of the loop.
        stall(0.1)
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[which].cancel()
        await asyncio.sleep(0)
        for task in tasks:
            await asyncio.wait([task])
            if not task.cancelled():
                limiter.never_sent()
        assert (limiter.usage().waiting, limiter.usage().in_flight) == (0, 0)
        await asyncio.sleep(AT_REST)
        return await pace(limiter, 4)

    paces = [run(cancelled_after(turns)) for turns in range(12)]
    assert paces == [pytest.approx([0, 0.5, 1.002, 1.502], abs=0.01)] * 12


Acquire = Callable[[int], Awaitable[None]]


async def granted_order(
    acquire: Acquire, starts: list[float], stalls: list[tuple[float, float]]
) -> list[int]:
    """Return the order in which calls got their slots.

    A call is given by its place in the order of the calls.
    """
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


def own_limiter(rate: float) -> Acquire:
    limiter = made(rate)

    async def acquire(_: int) -> None:
        await slot(limiter)
        asyncio.get_running_loop().call_later(0.05, limiter.answered, 0.05)

    return acquire


@pytest.mark.slow
@plans
@given(st.lists(moments(2), min_size=5, max_size=40), STALLS)
def test_first_come_first_served(
    starts: list[float], stalls: list[tuple[float, float]]
) -> None:
    async def order() -> list[int]:
        return await granted_order(own_limiter(8), starts, stalls)

    assert run(order()) == list(range(len(starts)))


def test_newcomers_after_a_stall_do_not_overtake() -> None:
    async def order(limiter: str) -> list[int]:
        bare = AsyncLimiter(10, 1)
        acquire = own_limiter(10) if limiter == "own" else lambda _: bare.acquire()
        return await granted_order(acquire, [0.0] * 20 + [0.5] * 12, [(0.25, 0.3)])

    assert run(order("own")) == list(range(32))
    assert run(order("bare")) != list(range(32))


def test_a_retry_keeps_its_place_in_the_queue() -> None:
    async def order() -> list[str]:
        limiter, granted = made(2), list[str]()

        async def call(name: str, ticket: int) -> None:
            await slot(limiter, ticket)
            granted.append(name)
            limiter.answered(now())

        first = limiter.ticket()
        await call("first", first)
        others = [
            asyncio.create_task(call(str(number), limiter.ticket()))
            for number in range(6)
        ]
        await asyncio.sleep(0.7)
        await call("again", first)
        await asyncio.gather(*others)
        return granted

    # The call that is already at the head stays there.
    assert run(order()) == ["first", "0", "1", "again", "2", "3", "4", "5"]


@plans
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.02, 0.3]),
            st.sampled_from(["at once", "in the queue"]),
        ),
        max_size=60,
    )
)
def test_the_shaper_alone_bounds_the_first_burst(
    plan: list[tuple[float, str]],
) -> None:
    async def follow() -> None:
        limiter, shape = made(20, 5), AsyncLimiter(5, 5 / 22)
        for pause, way in plan:
            await asyncio.sleep(pause)
            free = shape.has_capacity()
            if way == "at once":
                assert (await limiter.try_acquire() is not None) == free
            if way == "in the queue":
                await slot(limiter)
            if free or way == "in the queue":
                await shape.acquire()
                limiter.never_sent()

    run(follow())
