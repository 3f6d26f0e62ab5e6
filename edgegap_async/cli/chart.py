"""A chart of one series as lines of text. This module does no I/O."""

from collections.abc import Sequence
from math import ceil, floor

# Parts of a cell, from none to all of it.
BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:#"
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
# From this part of a unit on, three digits would show the whole unit.
_ROUNDED = 0.9995


def short_number(value: float) -> str:
    """A number in three or four characters, such as 310M."""
    for size, unit in _UNITS:
        if abs(value) >= size * _ROUNDED:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def chart(
    values: Sequence[float | None], width: int, height: int, blocks: str = BLOCKS
) -> list[str]:
    """Return the lines of a chart, from 0 at its lower edge to the largest value.

    If there are more values than cells, each cell shows the mean of some. Values that are
    missing leave a gap.

    Args:
        width, height: cells.
        blocks: the parts of a cell, from none to all of it.
    """
    cells = _resampled(values, width)
    top = max((it for it in cells if it is not None), default=0.0)
    steps = len(blocks) - 1
    # A value above 0 is never invisible.
    levels = [
        0 if it is None or it <= 0 else max(1, ceil(it / top * height * steps))
        for it in cells
    ]
    return [
        "".join(blocks[min(steps, max(0, level - row * steps))] for level in levels)
        for row in range(height - 1, -1, -1)
    ]


def _resampled(values: Sequence[float | None], width: int) -> list[float | None]:
    count = min(len(values), width)
    parts = [
        values[floor(at * len(values) / count) : floor((at + 1) * len(values) / count)]
        for at in range(count)
    ]
    return [_mean([it for it in part if it is not None]) for part in parts]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
