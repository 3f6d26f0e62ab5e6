"""`logs`: prints what the container of a deployment has written."""

import asyncio
from collections.abc import Iterator

import click

from ..errors import ApiError, is_gone
from ..load.words import counted
from ..models.deployment import ContainerLogs
from ..session import EdgegapSession
from .common import EXIT_CODES, Common, common_options
from .new_text import new_text
from .operate import operate
from .output import Output

# Seconds between two readings.
PERIOD = 2.0


@click.command(short_help="Print the logs of a deployment.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with what is new, until it has ended."
)
@common_options()
def logs(common: Common, request_id: str, follow: bool) -> None:
    """Print what the container of a deployment has written. How it has crashed goes to
    standard error. The logs are gone once it is stopped, unless an endpoint storage keeps
    them.

    Escape codes are removed. With --json, it is one object with the logs as they are; with
    --follow, one object for each line.

    \b
    Examples:
      edgegap logs c065a3f1b2e4 | grep -i error
      edgegap logs c065a3f1b2e4 --follow
    """
    output = common.output

    async def show(edgegap: EdgegapSession) -> int:
        found = await edgegap.deployments.container_logs(request_id)
        if follow:
            await _follow(edgegap, request_id, found, output)
        elif output.json:
            output.record(found)
        else:
            text = found.logs or ""
            output.text(text, nl=not text.endswith("\n") and bool(text))
            for line in _about_crash(found):
                output.say(line)
        return 0

    operate(common, show)


async def _follow(
    edgegap: EdgegapSession, request_id: str, first: ContainerLogs, output: Output
) -> None:
    """Print logs, and what is new in them, until the deployment has ended."""
    before, found, crash = "", first, list[str]()
    while True:
        text = found.logs or ""
        # As JSON, a line is complete once its end is there.
        known = text[: text.rfind("\n") + 1] if output.json else text
        _print(output, request_id, new_text(before, known))
        before = known
        if (lines := list(_about_crash(found))) != crash:
            crash = lines
            for line in lines:
                output.say(line)
        await asyncio.sleep(PERIOD)
        try:
            found = await edgegap.deployments.container_logs(request_id)
        except ApiError as error:
            if not is_gone(error):
                raise
            _print(output, request_id, text[len(known) :])
            output.say(f"{request_id} has ended")
            return


def _print(output: Output, request_id: str, new: str) -> None:
    if not new:
        return
    if output.json:
        for line in new.removesuffix("\n").split("\n"):
            output.record({"request_id": request_id, "line": line})
    else:
        output.text(new, nl=False)


def _about_crash(found: ContainerLogs) -> Iterator[str]:
    if crash := found.crash_data:
        code, restarts = crash.exit_code, crash.restart_count
        yield (
            "crashed"
            + (f" with exit code {code}" if code is not None else "")
            + (
                f", restarted {counted(restarts, 'time')}"
                if restarts is not None
                else ""
            )
            + (f": {crash.message}" if crash.message else "")
        )
    for line in (found.crash_logs or "").splitlines():
        yield f"crash: {line}"
    if found.logs_link:
        yield f"kept at: {found.logs_link}"
