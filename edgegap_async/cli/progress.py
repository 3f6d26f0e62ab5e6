"""The progress of a launch, on standard error: a live bar on a terminal, else a line
now and then.
"""

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from .summary import Outcome

# Seconds between two lines, so that a log is not filled.
PLAIN_PERIOD = 5.0
# Seconds between two frames of the bar: smooth to the eye.
BAR_PERIOD = 0.1


class ProgressDisplay(Protocol):
    """A display of the progress."""

    period: float

    def line(self, text: str) -> None:
        """The JSON line of a server, to standard output."""
        ...

    def say(self, text: str) -> None:
        """A line for the user."""
        ...

    def update(self, outcome: Outcome) -> None:
        """Show the progress."""
        ...


class Plain:
    """A line now and then."""

    period = PLAIN_PERIOD

    def line(self, text: str) -> None:
        """The JSON line of a server, to standard output."""
        _write(text)

    def say(self, text: str) -> None:
        """A line for the user."""
        click.echo(text, err=True)

    def update(self, outcome: Outcome) -> None:
        """Show the progress."""
        self.say(_words(outcome))


class Bar:
    """A live bar. Lines are printed above it."""

    period = BAR_PERIOD

    def __init__(self, console: Console, progress: Progress, total: int) -> None:
        self._console = console
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def line(self, text: str) -> None:
        """The JSON line of a server, to standard output; on a terminal it goes above
        the bar.
        """
        if sys.stdout.isatty():
            self.say(text)
        else:
            _write(text)

    def say(self, text: str) -> None:
        """A line for the user, above the bar."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def update(self, outcome: Outcome) -> None:
        """Show the progress."""
        done = outcome.ready + len(outcome.failures)
        self._progress.update(
            self._task, completed=done, description=_words(outcome), refresh=True
        )


@contextmanager
def progress_display(
    total: int, console: Console
) -> Generator[ProgressDisplay, None, None]:
    """The display that suits the console."""
    if not console.is_terminal:
        yield Plain()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # Its own refresh would run in a thread. Standard output may be a file, so it is not
    # redirected.
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    ) as progress:
        yield Bar(console, progress, total)


async def keep_updating(
    display: ProgressDisplay, so_far: Callable[[], Outcome]
) -> None:
    """Update the display again and again, until cancelled."""
    while True:
        await asyncio.sleep(display.period)
        display.update(so_far())


def _words(outcome: Outcome) -> str:
    text = f"{outcome.deployed} of {outcome.total} deployed, {outcome.ready} ready, {len(outcome.failures)} failed"
    return f"{text}, {len(outcome.stopped)} stopped" if outcome.stopped else text


def _write(text: str) -> None:
    # It flushes.
    click.echo(text)
