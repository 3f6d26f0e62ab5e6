"""The journal in each engine: one conformance suite for all."""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edgegap_async._shared.config import SharedState
from edgegap_async._shared.journal_store import (
    Changes,
    JournalStore,
    Write,
    Written,
    journal_store,
)
from edgegap_async._shared.owners import Owner, Owners, advance
from edgegap_async._shared.store import ROUND_TRIP, StoreError
from edgegap_async._shared.stores import Store, make_store


@pytest.fixture
def stores(store_url: str) -> Iterator[list[Store]]:
    """Two connections to one store."""
    stores = [make_store(SharedState(store_url), "studio") for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def journal(stores: list[Store]) -> JournalStore:
    return journal_store(stores[0], "studio")


@pytest.fixture
def other(stores: list[Store]) -> JournalStore:
    return journal_store(stores[1], "studio")


def write(
    before: int,
    after: int,
    *removes: str,
    epoch: int = 1,
    whole: bool = False,
    **puts: bytes,
) -> Write:
    return Write("a", epoch, before, after, puts, removes, whole)


def make_owner(journal: JournalStore, name: str = "a") -> None:
    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
        owners = advance(owners, clock, 60)
        owners.owners[name] = Owner("host", 1, 60.0, 30.0)
        return owners, Changes(), None

    journal.change(change)


def apply(journal: JournalStore, **changes: Any) -> None:
    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
        return advance(owners, clock, 60), Changes(**changes), None

    journal.change(change)


def test_entries_are_put_changed_and_removed(
    journal: JournalStore, other: JournalStore
) -> None:
    assert journal.entries("a") == {}
    assert journal.write(write(0, 1, x=b'{"a":1}', y=b"{}")) is Written.DONE
    assert other.entries("a") == {"x": b'{"a":1}', "y": b"{}"}
    assert journal.write(write(1, 2, "y", x=b"[]", z="ä".encode())) is Written.DONE
    assert other.entries("a") == {"x": b"[]", "z": "ä".encode()}
    assert other.entries("b") == {}


def test_a_write_that_continues_another_version_changes_nothing(
    journal: JournalStore,
) -> None:
    assert journal.write(write(0, 1, x=b"1")) is Written.DONE
    assert journal.write(write(2, 3, x=b"2")) is Written.OTHER_VERSION
    assert journal.write(write(0, 3, x=b"2")) is Written.OTHER_VERSION
    assert journal.entries("a") == {"x": b"1"}
    assert journal.write(write(7, 8, whole=True, y=b"3")) is Written.DONE
    assert journal.entries("a") == {"y": b"3"}
    assert journal.write(write(8, 9)) is Written.DONE


def test_the_last_entry_leaves_nothing_behind(
    journal: JournalStore, stores: list[Store]
) -> None:
    assert journal.write(write(0, 1, x=b"1")) is Written.DONE
    assert journal.write(write(1, 2, "x")) is Written.DONE
    # As if the store was emptied.
    assert journal.write(write(2, 3, y=b"1")) is Written.OTHER_VERSION
    assert journal.write(write(0, 3, y=b"1")) is Written.DONE
    assert journal.write(write(3, 4, whole=True)) is Written.DONE
    assert journal.entries("a") == {}


def test_after_a_claim_the_owner_writes_nothing(
    journal: JournalStore, other: JournalStore
) -> None:
    assert journal.write(write(0, 1, x=b"1")) is Written.DONE
    apply(other, claimed={"a": 2})
    for late in (write(1, 2, y=b"2"), write(1, 2, "x"), write(1, 2, whole=True)):
        assert journal.write(late) is Written.CLAIMED
    assert other.entries("a") == {"x": b"1"}
    apply(other, emptied={"a": 2})
    assert other.entries("a") == {}
    for late in (write(1, 2, y=b"2"), write(0, 2, y=b"2"), write(1, 2, whole=True)):
        assert journal.write(late) is Written.CLAIMED
    assert other.entries("a") == {}
    apply(other, emptied={"a": 1})
    assert journal.write(write(0, 1, y=b"2")) is Written.DONE


def test_an_owner_without_entries_can_be_claimed_too(
    journal: JournalStore, other: JournalStore
) -> None:
    apply(other, claimed={"a": 2})
    assert journal.write(write(0, 1, x=b"1")) is Written.CLAIMED
    apply(other, emptied={"a": 2})
    assert journal.write(write(0, 1, x=b"1")) is Written.CLAIMED


def test_a_change_of_the_owners_is_seen_by_all(
    journal: JournalStore, other: JournalStore
) -> None:
    assert journal.owners()[0] is None
    make_owner(journal)
    make_owner(other, "b")
    seen = journal.owners()[0]
    assert seen
    assert {*seen.owners} == {"a", "b"}
    assert seen == other.owners()[0]


def test_a_change_that_meets_another_one_is_made_again(
    journal: JournalStore, other: JournalStore, store_url: str
) -> None:
    calls = 0

    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, str]:
        nonlocal calls
        calls += 1
        if calls == 1 and not store_url.startswith("sqlite"):
            # In SQLite, nobody else comes between.
            make_owner(other, "b")
        owners = advance(owners, clock, 60)
        owners.owners["c"] = Owner("host", 1, 60.0, 30.0)
        return owners, Changes(), "done"

    make_owner(journal)
    assert journal.change(change) == "done"
    seen = other.owners()[0]
    assert seen
    assert {*seen.owners} == (
        {"a", "c"} if store_url.startswith("sqlite") else {"a", "b", "c"}
    )


@pytest.mark.full
@pytest.mark.slow
def test_a_change_that_always_meets_others_is_given_up(
    valkey_server: Any,
) -> None:
    store = make_store(SharedState(valkey_server.url), "studio")
    journal = journal_store(store, "studio")
    tries = 0

    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
        nonlocal tries
        tries += 1
        make_owner(journal, str(tries % 10))
        return advance(owners, clock, 60), Changes(), None

    began = time.monotonic()
    with pytest.raises(StoreError, match="others have always written"):
        journal.change(change)
    assert time.monotonic() - began >= ROUND_TRIP
    assert tries > 6
    store.close()


def test_many_that_change_the_owners_at_once_all_succeed(store_url: str) -> None:
    """Twenty pods that start together, or whose beats are in step."""
    count = 20
    stores = [make_store(SharedState(store_url), "studio") for _ in range(count)]
    # All have looked before any of them writes.
    have_looked = threading.Barrier(count)
    names = [f"pod-{number}" for number in range(count)]

    def enter(store: Store, name: str) -> None:
        calls = 0

        def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
            nonlocal calls
            calls += 1
            if calls == 1 and not store_url.startswith("sqlite"):
                have_looked.wait(30)
            owners = advance(owners, clock, 60)
            owners.owners[name] = Owner("host", 1, 60.0, 30.0)
            return owners, Changes(), None

        journal_store(store, "studio").change(change)
        store.close()

    with ThreadPoolExecutor(count) as threads:
        list(threads.map(enter, stores, names))
    seen = owners_in(store_url)
    assert {*seen.owners} == {*names}


def owners_in(store_url: str) -> Owners:
    store = make_store(SharedState(store_url), "studio")
    owners = journal_store(store, "studio").owners()[0]
    store.close()
    assert owners
    return owners


def test_a_flush_between_look_and_commit_is_no_conflict_with_an_old_version(
    valkey_server: Any,
) -> None:
    store = make_store(SharedState(valkey_server.url), "studio")
    journal = journal_store(store, "studio")
    calls = 0

    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
        nonlocal calls
        calls += 1
        if calls == 1:
            valkey_server.command("FLUSHALL")
            make_owner(journal, "late")
        owners = advance(owners, clock, 60)
        return owners, Changes(), None

    make_owner(journal)
    journal.change(change)
    seen = journal.owners()[0]
    assert seen
    assert [*seen.owners] == ["late"]
    assert calls == 2
    store.close()


def test_organizations_in_one_store_do_not_see_each_other(store_url: str) -> None:
    first, second = (make_store(SharedState(store_url), key) for key in "12")
    make_owner(journal_store(first, "1"))
    assert journal_store(second, "2").owners()[0] is None
    first.close()
    second.close()


def count_up(url: str, name: str) -> None:
    store = make_store(SharedState(url), "studio")
    journal = journal_store(store, "studio")

    def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
        owners = advance(owners, clock, 60)
        owners.owners["n"].pid += 1
        return owners, Changes(), None

    for _ in range(20):
        while True:
            try:
                journal.change(change)
            except StoreError:
                continue
            break
    store.close()


@pytest.mark.full
@pytest.mark.slow
def test_processes_that_change_the_owners_at_once_lose_nothing(
    journal: JournalStore, store_url: str
) -> None:
    make_owner(journal, "n")
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=count_up, args=(store_url, str(it))) for it in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    seen = journal.owners()[0]
    assert seen
    assert seen.owners["n"].pid == 1 + 60
