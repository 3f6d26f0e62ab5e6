"""The program and its commands."""

import click

from .._version import __version__
from .completion import completion
from .deploy import deploy
from .doctor import doctor
from .fleet import fleet
from .journal import journal
from .launch import launch
from .limits import limits
from .load import load
from .locations import locations
from .logs import logs
from .metrics import metrics
from .ps import ps
from .reap import reap
from .sections import SectionedGroup
from .simulate import simulate
from .status import status
from .stop import stop
from .tag import tag
from .wait import wait


@click.group(
    cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"]}
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


program.add_section("Deployments", ps, status, wait, stop, logs, metrics, deploy, tag)
program.add_section("Locations, fleets and limits", locations, fleet, limits, doctor)
program.add_section("For programs", launch, load, reap, journal, simulate)
program.add_section("Shell", completion)
