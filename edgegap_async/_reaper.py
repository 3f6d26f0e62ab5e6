"""What stops servers that nobody wants, for as long as it takes."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from ._transport import Transport
from .endpoints import STATUS, STOP
from .errors import (
    HOPELESS,
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    Forbidden,
    SessionClosed,
    UnexpectedAnswer,
    is_gone,
)
from .listing import under_tags
from .models.deployment import DeploymentState

T = TypeVar("T")
log = logging.getLogger("edgegap_async")
# seconds between two tries to stop a server
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


class Reaper:
    """The stops that a session owes. A server leaves `owed` once its stop is accepted
    or it is gone.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        gone: Callable[[str], None],
        interrupted: Callable[[], None],
    ) -> None:
        self._transport, self._gone = transport, gone
        self._interrupted = interrupted
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # request_id -> tag
        self.owed: dict[str, str | None] = {}

    def stop(self, request_id: str, tag: str | None = None) -> asyncio.Task[None]:
        """Stop a server; the task is owned here."""
        if request_id in self._tasks:
            return self._tasks[request_id]
        stopping = _stopped_at_last(self._transport(), request_id)
        task = self._tasks[request_id] = asyncio.create_task(
            stopping, name=f"edgegap stop {request_id}"
        )
        self.owed[request_id] = tag
        task.add_done_callback(lambda done: self._done(request_id, done))
        return task

    def _done(self, request_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[request_id]
        if task.cancelled():
            self._interrupted()
        elif error := task.exception():
            log.warning("deployment %s could not be stopped: %s", request_id, error)
        else:
            self.owed.pop(request_id, None)
            self._gone(request_id)

    def resume(self) -> None:
        """Try each stop that is due and that no task tries."""
        for request_id, tag in list(self.owed.items()):
            self.stop(request_id, tag)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The stops that are under way."""
        return list(self._tasks.values())


async def _stopped_at_last(transport: Transport, request_id: str) -> None:
    """Stop a server as long as any further try may. A 403 may be a firewall's on the
    way, and pass.
    """
    while True:
        try:
            return await ensure_stopped(transport, request_id, timeout=None)
        except Forbidden as error:
            log.info("deployment %s is not stopped yet: %s", request_id, error)
            await transport.wait(asyncio.sleep(LONGEST_PAUSE), None)


async def settled(task: asyncio.Task[T]) -> None:
    """Wait for a task, whatever becomes of it; to cancel the waiting leaves the task
    alone.
    """
    await asyncio.wait({task})


async def stop_tagged(transport: Transport, tag: str, window: float) -> bool:
    """Stop what turns up under a tag within so many seconds: all that is left to do
    where a loop is shut down. Whether something did.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + window
    while loop.time() < end:
        try:
            for row in await under_tags(transport, (tag,), window):
                await ensure_stopped(transport, row.request_id, timeout=window)
                return True
        except EdgegapError as error:
            log.info(
                "what the tag %s may have started is not stopped yet: %s", tag, error
            )
        await asyncio.sleep(FIRST_PAUSE)
    log.warning("nothing was found under the tag %s before the loop was shut down", tag)
    return False


async def ensure_stopped(
    transport: Transport, request_id: str, *, wait: bool = False, timeout: float | None
) -> None:
    """Return when a stop is accepted or the deployment is gone; with `wait`, when it is
    gone.

    Raises:
        DeadlineExceeded: not within `timeout` seconds.
        EdgegapError: what no further try would mend.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    accepted, pause = False, FIRST_PAUSE
    while True:
        left = None if deadline is None else max(deadline - loop.time(), 0.001)
        try:
            if not accepted:
                await transport.call(
                    STOP,
                    {"request_id": request_id},
                    timeout=left,
                    priority="background",
                )
                accepted = True
            if not wait or (await _look(transport, request_id, left)):
                return
        except UnexpectedAnswer as error:
            # it is accepted, however that was put
            accepted = accepted or 200 <= error.status < 300
            if accepted and not wait:
                return
        except (*HOPELESS, DeadlineExceeded):
            raise
        except EdgegapError as error:
            if isinstance(error, ApiError) and is_gone(error):
                return
            log.info("deployment %s is not stopped yet: %s", request_id, error)
        if not await transport.wait(asyncio.sleep(pause), deadline):
            raise _too_late(transport, request_id, timeout)
        pause = min(2 * pause, LONGEST_PAUSE)


def _too_late(
    transport: Transport, request_id: str, timeout: float | None
) -> EdgegapError:
    if transport.closed:
        return SessionClosed(
            f"the session was closed before {request_id} was stopped", request_sent=True
        )
    return DeadlineExceeded(
        f"deployment {request_id} was not stopped within {timeout or 0:g} s",
        request_sent=True,
    )


async def _look(transport: Transport, request_id: str, timeout: float | None) -> bool:
    """Whether the deployment is gone; 404, 410 and the API's own 400 are raised as the
    errors that they are.
    """
    status = await transport.call(
        STATUS, {"request_id": request_id}, timeout=timeout, priority="background"
    )
    return status.state is DeploymentState.TERMINATED
