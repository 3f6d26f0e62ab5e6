"""`simulate`: runs the simulator in its own process, for clients in any language."""

import asyncio
import sys
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from click.core import ParameterSource

from ..doctor import Diagnosis, simulator_options
from ..simulator import Simulator
from ..simulator.control.guard import is_loopback
from ..simulator.http.form import Form
from ..simulator.rate_limits import Enforcement
from .advice import as_option
from .options import ANY_SECONDS, fault_option, list_kinds, on_interrupt
from .output import is_terminal
from .streams import tell

ENFORCEMENTS: tuple[str, ...] = get_args(Enforcement)
FORMS: tuple[str, ...] = get_args(Form)


@click.command(short_help="Run a simulator of Edgegap's API.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. If it is not on loopback, other machines can use the "
    "simulator; they need --token to change it under /_simulator/.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to listen on; by default a free one.",
)
@click.option("--token", help="The only token to accept; by default any.")
@click.option(
    "--enforcement",
    type=click.Choice(ENFORCEMENTS),
    default="sliding-window",
    show_default=True,
    help="How requests are counted against the limits.",
)
@click.option(
    "--retry-after",
    type=ANY_SECONDS,
    help="Seconds in the Retry-After of a 429; by default no such header.",
)
@click.option(
    "--ready-after",
    type=(ANY_SECONDS, ANY_SECONDS),
    default=(2.0, 5.0),
    show_default=True,
    metavar="LEAST MOST",
    help="Seconds until a deployment is ready.",
)
@click.option(
    "--error-share",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of deployments that end in ERROR instead.",
)
@click.option(
    "--delay-before",
    type=(ANY_SECONDS, ANY_SECONDS),
    default=(0.0, 0.0),
    metavar="LEAST MOST",
    help="Seconds before a request counts against its limit.",
)
@click.option(
    "--delay-after",
    type=(ANY_SECONDS, ANY_SECONDS),
    default=(0.0, 0.0),
    metavar="LEAST MOST",
    help="Seconds from the operation to its response.",
)
@click.option("--seed", type=int, default=0, help="Seed of all random numbers.")
@click.option(
    "--form",
    type=click.Choice(FORMS),
    default="page",
    show_default=True,
    help="The form of answers and webhooks: that of the reference page, or that of "
    "Edgegap's OpenAPI files, for clients generated from them.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(min=0),
    default=0,
    help="Deployments of neighbours: READY from the start, never ending.",
)
@click.option(
    "--replica-lag",
    type=ANY_SECONDS,
    default=0.0,
    help="Seconds after a deploy in which calls with its ID are answered with 404.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Deployments that are remembered after their end.",
)
@click.option(
    "--open-ports",
    is_flag=True,
    help="READY deployments listen on their ports, and send back what arrives.",
)
@click.option(
    "--like",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Behave as `edgegap doctor --output FILE` has found. Other options have "
    "precedence; faults are added.",
)
@fault_option("A fault")
@click.option(
    "--faults",
    "list_faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=list_kinds,
    help="List the kinds of fault.",
)
def simulate(
    host: str, port: int, token: str | None, like: Path | None, **options: Any
) -> None:
    """Run a simulator of Edgegap's API on this machine, until Ctrl-C or SIGTERM.

    The first line on standard output is its URL, for EDGEGAP_BASE_URL. Open it in a
    browser: a page shows what happens, and controls it. The last line, at its end, is
    its counts as JSON. While it runs, GET /_simulator/counts returns the same.

    \b
    Examples:
      edgegap simulate --port 8080
      edgegap simulate --neighbours 200 --fault deploy:cut-after:0.05

    Exit code: 0, ended by a signal; 1, the port is in use; 2, wrong arguments.
    """
    if not is_loopback(host):
        tell(
            f"warning: other machines can use this simulator: it listens on {host}"
            + ("" if token else "; without --token, its page can change nothing")
        )
    try:
        if like is not None:
            options = _with_findings(options, like)
        # Each option has the name of an argument of `Simulator`.
        simulator = Simulator(host=host, port=port, token=token, **options)
        asyncio.run(serve(simulator))
    except ValueError as error:
        raise click.UsageError(as_option(str(error))) from error
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {host}:{port}: {error.strerror or error}"
        ) from error
    click.echo(msgspec.json.encode(simulator.counts()).decode())


def _with_findings(options: dict[str, Any], path: Path) -> dict[str, Any]:
    """Add what was found to the options that were not given."""
    context = click.get_current_context()
    try:
        found = dict(simulator_options(Diagnosis.from_json(path.read_bytes())))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--like {path}: {error}") from None
    faults = [*options["faults"], *found.pop("faults")]
    given = {
        name
        for name in options
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    unset = {name: value for name, value in found.items() if name not in given}
    return {**options, **unset, "faults": faults}


async def serve(simulator: Simulator) -> None:
    """Print the URL of the simulator, and run it until Ctrl-C or SIGTERM."""
    ended = asyncio.Event()
    with on_interrupt(ended.set):
        async with simulator:
            click.echo(simulator.url)
            if sys.stderr.isatty():
                tell("open it in a browser to watch it and to control it")
            await ended.wait()
            if is_terminal(sys.stdout):
                # The counts do not stand behind the ^C that the terminal shows.
                click.echo()
