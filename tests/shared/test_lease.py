"""When a tenant may use its tokens, and how much of a limit it uses without a lease."""

from math import inf

import pytest

from edgegap_async._shared import lease as leases
from edgegap_async._shared.clock import ROUND_TRIP
from edgegap_async._shared.lease import (
    AWAKE,
    FIRST,
    PATIENCE,
    SETTLE,
    Lease,
    fallback_of,
)
from edgegap_async._shared.tokens import SHORTEST_PERIOD

RATE, DOUBT, SECONDS = 40.0, 0.25, 5.0
# Seconds from the sending of a beat until tokens are not used any more.
USED = SECONDS - SHORTEST_PERIOD - DOUBT


@pytest.fixture(autouse=True)
def first_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn of a tenant is drawn by lot."""
    monkeypatch.setattr(leases, "random", lambda: 0.5)


def leased(
    at: float = 0.0, *, tenants: int = 4, fallback: float | None = None
) -> Lease:
    lease = Lease(SECONDS, fallback)
    answer(lease, at, tenants)
    return lease


def answer(lease: Lease, at: float, tenants: int = 4) -> None:
    lease.asked(at)
    lease.answered(at, at, doubt=DOUBT, tenants=tenants)


def fail(lease: Lease, since: float, until: float) -> None:
    """Ask again and again, without an answer."""
    while since <= until:
        lease.asked(since)
        since += 0.25


def test_tokens_are_used_until_their_last_use_has_cooled_when_the_lease_ends() -> None:
    lease = leased()
    assert lease.stop_at == USED
    assert lease.usable(USED - 0.01, 33, RATE) == 33
    assert lease.usable(USED, 33, RATE) == 0
    assert lease.mode(USED) == "waiting"


def test_a_lease_counts_from_the_sending_of_the_beat() -> None:
    lease = Lease(SECONDS, None)
    lease.asked(10.0)
    lease.answered(10.9, 10.0, doubt=DOUBT, tenants=1)
    assert lease.stop_at == pytest.approx(10.0 + USED)


def test_a_new_tenant_uses_nothing_for_a_moment_and_then_its_fallback() -> None:
    lease = Lease(SECONDS, None)
    assert lease.usable(0.0, 0, RATE) == 0
    lease.asked(0.0)
    assert lease.usable(FIRST - 0.01, 0, RATE) == 0
    # There may be four tenants, which use half of the limit.
    assert lease.usable(FIRST, 0, RATE) == 5
    assert lease.mode(FIRST) == "alone"
    assert lease.next_change(0.0, RATE) == FIRST


def test_without_an_answer_the_lease_is_used_first_and_then_what_was_owned() -> None:
    others_end = 0.25 + ROUND_TRIP + SECONDS
    for owned, alone in ((40, 5), (3, 3), (0, 0)):
        lease = leased()
        fail(lease, 0.25, 3.6)
        assert lease.usable(USED - 0.01, owned, RATE) == owned
        assert lease.usable(USED, owned, RATE) == alone
        fail(lease, 3.8, others_end)
        assert lease.usable(others_end - 0.01, owned, RATE) == alone
        assert lease.usable(others_end, owned, RATE) == 5


def test_a_lease_that_ends_while_an_answer_is_due_ends_in_no_fallback_at_once() -> None:
    lease = leased()
    lease.asked(USED - 0.01)
    assert lease.usable(USED, 40, RATE) == 0
    assert lease.usable(USED - 0.01 + PATIENCE, 40, RATE) == 5


def test_only_the_first_beat_without_an_answer_counts() -> None:
    lease = Lease(SECONDS, None)
    lease.asked(0.0)
    lease.asked(0.9)
    assert lease.mode(FIRST) == "alone"
    answer(lease, 2.0)
    lease.asked(8.0)
    assert lease.mode(8.0 + FIRST - 0.01) == "waiting"


def test_a_process_that_was_stopped_asks_before_it_uses_its_fallback() -> None:
    lease = Lease(SECONDS, None)
    lease.asked(0.0)
    assert lease.mode(AWAKE - 0.01) == "alone"
    assert lease.mode(AWAKE) == "waiting"
    assert lease.usable(AWAKE, 9, RATE) == 0
    lease.asked(AWAKE + 7.0)
    assert lease.mode(AWAKE + 7.0 + FIRST - 0.01) == "waiting"
    assert lease.mode(AWAKE + 7.0 + FIRST) == "alone"


def test_after_the_fallback_no_more_than_it_is_used_for_a_moment() -> None:
    lease = Lease(SECONDS, None)
    lease.asked(0.0)
    answer(lease, 1.5, tenants=4)
    assert lease.mode(1.5) == "settling"
    assert lease.usable(1.5, 40, RATE) == 5
    assert lease.usable(1.5, 3, RATE) == 3
    assert lease.next_change(1.5, RATE) == 1.5 + SETTLE
    assert lease.usable(1.5 + SETTLE, 40, RATE) == 40


def test_an_answer_that_comes_before_the_fallback_needs_no_pause() -> None:
    lease = Lease(SECONDS, None)
    lease.asked(0.0)
    answer(lease, FIRST - 0.01)
    assert lease.mode(FIRST) == "leased"


def test_without_a_fallback_calls_wait_and_nobody_has_to_settle() -> None:
    lease = leased(fallback=0.0)
    lease.asked(0.25)
    for at in (USED, 100.0):
        lease.asked(at)
        assert lease.usable(at, 40, RATE) == 0
    answer(lease, 101.0)
    assert lease.usable(101.0, 40, RATE) == 40


def test_a_given_fallback_is_a_part_of_each_limit() -> None:
    lease = Lease(SECONDS, 0.1)
    lease.asked(0.0)
    assert lease.usable(FIRST, 0, RATE) == 4
    assert lease.usable(FIRST, 0, 200.0) == 20


def test_all_fallbacks_together_are_half_of_the_limit() -> None:
    lease = leased(tenants=10)
    assert lease.fallback(RATE).rate * 10 == pytest.approx(RATE / 2)


def test_tenants_that_were_there_a_moment_ago_count_in_the_fallback() -> None:
    lease = leased(tenants=10)
    # A ledger that was flushed gets to know them one by one.
    for at in (0.3, 0.6, 4.9, 5.0, 9.9):
        answer(lease, at, tenants=1)
        assert lease.tenants == 10
    answer(lease, 10.1, tenants=1)
    assert lease.tenants == 1
    assert lease.members == 1


def test_a_new_tenant_does_not_believe_that_it_is_nearly_alone() -> None:
    lease = leased(tenants=1)
    assert lease.tenants == 4
    answer(lease, 10.1, tenants=1)
    assert lease.tenants == 1


@pytest.mark.parametrize(
    ("rate", "part", "slots", "period"),
    [
        (40.0, 1 / 8, 5, 1.0),
        (40.0, 1.0, 40, 1.0),
        (10.0, 1 / 8, 1, 1.0),
        (10.0, 1 / 16, 1, 1.6),
        (10.0, 1 / 32, 1, 3.2),
        (0.5, 1 / 8, 1, 16.0),
        (15.0, 1 / 10, 1, 1.0),
        (25.0, 1 / 10, 2, 1.0),
    ],
)
def test_below_one_token_its_period_is_longer_and_nothing_is_rounded_up(
    rate: float, part: float, slots: int, period: float
) -> None:
    fallback = fallback_of(rate, part)
    assert (fallback.slots, fallback.period) == (slots, pytest.approx(period + 0.002))
    assert fallback.slots / (fallback.period - 0.002) <= rate * part + 1e-9


def test_tenants_without_a_whole_token_do_not_begin_at_the_same_time() -> None:
    lease = leased(tenants=16)
    fail(lease, 0.25, USED)
    period = 3.2 + 0.002
    assert lease.usable(USED + 0.5 * period - 0.1, 1, 10.0) == 0
    fail(lease, USED, USED + 0.5 * period)
    assert lease.usable(USED + 0.5 * period, 1, 10.0) == 1
    assert lease.usable(USED + 0.5 * period, 0, 10.0) == 0
    begins = 0.25 + ROUND_TRIP + SECONDS + 0.5 * period
    fail(lease, USED + 0.5 * period, begins)
    assert lease.usable(begins, 0, 10.0) == 1


def test_a_tenant_that_has_left_has_no_fallback_until_it_asks() -> None:
    lease = leased()
    lease.asked(0.25)
    lease.end()
    assert lease.alone_at == inf
    for at in (0.3, 9.0):
        assert lease.usable(at, 9, RATE) == 0
        assert lease.next_change(at, RATE) == inf
