"""The charts of the page of a report. This module does no I/O."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import accumulate
from math import ceil

from .report import Report, Series, Times, Window
from .svg import (
    Plot,
    bars,
    columns,
    framed,
    hits,
    level,
    line,
    pole,
    round_up,
    step_line,
    tick_step,
    time_step,
)
from .words import clock_text, seconds_text

# Columns of a chart, at most: a longer test has one for several seconds.
MOST_COLUMNS = 300
# A window shows a percentile only if enough servers are beyond it to mean something.
LEAST_FOR = {"p50": 1, "p95": 20, "p99": 100}
COLORS = ("error", "pending", "violet", "grey", "ready")
LIMIT_COLORS = {"deploy": "error", "status": "pending", "list": "violet"}
Value = Callable[[Window], Times | None]


class Charts:
    """The charts of a report, on one time axis."""

    def __init__(self, report: Report) -> None:
        self._report, self._series = report, report.series
        seconds = max(len(report.series.due), 1)
        # Seconds of each column.
        self._step = ceil(seconds / MOST_COLUMNS)
        self._width = float(ceil(seconds / self._step) * self._step)
        self._phases = [*_phases(report)]

    def _most(self, values: Sequence[int]) -> list[int]:
        """The largest value of each column."""
        return [
            max(values[at : at + self._step])
            for at in range(0, len(values), self._step)
        ]

    def _sums(self, values: Sequence[int]) -> list[int]:
        return [
            sum(values[at : at + self._step])
            for at in range(0, len(values), self._step)
        ]

    def _per(self) -> str:
        return "second" if self._step == 1 else f"{self._step} seconds"

    def _frame(
        self, drawing: str, plot: Plot, label: str, *, unit: str = "", marks: str = ""
    ) -> str:
        step = time_step(plot.width)
        labels = [
            (float(at), clock_text(at)) for at in range(0, int(plot.width) + 1, step)
        ]
        lines = ""
        for at, name in self._phases:
            lines += f'<path class="grid" d="M{plot.x(at)} 0V100"/>'
            marks += f'<span class="phase" style="left:{plot.x(at)}%">{name}</span>'
        return framed(
            lines + drawing,
            plot,
            x_labels=labels,
            label=label,
            marks=marks,
            unit=unit,
        )

    def deploys(self) -> str:
        """Deploys per second, against the asked rate and the limit."""
        series, limit = self._series, self._report.limits["deploy"].allowed
        sent, due = self._most(series.sent), self._most(series.due)
        refused = self._most(series.refused.get("deploy", [0] * len(series.due)))
        both = [one + other for one, other in zip(sent, refused, strict=True)]
        plot = Plot(self._width, round_up(1.1 * max(*both, *due, limit or 1)))
        width = float(self._step)
        drawing = columns(sent, "area", plot, width=width)
        drawing += bars([("error", refused)], plot, width=width, above=sent)
        drawing += step_line(due, "ready", plot, width=width)
        marks = ""
        if limit is not None:
            drawn, marks = level(limit, plot, f"limit {limit:g}/s")
            drawing += drawn
        rows = zip(due, sent, refused, strict=True)
        drawing += hits(
            [
                f"{clock_text(at * self._step)}: {a} due, {b} sent, {c} refused"
                for at, (a, b, c) in enumerate(rows)
            ],
            plot,
            width=width,
        )
        keys = (("area", "sent", ""), ("error", "refused (429)", ""))
        said = f"At most {max(sent)} were sent in a second of this chart, {sum(series.sent):,} in all."
        if self._step > 1:
            said += f" Each column is the most of {self._step} seconds."
        return _figure(
            "Deploys per second",
            said,
            self._frame(drawing, plot, "Deploys per second", marks=marks),
            (*keys, ("ready", "due", "stroke")),
            wide=True,
        )

    def in_flight(self) -> str:
        """What existed at the end of each second."""
        series = self._series
        running, flying, waiting = (
            self._most(it) for it in (series.running, series.in_flight, series.waiting)
        )
        plot = Plot(self._width, round_up(max(*running, *flying, *waiting, 1)))
        width = float(self._step)
        drawing = columns(running, "ready-area", plot, width=width)
        drawing += step_line(flying, "pending", plot, width=width)
        drawing += step_line(waiting, "grey", plot, width=width)
        rows = zip(running, flying, waiting, strict=True)
        drawing += hits(
            [
                f"{clock_text(at * self._step)}: {a} ready and running, {b} in flight, {c} waiting"
                for at, (a, b, c) in enumerate(rows)
            ],
            plot,
            width=width,
        )
        return _figure(
            "In flight and ready",
            f"At most {max(running):,} servers ran at once, {max(flying):,} deploys were in flight.",
            self._frame(drawing, plot, "In flight and ready"),
            (
                ("ready-area", "ready and running", ""),
                ("pending", "in flight", "stroke"),
                ("grey", "waiting", "stroke"),
            ),
        )

    def refused(self) -> str:
        """429s by limit."""
        kinds = [
            (LIMIT_COLORS.get(name, "grey"), name, values)
            for name, values in self._series.refused.items()
            if any(values)
        ]
        if not kinds:
            return _figure("Refused (429) by limit", "No request was refused.", "", ())
        total = sum(sum(values) for *_, values in kinds)
        return self._stacked(
            "Refused (429) by limit",
            f"Per {self._per()}. {total:,} requests were refused; the SDK retries them.",
            kinds,
        )

    def failures(self) -> str:
        """Failures by kind over time."""
        kinds = [
            (failure_color(number), it.kind, self._series.failures[it.kind])
            for number, it in enumerate(self._report.failures)
        ]
        return self._stacked(
            "Failures by kind",
            f"Per {self._per()}, at the time each became known.",
            kinds,
            wide=True,
        )

    def _stacked(
        self,
        title: str,
        said: str,
        kinds: Sequence[tuple[str, str, Sequence[int]]],
        *,
        wide: bool = False,
    ) -> str:
        counted = [(color, name, self._sums(values)) for color, name, values in kinds]
        sums = [sum(it) for it in zip(*(values for *_, values in counted), strict=True)]
        plot = Plot(self._width, round_up(max(*sums, 1)))
        width = float(self._step)
        drawing = bars([(color, it) for color, _, it in counted], plot, width=width)
        drawing += hits(
            [
                f"{clock_text(at * self._step)}: "
                + (", ".join(f"{it[at]} {name}" for _, name, it in counted if it[at]))
                for at in range(len(sums))
            ],
            plot,
            width=width,
        )
        keys = [(color, f"{name} {sum(it)}", "") for color, name, it in counted]
        return _figure(title, said, self._frame(drawing, plot, title), keys, wide=wide)

    def percentiles(self) -> str:
        """The time from due to READY, over time."""
        bounds = [
            (it.limit, it.threshold)
            for it in self._report.thresholds
            if it.threshold.startswith("total_") and it.unit == "s"
        ]
        top = max((limit for limit, _ in bounds), default=0.0)
        plot = self._seconds_plot(
            [lambda window: window.total], ("p50", "p95", "p99"), top
        )
        shares = (
            ("p99", "ready", True),
            ("p95", "ready", False),
            ("p50", "text", True),
        )
        drawing, marks = "", ""
        for limit, text in bounds:
            drawn, html = level(limit, plot, text, "bound")
            drawing, marks = drawing + drawn, marks + html
        drawing += self._lines(lambda window: window.total, shares, plot)
        said = "By when a deploy was due. 95 % needs 20 servers in a window, 99 % needs 100."
        return _figure(
            "Percentiles over time",
            said,
            self._frame(
                drawing,
                plot,
                "Percentiles of the time to ready",
                unit=" s",
                marks=marks,
            ),
            (
                ("ready", "99 % (thin)", "stroke"),
                ("ready", "95 %", "stroke"),
                ("text", "50 %", "stroke"),
            ),
        )

    def wait_and_api(self) -> str:
        """Two charts on one scale: the wait for the limit, and the time of the API."""
        values: tuple[Value, Value] = (
            lambda window: window.queued,
            lambda window: window.ready_after,
        )
        plot = self._seconds_plot(values, ("p50", "p95"), 0.0)
        texts = (
            (
                "Wait for the limit",
                "Seconds in the client, from due until sent. It grows where more is asked than the limit lets through.",
                "pending",
            ),
            (
                "Time of the API until ready",
                "Seconds from sending a deploy until its server was ready, on the same scale.",
                "ready",
            ),
        )
        drawn: list[str] = []
        for value, (title, said, color) in zip(values, texts, strict=True):
            shares = (("p95", color, False), ("p50", "text", True))
            keys = ((color, "95 %", "stroke"), ("text", "50 %", "stroke"))
            drawing = self._lines(value, shares, plot)
            frame = self._frame(drawing, plot, title, unit=" s")
            drawn.append(_figure(title, said, frame, keys))
        return "".join(drawn)

    def _seconds_plot(
        self, values: Sequence[Value], shares: Sequence[str], least: float
    ) -> Plot:
        """The scales for those percentiles of windows that are drawn."""
        found = [
            getattr(times, share)
            for value in values
            for window in self._report.windows
            for share in shares
            if (times := value(window)) and times.count >= LEAST_FOR[share]
        ]
        return Plot(self._width, round_up(1.05 * max([*found, least, 0.1])))

    def _lines(
        self, value: Value, shares: Iterable[tuple[str, str, bool]], plot: Plot
    ) -> str:
        windows = self._report.windows
        width = windows[0].seconds if windows else 1.0
        drawn = ""
        for share, color, thin in shares:
            points: list[tuple[float, float | None]] = []
            for window in windows:
                times = value(window)
                enough = times is not None and times.count >= LEAST_FOR[share]
                middle = min(window.at + window.seconds / 2, plot.width)
                points.append((middle, getattr(times, share) if enough else None))
            drawn += line(points, color, plot, width=width, thin=thin)
        texts = [f"{clock_text(it.at)}: {_times_text(value(it))}" for it in windows]
        return drawn + hits(texts, plot, width=width)

    def distribution(self) -> str:
        """The time from due to READY, as a histogram."""
        histogram, total = self._report.histogram, self._report.total
        if histogram is None or total is None:
            return _figure("Distribution", "No server was ready.", "", ())
        width = histogram.step * len(histogram.counts)
        plot = Plot(width, round_up(max(histogram.counts)))
        drawing = columns(histogram.counts, "area", plot, width=histogram.step)
        marks = ""
        poles = (("50 %", total.p50), ("95 %", total.p95), ("99 %", total.p99))
        for row, (text, value) in enumerate(poles):
            if value <= width:
                drawn, html = pole(value, plot, text, row)
                drawing, marks = drawing + drawn, marks + html
        drawing += hits(
            [
                f"{at * histogram.step:g} to {(at + 1) * histogram.step:g} s: {count} servers"
                for at, count in enumerate(histogram.counts)
            ],
            plot,
            width=histogram.step,
        )
        more = f" {histogram.above} took longer." if histogram.above else ""
        step = tick_step(width)
        labels = [
            (it * step, f"{it * step:.3g} s") for it in range(int(width / step) + 1)
        ]
        return _figure(
            "Distribution",
            f"Servers by time to ready, in steps of {histogram.step:g} s.{more} "
            f"The longest took {seconds_text(total.max)}.",
            framed(drawing, plot, x_labels=labels, marks=marks, label="Distribution"),
            (),
        )


def failure_color(number: int) -> str:
    """The color of a kind of failure."""
    return COLORS[min(number, len(COLORS) - 1)]


def _times_text(times: Times | None) -> str:
    if times is None:
        return "no server"
    return (
        f"{times.count} servers, 50 % {seconds_text(times.p50)}, 95 % {seconds_text(times.p95)}, "
        f"99 % {seconds_text(times.p99)}, longest {seconds_text(times.max)}"
    )


def _phases(report: Report) -> Iterable[tuple[float, str]]:
    """When each part of the test begins, and its name."""
    plan, at = report.plan, 0.0
    if plan.ramp:
        yield at, "ramp"
        at = plan.ramp.seconds
    if plan.rate is not None or plan.hold:
        if at < report.seconds:
            yield at, "hold"
        at += plan.hold or 0.0
    last = _last_due(report.series)
    end = min(at, last) if plan.hold or plan.ramp else last
    if 0 < end < report.seconds:
        yield end, "drain"


def _last_due(series: Series) -> float:
    """The second after the last deploy that was due."""
    total = sum(series.due)
    done = (at + 1 for at, it in enumerate(accumulate(series.due)) if it == total)
    return float(next(done, 0))


def _figure(
    title: str,
    said: str,
    chart: str,
    keys: Iterable[tuple[str, str, str]],
    *,
    wide: bool = False,
) -> str:
    shown = "".join(
        f'<span class="key"><i class="{kind}" style="--c:var(--{color})"></i>{escape(text)}</span>'
        for color, text, kind in keys
    )
    return (
        f"<figure{' class=wide' if wide else ''}><figcaption><h3>{escape(title)}</h3>"
        f'<span class="keys">{shown}</span><p class="say">{escape(said)}</p></figcaption>'
        f"{chart}</figure>"
    )
