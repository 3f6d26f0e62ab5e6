"""`launch --shared`: several launches keep the limits together."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.journals import entries_of, journaling
from support.launches import matches

from edgegap_async.cli.launcher import Launch
from edgegap_async.cli.program import program
from edgegap_async.simulator import Fault, Simulator

MATCHES = "".join(
    f'{{"match_id": "m{n}", "players": ["192.0.2.1"]}}\n' for n in range(40)
)
# Of the command line.
APPLICATION = ("--application", "game", "--version", "1")


def run(*args: str, **environment: str) -> Result:
    cleared = {"EDGEGAP_API_TOKEN": None, "EDGEGAP_BASE_URL": None}
    arguments = ["launch", *args, "-"]
    return CliRunner().invoke(
        program, arguments, input=MATCHES.partition("\n")[0], env=cleared | environment
    )


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_launches_with_one_store_are_refused_nothing_by_the_server(
    edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    environment = os.environ | {
        "EDGEGAP_API_TOKEN": "made-up",
        "EDGEGAP_BASE_URL": edgegap_simulator.url,
        "EDGEGAP_SHARED_URL": f"sqlite:///{tmp_path / 'edgegap.db'}",
    }
    command = [sys.executable, "-m", "edgegap_async", "launch", *APPLICATION, "-"]
    pipe = subprocess.PIPE
    launches = [
        subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )
        for _ in range(3)
    ]
    for launch in launches:
        assert launch.stdin
        launch.stdin.write(MATCHES)
        launch.stdin.close()
        launch.stdin = None
    for launch in launches:
        output, errors = launch.communicate(timeout=60)
        assert launch.returncode == 0, errors
        assert len(output.splitlines()) == 40
    counts = edgegap_simulator.counts()["limits"]
    assert {name: limit["refused"] for name, limit in counts.items()} == dict.fromkeys(
        counts, 0
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--key", "studio"), "--key names what --shared has"),
        (("--shared", "sqlite:///edgegap.db"), "absolute path"),
        (("--shared", "postgres://host/db"), "must be sqlite:////absolute/path"),
    ],
)
def test_a_wrong_store_is_named_before_anything_is_sent(
    args: tuple[str, ...], told: str
) -> None:
    result = run(*APPLICATION, *args, EDGEGAP_API_TOKEN="made-up")
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.full
@pytest.mark.slow
def test_a_simulated_launch_shares_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    result = run("--simulate", "--shared", url)
    assert result.exit_code == 2
    assert "--shared is for the real API" in result.stderr
    assert run("--simulate", EDGEGAP_SHARED_URL=url).exit_code == 0
    assert not (tmp_path / "edgegap.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "interrupted"),
    [
        ({"ready_after": (0.0, 10.0)}, True),
        ({"error_share": 1.0, "ready_after": (0.5, 0.5)}, False),
        ({"ready_after": (600.0, 600.0)}, False),
    ],
    ids=["interrupted", "failed", "not ready in time"],
)
async def test_servers_that_no_line_names_are_in_the_journal_until_they_are_stopped(
    options: dict[str, Any], interrupted: bool, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    named: set[str] = set()
    async with journaling(
        url, Fault("stop", "503-before"), options=options, cleanup_timeout=1.0
    ) as (edgegap, sim):
        launch = Launch(
            edgegap,
            matches(20),
            timeout=5.0,
            on_ready=lambda _, server, __: named.add(server.request_id),
        )
        running = asyncio.create_task(launch.run())
        await asyncio.sleep(5)
        if interrupted:
            launch.interrupt()
        await asyncio.sleep(5)
        journaled = {entry.request_id for entry in entries_of(url)}
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert len(sim.running()) == 20
        assert sim.running() == named | journaled
        assert bool(named) is interrupted
