"""The ledger of a budget in a store.

    SQLite         one transaction is one beat
    Redis, Valkey  an inbox and compare-and-set (`beat.py`), with two scripts

What is stored is text: not every client returns bytes.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, Protocol, TypeAlias

from .beat import STOPPED, Commit, Posted, Seen, respond, serve
from .messages import Received, Reply, Report, decode_report, encode
from .store import StoreError
from .store_redis import RedisStore, Script
from .store_sqlite import SQLiteStore

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS budgets
    (key TEXT PRIMARY KEY, state BLOB) WITHOUT ROWID""",
)


class BudgetStore(Protocol):
    """The ledger in a store."""

    def serve(self, report: Report, in_time: Callable[[], bool]) -> Reply | None:
        """Bring a report to the ledger. It blocks.

        Args:
            in_time: whether the report is still true.

        Returns:
            The reply. None: there is none, as the tenant has left.

        Raises:
            StoreError: that has failed, or may have been done.
        """
        ...

    def look(self) -> tuple[bytes | None, float]:
        """The ledger, as it was written last, and the time of the store's clock. Nothing
        is changed.

        Raises:
            StoreError: it can't be read.
        """
        ...


# Returns the time in seconds, in place of the store's.
Clock: TypeAlias = Callable[[], float]


def budget_store(
    store: SQLiteStore | RedisStore, key: str, clock: Clock | None = None
) -> BudgetStore:
    """The ledger of an organization.

    Args:
        key: the organization's name.
        clock: that of a loop in virtual time, on which all processes are.
    """
    if isinstance(store, SQLiteStore):
        return SQLiteBudget(store, key, clock)
    return RedisBudget(store, clock)


class SQLiteBudget:
    """The ledger in a file of SQLite."""

    def __init__(
        self, store: SQLiteStore, key: str, clock: Clock | None = None
    ) -> None:
        self._store, self._key = store, key
        self._clock: Clock = clock or store.now

    def serve(self, report: Report, in_time: Callable[[], bool]) -> Reply | None:
        """Bring a report to the ledger."""
        with self._store.transaction() as db:
            # It may have waited for the lock.
            if not in_time():
                raise StoreError(STOPPED)
            state = self._state(db)
            answer = respond(Seen(b"", state, self._clock(), {}), report)
            if not isinstance(answer, Commit):
                return answer
            db.execute("REPLACE INTO budgets VALUES (?, ?)", (self._key, answer.state))
        return answer.reply

    def look(self) -> tuple[bytes | None, float]:
        """The ledger, as it was written last, and the time of the store's clock."""
        with self._store.transaction() as db:
            return self._state(db), self._clock()

    def _state(self, db: Connection) -> bytes | None:
        found = db.execute(
            "SELECT state FROM budgets WHERE key = ?", (self._key,)
        ).fetchone()
        return found[0] if found else None


# KEYS: the state, a hash with its version and the number of reports so far; and the inbox,
# a hash with "number sequence time report" of each tenant.
_LOOK = """
local function look()
  local time = redis.call('TIME')
  local seen = redis.call('HMGET', KEYS[1], 'version', 'state')
  if not seen[1] then
    -- After the store was emptied, no version may come again.
    seen[1] = time[1] .. string.format('%06d', time[2])
    redis.call('HSET', KEYS[1], 'version', seen[1])
  end
  return {seen[1], seen[2], time[1], time[2], redis.call('HGETALL', KEYS[2])}
end
"""
# ARGV: tenant, sequence, report.
POST = Script.of(
    _LOOK
    + """
local before = redis.call('HGET', KEYS[2], ARGV[1])
local sequence = before and tonumber(string.match(before, '^%d+ (%d+) '))
-- A report that comes late does not replace a newer one.
if not sequence or sequence < tonumber(ARGV[2]) then
  local number = redis.call('HINCRBY', KEYS[1], 'reports', 1)
  local time = redis.call('TIME')
  local at = time[1] .. '.' .. string.format('%06d', time[2])
  redis.call('HSET', KEYS[2], ARGV[1], number .. ' ' .. ARGV[2] .. ' ' .. at .. ' ' .. ARGV[3])
end
local seen = look()
-- A week, in milliseconds: nobody uses this budget any more.
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PEXPIRE', KEYS[2], 604800000)
return seen
"""
)
# ARGV: version, state; then the tenant and the number of each report that it contains.
COMMIT = Script.of(
    _LOOK
    + """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return look() end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'state', ARGV[2])
for k = 3, #ARGV, 2 do
  local report = redis.call('HGET', KEYS[2], ARGV[k])
  if report and string.match(report, '^%d+') == ARGV[k + 1] then
    redis.call('HDEL', KEYS[2], ARGV[k])
  end
end
return 1
"""
)

LOOK = Script.of(
    "return {redis.call('HGET', KEYS[1], 'state'), unpack(redis.call('TIME'))}"
)


class RedisBudget:
    """The ledger in Redis or Valkey."""

    def __init__(self, store: RedisStore, clock: Clock | None = None) -> None:
        self._store, self._clock = store, clock
        self._keys = [store.name("budget"), store.name("budget", "inbox")]

    def serve(self, report: Report, in_time: Callable[[], bool]) -> Reply | None:
        """Bring a report to the ledger."""
        return serve(self, report, in_time)

    def look(self) -> tuple[bytes | None, float]:
        """The ledger, as it was written last, and the time of the store's clock."""
        state, seconds, micros = self._store.run(LOOK, self._keys[:1], [])
        clock = self._clock() if self._clock else int(seconds) + int(micros) / 1e6
        return b64decode(state) if state else None, clock

    def post(self, report: Report) -> Seen:
        """Put a report into the inbox."""
        args = [report.tenant, report.sequence, b64encode(encode(report))]
        return self._seen(self._store.run(POST, self._keys, args))

    def commit(self, commit: Commit) -> Seen | None:
        """Write a state. None: it is written. Otherwise another process was faster."""
        folded = [word for pair in commit.folded.items() for word in pair]
        args = [commit.version, b64encode(commit.state), *folded]
        reply = self._store.run(COMMIT, self._keys, args)
        return None if reply == 1 else self._seen(reply)

    def _seen(self, reply: Any) -> Seen:
        seen = _seen(reply)
        if self._clock is None:
            return seen
        now = self._clock()
        inbox = {
            tenant: Posted(each.number, Received(each.received.report, now))
            for tenant, each in seen.inbox.items()
        }
        return seen._replace(clock=now, inbox=inbox)


def _seen(reply: Any) -> Seen:
    version, state, seconds, micros, inbox = reply
    tenants = (name.decode() for name in inbox[::2])
    return Seen(
        version,
        None if state is None else b64decode(state),
        int(seconds) + int(micros) / 1e6,
        dict(zip(tenants, map(_posted, inbox[1::2]), strict=True)),
    )


def _posted(value: bytes) -> Posted:
    number, _, at, report = value.split(b" ", 3)
    received = Received(decode_report(b64decode(report)), float(at))
    return Posted(int(number), received)
