"""Runs a launch with its progress, Ctrl-C handling and summary."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from rich.console import Console

from ..load.words import counted
from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from .launcher import Launch
from .matches import Match
from .options import INTERRUPTED, NOTHING_STARTED, on_interrupt
from .output import is_terminal
from .progress import ProgressDisplay, keep_updating, progress_display
from .streams import discard, tell
from .summary import (
    LaunchEnd,
    ServerCounts,
    ready_line,
    request_counts,
    stopped_lines,
    summary,
)

# Makes a block in which each Ctrl-C calls a function.
Interrupts: TypeAlias = Callable[[Callable[[], None]], AbstractContextManager[None]]


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
                f"interrupted: waiting for {counted(in_flight, 'deploy')} in flight, then stopping all "
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
    with progress_display(len(matches), Console(stderr=True)) as display:
        display.say(f"launching {len(matches)} matches")
        launch = make_launch(
            session,
            matches,
            display,
            timeout=timeout,
            stop=stop,
            max_running=max_running,
        )
        interrupts = await carry_out(launch, display, stop, on_interrupt)
    return report(end_of(launch, session), display, stop, interrupts, simulator)


def make_launch(
    session: EdgegapSession,
    matches: Sequence[Match],
    display: ProgressDisplay,
    *,
    timeout: float | None,
    stop: bool,
    max_running: int | None,
) -> Launch:
    """Return a launch that prints its servers on the display. See `run_launch`."""

    def on_ready(match_id: str, server: ReadyDeployment, seconds: float) -> None:
        display.line(ready_line(match_id, server, seconds))

    return Launch(
        session,
        matches,
        timeout=timeout,
        on_ready=on_ready,
        max_running=max_running,
        # Servers that are ready would prevent further deploys.
        stop_ready=stop and max_running is not None,
    )


def end_of(launch: Launch, session: EdgegapSession) -> LaunchEnd:
    """Return how a launch has ended."""
    refused = launch.unauthorized
    return LaunchEnd(
        launch.so_far(),
        request_counts(session.usage()),
        launch.interrupted,
        str(refused) if refused else None,
    )


async def carry_out(
    launch: Launch, display: ProgressDisplay, stop: bool, interrupts: Interrupts
) -> int:
    """Run a launch, and stop its servers where they must be.

    Args:
        launch: the launch.
        display: shows its progress.
        stop: stop all servers at the end.
        interrupts: a block in which each Ctrl-C calls a function.

    Returns:
        How often it was interrupted.
    """
    interruption = _Interruption(launch, display)
    with interrupts(interruption):
        await _run(launch, display, stop)
    return interruption.count


async def _run(launch: Launch, display: ProgressDisplay, stop: bool) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(
                keep_updating(
                    display, lambda: launch.so_far().counts, launch.output_failed
                )
            )
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


def report(
    end: LaunchEnd,
    display: ProgressDisplay,
    stop: bool,
    interrupts: int,
    simulator: ServerCounts | None,
) -> int:
    """Print the summary, and return the exit code.

    Args:
        end: how the launch has ended.
        display: showed its progress.
        stop: all servers should be stopped at the end.
        interrupts: how often it was interrupted.
        simulator: the simulator, whose counts are part of the summary.
    """
    result = end.result
    if end.unauthorized:
        tell(f"launch ended: {end.unauthorized}")
        if not result.deployed:
            return NOTHING_STARTED
    lines = [
        *summary(
            result,
            end.requests,
            simulator,
            tables=not is_terminal(sys.stderr),
        ),
        *stopped_lines(result, by_name=end.interrupted),
    ]
    lost = [error for line in lines if (error := tell(line))]
    if lost or display.lost:
        discard(sys.stderr)
    if interrupts:
        return INTERRUPTED
    # With --stop, what still runs was not stopped.
    failed = lost or end.interrupted or (stop and result.existing)
    return 0 if result.complete and not failed else 1
