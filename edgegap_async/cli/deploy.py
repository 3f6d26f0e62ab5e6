"""`deploy`: starts one server."""

from collections.abc import Sequence

import click

from ..models.deploy import DeploymentAccepted, User
from ..session import EdgegapSession
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .options import each_parsed
from .output import Output
from .streams import require_outputs

# Seconds for the deploy. A lost answer takes long.
TIMEOUT = 60.0


def parse_user(text: str) -> User:
    """Read a player: an IP address, or coordinates.

    Raises:
        ValueError: the coordinates are no numbers.
    """
    latitude, comma, longitude = text.partition(",")
    if not comma:
        return text
    try:
        return float(latitude), float(longitude)
    except ValueError:
        raise ValueError(
            f"{text!r} is no pair of coordinates, such as 45.50,-73.57"
        ) from None


@click.command(short_help="Deploy a server.", epilog=EXIT_CODES)
@click.option("--application", required=True, metavar="NAME", help="What to run.")
@click.option("--version", required=True, metavar="NAME", help="Its version.")
@click.option(
    "--user",
    "users",
    multiple=True,
    required=True,
    callback=each_parsed(parse_user),
    metavar="ADDRESS",
    help="A player: an IP address, or LATITUDE,LONGITUDE; may be repeated.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="A tag of the deployment; may be repeated.",
)
@common_options(timeout=TIMEOUT, shared=True, simulate=True)
def deploy(
    common: Common,
    application: str,
    version: str,
    users: Sequence[User],
    tags: Sequence[str],
) -> None:
    """Deploy a server near its players, and print its ID. It is not ready then: `wait`
    waits for it.

    If the answer is lost, the server is searched for, so none is started twice. After
    Ctrl-C, or if the ID can't be printed, the server is stopped.

    \b
    Examples:
      edgegap deploy --application my-game --version 1.0 --user 203.0.113.7 --tag ranked
      edgegap wait $(edgegap deploy --application my-game --version 1.0 --user 45.50,-73.57)
      edgegap deploy --application my-game --version 1.0 --user 203.0.113.7 --simulate
    """
    require_outputs()

    async def start(edgegap: EdgegapSession) -> int:
        accepted = await edgegap.deployments.deploy(
            application, version, users=users, tags=tags or None
        )
        try:
            _print(common.output, accepted)
        except OSError:
            await edgegap.deployments.ensure_stopped(accepted.request_id)
            common.output.problem(
                f"stopped: {accepted.request_id}, as its ID could not be printed"
            )
            raise
        return 0

    operate(common, start)


def _print(output: Output, accepted: DeploymentAccepted) -> None:
    if output.json:
        output.record(accepted)
    else:
        output.text(accepted.request_id)
