"""Tables of text that fit a terminal. This module does no I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import Generic, TypeVar

import click
from rich.cells import cell_len, set_cell_size

from .clean_text import one_line

T = TypeVar("T")
# Between two columns.
GAP = "  "
# Cells: a column that shrinks keeps so many.
LEAST = 8
# Any other column keeps so many: IDs are shorter.
LEAST_OF_OTHERS = 20
# A text with an end that is kept has so many cells before it, to tell anything.
LEAST_BEFORE = 4
CUT = "…"
# What stands for nothing.
NONE = "-"


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table.

    Attributes:
        title: what stands above it.
        text: returns the text of a row. Empty: there is none.
        shrinks: whether its texts may be cut, to fit the terminal. Others are cut only if
            they are long, and the line would break otherwise.
        keeps: a text is cut before the last of these characters, as an address is before
            its ports. Empty: it is cut at its end.
        wraps: whether its texts go on in the next line, instead of being cut.
        right: whether its texts stand at its right edge, as numbers do.
        color: returns the color of a row, as click calls it. None: none.
    """

    title: str
    text: Callable[[T], str]
    shrinks: bool = False
    keeps: str = ""
    wraps: bool = False
    right: bool = False
    color: Callable[[T], str | None] | None = None


def table_lines(
    columns: Sequence[Column[T]],
    rows: Sequence[T],
    *,
    width: int | None = None,
    color: bool = False,
) -> Iterator[str]:
    """Yield the lines of a table, the titles first.

    Args:
        width: the cells of a line. None: nothing is cut.
        color: whether the lines may have colors.
    """
    texts = [[one_line(column.text(row)) or NONE for column in columns] for row in rows]
    natural = [
        max((cell_len(cells[at]) for cells in texts), default=0)
        for at in range(len(columns))
    ]
    widths = [
        max(cell_len(column.title), cells)
        for column, cells in zip(columns, natural, strict=True)
    ]
    if width is not None:
        widths = _fitted(columns, widths, width)
    titles = [
        _cell(it, it.title, cells) for it, cells in zip(columns, widths, strict=True)
    ]
    yield GAP.join(titles).rstrip()
    for row, cells in zip(rows, texts, strict=True):
        parts = [_parts(*it) for it in zip(columns, cells, widths, strict=True)]
        for texts_of_line in zip_longest(*parts, fillvalue=""):
            line = [
                _cell(*it) for it in zip(columns, texts_of_line, widths, strict=True)
            ]
            if color:
                line = [
                    click.style(text, fg=it.color(row)) if it.color else text
                    for it, text in zip(columns, line, strict=True)
                ]
            yield GAP.join(line).rstrip()


def _fitted(columns: Sequence[Column[T]], widths: list[int], width: int) -> list[int]:
    """Return widths that fit a line: the widest columns that may shrink get narrower."""
    fitted = list(widths)
    excess = sum(fitted) + len(GAP) * (len(columns) - 1) - width
    for shrinks, least in ((True, LEAST), (False, LEAST_OF_OTHERS)):
        shrinking = [at for at, it in enumerate(columns) if it.shrinks is shrinks]
        while excess > 0 and shrinking:
            widest = max(shrinking, key=lambda at: fitted[at])
            if fitted[widest] <= least:
                break
            fitted[widest] -= 1
            excess -= 1
    return fitted


def _parts(column: Column[T], text: str, width: int) -> Sequence[str]:
    """The lines of a cell."""
    return wrap(text, width) if column.wraps else [text]


def _cell(column: Column[T], text: str, width: int) -> str:
    text = cut(text, width, column.keeps)
    padding = " " * (width - cell_len(text))
    return padding + text if column.right else text + padding


def cut(text: str, width: int, keeps: str = "") -> str:
    """Cut a text to so many cells.

    Args:
        keeps: see `Column`.
    """
    if cell_len(text) <= width:
        return text
    head, mark, tail = text.rpartition(keeps) if keeps else (text, "", "")
    room = width - cell_len(CUT + mark + tail)
    if room < LEAST_BEFORE:
        return set_cell_size(text, width - 1) + CUT
    return f"{set_cell_size(head, room)}{CUT}{mark}{tail}"
