"""`metrics`: charts of the metrics of a deployment."""

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from ..models.metrics import DeploymentMetrics, MetricSeries
from ..session import EdgegapSession
from .ages import age_option
from .chart import ASCII, BLOCKS, chart, short_number
from .common import EXIT_CODES, Common, common_options
from .operate import operate

# Lines of a chart.
HEIGHT = 4
# The cells left of it, for its largest value.
MARGIN = 8
# The widest chart.
MOST_CELLS = 160


@click.command(short_help="Show charts of a deployment's metrics.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@age_option(
    "--since", "Only the last: 90s, 15m, 1h or 2d. By default, since it started."
)
@click.option("--step", metavar="STEP", help="Time between two values: 30s, 1m, 1h.")
@common_options()
def metrics(
    common: Common, request_id: str, since: float | None, step: str | None
) -> None:
    """Show charts of the CPU, memory and network use of a deployment, from 0 at the lower
    edge to the largest value. The API does not document their units.

    With --json, it is one object with all values.

    \b
    Examples:
      edgegap metrics c065a3f1b2e4 --since 1h
    """

    async def show(edgegap: EdgegapSession) -> int:
        start = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
        found = await edgegap.deployments.metrics(
            request_id, start_time=start, steps=step
        )
        if common.output.json:
            common.output.record(found)
            return 0
        lines = [line for name, it in _series(found) for line in _chart(name, it)]
        if lines:
            common.output.text("\n".join(lines))
        else:
            common.output.say("no values yet")
        return 0

    operate(common, show)


def _series(found: DeploymentMetrics) -> Iterator[tuple[str, MetricSeries | None]]:
    yield "CPU", found.cpu
    yield "memory", found.mem
    if found.network:
        yield "network in", found.network.receive
        yield "network out", found.network.transmit


def _chart(name: str, series: MetricSeries | None) -> Iterator[str]:
    values = series.datasets if series else ()
    present = [it for it in values if it is not None]
    if not (series and present):
        return
    width = min(shutil.get_terminal_size().columns - MARGIN, MOST_CELLS)
    yield (
        f"{name}: last {short_number(present[-1])}, mean "
        f"{short_number(sum(present) / len(present))}, most {short_number(max(present))}"
    )
    edge = [short_number(max(present)), *[""] * (HEIGHT - 2), "0"]
    for label, line in zip(edge, chart(values, width, HEIGHT, _blocks()), strict=True):
        yield f"{label:>{MARGIN - 1}} {line}".rstrip()
    times = [it for it in series.timestamps if it]
    if times:
        yield f"{'':{MARGIN}}{times[0]:%Y-%m-%d %H:%M:%S} to {times[-1]:%H:%M:%S} UTC"


def _blocks() -> str:
    """What the encoding of standard output has."""
    try:
        BLOCKS.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return ASCII
    return BLOCKS
