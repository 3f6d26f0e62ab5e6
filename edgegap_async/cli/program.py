"""The program and its commands."""

import click

from .._version import __version__
from .completion import completion
from .deploy import deploy
from .fleet import fleet
from .journal import journal
from .launch import launch
from .limits import limits
from .locations import locations
from .logs import logs
from .metrics import metrics
from .one_line_errors import OneLineErrors
from .ps import ps
from .reap import reap
from .simulate import simulate
from .status import status
from .stop import stop
from .tag import tag
from .wait import wait

COMMANDS = (
    completion,
    deploy,
    fleet,
    journal,
    launch,
    limits,
    locations,
    logs,
    metrics,
    ps,
    reap,
    simulate,
    status,
    stop,
    tag,
    wait,
)


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="edgegap")
def program() -> None:
    """Start, watch and stop game servers on Edgegap, within the documented limits.

    The token is read from EDGEGAP_API_TOKEN. EDGEGAP_BASE_URL names another API, such as
    the URL that `edgegap simulate` prints.

    \b
    Examples:
      edgegap ps
      edgegap launch examples/matches.jsonl --simulate

    Exit codes: 0, done; 1, failed; 2, wrong use, and nothing was done; 130, interrupted
    by Ctrl-C, SIGTERM or SIGHUP. The help of a command says more.
    """


for each in COMMANDS:
    program.add_command(each)
