"""Stores for tests: a SQLite file, and a real Valkey that one worker's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores import Valkey, valkey


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def valkey_server(shared_valkey: Valkey) -> Valkey:
    """A server without data."""
    shared_valkey.command("FLUSHALL")
    return shared_valkey


@pytest.fixture(params=["sqlite", "valkey"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, of each engine."""
    return url_of(request, tmp_path)


@pytest.fixture(params=["sqlite", pytest.param("valkey", marks=pytest.mark.full)])
def one_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same for tests that take long: of one engine, and of the other with --full."""
    return url_of(request, tmp_path)


def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'edgegap.db'}"
    server: Valkey = request.getfixturevalue("valkey_server")
    return server.url
