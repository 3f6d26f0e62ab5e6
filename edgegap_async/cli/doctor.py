"""`doctor`: finds out how the API behaves, where its documentation is silent."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from .. import doctor as examination
from ..doctor import Diagnosis, Finding
from ..doctor.findings import Value
from ..errors import EdgegapError
from ..session import EdgegapSession
from .advice import explained
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .output import Output
from .streams import FAILED
from .table import Column

# The exit code if something differs from what is assumed.
DIFFERS = 3


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "?" if value is None else str(value)


COLUMNS: Sequence[Column[Finding]] = (
    Column("QUESTION", lambda it: it.question, shrinks=True),
    Column(
        "FOUND",
        lambda it: _text(it.found),
        color=lambda it: "red" if it.differs else None,
    ),
    Column("ASSUMED", lambda it: "" if it.assumed is None else _text(it.assumed)),
    Column("NOTE", lambda it: it.note, shrinks=True),
)


@click.command(short_help="Find out how the API behaves for you.", epilog=EXIT_CODES)
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
    "--output",
    "path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write what was found to this file, for `edgegap simulate --like`.",
)
@common_options(simulate=True)
def doctor(
    common: Common,
    deploy: tuple[str, str] | None,
    user: str,
    webhook_url: str | None,
    path: Path | None,
) -> None:
    """Find out how the API behaves for your account, where its documentation is silent:
    page sizes, filters, what "not found" looks like, clocks. It makes about 30 requests,
    and only reads, unless --deploy is given.

    Each answer stands beside what this program and its simulator assume. The file of
    --output has no secrets; `edgegap simulate --like FILE` runs a simulator that behaves
    so. If something differs, the exit code is 3.

    \b
    Examples:
      edgegap doctor
      edgegap doctor --deploy my-game 1.0 --output doctor.json
      edgegap doctor --simulate
    """
    if deploy is None and webhook_url is not None:
        raise click.UsageError("--webhook-url needs --deploy")

    async def look(edgegap: EdgegapSession) -> int:
        output = common.output
        found = await examination.examine(edgegap)
        code = 0
        if deploy is not None:
            output.say(f"starting one server of {' '.join(deploy)}")
            try:
                life = await examination.life(
                    edgegap, *deploy, user=user, webhook_url=webhook_url
                )
            except EdgegapError as error:
                output.problem(f"Error: {explained(error)}")
                code = FAILED
            else:
                if life.value("gone") is None:
                    output.problem(f"not stopped: {life.value('request_id')}")
                    code = FAILED
                found = Diagnosis(
                    checked=found.checked,
                    target=found.target,
                    findings=(*found.findings, *life.findings),
                )
        if path is not None:
            _write(path, found)
        _show(output, found)
        return code or (DIFFERS if found.differences else 0)

    operate(common, look)


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
