"""`reap`: finds and stops the servers that a dead process has left running."""

import asyncio
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

import click
import msgspec

from ..errors import EdgegapError, Incomplete, SessionClosed
from ..load.words import counted
from ..models._check import some, tag_name
from ..models.deployment import DeploymentSummary
from ..session import EdgegapSession
from .advice import as_option, explained
from .common import TIMEOUT, Common, common_options
from .connect import connected, require_token
from .lines import BadLine, numbered_lines
from .options import INTERRUPTED, LoopFactory, on_interrupt
from .output import has_color, is_terminal, terminal_width
from .ps import COLUMNS
from .streams import discard, is_closed
from .table import table_lines
from .verbose import logged, show_usage

# What is known of a server that may have been stopped since.
_COLUMNS = tuple(column for column in COLUMNS if column.title != "STATE")


@click.command(short_help="Find servers by their tags, and stop them.")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option(
    "--stop", is_flag=True, help="Stop these servers; without it, only list them."
)
@common_options(timeout=None, timeout_of="everything", shared=True)
def reap(common: Common, tags: Sequence[str], stop: bool) -> None:
    """Find the servers with any of these tags: those that `on_intent` received, or your
    own.

    - reads tags from standard input, one per line. Lines that can't be read are
    reported and skipped. Do not use the tags of a process that still runs: --stop would
    stop its servers too.

    Nothing is stopped without --stop. The lists are read until they show nothing new,
    for about five seconds at least, as they lag. The status of each server has to confirm
    its tags, so about 20 servers are stopped per second. A stop that is refused for 60
    seconds is given up. At the end, each of them is a row on standard output, in a pipe
    one JSON line. After Ctrl-C, those stopped until then are printed.

    The token is read from EDGEGAP_API_TOKEN. HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and
    REQUESTS_CA_BUNDLE are obeyed.

    \b
    Examples:
      edgegap reap ranked
      edgegap reap --stop - < tags-of-a-dead-process

    Exit code: 0, success, although a tag may have no server; 1, a line or a list could
    not be read, or a server not be checked or stopped; 2, wrong arguments; 130, interrupted.
    """
    context = click.get_current_context()
    factory: LoopFactory | None = context.obj
    bad: list[BadLine] = []
    require_token(common)
    try:
        tags = [tag for it in tags for tag in (_read(bad) if it == "-" else [it])]
        for line in bad:
            _print(f"standard input, {line}".encode(), sys.stderr)
        if not (tags or bad):
            raise click.UsageError("there are no tags")
        with logged(common.output), asyncio.Runner(loop_factory=factory) as runner:
            code = runner.run(_reap(common, tags, stop)) if tags else 0
    except EdgegapError as error:
        raise click.ClickException(explained(error)) from error
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    except ValueError as error:
        raise click.UsageError(as_option(str(error))) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = INTERRUPTED
    context.exit(code or (1 if bad else 0))


def _read(bad: list[BadLine]) -> list[str]:
    """Read the tags on standard input, one per line.

    Lines that can't be read are added to `bad`.
    """
    tags: list[str] = []
    if is_closed(sys.stdin):
        raise click.UsageError("standard input is closed")
    try:
        for number, line in numbered_lines(sys.stdin.buffer):
            try:
                tags.append(tag_name("tag", line.decode()))
            except ValueError as error:
                bad.append(BadLine(number, str(error)))
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"standard input can't be read: {error}") from error
    return tags


async def _reap(common: Common, tags: Sequence[str], stop: bool) -> int:
    output = common.output
    done, not_done = ("stopped", "stopped") if stop else ("found", "checked")
    hint = "" if stop else "; none was stopped, as --stop was not given"
    # Its time-out is not that of each call.
    async with connected(replace(common, timeout=TIMEOUT)) as edgegap:
        with _interruptible(edgegap) as interrupted:
            output.progress("reading the lists until they show nothing new")
            problem: EdgegapError | None = None
            failed: Mapping[str, EdgegapError] = {}
            try:
                rows = await edgegap.deployments.reap(
                    tags, dry_run=not stop, timeout=common.timeout
                )
            except Incomplete as error:
                rows, failed, problem = error.stopped, error.not_stopped, error
            except SessionClosed as error:
                rows, problem = (), error
        output.progress("")
        for line in _lines(rows, as_json=output.json):
            _print(line, sys.stdout)
        for request_id, why in failed.items():
            _print(f"not {not_done}: {request_id}: {why}".encode(), sys.stderr)
        if not output.quiet:
            _print(
                f"{done}: {counted(len(rows), 'deployment')}{hint}".encode(), sys.stderr
            )
            if not (interrupted or problem) and (without := _unmatched(tags, rows)):
                _print(without.encode(), sys.stderr)
        show_usage(output, edgegap)
        if interrupted:
            _print(b"interrupted: there may be more", sys.stderr)
            return INTERRUPTED
        if problem:
            _print(f"Error: {problem}".encode(), sys.stderr)
            return 1
    return 0


def _lines(rows: Sequence[DeploymentSummary], *, as_json: bool) -> Sequence[bytes]:
    """What was found: a table on a terminal, JSON elsewhere."""
    if as_json or not is_terminal(sys.stdout):
        return [msgspec.json.encode(row) for row in rows]
    if not rows:
        return []
    width, color = terminal_width(), has_color()
    return [
        line.encode() for line in table_lines(_COLUMNS, rows, width=width, color=color)
    ]


def _unmatched(tags: Sequence[str], rows: Sequence[DeploymentSummary]) -> str:
    """A line about the tags that no deployment has: one may be misspelled."""
    found = {tag for row in rows for tag in row.tags}
    without = [tag for tag in tags if tag.strip() not in found]
    return f"no deployment has the tag: {some(without)}" if without else ""


@contextmanager
def _interruptible(edgegap: EdgegapSession) -> Generator[list[object], None, None]:
    """Close the session at the first Ctrl-C, SIGTERM or SIGHUP, so that `reap` says what it has
    done. The next one ends the program.

    Yields:
        What is not empty after a signal.
    """
    signals: list[object] = []
    task = asyncio.current_task()

    def interrupt() -> None:
        if signals and task:
            task.cancel()
        else:
            signals.append(asyncio.ensure_future(edgegap.aclose()))

    with on_interrupt(interrupt):
        yield signals


def _print(line: bytes, stream: TextIO | None) -> None:
    """Print a line, unless nobody can read it any more. The servers are stopped already,
    and the rest must be reported.
    """
    if stream is None or is_closed(stream):
        return
    try:
        # As bytes, a tag can be printed in any locale.
        click.echo(line, file=stream)
    except OSError:
        discard(stream)
