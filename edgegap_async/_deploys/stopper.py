"""Stops servers that nobody uses, and keeps trying while a further try may help."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from .._transport.client import Transport
from .._transport.queries import under_tags
from ..endpoints import STATUS, STOP
from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    Forbidden,
    SessionClosed,
    UnexpectedAnswer,
    is_gone,
    is_permanent,
)
from ..models.deployment import DeploymentState

T = TypeVar("T")
log = logging.getLogger("edgegap_async")
# Seconds between two tries to stop a server.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


class Stopper:
    """The stops that are due. A server leaves `pending` once its stop is accepted or it
    is gone.

    Args:
        transport: makes the transport for the stops, which outlives `aclose`.
        gone: called with the request_id of each server that was stopped.
        interrupted: called when a stop was cancelled before it was accepted.
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
        # The tag of each server, by its request_id.
        self.pending: dict[str, str | None] = {}

    def stop(self, request_id: str, tag: str | None = None) -> asyncio.Task[None]:
        """Stop a server. The stopper owns the task."""
        if request_id in self._tasks:
            return self._tasks[request_id]
        task = self._tasks[request_id] = asyncio.create_task(
            _stop(self._transport(), request_id), name=f"edgegap stop {request_id}"
        )
        self.pending[request_id] = tag
        task.add_done_callback(lambda done: self._done(request_id, done))
        return task

    def _done(self, request_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[request_id]
        if task.cancelled():
            self._interrupted()
        elif error := task.exception():
            log.warning(
                "stop failed: deployment %s: %s",
                request_id,
                error,
                extra={"operation": STOP.call, "request_id": request_id},
            )
        else:
            self.pending.pop(request_id, None)
            self._gone(request_id)

    def resume(self) -> None:
        """Try each pending stop that no task is trying."""
        for request_id, tag in list(self.pending.items()):
            self.stop(request_id, tag)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The stops in progress."""
        return list(self._tasks.values())


async def _stop(transport: Transport, request_id: str) -> None:
    """Stop a server. A 403 is retried: it may come from a firewall, and pass."""
    while True:
        try:
            return await ensure_stopped(transport, request_id, timeout=None)
        except Forbidden as error:
            _log_retry(request_id, error, LONGEST_PAUSE)
            await transport.wait(asyncio.sleep(LONGEST_PAUSE), None)


async def ended(task: asyncio.Task[T]) -> None:
    """Wait until a task has ended, without its result. Cancelling this wait does not
    cancel the task.
    """
    await asyncio.wait({task})


async def stop_tagged(transport: Transport, tag: str, window: float) -> bool:
    """Stop the server that appears under a tag, before the loop is shut down.

    Args:
        window: seconds to look for it.

    Returns:
        Whether a server was found and stopped.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + window
    while loop.time() < end:
        try:
            for row in await under_tags(transport, (tag,), window):
                await ensure_stopped(transport, row.request_id, timeout=window)
                return True
        except EdgegapError as error:
            log.info("stop failed, retrying: server under the tag %s: %s", tag, error)
        await asyncio.sleep(FIRST_PAUSE)
    log.warning("no server found under the tag %s before the loop was shut down", tag)
    return False


async def ensure_stopped(
    transport: Transport, request_id: str, *, wait: bool = False, timeout: float | None
) -> None:
    """Return when a stop is accepted or the deployment is gone.

    Args:
        wait: return only when the deployment is gone.
        timeout: seconds; None: no end.

    Raises:
        DeadlineExceeded: not within `timeout` seconds.
        EdgegapError: an error that no retry would mend.
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
            if not wait or (await _is_terminated(transport, request_id, left)):
                return
        except UnexpectedAnswer as error:
            # Any 2xx accepts the stop, whatever its body looks like.
            accepted = accepted or 200 <= error.status < 300
            if accepted and not wait:
                return
        except EdgegapError as error:
            if is_permanent(error) or isinstance(error, DeadlineExceeded):
                raise
            if isinstance(error, ApiError) and is_gone(error):
                return
            _log_retry(request_id, error, pause)
        if not await transport.wait(asyncio.sleep(pause), deadline):
            raise _timeout_error(transport, request_id, timeout)
        pause = min(2 * pause, LONGEST_PAUSE)


def _log_retry(request_id: str, error: EdgegapError, wait: float) -> None:
    log.info(
        "stop failed, retrying in %.1f s: deployment %s: %s",
        wait,
        request_id,
        error,
        extra={"operation": STOP.call, "request_id": request_id, "wait": wait},
    )


def _timeout_error(
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


async def _is_terminated(
    transport: Transport, request_id: str, timeout: float | None
) -> bool:
    """Whether the status says TERMINATED. A 404, 410 or the API's own 400, which mean
    the same, are raised as errors.
    """
    status = await transport.call(
        STATUS, {"request_id": request_id}, timeout=timeout, priority="background"
    )
    return status.state is DeploymentState.TERMINATED
