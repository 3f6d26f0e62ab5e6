"""The adaptive rate as pure code: it sees sums over a second, and can be stored.

`test_adaptive.py` has the same over sockets.
"""

import random
from collections import deque
from statistics import mean

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegap_async._limits.adaptive import Adaptation, AdaptiveRate
from edgegap_async._limits.refusals import LEAST, MOST, Lately, Refusals
from edgegap_async.endpoints import Limit
from edgegap_async.simulator.rate_limits import admission_rule

LIMIT = Limit("deploy", 40.0)
# Seconds between two reports of the processes to their ledger.
BEAT = 0.25


def stored(rate: AdaptiveRate) -> AdaptiveRate:
    """Write what was learned, and read it again."""
    state, refusals = (
        msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=type(each))
        for each in (rate.state, rate.refusals)
    )
    return AdaptiveRate(LIMIT, state, refusals)


def ledger(
    real: float, sporadic: float, seconds: float, seed: int
) -> tuple[float, int]:
    """Let a ledger adapt the rate of all its processes together, from sums alone.

    Returns:
        The share of the real limit that is reached in the second half, and refusals.
    """
    rate, chance = AdaptiveRate(LIMIT), random.Random(seed)
    rule = admission_rule("sliding-window", real)
    times: deque[tuple[float, bool]] = deque()
    reached = refused = 0
    due, peak = 0.0, 0.0
    for beat in range(int(seconds / BEAT)):
        start = beat * BEAT
        answers: list[bool] = []
        while due < start + BEAT:
            answers.append(chance.random() >= sporadic and rule.admits(due))
            times.append((due, answers[-1]))
            due += 1 / rate.rate(due)
        now = start + BEAT
        while times and times[0][0] <= now - 1:
            times.popleft()
        admitted = sum(good for _, good in times)
        peak = max(admitted, peak - BEAT)
        first = next((when for when, good in times if good), now)
        lately = Lately(admitted, len(times) - admitted, now - first, peak)
        for good in answers:
            if good:
                rate.admitted(now)
            else:
                rate.refused(now, now - 0.1, lately, saturated=True)
        refused += answers.count(False)
        reached += sum(answers) if start >= seconds / 2 else 0
        rate = stored(rate)
    return reached / (real * seconds / 2), refused


@pytest.mark.parametrize(
    ("real", "sporadic", "share", "refusals"),
    [
        (25, 0.0, 0.93, 80),
        (10, 0.0, 0.85, 120),
        (40, 0.01, 0.94, 70),
        (40, 0.03, 0.9, 200),
        (25, 0.01, 0.9, 120),
    ],
)
def test_a_ledger_adapts_the_rate_of_all_processes_from_sums(
    real: float, sporadic: float, share: float, refusals: int
) -> None:
    # One run may be unlucky with the sporadic refusals.
    runs = [
        ledger(real, sporadic, 120, seed) for seed in range(1, 6 if sporadic else 2)
    ]
    assert mean(reached for reached, _ in runs) >= share
    assert mean(refused for _, refused in runs) <= refusals


ANSWERS = st.lists(
    st.tuples(
        st.floats(0.0, 2.0),
        st.booleans(),
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from([0, 0, 1, 20]),
        st.booleans(),
    ),
    max_size=60,
)


@given(ANSWERS, st.sampled_from([0.5, 1.0, 3.0, 10.0, 40.0, None]))
def test_the_rate_stays_within_its_bounds(
    answers: list[tuple[float, bool, int, int, int, bool]], limit: float | None
) -> None:
    rate, now = AdaptiveRate(Limit("deploy", limit)), 1000.0
    for pause, good, admitted, refused, peak, saturated in answers:
        now += pause
        before = rate.rate(now)
        if good and rate.adapted:
            rate.admitted(now)
        if not good:
            lately = Lately(admitted, refused + 1, 0.9, max(admitted, peak))
            verdict = rate.refused(now, now - 0.1, lately, saturated=saturated)
            assert 0 <= verdict.hold < 1
        if limit is None:
            continue
        assert limit / 40 <= rate.rate(now) <= max(before, limit / 40)
        assert 1 <= rate.slots(now) <= rate.most_slots
        assert rate.period(now) >= 1
        assert rate.slots(now) / rate.period(now) <= max(1.0, rate.rate(now) + 1)
        assert LEAST <= rate.refusals.sporadic <= MOST
        # It only grows until the next 429, and never above the limit.
        later = [rate.rate(now + seconds) for seconds in range(0, 300, 10)]
        assert later == sorted(later)
        assert later[-1] == limit
        # The most hopeful wait is never longer than the real one.
        wait = rate.soonest(now, 50)
        assert rate.refill(now + wait) * wait <= 50 + 1e-6


def test_a_server_that_refuses_everything_slows_the_rate_down() -> None:
    rate = AdaptiveRate(Limit("deploy", 5.0))
    for tenth in range(30):
        now = 1000 + tenth / 10
        rate.refused(now, now, Lately(0, 2, 0.0, 0), saturated=True)
    assert 5 / 40 <= rate.rate(1003.0) < 4


def test_the_share_of_sporadic_refusals_is_learned_below_the_limit() -> None:
    refusals, chance = Refusals(), random.Random(3)
    assert refusals.sporadic == pytest.approx(1 / 300)
    for _ in range(1500):
        refusals.add(refused=chance.random() < 0.03, below=True, full=False)
    refusals.believe()
    assert refusals.known
    assert refusals.sporadic == pytest.approx(0.03, abs=0.01)
    # So as many refusals are no evidence for a limit.
    shown = 0
    for _ in range(1500):
        refusals.add(refused=chance.random() < 0.03, below=False, full=False)
        shown += refusals.shows_limit(near_full=False, found_before=False)
    assert shown == 0


def test_refusals_below_the_limit_that_are_too_many_are_not_believed() -> None:
    refusals = Refusals()
    for number in range(120):
        refusals.add(refused=number % 6 == 0, below=True, full=False)
    assert refusals.shows_limit(near_full=False, found_before=False)
    refusals.start_again()
    assert refusals.sporadic == pytest.approx(1 / 300)


def at_the_limit(share: float, seed: int) -> tuple[Refusals, bool]:
    """Return what 2000 answers at the documented rate show, and whether a limit."""
    refusals, chance = Refusals(), random.Random(seed)
    for _ in range(2000):
        refusals.add(refused=chance.random() < share, below=False, full=True)
        if refusals.shows_limit(near_full=True, found_before=False):
            return refusals, True
    return refusals, False


@pytest.mark.parametrize("share", [0.005, 0.01])
def test_sporadic_refusals_are_learned_at_the_documented_rate(share: float) -> None:
    runs = [at_the_limit(share, seed) for seed in range(40)]
    learned = [refusals.sporadic for refusals, limit in runs if not limit]
    # In the others, a limit was found before that by chance.
    assert len(learned) >= 20
    assert sum(learned) / len(learned) == pytest.approx(share, rel=0.35)
    # It takes answers clearly below a limit to be sure.
    assert not any(refusals.known for refusals, _ in runs)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_limit_just_below_the_documented_rate_is_not_taken_for_sporadic_refusals(
    share: float,
) -> None:
    assert all(at_the_limit(share, seed)[1] for seed in range(40))


@pytest.mark.parametrize(("peak", "believed"), [(36, True), (27, False), (20, False)])
def test_refusals_are_believed_only_if_the_limit_turns_out_to_be_higher(
    peak: int, believed: bool
) -> None:
    rate, now = AdaptiveRate(LIMIT), 1000.0
    for refused in range(1, 5):
        now += 0.1
        rate.refused(now, now, Lately(30, refused, 1.0, 40), saturated=True)
    below = rate.state.below
    assert 0 < below < 31
    for _ in range(100):
        rate.admitted(now + 1)
    # Long enough after the cut for the rate to be above that limit.
    now += 8
    assert rate.rate(now) > below
    while rate.state.below == below:
        rate.refused(now, now, Lately(peak - 2, 2, 1.0, peak), saturated=True)
    assert (rate.refusals.answers == 100) is believed


def test_sporadic_refusals_without_load_are_counted_too() -> None:
    rate, chance = AdaptiveRate(LIMIT), random.Random(5)
    for number in range(4000):
        now = 1000 + number / 5
        if chance.random() < 0.01:
            rate.refused(now, now, Lately(4, 1, 0.9, 6), saturated=False)
        elif rate.adapted:
            rate.admitted(now)
    assert rate.rate(now) == 40
    assert rate.refusals.sporadic == pytest.approx(0.01, abs=0.004)


def test_a_stored_rate_goes_on_as_before() -> None:
    rate = AdaptiveRate(LIMIT)
    for refused in range(1, 5):
        rate.refused(5.0, 4.9, Lately(20, refused, 0.5, 20), saturated=True)
    again = stored(rate)
    assert isinstance(again.state, Adaptation)
    for now in (5.0, 6.0, 20.0, 60.0):
        assert again.rate(now) == rate.rate(now)
        assert again.slots(now) == rate.slots(now)
    assert (again.adapted, again.burst) == (True, 1)
