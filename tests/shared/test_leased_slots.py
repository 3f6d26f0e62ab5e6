"""The slots of one limit, over the tokens that a process owns: they come and go."""

from math import inf
from typing import Any
from weakref import ref

import pytest

from edgegap_async._limits.queue import PriorityQueue
from edgegap_async._limits.slots import Held
from edgegap_async._shared.lease import FIRST, Lease
from edgegap_async._shared.leased_slots import (
    KEEP,
    STOPPED,
    WHY_ALONE,
    LeasedRate,
    LeasedSlots,
)
from edgegap_async._shared.messages import LimitReply, LimitReport
from edgegap_async.endpoints import Limit

PERIOD, GRAIN = 1.002, 0.002


class Loop:
    """A taker, and the calls that wait there."""

    def __init__(self) -> None:
        self.held, self.place = Held(), ref(self)
        self.queue, self.woken = PriorityQueue(), 0
        self.since: float | None = None

    def wake(self) -> None:
        self.woken += 1

    def waiting_since(self) -> float | None:
        return self.since


class Owner:
    """The slots of a process with a lease of a minute, and what the ledger says."""

    def __init__(self, rate: float = 40, *, early_return: bool = False) -> None:
        self.lease = Lease(60.0, None)
        self.beats = 0
        self.slots = LeasedSlots(
            Limit("deploy", rate), self.lease, self._beat, early_return=early_return
        )
        self.loop = Loop()
        self.slots.join(self.loop)
        self.renew(0.0)

    def _beat(self) -> None:
        self.beats += 1

    def renew(self, now: float) -> None:
        self.lease.asked(now)
        self.lease.answered(now, now, doubt=0.25, tenants=1)

    def report(self, now: float, **more: Any) -> LimitReport:
        given = {"has_lease": True, "leaving": False, **more}
        return self.slots.report(now, **given)

    def learn(self, now: float, *cools: float, **more: Any) -> None:
        owned = self.slots.leased.owned + len(cools)
        reply: dict[str, Any] = {
            "owned": owned,
            "cools": cools,
            "owes": 0,
            "hold": 0.0,
            "rate": 40.0,
            "slots": 40,
            "period": PERIOD,
            "hot": 1.3,
            "adapted": False,
            "fair": float(owned),
            **more,
        }
        self.slots.learn(LimitReply(**reply), now)

    def take(self, now: float) -> bool:
        if not self.slots.take(now, self.loop):
            return False
        self.slots.start(self.loop)
        return True

    def use(self, now: float, answered: float | None = None, **more: Any) -> None:
        """Use a token; it cools from the answer on."""
        assert self.take(now)
        at = now if answered is None else answered
        self.slots.answered(at, now, self.loop, **more)


def test_as_many_requests_are_sent_as_tokens_are_owned() -> None:
    owner = Owner()
    assert not owner.take(0.0)
    owner.learn(0.0, 0.0, 0.0)
    assert [owner.take(0.0) for _ in range(3)] == [True, True, False]


def test_the_even_pace_of_a_process_is_that_of_its_fair_share() -> None:
    owner = Owner()
    owner.learn(0.0, fair=2.5)
    assert owner.slots.leased.spacing(0.0) == pytest.approx(PERIOD / 2.5)
    # Before it has any.
    owner.learn(0.0, fair=0.0)
    assert owner.slots.leased.spacing(0.0) == PERIOD
    assert LeasedRate(Limit("deploy", 40), Lease(60.0, 0.0)).spacing(0.0) > 0


@pytest.mark.parametrize(
    ("fallback", "seconds"), [(1.0, 1 / 40), (0.25, 1 / 10), (0.0, inf)]
)
def test_the_even_pace_of_a_process_alone_is_that_of_its_fallback(
    fallback: float, seconds: float
) -> None:
    lease = Lease(60.0, fallback)
    lease.asked(0.0)
    rate = LeasedRate(Limit("deploy", 40), lease)
    assert rate.spacing(FIRST) == seconds


def test_a_gained_token_is_used_when_it_is_cool() -> None:
    owner = Owner()
    owner.learn(0.0, 0.4)
    assert not owner.take(0.4)
    assert owner.slots.wait(0.1, owner.loop) == pytest.approx(0.4 + GRAIN)
    assert owner.take(0.4 + GRAIN)


def far_away(owner: Owner) -> None:
    """Let the process learn that each answer takes 0.3 s."""
    owner.learn(0.0, *[0.0] * 40)
    at = 0.0
    for _ in range(400):
        owner.use(at, at + 0.3)
        at += 0.05
    owner.renew(at)


def test_a_gained_token_never_comes_back_early() -> None:
    owner = Owner(early_return=True)
    far_away(owner)
    early = owner.slots.round_trips.early
    assert early == pytest.approx(0.9 * 0.29)
    now = 40.0
    owner.slots.forget()
    owner.learn(now, 0.4)
    assert not owner.take(now + 0.4 - 0.01)
    assert owner.take(now + 0.4 + GRAIN)


def test_a_token_that_is_free_only_because_of_the_own_long_way_is_told_as_hot() -> None:
    owner = Owner(early_return=True)
    far_away(owner)
    owner.learn(40.0, owes=40)
    told = owner.report(40.0)
    assert told.keeps == 0
    assert told.given == pytest.approx([owner.slots.round_trips.early] * 40)


def test_free_tokens_are_given_first_and_then_those_that_are_cool_last() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 4)
    owner.use(0.1)
    owner.use(0.3)
    assert owner.take(0.4)
    owner.learn(0.5, owes=2)
    told = owner.report(0.5)
    assert told.given == pytest.approx((0.0, 0.3 + PERIOD - 0.5))
    assert (told.keeps, told.all_given, told.in_use) == (2, 2, 2)


def test_a_token_in_flight_is_never_given() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0, 0.0)
    assert owner.take(0.1)
    owner.use(0.1)
    owner.learn(0.5, owes=3)
    told = owner.report(0.5)
    assert (told.keeps, len(told.given)) == (1, 2)
    owner.learn(0.6, owes=1)
    assert owner.report(0.6).given == ()


def test_a_request_that_was_given_up_keeps_its_token_here() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0)
    assert owner.take(0.1)
    owner.slots.given_up(0.2, 0.1, owner.loop)
    owner.learn(0.5, owes=2)
    assert owner.report(0.5).keeps == 1


def test_without_tokens_no_probe_is_sent() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0)
    assert owner.take(0.1)
    owner.slots.given_up(0.2, 0.1, owner.loop)
    owner.slots.forget()
    assert not owner.slots.probe(30.0, owner.loop, newcomer=True)


def in_doubt(owner: Owner, *sent: float) -> None:
    """Send requests that are given up at once."""
    for when in sent:
        assert owner.take(when)
        owner.slots.given_up(when, when, owner.loop)


def test_a_token_that_still_cools_is_not_used_for_a_probe() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0)
    in_doubt(owner, 0.1)
    # The ledger has given its token to others, and gives it two hot ones.
    owner.slots.forget()
    owner.learn(4.0, 0.9, 0.9)
    assert not owner.slots.probe(4.0, owner.loop, newcomer=True)
    assert owner.slots.wait(4.0, owner.loop) == pytest.approx(4.9 + GRAIN)
    assert owner.take(4.9 + GRAIN)


@pytest.mark.parametrize("doubts", [2, 5])
def test_a_probe_uses_no_token_of_another_process(doubts: int) -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 8)
    in_doubt(owner, *[float(number) for number in range(doubts)])
    last = doubts - 1.0
    owner.slots.forget()
    owner.learn(last, 0.0)
    # The one token that it owns may be in use until the last request has arrived.
    cool = last + PERIOD + 0.25
    assert not owner.slots.probe(cool - 0.01, owner.loop, newcomer=True)
    assert owner.slots.probe(cool, owner.loop, newcomer=True)
    owner.slots.start(owner.loop)
    # And then until the probe has, or would have.
    assert not owner.slots.probe(cool + 9.0, owner.loop, newcomer=True)
    owner.slots.given_up(cool + 9.0, cool, owner.loop)
    assert not owner.slots.probe(cool + 10.2, owner.loop, newcomer=True)
    assert owner.slots.probe(cool + 10.3, owner.loop, newcomer=True)


def test_while_calls_wait_each_token_is_used_once_before_it_goes_on() -> None:
    owner = Owner()
    owner.loop.queue.waiting["foreground"] = 5
    owner.learn(0.0, 0.0, 0.0, 0.0, owes=3)
    assert owner.report(0.1).keeps == 3
    owner.use(0.1)
    owner.learn(0.2, owes=3)
    assert owner.report(0.2).keeps == 2
    # Without calls that wait, it goes at once.
    owner.loop.queue.waiting["foreground"] = 0
    owner.learn(0.3, owes=3)
    assert owner.report(0.3).keeps == 0


def test_given_tokens_are_told_until_a_beat_is_answered() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0, owes=1)
    assert owner.report(0.1).given == (0.0,)
    assert owner.report(0.4).given == (0.0,)
    owner.learn(0.5)
    told = owner.report(0.6)
    assert (told.given, told.all_given) == ((), 1)


def test_tokens_of_a_reply_that_never_arrived_are_hot() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0)
    owner.learn(0.1, 0.0, owned=4, hot=1.3)
    assert [owner.take(0.1) for _ in range(3)] == [True, True, False]
    assert not owner.take(1.4)
    assert owner.take(1.41)


def test_tokens_that_the_ledger_has_taken_are_not_used_any_more() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 4)
    owner.learn(0.1, owned=1)
    assert [owner.take(0.1) for _ in range(2)] == [True, False]


def test_what_was_used_in_the_last_second_is_wanted() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 10)
    for _ in range(8):
        owner.use(0.1)
    assert owner.report(0.2).foreground == 8
    assert owner.report(0.4).foreground == 8


def test_a_process_that_has_stopped_sending_wants_nothing_but_a_token() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 10)
    for _ in range(8):
        owner.use(0.1)
    owner.report(0.1)
    stopped = 0.1 + STOPPED / 8 * PERIOD
    assert owner.report(stopped - 0.01).foreground == 8
    assert owner.report(stopped + 0.01).foreground == 1
    assert owner.report(0.1 + KEEP + 0.01).foreground == 0


def test_with_few_tokens_for_many_processes_none_is_kept_for_the_next_call() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0)
    owner.use(0.1)
    owner.lease.answered(0.2, 0.2, doubt=0.25, tenants=21)
    assert owner.report(0.2).foreground == 1
    owner.report(1.2)
    assert owner.report(1.3).foreground == 0


def test_calls_that_wait_are_wanted_up_to_the_limit() -> None:
    owner = Owner()
    owner.loop.queue.waiting.update(foreground=7, background=3)
    told = owner.report(0.1)
    assert (told.foreground, told.background) == (7, 3)
    owner.loop.queue.waiting["foreground"] = 700
    assert owner.report(0.2).foreground == 40


def test_the_part_of_the_background_is_that_of_its_turns() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 20)
    owner.report(0.0)
    for number in range(20):
        owner.use(0.9)
        owner.loop.queue.turns["background"] += number % 4 == 0
    told = owner.report(1.01)
    assert (told.foreground, told.background) == (15, 5)


def test_a_call_without_a_token_asks_for_a_beat_once() -> None:
    owner = Owner()
    owner.loop.queue.waiting["foreground"] = 1
    assert not owner.take(0.1)
    assert owner.beats == 1
    owner.report(0.2)
    assert not owner.take(0.3)
    # The ledger knows.
    assert owner.beats == 1
    owner.loop.queue.waiting["foreground"] = 2
    assert not owner.take(0.3)
    assert owner.beats == 2


def test_a_refusal_is_told_at_once_and_until_a_beat_is_answered() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0)
    owner.use(0.0, 0.1, refused=True, retry_after=2.0)
    assert owner.beats == 1
    first = owner.report(0.2).answers
    assert first.refusals[0].sent_ago == pytest.approx(0.2)
    assert first.refusals[0].retry_after == pytest.approx(1.9)
    owner.use(0.2, 0.3, refused=True)
    owner.learn(0.4)
    again = owner.report(0.5).answers
    assert [each.sent_ago for each in again.refusals] == pytest.approx([0.3])
    assert (first.all_refused, again.all_refused, again.refused) == (1, 2, 2)


def test_a_hold_of_the_ledger_stops_all_calls() -> None:
    owner = Owner()
    owner.learn(1.0, 0.0, hold=1.5)
    assert owner.slots.not_before == 2.5


def test_alone_retry_after_is_obeyed_without_the_ledger() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0)
    owner.lease.end()
    owner.lease.asked(10.0)
    owner.use(11.0, 11.1, refused=True, retry_after=3.0)
    assert owner.slots.not_before == pytest.approx(14.1)


def test_answers_are_counted_for_the_ledger() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 5)
    for at in (0.1, 0.2, 1.3):
        owner.use(at)
    answers = owner.report(1.4).answers
    assert (answers.admitted, answers.all_admitted) == (1, 3)
    assert answers.span == pytest.approx(0.1)


def test_calls_that_wait_before_any_token_came_show_no_limit() -> None:
    owner = Owner()
    owner.loop.since = 1.0
    assert owner.report(5.0).answers.waiting == 0.0
    owner.learn(6.0, 0.0)
    assert owner.report(6.5).answers.waiting == pytest.approx(0.5)
    owner.loop.since = 6.2
    assert owner.report(6.5).answers.waiting == pytest.approx(0.3)
    owner.loop.since = None
    assert owner.report(6.6).answers.waiting == 0.0


def test_if_the_limit_is_lower_the_pace_is_that_of_the_fair_share() -> None:
    owner = Owner()
    rate = owner.slots.leased
    assert (rate.burst, rate.refill(0.0)) == (10, pytest.approx(44))
    owner.learn(0.0, rate=25.0, slots=25, adapted=True, fair=5.0)
    assert (rate.burst, rate.refill(0.0)) == (1, pytest.approx(5.5))
    assert rate.why(0.0) == "429: the server admits less than the limit"
    assert rate.rate(0.0) == 25


def test_usage_says_what_is_owned() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0, fair=7.5)
    assert owner.slots.shared_usage(0.1) == (2, 7.5, 1, "leased")
    owner.lease.end()
    owner.slots.forget()
    assert owner.slots.shared_usage(0.1) == (0, 7.5, 1, "asleep")
    owner.lease.asked(1.0)
    assert owner.slots.shared_usage(2.5)[-1] == "alone"
    assert owner.slots.leased.why(2.5) == WHY_ALONE
    assert owner.slots.leased.rate(2.5) == pytest.approx(5.0)


def test_other_limits_keep_what_is_owned_and_counted() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 20)
    owner.use(0.1)
    owner.slots.change(Limit("deploy", 10), early_return=False)
    told = owner.report(0.2)
    assert (told.rate, told.keeps, told.answers.all_admitted) == (10, 20, 1)


def test_a_lapsed_lease_forgets_what_was_given() -> None:
    owner = Owner()
    owner.learn(0.0, 0.0, 0.0, owes=1)
    owner.report(0.1)
    told = owner.report(80.0, has_lease=False)
    assert (told.given, told.all_given) == ((), 1)


def test_a_process_that_leaves_gives_all_but_what_is_in_flight() -> None:
    owner = Owner()
    owner.learn(0.0, *[0.0] * 4)
    assert owner.take(0.1)
    told = owner.report(0.2, leaving=True)
    assert (told.keeps, len(told.given), told.foreground) == (1, 3, 0)
