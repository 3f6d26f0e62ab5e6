"""Shows the progress of a load test on standard error.

On a terminal it is a view of a few lines that is drawn again each second, elsewhere a line
every few seconds.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..load import Plan, Progress
from .clean_text import cleaned
from .live import live_display
from .output import Output
from .streams import tell

# Seconds between two lines.
PLAIN_PERIOD = 5.0


def _nothing() -> None:
    pass


class View:
    """Lines every few seconds.

    Attributes:
        on_lost: called once if standard error can't be written any more.
        lost: why.
        interrupted: whether the test was ended before its time.
    """

    interrupted = False

    def __init__(self, output: Output) -> None:
        self.on_lost: Callable[[], object] = _nothing
        self.lost: OSError | None = None
        self._output = output
        self._last = 0.0

    def update(self, progress: Progress) -> None:
        """Show the progress."""
        if self._output.quiet or progress.seconds - self._last < PLAIN_PERIOD - 0.5:
            return
        self._last = progress.seconds
        self._failed(tell(line_of(progress)))

    def _failed(self, error: OSError | None) -> None:
        if error and not self.lost:
            self.lost = error
            self.on_lost()


class LiveView(View):
    """A view that is drawn again and again."""

    def __init__(self, output: Output, live: Live, plan: Plan) -> None:
        super().__init__(output)
        self._live, self._plan = live, plan

    def update(self, progress: Progress) -> None:
        """Show the progress."""
        try:
            text = Text("\n".join(lines_of(progress, self._plan, self.interrupted)))
            self._live.update(text, refresh=True)
        except OSError as error:
            self._failed(error)


@contextmanager
def view(plan: Plan, output: Output) -> Generator[View, None, None]:
    """Yield a view of the progress of a test."""
    console = Console(stderr=True)
    if output.quiet or not console.is_terminal:
        yield View(output)
        return
    with live_display(console) as live:
        yield LiveView(output, live, plan)


def line_of(progress: Progress) -> str:
    """The progress in one line."""
    failed = sum(progress.failures.values())
    text = (
        f"{progress.seconds:.0f} s: {progress.asked}/s asked, {progress.reached}/s reached, "
        f"{progress.waiting} waiting, {progress.in_flight} in flight, {progress.ready} ready, "
        f"{failed} failed"
    )
    return f"{text}, {progress.refused} refused" if progress.refused else text


def lines_of(progress: Progress, plan: Plan, interrupted: bool = False) -> list[str]:
    """The progress in a few lines."""
    ends = ", interrupted" if interrupted else _left(progress, plan)
    failures = [f"{count} {kind}" for kind, count in progress.failures.items()]
    lines = [
        f"time       {progress.seconds:.0f} s{ends}",
        f"rate       {progress.asked}/s asked, {progress.reached}/s reached, {progress.refused} refused (429)",
        f"deploys    {progress.due} due, {progress.waiting} waiting, {progress.in_flight} in flight",
        f"servers    {progress.ready} ready, {progress.running} running, {progress.stopped} stopped",
        f"failed     {', '.join(failures) or 'none'}",
    ]
    if it := progress.ready_after:
        lines.append(
            f"until ready  p50 {it.p50:.2f} s, p95 {it.p95:.2f} s, p99 {it.p99:.2f} s, max {it.max:.2f} s"
        )
    return [cleaned(line) for line in lines]


def _left(progress: Progress, plan: Plan) -> str:
    left = sum(phase.seconds for phase in plan.phases) - progress.seconds
    return f", {left:.0f} s left" if 0 < left < float("inf") else ""
