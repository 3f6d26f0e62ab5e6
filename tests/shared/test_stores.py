"""The stores: each engine keeps its promises, and says why it can't."""

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.stores import Valkey, valkey

from edgegap_async._shared import machine
from edgegap_async._shared.config import SharedState
from edgegap_async._shared.store import StoreError
from edgegap_async._shared.store_redis import RedisStore, Script, client_of
from edgegap_async._shared.store_sqlite import SQLiteStore
from edgegap_async._shared.stores import STORES, make_store

SCHEMA = ("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)",)
ECHO = Script.of("return {KEYS[1], ARGV[1]}")
PUT = Script.of("return redis.call('SET', KEYS[1], ARGV[1])")


def put(store: SQLiteStore, number: int, **options: bool) -> None:
    with store.transaction(**options) as db:
        db.execute("INSERT INTO numbers VALUES (?)", (number,))


def numbers(store: SQLiteStore) -> list[int]:
    with store.transaction() as db:
        return [n for (n,) in db.execute("SELECT n FROM numbers ORDER BY n")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "edgegap.db")


@pytest.fixture
def sqlite(path: str) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, SCHEMA)
    yield store
    store.close()


@pytest.fixture
def second(path: str) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, SCHEMA)
    yield store
    store.close()


def kind_of(store: object) -> str:
    return type(store).__name__


def redis(url: str, key: str = "studio") -> RedisStore:
    return RedisStore(client_of(url), key)


def test_a_file_is_for_its_user_alone(sqlite: SQLiteStore, path: str) -> None:
    put(sqlite, 1, durable=True)
    for each in (path, f"{path}-wal", f"{path}-shm"):
        assert stat.S_IMODE(os.stat(each).st_mode) == 0o600


def test_a_transaction_that_fails_changes_nothing(
    sqlite: SQLiteStore, second: SQLiteStore
) -> None:
    put(sqlite, 1)

    def fail() -> None:
        with sqlite.transaction() as db:
            db.execute("INSERT INTO numbers VALUES (2)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert numbers(second) == [1]
    put(second, 3)
    assert numbers(sqlite) == [1, 3]


@pytest.mark.slow
def test_processes_wait_for_the_lock(path: str, sqlite: SQLiteStore) -> None:
    put(sqlite, 0)
    code = (
        "from edgegap_async._shared.store_sqlite import SQLiteStore\n"
        "import sys\n"
        "store = SQLiteStore(sys.argv[1])\n"
        "for _ in range(100):\n"
        "    with store.transaction() as db:\n"
        "        n = db.execute('SELECT n FROM numbers').fetchone()[0]\n"
        "        db.execute('UPDATE numbers SET n = ?', (n + 1,))\n"
        "store.close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, path])  # noqa: S603
        for _ in range(3)
    ]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert numbers(sqlite) == [300]


@pytest.mark.slow
def test_a_lock_that_is_held_for_too_long_is_an_error(
    sqlite: SQLiteStore, second: SQLiteStore
) -> None:
    put(second, 1)
    with sqlite.transaction():
        began = time.monotonic()
        with pytest.raises(StoreError, match="another process holds its lock"):
            put(second, 2)
        assert 0.9 < time.monotonic() - began < 5
    put(second, 3)
    assert numbers(sqlite) == [1, 3]


def test_a_file_that_was_deleted_or_replaced_is_made_again(
    sqlite: SQLiteStore, second: SQLiteStore, path: str
) -> None:
    put(sqlite, 1)
    put(second, 2)
    os.unlink(path)
    assert numbers(sqlite) == []
    put(sqlite, 3)
    assert numbers(second) == [3]
    other = f"{path}.other"
    fresh = SQLiteStore(other, SCHEMA)
    put(fresh, 4)
    fresh.close()
    for each in (path, f"{path}-wal", f"{path}-shm"):
        os.unlink(each)
    os.replace(other, path)
    assert numbers(sqlite) == [4]


def test_a_missing_folder_is_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file or directory"):
        put(SQLiteStore(str(tmp_path / "nowhere" / "x.db"), SCHEMA), 1)


def test_a_file_of_another_kind_is_named_as_the_reason(path: str) -> None:
    Path(path).write_text("no database, but something that is long enough" * 20)
    with pytest.raises(StoreError, match="it is no SQLite file"):
        put(SQLiteStore(path, SCHEMA), 1)


def test_a_full_disk_is_named_as_the_reason(sqlite: SQLiteStore) -> None:
    put(sqlite, 1)
    with sqlite.transaction() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    # SQLite itself reports a full file in the same way.
    sqlite._open(time.monotonic() + 1).execute(f"PRAGMA max_page_count={pages}")

    def put_much() -> None:
        with sqlite.transaction() as db:
            db.execute("CREATE TABLE blob (b BLOB)")
            db.execute("INSERT INTO blob VALUES (zeroblob(100000))")

    with pytest.raises(StoreError, match="the disk is full"):
        put_much()
    assert numbers(sqlite) == [1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_a_file_without_permission_is_named_as_the_reason(path: str) -> None:
    Path(path).touch(0o400)
    with pytest.raises(StoreError, match="permission denied"):
        put(SQLiteStore(path, SCHEMA), 1)


def test_a_file_that_can_only_be_read_is_named_as_the_reason(
    sqlite: SQLiteStore, path: str
) -> None:
    put(sqlite, 1)
    sqlite._open(time.monotonic() + 1).execute("PRAGMA query_only=1")
    with pytest.raises(StoreError, match="it can't be written to"):
        put(sqlite, 2)


def test_a_file_of_another_machine_is_refused_for_a_minute(
    sqlite: SQLiteStore, second: SQLiteStore, path: str
) -> None:
    put(sqlite, 1)
    sqlite.close()
    second.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE machines SET boot_id = 'other'")
    db.close()
    with pytest.raises(StoreError, match=r"another machine .* use redis://"):
        put(second, 2)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE machines SET seen_at = seen_at - 61")
    db.close()
    put(second, 3)
    assert numbers(second) == [1, 3]


def test_network_file_systems_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    folder = tmp_path / "a b" / "data"
    folder.mkdir(parents=True)
    mounts.write_text(
        f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/a\\040b nfs4 rw 0 0\n"
        f"/dev/sdb {tmp_path}/a\\040b/local ext4 rw 0 0\n"
    )
    assert machine.network_file_system(f"{folder}/x.db", mounts) == "nfs4"
    assert machine.network_file_system(f"{tmp_path}/a b/local/x.db", mounts) is None
    assert machine.network_file_system(f"{tmp_path}/a bc/x.db", mounts) is None
    assert machine.network_file_system(r"\\server\share\x.db", mounts)
    assert machine.network_file_system("/x.db", tmp_path / "none") is None
    monkeypatch.setattr(machine.network_file_system, "__defaults__", (mounts,))
    with pytest.raises(ValueError, match=r"network file system \(nfs4\).*use redis://"):
        make_store(SharedState(f"sqlite:///{folder}/x.db"), "k")


def test_a_script_is_known_after_its_first_call(valkey_server: Valkey) -> None:
    store = redis(valkey_server.url)
    valkey_server.command("SCRIPT", "FLUSH")
    key = store.name("journal", "a")
    assert key == "edgegap:{studio}:journal:a"
    assert store.run(ECHO, [key], ["x"]) == [key.encode(), b"x"]
    valkey_server.command("CONFIG", "RESETSTAT")
    store.run(ECHO, [key], ["x"])
    assert "cmdstat_eval:" not in valkey_server.command("INFO", "commandstats")
    store.close()


def test_a_connection_that_was_closed_while_it_was_idle_is_replaced(
    valkey_server: Valkey,
) -> None:
    store = redis(valkey_server.url)
    for _ in range(3):
        assert store.run(ECHO, ["k"], ["x"])
        assert valkey_server.command("CLIENT", "KILL", "TYPE", "normal") >= 1
    store.close()


def test_after_an_error_the_next_operation_connects_again(
    valkey_server: Valkey, tmp_path: Path
) -> None:
    # After a failover, the address is that of another server.
    address = tmp_path / "address"
    address.symlink_to(valkey_server.socket)
    store = redis(f"unix://{address}")
    with valkey() as old:
        address.unlink()
        address.symlink_to(old.socket)
        assert store.run(ECHO, ["k"], ["x"])
        old.command("REPLICAOF", "127.0.0.1", "1")
        address.unlink()
        address.symlink_to(valkey_server.socket)
        with pytest.raises(StoreError, match="replica that can't be written to"):
            store.run(PUT, ["k"], ["x"])
        assert store.run(PUT, ["k"], ["x"])
    store.close()


def test_a_client_of_the_users_own_may_decode_texts(valkey_server: Valkey) -> None:
    def make() -> Any:
        return Redis(unix_socket_path=valkey_server.socket, decode_responses=True)

    store = make_store(SharedState(client=make), "studio")
    assert isinstance(store, RedisStore)
    assert store.run(ECHO, ["k"], ["ä"]) == [b"k", "ä".encode()]
    store.close()


def test_a_factory_of_clients_that_fails_is_an_error() -> None:
    def fail() -> Any:
        raise OSError("hunter2")

    with pytest.raises(StoreError, match="no connection") as caught:
        RedisStore(fail, "studio").run(ECHO, ["k"], ["x"])
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_no_server_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match="no connection: connection refused"):
        redis(f"redis://:hunter2@127.0.0.1:{port}/0").run(ECHO, ["k"], ["x"])


def serve_once(listener: socket.socket, answer: bytes) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.recv(1000)
        peer.sendall(answer)


def test_another_kind_of_server_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        server = threading.Thread(target=serve_once, args=(listener, answer))
        server.start()
        port = listener.getsockname()[1]
        store = redis(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(StoreError, match="does not speak the protocol of Redis"):
            store.run(ECHO, ["k"], ["x"])
        store.close()
        server.join()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_an_error_after_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = redis(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        began = time.monotonic()
        with pytest.raises(StoreError, match="no answer within 1 s"):
            store.run(ECHO, ["k"], ["x"])
        assert 0.9 < time.monotonic() - began < 5
        store.close()


def test_a_wrong_or_missing_password_is_named_without_showing_it() -> None:
    with valkey() as server:
        server.command("CONFIG", "SET", "requirepass", "right-one")
        for secret in (":hunter2@", "nobody:hunter2@", ""):
            store = redis(server.url.replace("unix://", f"unix://{secret}"))
            with pytest.raises(StoreError, match="password is wrong, or missing") as it:
                store.run(ECHO, ["k"], ["x"])
            assert "hunter2" not in "".join(traceback.format_exception(it.value))
            store.close()
        right = redis(server.url.replace("unix://", "unix://:right-one@"))
        assert right.run(ECHO, ["k"], ["x"])
        right.close()


@pytest.mark.parametrize(
    "rules", ["~* +@all -@scripting", "~other:* +@all", "~* -@all"]
)
def test_missing_permissions_are_named(valkey_server: Valkey, rules: str) -> None:
    valkey_server.command("ACL", "SETUSER", "app", "on", ">pw", *rules.split())
    store = redis(valkey_server.url.replace("unix://", "unix://app:pw@"))
    with pytest.raises(StoreError, match="no permission for EVALSHA and EVAL"):
        store.run(ECHO, ["k"], ["x"])
    store.close()
    valkey_server.command("ACL", "DELUSER", "app")


def test_other_data_under_a_key_is_named(valkey_server: Valkey) -> None:
    store = redis(valkey_server.url)
    key = store.name("journal")
    valkey_server.command("SET", key, "x")
    with pytest.raises(StoreError, match="other data is stored under these keys"):
        store.run(Script.of("return redis.call('HGET', KEYS[1], 'a')"), [key], [])
    store.close()


@pytest.mark.slow
def test_the_extra_that_is_missing_is_named() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from edgegap_async._shared.stores import make_store\n"
        "from edgegap_async._shared.config import SharedState\n"
        "try: make_store(SharedState('redis://:hunter2@h'), 'k')\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "pip install 'edgegap-async[redis]'" in run.stdout
    assert "hunter2" not in run.stdout + run.stderr


def test_equal_values_share_one_thread_until_the_last_is_released(path: str) -> None:
    shared = SharedState(f"sqlite:///{path}")
    first = STORES.acquire(shared, "k")
    assert STORES.acquire(SharedState(f"sqlite:///{path}"), "k") is first
    other = STORES.acquire(shared, "another")
    assert other is not first
    assert first.submit(type, first.store).result(5) is SQLiteStore
    assert not STORES.release(shared, "k", first)
    assert STORES.release(shared, "k", first)
    assert STORES.release(shared, "another", other)
    first.join()
    assert not STORES.release(shared, "k", first)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_the_child_of_a_fork_begins_without_the_thread(store_url: str) -> None:
    shared = SharedState(store_url)
    thread = STORES.acquire(shared, "k")
    use = thread.submit(kind_of, thread.store).result(5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own = STORES.acquire(shared, "k")
            alike = own.submit(kind_of, own.store).result(5) == use
            code = 0 if own is not thread and alike else 2
            STORES.release(shared, "k", thread)
            STORES.release(shared, "k", own)
            own.join()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert thread.submit(kind_of, thread.store).result(5) == use
    STORES.release(shared, "k", thread)
    thread.join()


def insert_slowly(store: SQLiteStore, began: threading.Event) -> list[int]:
    with store.transaction() as db:
        began.set()
        time.sleep(0.1)
        db.execute("INSERT INTO numbers VALUES (2)")
    return [1]


def read_slowly(store: SQLiteStore, began: threading.Event) -> list[int]:
    with store.reading() as db:
        found = db.execute("SELECT n FROM numbers")
        began.set()
        time.sleep(0.1)
        return [n for (n,) in found]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("use", "after"), [(insert_slowly, [1, 2, 3]), (read_slowly, [1, 3])]
)
def test_a_child_that_is_forked_while_the_file_is_used_can_use_it_too(
    sqlite: SQLiteStore, path: str, use: Any, after: list[int]
) -> None:
    put(sqlite, 1)
    began = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        using = pool.submit(use, sqlite, began)
        assert began.wait(60)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                put(SQLiteStore(path, SCHEMA), 3)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert using.result(60) == [1]
    assert numbers(sqlite) == after
