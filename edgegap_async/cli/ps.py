"""`ps`: lists deployments."""

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import click

from ..load.words import counted
from ..models.deployment import DeploymentState, DeploymentSummary
from ..session import EdgegapSession
from .addresses import address
from .ages import age_text
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .output import Output, has_color, is_terminal, terminal_width
from .states import COLORS, NAMES, state_text, with_states
from .table import Column, table_lines
from .wanted import Wanted, age_of, listed, wanted_options
from .watch import watching

# Rows between two messages about the progress.
STEP = 100
_NOW = datetime.max.replace(tzinfo=UTC)
COLUMNS: Sequence[Column[DeploymentSummary]] = (
    Column("ID", lambda row: row.request_id),
    Column("STATE", state_text, color=lambda row: COLORS.get(state_text(row))),
    Column("AGE", lambda row: age_text(age_of(row)), right=True),
    Column("ADDRESS", address, shrinks=True, keeps=":"),
    Column("TAGS", lambda row: ",".join(row.tags), shrinks=True),
)


@click.command(short_help="List deployments.", epilog=EXIT_CODES)
@wanted_options
@click.option(
    "--state",
    type=click.Choice(NAMES, case_sensitive=False),
    help="Only those in this state. All but READY need a request for each deployment "
    "that is not READY.",
)
@click.option("--watch", is_flag=True, help="Show them again and again, until Ctrl-C.")
@common_options(simulate=True)
def ps(common: Common, wanted: Wanted, state: str | None, watch: bool) -> None:
    """List deployments, the newest first: one row each, cut to the width of the terminal.
    In a pipe, nothing is cut.

    With --json, each is printed as soon as its page has arrived, in the order of the API;
    with --quiet, only their IDs.

    The age counts from the time when the deployment was READY. The list tells only which
    deployments are READY. For up to 20 others, their status is asked for.

    \b
    Examples:
      edgegap ps --tag ranked --older-than 1h
      edgegap ps --state error --json | jq -r .request_id
      edgegap ps --simulate
    """
    chosen = DeploymentState[state.upper()] if state else None
    output = common.output
    others = output.json or output.quiet or output.verbose
    if watch and (others or not is_terminal(sys.stdout)):
        raise click.UsageError(
            "--watch needs a terminal, and no --json, --quiet or --verbose"
        )

    def rows(edgegap: EdgegapSession) -> AsyncIterator[DeploymentSummary]:
        return with_states(edgegap, listed(edgegap, wanted), chosen)

    async def show(edgegap: EdgegapSession) -> int:
        if watch:
            await watching(lambda: _screen(rows(edgegap)))
        elif output.json:
            async for row in rows(edgegap):
                output.record(row)
        elif output.quiet:
            async for row in rows(edgegap):
                output.text(row.request_id)
        else:
            found = await _newest_first(rows(edgegap), output)
            output.rows(COLUMNS, found, "no deployments")
        return 0

    operate(common, show)


async def _screen(
    rows: AsyncIterator[DeploymentSummary],
) -> tuple[str, Sequence[str]]:
    found = await _newest_first(rows)
    lines = table_lines(COLUMNS, found, width=terminal_width(), color=has_color())
    return counted(len(found), "deployment"), list(lines)


async def _newest_first(
    rows: AsyncIterator[DeploymentSummary], output: Output | None = None
) -> Sequence[DeploymentSummary]:
    """Collect rows. Those without a time, as they are not READY, are the first."""
    found: list[DeploymentSummary] = []
    async for row in rows:
        found.append(row)
        if output and len(found) % STEP == 0:
            output.progress(f"{len(found)} deployments so far")
    if output and len(found) >= STEP:
        output.progress("")
    return sorted(found, key=lambda row: row.start_time or _NOW, reverse=True)
