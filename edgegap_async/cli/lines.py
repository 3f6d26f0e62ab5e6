"""The lines of a file or a pipe, as people and shells write them. Pure."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Shells on Windows write UTF-16, with a byte order mark.
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that can't be used, by its number, from 1."""

    number: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.problem}"


def numbered_lines(source: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """All lines that are not blank, with their numbers, in UTF-8 and without byte order
    marks.

    Raises:
        UnicodeDecodeError: the source is UTF-16, but not to its end.
    """
    chunks = list(source)
    if chunks and chunks[0].startswith(_UTF_16):
        chunks = [b"".join(chunks).decode("utf-16").encode()]
    lines = (line for chunk in chunks for line in chunk.splitlines())
    for number, line in enumerate(lines, 1):
        bare = line.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n\0\x1a")
        if bare:
            yield number, bare
