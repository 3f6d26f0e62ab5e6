"""`fleet`: private fleets."""

from collections.abc import Sequence

import click

from ..models.fleet import FleetHost
from ..session import EdgegapSession
from .addresses import city_text
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .table import Column

COLUMNS: Sequence[Column[FleetHost]] = (
    Column("HOST", lambda it: it.host_id, shrinks=True),
    Column("STATUS", lambda it: it.status or ""),
    Column("ADDRESS", lambda it: it.ip_address or ""),
    Column("LOCATION", lambda it: city_text(it.city, it.country), shrinks=True),
    Column(
        "CPU",
        lambda it: _part(it.allocated_cpu_units, it.allocatable_cpu_units),
        right=True,
    ),
    Column(
        "MEMORY MB",
        lambda it: _part(it.allocated_memory_mb, it.allocatable_memory_mb),
        right=True,
    ),
)


@click.group(short_help="Show private fleets.")
def fleet() -> None:
    """Show private fleets."""


@fleet.command("hosts", short_help="List the hosts of a fleet.", epilog=EXIT_CODES)
@click.argument("name", metavar="NAME")
@common_options(simulate=True)
def hosts(common: Common, name: str) -> None:
    """List the hosts of a private fleet, with the parts of their CPU units and of their
    memory that are in use.

    \b
    Examples:
      edgegap fleet hosts my-fleet
      edgegap fleet hosts my-fleet --simulate
    """

    async def show(edgegap: EdgegapSession) -> int:
        found = [it async for it in edgegap.private_fleets.iterate_hosts(name)]
        common.output.rows(COLUMNS, found, "no hosts")
        return 0

    operate(common, show)


def _part(used: int | None, of: int | None) -> str:
    if used is None and of is None:
        return ""
    return f"{'?' if used is None else used}/{'?' if of is None else of}"
