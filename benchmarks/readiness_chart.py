"""The chart of `readiness.py`: how late those who wait learn it, over how many there
are.
"""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from readiness_table import HOWS, Figures, How, Run, worst

COLOURS: dict[How, str] = {
    "a poll each": "#b3372f",
    "watcher": "#1f5fa8",
    "watcher and webhooks": "#1d7a46",
}
NAMES: dict[How, str] = {
    "a poll each": "a poll each",
    "watcher": "the watcher",
    "watcher and webhooks": "the watcher\nand webhooks",
}
INK, FAINT = "#222222", "#dddddd"
SECONDS = (0.01, 0.1, 1, 10, 100)
TITLE = "How late those who wait learn that their servers are ready"
LEGEND = "     ".join(
    (
        "solid: p95",
        "dashed: median",
        "bars: the p95 that is asked for",
        "rings: p95 of the tenth whose webhook is lost",
    )
)
# Without these entries, two runs with the same figures make the same file.
SAME_FILE = {"Date": None, "Creator": None}


def draw(path: Path, measured: Mapping[Run, Figures]) -> None:
    """Write the chart.

    It leaves out runs in which filters are ignored, and shows the worse one of the runs
    with and without neighbours.
    """
    mpl.rcParams.update({"svg.hashsalt": "readiness", "font.size": 11})
    mpl.rcParams.update(
        dict.fromkeys(
            ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK
        )
    )
    figure = Figure(figsize=(8, 4.8), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    waiters = sorted({run.waiters for run in measured})
    for how in HOWS:
        _draw_line(axes, how, [_worst_of(measured, how, n) for n in waiters])
    _draw_scales(axes, waiters)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata=SAME_FILE if path.suffix == ".svg" else None, dpi=150)


def _worst_of(
    measured: Mapping[Run, Figures], how: How, waiters: int
) -> tuple[Run, Figures]:
    rows = [
        it
        for run, it in measured.items()
        if (run.how, run.waiters, run.ignored) == (how, waiters, False)
    ]
    return Run(how, waiters), worst(rows)


def _draw_line(axes: Axes, how: How, rows: Sequence[tuple[Run, Figures]]) -> None:
    colour, waiters = COLOURS[how], [run.waiters for run, _ in rows]
    for run, it in rows:
        if run.goal < inf:
            axes.plot(
                run.waiters,
                run.goal,
                color=colour,
                marker="_",
                markersize=20,
                markeredgewidth=3,
                alpha=0.35,
            )
        if it.lost_p95:
            axes.plot(
                run.waiters,
                it.lost_p95,
                color=colour,
                marker="o",
                markersize=6,
                markerfacecolor="white",
            )
    axes.plot(
        waiters,
        [it.p95 for _, it in rows],
        color=colour,
        linewidth=2.2,
        marker="o",
        markersize=5.5,
    )
    axes.plot(
        waiters,
        [it.p50 for _, it in rows],
        color=colour,
        linewidth=1.3,
        linestyle=(0, (4, 2)),
    )
    last = rows[-1][1].p95
    axes.annotate(
        f"{NAMES[how]}: {last:.2g} s" if last < 10 else f"{NAMES[how]}: {last:.0f} s",
        (waiters[-1], last),
        (16, 0),
        textcoords="offset points",
        color=colour,
        va="center",
    )


def _draw_scales(axes: Axes, waiters: list[int]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="servers that are waited for at once")
    axes.set_xticks(waiters, [f"{n:,}" for n in waiters])
    axes.set_yticks(SECONDS)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g} s"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    axes.spines[:].set_visible(False)
    axes.set_title(LEGEND, loc="left", fontsize=9, pad=12)
    axes.text(
        0, 1.11, TITLE, transform=axes.transAxes, fontsize=12.5, fontweight="bold"
    )
