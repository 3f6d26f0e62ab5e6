"""`doctor`: finds out how the API behaves, where its documentation is silent."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from .. import doctor as examination
from .._limits.config import Limits
from ..doctor import Diagnosis, Finding
from ..doctor.findings import Value
from ..session import EdgegapSession
from .common import EXIT_CODES, Common, common_options
from .operate import attempt
from .options import parsed
from .output import Output, is_terminal
from .output_file import output_file
from .streams import FAILED
from .table import Column

# The exit code if something differs from what is assumed.
DIFFERS = 3
QUESTION = (
    "Send up to 200 lists within ten seconds, more than the limit allows? Meanwhile, the "
    "API may refuse the lists of all programs of your organization."
)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "?" if value is None else str(value)


COLUMNS: Sequence[Column[Finding]] = (
    Column("QUESTION", lambda it: it.question, shrinks=True, wraps=True),
    Column(
        "FOUND",
        lambda it: _text(it.found),
        shrinks=True,
        wraps=True,
        color=lambda it: "red" if it.differs else None,
    ),
    Column("ASSUMED", lambda it: "" if it.assumed is None else _text(it.assumed)),
    Column("NOTE", lambda it: it.note, shrinks=True, wraps=True),
)


@click.command(
    short_help="Find out how the API behaves for you.",
    epilog=f"{EXIT_CODES} 3, something differs.",
)
@click.option(
    "--deploy",
    nargs=2,
    metavar="APPLICATION VERSION",
    help="Also start one server, watch it, and stop it. It costs what a server costs.",
)
@click.option(
    "--user",
    default="1.1.1.1",
    show_default=True,
    metavar="ADDRESS",
    help="With --deploy: the IP address of its player.",
)
@click.option(
    "--webhook-url",
    metavar="URL",
    help="With --deploy: ask for its webhooks at this URL. Look there for those that "
    "arrive.",
)
@click.option(
    "--limits",
    is_flag=True,
    help="Also send more lists than the limit allows, at most 200, to see how they are "
    "counted and refused. It asks first.",
)
@click.option(
    "-y",
    "--yes",
    is_flag=True,
    help="With --limits: do not ask; needed where there is no terminal.",
)
@click.option(
    "--output",
    "path",
    callback=parsed(output_file),
    metavar="FILE",
    help="Write what was found to this file, for `edgegap simulate --like`.",
)
@common_options(simulate=True)
def doctor(
    common: Common,
    deploy: tuple[str, str] | None,
    user: str,
    webhook_url: str | None,
    limits: bool,
    yes: bool,
    path: Path | None,
) -> None:
    """Find out how the API behaves for your account, where its documentation is silent:
    page sizes, filters, what "not found" looks like, clocks. It makes about 30 requests,
    and only reads, unless --deploy is given. The server of --deploy is stopped in any
    case; if it can't be, its ID is named and the exit code is 1.

    Each answer stands beside what this program and its simulator assume. The file of
    --output has no secrets; `edgegap simulate --like FILE` runs a simulator that behaves
    so. If something differs, the exit code is 3.

    \b
    Examples:
      edgegap doctor
      edgegap doctor --deploy my-game 1.0 --output doctor.json
      edgegap doctor --limits
      edgegap doctor --simulate
    """
    for option, given, needed, there in (
        ("--webhook-url", webhook_url is not None, "--deploy", deploy is not None),
        ("--yes", yes, "--limits", limits),
    ):
        if given and not there:
            raise click.UsageError(f"{option} needs {needed}")
    if limits and not (yes or common.simulate):
        _ask()
    output, parts, sessions = common.output, list[Diagnosis](), list[EdgegapSession]()

    async def look(edgegap: EdgegapSession) -> int:
        sessions.append(edgegap)
        parts.append(await examination.examine(edgegap))
        if deploy is None:
            return 0
        output.say(
            f"starting one server of {' '.join(deploy)}, and stopping it once it is READY"
        )
        life = await examination.life(
            edgegap, *deploy, user=user, webhook_url=webhook_url
        )
        parts.append(life)
        return FAILED if life.value("gone") is None else 0

    async def measure(edgegap: EdgegapSession) -> int:
        output.say("sending more lists than the limit allows, for about ten seconds")
        parts.append(await examination.limits(edgegap))
        return 0

    code = attempt(common, look)
    if _left(output, sessions, parts):
        code = FAILED
    if limits and not code:
        code = attempt(replace(common, limits=Limits(list=None)), measure)
    if parts:
        differs = _report(output, _joined(parts), path)
        code = code or differs
    click.get_current_context().exit(code)


def _ask() -> None:
    """Ask whether to exceed the limit, and exit if not."""
    if not is_terminal(sys.stdin):
        raise click.UsageError(
            "--limits sends more than the limit allows, and there is no terminal to ask "
            "on: add --yes; nothing was sent"
        )
    if not click.confirm(QUESTION, err=True):
        click.echo("nothing was sent", err=True)
        click.get_current_context().exit(FAILED)


def _left(
    output: Output, sessions: Sequence[EdgegapSession], parts: Sequence[Diagnosis]
) -> bool:
    """Name the servers that could not be stopped. Return whether there are any."""
    left = {
        request_id or f"a server with the tag {tag}"
        for session in sessions
        for request_id, tag in session.leftovers
    }
    for part in parts:
        request_id = part.value("request_id")
        if isinstance(request_id, str) and part.value("gone") is None:
            left.add(request_id)
    for each in sorted(left):
        output.problem(f"not stopped: {each}")
    return bool(left)


def _joined(parts: Sequence[Diagnosis]) -> Diagnosis:
    first = parts[0]
    return Diagnosis(
        checked=first.checked,
        target=first.target,
        findings=tuple(finding for part in parts for finding in part.findings),
    )


def _report(output: Output, found: Diagnosis, path: Path | None) -> int:
    """Write and show what was found. Return the exit code."""
    if path is not None:
        _write(path, found)
    _show(output, found)
    return DIFFERS if found.differences else 0


def _write(path: Path, found: Diagnosis) -> None:
    try:
        path.write_text(found.to_json())
    except OSError as error:
        raise click.UsageError(f"--output: {error.strerror or error}") from None


def _show(output: Output, found: Diagnosis) -> None:
    output.rows(COLUMNS, found.findings, "nothing was found out")
    for each in found.differences:
        output.say(
            f"differs: {each.question} {_text(each.found)}, not {_text(each.assumed)}"
        )
    open_ = sum(it.found is None for it in found.findings)
    count = len(found.findings)
    differing = len(found.differences)
    now = datetime.now(UTC).strftime("%H:%M:%S UTC")
    output.say(f"{now}: {count} questions, {differing} differ, {open_} not answered")
