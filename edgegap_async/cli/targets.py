"""What `stop` would stop: deployments that are known to exist."""

from collections.abc import Sequence

from msgspec import Struct

from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    Incomplete,
    is_gone,
    is_permanent,
)
from ..models.deployment import DeploymentState, DeploymentStatus
from ..session import EdgegapSession
from .advice import explained
from .ages import age_text
from .at_once import answers
from .output import Output
from .states import COLORS, state_text
from .streams import FAILED
from .table import Column
from .wanted import Wanted, age_of, found


class Target(Struct, frozen=True):
    """A deployment that would be stopped.

    Attributes:
        application: its name. Empty: it is not known.
        age: seconds since it was READY. None: it is not, or it is not known.
    """

    request_id: str
    state: str = ""
    application: str = ""
    age: float | None = None
    tags: Sequence[str] = ()


APPLICATION: Column[Target] = Column(
    "APPLICATION", lambda it: it.application, shrinks=True
)
COLUMNS: Sequence[Column[Target]] = (
    Column("ID", lambda it: it.request_id),
    Column("STATE", lambda it: it.state, color=lambda it: COLORS.get(it.state)),
    Column("AGE", lambda it: age_text(it.age), right=True),
    APPLICATION,
    Column("TAGS", lambda it: ",".join(it.tags), shrinks=True),
)


def columns_of(targets: Sequence[Target]) -> Sequence[Column[Target]]:
    """The columns of a table. Lists do not tell the application."""
    known = any(it.application for it in targets)
    return [it for it in COLUMNS if known or it is not APPLICATION]


async def targets_by_wanted(
    edgegap: EdgegapSession, wanted: Wanted, output: Output, targets: list[Target]
) -> int:
    """Find the deployments that have what is wanted. Return the exit code.

    Args:
        targets: they are added to it, once all are known.
    """
    code, rows = 0, list[Target]()
    try:
        async for row in found(edgegap, wanted, None):
            age = age_of(row)
            application = wanted.application or ""
            rows.append(
                Target(row.request_id, state_text(row), application, age, row.tags)
            )
    except Incomplete as error:
        # What was found is certain. There may be others.
        output.problem(f"Error: {explained(error)}")
        code = FAILED
    targets += rows
    if not rows:
        output.say("no deployments")
    return code


async def targets_by_id(
    edgegap: EdgegapSession,
    request_ids: Sequence[str],
    output: Output,
    targets: list[Target],
) -> int:
    """Look deployments up. Return the exit code. Those that do not exist are named.

    Args:
        targets: the others are added to it, once all are known.
    """
    code = 0

    async def look_up(request_id: str) -> Target | None:
        nonlocal code
        try:
            status = await edgegap.deployments.status(request_id)
        except EdgegapError as error:
            cause = error.__cause__ if isinstance(error, DeadlineExceeded) else error
            if is_permanent(error) or not isinstance(cause, ApiError):
                raise
            if not is_gone(cause):
                # It can be stopped without a status.
                return Target(request_id)
            output.problem(f"{request_id}: {explained(error)}")
            code = FAILED
            return None
        if status.state is DeploymentState.TERMINATED:
            output.say(f"{request_id} has ended already")
            return None
        return _target(status)

    looked_up = await answers(dict.fromkeys(request_ids), look_up)
    targets += [target for target in looked_up if target]
    return code


def _target(status: DeploymentStatus) -> Target:
    return Target(
        status.request_id,
        status.state.name,
        status.app_name or "",
        age_of(status),
        status.tags,
    )
