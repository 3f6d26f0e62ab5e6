"""`benchmarks/crash.py` finds nothing, and would find something."""

import subprocess
import sys

import pytest
from support.paths import ROOT

CRASH = str(ROOT / "benchmarks" / "crash.py")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (our own)
        [sys.executable, CRASH, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )


@pytest.mark.slow
@pytest.mark.full
def test_processes_that_are_killed_leave_nothing_and_nothing_is_stopped_wrongly() -> (
    None
):
    found = run("sqlite", "--runs", "1", "--matches", "40", "--rate", "20")
    assert found.returncode == 0, found.stdout + found.stderr
    _, servers, *bad = map(int, found.stdout.splitlines()[1].split()[:5])
    assert servers > 10
    assert bad == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.full
def test_without_a_journal_the_benchmark_finds_what_was_forgotten() -> None:
    found = run("none", "--runs", "1", "--matches", "80", "--rate", "20")
    assert found.returncode == 1
    _, servers, forgotten, *_ = map(int, found.stdout.splitlines()[1].split()[:3])
    assert 0 < forgotten < servers
