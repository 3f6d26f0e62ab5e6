"""`status`: shows one deployment."""

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from ..models.deployment import DeploymentState, DeploymentStatus
from ..session import EdgegapSession
from .addresses import address, location_text
from .ages import age_text
from .common import EXIT_CODES, Common, common_options
from .operate import operate


@click.command(short_help="Show a deployment.", epilog=EXIT_CODES)
@click.argument("request_id", metavar="ID")
@common_options()
def status(common: Common, request_id: str) -> None:
    """Show a deployment: its state, its application, its address, its tags.

    \b
    Examples:
      edgegap status c065a3f1b2e4
      edgegap status c065a3f1b2e4 --json | jq .ports
    """

    async def show(edgegap: EdgegapSession) -> int:
        found = await edgegap.deployments.status(request_id)
        if common.output.json:
            common.output.record(found)
        else:
            lines = [f"{name:<12}{value}" for name, value in _details(found) if value]
            common.output.text("\n".join(lines))
        return 0

    operate(common, show)


def _details(found: DeploymentStatus) -> Iterator[tuple[str, str]]:
    known = found.state is not DeploymentState.UNKNOWN
    yield "id", found.request_id
    yield "state", found.state.name if known else found.current_status or "unknown"
    yield "error", found.error_detail or ""
    yield "application", " ".join(filter(None, (found.app_name, found.app_version)))
    yield "address", address(found)
    yield "public IP", found.public_ip or ""
    for key, port in found.ports.items():
        yield "port", f"{key}: {port.external} -> {port.internal}/{port.protocol}"
    yield "location", location_text(found.location)
    yield "tags", ", ".join(found.tags)
    if found.start_time:
        age = datetime.now(UTC) - found.start_time
        yield (
            "ready since",
            f"{found.start_time:%Y-%m-%d %H:%M:%S} UTC, {age_text(age.total_seconds())} ago",
        )
    if found.max_duration and found.max_duration > 0:
        yield "at most", f"{found.max_duration} minutes"
