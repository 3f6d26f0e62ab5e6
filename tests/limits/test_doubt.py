"""Requests that were given up may still be on their way: a proxy that stalls delivers
all of them at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import (
    busiest_second,
    made,
    moments,
    now,
    plans,
    run,
    slot,
)
from support.raw_server import CUT, answer, scripted, session

from edgegap_async import EdgegapError, EdgegapSession, Limits, Retry
from edgegap_async._limits.doubt import LONGEST_STALL
from edgegap_async._limits.slots import NEWCOMERS_FIRST, Slots
from edgegap_async.endpoints import Limit, LimitName
from edgegap_async.simulator import Simulator

from .test_slots import BACK, Loop, shared, use

Call = Callable[[EdgegapSession], Awaitable[object]]


def status(edgegap: EdgegapSession) -> Awaitable[object]:
    return edgegap.deployments.status("c065", timeout=1)


async def cancelled_status(edgegap: EdgegapSession) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(edgegap.deployments.status("c065", timeout=None), 0.7)


def listed(edgegap: EdgegapSession) -> Awaitable[object]:
    return edgegap.deployments.list(timeout=1.5)


def lost_attempts(edgegap: EdgegapSession) -> Awaitable[object]:
    return edgegap.locations.list()


def deployed(edgegap: EdgegapSession) -> Awaitable[object]:
    return edgegap.deployments.deploy("a", "1", users=["203.0.113.7"], timeout=1)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("status", cancelled_status),
        ("deploy", deployed),
        *(
            pytest.param(*it, marks=pytest.mark.full)
            for it in (("status", status), ("list", listed), ("other", lost_attempts))
        ),
    ],
)
@pytest.mark.parametrize(
    "length",
    [8.0, *(pytest.param(it, marks=pytest.mark.full) for it in (2.5, 13.0))],
)
async def test_what_was_given_up_during_a_stall_keeps_the_limit_at_its_end(
    name: LimitName, call: Call, length: float
) -> None:
    async def caller(edgegap: EdgegapSession, until: float) -> None:
        while now() < until:
            with suppress(EdgegapError):
                await call(edgegap)
            await asyncio.sleep(0.05)

    simulator = Simulator(
        enforcement="off", delay_before=(0.005, 0.03), delay_after=(0.005, 0.03)
    )
    async with (
        simulator,
        session(simulator.url, attempt_timeout=1.0) as edgegap,
    ):
        end = now() + 5 + length
        # The stall delays recovery by no more than its own length, or two seconds.
        recovered = end + max(2.0, length) + BACK
        callers = [
            asyncio.ensure_future(caller(edgegap, recovered + 3.5)) for _ in range(40)
        ]
        await asyncio.sleep(5)
        simulator.stall(length)
        await asyncio.sleep(recovered - now())
        by_then = simulator.arrivals(name)
        await asyncio.sleep(3)
        rate = edgegap.usage()[name].rate
        assert rate is not None
        assert simulator.arrivals(name) - by_then >= 0.65 * 3 * rate
        await asyncio.gather(*callers)
        assert simulator.busiest_second(name) <= rate


def given_up(slots: Slots, loop: Loop, sent: float, when: float) -> None:
    assert slots.take(sent, loop)
    slots.start(loop)
    slots.given_up(when, sent, loop)


@pytest.mark.parametrize(
    ("round_trip", "back_after"),
    # A request may be on its way for as long as the longest round trip, from 0.25 to
    # 2 s, and then counts for a second.
    [(0.0, 1.252), (1.5, 2.502), (30.0, 3.002)],
)
@pytest.mark.parametrize("later", [0.1, 5.0])
def test_a_slot_is_back_a_period_after_the_answer_to_a_later_request(
    round_trip: float, back_after: float, later: float
) -> None:
    cool, answer_cool = 50 + back_after, 50 + later + BACK
    back = max(cool, answer_cool)
    for when, count in (
        (back - 0.001, 8 if answer_cool >= cool else 9),
        (back + 0.001, 10),
    ):
        slots, (loop, _) = shared(10, 2)
        assert slots.take(0.0, loop)
        slots.start(loop)
        slots.answered(40.0, 40.0 - round_trip, loop)
        given_up(slots, loop, 50.0, 50.0)
        assert use(slots, loop, 50.0 + later)
        assert [use(slots, loop, when) for _ in range(11)] == [True] * count + [
            False
        ] * (11 - count)


def test_an_answer_to_an_earlier_request_resolves_no_doubt() -> None:
    slots, (loop, _) = shared(10, 2)
    assert slots.take(0.0, loop)
    slots.start(loop)
    given_up(slots, loop, 1.0, 1.5)
    slots.answered(2.0, 0.0, loop)
    assert slots.in_use_until(9.0) == inf
    assert use(slots, loop, 10.0)
    assert slots.in_use_until(10.0) == 10.0 + BACK


def test_probes_become_rarer_and_end_the_doubt() -> None:
    slots, (loop, _) = shared(20, 2)
    for number in range(15):
        given_up(slots, loop, number / 100, 1.0)
    probes = []
    for tenth in range(10, 400):
        if slots.probe(tenth / 10, loop, newcomer=True):
            slots.start(loop)
            slots.given_up(tenth / 10, tenth / 10, loop)
            probes.append(tenth / 10)
    assert probes == [2.0, 4.0, 8.0, 16.0, 24.0, 32.0]
    # A call that has waited leaves the probe to newcomers for a moment.
    assert slots.wait(39.9, loop) == 40.0 + NEWCOMERS_FIRST
    assert not slots.probe(40.0, loop, newcomer=False)
    assert slots.probe(40.0, loop, newcomer=True)
    slots.start(loop)
    slots.answered(40.0, 40.0, loop)
    assert not slots.take(40.5, loop)
    assert [use(slots, loop, 40.0 + BACK) for _ in range(21)] == [True] * 20 + [False]


def test_a_doubt_ends_after_a_minute_without_any_answer() -> None:
    slots, (loop, _) = shared(10, 2)
    for number in range(7):
        given_up(slots, loop, number / 100, 1.0)
    assert slots.in_use_until(50.0) == inf
    assert slots.in_use_until(1.0 + LONGEST_STALL) <= 1.0 + LONGEST_STALL
    assert [use(slots, loop, 62.0) for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.parametrize("answered", [True, False])
def test_a_probe_that_is_on_its_way_keeps_the_slot_it_took(answered: bool) -> None:
    slots, (loop, _) = shared(1, 2)
    given_up(slots, loop, 0.0, 0.0)
    assert slots.probe(1.3, loop, newcomer=True)
    slots.start(loop)
    assert not slots.probe(9.0, loop, newcomer=True)
    assert slots.wait(9.0, loop) == inf
    if answered:
        slots.answered(9.0, 1.3, loop)
        assert [use(slots, loop, 9.0 + BACK) for _ in range(2)] == [True, False]
    else:
        slots.given_up(9.0, 1.3, loop)
        cool = 9.0 + BACK + 0.25
        assert slots.wait(9.0, loop) == pytest.approx(cool + NEWCOMERS_FIRST)
        assert not slots.probe(cool - 0.01, loop, newcomer=True)
        assert slots.probe(cool + 0.01, loop, newcomer=True)


def test_with_fewer_slots_than_before_a_probe_waits_for_more_requests_in_doubt() -> (
    None
):
    slots, (loop, _) = shared(4, 2)
    for sent in (0.0, 2.0, 4.0):
        given_up(slots, loop, sent, sent)
    slots.change(Limit("deploy", 2), early_return=False)
    cool = 2.0 + BACK + 0.25
    assert not slots.probe(cool - 0.01, loop, newcomer=True)
    assert slots.probe(cool + 0.01, loop, newcomer=True)
    slots.start(loop)
    assert not slots.probe(4.0 + BACK, loop, newcomer=True)
    assert slots.probe(8.0, loop, newcomer=True)
    slots.start(loop)
    assert not slots.probe(60.0, loop, newcomer=True)


@pytest.mark.parametrize("rate", [1, 2, 3, 10, 40])
def test_few_slots_are_never_stuck(rate: int) -> None:
    async def two_calls() -> float:
        limiter = made(rate)
        for _ in range(rate):
            start = now()
            await slot(limiter)
            limiter.given_up(start)
        began = now()
        await slot(limiter)
        limiter.answered(now())
        return now() - began

    assert run(two_calls()) <= 8.501


@pytest.mark.slow
@plans
@given(
    st.integers(10, 14),
    st.floats(1.0, 13.0),
    st.lists(moments(2.0).map(lambda seconds: seconds + 0.02), min_size=4, max_size=30),
    moments(0.1),
)
def test_no_stall_makes_a_second_see_more_than_the_limit(
    rate: int, stall: float, patience: list[float], way: float
) -> None:
    """Callers without end, each with its own patience. All that is on its way during
    the stall arrives at its end.
    """
    arrivals = list[float]()

    async def caller(limiter: object, patient: float, start: float) -> None:
        while now() < start + 5 + 2 * stall:
            await slot(limiter)
            sent = now()
            arrives = sent + way
            if start + 3 <= arrives < start + 3 + stall:
                arrives = start + 3 + stall
            arrivals.append(arrives)
            takes = arrives + way - sent
            await asyncio.sleep(min(takes, patient))
            if takes <= patient:
                limiter.answered(sent)
            else:
                limiter.given_up(sent)

    async def all_of_them() -> None:
        limiter, start = made(rate), now()
        await asyncio.gather(*(caller(limiter, each, start) for each in patience))

    run(all_of_them())
    assert busiest_second(sorted(arrivals)) <= rate


async def test_connections_that_the_server_closes_leave_no_doubt() -> None:
    async with scripted(
        *[CUT] * 40, answer(), retry=Retry(tries=1), limits=Limits(burst=20)
    ) as (edgegap, server):
        calls = [edgegap.deployments.status("c065", timeout=None) for _ in range(60)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(each, EdgegapError) for each in ended) == 40
        # Without an answer, a slot comes back 0.25 s later.
        assert server.times[-1] <= 2 * (BACK + 0.25) + 0.1
        assert busiest_second(server.times) <= 20
