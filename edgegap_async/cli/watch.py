"""Shows the same lines again and again, on the whole terminal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from textwrap import wrap
from typing import TypeAlias

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..errors import EdgegapError, is_permanent
from .advice import explained
from .clean_text import one_line
from .streams import messages_by

# Returns a title and the lines below it.
Render: TypeAlias = Callable[[], Awaitable[tuple[str, Sequence[str]]]]
# Seconds between two readings, at least.
PERIOD = 2.0
# A reading takes at most this part of the time, as it takes all of the list limit.
PART = 1 / 5


async def watching(render: Render) -> None:
    """Show what `render` returns, until cancelled. An error that may pass is shown, and so
    is a message for the user, until the next reading.
    """
    console = Console(highlight=False, markup=False)
    loop = asyncio.get_running_loop()
    title, lines = "reading", list[str]()
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(title: str) -> None:
            shown = screen(title, lines, console.width, console.height)
            live.update(Text.from_ansi("\n".join(shown), no_wrap=True), refresh=True)

        with messages_by(draw):
            while True:
                began = loop.time()
                try:
                    title, shown = await render()
                    lines = list(shown)
                except EdgegapError as error:
                    if is_permanent(error):
                        raise
                    title = f"Error: {one_line(explained(error))}"
                took = loop.time() - began
                draw(title)
                await asyncio.sleep(max(PERIOD, took / PART - took))


def screen(title: str, lines: Sequence[str], width: int, height: int) -> Sequence[str]:
    """Return the lines of a screen: the time and the title, and as many lines as fit."""
    head = wrap(f"{datetime.now().astimezone():%H:%M:%S}  {title}", width)
    return [*head, *cut(lines, height - len(head))]


def cut(lines: Sequence[str], height: int) -> Sequence[str]:
    """Return lines that fit, the last of which says how many there are more."""
    if len(lines) <= height:
        return lines
    kept = max(0, height - 1)
    return [*lines[:kept], f"and {len(lines) - kept} more"]
