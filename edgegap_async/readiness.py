"""`wait_until_ready`: what is ready, failed or gone, and the poll that finds it out."""

import asyncio

from ._transport import Transport
from .endpoints import STATUS
from .errors import (
    ApiError,
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    Forbidden,
    QueueTooLong,
    ReadyTimeout,
    SessionClosed,
    Unauthorized,
    WrongLoop,
    is_gone,
)
from .models._check import seconds, text
from .models.deployment import DeploymentState, DeploymentStatus, ReadyDeployment

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.25, 2.0, 1.5  # seconds between two looks: a cached image is ready after about 3

# What no further look would mend.
_HOPELESS = (Unauthorized, Forbidden, SessionClosed, WrongLoop)


def settled(status: DeploymentStatus) -> ReadyDeployment | None:
    """What a status says of the wait: it is over with this, or not yet (None).

    The state decides; `running` and `error` only where it is a word that this version does not know.

    Raises:
        DeploymentFailed, DeploymentTerminated: it will never be ready.
    """
    state = status.state
    unknown = state is DeploymentState.UNKNOWN
    if state is DeploymentState.READY or (unknown and status.running):
        return ReadyDeployment(
            request_id=status.request_id,
            fqdn=status.fqdn,
            public_ip=status.public_ip,
            ports=status.ports,
            tags=status.tags,
            start_time=status.start_time,
        )
    if state is DeploymentState.ERROR or (unknown and status.error):
        raise DeploymentFailed(status.request_id, status.error_detail, status)
    if state in (DeploymentState.TERMINATING, DeploymentState.TERMINATED):
        raise DeploymentTerminated(status.request_id)
    return None


async def wait_until_ready(transport: Transport, request_id: str, timeout: float | None) -> ReadyDeployment:
    """Look at the status until it settles. A look that fails fails no waiter, unless no further one could mend it."""
    text("request_id", request_id)
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + seconds("timeout", timeout)
    last: DeploymentStatus | None = None
    failure: EdgegapError | None = None
    pause = FIRST_PAUSE
    while deadline is None or loop.time() < deadline:
        left = None if deadline is None else deadline - loop.time()
        try:
            last = await transport.call(STATUS, {"request_id": request_id}, timeout=left, priority="background")
            if ready := settled(last):
                return ready
        except (*_HOPELESS, DeploymentFailed, DeploymentTerminated):
            raise
        except EdgegapError as error:
            if isinstance(error, ApiError) and is_gone(error):
                raise DeploymentTerminated(request_id) from error
            if isinstance(error, QueueTooLong):
                deadline = loop.time()  # there will be no other look in time
            if failure is None or not isinstance(error, DeadlineExceeded):  # what went wrong before tells more
                failure = error
        await transport.wait(asyncio.sleep(pause), deadline)
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    raise ReadyTimeout(request_id, timeout or 0.0, last) from failure
