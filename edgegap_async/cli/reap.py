"""`reap`: finds and stops the servers that a dead process has left running."""

import asyncio
import sys
from collections.abc import Sequence

import click
import msgspec

from ..errors import EdgegapError
from ..models._check import tag_name
from ..session import EdgegapSession
from .lines import BadLine, numbered_lines
from .options import INTERRUPTED, LoopFactory


@click.command(short_help="Find servers by their tags, and stop them.")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option(
    "--stop", is_flag=True, help="Stop these servers; without it, only list them."
)
@click.pass_context
def reap(context: click.Context, tags: Sequence[str], stop: bool) -> None:
    """Find the servers with any of these tags: those that `on_intent` received, or your
    own.

    - reads tags from standard input, one per line. Lines that can't be read are
    reported and skipped. Do not use the tags of a process that still runs: --stop would
    stop its servers too.

    Each deployment is printed as one JSON line on standard output. Nothing is stopped
    without --stop.

    The token is read from EDGEGAP_API_TOKEN.

    Exit code: 0, success; 1, a line could not be read or a server not be stopped; 2,
    wrong arguments; 130, interrupted.
    """
    factory: LoopFactory | None = context.obj
    bad: list[BadLine] = []
    tags = [tag for given in tags for tag in (_read(bad) if given == "-" else [given])]
    for line in bad:
        click.echo(f"standard input, {line}", err=True)
    if not (tags or bad):
        raise click.UsageError("there are no tags")
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            code = runner.run(_reap(tags, stop)) if tags else 0
    except EdgegapError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = INTERRUPTED
    context.exit(code or (1 if bad else 0))


def _read(bad: list[BadLine]) -> list[str]:
    """Read the tags on standard input, one per line.

    Lines that can't be read are added to `bad`.
    """
    tags: list[str] = []
    try:
        for number, line in numbered_lines(sys.stdin.buffer):
            try:
                tags.append(tag_name("tag", line.decode()))
            except ValueError as error:
                bad.append(BadLine(number, str(error)))
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input can't be read: {error}") from error
    return tags


async def _reap(tags: Sequence[str], stop: bool) -> int:
    async with EdgegapSession() as edgegap:
        found = await edgegap.deployments.reap(tags)
        for row in found:
            click.echo(msgspec.json.encode(row).decode())
        if not stop:
            click.echo(
                f"found: {len(found)} deployments; none was stopped, as --stop was not given",
                err=True,
            )
            return 0
        stops = (
            edgegap.deployments.ensure_stopped(row.request_id, timeout=None)
            for row in found
        )
        ended = await asyncio.gather(*stops, return_exceptions=True)
    failed = [(row, error) for row, error in zip(found, ended, strict=True) if error]
    for row, error in failed:
        if not isinstance(error, EdgegapError):
            raise error
        click.echo(f"not stopped: {row.request_id}: {error}", err=True)
    click.echo(
        f"found: {len(found)} deployments; stopped: {len(found) - len(failed)}",
        err=True,
    )
    return 1 if failed else 0
