"""The states of rows: a row tells only whether it is READY. Its status tells the rest."""

from collections.abc import AsyncIterator, Sequence

from msgspec import structs

from ..errors import ApiError, is_gone
from ..models.deployment import DeploymentState, DeploymentSummary
from ..session import EdgegapSession
from .at_once import answers

# Statuses that are asked for at once: one second of their limit.
AT_ONCE = 20
NAMES = [it.name for it in DeploymentState if it is not DeploymentState.UNKNOWN]
COLORS = {"READY": "green", "ERROR": "red", "TERMINATED": "red", "TERMINATING": "red"}

# What rows and statuses have, and a row of a server that is not READY lacks.
_SHARED = ("fqdn", "public_ip", "ports", "start_time")


def state_text(row: DeploymentSummary) -> str:
    """The state of a row, as far as it tells that."""
    state = state_of(row)
    if state is not DeploymentState.UNKNOWN:
        return state.name
    return row.status or ("NOT READY" if row.ready is False else "")


def state_of(row: DeploymentSummary) -> DeploymentState:
    """The state of a row. UNKNOWN: it does not tell."""
    if row.status:
        return DeploymentState.of(row.status)
    return DeploymentState.READY if row.ready else DeploymentState.UNKNOWN


async def with_states(
    edgegap: EdgegapSession,
    rows: AsyncIterator[DeploymentSummary],
    wanted: DeploymentState | None,
) -> AsyncIterator[DeploymentSummary]:
    """Yield rows with their states: `status` holds those that were asked for.

    Without a wanted state, only the first few are asked for, as their limit is low.

    Args:
        wanted: yield only rows in this state. None: all.
    """
    needless = wanted is DeploymentState.READY
    left = 0 if needless else AT_ONCE
    unclear: list[DeploymentSummary] = []
    async for row in rows:
        if state_of(row) is DeploymentState.UNKNOWN and left:
            unclear.append(row)
            if len(unclear) == AT_ONCE:
                left = AT_ONCE if wanted else 0
                for each in _wanted(await _asked(edgegap, unclear), wanted):
                    yield each
                unclear = []
        elif _wanted([row], wanted):
            yield row
    for each in _wanted(await _asked(edgegap, unclear), wanted):
        yield each


def _wanted(
    rows: Sequence[DeploymentSummary], wanted: DeploymentState | None
) -> Sequence[DeploymentSummary]:
    return [row for row in rows if wanted in (None, state_of(row))]


async def _asked(
    edgegap: EdgegapSession, rows: Sequence[DeploymentSummary]
) -> Sequence[DeploymentSummary]:
    """These rows with their states, without those that have ended meanwhile."""

    async def ask(row: DeploymentSummary) -> DeploymentSummary | None:
        try:
            status = await edgegap.deployments.status(row.request_id)
        except ApiError as error:
            if is_gone(error):
                return None
            raise
        # It may have become READY since the row was read.
        known = {name: value for name in _SHARED if (value := getattr(status, name))}
        return structs.replace(row, **known, status=status.current_status)

    return [row for row in await answers(rows, ask) if row]
