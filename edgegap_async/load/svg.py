"""Charts as SVG. This module does no I/O.

A drawing is stretched to the width of its place, and lines keep their width. Labels are
HTML around it, in percent, so that they can be read at every width.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

# Horizontal lines of a chart, about, and labels of its time axis, at most.
LINES, LABELS = 4, 9
# Seconds between two labels.
STEPS = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    36000,
)
LONG_STEP = 86_400


class Plot(NamedTuple):
    """The scales of a chart: from values to percent of its width and height.

    Attributes:
        width: what is at its right edge.
        height: what is at its upper edge.
    """

    width: float
    height: float

    def x(self, value: float) -> str:
        """The place on the horizontal axis."""
        return _short(100 * value / self.width)

    def y(self, value: float) -> str:
        """The place on the vertical axis, from above."""
        return _short(100 - 100 * min(value, self.height) / self.height)

    def up(self, value: float) -> str:
        """The place on the vertical axis, from below."""
        return _short(100 * min(value, self.height) / self.height)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def round_up(value: float) -> float:
    """Return the next number that a labelled axis may end at."""
    step = tick_step(value)
    return max(ceil(value / step - 1e-9) * step, step)


def tick_step(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, of which about four reach a value."""
    least = max(value, 1e-9) / LINES
    power = 10.0 ** floor(log10(least))
    return next(it * power for it in (1, 2, 5, 10) if it * power >= least * 0.999)


def columns(values: Sequence[float], color: str, plot: Plot, *, width: float) -> str:
    """Counts as steps, filled down to the axis."""
    return f'<path class="fill" style="--c:var(--{color})" d="{_steps(values, plot, width)}V100H0Z"/>'


def step_line(values: Sequence[float], color: str, plot: Plot, *, width: float) -> str:
    """Counts as steps, as a line."""
    return f'<path class="stroke" style="--c:var(--{color})" d="{_steps(values, plot, width)}"/>'


def _steps(values: Sequence[float], plot: Plot, width: float) -> str:
    parts = ["M0 100"]
    last = None
    for number, value in enumerate(values):
        if value != last:
            parts.append(f"H{plot.x(number * width)}V{plot.y(value)}")
            last = value
    parts.append(f"H{plot.x(len(values) * width)}")
    return "".join(parts)


def bars(
    stacked: Sequence[tuple[str, Sequence[float]]],
    plot: Plot,
    *,
    width: float,
    above: Sequence[float] = (),
) -> str:
    """Counts as bars, one kind on top of the other. A column without any has none.

    Args:
        stacked: a color and the counts of each kind.
        above: what is below the lowest bar of each column.
    """
    base = [*above] or [0.0] * max((len(it) for _, it in stacked), default=0)
    drawn: list[str] = []
    for color, values in stacked:
        parts: list[str] = []
        for number, value in enumerate(values):
            if value:
                top = base[number] + value
                left, right = plot.x(number * width), plot.x((number + 1) * width)
                parts.append(
                    f"M{left} {plot.y(base[number])}V{plot.y(top)}H{right}V{plot.y(base[number])}Z"
                )
                base[number] = top
        drawn.append(
            f'<path class="fill" style="--c:var(--{color})" d="{"".join(parts)}"/>'
        )
    return "".join(drawn)


def line(
    points: Iterable[tuple[float, float | None]],
    color: str,
    plot: Plot,
    *,
    width: float,
    thin: bool = False,
) -> str:
    """A line through points. A value of None is a gap.

    Args:
        width: that of the window around each point. A point without neighbours is a line
            through its window, as it would not be seen.
    """
    runs: list[list[tuple[float, float]]] = [[]]
    for x, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x, value))
    path = "".join(_run(run, plot, width) for run in runs if run)
    kind = "stroke thin" if thin else "stroke"
    return f'<path class="{kind}" style="--c:var(--{color})" d="{path}"/>'


def _run(points: Sequence[tuple[float, float]], plot: Plot, width: float) -> str:
    if len(points) > 1:
        return "M" + "L".join(f"{plot.x(x)} {plot.y(value)}" for x, value in points)
    ((x, value),) = points
    start, end = max(x - width / 2, 0.0), min(x + width / 2, plot.width)
    return f"M{plot.x(start)} {plot.y(value)}H{plot.x(end)}"


def hits(texts: Sequence[str], plot: Plot, *, width: float) -> str:
    """Columns that say their figures when they are pointed at."""
    step = plot.x(width)
    return "".join(
        f'<rect class="hit" x="{plot.x(number * width)}" width="{step}" height="100">'
        f"<title>{escape(text)}</title></rect>"
        for number, text in enumerate(texts)
    )


def level(value: float, plot: Plot, text: str, kind: str = "limit") -> tuple[str, str]:
    """A horizontal line with its label: the drawing, and the HTML."""
    y = plot.y(value)
    drawn = f'<path class="{kind}" d="M0 {y}H100"/>'
    return (
        drawn,
        f'<span class="mark" style="right:0;bottom:{plot.up(value)}%">{escape(text)}</span>',
    )


def pole(value: float, plot: Plot, text: str, row: int) -> tuple[str, str]:
    """A vertical line with its label: the drawing, and the HTML."""
    x = plot.x(value)
    drawn = f'<path class="axis" d="M{x} 0V100"/>'
    return (
        drawn,
        f'<span class="pole" style="left:{x}%;top:{row * 14}px">{escape(text)}</span>',
    )


def framed(
    drawing: str,
    plot: Plot,
    *,
    x_labels: Sequence[tuple[float, str]],
    unit: str = "",
    marks: str = "",
    label: str,
) -> str:
    """A whole chart: lines behind the drawing, axes and labels.

    Args:
        label: what a reader who does not see it is told.
    """
    # Without a unit, they are counts.
    step = tick_step(plot.height) if unit else max(tick_step(plot.height), 1)
    ticks = [number * step for number in range(int(plot.height / step + 1e-6) + 1)]
    grid = "".join(
        f'<path class="{"grid" if tick else "axis"}" d="M0 {plot.y(tick)}H100"/>'
        for tick in ticks
    )
    y_labels = "".join(
        f'<span class="y" style="bottom:{plot.up(tick)}%">{tick:,.10g}{unit}</span>'
        for tick in ticks
    )
    below = "".join(
        f'<span class="x{" odd" if number % 2 else ""}" style="left:{plot.x(x)}%">{escape(text)}</span>'
        for number, (x, text) in enumerate(x_labels)
    )
    return (
        f'<div class="plot"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{grid}{drawing}</svg>{y_labels}{below}{marks}</div>'
    )


def time_step(seconds: float) -> int:
    """Seconds between two labels of a time axis."""
    fits = (it for it in STEPS if seconds / it <= LABELS)
    return next(fits, LONG_STEP)
