"""`locations`: where servers can run."""

from collections.abc import Sequence

import click

from ..models.location import AvailableLocation
from ..session import EdgegapSession
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .table import Column

COLUMNS: Sequence[Column[AvailableLocation]] = (
    Column("CITY", lambda it: it.city or "", shrinks=True),
    Column("COUNTRY", lambda it: it.country or "", shrinks=True),
    Column("CONTINENT", lambda it: it.continent or "", shrinks=True),
    Column("LATITUDE", lambda it: _degrees(it.latitude), right=True),
    Column("LONGITUDE", lambda it: _degrees(it.longitude), right=True),
    Column("TYPE", lambda it: it.type or ""),
)


@click.command(short_help="List where servers can run.", epilog=EXIT_CODES)
@click.option(
    "--application", metavar="NAME", help="Only those with room for a version of it."
)
@click.option("--version", metavar="NAME", help="That version.")
@common_options(simulate=True)
def locations(common: Common, application: str | None, version: str | None) -> None:
    """List the locations that can be deployed to: all, or those with room for a version
    of an application.

    \b
    Examples:
      edgegap locations --application my-game --version 1.0
      edgegap locations --simulate
    """

    if (application is None) != (version is None):
        raise click.UsageError("--application and --version belong together")

    async def show(edgegap: EdgegapSession) -> int:
        rows = edgegap.locations.iterate(app=application, version=version)
        found = [it async for it in rows]
        common.output.rows(COLUMNS, found, "no locations")
        return 0

    operate(common, show)


def _degrees(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
