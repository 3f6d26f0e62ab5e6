"""The stores of one process: all sessions with the same `SharedState` use one thread."""

import os
from threading import Lock
from typing import Any, TypeAlias

from . import budget_store, journal_store, relay_store
from .config import SharedState
from .store_redis import RedisStore, client_of
from .store_sqlite import SQLiteStore
from .thread import StoreThread

Store: TypeAlias = SQLiteStore | RedisStore
# The tables of everything that is stored in SQLite.
SCHEMA = journal_store.SCHEMA + budget_store.SCHEMA + relay_store.SCHEMA


def make_store(shared: SharedState, key: str) -> Store:
    """Make a store. It is opened when it is first used.

    Raises:
        ValueError: the file is on a network file system, or the URL has an option that
            redis-py does not know.
        ModuleNotFoundError: redis-py is not installed.
    """
    if shared.path is not None:
        return SQLiteStore(shared.path, SCHEMA)
    return RedisStore(shared.client or client_of(shared.redis_url), key)


class Stores:
    """The threads of the stores that are in use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._used: dict[tuple[object, ...], tuple[StoreThread[Store], int]] = {}
        # Those of the parent, after a fork, kept alive: their end here would disturb it.
        self._of_parent: list[object] = []

    def acquire(self, shared: SharedState, key: str) -> StoreThread[Store]:
        """The thread of a store, for one more user.

        Raises:
            ValueError, ModuleNotFoundError: as `make_store`.
        """
        with self._lock:
            name = _name(shared, key)
            thread, users = self._used.get(name, (None, 0))
            if thread is None:
                thread = StoreThread(make_store(shared, key), _close)
            self._used[name] = thread, users + 1
            return thread

    def release(
        self, shared: SharedState, key: str, thread: StoreThread[Store]
    ) -> bool:
        """A user ends. After the last one, the thread is closed.

        Returns:
            Whether it was the last one.
        """
        with self._lock:
            name = _name(shared, key)
            found, users = self._used.get(name, (None, 0))
            if found is not thread:
                # The process was forked since then: the thread runs in the parent.
                return False
            if users > 1:
                self._used[name] = thread, users - 1
                return False
            del self._used[name]
        thread.close()
        return True

    def after_fork(self) -> None:
        """Begin again in the child of a fork, where no other thread runs."""
        self._lock = Lock()
        self._of_parent += self._used.values()
        self._used = {}


def _name(shared: SharedState, key: str) -> tuple[object, ...]:
    # A callable may have no hash.
    return shared.url, id(shared.client), key


def _close(store: Any) -> None:
    store.close()


STORES = Stores()
# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=STORES.after_fork)
