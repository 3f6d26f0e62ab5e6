"""`stop`: stops deployments, by their IDs or by what they have."""

import shutil
import sys
from collections.abc import Sequence
from functools import partial

import click

from ..errors import EdgegapError
from ..load.words import counted
from ..session import EdgegapSession
from .advice import explained
from .at_once import for_each
from .common import EXIT_CODES, Common, common_options
from .operate import attempt
from .output import Output, is_terminal
from .streams import FAILED
from .table import table_lines
from .targets import Target, columns_of, targets_by_id, targets_by_wanted
from .wanted import Wanted, wanted_options

# Seconds for each stop, with all retries.
TIMEOUT = 60.0
# Stops in progress at a time: more than the limit has slots.
AT_ONCE = 100
# Deployments that are named before the question.
MOST_NAMED = 20


@click.command(short_help="Stop deployments.", epilog=EXIT_CODES)
@click.argument("request_ids", nargs=-1, metavar="[ID]...")
@wanted_options
@click.option("--dry-run", is_flag=True, help="Stop nothing, and print what would be.")
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal."
)
@common_options(timeout=TIMEOUT, timeout_of="each call and each stop", shared=True)
def stop(
    common: Common,
    request_ids: Sequence[str],
    wanted: Wanted,
    dry_run: bool,
    yes: bool,
) -> None:
    """Stop the deployments with these IDs, or all that have what the options say: any of
    the tags, and that application, and that age.

    It shows what it has found and asks. Without a terminal it stops nothing unless --yes
    is given. The ID of each is printed as soon as its stop is accepted. Those that could
    not be stopped are named, and the exit code is 1. A deployment that is not READY yet
    stops once it is.

    \b
    Examples:
      edgegap stop c065a3f1b2e4
      edgegap stop --tag load-test --older-than 2h --dry-run
      edgegap stop --tag load-test --older-than 2h --yes
    """
    _check(request_ids, wanted, asks=not (dry_run or yes))
    output, targets = common.output, list[Target]()

    async def find(edgegap: EdgegapSession) -> int:
        if request_ids:
            return await targets_by_id(edgegap, request_ids, output, targets)
        return await targets_by_wanted(edgegap, wanted, output, targets)

    async def stop_them(edgegap: EdgegapSession) -> int:
        return await _stop(edgegap, targets, common)

    code = attempt(common, find)
    if targets and dry_run:
        output.rows(columns_of(targets), targets, "")
        output.say(f"would be stopped: {counted(len(targets), 'deployment')}")
    elif targets and (yes or _agreed(targets)):
        code = max(code, attempt(common, stop_them))
    elif targets:
        output.say("nothing was stopped")
        code = FAILED
    click.get_current_context().exit(code)


def _check(request_ids: Sequence[str], wanted: Wanted, *, asks: bool) -> None:
    if bool(request_ids) is not wanted.everything:
        raise click.UsageError(
            "give either IDs, or what to stop: --tag, --application, --older-than"
        )
    if asks and not is_terminal(sys.stdin):
        raise click.UsageError(
            "there is no terminal to ask on: add --yes, or --dry-run to see what would be "
            "stopped; nothing was stopped"
        )


def _agreed(targets: Sequence[Target]) -> bool:
    """Show what would be stopped, and ask."""
    shown = targets[:MOST_NAMED]
    width = shutil.get_terminal_size().columns
    for line in table_lines(columns_of(targets), shown, width=width):
        click.echo(line, err=True)
    if len(targets) > len(shown):
        click.echo(f"and {len(targets) - len(shown)} more", err=True)
    try:
        return click.confirm(f"Stop {counted(len(targets), 'deployment')}?", err=True)
    except click.Abort:
        # Ctrl-C and Ctrl-D leave the cursor behind the question.
        click.echo(err=True)
        raise


async def _stop(
    edgegap: EdgegapSession, targets: Sequence[Target], common: Common
) -> int:
    """Stop deployments, and return the exit code."""
    output, stopped, failed = common.output, 0, 0

    async def stop_one(target: Target) -> None:
        nonlocal stopped, failed
        request_id = target.request_id
        try:
            await edgegap.deployments.ensure_stopped(request_id, timeout=common.timeout)
        except EdgegapError as error:
            failed += 1
            output.problem(f"not stopped: {request_id}: {explained(error)}")
            return
        stopped += 1
        output.kept(partial(_print, output, request_id))

    try:
        await for_each(targets, stop_one, AT_ONCE)
    finally:
        left = len(targets) - stopped - failed
        more = f", {failed} failed" if failed else ""
        unknown = f", {left} may still run" if left else ""
        output.say(f"stopped: {counted(stopped, 'deployment')}{more}{unknown}")
    return FAILED if failed else 0


def _print(output: Output, request_id: str) -> None:
    if output.json:
        output.record({"request_id": request_id, "stopped": True})
    else:
        output.text(request_id)
