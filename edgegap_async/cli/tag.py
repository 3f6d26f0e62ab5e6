"""`tag`: the tags of a deployment."""

from collections.abc import Sequence

import click

from ..models.tag import DeploymentTag
from ..session import EdgegapSession
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .table import Column

COLUMNS: Sequence[Column[DeploymentTag]] = (
    Column("TAG", lambda tag: tag.name, shrinks=True),
    Column(
        "CREATED",
        lambda tag: f"{tag.create_time:%Y-%m-%d %H:%M:%S}" if tag.create_time else "",
    ),
)


@click.group(short_help="List, add and remove the tags of a deployment.")
def tag() -> None:
    """List, add and remove the tags of a deployment. A container that already runs does not
    notice it.
    """


@tag.command("ls", short_help="List the tags of a deployment.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@common_options()
def ls(common: Common, request_id: str) -> None:
    """List the tags of a deployment.

    \b
    Examples:
      edgegap tag ls c065a3f1b2e4
    """

    async def show(edgegap: EdgegapSession) -> int:
        found = [it async for it in edgegap.tags.iterate(request_id)]
        common.output.rows(COLUMNS, found, "no tags")
        return 0

    operate(common, show)


@tag.command("add", short_help="Add a tag to a deployment.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@click.argument("name", metavar="NAME")
@common_options()
def add(common: Common, request_id: str, name: str) -> None:
    """Add a tag of at most 40 characters to a deployment.

    \b
    Examples:
      edgegap tag add c065a3f1b2e4 ranked
    """

    async def create(edgegap: EdgegapSession) -> int:
        created = await edgegap.tags.create(request_id, name)
        if common.output.json:
            common.output.record(created)
        common.output.say(f"{request_id} has the tag {created.name}")
        return 0

    operate(common, create)


@tag.command("rm", short_help="Remove a tag from a deployment.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@click.argument("name", metavar="NAME")
@common_options()
def rm(common: Common, request_id: str, name: str) -> None:
    """Remove a tag from a deployment.

    \b
    Examples:
      edgegap tag rm c065a3f1b2e4 ranked
    """

    async def delete(edgegap: EdgegapSession) -> int:
        await edgegap.tags.delete(request_id, name)
        if common.output.json:
            common.output.record({"request_id": request_id, "removed": name})
        common.output.say(f"{request_id} has no tag {name} any more")
        return 0

    operate(common, delete)
