"""Runs a launch with its progress, Ctrl-C handling and summary."""

import asyncio
import sys
from collections.abc import Sequence

from rich.console import Console

from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from .launcher import Launch
from .matches import Match
from .options import INTERRUPTED, NOTHING_STARTED, on_interrupt
from .progress import ProgressDisplay, keep_updating, progress_display
from .streams import discard, tell
from .summary import ServerCounts, ready_line, stopped_lines, summary


class _Interruption:
    """Handles Ctrl-C: the first interrupts the launch, the second ends the program."""

    def __init__(self, launch: Launch, display: ProgressDisplay) -> None:
        self.count = 0
        self._launch = launch
        self._display = display
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        self.count += 1
        if self.count == 1:
            self._launch.interrupt()
            in_flight = len(self._launch.in_flight)
            self._display.say(
                f"interrupted: waiting for {in_flight} deploys in flight, then stopping all "
                "servers; press Ctrl-C again to end at once"
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
        session: the session to use.
        matches: the matches to launch.
        timeout: seconds for each match, from its deploy until its server is ready.
            None: no limit.
        stop: stop all servers at the end.
        max_running: how many servers may exist at once. None: no bound.
        simulator: the simulator, whose counts are part of the summary.

    Raises:
        CancelledError: Ctrl-C was pressed twice. The servers that are left have been
            printed.
    """

    def on_ready(match_id: str, server: ReadyDeployment, seconds: float) -> None:
        display.line(ready_line(match_id, server, seconds))

    with progress_display(len(matches), Console(stderr=True)) as display:
        launch = Launch(
            session,
            matches,
            timeout=timeout,
            on_ready=on_ready,
            max_running=max_running,
            # Servers that are ready would prevent further deploys.
            stop_ready=stop and max_running is not None,
        )
        interruption = _Interruption(launch, display)
        with on_interrupt(interruption):
            await _run(launch, display, stop=stop)
    if launch.unauthorized:
        tell(f"launch ended: {launch.unauthorized}")
        if not launch.so_far().deployed:
            return NOTHING_STARTED
    lines = [
        *summary(launch.result, session.usage(), simulator),
        *stopped_lines(launch.result, by_name=launch.interrupted),
    ]
    lost = [error for line in lines if (error := tell(line))]
    if lost or display.lost:
        discard(sys.stderr)
    if interruption.count:
        return INTERRUPTED
    # With --stop, what still runs was not stopped.
    failed = lost or launch.interrupted or (stop and launch.result.existing)
    return 0 if launch.result.complete and not failed else 1


async def _run(launch: Launch, display: ProgressDisplay, *, stop: bool) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(
                keep_updating(display, launch.so_far, launch.output_failed)
            )
            display.say(f"launching {launch.result.total} matches")
            try:
                await launch.run()
            except Exception:
                # After any error, no server may be left running.
                await launch.stop_all()
                raise
            if launch.write_error:
                display.say(
                    f"writing to standard output failed, stopping all servers: {launch.write_error}"
                )
                discard(sys.stdout)
            if stop or launch.interrupted:
                await launch.stop_all()
            ticker.cancel()
    except BaseException:
        for line in stopped_lines(launch.result, by_name=True):
            display.say(line)
        raise
