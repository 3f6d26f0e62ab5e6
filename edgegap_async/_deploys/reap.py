"""Stops the servers that are wanted, such as those under the tags of a process that has
died.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Set

from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from ..errors import (
    DeadlineExceeded,
    EdgegapError,
    Incomplete,
    QueueTooLong,
    SessionClosed,
)
from ..models._check import some
from ..models.deployment import DeploymentSummary
from .find import Finder, Wanted, is_confirmed

# Seconds between two sweeps: lists may lag behind deploys.
PAUSE = 1.0
# Stops in progress. The limits let through about 20 per second, so more at once would
# only take longer to cancel. Those that are refused are among them for 60 seconds.
MOST_AT_ONCE = 500
Found = dict[str, DeploymentSummary]


async def reap(
    transport: Transport,
    wanted: Wanted,
    stop: Callable[[str], Awaitable[None]] | None,
    window: float,
    deadline: Deadline,
) -> tuple[DeploymentSummary, ...]:
    """Stop each server as soon as it is found, until a sweep finds no other one and the
    search window has passed. Its status has to confirm what the list shows.

    Args:
        stop: stops a deployment; None: only find them.
        window: seconds until a server that was deployed before is listed.

    Returns:
        What was stopped.

    Raises:
        Incomplete: some could not be found or stopped.
        EdgegapError: the same before the first was found.
    """
    finder = Finder(transport, wanted, deadline)
    work = _Work(transport, wanted, finder.confirmed, stop, deadline)
    missing: EdgegapError | None = None
    async with asyncio.TaskGroup() as workers:

        def take(row: DeploymentSummary) -> None:
            work.waiting.append(row)
            if work.workers < MOST_AT_ONCE:
                work.workers += 1
                workers.create_task(work.run())

        try:
            await _sweep_until_steady(transport, finder, take, window, deadline)
        except EdgegapError as error:
            missing = error
    found, failed = work.found, work.failed
    if missing and not (found or failed):
        raise missing
    if missing or failed:
        done = "stopped" if stop else "checked"
        raise _incomplete(found, failed, missing, done) from missing or next(
            iter(failed.values())
        )
    return tuple(found.values())


class _Work:
    """The servers to stop, and what has become of them.

    Args:
        confirmed: IDs of servers that are wanted by their statuses.
    """

    def __init__(
        self,
        transport: Transport,
        wanted: Wanted,
        confirmed: Set[str],
        stop: Callable[[str], Awaitable[None]] | None,
        deadline: Deadline,
    ) -> None:
        self._transport, self._wanted, self._confirmed = transport, wanted, confirmed
        self._stop, self._deadline = stop, deadline
        self.waiting: deque[DeploymentSummary] = deque()
        self.workers = 0
        self.found: Found = {}
        self.failed: dict[str, EdgegapError] = {}

    async def run(self) -> None:
        """Stop servers as long as any wait."""
        while self.waiting:
            row = self.waiting.popleft()
            try:
                await self._stop_one(row)
            except EdgegapError as error:
                self.failed[row.request_id] = error
                if isinstance(error, QueueTooLong):
                    # Those behind it would wait even longer.
                    self.failed |= {each.request_id: error for each in self.waiting}
                    self.waiting.clear()
                # After the end, thousands fail without waiting for anything.
                await asyncio.sleep(0)
        self.workers -= 1

    async def _stop_one(self, row: DeploymentSummary) -> None:
        if self._transport.closed:
            raise SessionClosed("the session was closed before its stop was sent")
        if self._deadline.over(loop_time()):
            raise DeadlineExceeded(
                f"its stop was not sent within the timeout of {self._deadline}"
            )
        if row.request_id in self._confirmed or await is_confirmed(
            self._transport, row, self._wanted, self._deadline
        ):
            self.found[row.request_id] = row
            if self._stop:
                await self._stop(row.request_id)


async def _sweep_until_steady(
    transport: Transport,
    finder: Finder,
    take: Callable[[DeploymentSummary], None],
    window: float,
    deadline: Deadline,
) -> None:
    ends = loop_time() + window
    while True:
        asked, news = loop_time(), False
        missing: Incomplete | None = None
        try:
            async for row in finder.rows():
                news = True
                take(row)
        except Incomplete as error:
            missing = error
        if asked >= ends and not news:
            if missing:
                raise missing
            return
        # Once the session is closed or the deadline over, the next list says so.
        await transport.wait(asyncio.sleep(PAUSE), deadline.at)


def _incomplete(
    found: Found,
    failed: Mapping[str, EdgegapError],
    missing: EdgegapError | None,
    done: str,
) -> Incomplete:
    parts: list[str] = []
    total = len({*found, *failed})
    if failed:
        named = [f"{it} ({error})" for it, error in failed.items()]
        parts.append(f"{len(failed)} of {total} were not {done}: {some(named)}")
    if missing:
        parts.append(f"there may be more than the {total} that were found: {missing}")
    stopped = [row for it, row in found.items() if it not in failed]
    return Incomplete("; ".join(parts), stopped=stopped, not_stopped=failed)
