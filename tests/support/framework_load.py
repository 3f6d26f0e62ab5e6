"""Matches by the hundred for a real web server, whose process then gets SIGTERM."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import aiohttp

from edgegap_async.simulator import Simulator
from support.framework_apps import GRACE
from support.programs import account, default_signals

TESTS = Path(__file__).parent.parent
MATCHES = 200
# For a server that is killed after five seconds.
SHORT = {"GRACE": "1", "CLEANUP_TIMEOUT": "3"}
# Seconds until the server listens, on a busy machine.
STARTUP = 60.0
APP = "support.framework_app:app"
NAMED = re.compile(r"may still be running: (.*)")


class Result(NamedTuple):
    """What became of the servers of a load.

    Attributes:
        started: how many were started.
        stopped: how many are stopped.
        kept: how many a view has kept.
        named: how many more the log names.
        unnamed: the rest.
        seconds: from the signal to the end of the process.
        exit_code: of the process.
    """

    started: int
    stopped: int
    kept: int
    named: int
    unnamed: int
    seconds: float
    exit_code: int


def command(server: str, port: int) -> list[str]:
    """The command line of a server, with the settings of docs/stopping.md."""
    at = f"127.0.0.1:{port}"
    python = [sys.executable, "-m"]
    uvicorn = [*python, "uvicorn", APP, "--port", str(port), "--log-level", "warning"]
    grace = ["--timeout-graceful-shutdown", str(GRACE)]
    gunicorn = [*python, "gunicorn", APP, "--bind", at, "--graceful-timeout"]
    run = "from aiohttp import web; from support.framework_app import app; "
    commands: dict[str, list[str]] = {
        "uvicorn": [*uvicorn, *grace],
        "uvicorn, lifespan off": [*uvicorn, *grace, "--lifespan", "off"],
        "gunicorn": [*gunicorn, "20", "-k", "support.framework_app.Worker"],
        "gunicorn, 5 s": [*gunicorn, "5", "-k", "support.framework_app.Worker"],
        "gunicorn, aiohttp": [*gunicorn, "10", "-k", "aiohttp.GunicornWebWorker"],
        "hypercorn": [
            *python, "hypercorn", APP, "--bind", at, "--graceful-timeout", str(GRACE)
        ],
        "aiohttp": [
            sys.executable,
            "-c",
            f"{run}web.run_app(app, host='127.0.0.1', port={port}, shutdown_timeout={GRACE})",
        ],
    }  # fmt: skip
    return commands[server]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _load(
    port: int,
    process: subprocess.Popen[bytes],
    simulator: Simulator,
    sent: signal.Signals,
) -> float:
    """Ask for matches, and send a signal in the middle. Some clients leave early.

    Returns:
        When it was sent, on the loop's clock.
    """

    async def ask(http: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(number / 50)
        # Every fifth client leaves early, every seventh request holds its server.
        leaves = aiohttp.ClientTimeout(total=1.0 if number % 5 == 0 else 120.0)
        query = "?hold=true" if number % 7 == 0 else ""
        try:
            async with http.post(f"/matches{query}", timeout=leaves) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass

    async with (
        aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(MATCHES):
            group.create_task(ask(http, number))
        # The simulator runs in another thread.
        while len(simulator.deployed()) < MATCHES / 2 and process.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        process.send_signal(sent)
        # The clients end first.
        return asyncio.get_running_loop().time()


async def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(STARTUP):
        while process.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def run_load(
    server: str,
    framework: str,
    simulator: Simulator,
    where: Path,
    sent: signal.Signals = signal.SIGTERM,
) -> Result:
    """Run a load on a server, and end it with a signal in the middle.

    Args:
        where: a folder for what it prints.
        sent: the signal.
    """
    port = free_port()
    environment = account(simulator) | {
        "FRAMEWORK": framework,
        "PYTHONPATH": str(TESTS),
        "PYTHONUNBUFFERED": "1",
        **(SHORT if server == "gunicorn, 5 s" else {}),
    }
    out, err = where / "out", where / "err"
    with out.open("wb") as output, err.open("wb") as errors, default_signals():
        process = subprocess.Popen(  # noqa: S603 - our own program
            command(server, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            cwd=where,
        )
    with asyncio.Runner() as runner:
        runner.run(_listening(port, process))
        try:
            began = runner.run(_load(port, process, simulator, sent))
            process.wait(120)
        finally:
            process.kill()
            process.wait()
        seconds = runner.get_loop().time() - began
    return _result(
        simulator, out.read_text(), err.read_text(), seconds, process.returncode
    )


def _result(
    simulator: Simulator, out: str, err: str, seconds: float, exit_code: int
) -> Result:
    started, stopped = {*simulator.deployed()}, simulator.stopped()
    kept = {line.split()[1] for line in out.splitlines() if line.startswith("kept ")}
    names = {
        word for line in NAMED.findall(err) for word in re.findall(r"[\w-]+", line)
    }
    left = started - stopped - kept
    named = {it for it in left if names & {it, *simulator.tags_of(it)}}
    return Result(
        len(started),
        len(stopped),
        len(started & kept),
        len(named),
        len(left - named),
        round(seconds, 1),
        exit_code,
    )
