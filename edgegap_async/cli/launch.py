"""`launch`: launches a server for each match of a file."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import BinaryIO

import click
from click.core import ParameterSource

from .._limits.config import Limits
from .._run import run
from .._shared.config import SharedState
from ..session import BASE_URL_VARIABLE, TOKEN_VARIABLE, EdgegapSession
from ..simulator import Simulator
from ..simulator.faults import Fault
from ..simulator.rate_limits import Enforcement
from .matches import Match, read
from .options import (
    INTERRUPTED,
    LOOPS,
    MOST,
    SECONDS,
    LoopFactory,
    LoopName,
    fault_option,
    loop_factory,
    required_name,
)
from .output import Output
from .part import Plan, SendTimes
from .processes import run_processes
from .run_launch import run_launch
from .shared import SHARED_VARIABLE, shared_options, shared_state
from .simulate import ENFORCEMENTS
from .streams import InputFile, require_outputs, tell
from .verbose import show_requests

DEFAULT_ENFORCEMENT: Enforcement = "sliding-window"
# Application, version and token of a simulated launch. The simulator accepts any.
SIMULATED = "simulated"
# Further ones would be no faster: one process can send all requests of the limits.
MOST_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class Target:
    """The application to launch, and the API to launch it with.

    Attributes:
        simulator: an embedded simulator. None: the real API.
        shared: what the launch shares with other processes.
    """

    application: str
    version: str
    limits: Limits
    simulator: Simulator | None
    shared: SharedState | None = None

    @property
    def token(self) -> str | None:
        """The token. None: as the environment says."""
        return SIMULATED if self.simulator else None

    @property
    def base_url(self) -> str | None:
        """The base URL. None: as the environment says."""
        return self.simulator.url if self.simulator else None


@dataclass(frozen=True, slots=True)
class Options:
    """How to launch. Of `launch`."""

    timeout: float
    stop: bool
    max_running: int | None
    processes: int
    loop: LoopName


@click.command(short_help="Launch a server for each match of a file.")
@click.argument("matches", metavar="MATCHES.jsonl", type=InputFile())
@click.option("--application", help="Application to run; required unless simulated.")
@click.option(
    "--version", help="Version of the application; required unless simulated."
)
@click.option(
    "--timeout",
    type=SECONDS,
    default=300.0,
    show_default=True,
    help="Seconds for each match, from its deploy until its server is ready.",
)
@click.option("--stop", is_flag=True, help="Stop all servers at the end.")
@click.option(
    "--max-running",
    type=click.IntRange(min=1, max=MOST),
    help="Most servers that exist at once; other matches wait. With --stop, each is stopped as soon as it is ready.",
)
@click.option(
    "--burst",
    type=click.IntRange(min=1, max=MOST),
    help="Most requests sent at once after a pause; 1 means an even pace.",
)
@shared_options(required=False)
@click.option(
    "--processes",
    type=click.IntRange(min=1, max=MOST_PROCESSES),
    default=1,
    show_default=True,
    help="Launch in so many processes. Each takes its part of the matches; they share the limits by --shared.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Run on an embedded simulator.",
)
@click.option(
    "--enforcement",
    type=click.Choice(ENFORCEMENTS),
    help="How the simulator counts requests.  [sliding-window]",
)
@fault_option("A fault of the simulator")
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
    url: str | None,
    key: str | None,
    processes: int,
    simulate: bool,
    enforcement: Enforcement | None,
    faults: Sequence[Fault],
    loop: LoopName,
) -> None:
    """Launch a server for each match of a file, at the full documented rate.

    Each line of MATCHES.jsonl (- reads standard input) is a JSON object with match_id
    and players: IP addresses or {"latitude", "longitude"}. It may have tags and
    environment_variables. All lines are checked before any server is started.

    Each server is printed on standard output as one JSON line once it is ready. If a
    match fails, its server is stopped. Ctrl-C, SIGTERM and SIGHUP (a lost terminal) wait
    for the deploys in flight, then stop all servers; a second one ends the program at
    once. If standard output or error can't be written, all servers are stopped too.

    With --shared, the launch shares the limits with all processes that use this URL, and
    if it is killed, one of them stops its servers. With --processes too, it runs in
    several processes itself.

    The token is read from EDGEGAP_API_TOKEN. If the API refuses it, the launch ends.
    HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and REQUESTS_CA_BUNDLE are obeyed.
    Without a token and without --application, the launch is simulated.

    \b
    Examples:
      edgegap launch examples/matches.jsonl --simulate
      edgegap launch - --application my-game --version 1.0 --stop < examples/matches.jsonl

    Exit code: 0, every match has its server; 1, some have none; 2, nothing was started;
    130, interrupted.
    """
    require_outputs()
    factory: LoopFactory = context.obj or loop_factory(loop)
    options = Options(timeout, stop, max_running, processes, loop)
    if max_running is not None and max_running < processes:
        raise click.UsageError("--max-running can't be less than --processes")
    try:
        target = _target(
            application, version, Limits(burst=burst), simulate, enforcement, faults
        )
        target = _shared(context, target, url, key, processes)
        checked = _checked(matches, target)
        if not stop and max_running is not None and max_running < len(checked):
            tell(
                f"{len(checked) - max_running} matches will wait until servers of others "
                "have ended: --max-running without --stop"
            )
        code = run(_launch(target, checked, options), loop_factory=factory)
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C was pressed before any server was started, or twice.
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
                    f"{option} configures the simulator, so it requires --simulate"
                )
        return Target(
            required_name("--application", application),
            required_name("--version", version),
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


def _shared(
    context: click.Context,
    target: Target,
    url: str | None,
    key: str | None,
    processes: int,
) -> Target:
    if url is None:
        if key is not None:
            raise click.UsageError("--key names what --shared has, so it requires that")
        if processes > 1 and target.simulator is None:
            raise click.UsageError("--processes needs --shared, to keep the limits")
        return target
    if target.simulator is None:
        return replace(target, shared=shared_state(url, key))
    if context.get_parameter_source("url") is not ParameterSource.ENVIRONMENT:
        raise click.UsageError(
            "--shared is for the real API: each embedded simulator has limits of its own"
        )
    return target


def _checked(lines: BinaryIO, target: Target) -> list[Match]:
    try:
        matches, bad = read(lines, target.application, target.version)
    except (OSError, UnicodeDecodeError) as error:
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


async def _launch(target: Target, matches: Sequence[Match], options: Options) -> int:
    async with AsyncExitStack() as stack:
        if simulator := target.simulator:
            await stack.enter_async_context(simulator)
            if options.processes > 1:
                # It has an absolute path.
                folder = stack.enter_context(TemporaryDirectory())
                shared = SharedState(f"sqlite:///{folder}/shared.db")
                target = replace(target, shared=shared)
        sent = SendTimes()
        try:
            session = EdgegapSession(
                target.token,
                base_url=target.base_url,
                limits=target.limits,
                trust_env=True,
                shared=target.shared,
                on_event=(
                    sent.on_event
                    if options.processes > 1
                    else show_requests(Output(), options.timeout)
                ),
            )
        except (ValueError, ModuleNotFoundError) as error:
            raise click.UsageError(str(error)) from error
        await stack.enter_async_context(session)
        if target.shared and options.processes > 1:
            # Processes inherit the environment. Only the user of a process can read it.
            os.environ[SHARED_VARIABLE] = target.shared.url or ""
            return await run_processes(
                session,
                _plans(target, matches, options),
                sent,
                stop=options.stop,
                simulator=simulator,
            )
        return await run_launch(
            session,
            matches,
            timeout=options.timeout,
            stop=options.stop,
            max_running=options.max_running,
            simulator=simulator,
        )


def _plans(target: Target, matches: Sequence[Match], options: Options) -> list[Plan]:
    """Divide the matches among the processes."""
    count = min(options.processes, len(matches))
    most = options.max_running
    return [
        Plan(
            token=target.token,
            base_url=target.base_url,
            key=target.shared.key if target.shared else None,
            matches=list(matches[number::count]),
            timeout=options.timeout,
            stop=options.stop,
            max_running=None if most is None else len(range(number, most, count)),
            burst=target.limits.burst,
            loop=options.loop,
        )
        for number in range(count)
    ]
