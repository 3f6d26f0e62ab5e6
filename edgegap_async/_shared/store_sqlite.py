"""A file of SQLite, for the processes of one machine.

Each operation is one transaction, in WAL mode. SQLite's own wait for a lock sleeps in
steps of up to 100 ms without jitter, so waits are made here.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from .machine import boot_id, network_file_system
from .store import ROUND_TRIP, StoreError

T = TypeVar("T")
# Seconds of one wait for the lock.
FIRST_WAIT, LONGEST_WAIT = 0.001, 0.05
# Seconds after which the file of another machine may be used, and between two writes
# that say whose it is.
OTHER_MACHINE, SAY_AGAIN = 60.0, 10.0
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS machines (boot_id TEXT PRIMARY KEY, seen_at REAL)",
)
# What SQLite's error texts mean to an operator.
REASONS = {
    "locked": "another process holds its lock for too long",
    "busy": "another process holds its lock for too long",
    "readonly": "it can't be written to: check the permissions of the file and its folder",
    "unable to open": "it can't be opened: check its folder and the permissions",
    "disk is full": "the disk is full",
    "disk i/o": "the disk has failed, or is full",
    "not a database": "it is no SQLite file",
    "malformed": "the file is damaged",
}
# Held while a file is used, and while the process is forked.
_use = threading.RLock()
_stores: WeakSet["SQLiteStore"] = WeakSet()


class SQLiteStore:
    """A file of SQLite. It is opened when it is first used.

    Args:
        path: an absolute one.
        schema: statements that make the tables, if they don't exist.

    Attributes:
        file: which file is open, or was. It may have been replaced.

    Raises:
        ValueError: the file is on a network file system.
    """

    def __init__(self, path: str, schema: tuple[str, ...] = ()) -> None:
        if kind := network_file_system(path):
            raise ValueError(
                f"shared: the file is on a network file system ({kind}), where locks don't hold: use redis://"
            )
        self._path, self._schema = path, (*SCHEMA, *schema)
        self._db: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None
        self._boot_id = boot_id()
        self._said_at: float | None = None
        with _use:
            _stores.add(self)

    @contextmanager
    def transaction(
        self, *, durable: bool = False
    ) -> Generator[sqlite3.Connection, None, None]:
        """One transaction, which nobody else can come between.

        Args:
            durable: it is on the disk at the end of the block, even if the machine
                fails then.

        Raises:
            StoreError: it has failed, and changed nothing.
        """
        with _using() as until, self._transaction(until, durable) as db:
            yield db

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """One or more SELECTs, which hold no other process up.

        Raises:
            StoreError: that has failed.
        """
        with _using() as until:
            yield self._open(until)

    @contextmanager
    def _transaction(
        self, until: float, durable: bool
    ) -> Generator[sqlite3.Connection, None, None]:
        db = self._open(until)
        level = "FULL" if durable else "NORMAL"
        db.execute(f"PRAGMA synchronous={level}")
        _patiently(partial(db.execute, "BEGIN IMMEDIATE"), until)
        try:
            self._say_whose(db)
            yield db
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def now(self) -> float:
        """The time on the clock that all processes of the machine have."""
        return time.time()

    def _open(self, until: float) -> sqlite3.Connection:
        if self._db is not None and self.file != _identity(self._path):
            # It was deleted or replaced. Others would not see what is written to it.
            self.close()
        if self._db is None:
            # SQLite would make it readable for everybody.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            # The thread that forks closes it.
            db = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(db, until)
            except BaseException:
                db.close()
                raise
            self._db, self.file = db, _identity(self._path)
            self._said_at = None
        return self._db

    def _set_up(self, db: sqlite3.Connection, until: float) -> None:
        mode = _patiently(partial(db.execute, "PRAGMA journal_mode=WAL"), until)
        if mode.fetchone()[0] != "wal":
            raise StoreError("shared SQLite file: its file system allows no WAL mode")
        for statement in self._schema:
            _patiently(partial(db.execute, statement), until)

    def _say_whose(self, db: sqlite3.Connection) -> None:
        now = self.now()
        if self._said_at is not None and 0 <= now - self._said_at < SAY_AGAIN:
            return
        # A clock that was set back must not lock a machine out for long.
        other = db.execute(
            "SELECT 1 FROM machines WHERE boot_id != ? AND seen_at BETWEEN ? AND ?",
            (self._boot_id, now - OTHER_MACHINE, now + OTHER_MACHINE),
        )
        if other.fetchone():
            raise StoreError(
                "shared SQLite file: another machine has used it within the last minute (this one, if it was "
                "restarted): for many machines use redis://"
            )
        db.execute("DELETE FROM machines")
        db.execute("INSERT INTO machines VALUES (?, ?)", (self._boot_id, now))
        self._said_at = now

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            # It moves the log into the file, under a lock. The file may be gone, or its
            # disk full.
            with _use, suppress(sqlite3.Error):
                db.close()


@contextmanager
def _using() -> Generator[float, None, None]:
    """Use a file, until the time that is yielded."""
    until = time.monotonic() + ROUND_TRIP
    try:
        if not _use.acquire(timeout=ROUND_TRIP):
            raise sqlite3.OperationalError("database is locked")
        try:
            yield until
        finally:
            _use.release()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"shared SQLite file: {_reason(error)}") from error


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _patiently(do: Callable[[], T], until: float) -> T:
    """Do something that needs a lock, and wait for it."""
    wait = FIRST_WAIT
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            text = str(error)
            held = "locked" in text or "busy" in text
            if not held or time.monotonic() >= until:
                raise
        time.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(2 * wait, LONGEST_WAIT)


def _reason(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    text = str(error)
    found = (why for part, why in REASONS.items() if part in text.lower())
    return next(found, f"{type(error).__name__}: {text}")


def _before_fork() -> None:
    """Close all files. Each is opened again when it is used.

    SQLite keeps the locks of a process in its memory. The child of a fork would take those
    of its parent for its own: what it writes could be lost, and a lock could stay for ever.
    """
    _use.acquire()
    for store in [*_stores]:
        store.close()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_use.release, after_in_child=_use.release
    )
