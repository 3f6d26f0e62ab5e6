"""What a command writes: results to standard output, messages to standard error."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import msgspec

from .clean_text import cleaned, one_line
from .lines import echo_json
from .streams import discard, is_closed, tell
from .table import Column, table_lines

T = TypeVar("T")
# Erases the line of a terminal, and returns to its beginning.
ERASE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Output:
    """What the user wants to see.

    Attributes:
        json: results are lines of JSON.
        quiet: no messages but errors.
        verbose: each request is a message.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def record(self, value: msgspec.Struct | Mapping[str, Any]) -> None:
        """Write a result as a line of JSON."""
        echo_json(msgspec.json.encode(value).decode())

    def text(self, text: str, *, nl: bool = True) -> None:
        """Write text to standard output, without what controls a terminal.

        Args:
            nl: end with a line end.
        """
        write_text(cleaned(text), nl=nl)

    def kept(self, write: Callable[[], None]) -> None:
        """Write a result of what was done. If nobody can read it any more, go on: the
        rest must be done and reported, too.
        """
        try:
            write()
        except OSError:
            discard(sys.stdout)

    def rows(self, columns: Sequence[Column[T]], rows: Sequence[T], none: str) -> None:
        """Write a table, or a line of JSON for each row.

        Args:
            none: what to say if there are no rows.
        """
        if self.json:
            for row in rows:
                echo_json(msgspec.json.encode(row).decode())
        elif rows:
            lines = table_lines(
                columns, rows, width=terminal_width(), color=has_color()
            )
            write_text("\n".join(lines))
        else:
            self.say(none)

    def say(self, text: str) -> None:
        """Write a message, unless the user wants none."""
        if not self.quiet:
            tell(one_line(text))

    def problem(self, text: str) -> None:
        """Write an error, in one line."""
        tell(one_line(text))

    def progress(self, text: str) -> None:
        """Show what is done so far, in a line of the terminal that the next one replaces.
        An empty text removes it.
        """
        if not (self.quiet or self.json) and is_terminal(sys.stderr):
            click.echo(ERASE + one_line(text), nl=False, err=True)


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal."""
    return not is_closed(stream) and bool(stream.isatty())


def terminal_width() -> int | None:
    """The width of the terminal in cells. None: standard output is none."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def has_color() -> bool:
    """Whether standard output may have colors: see https://no-color.org."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal(sys.stdout) and not plain


def write_text(text: str, *, nl: bool = True) -> None:
    """Write text to standard output. Characters that its encoding has not are replaced."""
    try:
        click.echo(text, nl=nl)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        click.echo(text.encode(encoding, "replace").decode(encoding), nl=nl)
