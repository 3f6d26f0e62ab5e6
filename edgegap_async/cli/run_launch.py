"""Runs a launch for a user: progress, Ctrl-C, the summary."""

import asyncio
import os
import sys
from collections.abc import Sequence

import click
from rich.console import Console

from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from .launcher import Launch
from .matches import Match
from .options import INTERRUPTED, NOTHING_STARTED, on_interrupt
from .progress import ProgressDisplay, keep_updating, progress_display
from .summary import ServerCounts, ready_line, stopped_lines, summary


class _Interruption:
    """Handles Ctrl-C: the first one interrupts the launch, the second one ends
    everything.
    """

    def __init__(self, launch: Launch, display: ProgressDisplay) -> None:
        self.count = 0
        self._launch = launch
        self._show = display
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        self.count += 1
        if self.count == 1:
            self._launch.interrupt()
            waited_for = len(self._launch.in_flight)
            self._show.say(
                f"interrupted: nothing more is started; {waited_for} deploys in flight are waited for, "
                "then all servers are stopped (once more to end at once)"
            )
        elif self._task:
            self._task.cancel()


async def run_launch(
    session: EdgegapSession,
    matches: Sequence[Match],
    *,
    timeout: float | None,
    stop: bool,
    max_running: int | None = None,
    simulator: ServerCounts | None = None,
) -> int:
    """Launch the matches, and return the exit code.

    Args:
        session: of the SDK.
        matches: what to launch.
        timeout: seconds for each, from the sending of its deploy until it is ready.
        stop: stop all servers again.
        max_running: how many servers may exist at once.
        simulator: what counts at the other end.

    Raises:
        CancelledError: Ctrl-C came twice; it has said what is left.
    """

    def tell(match_id: str, server: ReadyDeployment, seconds: float) -> None:
        display.line(ready_line(match_id, server, seconds))

    with progress_display(len(matches), Console(stderr=True)) as display:
        launch = Launch(
            session,
            matches,
            timeout=timeout,
            tell=tell,
            max_running=max_running,
            # They would keep the others from being started.
            stop_ready=stop and max_running is not None,
        )
        interruption = _Interruption(launch, display)
        with on_interrupt(interruption):
            await _run(launch, display, stop=stop)
    if launch.unauthorized:
        click.echo(f"launch ended: {launch.unauthorized}", err=True)
        if not launch.so_far().deployed:
            return NOTHING_STARTED
    for line in summary(launch.outcome, session.usage(), simulator):
        click.echo(line, err=True)
    for line in stopped_lines(launch.outcome, by_name=launch.interrupted):
        click.echo(line, err=True)
    if interruption.count:
        return INTERRUPTED
    # With --stop, what still runs was not stopped.
    failed = stop and launch.outcome.existing
    return 0 if launch.outcome.complete and not failed else 1


def _let_go_of_stdout() -> None:
    """Discard the buffer of standard output. Flushing it would fail once more when the
    interpreter exits, and change the exit code.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


async def _run(launch: Launch, display: ProgressDisplay, *, stop: bool) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(keep_updating(display, launch.so_far))
            display.say(f"launching {launch.outcome.total} matches")
            try:
                await launch.run()
            except Exception:
                # Whatever went wrong, no server is left running.
                await launch.stop_all()
                raise
            if launch.write_error:
                display.say(
                    f"standard output can't be written, so all servers are stopped: {launch.write_error}"
                )
                _let_go_of_stdout()
            if stop or launch.interrupted:
                await launch.stop_all()
            ticker.cancel()
    except BaseException:
        for line in stopped_lines(launch.outcome, by_name=True):
            display.say(line)
        raise
