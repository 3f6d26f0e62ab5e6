"""Stops servers that nobody uses, and keeps trying while a further try may help."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from math import inf
from typing import TypeAlias

from .._records.existence import Existence, is_terminated
from .._records.state import DeployRecord
from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from .._transport.trace import CallTrace, background
from ..endpoints import STOP
from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    Forbidden,
    SessionClosed,
    UnexpectedAnswer,
    is_gone,
    is_permanent,
    may_be_done,
)

# The parameters of a stop: where the logs of the container are kept.
Query: TypeAlias = Mapping[str, str | None]
log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds between two tries to stop a server.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
# Seconds for the status of a server whose stop was answered "not found".
STATUS_TIMEOUT = 5.0


class Stopper:
    """Stops the servers whose records are STOPPING.

    Args:
        transport: makes the transport for the stops, which outlives `aclose`.
        existence: judges answers that say "not found".
        query: of each stop.
        gone: called with the request_id of each server that does not run any more, and
            whether its stop was accepted. False: it was gone before.
        causes: the numbers of the calls that a server belongs to.
        interrupted: called when a stop was cancelled before it was accepted.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        existence: Existence,
        query: Query,
        gone: Callable[[str, bool], object],
        causes: Callable[[Sequence[str]], Iterable[int]],
        interrupted: Callable[[], object],
    ) -> None:
        self._transport, self._existence = transport, existence
        self._query, self._causes = query, causes
        self._gone, self._interrupted = gone, interrupted
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def stop(self, request_id: str) -> asyncio.Task[None]:
        """Stop a server. The stopper owns the task."""
        if request_id in self._tasks:
            return self._tasks[request_id]
        task = self._tasks[request_id] = asyncio.create_task(
            self._stop(self._transport(), request_id),
            name=f"edgegap stop {request_id}",
            context=background(self._causes([request_id])),
        )
        task.add_done_callback(lambda done: self._done(request_id, done))
        return task

    async def _stop(self, transport: Transport, request_id: str) -> None:
        """Stop a server. A 403 is retried: it may come from a firewall, and pass."""
        while True:
            try:
                accepted = await ensure_stopped(
                    transport,
                    self._existence,
                    request_id,
                    self._query,
                    Deadline.after(None),
                )
                self._gone(request_id, accepted)
                return
            except Forbidden as error:
                _log_retry(request_id, error, LONGEST_PAUSE)
                await transport.wait(asyncio.sleep(LONGEST_PAUSE), None)

    def _done(self, request_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[request_id]
        if task.cancelled():
            self._interrupted()
        elif error := task.exception():
            log.warning(
                "stop failed: deployment %s: %s",
                request_id,
                # A KeyboardInterrupt has no text.
                str(error) or type(error).__name__,
                extra={"operation": STOP.call, "request_id": request_id},
            )

    def resume(self, records: list[DeployRecord]) -> None:
        """Try each of these stops that no task is trying.

        Args:
            records: those that are STOPPING.
        """
        for record in records:
            if record.request_id:
                self.stop(record.request_id)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The stops in progress."""
        return list(self._tasks.values())


async def ensure_stopped(
    transport: Transport,
    existence: Existence,
    request_id: str,
    query: Query,
    deadline: Deadline,
    refused_for: float = inf,
) -> bool:
    """Return when a stop is accepted or the deployment is gone.

    Args:
        existence: judges answers that say "not found".
        query: of the stop.
        refused_for: seconds after the first refusal to give up.

    Returns:
        Whether the stop was accepted, or an attempt whose answer was lost must have been.
        False: the deployment was gone before.

    Raises:
        DeadlineExceeded: not in time.
        EdgegapError: an error that no retry would mend, or the last refusal.
    """
    trace = transport.trace(STOP, request_id)
    with trace or nullcontext():
        return await _retry_stop(
            transport, existence, request_id, query, deadline, refused_for, trace
        )


async def _retry_stop(
    transport: Transport,
    existence: Existence,
    request_id: str,
    query: Query,
    deadline: Deadline,
    refused_for: float,
    trace: CallTrace | None,
) -> bool:
    pause, give_up_at = FIRST_PAUSE, inf
    # The answer of an attempt was lost, so it may have stopped the server.
    lost = False
    while True:
        asked = loop_time()
        try:
            await _send_stop(transport, request_id, query, deadline, trace)
        except EdgegapError as error:
            if is_permanent(error) or isinstance(error, DeadlineExceeded):
                raise
            if await _means_gone(
                transport, existence, request_id, error, asked, deadline
            ):
                if lost and trace:
                    trace.lost = True
                return lost
            lost = lost or _may_be_lost(error)
            give_up_at = min(give_up_at, loop_time() + refused_for)
            if loop_time() >= give_up_at:
                raise
            _log_retry(request_id, error, pause)
        else:
            return True
        if not await transport.wait(asyncio.sleep(pause), deadline.at):
            raise _timeout_error(transport, request_id, deadline)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _send_stop(
    transport: Transport,
    request_id: str,
    query: Query,
    deadline: Deadline,
    trace: CallTrace | None,
) -> None:
    try:
        await transport.call(
            STOP,
            {"request_id": request_id},
            query=query,
            deadline=deadline,
            priority="background",
            repeat=False,
            trace=trace,
        )
    except UnexpectedAnswer as error:
        # Any 2xx accepts the stop, whatever its body looks like, but for a page: that is
        # a gateway's.
        if not 200 <= error.status < 300 or error.body.lstrip().startswith(b"<"):
            raise


async def _means_gone(
    transport: Transport,
    existence: Existence,
    request_id: str,
    error: EdgegapError,
    asked: float,
    deadline: Deadline,
) -> bool:
    """Whether an error of a stop means that the deployment is gone."""
    if not isinstance(error, ApiError):
        existence.heard(request_id)
        return False
    if await existence.is_gone(transport, request_id, error, asked, deadline.at):
        return True
    if not is_gone(error):
        return False
    # Its status may say TERMINATED, which counts at any age.
    left = deadline.left()
    timeout = STATUS_TIMEOUT if left is None else min(left, STATUS_TIMEOUT)
    try:
        return await is_terminated(transport, request_id, timeout)
    except EdgegapError:
        return False


def _may_be_lost(error: EdgegapError) -> bool:
    """Whether a stop that failed may have been done: there was no answer, or one that a
    gateway may have given.
    """
    if isinstance(error, ApiError):
        return error.status == 408 or error.status >= 500 or may_be_done(error)
    return error.request_sent


def _log_retry(request_id: str, error: EdgegapError, wait: float) -> None:
    log.info(
        "stop failed, retrying in %.1f s: deployment %s: %s",
        wait,
        request_id,
        error,
        extra={"operation": STOP.call, "request_id": request_id, "wait": wait},
    )


def _timeout_error(
    transport: Transport, request_id: str, deadline: Deadline
) -> EdgegapError:
    if transport.closed:
        return SessionClosed(
            f"the session was closed before {request_id} was stopped", request_sent=True
        )
    return DeadlineExceeded(
        f"deployment {request_id} was not stopped within {deadline}",
        request_sent=True,
    )
