"""The benchmarks can be started: none of them falls behind the code."""

import subprocess
import sys

import pytest
from support.paths import ROOT

# The charts need the extra `bench`.
PROGRAMS = sorted(
    path.name for path in (ROOT / "benchmarks").glob("*.py") if "chart" not in path.name
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_benchmark_can_be_started(name: str) -> None:
    program = str(ROOT / "benchmarks" / name)
    run = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, program, "--help"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
