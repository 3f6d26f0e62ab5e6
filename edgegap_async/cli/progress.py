"""Shows the progress of a launch on standard error.

On a terminal it is a live bar, elsewhere a line every few seconds.
"""

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from .lines import echo_json
from .live import live_display
from .streams import tell
from .summary import Counts, ready_row

# Seconds between two lines. More lines would fill a log.
PLAIN_PERIOD = 5.0
# Seconds between two updates of the bar.
BAR_PERIOD = 0.1


class ProgressDisplay(Protocol):
    """A display of the progress.

    Attributes:
        period: seconds between two updates.
        lost: why standard error can't be written any more.
    """

    period: float
    lost: OSError | None

    def line(self, text: str) -> None:
        """Write the JSON line of a server to standard output."""
        ...

    def say(self, text: str) -> None:
        """Write a message for the user."""
        ...

    def update(self, counts: Counts) -> None:
        """Show the progress."""
        ...


class Plain:
    """A line every few seconds."""

    period = PLAIN_PERIOD

    def __init__(self) -> None:
        self.lost: OSError | None = None

    def line(self, text: str) -> None:
        """Write the JSON line of a server to standard output."""
        echo_json(text)

    def say(self, text: str) -> None:
        """Write a message for the user."""
        self.lost = tell(text) or self.lost

    def update(self, counts: Counts) -> None:
        """Show the progress."""
        self.say(_summary(counts))


class Bar:
    """A live bar. Messages are printed above it."""

    period = BAR_PERIOD

    def __init__(self, live: Live, progress: Progress, total: int) -> None:
        self._live, self._console = live, live.console
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self.lost: OSError | None = None

    def line(self, text: str) -> None:
        """Write the JSON line of a server to standard output.

        If that is a terminal, a row for a reader is printed above the bar.
        """
        if sys.stdout.isatty():
            self.say(ready_row(text, self._console.width))
        else:
            echo_json(text)

    def say(self, text: str) -> None:
        """Write a message for the user above the bar."""
        self.lost = tell(text) or self.lost

    def update(self, counts: Counts) -> None:
        """Show the progress."""
        done = counts.ready + counts.failed
        try:
            self._progress.update(
                self._task, completed=done, description=_summary(counts)
            )
            self._live.refresh()
        except OSError as error:
            self.lost = error


@contextmanager
def progress_display(
    total: int, console: Console
) -> Generator[ProgressDisplay, None, None]:
    """Yield a display for the console: a bar on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield Plain()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with live_display(console) as live:
        progress = Progress(*columns, console=console, auto_refresh=False)
        live.update(progress)
        yield Bar(live, progress, total)


async def keep_updating(
    display: ProgressDisplay,
    so_far: Callable[[], Counts],
    on_lost: Callable[[OSError], object],
) -> None:
    """Update the display periodically, until cancelled.

    Args:
        on_lost: called once if the display can't be written any more.
    """
    while not display.lost:
        await asyncio.sleep(display.period)
        display.update(so_far())
    on_lost(display.lost)


def _summary(counts: Counts) -> str:
    text = f"{counts.deployed} of {counts.total} deployed, {counts.ready} ready, {counts.failed} failed"
    return f"{text}, {counts.stopped} stopped" if counts.stopped else text
