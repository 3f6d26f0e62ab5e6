"""Who answers for which entries: one owner at a time, and nobody is claimed who may live."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from edgegap_async._shared.owners import (
    LONGEST_GAP,
    REMEMBERED,
    RENEWALS,
    Owner,
    Owners,
    advance,
    claim,
    decode,
    encode,
    forget,
    leave,
    remove,
    renew,
)
from edgegap_async._shared.store import StoreError

LEASE = 60.0


def owner(**values: object) -> Owner:
    return Owner("host", 1, LEASE, 30.0, **values)  # type: ignore[arg-type]


def run(owners: Owners, seconds: float, *alive: str) -> None:
    """Let time pass, in which these owners renew in time."""
    until = owners.clock + seconds
    while owners.clock < until:
        advance(owners, min(owners.clock + LEASE / RENEWALS, until), LEASE)
        for name in alive:
            assert renew(owners, name, owner())


@pytest.fixture
def owners() -> Owners:
    """Two owners, long after the store was made."""
    owners = advance(None, 1000.0, LEASE)
    assert renew(owners, "a", owner())
    assert renew(owners, "b", owner())
    run(owners, 2 * LEASE, "a", "b")
    return owners


def test_an_owner_is_claimed_after_one_lease_without_a_renewal(owners: Owners) -> None:
    run(owners, LEASE - 0.1, "a")
    assert claim(owners, "a") == {}
    run(owners, 0.2, "a")
    assert [*claim(owners, "a")] == ["b"]
    assert not renew(owners, "b", owner())
    # Once.
    assert claim(owners, "c") == {}


def test_the_claimer_is_claimed_like_any_owner(owners: Owners) -> None:
    run(owners, LEASE, "a")
    before = claim(owners, "a")["b"]
    assert (before.epoch, before.holder) == (1, "")
    held = owner(epoch=2, holder="a")
    run(owners, LEASE / 2, "a")
    assert renew(owners, "b", held)
    assert renew(owners, "c", owner())
    run(owners, 1.01 * LEASE, "c")
    assert {*claim(owners, "c")} == {"a", "b"}
    assert owners.owners["b"].epoch == 3
    assert not renew(owners, "b", held)


def test_nobody_is_claimed_within_a_lease_after_the_store_was_away(
    owners: Owners,
) -> None:
    # One of them could have been dead soon.
    run(owners, LEASE / 2, "a")
    advance(owners, owners.clock + 10 * LEASE, LEASE)
    renew(owners, "a", owner())
    assert claim(owners, "a") == {}
    run(owners, LEASE - 0.1, "a")
    assert claim(owners, "a") == {}
    run(owners, 0.2, "a")
    assert [*claim(owners, "a")] == ["b"]


@pytest.mark.parametrize("old", [1.0, 5.0, 600.0])
def test_a_dead_owner_is_claimed_though_the_lease_was_changed_since(old: float) -> None:
    owners = advance(None, 1000.0, old)
    renew(owners, "dead", Owner("host", 1, old, 30.0))
    # Long after the store was made.
    for _ in range(20):
        advance(owners, owners.clock + old / RENEWALS, old)
        renew(owners, "dead", Owner("host", 1, old, 30.0))
    assert renew(owners, "a", owner())
    run(owners, 2 * max(old, LEASE), "a")
    assert [*claim(owners, "a")] == ["dead"]


def test_an_owner_whose_entries_were_removed_does_not_hold_the_clock_up(
    owners: Owners,
) -> None:
    renew(owners, "short", Owner("host", 1, 1.0, 30.0))
    run(owners, 2 * LEASE, "a", "b")
    assert [*claim(owners, "a")] == ["short"]
    assert remove(owners, "short", 2)
    at = owners.at
    run(owners, LEASE, "a")
    assert owners.at == pytest.approx(at + LEASE)
    assert [*claim(owners, "a")] == ["b"]


def test_nobody_with_a_short_lease_is_claimed_when_the_store_comes_back(
    owners: Owners,
) -> None:
    short = Owner("host", 1, 6.0, 30.0)
    for _ in range(30):
        advance(owners, owners.clock + 1.0, 6.0)
        renew(owners, "short", short)
    # Too short a gap for the others to notice.
    advance(owners, owners.clock + LEASE * LONGEST_GAP - 1.0, LEASE)
    assert claim(owners, "a") == {}
    advance(owners, owners.clock + 1.0, 6.0)
    assert renew(owners, "short", short)
    assert claim(owners, "a") == {}


@pytest.mark.parametrize("step", [-5.0, -1e9, 1e9, 3 * LEASE * LONGEST_GAP])
def test_a_clock_that_is_set_claims_nobody(owners: Owners, step: float) -> None:
    at = owners.at
    advance(owners, owners.clock + step, LEASE)
    assert at <= owners.at <= at + LEASE * LONGEST_GAP
    assert claim(owners, "a") == {}
    run(owners, LEASE / 2, "a", "b")
    assert claim(owners, "a") == {}


def test_an_owner_that_was_closed_is_claimed_at_once(owners: Owners) -> None:
    leave(owners, "b", 1)
    assert [*claim(owners, "a")] == ["b"]
    assert claim(owners, "c") == {}


def test_a_closed_owner_that_renews_again_is_none_any_more(owners: Owners) -> None:
    leave(owners, "b", 1)
    renew(owners, "b", owner())
    assert claim(owners, "a") == {}


def test_an_owner_without_entries_is_forgotten(owners: Owners) -> None:
    assert remove(owners, "b", 1)
    assert [*owners.owners] == ["a"]
    assert remove(owners, "b", 1)


def test_a_claimed_owner_is_remembered_for_a_day_as_it_may_only_be_paused(
    owners: Owners,
) -> None:
    run(owners, LEASE, "a")
    claim(owners, "a")
    assert not remove(owners, "b", 1)
    assert remove(owners, "b", 2)
    assert not remove(owners, "b", 2)
    assert not renew(owners, "b", owner(epoch=2, holder="a"))
    assert not renew(owners, "b", owner())
    leave(owners, "b", 2)
    assert claim(owners, "c") == {}
    owners.at += REMEMBERED
    assert forget(owners) == []
    run(owners, 10, "a")
    assert forget(owners) == ["b"]
    assert forget(owners) == []


def test_a_closed_owner_is_forgotten_once_its_entries_are_removed(
    owners: Owners,
) -> None:
    leave(owners, "b", 1)
    claim(owners, "a")
    assert remove(owners, "b", 2)
    assert [*owners.owners] == ["a"]


def test_an_owner_whose_holder_was_closed_may_still_be_paused(owners: Owners) -> None:
    run(owners, LEASE, "a")
    assert [*claim(owners, "a")] == ["b"]
    leave(owners, "b", 2)
    assert [*claim(owners, "c")] == ["b"]
    assert remove(owners, "b", 3)
    assert not renew(owners, "b", owner())


def test_after_a_flush_owners_begin_again() -> None:
    owners = advance(None, 5.0, LEASE)
    assert renew(owners, "a", owner(epoch=2, holder="x"))
    assert claim(owners, "y") == {}


def test_the_document_survives_its_encoding(owners: Owners) -> None:
    run(owners, LEASE, "a")
    claim(owners, "a")
    assert decode(encode(owners)) == owners
    assert decode(None) is None


def test_a_newer_or_damaged_document_is_not_overwritten(owners: Owners) -> None:
    owners.version += 1
    with pytest.raises(StoreError, match="newer version"):
        decode(encode(owners))
    with pytest.raises(StoreError, match="can't be read"):
        decode(b"{")


class World(RuleBasedStateMachine):
    """Processes that renew their ownership, beside a store that goes away, is flushed, and
    whose clock is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.offset = 0.0, 100.0
        self.owners: Owners | None = None
        # For how long each process has not renewed while others could.
        self.late: dict[str, float] = {}
        self.claimed: set[str] = set()
        self.held: dict[str, set[str]] = {}
        self.born = 0

    def visit(self, name: str) -> None:
        self.owners = advance(self.owners, self.now + self.offset, LEASE)
        if renew(self.owners, name, owner()):
            self.late[name] = 0.0
        else:
            assert self.late.pop(name) >= LEASE, "a living owner was claimed"
            return
        for held in self.held.get(name, ()):
            # The holder has done what is due.
            remove(self.owners, held, self.owners.owners[held].epoch)
        claimed = {*claim(self.owners, name)}
        for again in claimed & self.claimed:
            # Its holder has not done what is due, and has died or is paused.
            (holder,) = (it for it in self.held if again in self.held[it])
            assert self.late.get(holder, LEASE) >= LEASE, "an owner was claimed twice"
            self.held[holder].remove(again)
        self.held[name] = claimed
        self.claimed |= claimed
        self.owners = decode(encode(self.owners))

    def pass_time(self, seconds: float, away: set[str]) -> None:
        until = self.now + seconds
        while self.now < until:
            step = min(LEASE / RENEWALS, until - self.now)
            self.now += step
            for name in self.late:
                self.late[name] += step
            for name in list(self.late):
                if name not in away:
                    self.visit(name)

    @rule(seconds=st.floats(0.1, 100.0), part=st.integers(0, 5))
    def some_are_paused(self, seconds: float, part: int) -> None:
        self.pass_time(seconds, {it for it in self.late if int(it) % 6 == part})

    @rule()
    def begin(self) -> None:
        self.visit(self.new_name())

    def new_name(self) -> str:
        self.born += 1
        self.late[str(self.born)] = 0.0
        return str(self.born)

    @rule(step=st.floats(-1e6, 1e6))
    def clock_is_set(self, step: float) -> None:
        self.offset += step

    @rule(seconds=st.floats(1.0, 1000.0))
    def store_is_away(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def flush(self) -> None:
        self.owners = None
        self.claimed.clear()
        self.held.clear()

    @rule()
    def all_but_one_die(self) -> None:
        dead = {*self.late}
        self.late = {}
        alive = self.new_name()
        known = {*self.owners.owners} if self.owners else set[str]()
        self.pass_time(2.2 * LEASE, set())
        assert dead & known <= self.claimed, "the entries of a dead owner are lost"
        del self.late[alive]


World.TestCase.settings = settings(stateful_step_count=30)
TestWorld = World.TestCase
