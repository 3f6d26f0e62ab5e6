"""One session as an owner: whatever gets lost on the way, no entry does."""

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.memory_journal import MemoryJournal

from edgegap_async._shared.owners import RENEWALS
from edgegap_async._shared.ownership import Claimed, Ownership
from edgegap_async._shared.store import StoreError

LEASE = 6.0
FAULTS = st.sampled_from(["", "", "", "before", "after", "late"])


class Session:
    """What a session does with its ownership: after a claim, it begins as another one."""

    def __init__(self, journal: MemoryJournal, seen: set[str]) -> None:
        self.journal = journal
        # The entries of dead ones that some session was told of.
        self.seen = seen
        self.wanted: dict[str, bytes] = {}
        # What the store has for certain, since the last flush.
        self.certain: set[str] = set()
        self.owner = Ownership(journal, LEASE, 0.0)
        self.lost: set[str] = set()

    def save(self, puts: dict[str, bytes], removes: list[str]) -> None:
        self.wanted |= puts
        for name in removes:
            del self.wanted[name]
        try:
            saved = self.owner.save(puts, removes)
        except StoreError:
            return
        if saved:
            self.certain = {*self.wanted}
        else:
            self.disowned()

    def disowned(self) -> None:
        """What the store had is another process's. The rest is written again."""
        self.lost |= self.certain
        self.wanted = {
            name: data for name, data in self.wanted.items() if name not in self.certain
        }
        self.certain = set()
        self.owner = Ownership(self.journal, LEASE, 0.0)
        self.save({}, [])
        rest, self.wanted = self.wanted, {}
        self.save(rest, [])

    def beat(self) -> None:
        try:
            claimed = self.owner.beat()
        except StoreError:
            return
        if claimed is None:
            self.disowned()
            return
        self.certain = {*self.wanted}
        for each in claimed:
            names = {it.decode() for it in each.entries}
            self.seen |= names
            # It has entries of its own for them, before it removes those of the dead.
            taken = [f"taken-{name}" for name in sorted(names)]
            self.save({name: name.encode() for name in taken}, [])
            with suppress(StoreError):
                self.owner.release([each.name])


class World(RuleBasedStateMachine):
    """Sessions that live, pause and die, beside a store that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = MemoryJournal()
        self.seen: set[str] = set()
        self.sessions = [Session(self.journal, self.seen)]
        self.paused: list[Session] = []
        self.number = 0
        # Entries that were certainly stored when their session died.
        self.left: set[str] = set()

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / (LEASE / RENEWALS))):
            self.journal.clock += LEASE / RENEWALS
            for session in self.sessions:
                session.beat()

    @rule(fault=FAULTS, which=st.integers(0, 9))
    def put(self, fault: str, which: int) -> None:
        self.number += 1
        self.journal.fault = fault
        name = f"entry-{self.number}"
        self.of(which).save({name: name.encode()}, [])

    @rule(fault=FAULTS, which=st.integers(0, 9), entry=st.integers(0, 99))
    def remove(self, fault: str, which: int, entry: int) -> None:
        session = self.of(which)
        if session.wanted:
            name = sorted(session.wanted)[entry % len(session.wanted)]
            self.journal.fault = fault
            session.save({}, [name])

    def of(self, which: int) -> Session:
        return self.sessions[which % len(self.sessions)]

    @rule(fault=FAULTS, which=st.integers(0, 9))
    def beat(self, fault: str, which: int) -> None:
        self.journal.fault = fault
        self.of(which).beat()

    @rule()
    def begin(self) -> None:
        if len(self.sessions) < 4:
            self.sessions.append(Session(self.journal, self.seen))

    @rule(which=st.integers(0, 9))
    def die(self, which: int) -> None:
        if len(self.sessions) > 1:
            dead = self.of(which)
            self.sessions.remove(dead)
            self.left |= (dead.certain & dead.wanted.keys()) | dead.lost

    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        if len(self.sessions) > 1:
            session = self.of(which)
            self.sessions.remove(session)
            session.owner.leave({}, [])
            self.left |= (session.certain & session.wanted.keys()) | session.lost

    @rule(which=st.integers(0, 9))
    def pause(self, which: int) -> None:
        if len(self.sessions) > 1:
            session = self.of(which)
            self.sessions.remove(session)
            self.paused.append(session)

    @rule()
    def go_on(self) -> None:
        self.sessions += self.paused
        self.paused = []

    @rule(seconds=st.floats(0.5, 10.0))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule()
    def flush(self) -> None:
        self.journal.flush()
        # What dead ones had is gone, and living ones write again what they have.
        self.left.clear()
        for session in (*self.sessions, *self.paused):
            session.certain = set()
            session.lost = set()

    @rule()
    def everything_is_found_in_the_end(self) -> None:
        self.go_on()
        self.journal.fault = ""
        self.pass_time(3 * LEASE)
        for session in self.sessions:
            has = session.journal.entries(session.owner.name)
            assert has == session.wanted
        # What dead ones have left, and what living ones were told that they have lost.
        lost = self.left.union(*(session.lost for session in self.sessions))
        assert lost <= self.seen


World.TestCase.settings = settings(stateful_step_count=40)
TestWorld = World.TestCase


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def test_an_owner_that_loses_its_answer_writes_all_again(
    journal: MemoryJournal,
) -> None:
    owner = Ownership(journal, LEASE, 0.0)
    assert owner.save({"a": b"1"}, [])
    for fault in ("before", "after", "late"):
        journal.fault = fault
        with pytest.raises(StoreError):
            owner.save({fault: b"2"}, [])
        assert owner.save({}, [])
        assert journal.entries(owner.name)[fault] == b"2"
    assert owner.beat() == []
    assert journal.entries(owner.name) == {
        "a": b"1",
        "before": b"2",
        "after": b"2",
        "late": b"2",
    }


def test_an_entry_that_was_not_even_tried_is_written_with_the_next_one(
    journal: MemoryJournal,
) -> None:
    owner = Ownership(journal, LEASE, 0.0)
    journal.fault = "before"
    with pytest.raises(StoreError):
        owner.save({"a": b"1"}, [])
    assert owner.save({"b": b"2"}, [])
    assert journal.entries(owner.name) == {"a": b"1", "b": b"2"}


def test_a_session_without_entries_has_no_owner(journal: MemoryJournal) -> None:
    owner = Ownership(journal, LEASE, 0.0)
    assert owner.beat() == []
    assert owner.save({"a": b"1"}, [])
    assert owner.save({}, ["a"])
    seen = journal.owners()[0]
    assert seen
    assert [*seen.owners] == [owner.name]
    assert owner.beat() == []
    seen = journal.owners()[0]
    assert seen
    assert seen.owners == {}


@pytest.mark.parametrize("fault", ["before", "after", "late"])
def test_the_removal_of_the_last_entry_is_repeated_with_the_next_beat(
    journal: MemoryJournal, fault: str
) -> None:
    owner = Ownership(journal, LEASE, 0.0)
    assert owner.save({"a": b"1"}, [])
    journal.fault = fault
    with pytest.raises(StoreError):
        owner.save({}, ["a"])
    assert owner.beat() == []
    assert journal.entries(owner.name) == {}


def test_a_claimer_keeps_what_it_has_not_done_yet(journal: MemoryJournal) -> None:
    first, second, third = (Ownership(journal, LEASE, 2.0) for _ in range(3))
    first.save({"a": b"1"}, [])
    first.leave({}, [])
    assert second.beat()
    for _ in range(3 * RENEWALS):
        journal.clock += LEASE / RENEWALS
        assert second.beat() == []
        assert third.beat() == []
    second.leave({}, [])
    assert [it.name for it in third.beat() or ()] == [first.name]


def test_a_claimer_that_dies_hands_everything_on(journal: MemoryJournal) -> None:
    first, second, third = (Ownership(journal, LEASE, 2.0) for _ in range(3))
    first.save({"a": b"1"}, [])
    first.leave({}, [])
    assert [it.entries for it in second.beat() or ()] == [(b"1",)]
    # It dies before it has done anything.
    found: list[Claimed] = []
    for _ in range(RENEWALS + 1):
        journal.clock += LEASE / RENEWALS
        found += third.beat() or ()
    (claimed,) = found
    assert (claimed.name, claimed.entries) == (first.name, (b"1",))
    # Requests of the first one may have been on their way for two seconds.
    assert claimed.may_arrive < 2.0
    third.release([claimed.name])
    assert journal.entries(first.name) == {}
    assert third.beat() == []


def test_what_could_not_be_read_after_a_claim_is_read_with_the_next_beat(
    journal: MemoryJournal,
) -> None:
    first, second = (Ownership(journal, LEASE, 0.0) for _ in range(2))
    first.save({"a": b"1"}, [])
    first.leave({}, [])
    entries = journal.entries

    def fail(owner: str) -> dict[str, bytes]:
        raise StoreError("no answer")

    journal.entries = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        second.beat()
    journal.entries = entries  # type: ignore[method-assign]
    assert [it.entries for it in second.beat() or ()] == [(b"1",)]
    assert second.beat() == []
