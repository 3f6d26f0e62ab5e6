"""Messages between processes, in each store, and which of them are believed."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from support.journals import locked
from support.stores import Valkey

from edgegap_async import SharedState
from edgegap_async._shared.relay_messages import (
    LIFETIME,
    LONGEST_MESSAGE,
    Ignored,
    Message,
    Sealer,
)
from edgegap_async._shared.relay_store import (
    MOST_READ,
    MOST_ROWS,
    RedisRelay,
    RelayStore,
    relay_store,
)
from edgegap_async._shared.store import StoreError
from edgegap_async._shared.store_redis import RedisStore
from edgegap_async._shared.stores import make_store

KEY = "studio"
NOW = 1_800_000_000.0


@contextmanager
def relays(url: str, *keys: str) -> Iterator[list[RelayStore]]:
    """Readers with connections of their own, which read from now on."""
    stores = [make_store(SharedState(url), key) for key in keys]
    found = [relay_store(store, key) for store, key in zip(stores, keys, strict=True)]
    try:
        for each in found:
            assert each.read() == []
        yield found
    finally:
        for each, store in zip(found, stores, strict=True):
            each.close()
            store.close()


def read(relay: RelayStore, count: int) -> list[bytes]:
    """Read until so many messages have arrived, as a channel is a little late."""
    found: list[bytes] = []
    end = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end, f"only {len(found)} messages arrived"
        found += relay.read()
    return found


def test_each_reader_gets_each_message_once_and_in_order(store_url: str) -> None:
    with relays(store_url, KEY, KEY, KEY) as (writer, *readers):
        writer.publish([b"first", "zwölf".encode()])
        writer.publish([b"third"])
        for reader in readers:
            assert read(reader, 3) == [b"first", "zwölf".encode(), b"third"]
            assert reader.read() == []
        writer.publish([b"fourth"])
        assert read(readers[0], 1) == [b"fourth"]


def test_a_reader_gets_no_message_of_another_organization(store_url: str) -> None:
    with relays(store_url, KEY, KEY, "other") as (writer, reader, other):
        writer.publish([b"ours"])
        other.publish([b"theirs"])
        assert (read(reader, 1), read(other, 1)) == ([b"ours"], [b"theirs"])
        assert (reader.read(), other.read()) == ([], [])


def test_many_messages_are_read_in_several_parts(store_url: str) -> None:
    sent = [b"%d" % number for number in range(2 * MOST_READ + 1)]
    with relays(store_url, KEY, KEY) as (writer, reader):
        writer.publish(sent)
        parts: list[list[bytes]] = []
        while sum(map(len, parts)) < len(sent):
            parts.append(reader.read())
        assert max(map(len, parts)) == MOST_READ
        assert [each for part in parts for each in part] == sent


def test_publishing_nothing_sends_nothing(store_url: str) -> None:
    with relays(store_url, KEY, KEY) as (writer, reader):
        writer.publish([])
        writer.publish([b"next"])
        assert read(reader, 1) == [b"next"]


# SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edgegap.db"


def rows(path: Path) -> list[tuple[float, bytes]]:
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT at, message FROM relay ORDER BY number").fetchall()
    finally:
        db.close()


def insert(path: Path, at: float | None, message: object) -> None:
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO relay (at, key, message) VALUES (?, ?, ?)", (at, KEY, message)
        )
    db.close()


@pytest.mark.parametrize("at", [-LIFETIME - 1, LIFETIME + 1], ids=["old", "clock set"])
def test_old_messages_are_removed_with_the_next_ones(path: Path, at: float) -> None:
    with relays(f"sqlite:///{path}", KEY) as (relay,):
        insert(path, time.time() + at, b"old")
        insert(path, time.time() - LIFETIME / 2, b"young")
        relay.publish([])
        assert [message for _, message in rows(path)] == [b"young"]


@pytest.mark.slow
def test_a_flood_fills_neither_the_table_nor_the_file(path: Path) -> None:
    message = bytes(LONGEST_MESSAGE)
    with relays(f"sqlite:///{path}", KEY, KEY) as (writer, reader):
        for _ in range(3 * MOST_ROWS // 500):
            writer.publish([message] * 500)
        assert len(rows(path)) == MOST_ROWS
        writer.publish([b"last"])
        assert read(reader, MOST_ROWS)[-1] == b"last"
    assert path.stat().st_size < 2 * MOST_ROWS * LONGEST_MESSAGE


def test_rows_without_a_time_are_removed_too(path: Path) -> None:
    with relays(f"sqlite:///{path}", KEY) as (relay,):
        insert(path, None, b"garbage")
        relay.publish([b"x"] * MOST_ROWS)
        assert len(rows(path)) == MOST_ROWS


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (None, b""),
        (12, b"12"),
        ("text", b"text"),
        (bytes(10 * LONGEST_MESSAGE), bytes(LONGEST_MESSAGE + 1)),
    ],
    ids=["null", "number", "text", "long"],
)
def test_garbage_in_the_table_is_read_as_bytes_and_not_in_full(
    path: Path, row: object, found: bytes
) -> None:
    with relays(f"sqlite:///{path}", KEY) as (relay,):
        insert(path, time.time(), row)
        assert relay.read() == [found]


def test_reading_needs_no_lock(path: Path) -> None:
    url = f"sqlite:///{path}"
    with relays(url, KEY, KEY) as (writer, reader):
        writer.publish([b"before"])
        with locked(url):
            began = time.monotonic()
            assert reader.read() == [b"before"]
            assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_file_that_was_replaced_is_read_from_its_beginning(
    path: Path, count: int
) -> None:
    with relays(f"sqlite:///{path}", KEY, KEY) as (writer, reader):
        writer.publish([b"one", b"two"])
        assert len(reader.read()) == 2
        for part in path.parent.iterdir():
            part.unlink()
        # Numbers begin again.
        writer.publish([b"three"] * count)
        assert reader.read() == [b"three"] * count
        assert reader.read() == []


def test_a_file_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    store = make_store(SharedState(f"sqlite:///{tmp_path / 'missing' / 'x.db'}"), KEY)
    with pytest.raises(StoreError, match="shared SQLite file: no such file"):
        relay_store(store, KEY).read()


# Redis and Valkey


def test_nothing_is_stored_in_a_server(valkey_server: Valkey) -> None:
    with relays(valkey_server.url, KEY) as (relay,):
        relay.publish([b"message"])
        assert read(relay, 1) == [b"message"]
        assert valkey_server.command("DBSIZE") == 0


def subscribers(server: Valkey) -> int:
    return len(server.command("CLIENT", "LIST", "TYPE", "PUBSUB").splitlines())


def test_a_reader_closes_its_connection(valkey_server: Valkey) -> None:
    with relays(valkey_server.url, KEY) as (relay,):
        assert subscribers(valkey_server) == 1
        relay.close()
        wait(lambda: subscribers(valkey_server) == 0)


def wait(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_reader_goes_on_after_its_connection_was_cut(valkey_server: Valkey) -> None:
    with relays(valkey_server.url, KEY, KEY) as (writer, reader):
        valkey_server.command("CLIENT", "KILL", "TYPE", "PUBSUB")
        with pytest.raises(StoreError, match="no connection"):
            reader.read()
        assert reader.read() == []
        writer.publish([b"again"])
        assert read(reader, 1) == [b"again"]


@pytest.mark.slow
def test_a_subscription_that_does_not_answer_is_begun_anew(
    valkey_server: Valkey,
) -> None:
    # As behind a balancer that has dropped the connection.
    store = make_store(SharedState(valkey_server.url), KEY)
    assert isinstance(store, RedisStore)
    relay = RedisRelay(store, ping_after=0.1)

    def use() -> None:
        for _ in range(4):
            assert relay.read() == []
            time.sleep(0.11)

    use()
    os.kill(valkey_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="its subscription does not answer"):
            use()
    finally:
        os.kill(valkey_server.pid, signal.SIGCONT)
    relay.publish([b"lost"])
    assert relay.read() == []
    relay.publish([b"next"])
    assert read(relay, 1) == [b"next"]
    relay.close()
    store.close()


@pytest.mark.parametrize(
    "without",
    ["-publish", "-subscribe", "-ping", "resetchannels"],
)
def test_a_permission_that_is_missing_is_an_error(
    valkey_server: Valkey, without: str
) -> None:
    rules = ["on", ">pw", "~edgegap:*", "resetchannels", "&edgegap:*", "+@all"]
    valkey_server.command("ACL", "SETUSER", "app", *rules, without)
    url = valkey_server.url.replace("unix://", "unix://app:pw@")
    relay = relay_store(make_store(SharedState(url), KEY), KEY)

    def use() -> None:
        for _ in range(5):
            relay.publish([b"x"])
            relay.read()
            time.sleep(0.02)

    with pytest.raises(StoreError, match="no permission for"):
        use()
    relay.close()
    valkey_server.command("ACL", "DELUSER", "app")


@pytest.mark.parametrize("decode", [True, False])
def test_a_client_of_the_user_may_decode_texts(
    valkey_server: Valkey, decode: bool
) -> None:
    def client() -> Redis:
        return Redis(unix_socket_path=valkey_server.socket, decode_responses=decode)

    store = make_store(SharedState(client=client), KEY)
    relay = relay_store(store, KEY)
    assert relay.read() == []
    relay.publish(["zwölf".encode()])
    assert read(relay, 1) == ["zwölf".encode()]
    relay.close()
    store.close()


def test_a_client_without_publish_and_subscribe_is_an_error() -> None:
    store = make_store(SharedState(client=object), KEY)
    with pytest.raises(StoreError, match="the client has raised AttributeError"):
        relay_store(store, KEY).read()


# Messages

SEALER = Sealer([b"k" * 32])
MESSAGE = Message("once-0123456789abcde", b'{"a": "b c"}')


def sealed(message: Message = MESSAGE, now: float = NOW) -> bytes:
    data = SEALER.seal(message, now)
    assert data is not None
    return data


@given(nonce=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), body=st.binary())
def test_a_sealed_message_is_read_again(nonce: str, body: bytes) -> None:
    message = Message(nonce, body)
    assert SEALER.unseal(sealed(message), NOW) == message


@pytest.mark.parametrize("age", [0.0, 0.9 * LIFETIME, -0.9 * LIFETIME])
def test_a_message_lives_for_a_while_whatever_the_clocks_say(age: float) -> None:
    assert SEALER.unseal(sealed(), NOW + age) == MESSAGE


@pytest.mark.parametrize("age", [LIFETIME + 1, -LIFETIME - 1, 1e9])
def test_a_message_that_is_too_old_is_ignored(age: float) -> None:
    assert SEALER.unseal(sealed(), NOW + age) is Ignored.TOO_OLD


@given(position=st.integers(0, 119), bit=st.integers(0, 7))
def test_a_message_that_was_changed_is_ignored(position: int, bit: int) -> None:
    data = bytearray(sealed())
    data[position % len(data)] ^= 1 << bit
    assert SEALER.unseal(bytes(data), NOW) is Ignored.NOT_SIGNED


@given(data=st.binary(max_size=200))
def test_garbage_is_ignored(data: bytes) -> None:
    assert SEALER.unseal(data, NOW) is Ignored.NOT_SIGNED
    # Also if it is signed.
    signed = SEALER._signatures(data)[0] + b" " + data
    assert isinstance(SEALER.unseal(signed, NOW), Message | Ignored)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"now n {}",
        b"nan n {}",
        b"inf n {}",
        b"1800000000 n",
        b"1800000000 \xff {}",
    ],
)
def test_a_signed_message_of_another_form_is_ignored(rest: bytes) -> None:
    signed = SEALER._signatures(rest)[0] + b" " + rest
    assert isinstance(SEALER.unseal(signed, NOW), Ignored)


def test_another_secret_is_ignored() -> None:
    assert Sealer([b"j" * 32]).unseal(sealed(), NOW) is Ignored.NOT_SIGNED


def test_a_message_that_is_too_long_is_neither_sent_nor_read() -> None:
    longest = Message("n", bytes(LONGEST_MESSAGE - len(sealed(Message("n", b"")))))
    assert SEALER.unseal(sealed(longest), NOW) == longest
    longer = Message("n", longest.body + b"x")
    assert SEALER.seal(longer, NOW) is None
    rest = b"%.3f n %s" % (NOW, longer.body)
    assert (
        SEALER.unseal(SEALER._signatures(rest)[0] + b" " + rest, NOW)
        is Ignored.TOO_LONG
    )
