"""Real web servers under load get a signal: every game server that was started is stopped,
kept by a view, or named.
"""

import signal
import sys
from pathlib import Path

import pytest
from support.framework_load import run_load

from edgegap_async.simulator import Simulator

pytestmark = [
    pytest.mark.full,
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(1.0, 3.0), stop_takes=0.0),
]
FRAMEWORKS = ["fastapi", "starlette", "litestar", "django"]
RUNS = [
    *(
        (server, framework)
        for server in ("uvicorn", "gunicorn", "hypercorn")
        for framework in FRAMEWORKS
    ),
    ("gunicorn, 5 s", "starlette"),
    ("uvicorn, lifespan off", "django"),
    ("uvicorn, lifespan off", "fastapi"),
    ("aiohttp", "aiohttp"),
    ("gunicorn, aiohttp", "aiohttp_closing_first"),
]


@pytest.mark.parametrize(("server", "framework"), RUNS)
def test_sigterm_under_load_leaves_no_unnamed_server(
    server: str,
    framework: str,
    edgegap_simulator: Simulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The extra `frameworks`, which .ci/full installs.
    pytest.importorskip("uvicorn_worker")
    result = run_load(server, framework, edgegap_simulator, tmp_path)
    # A row of the table in docs/stopping.md.
    with capsys.disabled():
        sys.stdout.write(
            f"\n| {server} | {framework} | {' | '.join(map(str, result))} |\n"
        )
    # The load was in the middle, and its matches in all states.
    assert 100 <= result.started < 200
    assert result.stopped > 5
    assert result.kept > 5
    assert result.unnamed == 0


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("uvicorn", signal.SIGHUP),
        ("uvicorn, lifespan off", signal.SIGHUP),
        ("gunicorn", signal.SIGINT),
        ("gunicorn", signal.SIGQUIT),
    ],
)
def test_other_signals_leave_no_unnamed_server(
    server: str, sent: signal.Signals, edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn_worker")
    result = run_load(server, "starlette", edgegap_simulator, tmp_path, sent)
    assert result.started >= 100
    assert result.stopped > 5
    assert result.unnamed == 0
