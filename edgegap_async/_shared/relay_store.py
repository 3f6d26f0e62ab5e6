"""How messages get from one process to all others, in each store.

    SQLite   a table of the latest messages. Reading it takes no lock
    Redis    a channel. Nothing is stored, so a process that is cut off misses messages

Messages may be lost. They are bytes, and nothing here knows what they mean.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from .relay_messages import LIFETIME, LONGEST_MESSAGE
from .store import ROUND_TRIP, StoreError
from .store_redis import RedisStore, Script, store_error
from .store_sqlite import SQLiteStore

# Messages in the table. Processes read it ten times a second.
MOST_ROWS = 1_000
# Messages that are read at a time.
MOST_READ = 200
# Seconds after which a silent connection is checked: a balancer may have dropped it.
PING_AFTER = 15.0
SCHEMA = (
    # The length of a message must not matter to whoever looks for old rows.
    """CREATE TABLE IF NOT EXISTS relay
    (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, key TEXT, message BLOB)""",
)


class RelayStore(Protocol):
    """Messages in a store, for one reader. All methods block."""

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send messages to all readers, and remove old ones.

        Raises:
            StoreError: that has failed, or may have been done.
        """
        ...

    def read(self) -> list[bytes]:
        """What was published since the last call, and perhaps some of what was before
        the first one. As many as `MOST_READ`: there may be more.

        Raises:
            StoreError: that has failed. The next call begins anew.
        """
        ...

    def close(self) -> None:
        """Close what belongs to this reader. The next `read` opens it again."""
        ...


def relay_store(store: SQLiteStore | RedisStore, key: str) -> RelayStore:
    """The relay of an organization.

    Args:
        key: the organization's name.
    """
    if isinstance(store, SQLiteStore):
        return SQLiteRelay(store, key)
    return RedisRelay(store)


class SQLiteRelay:
    """The relay in a file of SQLite."""

    def __init__(self, store: SQLiteStore, key: str) -> None:
        self._store, self._key = store, key
        # The number of the last message that was read, and its file.
        self._read = 0
        self._file: tuple[int, int] | None = None

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send messages to all readers, and remove old ones."""
        now = self._store.now()
        with self._store.transaction() as db:
            db.executemany(
                "INSERT INTO relay (at, key, message) VALUES (?, ?, ?)",
                [(now, self._key, message) for message in messages],
            )
            db.execute(
                """DELETE FROM relay WHERE at NOT BETWEEN ? AND ?
                OR number <= (SELECT max(number) FROM relay) - ?""",
                (now - LIFETIME, now + LIFETIME, MOST_ROWS),
            )

    def read(self) -> list[bytes]:
        """What was published since the last call."""
        with self._store.reading() as db:
            last: int
            (last,) = db.execute(
                "SELECT max(seq) FROM sqlite_sequence WHERE name = 'relay'"
            ).fetchone()
            if self._file != self._store.file or (last or 0) < self._read:
                # It was replaced, or is another copy.
                self._file, self._read = self._store.file, 0
            if (last or 0) == self._read:
                return []
            # Not more than is needed to see that one is too long.
            rows: list[tuple[int, bytes]] = db.execute(
                """SELECT number, substr(CAST(message AS BLOB), 1, ?) FROM relay
                WHERE number > ? AND number <= ? AND key = ? ORDER BY number LIMIT ?""",
                (LONGEST_MESSAGE + 1, self._read, last, self._key, MOST_READ),
            ).fetchall()
            self._read = rows[-1][0] if len(rows) == MOST_READ else last
            return [message or b"" for _, message in rows]

    def close(self) -> None:
        """The file belongs to the store."""


# Publishes each message. With a key, a cluster knows where to run it.
PUBLISH = Script.of(
    """for _, message in ipairs(ARGV) do redis.call('PUBLISH', KEYS[1], message) end"""
)


class RedisRelay:
    """The relay in Redis or Valkey. Its reader has a connection of its own.

    Args:
        ping_after: seconds after which a silent connection is checked.
    """

    def __init__(self, store: RedisStore, ping_after: float = PING_AFTER) -> None:
        self._store, self._channel = store, store.name("relay")
        self._ping_after = ping_after
        self._client: Any = None
        self._subscription: Any = None
        # When something has arrived last, and whether there was no answer to a ping so
        # far.
        self._heard_at, self._pinged = 0.0, False

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send messages to all readers. None of them is stored."""
        if messages:
            self._store.run(PUBLISH, [self._channel], messages)

    def read(self) -> list[bytes]:
        """What has arrived since the last call."""
        try:
            if self._subscription is None:
                self._subscribe()
            found = self._arrived()
            self._check(time.monotonic())
            return found
        except StoreError:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 (all kinds of errors of all clients)
            self.close()
            problem = store_error(error)
        # Not with the error as its context, which may show the URL with the password.
        raise problem

    def _subscribe(self) -> None:
        self._client = self._store.new_client()
        self._subscription = self._client.pubsub()
        self._subscription.subscribe(self._channel)
        # An error says now that it is not allowed, or the ping below is not.
        if self._subscription.get_message(timeout=ROUND_TRIP) is None:
            raise StoreError("shared store: its subscription is not answered")
        self._ping(time.monotonic())

    def _check(self, now: float) -> None:
        if now - self._heard_at < self._ping_after:
            return
        if self._pinged:
            raise StoreError("shared store: its subscription does not answer")
        self._ping(now)

    def _ping(self, now: float) -> None:
        self._subscription.ping()
        self._heard_at, self._pinged = now, True

    def _arrived(self) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < MOST_READ and self._has_arrived():
            message = self._subscription.get_message(timeout=ROUND_TRIP)
            self._heard_at, self._pinged = time.monotonic(), False
            if message and message["type"] == "message":
                data = message["data"]
                found.append(data.encode() if isinstance(data, str) else data)
        return found

    def _has_arrived(self) -> bool:
        # Without waiting. `get_message` would not wait for the rest of a message then.
        return bool(self._subscription.connection.can_read(timeout=0))

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        subscription, self._subscription = self._subscription, None
        for each in (subscription, client):
            if each is not None:
                with suppress(Exception):
                    each.close()
