"""Slots that several event loops share. The tests pass the time, so nothing waits."""

import tracemalloc
from math import inf
from random import Random
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import busiest_second, plans

from edgegap_async._limits.measurements import (
    MOST_TIMES,
    PEAK,
    Traffic,
    most_in_a_second,
)
from edgegap_async._limits.refusals import Lately
from edgegap_async._limits.slots import OFFER, Held, Slots, Taker
from edgegap_async.endpoints import Limit

# Seconds from an answer until its slot is back.
BACK = 1.002


class Loop:
    """A taker that counts how often it was woken."""

    def __init__(self, slots: Slots) -> None:
        self.held, self.place, self.woken = Held(), ref[Taker](self), 0
        slots.join(self)

    def wake(self) -> None:
        self.woken += 1

    def waiting_since(self) -> float | None:
        return None


def shared(rate: float, loops: int) -> tuple[Slots, list[Loop]]:
    slots = Slots(Limit("deploy", rate))
    return slots, [Loop(slots) for _ in range(loops)]


def use(slots: Slots, loop: Loop, now: float) -> bool:
    """Take a slot, and return it as if the answer came at once."""
    if not slots.take(now, loop):
        return False
    slots.start(loop)
    slots.answered(now, now, loop)
    return True


def test_slots_that_come_back_go_round_the_loops_that_wait() -> None:
    slots, loops = shared(6, 3)
    for place in range(6):
        assert use(slots, loops[0], place * 0.1)
    order = []
    for place in range(6):
        now = BACK + place * 0.1 + 0.001
        for each in loops:
            slots.wait(now, each)
        # The last loop always looks first.
        served = [loop for loop in reversed(loops) if use(slots, loop, now)]
        assert len(served) == 1
        slots.leave(served[0])
        order.append(loops.index(served[0]))
    assert order == [0, 1, 2, 0, 1, 2]


def test_a_newcomer_does_not_overtake_a_loop_that_waits() -> None:
    slots, (waiting, newcomer) = shared(1, 2)
    assert use(slots, waiting, 0.0)
    slots.wait(0.5, waiting)
    assert not slots.take(BACK, newcomer)
    assert slots.take(BACK, waiting)


def test_a_loop_that_misses_its_turn_delays_the_others_once() -> None:
    slots, (blocked, other) = shared(2, 2)
    assert use(slots, other, 0.0)
    assert use(slots, other, 0.0)
    slots.wait(0.1, blocked)
    slots.wait(0.1, other)
    assert slots.take(BACK, other)
    assert not slots.take(BACK, other)
    assert slots.wait(BACK, other) == pytest.approx(BACK + OFFER)
    assert slots.take(BACK + OFFER, other)
    for _ in range(2):
        slots.start(other)
        slots.answered(BACK + OFFER, BACK, other)
    # The blocked loop has lost its place, until it looks again.
    assert slots.take(2 * BACK + OFFER + 0.001, other)


def test_a_loop_that_is_gone_holds_up_nobody() -> None:
    slots, loops = shared(1, 2)
    gone, other = loops
    assert use(slots, other, 0.0)
    slots.wait(0.1, gone)
    del gone, loops
    slots.wait(0.1, other)
    assert slots.take(BACK + OFFER, other) or slots.take(BACK + 2 * OFFER, other)


def test_loops_that_wait_are_woken_when_a_slot_is_back_sooner_than_known() -> None:
    slots, (one, other) = shared(1, 2)
    assert slots.take(0.0, one)
    slots.start(one)
    # In flight, so no time is known at which its slot comes back.
    assert slots.wait(0.0, other) == inf
    slots.answered(3.0, 0.0, one)
    assert other.woken == 1
    assert slots.wait(3.0, other) == 3.0 + BACK
    slots.wait(3.0, one)
    assert slots.take(3.0 + BACK, other)
    woken = one.woken
    slots.put_back(other)
    assert one.woken == woken + 1


def test_what_an_ended_loop_holds_comes_back_once() -> None:
    slots, (ended, other) = shared(4, 2)
    for _ in range(3):
        assert slots.take(0.0, ended)
    slots.start(ended)
    slots.abandon(ended.held)
    slots.abandon(ended.held)
    assert not slots.take(0.5, other)
    # Reported by a finalizer, long after.
    slots.given_up(2.0, 0.0, ended)
    assert slots.in_flight == 0
    # The answer to a later request shows that they are not on their way any more.
    assert not slots.take(10.0, other)
    assert slots.probe(10.0, other, newcomer=True)
    slots.start(other)
    slots.answered(10.0, 10.0, other)
    taken = [use(slots, other, 10.0 + BACK) for _ in range(5)]
    assert taken == [True, True, True, True, False]


def test_what_an_ended_loop_holds_is_not_in_flight_any_more() -> None:
    slots, (ended, other) = shared(4, 2)
    for loop in (ended, ended, other):
        assert slots.take(0.0, loop)
        slots.start(loop)
    assert slots.in_flight == 3
    slots.abandon(ended.held)
    assert slots.in_flight == 1
    # Reported by a finalizer, before anybody takes a slot again.
    slots.given_up(1.0, 0.0, ended)
    slots.answered(1.0, 0.0, other)
    assert slots.in_flight == 0


def test_a_slot_that_a_call_of_an_ended_loop_puts_back_comes_back_once() -> None:
    slots, (ended, other) = shared(1, 2)
    # The call that took it waits for the shaper.
    assert slots.take(0.0, ended)
    slots.abandon(ended.held)
    assert not slots.take(0.5, other)
    # The collector ends it, long after.
    slots.put_back(ended)
    assert not slots.take(1.0, other)
    # It can't arrive any more: no request with this slot was sent.
    taken = [use(slots, other, 100.0) for _ in range(2)]
    assert taken == [True, False]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 15).map(lambda steps: steps / 50),
        st.sampled_from(
            ["answered", "answered", "given up", "never sent", "abandoned"]
        ),
        st.integers(0, 20).map(lambda steps: steps / 50),
    ),
    min_size=10,
    max_size=80,
)


@pytest.mark.slow
@plans
@given(STEPS, st.integers(2, 5))
def test_no_second_sees_more_than_the_limit_however_many_loops_send(
    steps: list[tuple[int, float, str, float]], rate: int
) -> None:
    """Each step: which loop, seconds before it, how a request ends, and after how long.

    The server counts a request halfway. A request that is given up arrives up to 0.2 s
    later.
    """
    slots, loops = shared(rate, 3)
    now, arrivals = 0.0, list[float]()
    ends: list[tuple[float, int, int, str, float]] = []
    for number, (which, pause, end, length) in enumerate(steps):
        now += pause
        for each in sorted(due for due in ends if due[0] <= now):
            ends.remove(each)
            when, _, loop, how, sent = each
            if how == "answered":
                slots.answered(when, sent, loops[loop])
            elif how == "given up":
                slots.given_up(when, sent, loops[loop])
            elif how == "never sent":
                slots.never_sent(loops[loop])
        if end == "abandoned":
            if not any(due[2] == which for due in ends):
                continue
            ends = [due for due in ends if due[2] != which]
            slots.abandon(loops[which].held)
            loops[which] = Loop(slots)
        elif slots.take(now, loops[which]):
            slots.start(loops[which])
            ends.append((now + length, number, which, end, now))
            if end != "never sent":
                late = length + 0.2 if end == "given up" else length / 2
                arrivals.append(now + late)
        else:
            slots.wait(now, loops[which])
    assert busiest_second(sorted(arrivals)) <= rate


def test_the_busiest_second_counts_requests_by_the_time_they_were_sent() -> None:
    traffic = Traffic()
    for sent in (5.0, 5.9, 4.95, 0.0, 6.2, 5.94):
        traffic.ended(6.3, sent, refused=False)
    # From 4.95 on: 4.95, 5, 5.9 and 5.94.
    assert traffic.busiest_second() == 4
    # A request that was sent among them ends much later.
    traffic.ended(25.1, 25.0, refused=True)
    traffic.ended(25.1, 5.5, refused=None)
    assert traffic.busiest_second() == 5


def test_the_busiest_second_keeps_a_bounded_number_of_times() -> None:
    traffic = Traffic()
    for number in range(100_000):
        now = number / 2048
        traffic.ended(now, now, refused=False)
    assert traffic.busiest_second() == 2048
    assert len(vars(traffic)["_sent"]) <= MOST_TIMES


@pytest.mark.parametrize("refused", [False, True, None])
def test_traffic_keeps_a_bounded_number_of_answers(refused: bool | None) -> None:
    """A process that shares its limits reports refusals, and asks for no `lately`."""
    traffic = Traffic()
    tracemalloc.start()
    try:
        for second in range(10_000):
            traffic.ended(float(second), float(second), refused=refused)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two lists of a thousand times: 64 bytes for each request.
    assert kept < 70_000


def test_the_most_in_a_second_is_counted_whatever_the_order() -> None:
    assert most_in_a_second([]) == 0
    # A second has its start, not its end.
    assert most_in_a_second([0.0, 0.5, 1.0]) == 2
    made = Random(1)
    times = [made.uniform(0, 5) for _ in range(200)]
    by_hand = max(sum(at <= time < at + 1 for time in times) for at in times)
    assert most_in_a_second(times) == by_hand


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([True, False, None])), max_size=80
    )
)
def test_what_was_answered_lately_is_counted_as_by_hand(
    steps: list[tuple[int, bool | None]],
) -> None:
    """Times are in eighths of a second, so some are a second apart."""
    traffic, now = Traffic(), 0
    ended: list[tuple[int, bool | None]] = []
    for wait, refused in steps:
        now += wait // 4
        ended.append((now, refused))
        traffic.ended(now / 8, now / 8, refused=refused)
    admitted = [when for when, refused in ended if refused is False]
    recent = [when for when in admitted if when > admitted[-1] - 8 * PEAK]
    last = [when for when in recent if when > now - 8]
    assert traffic.lately(now / 8) == Lately(
        admitted=len(last),
        refused=sum(when > now - 8 for when, refused in ended if refused),
        span=(now - last[0]) / 8 if last else 0.0,
        peak=max(
            (sum(end - 8 < when <= end for when in recent) for end in recent), default=0
        ),
    )
    sent = [when for when, _ in ended]
    assert traffic.busiest_second() == max(
        (sum(end - 8 < when <= end for when in sent) for end in sent), default=0
    )


def test_a_peak_is_kept_until_a_further_request_is_admitted() -> None:
    """With a slow limit, and after a long hold, nothing was admitted for seconds."""
    traffic = Traffic()
    for when in (0.0, 0.5, 10.0, 10.5, 10.7):
        traffic.ended(when, when, refused=False)
    traffic.ended(20.0, 20.0, refused=True)
    assert traffic.lately(20.0) == Lately(admitted=0, refused=1, span=0.0, peak=3)
    traffic.ended(30.0, 30.0, refused=False)
    assert traffic.lately(30.0).peak == 1


def test_without_a_limit_a_refusal_costs_no_look_at_the_answers_before() -> None:
    """There may be thousands of answers and refusals per second."""
    slots = Slots(Limit("deploy", None))
    loop = Loop(slots)
    for number in range(8000):
        assert use(slots, loop, number / 4000)
    assert slots.take(2.0, loop)
    slots.start(loop)
    tracemalloc.start()
    try:
        slots.answered(2.0, 2.0, loop, refused=True, retry_after=1.0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000
    assert slots.traffic.refused == 1
    assert slots.not_before < 2


REPORTS = ("answered", "refused", "given up", "closed", "never sent")
EVENTS = ("take", "take", "send", *REPORTS, "put back", "abandoned")


class Calls:
    """The calls on one loop, and how each event begins one, goes on with it or ends it.
    After the end of a loop, its calls only report what they held.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots, self.loop = slots, Loop(slots)
        self._taken, self._over = 0, False
        self._sent: list[float] = []

    def on(self, name: str, now: float) -> None:
        slots, loop = self._slots, self.loop
        if name == "take":
            self._taken += not self._over and slots.take(now, loop)
        elif name == "abandoned":
            self._over = True
            slots.abandon(loop.held)
        elif name == "put back" and self._taken:
            self._taken -= 1
            slots.put_back(loop)
        elif name == "send" and self._taken and not self._over:
            self._taken -= 1
            slots.start(loop)
            self._sent.append(now)
        elif name in REPORTS and self._sent:
            self._end(name, now, self._sent.pop(0))

    def _end(self, name: str, now: float, sent: float) -> None:
        slots, loop = self._slots, self.loop
        if name == "never sent":
            slots.never_sent(loop)
        elif name in ("given up", "closed"):
            slots.given_up(now, sent, loop, closed=name == "closed")
        else:
            slots.answered(now, sent, loop, refused=name == "refused")


@pytest.mark.parametrize("seed", range(3))
def test_each_slot_is_held_comes_back_or_is_in_doubt(seed: int) -> None:
    """No slot is counted twice, and none is lost, whatever the loops report."""
    chance = Random(seed)
    for _ in range(300):
        slots = Slots(Limit("deploy", 4))
        calls, now = [Calls(slots), Calls(slots)], 0.0
        for _ in range(40):
            now += chance.choice([0.0, 0.01, 0.3, 1.5])
            chance.choice(calls).on(chance.choice(EVENTS), now)
            held = [each.loop.held for each in calls]
            assert min(each.taken for each in held) >= 0
            assert min(each.in_flight for each in held) >= 0
            coming_back = len(slots._doubt.requests) + len(slots._returns)
            assert slots._in_use == sum(each.taken for each in held) + coming_back
            assert 0 <= slots._in_use <= 4
        # The slots of all requests come back, at the latest after the longest stall.
        for each in calls:
            slots.abandon(each.loop.held)
        slots.in_use_until(now)
        other = Loop(slots)
        taken = sum(slots.take(now + 100, other) for _ in range(9))
        assert slots._in_use == taken >= 1
