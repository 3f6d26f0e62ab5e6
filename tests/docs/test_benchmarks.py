"""The benchmarks can be started: none of them falls behind the code."""

import json
import subprocess
import sys

import pytest
from support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"
# The charts need the extra `bench`.
PROGRAMS = sorted(
    path.name for path in BENCHMARKS.glob("*.py") if "chart" not in path.name
)
# One process starts all of them, as most of the time goes into the same imports.
START_ALL = """
import contextlib, io, json, runpy, sys, traceback

folder, *names = sys.argv[1:]
sys.path.insert(0, folder)
failures = {}
for name in names:
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(f"{folder}/{name}", run_name="__main__")
        failures[name] = ""
    except SystemExit as end:
        failures[name] = str(end.code or "")
    except BaseException:
        failures[name] = traceback.format_exc()
print(json.dumps(failures))
"""


@pytest.fixture(scope="module")
def failures() -> dict[str, str]:
    run = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", START_ALL, str(BENCHMARKS), *PROGRAMS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_benchmark_can_be_started(name: str, failures: dict[str, str]) -> None:
    assert failures[name] == ""
