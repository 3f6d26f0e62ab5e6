"""`launch`: a server for each match of a file."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import BinaryIO

import click

from .._limits.config import Limits
from ..session import BASE_URL_VARIABLE, TOKEN_VARIABLE, EdgegapSession
from ..simulator import Simulator
from ..simulator.faults import Fault
from ..simulator.rate_limits import Enforcement
from .matches import Match, read
from .options import (
    INTERRUPTED,
    LOOPS,
    LoopFactory,
    LoopName,
    fault_option,
    loop_factory,
)
from .run_launch import run_launch
from .simulate import ENFORCEMENTS

DEFAULT_ENFORCEMENT: Enforcement = "sliding-window"
# Application, version and token of a simulated launch, which ignores them.
SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Target:
    """What is launched, and where: on an embedded simulator if there is one, else by
    the API.
    """

    application: str
    version: str
    limits: Limits
    simulator: Simulator | None


@click.command(short_help="Launch a server for each match of a file.")
@click.argument("matches", metavar="MATCHES.jsonl", type=click.File("rb"))
@click.option("--application", help="What to run; needed unless simulated.")
@click.option("--version", help="Which version of it; needed unless simulated.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds for each match, from the sending of its deploy until its server is ready.",
)
@click.option("--stop", is_flag=True, help="Stop all servers again at the end.")
@click.option(
    "--max-running",
    type=click.IntRange(min=1),
    help="Servers that may exist at once; the rest wait. With --stop, each is stopped as soon as it was ready.",
)
@click.option(
    "--burst",
    type=click.IntRange(min=1),
    help="Requests that may go at once after a pause; 1 paces evenly.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Run on an embedded simulator.",
)
@click.option(
    "--enforcement",
    type=click.Choice(ENFORCEMENTS),
    help="How the simulator counts.  [sliding-window]",
)
@fault_option("What goes wrong on the simulator")
@click.option(
    "--loop",
    type=click.Choice(LOOPS),
    default="asyncio",
    show_default=True,
    help="The event loop.",
)
@click.pass_context
def launch(
    context: click.Context,
    matches: BinaryIO,
    application: str | None,
    version: str | None,
    timeout: float,
    stop: bool,
    max_running: int | None,
    burst: int | None,
    simulate: bool,
    enforcement: Enforcement | None,
    faults: Sequence[Fault],
    loop: LoopName,
) -> None:
    """Launch a server for each match of a file, at the full documented rate.

    Each line of MATCHES.jsonl (- reads standard input) is a JSON object: match_id;
    players, IP addresses or {"latitude", "longitude"}; if wanted tags and
    environment_variables. All are checked before anything is started.

    Each server is printed on standard output as one JSON line once it is ready. The
    server of a match that failed is stopped. Ctrl-C lets deploys that were sent finish,
    then stops all that was started; a second one ends at once.

    The token is taken from EDGEGAP_API_TOKEN. If the API refuses it, the launch ends.
    Without a token and without --application, the launch is simulated.

    Exit code: 0, every match has its server; 1, some have none; 2, nothing was started;
    130, interrupted.
    """
    factory: LoopFactory = context.obj or loop_factory(loop)
    try:
        target = _target(
            application, version, Limits(burst=burst), simulate, enforcement, faults
        )
        checked = _checked(matches, target)
        with asyncio.Runner(loop_factory=factory) as runner:
            code = runner.run(_launch(target, checked, timeout, stop, max_running))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C came before anything was started, or twice.
        code = INTERRUPTED
    context.exit(code)


def _target(
    application: str | None,
    version: str | None,
    limits: Limits,
    simulate: bool,
    enforcement: Enforcement | None,
    faults: Sequence[Fault],
) -> Target:
    has_token = bool(os.environ.get(TOKEN_VARIABLE, "").strip())
    named = application is not None or version is not None
    if named and not (simulate or has_token):
        raise click.UsageError(
            f"{TOKEN_VARIABLE} is not set: set it to launch real servers, "
            "or add --simulate"
        )
    if not simulate and has_token:
        for option, given in (("--enforcement", enforcement), ("--fault", faults)):
            if given:
                raise click.UsageError(
                    f"{option} is the simulator's: it needs --simulate"
                )
        return Target(
            _needed("--application", application),
            _needed("--version", version),
            limits,
            None,
        )
    try:
        simulator = Simulator(
            enforcement=enforcement or DEFAULT_ENFORCEMENT, faults=faults
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    why = "" if simulate else f"{TOKEN_VARIABLE} is not set: "
    ignored = [
        name
        for name in (TOKEN_VARIABLE, BASE_URL_VARIABLE)
        if os.environ.get(name, "").strip()
    ]
    unused = f" ({' and '.join(ignored)} not used)" if ignored else ""
    click.echo(
        f"{why}launching on an embedded simulator, no real server is started{unused}",
        err=True,
    )
    return Target(application or SIMULATED, version or SIMULATED, limits, simulator)


def _needed(option: str, value: str | None) -> str:
    if not (value or "").strip():
        raise click.UsageError(f"{option} is needed, except with --simulate")
    return str(value)


def _checked(lines: BinaryIO, target: Target) -> list[Match]:
    try:
        matches, bad = read(lines, target.application, target.version)
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the matches can't be read: {error}") from error
    for line in bad:
        click.echo(str(line), err=True)
    if bad:
        raise click.UsageError(
            f"{len(bad)} of {len(bad) + len(matches)} lines can't be used; nothing was started"
        )
    if not matches:
        raise click.UsageError("there are no matches")
    return matches


async def _launch(
    target: Target,
    matches: Sequence[Match],
    timeout: float,
    stop: bool,
    max_running: int | None,
) -> int:
    async with AsyncExitStack() as stack:
        if simulator := target.simulator:
            await stack.enter_async_context(simulator)
        try:
            # Where these are None, the session takes them from the environment.
            session = EdgegapSession(
                SIMULATED if simulator else None,
                base_url=simulator.url if simulator else None,
                limits=target.limits,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        await stack.enter_async_context(session)
        return await run_launch(
            session,
            matches,
            timeout=timeout,
            stop=stop,
            max_running=max_running,
            simulator=simulator,
        )
