"""`load`: a load test, with thresholds and a report; `load compare` compares two."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..load import Plan, Ramp, Report, Threshold, check
from ..load.plan import READY_TIMEOUT
from ..load.runner import LoadTest
from ..models.deploy import DeployRequest, User
from ..session import EdgegapSession
from ..simulator.faults import Fault
from .common import Common, common_options
from .deploy import parse_user
from .load_compare import compare_command
from .load_files import write_reports
from .load_options import duration_option, parse_ramp, plan_option
from .load_summary import summary_lines
from .load_view import View, view
from .operate import operate
from .options import (
    INTERRUPTED,
    MOST,
    NOTHING_STARTED,
    each_parsed,
    fault_option,
    on_interrupt,
    parsed,
    required_name,
)
from .output import Output
from .output_file import output_file
from .sections import SectionedGroup
from .streams import FAILED, require_outputs

# The exit code of a test that has missed a threshold.
MISSED = 3
# What a simulated test deploys, unless it is named.
SIMULATED = "simulated"
USER = "45.50,-73.57"
TAG = "load-test"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the report goes. None: nowhere."""

    json: Path | None
    html: Path | None


@click.group(
    cls=SectionedGroup,
    short_help="Run a load test, and report it.",
    invoke_without_command=True,
    subcommand_metavar="[compare A.json B.json]",
)
@click.option("--application", metavar="NAME", help="What to run.")
@click.option("--version", metavar="NAME", help="Its version.")
@click.option(
    "--user",
    "users",
    multiple=True,
    default=[USER],
    show_default=True,
    callback=each_parsed(parse_user),
    metavar="ADDRESS",
    help="A player of each server: an IP address, or LATITUDE,LONGITUDE; may be repeated.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    default=[TAG],
    show_default=True,
    metavar="TAG",
    help="A tag of each deployment; may be repeated.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Deploys per second."
)
@click.option(
    "--ramp",
    callback=parsed(parse_ramp),
    metavar="FROM:TO:DURATION",
    help="Deploys per second at the beginning and at the end, and how long that takes: 1:40:60s.",
)
@duration_option("--hold", "How long the rate holds: 60s, 5m. After a ramp: 0s.")
@duration_option(
    "--lifetime",
    "How long each server runs once it is ready. Otherwise until the end.",
)
@click.option(
    "--count", type=click.IntRange(min=1, max=MOST), help="Most deploys in all."
)
@click.option(
    "--max-running",
    type=click.IntRange(min=1, max=MOST),
    help="Most servers that exist at once; other deploys wait until the stop of one is accepted, "
    "so it needs a --lifetime.",
)
@click.option(
    "--stop-at-end/--keep-at-end",
    default=True,
    show_default=True,
    help="Stop all servers once the outcome of each deploy is known, or let each run for its "
    "--lifetime.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    callback=each_parsed(Threshold.parse),
    metavar="CONDITION",
    help="What the test must meet, such as ready_p95<5s, failed<1%, refused<=3 or "
    "schedule_kept>95%; may be repeated.",
)
@click.option(
    "--output",
    callback=parsed(output_file),
    metavar="FILE.json",
    help="Write the report as JSON.",
)
@click.option(
    "--report",
    "page",
    callback=parsed(output_file),
    metavar="FILE.html",
    help="Write the report as a page with charts, which opens without a network.",
)
@fault_option("A fault of the simulator, with --simulate")
@common_options(
    timeout=READY_TIMEOUT,
    timeout_of="each server, from its deploy until it is ready",
    shared=True,
    simulate=True,
)
def load(
    common: Common,
    thresholds: Sequence[Threshold],
    output: Path | None,
    page: Path | None,
    faults: Sequence[Fault],
    **options: Any,
) -> None:
    """Deploy at a rate, wait for the servers and stop them, and say how that went.

    Each deploy is due at a time of its own, however slowly earlier ones are answered. The
    wait for the limit (queued) is told apart from the time of the API: until a deploy is
    accepted, and until its server is ready. `total` is counted from when it was due.

    All servers are stopped at the end, after Ctrl-C, SIGTERM and SIGHUP, and after any
    error; a second Ctrl-C leaves them running, and names them. It never asks.

    A condition names queued, accepted, ready or total with _p50, _p90, _p95, _p99 or
    _max; or failed, refused or schedule_kept.

    \b
    Examples:
      edgegap load --simulate --rate 20 --hold 10s --lifetime 5s
      edgegap load --application my-game --version 1.0 --ramp 1:40:60s --hold 60s --report load.html
      edgegap load --simulate --rate 40 --count 400 --threshold 'ready_p95<6s' --threshold 'failed<1%'
      edgegap load compare before.json after.json

    Exit code: 0, done; 1, a deploy has failed, unless thresholds say what may; 2, wrong
    use, or nothing was started; 3, a threshold was missed; 130, interrupted.
    """
    if click.get_current_context().invoked_subcommand:
        return
    require_outputs()
    if faults and not common.simulate:
        raise click.UsageError(
            "--fault configures the simulator, so it requires --simulate"
        )
    plan = _plan(common, options)
    common = replace(common, faults=faults)
    outputs = Outputs(output, page)

    async def test(edgegap: EdgegapSession) -> int:
        return await _run(edgegap, common, plan, thresholds, outputs)

    operate(common, test)


load.add_command(compare_command)


def _plan(common: Common, options: dict[str, Any]) -> Plan:
    application, version = options["application"], options["version"]
    if not common.simulate:
        required_name("--application", application)
        required_name("--version", version)
    users: Sequence[User] = options["users"]
    ramp: Ramp | None = options["ramp"]
    try:
        return Plan(
            request=DeployRequest(
                application or SIMULATED,
                version or SIMULATED,
                users=users,
                tags=options["tags"] or None,
            ),
            rate=options["rate"],
            ramp=ramp,
            hold=options["hold"],
            lifetime=options["lifetime"],
            count=options["count"],
            max_running=options["max_running"],
            stop_at_end=options["stop_at_end"],
            ready_timeout=common.timeout or READY_TIMEOUT,
        )
    except ValueError as error:
        raise click.UsageError(plan_option(str(error))) from error


class _Interruption:
    """Handles Ctrl-C: the first one ends the test, the second one the program."""

    def __init__(self, test: LoadTest, shown: View, output: Output) -> None:
        self.count = 0
        self._test, self._shown, self._output = test, shown, output
        self._task = asyncio.current_task()

    def __call__(self) -> None:
        self.count += 1
        if self.count == 1:
            self._test.interrupt()
            self._shown.interrupted = True
            self._output.problem(
                "interrupted: waiting for the deploys in flight, then stopping all servers; "
                "press Ctrl-C again to leave them running"
            )
        elif self._task:
            self._test.abandon()
            self._task.cancel()


async def _run(
    edgegap: EdgegapSession,
    common: Common,
    plan: Plan,
    thresholds: Sequence[Threshold],
    outputs: Outputs,
) -> int:
    output = common.output
    with view(plan, output) as shown:
        test = LoadTest(plan, edgegap, shown.update)
        shown.on_lost = test.interrupt
        interruption = _Interruption(test, shown, output)
        try:
            with on_interrupt(interruption):
                report = check(await test.run(), thresholds)
        except BaseException:
            if test.existing:
                output.problem(f"may still run: {' '.join(test.existing)}")
            raise
    written = write_reports(report, outputs.json, outputs.html, output)
    # If nobody sees the progress, the test is interrupted too, but not by the user.
    code = FAILED if shown.lost and not interruption.count else exit_code(report)
    if output.json:
        output.record(report)
    else:
        output.text("\n".join(summary_lines(report)))
    return code if written else code or FAILED


def exit_code(report: Report) -> int:
    """Return the exit code of a test that has ended."""
    if report.error and not report.counts.accepted:
        return NOTHING_STARTED
    if report.interrupted:
        return INTERRUPTED
    if any(not it.met for it in report.thresholds):
        return MISSED
    if report.not_stopped or report.error:
        return FAILED
    return FAILED if report.counts.failed and not report.thresholds else 0
