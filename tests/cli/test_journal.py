"""`journal` lists what is open, and whose it is."""

import json
import os
import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.journals import leave_dead

from edgegap_async import EdgegapSession, SharedState
from edgegap_async._shared.entries import Entry, encode
from edgegap_async._shared.journal_store import journal_store
from edgegap_async._shared.ownership import Ownership
from edgegap_async._shared.stores import make_store
from edgegap_async.cli.program import program


def run(*args: str, **environment: str | None) -> Result:
    environment = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_BASE_URL": None, **environment}
    return CliRunner().invoke(program, ["journal", *args], env=environment)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'edgegap.db'}"


def write(
    url: str, key: str, lease: float, *removed: str, **entries: Entry
) -> Ownership:
    """Write entries as a process that lives, and then remove some."""
    store = make_store(SharedState(url), key)
    owner = Ownership(journal_store(store, key), lease, 0.0)
    assert owner.save({name: encode(it) for name, it in entries.items()}, [])
    assert owner.save({}, [*removed])
    store.close()
    return owner


def test_each_entry_is_one_line_with_its_process(url: str) -> None:
    write(url, "studio", 60.0, a=Entry("held", 20.0, "once-a", "c1", "fleet", ("c2",)))
    leave_dead(url, Entry("quarantine", 10.0, "once-b"))

    result = run("--shared", url, "--key", "studio")

    assert result.exit_code == 0
    second, first = map(json.loads, result.stdout.splitlines())
    left = first.pop("lease_left")
    assert 55 < left <= 60
    assert first.pop("host")
    assert first == {
        "state": "held",
        "tag": "once-a",
        "request_id": "c1",
        "where": "fleet",
        "except_ids": ["c2"],
        "since": 20.0,
        "pid": os.getpid(),
        "owner": "alive",
    }
    assert (second["tag"], second["owner"], second["lease_left"]) == (
        "once-b",
        "closed",
        0,
    )
    assert "open: 2 (1 quarantine, 1 held)" in result.stderr


def test_a_dead_process_is_shown_as_such(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(url, "studio", 1.0, a=Entry("pending", 1.0, "once-a"))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 5)

    (line,) = run("--shared", url, "--key", "studio").stdout.splitlines()

    assert json.loads(line)["owner"] == "dead"
    assert -5.5 < json.loads(line)["lease_left"] < -3


def test_the_key_is_that_of_the_token_and_the_base_url(url: str) -> None:
    key = SharedState(url).key_for("https://api.example.com", "made-up")
    write(url, key, 60.0, a=Entry("pending", 1.0, "once-a"))
    found = {
        "EDGEGAP_API_TOKEN": "token made-up",
        "EDGEGAP_BASE_URL": "https://API.example.com/",
    }
    assert len(run("--shared", url, **found).stdout.splitlines()) == 1
    assert run(EDGEGAP_SHARED_URL=url, **found).stdout


@pytest.mark.parametrize(
    "found",
    [
        {"EDGEGAP_API_TOKEN": "wrong"},
        {"EDGEGAP_API_TOKEN": "right", "EDGEGAP_BASE_URL": "https://api.example.com"},
        {"EDGEGAP_API_TOKEN": "right", "key": "studio"},
    ],
)
def test_a_journal_that_no_session_has_used_is_told_from_an_empty_one(
    found: dict[str, str], url: str
) -> None:
    shared = SharedState(url)
    key = shared.key_for("https://api.edgegap.com", "right")
    write(url, key, 60.0, "a", a=Entry("pending", 1.0, "once-a"))
    args = ("--key", found.pop("key")) if "key" in found else ()
    none = run("--shared", url, *args, **found)
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr.startswith("open: 0; processes: 0; no session has used this")
    empty = run("--shared", url, EDGEGAP_API_TOKEN="right")
    assert (empty.stdout, empty.stderr) == ("", "open: 0; processes: 0\n")


@pytest.mark.parametrize(
    "spelling", ["https://api.example.com/v1", "https://api.example.com/v1/"]
)
def test_a_base_url_is_read_as_a_session_does(url: str, spelling: str) -> None:
    session = EdgegapSession("made-up", base_url=spelling, shared=SharedState(url))
    assert session._deploys._journal
    write(url, session._deploys._journal._key, 60.0, a=Entry("pending", 1.0, "once-a"))
    found = {"EDGEGAP_API_TOKEN": "made-up", "EDGEGAP_BASE_URL": spelling}
    assert len(run("--shared", url, **found).stdout.splitlines()) == 1


@pytest.mark.parametrize("wrong", ["api.example.com", "http://[", "https://h/?a=b"])
def test_a_wrong_base_url_is_named(url: str, wrong: str) -> None:
    found = {"EDGEGAP_API_TOKEN": "made-up", "EDGEGAP_BASE_URL": wrong}
    result = run("--shared", url, **found)
    assert result.exit_code == 2
    assert "EDGEGAP_BASE_URL must" in result.stderr


@pytest.mark.parametrize("document", [b"\xff\xfe", None, "", 5, "[]", "{}"])
def test_a_document_of_another_program_is_an_error(url: str, document: object) -> None:
    db = sqlite3.connect(url.removeprefix("sqlite:///"))
    db.execute("CREATE TABLE journal_owners (key TEXT PRIMARY KEY, document)")
    db.execute("INSERT INTO journal_owners VALUES ('studio', ?)", (document,))
    db.commit()
    db.close()
    result = run("--shared", url, "--key", "studio")
    assert result.exit_code == 1
    assert "the journal can't be read" in result.stderr


def test_looking_makes_no_file(url: str) -> None:
    result = run("--shared", url, "--key", "studio")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    assert not os.path.exists(url.removeprefix("sqlite:///"))


def test_wrong_arguments_are_named_without_the_password(url: str) -> None:
    for args, text in (
        (
            ("--shared", "mysql://u:hunter2@h/db", "--key", "a"),
            "--shared must be sqlite",
        ),
        (("--shared", url), "give --key, or set EDGEGAP_API_TOKEN"),
        ((), "Missing option '--shared'"),
    ):
        result = run(*args)
        assert result.exit_code == 2
        assert text in result.stderr
        assert "hunter2" not in result.output
    unreachable = "redis://:hunter2@127.0.0.1:1/0"
    result = run("--shared", unreachable, "--key", "a")
    assert result.exit_code == 1
    assert "no connection" in result.stderr
    assert "hunter2" not in result.output


def test_entries_of_a_newer_version_are_counted(url: str) -> None:
    store = make_store(SharedState(url), "studio")
    owner = Ownership(journal_store(store, "studio"), 60.0, 0.0)
    owner.save({"1": b'{"state":"new"}'}, [])
    store.close()
    result = run("--shared", url, "--key", "studio")
    assert result.stderr == "open: 0; processes: 0; of a newer version: 1\n"
