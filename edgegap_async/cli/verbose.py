"""Messages about requests, and what the SDK logs, for a command."""

import asyncio
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..events import Event
from ..load.words import counted
from ..session import EdgegapSession
from .output import Output, is_terminal

LOGGER = "edgegap_async"
# Seconds without an answer until the user is told.
TOLD_AFTER = 2.0
# What is logged after the end of a command is of no use: there is no last resort for it.
_SILENT = logging.NullHandler()


def show_requests(output: Output, timeout: float | None) -> Callable[[Event], None]:
    """Return what shows each request, if the user wants that. Otherwise, it tells a user
    at a terminal once that there was no answer for some time.

    Args:
        timeout: seconds for a call. None: no end.
    """
    ends = "" if timeout is None else f" for up to {timeout:g} s"
    failing_since: float | None = None
    told = not is_terminal(sys.stderr)

    def watch(event: Event) -> None:
        nonlocal failing_since, told
        if event.kind != "attempt" or told:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(event.outcome, int):
            failing_since = None
        elif failing_since is None:
            failing_since = now
        elif now - failing_since >= TOLD_AFTER:
            told = True
            output.say(f"no answer from {event.host} so far: trying{ends}")

    def show(event: Event) -> None:
        if event.kind == "attempt":
            output.say(
                f"{event.method} {event.path}: {event.outcome} in {event.round_trip:.2f} s, "
                f"queued for {event.queued:.2f} s, attempt {event.attempt}"
            )

    return show if output.verbose else watch


def show_usage(output: Output, edgegap: EdgegapSession) -> None:
    """Show how the limits were used, if the user wants that."""
    if not output.verbose:
        return
    for name, used in edgegap.usage().items():
        if used.sent:
            output.say(
                f"limit {name}: {counted(used.sent, 'request')}, {used.busiest_second} in the busiest "
                f"second, {used.refused} refused"
            )


class _Handler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line of the log as a message."""
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        if record.levelno >= logging.ERROR:
            self._output.problem(text)
        else:
            self._output.say(text)


@contextmanager
def logged(output: Output) -> Generator[None, None, None]:
    """Write what the SDK logs within the block as messages: warnings, and with
    `--verbose` what it does by itself.
    """
    logger = logging.getLogger(LOGGER)
    handler, before = _Handler(output), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if output.verbose else logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.addHandler(_SILENT)
        logger.level, logger.propagate = before
