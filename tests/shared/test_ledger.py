"""The rules of the shared ledger: who owns how many tokens, and when they are cool."""

import pytest
from support.ledger_reports import DOUBT, HOT, LEASE, NAME, PERIOD, Ledger

from edgegap_async._shared import state as states
from edgegap_async._shared.ledger import BUSY, IDLE, LISTEN, reply_to, step
from edgegap_async._shared.messages import Received


def test_a_new_ledger_makes_all_tokens_after_it_has_listened() -> None:
    ledger = Ledger(listened=False)
    assert ledger.beat("a", lease_left=None, foreground=40).owned == 0
    ledger.pass_time(LISTEN - 0.01)
    assert ledger.beat("a", foreground=40).owned == 0
    ledger.pass_time(0.02)
    reply = ledger.beat("a", foreground=40)
    assert reply.owned == 40
    # A quarter at once, and then a little faster than the rate.
    assert reply.cools[:10] == (0.0,) * 10
    gaps = [
        later - sooner
        for sooner, later in zip(reply.cools[9:], reply.cools[10:], strict=False)
    ]
    assert gaps == pytest.approx([1 / 44] * 30)


def test_a_single_tenant_gets_all_that_it_wants() -> None:
    ledger = Ledger()
    reply = ledger.beat("a", foreground=25)
    assert (reply.owned, reply.cools, reply.owes) == (25, (0.0,) * 25, 0)
    assert (reply.rate, reply.slots, reply.period) == (40, 40, PERIOD)
    assert ledger.owned == {"a": 25}
    assert len(ledger.limit.pool) == 15


def test_a_tenant_that_has_more_than_its_share_owes_the_rest() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    assert ledger.beat("b", foreground=40).owned == 0
    assert ledger.beat("a", foreground=40).owes == 20
    ledger.beat("a", foreground=40, keeps=20, given=(0.4,) * 20, all_given=20)
    reply = ledger.beat("b", foreground=40)
    assert reply.owned == 20
    assert reply.cools == pytest.approx((0.4,) * 20)


def test_a_token_travels_while_it_cools() -> None:
    ledger = Ledger(rate=1)
    ledger.beat("a", foreground=1)
    ledger.beat("a", keeps=0, given=(0.9,), all_given=1)
    ledger.pass_time(0.4)
    assert ledger.beat("b", foreground=1).cools == pytest.approx((0.5,))


def test_the_coolest_tokens_are_given_first() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4)
    ledger.beat("b")
    ledger.beat("c")
    ledger.beat("a", keeps=0, given=(0.9, 0.1, 0.5, 0.3), all_given=4)
    assert ledger.owned == {"a": 0, "b": 0, "c": 0}
    assert ledger.beat("b", foreground=2).cools == pytest.approx((0.1, 0.3))


def test_a_grant_that_was_never_received_comes_back_hot() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4)
    # It does not know of them.
    reply = ledger.beat("a", keeps=0)
    assert [*reply.cools, *ledger.cools] == pytest.approx([HOT] * 4)


def test_tokens_given_in_a_beat_whose_reply_was_lost_count_once() -> None:
    ledger = Ledger(rate=6)
    ledger.beat("a", foreground=6)
    ledger.beat("a", keeps=4, given=(0.0, 0.0), all_given=2, foreground=4)
    # It repeats them, and gives a third one that is hotter.
    ledger.beat("a", keeps=3, given=(0.0, 0.0, 0.8), all_given=3, foreground=3)
    assert ledger.cools == [0.0, 0.0, 0.8]


def test_a_grant_that_was_never_received_is_not_taken_for_tokens_given_before() -> None:
    ledger = Ledger(rate=6)
    ledger.beat("a", foreground=6)
    given = {"given": (0.0, 0.0), "all_given": 2}
    ledger.beat("a", keeps=4, foreground=4, **given)
    # This reply is lost.
    assert ledger.beat("a", keeps=4, foreground=6, **given).owned == 6
    ledger.beat("a", keeps=4, foreground=4, **given)
    assert ledger.cools == [HOT] * 2


def test_if_fewer_tokens_come_back_than_were_given_they_are_the_hottest() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=2)
    ledger.beat("a", keeps=1, given=(0.2, 0.7), all_given=2, foreground=1)
    assert ledger.cools == [0.0, 0.0, 0.7]


def test_a_tenant_without_a_lease_owns_what_the_ledger_knows() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4)
    # It has lost count in its fallback.
    reply = ledger.beat("a", lease_left=None, foreground=4, keeps=1)
    assert (reply.owned, reply.cools) == (4, ())
    # With a lease, it would get the others anew.
    assert len(ledger.beat("a", foreground=4, keeps=1).cools) == 3


def test_a_tenant_that_says_it_keeps_more_than_it_owns_is_corrected() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=10)
    assert ledger.beat("a", foreground=10, keeps=30).owned == 10


def test_the_tokens_of_a_tenant_whose_lease_has_ended_are_cool() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    for _ in range(9):
        ledger.pass_time(LEASE / 10)
        assert ledger.beat("b", foreground=40).owned == 0
    ledger.pass_time(LEASE / 10)
    assert ledger.beat("b", foreground=40).cools == (0.0,) * 40
    assert ledger.owned == {"b": 40}


def test_with_a_period_of_several_seconds_they_still_cool_for_the_rest_of_it() -> None:
    ledger = Ledger(rate=0.25, listened=False)
    ledger.beat("a", lease_left=None, foreground=1)
    for _ in range(8):
        ledger.pass_time(0.9)
        ledger.beat("a", foreground=1)
    assert ledger.owned == {"a": 1}
    for _ in range(6):
        ledger.pass_time(0.9)
        ledger.beat("b", lease_left=None)
    assert ledger.owned == {"b": 0}
    assert 2 < ledger.cools[0] <= 3


def test_a_tenant_that_leaves_gives_all_back_and_is_forgotten() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4)
    # The last one is in flight.
    reply = ledger.beat(
        "a", keeps=1, given=(0.1, 0.2, 0.3), all_given=3, bye=True, foreground=4
    )
    assert reply.owned == 1
    assert ledger.owned == {}
    assert ledger.cools == [0.1, 0.2, 0.3, HOT]


def test_a_limit_that_is_not_reported_any_more_is_given_back() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4, limits=(NAME, "list"))
    ledger.fold(ledger.report("a", limits=("list",), keeps=0))
    assert ledger.owned == {}
    assert ledger.cools == [HOT] * 4


def test_a_doubt_of_another_tenant_counts_for_tokens_of_unknown_history() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("far", doubt=2.0)
    ledger.beat("a", foreground=4)
    assert ledger.beat("a", keeps=0, foreground=0).hot == pytest.approx(PERIOD + 2)
    assert ledger.cools[-1] == PERIOD + 2


# Outdated reports


def test_a_report_that_was_overtaken_is_ignored() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    late = ledger.report("a", keeps=0, foreground=0)
    ledger.beat("a", foreground=40)
    before = ledger.owned
    assert ledger.fold(late) == {}
    assert ledger.owned == before == {"a": 40}


def test_a_report_that_is_older_than_its_lease_is_ignored() -> None:
    ledger = Ledger(rate=10, listened=False)
    old = ledger.report("a", keeps=10, lease_left=1.0)
    ledger.pass_time(1.1)
    assert ledger.fold(old, at=ledger.clock - 1.1) == {}
    assert ledger.fold(old, at=ledger.clock - 0.9)["a"].limits[NAME].owned == 10


def test_the_reply_to_a_report_that_another_process_has_folded_is_found() -> None:
    ledger = Ledger()
    mine, other = ledger.report("a", foreground=3), ledger.report("b", foreground=3)
    replies = ledger.fold(mine, other)
    assert ledger.state is not None
    assert reply_to(ledger.state, mine) == replies["a"]
    assert reply_to(ledger.state, other) == replies["b"]
    assert reply_to(ledger.state, ledger.report("a")) is None
    assert reply_to(ledger.state, ledger.report("c")) is None


# Listening


def test_what_tenants_keep_is_believed_after_the_state_was_lost() -> None:
    ledger = Ledger(listened=False)
    assert ledger.beat("a", keeps=25, in_use=5).owned == 25
    assert ledger.beat("b", lease_left=None, keeps=9, in_use=3).owned == 3
    # Together, they never have more than there are.
    assert ledger.beat("c", keeps=20).owned == 12
    assert ledger.owned == {"a": 25, "b": 3, "c": 12}


def test_if_a_tenant_has_a_lease_from_before_the_ledger_listens_a_whole_lease() -> None:
    ledger = Ledger(listened=False)
    ledger.beat("a", keeps=1, in_use=1, foreground=40)
    for _ in range(9):
        ledger.pass_time(LEASE / 10)
        assert ledger.beat("a", foreground=40).owned == 1
    assert ledger.beat("late", keeps=39).owned == 39
    ledger.pass_time(LEASE / 10)
    ledger.beat("late", keeps=0)
    assert ledger.beat("a", foreground=40).owned == 40


def test_no_token_moves_while_the_ledger_listens() -> None:
    ledger = Ledger(listened=False)
    assert ledger.beat("a", keeps=40, foreground=40).owes == 0
    assert ledger.beat("b", keeps=0, foreground=40).owned == 0
    assert ledger.beat("a", keeps=40, foreground=40).owes == 0
    ledger.beat("a", keeps=20, given=(0.0,) * 20, all_given=20)
    ledger.pass_time(0.5)
    assert ledger.beat("b", keeps=0, foreground=40).owned == 0


def test_tokens_made_after_the_state_was_lost_may_have_been_used_until_then() -> None:
    ledger = Ledger(rate=0.2, listened=False)
    ledger.beat("a", lease_left=None, foreground=1)
    ledger.pass_time(2.0)
    # The period is 5 seconds.
    assert ledger.beat("a", foreground=1).cools == pytest.approx((3.0 + 0.002 + DOUBT,))


def test_a_limit_that_is_used_for_the_first_time_has_cool_tokens() -> None:
    ledger = Ledger()
    reply = ledger.fold(ledger.report("a", foreground=1, limits=("list",)))
    assert reply["a"].limits["list"].cools == (0.0,) * 10


def test_tokens_that_are_made_again_are_hot() -> None:
    ledger = Ledger(rate=40)
    ledger.beat("a", foreground=40, rate=10)
    assert len(ledger.limit.pool) == 0
    assert ledger.owned == {"a": 10}
    reply = ledger.beat("a", foreground=40, rate=40)
    assert reply.owned == 40
    assert min(reply.cools) == pytest.approx(HOT)


def test_tokens_that_are_too_many_are_destroyed_the_hottest_first() -> None:
    ledger = Ledger(rate=4)
    ledger.beat("a", foreground=4)
    ledger.beat("a", keeps=0, given=(0.1, 0.2, 0.3, 0.4), all_given=4)
    ledger.beat("b", rate=2, foreground=0)
    assert ledger.owned == {"a": 1, "b": 0}
    assert ledger.cools == [0.2]


# The clock


def test_a_clock_that_is_set_forward_ends_no_lease_and_cools_no_token() -> None:
    for change in (1.3, 3.0, 59.0, 3600.0, 1e8):
        ledger = Ledger(rate=4)
        ledger.beat("a", foreground=4)
        ledger.beat("a", keeps=2, given=(0.5, 0.9), all_given=2, foreground=2)
        ledger.clock += change
        ledger.beat("b")
        assert ledger.owned["a"] == 2
        assert min([*ledger.cools, 9]) >= 0.5
        assert sum(ledger.owned.values()) + len(ledger.limit.pool) == 4


def test_a_clock_that_is_set_back_stands_still_and_then_goes_on() -> None:
    for change in (0.3, 3.0, 3600.0, 1e8):
        ledger = Ledger()
        ledger.beat("a", foreground=40)
        ledger.clock -= change
        ledger.beat("b", foreground=40)
        assert ledger.owned == {"a": 40, "b": 0}
        for _ in range(11):
            ledger.pass_time(LEASE / 10)
            ledger.beat("b", foreground=40)
        assert ledger.owned == {"b": 40}


@pytest.mark.parametrize("change", [-3600.0, -3.0, 4.0, 3600.0])
def test_after_an_outage_the_whole_pool_is_hot(change: float) -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=10)
    ledger.clock += change
    # Some may have sent requests within their fallback.
    assert ledger.beat("b", foreground=30).cools == pytest.approx((HOT,) * 30)


@pytest.mark.parametrize("change", [-0.5, 0.9, 1.5])
def test_after_a_short_pause_the_pool_is_as_cool_as_before(change: float) -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=10)
    ledger.clock += change
    assert ledger.beat("b", foreground=30).cools == (0.0,) * 30


def test_without_tenants_time_passes_however_long_it_is() -> None:
    ledger = Ledger(rate=2)
    ledger.beat("a", foreground=2)
    ledger.beat("a", bye=True, keeps=0, given=(0.9, 0.9), all_given=2)
    ledger.clock += 1e6
    assert ledger.beat("b", foreground=2).cools == (0.0, 0.0)


# The next beat


def test_a_busy_tenant_beats_more_often_than_an_idle_one() -> None:
    ledger = Ledger()
    idle, busy = ledger.report("idle"), ledger.report("busy", foreground=30)
    replies = ledger.fold(idle, busy)
    assert (replies["idle"].next_beat, replies["busy"].next_beat) == (IDLE, BUSY)


def test_among_many_tenants_each_beats_less_often() -> None:
    ledger = Ledger()
    busy = [ledger.report(f"busy-{number}", foreground=30) for number in range(64)]
    replies = ledger.fold(*busy)
    assert replies["busy-63"].tenants == 64
    assert BUSY < replies["busy-39"].next_beat < replies["busy-63"].next_beat == IDLE


def test_while_the_ledger_listens_the_next_beat_is_due_soon_after_the_end() -> None:
    ledger = Ledger(listened=False)
    ledger.beat("a", lease_left=None)
    ledger.pass_time(LISTEN - 0.1)
    reply = ledger.fold(ledger.report("a"))["a"]
    assert 0.1 < reply.next_beat < 0.11


# Purity


def test_the_given_state_is_left_as_it_is() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    ledger.beat("a", foreground=40, keeps=20, given=(0.1,) * 20, all_given=20)
    before = ledger.state
    assert before is not None
    encoded = states.encode(before)
    report = ledger.report("b", foreground=40)
    first = step(before, [Received(report, ledger.clock)], ledger.clock + 0.5)
    assert states.encode(before) == encoded
    again = step(before, [Received(report, ledger.clock)], ledger.clock + 0.5)
    assert states.encode(first[0]) == states.encode(again[0]) != encoded
    assert first[1] == again[1]


def test_without_reports_only_time_passes() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    assert ledger.state is not None
    for _ in range(6):
        ledger.pass_time(0.9)
        assert ledger.fold() == {}
    assert ledger.owned == {}
    assert len(ledger.limit.pool) == 40


def test_the_order_in_which_tenants_came_decides_nothing() -> None:
    for names in (("a", "b", "c"), ("b", "c", "a")):
        ledger = Ledger(rate=9)
        wants = {"a": 0, "b": 0, "c": 8}
        ledger.fold(*[ledger.report(name, foreground=wants[name]) for name in names])
        replies = ledger.fold(*[ledger.report(n, foreground=wants[n]) for n in names])
        # One token is left as a reserve.
        fair = {name: replies[name].limits[NAME].fair for name in "abc"}
        assert fair == {"a": 1, "b": 0, "c": 8}
