"""Reads and writes lines, in the encodings of shells."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from .clean_text import safe_json

# Shells on Windows write UTF-16, with a byte order mark.
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def echo_json(line: str) -> None:
    """Write a line of JSON to standard output. Unlike `print`, it flushes: the reader of
    a pipe gets each line at once.
    """
    line = safe_json(line)
    try:
        click.echo(line)
    except UnicodeEncodeError:
        # Standard output has another encoding than UTF-8. JSON needs only ASCII.
        click.echo(json.dumps(json.loads(line)))


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that can't be used. Its number counts from 1."""

    number: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.problem}"


def numbered_lines(source: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield all lines that are not blank, with their numbers.

    The lines are in UTF-8, without byte order marks.

    Raises:
        UnicodeDecodeError: the source starts as UTF-16, but is not valid UTF-16.
    """
    chunks = list(source)
    if chunks and chunks[0].startswith(_UTF_16):
        chunks = [b"".join(chunks).decode("utf-16").encode()]
    lines = (line for chunk in chunks for line in chunk.splitlines())
    for number, line in enumerate(lines, 1):
        bare = line.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n\0\x1a")
        if bare:
            yield number, bare
