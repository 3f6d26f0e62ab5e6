"""Messages about requests, and what the SDK logs, for a command."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..events import Event
from ..load.words import counted
from ..session import EdgegapSession
from .output import Output

LOGGER = "edgegap_async"


def show_requests(output: Output) -> Callable[[Event], None] | None:
    """Return what shows each request, if the user wants that."""
    if not output.verbose:
        return None

    def show(event: Event) -> None:
        if event.kind == "attempt":
            output.say(
                f"{event.method} {event.path}: {event.outcome} in {event.round_trip:.2f} s, "
                f"queued for {event.queued:.2f} s, attempt {event.attempt}"
            )

    return show


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
        logger.level, logger.propagate = before
