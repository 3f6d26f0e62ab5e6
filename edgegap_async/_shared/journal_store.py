"""The journal in a store.

    owners    one document, which says who answers for which entries (`owners.py`). It is
              read, changed by a pure function, and written if nobody else has written it
              meanwhile
    entries   of each owner, by their names, with the epoch of the owner, and a version.
              Each write says which version it continues. If the store was emptied, or
              has come back with old data, that is another one: then the owner writes
              all of its entries again

The entries of dead owners stay where they are until their holder has done what is due.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from sqlite3 import Connection
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct

from .owners import Owners, decode, encode
from .store import ROUND_TRIP, StoreError
from .store_redis import RedisStore, Script
from .store_sqlite import SQLiteStore

T = TypeVar("T")
# Seconds in which it is tried again to write the document of the owners. Each time, one of
# those that write at once succeeds.
MOST_WAIT = ROUND_TRIP
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS journal_owners
    (key TEXT PRIMARY KEY, document TEXT) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS journal_versions
    (owner TEXT PRIMARY KEY, epoch INTEGER, version INTEGER) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS journal_entries
    (owner TEXT, name TEXT, entry TEXT, PRIMARY KEY (owner, name)) WITHOUT ROWID""",
)


class Written(Enum):
    """What became of a write."""

    DONE = "done"
    OTHER_VERSION = "the store does not have what was written before"
    CLAIMED = "somebody else has claimed the entries"


class Write(Struct, frozen=True):
    """A change of the entries of one owner.

    Attributes:
        epoch: that the owner knows.
        before, after: the version that it continues, and its own. 0 before: the owner
            has no entries.
        puts, removes: entries by their names, and names.
        whole: the puts replace all entries, whatever their version is.
    """

    owner: str
    epoch: int
    before: int
    after: int
    puts: Mapping[str, bytes]
    removes: Collection[str] = ()
    whole: bool = False


class Changes(Struct):
    """What goes along with a change of the owners, in one step.

    Attributes:
        claimed: the new epochs of the owners that were claimed.
        emptied: the owners whose entries are removed, with their epochs. After a claim,
            the epoch stays, as the owner may have been paused, and still write. 1: it
            does not.
    """

    claimed: dict[str, int] = {}
    emptied: dict[str, int] = {}


# Changes the owners, or makes them. It gets the time of the store's clock in seconds, and
# may be called several times. It returns the owners, what goes along, and its result.
Change: TypeAlias = Callable[[Owners | None, float], tuple[Owners, Changes, T]]


class JournalStore(Protocol):
    """The journal in a store. All methods block."""

    def change(self, change: Change[T]) -> T:
        """Change the owners.

        Raises:
            StoreError: that has failed, or may have been done.
        """
        ...

    def write(self, write: Write) -> Written:
        """Change the entries of an owner.

        Raises:
            StoreError: that has failed, or may have been done.
        """
        ...

    def entries(self, owner: str) -> dict[str, bytes]:
        """The entries of an owner, by their names."""
        ...

    def owners(self) -> tuple[Owners | None, float]:
        """The owners, as they were written last, and the time of the store's clock."""
        ...


def journal_store(store: SQLiteStore | RedisStore, key: str) -> JournalStore:
    """The journal of an organization.

    Args:
        key: the organization's name.
    """
    if isinstance(store, SQLiteStore):
        return SQLiteJournal(store, key)
    return RedisJournal(store)


class SQLiteJournal:
    """The journal in a file of SQLite."""

    def __init__(self, store: SQLiteStore, key: str) -> None:
        self._store, self._key = store, key

    def change(self, change: Change[T]) -> T:
        """Change the owners."""
        with self._store.transaction() as db:
            owners, changes, result = change(self._owners(db), self._store.now())
            db.execute(
                "REPLACE INTO journal_owners VALUES (?, ?)",
                (self._key, encode(owners).decode()),
            )
            epochs = {**changes.claimed, **changes.emptied}
            db.executemany(
                """INSERT INTO journal_versions VALUES (?, ?, 0)
                ON CONFLICT (owner) DO UPDATE SET epoch = excluded.epoch""",
                epochs.items(),
            )
            for owner, epoch in changes.emptied.items():
                db.execute("DELETE FROM journal_entries WHERE owner = ?", (owner,))
                if epoch == 1:
                    db.execute("DELETE FROM journal_versions WHERE owner = ?", (owner,))
            return result

    def write(self, write: Write) -> Written:
        """Change the entries of an owner. New ones are safe on the disk then."""
        owner = write.owner
        with self._store.transaction(durable=bool(write.puts)) as db:
            epoch, version = db.execute(
                "SELECT epoch, version FROM journal_versions WHERE owner = ?", (owner,)
            ).fetchone() or (write.epoch, 0)
            if epoch != write.epoch:
                return Written.CLAIMED
            if write.whole:
                db.execute("DELETE FROM journal_entries WHERE owner = ?", (owner,))
            elif version != write.before:
                return Written.OTHER_VERSION
            db.executemany(
                "REPLACE INTO journal_entries VALUES (?, ?, ?)",
                [(owner, name, it.decode()) for name, it in write.puts.items()],
            )
            db.executemany(
                "DELETE FROM journal_entries WHERE owner = ? AND name = ?",
                [(owner, name) for name in write.removes],
            )
            left = db.execute(
                "SELECT 1 FROM journal_entries WHERE owner = ? LIMIT 1", (owner,)
            ).fetchone()
            if left:
                db.execute(
                    "REPLACE INTO journal_versions VALUES (?, ?, ?)",
                    (owner, epoch, write.after),
                )
            else:
                db.execute("DELETE FROM journal_versions WHERE owner = ?", (owner,))
        return Written.DONE

    def entries(self, owner: str) -> dict[str, bytes]:
        """The entries of an owner, by their names."""
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT name, entry FROM journal_entries WHERE owner = ?", (owner,)
            )
            return {name: entry.encode() for name, entry in rows}

    def owners(self) -> tuple[Owners | None, float]:
        """The owners, as they were written last, and the time of the store's clock."""
        with self._store.transaction() as db:
            return self._owners(db), self._store.now()

    def _owners(self, db: Connection) -> Owners | None:
        found = db.execute(
            "SELECT document FROM journal_owners WHERE key = ?", (self._key,)
        ).fetchone()
        if found is None:
            return None
        # Another program may have stored anything.
        return decode(str(found[0]).encode())


# Fields of a hash with entries that are none.
_NO_ENTRIES = ("#epoch", "#version")
_LOOK = """
local function look()
  local time = redis.call('TIME')
  local seen = redis.call('HMGET', KEYS[1], 'version', 'document')
  -- After the store was emptied, no version may come again.
  return {seen[1] or (time[1] .. string.format('%06d', time[2])), seen[2], time[1], time[2]}
end
"""
LOOK = Script.of(_LOOK + "return look()")
# The owners' document; then the entries of owners that were claimed, and of owners whose
# entries are removed. An epoch for each.
COMMIT = Script.of(
    _LOOK
    + """
local version = redis.call('HGET', KEYS[1], 'version')
if version and version ~= ARGV[1] then return look() end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'document', ARGV[3])
local claimed = tonumber(ARGV[4])
for k = 2, #KEYS do
  local epoch = ARGV[k + 3]
  if k > 1 + claimed then redis.call('DEL', KEYS[k]) end
  if epoch ~= '1' then redis.call('HSET', KEYS[k], '#epoch', epoch) end
end
return 1
"""
)
WRITE = Script.of(
    """
local epoch, before, after, whole, puts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local seen = redis.call('HMGET', KEYS[1], '#epoch', '#version')
if seen[1] and seen[1] ~= epoch then return 2 end
if whole == '1' then redis.call('DEL', KEYS[1])
elseif (seen[2] or '0') ~= before then return 1 end
for k = 6, 4 + 2 * puts, 2 do redis.call('HSET', KEYS[1], ARGV[k], ARGV[k + 1]) end
for k = 6 + 2 * puts, #ARGV do redis.call('HDEL', KEYS[1], ARGV[k]) end
redis.call('HSET', KEYS[1], '#epoch', epoch, '#version', after)
if redis.call('HLEN', KEYS[1]) == 2 then redis.call('DEL', KEYS[1]) end
return 0
"""
)
ENTRIES = Script.of("return redis.call('HGETALL', KEYS[1])")
_OUTCOMES = (Written.DONE, Written.OTHER_VERSION, Written.CLAIMED)


class RedisJournal:
    """The journal in Redis or Valkey."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._document = store.name("journal")

    def change(self, change: Change[T]) -> T:
        """Change the owners."""
        seen = self._store.run(LOOK, [self._document], [])
        end = time.monotonic() + MOST_WAIT
        while True:
            version, document, *clock = seen
            owners, changes, result = change(decode(document), _seconds(clock))
            epochs = [*changes.claimed.items(), *changes.emptied.items()]
            seen = self._store.run(
                COMMIT,
                [self._document, *(self._entries_of(owner) for owner, _ in epochs)],
                [
                    version,
                    int(version) + 1,
                    encode(owners),
                    len(changes.claimed),
                    *(epoch for _, epoch in epochs),
                ],
            )
            if seen == 1:
                return result
            if time.monotonic() >= end:
                raise StoreError(
                    "shared store: others have always written at the same time"
                )

    def write(self, write: Write) -> Written:
        """Change the entries of an owner."""
        puts = [part for pair in write.puts.items() for part in pair]
        whole = int(write.whole)
        counts = (write.epoch, write.before, write.after, whole, len(write.puts))
        outcome: int = self._store.run(
            WRITE, [self._entries_of(write.owner)], [*counts, *puts, *write.removes]
        )
        return _OUTCOMES[outcome]

    def entries(self, owner: str) -> dict[str, bytes]:
        """The entries of an owner, by their names."""
        parts: list[bytes] = self._store.run(ENTRIES, [self._entries_of(owner)], [])
        names: list[str] = [name.decode() for name in parts[::2]]
        found: dict[str, bytes] = dict(zip(names, parts[1::2], strict=True))
        return {name: found[name] for name in names if name not in _NO_ENTRIES}

    def owners(self) -> tuple[Owners | None, float]:
        """The owners, as they were written last, and the time of the store's clock."""
        _, document, *clock = self._store.run(LOOK, [self._document], [])
        return decode(document), _seconds(clock)

    def _entries_of(self, owner: str) -> str:
        return self._store.name("journal", owner)


def _seconds(clock: Sequence[bytes]) -> float:
    """The reply of TIME."""
    return int(clock[0]) + int(clock[1]) / 1e6
