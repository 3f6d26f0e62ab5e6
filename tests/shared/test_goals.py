"""Each tenant has its fair share: max-min fairness, in whole tokens that take turns."""

from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger_reports import Ledger
from support.max_min import fair_share

from edgegap_async._shared.goals import fair_shares, max_min, whole_goals
from edgegap_async._shared.state import LimitState, Share

SLOTS = st.integers(1, 60)
WANTS = st.lists(st.integers(0, 60), min_size=1, max_size=12).map(
    lambda wants: {f"tenant-{number}": want for number, want in enumerate(wants)}
)


def shares_of(
    foreground: dict[str, int], background: dict[str, int] | None = None
) -> dict[str, Share]:
    return {
        tenant: Share(foreground=want, background=(background or {}).get(tenant, 0))
        for tenant, want in foreground.items()
    }


@settings(max_examples=40)
@given(WANTS, st.floats(0, 100))
def test_an_amount_is_divided_as_the_definition_says(
    wants: dict[str, int], amount: float
) -> None:
    assert max_min(wants, amount) == pytest.approx(fair_share(wants, amount), abs=1e-6)


@settings(max_examples=40)
@given(WANTS, SLOTS)
def test_nobody_gets_less_than_a_fair_share_of_the_foreground(
    wants: dict[str, int], slots: int
) -> None:
    capped = {tenant: min(want, slots) for tenant, want in wants.items()}
    model = fair_share(capped, slots)
    fair = fair_shares(shares_of(wants), slots)
    assert sum(fair.values()) <= slots + 1e-6
    for tenant, amount in fair.items():
        # Whoever wants less may have a reserve.
        assert amount >= model[tenant] - 1e-6
        if model[tenant] < capped[tenant]:
            assert amount == pytest.approx(model[tenant])


@settings(max_examples=40)
@given(WANTS, WANTS, SLOTS)
def test_goals_are_the_fair_shares_in_whole_tokens(
    front: dict[str, int], back: dict[str, int], slots: int
) -> None:
    shares = shares_of(front, back)
    fair = fair_shares(shares, slots)
    goals = whole_goals(LimitState(), shares, fair, 0.0)
    assert sum(goals.values()) == floor(sum(fair.values()) + 1e-6) <= slots
    for tenant, goal in goals.items():
        assert floor(fair[tenant] + 1e-6) <= goal <= ceil(fair[tenant] - 1e-6)


def test_the_background_has_a_tenth_of_the_slots_if_it_wants_it() -> None:
    front, back = {"a": 40, "b": 0}, {"b": 40}
    assert fair_shares(shares_of(front, back), 40) == {"a": 36, "b": 4}
    assert fair_shares(shares_of(front, {"b": 1}), 40) == {"a": 39, "b": 1}
    assert fair_shares(shares_of(front), 40) == {"a": 40, "b": 0}


def test_the_background_has_all_that_the_foreground_leaves() -> None:
    assert fair_shares(shares_of({"a": 10, "b": 0}, {"b": 40}), 40) == {
        "a": 10,
        "b": 30,
    }
    assert fair_shares(shares_of({"a": 0, "b": 0}, {"a": 40, "b": 40}), 40) == {
        "a": 20,
        "b": 20,
    }


def test_what_nobody_wants_is_a_small_reserve_for_each() -> None:
    assert fair_shares(shares_of({"a": 0, "b": 0}), 40) == {"a": 5, "b": 5}
    assert fair_shares(shares_of({"a": 37, "b": 0}), 40) == {"a": 37, "b": 3}
    # There are too few tokens for reserves.
    assert fair_shares(shares_of({"a": 0, "b": 0}), 3) == {"a": 0, "b": 0}


def served(
    slots: int, wants: dict[str, int], seconds: int
) -> tuple[dict[str, float], dict[str, float], int]:
    """Let tenants beat four times a second, each in its turn.

    Returns:
        Tokens times seconds of each tenant, the longest time in which it owned none, and
        how often a token changed its owner.
    """
    ledger = Ledger(rate=slots)
    owed = dict.fromkeys(wants, 0)
    given = dict.fromkeys(wants, 0)
    had, empty, longest = (dict.fromkeys(wants, 0.0) for _ in range(3))
    moved = 0
    for _ in range(4 * seconds):
        for tenant, want in wants.items():
            ledger.clock += 0.25 / len(wants)
            known = ledger.state and tenant in ledger.state.tenants
            owned = ledger.share(tenant).owned if known else 0
            gives = min(owed[tenant], owned)
            given[tenant] += gives
            reply = ledger.beat(
                tenant,
                foreground=want,
                keeps=owned - gives,
                given=(0.0,) * gives,
                all_given=given[tenant],
            )
            owed[tenant] = reply.owes
            moved += len(reply.cools)
        for tenant, owned in ledger.owned.items():
            had[tenant] += owned / 4
            empty[tenant] = 0.0 if owned else empty[tenant] + 0.25
            longest[tenant] = max(longest[tenant], empty[tenant])
    return had, longest, moved


def test_tenants_take_turns_if_there_are_fewer_tokens_than_tenants() -> None:
    wants = {f"tenant-{number:02}": 3 for number in range(8)}
    had, longest, moved = served(5, wants, 20)
    assert sum(had.values()) >= 0.85 * 5 * 20
    assert min(had.values()) >= 0.85 * sum(had.values()) / 8
    assert max(longest.values()) <= 5
    # A token stays for a while, as it can't be used on its way.
    assert 10 <= moved <= 80


def test_a_fraction_goes_round_among_those_who_want_it() -> None:
    had, _, _ = served(10, {"a": 10, "b": 10, "c": 10, "d": 2}, 30)
    assert min(had[name] for name in "abc") >= 0.9 * 30 * 8 / 3
    assert had["d"] == pytest.approx(2 * 30, rel=0.05)


def test_a_tenant_saves_no_credit_while_it_wants_nothing() -> None:
    limit, shares = LimitState(), shares_of({"a": 5, "b": 5, "c": 0})
    # The other tokens are on their way.
    shares["a"].owned = 1
    for second in range(8):
        whole_goals(limit, shares, fair_shares(shares, 5), second)
    assert shares["b"].credit > 1 > 0 == shares["c"].credit
    assert shares["a"].credit == -shares["b"].credit
    shares["b"].foreground = 0
    whole_goals(limit, shares, fair_shares(shares, 5), 9)
    assert shares["b"].credit == 0


def test_credits_are_limited() -> None:
    limit, shares = LimitState(), shares_of({"a": 40, "b": 40})
    shares["a"].owned = 40
    for second in range(60):
        whole_goals(limit, shares, fair_shares(shares, 40), second)
    assert (shares["a"].credit, shares["b"].credit) == (-10, 10)


def test_after_an_equal_credit_the_one_without_a_token_for_longest_is_next() -> None:
    shares = shares_of({"a": 1, "b": 1, "c": 1})
    shares["a"].had_one_at, shares["b"].had_one_at, shares["c"].had_one_at = 3, 1, 2
    fair = fair_shares(shares, 1)
    assert whole_goals(LimitState(), shares, fair, 9.0) == {"a": 0, "b": 1, "c": 0}
    shares["c"].owned = 1
    assert whole_goals(LimitState(), shares, fair, 9.0) == {"a": 0, "b": 0, "c": 1}
    assert shares["c"].had_one_at == 9
