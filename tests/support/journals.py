"""Helpers of the tests of the journal: what a store holds, and owners that are dead."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from edgegap_async import EdgegapSession, SharedState
from edgegap_async._shared.entries import Entry, decode, encode
from edgegap_async._shared.journal_store import JournalStore, journal_store
from edgegap_async._shared.owners import Owners
from edgegap_async._shared.ownership import Ownership
from edgegap_async._shared.stores import make_store
from edgegap_async.simulator import Simulator

KEY = "studio"
# Seconds: the shortest one.
LEASE = 1.0


def shared_state(url: str, owner_lease: float = LEASE) -> SharedState:
    return SharedState(url, key=KEY, owner_lease=owner_lease)


@contextmanager
def journal_at(url: str) -> Iterator[JournalStore]:
    """The journal, with a connection of its own."""
    store = make_store(SharedState(url), KEY)
    try:
        yield journal_store(store, KEY)
    finally:
        store.close()


def owners_of(url: str) -> Owners:
    with journal_at(url) as journal:
        found = journal.owners()[0]
    assert found, "there is no journal"
    return found


def entries_of(url: str) -> list[Entry]:
    """All entries, whoever has them, but for tags that are only checked once more."""
    return [entry for entry in all_entries_of(url) if entry.state != "checked"]


def all_entries_of(url: str) -> list[Entry]:
    """All entries, whoever has them."""
    with journal_at(url) as journal:
        owners = journal.owners()[0]
        found = [
            decode(data)
            for name in (owners.owners if owners else ())
            for data in journal.entries(name).values()
        ]
    return [entry for entry in found if entry]


def leave_dead(url: str, *entries: Entry, sending: float = 0.0) -> str:
    """Leave these entries as a process does that closes its session. Return the name of
    their owner.
    """
    with journal_at(url) as journal:
        owner = Ownership(journal, LEASE, sending)
        puts = {str(number): encode(entry) for number, entry in enumerate(entries)}
        owner.leave(puts, [])
    return owner.name


@asynccontextmanager
async def journaling(
    url: str,
    *faults: Any,
    options: dict[str, Any] | None = None,
    **session: Any,
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    """A session with a journal on a simulator."""
    session = {"shared": shared_state(url), **session}
    async with (
        Simulator(faults=faults, **(options or {})) as sim,
        EdgegapSession("made-up", base_url=sim.url, **session) as edgegap,
    ):
        yield edgegap, sim


def warned_of(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether there was a warning with this text."""
    return any(
        it.levelname == "WARNING" and text in it.getMessage() for it in caplog.records
    )


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait in real time: the thread of a store does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.to_thread(time.sleep, 0.01)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Nobody can write to a SQLite file within the block."""
    db = sqlite3.connect(
        url.removeprefix("sqlite:///"), isolation_level=None, timeout=30
    )
    # A change of the mode would not wait for others; the session makes it WAL.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.close()
