"""The standard streams of a command: they may be closed, or fail while it runs."""

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from .clean_text import cleaned, one_line
from .options import NOTHING_STARTED

FAILED = 1
# What writes messages while a display is drawn again and again: above it.
_writers: list[Callable[[str], object]] = []
CLOSED = (
    "is closed, so nobody would be told which servers were started: nothing was started"
)


class InputFile(click.File):
    """A file to read, or `-` for standard input."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Open the file."""
        if value == "-" and is_closed(sys.stdin):
            self.fail("standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


def is_closed(stream: TextIO | None) -> bool:
    """Whether the program was started without a stream, as by `>&-` in a shell."""
    return stream is None or stream.closed


def require_outputs() -> None:
    """Exit before anything is started, unless standard output and error are open."""
    if is_closed(sys.stdout):
        tell(f"standard output {CLOSED}")
    elif is_closed(sys.stderr):
        with suppress(OSError):
            click.echo(f"standard error {CLOSED}")
    else:
        return
    raise click.exceptions.Exit(NOTHING_STARTED)


def tell(text: str) -> OSError | None:
    """Write a message for the user to standard error, without what controls a terminal.
    It is written above a display that is drawn again and again.

    Returns:
        The error, if it can't be written.
    """
    try:
        if _writers:
            _writers[-1](cleaned(text))
        else:
            click.echo(cleaned(text), err=True)
    except OSError as error:
        return error
    return None


def write_failed(error: OSError) -> int:
    """Standard output can't be written. Say so, unless its reader has gone away, as `head`
    does.

    Returns:
        The exit code.
    """
    discard(sys.stdout)
    if error.errno == errno.EPIPE:
        return 0
    tell(one_line(f"Error: writing failed: {error.strerror or error}"))
    return FAILED


@contextmanager
def messages_by(write: Callable[[str], object]) -> Generator[None, None, None]:
    """Let a function write the messages for the user within the block."""
    _writers.append(write)
    try:
        yield
    finally:
        _writers.pop()


def discard(stream: TextIO) -> None:
    """Discard the buffer of a stream that can't be written.

    The interpreter flushes the buffer at its exit. That would fail again, and change
    the exit code.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
