"""`limits` shows the limits, and how all processes use them."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.ledger_reports import Ledger

from edgegap_async import SharedState
from edgegap_async._shared.budget_store import budget_store
from edgegap_async._shared.messages import Answers
from edgegap_async._shared.stores import make_store
from edgegap_async.cli.limits import LIMIT_COLUMNS
from edgegap_async.cli.program import program
from edgegap_async.cli.table import table_lines
from edgegap_async.endpoints import LIMITS, OPERATIONS

Report = Callable[..., None]


def run(*args: str, **environment: str | None) -> Result:
    cleared = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_BASE_URL": None}
    return CliRunner().invoke(program, ["limits", *args], env=cleared | environment)


def test_a_narrow_terminal_shows_all_calls() -> None:
    lines = list(table_lines(LIMIT_COLUMNS, LIMITS, width=80))
    assert max(map(len, lines)) <= 80
    assert all(it.call in "\n".join(lines) for it in OPERATIONS)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'edgegap.db'}"


@pytest.fixture
def report(url: str) -> Report:
    """Reports what a process has sent, as a session does."""
    reports = Ledger(listened=False)

    def tell(process: str, **told: object) -> None:
        store = make_store(SharedState(url), "studio")
        budget = budget_store(store, "studio")
        # A report of a process that is known says what was sent.
        for _ in range(2):
            assert budget.serve(reports.report(process, **told), lambda: True)
        store.close()

    return tell


def rows(url: str) -> list[dict[str, object]]:
    result = run("--shared", url, "--key", "studio", "--json")
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_limit_names_the_calls_that_count_for_it() -> None:
    result = run()
    assert result.exit_code == 0
    titles, *lines = result.stdout.splitlines()
    assert titles.split() == ["LIMIT", "PER", "SECOND", "CALLS"]
    assert [line.split()[:2] for line in lines] == [
        [limit.name, f"{limit.rate:g}"] for limit in LIMITS
    ]
    as_json = [json.loads(line) for line in run("--json").stdout.splitlines()]
    named = {call for row in as_json for call in row["calls"]}
    assert named == {operation.call for operation in OPERATIONS}


def test_the_use_of_all_processes_is_added(url: str, report: Report) -> None:
    report("a", keeps=10, answers=Answers(admitted=7, refused=1, span=0.5))
    report("b", keeps=10, answers=Answers(admitted=5, waiting=1.5))
    (row,) = rows(url)
    assert row == {
        "limit": "deploy",
        "rate": 40.0,
        "adapted": row["adapted"],
        "processes": 2,
        "admitted": 12,
        "refused": 1,
        "waiting": 1.5,
    }
    table = run("--shared", url, "--key", "studio").stdout.splitlines()
    assert table[1].split() == ["deploy", "40", "13", "1", "1.5s", "2"]


def test_looking_changes_nothing(url: str, report: Report) -> None:
    report("a", keeps=10, answers=Answers(admitted=7))
    with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
        before = db.execute("SELECT * FROM budgets").fetchall()
        assert rows(url)
        assert db.execute("SELECT * FROM budgets").fetchall() == before
    db.close()


def test_processes_that_have_ended_do_not_count(
    url: str, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    report("a", keeps=10, answers=Answers(admitted=7))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 2.5)
    assert [(it["processes"], it["admitted"]) for it in rows(url)] == [(1, 0)]
    monkeypatch.setattr("time.time", lambda: now + 60)
    assert rows(url) == []
    result = run("--shared", url, "--key", "studio")
    assert (result.stdout, result.stderr) == ("", "no process uses the limits\n")


def test_a_store_that_can_not_be_read_is_one_line(url: str) -> None:
    path = url.removeprefix("sqlite:///")
    missing = run("--shared", url, "--key", "studio")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "there is no such file" in missing.stderr
    assert not os.path.exists(path)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE budgets (key TEXT PRIMARY KEY, state BLOB)")
        db.execute("INSERT INTO budgets VALUES ('studio', ?)", (b"\xc1nonsense",))
    db.close()
    other = run("--shared", url, "--key", "studio")
    assert other.exit_code == 1
    assert "can't be read" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_a_wrong_url_of_the_environment_names_its_variable() -> None:
    result = run(EDGEGAP_SHARED_URL="mysql://h/db")
    assert "EDGEGAP_SHARED_URL must be sqlite" in result.stderr


def test_wrong_use_is_named_without_the_password() -> None:
    for args, text in (
        (("--key", "a"), "--key names what --shared has"),
        (
            ("--shared", "mysql://u:hunter2@h/db", "--key", "a"),
            "--shared must be sqlite",
        ),
        (("--shared", "sqlite:////tmp/x.db"), "give --key, or set EDGEGAP_API_TOKEN"),
    ):
        result = run(*args)
        assert result.exit_code == 2
        assert text in result.stderr
        assert "hunter2" not in result.output
