"""Programs of a user that run as processes, and get real signals."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Simulator

# Seconds, generous for a busy machine.
PROCESS_TIMEOUT = 60


def account(simulator: Simulator) -> dict[str, str]:
    """The environment of a program that calls the simulator."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EDGEGAP_")
    }
    return inherited | {
        "EDGEGAP_API_TOKEN": "made-up",
        "EDGEGAP_BASE_URL": simulator.url,
    }


@contextmanager
def default_signals() -> Iterator[None]:
    """Give the processes that are started meanwhile the signal handlers of a login shell:
    the tests may run under nohup.
    """
    handlers = {
        each: signal.signal(each, signal.SIG_DFL)
        for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def started(
    code: str, simulator: Simulator, *args: str, before: str = "exec"
) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process.

    Args:
        code: the code.
        simulator: the API that it calls.
        args: its arguments.
        before: what the shell puts before the command.
    """
    command = ["/bin/sh", "-c", f'{before} "$@"', "sh", sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with default_signals():
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, *args],
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=account(simulator),
        )
    with process:
        try:
            yield process
        finally:
            # This does nothing if the process has ended.
            process.kill()


def shell(line: str, simulator: Simulator) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, whose exit code is that of the first program of a pipe."""
    return subprocess.run(  # noqa: S603 - our own program
        ["/bin/bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT,
        env=account(simulator),
        check=False,
    )


def until(true: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = monotonic() + PROCESS_TIMEOUT
    while not true():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.01)


def deployed_by(
    simulator: Simulator, count: int = 1, tags: Sequence[str] = ()
) -> list[str]:
    """Deploy servers by a session in this process, and return their IDs."""

    async def deploy() -> list[str]:
        async with EdgegapSession("made-up", base_url=simulator.url) as edgegap:
            calls = (
                edgegap.deployments.deploy("game", "1", users=["192.0.2.1"], tags=tags)
                for _ in range(count)
            )
            return [it.request_id for it in await asyncio.gather(*calls)]

    return asyncio.run(deploy())
