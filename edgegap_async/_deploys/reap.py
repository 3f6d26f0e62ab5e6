"""Stops the servers under tags, which a process that died has left running."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from ..errors import EdgegapError, Incomplete
from ..models.deployment import DeploymentSummary
from .find import MOST_NAMED, Finder, Wanted, has_any_tag

# Seconds between two sweeps: lists may lag behind deploys.
PAUSE = 1.0
Found = dict[str, DeploymentSummary]


async def reap(
    transport: Transport,
    tags: frozenset[str],
    stop: Callable[[str], Awaitable[None]] | None,
    window: float,
    deadline: Deadline,
) -> tuple[DeploymentSummary, ...]:
    """Stop each server as soon as it is found, until a sweep finds no other one and the
    search window has passed. Its status has to confirm the tags that the list shows.

    Args:
        stop: stops a deployment; None: only find them.
        window: seconds until a server that was deployed before is listed.

    Returns:
        What was stopped.

    Raises:
        Incomplete: some could not be found or stopped.
        EdgegapError: the same before the first was found.
    """
    found: Found = {}
    failed: dict[str, EdgegapError] = {}

    async def stop_one(row: DeploymentSummary) -> None:
        try:
            if await has_any_tag(transport, row, tags, deadline):
                found[row.request_id] = row
                if stop:
                    await stop(row.request_id)
        except EdgegapError as error:
            failed[row.request_id] = error

    finder = Finder(transport, Wanted(tags), deadline)
    missing: EdgegapError | None = None
    async with asyncio.TaskGroup() as stops:

        def take(row: DeploymentSummary) -> None:
            stops.create_task(stop_one(row))

        try:
            await _sweep_until_steady(transport, finder, take, window, deadline)
        except EdgegapError as error:
            missing = error
    if missing and not (found or failed):
        raise missing
    if missing or failed:
        done = "stopped" if stop else "checked"
        raise _incomplete(found, failed, missing, done) from missing or next(
            iter(failed.values())
        )
    return tuple(found.values())


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
        some = [f"{it} ({error})" for it, error in list(failed.items())[:MOST_NAMED]]
        more = len(failed) - len(some)
        named = ", ".join(some) + (f" and {more} more" if more else "")
        parts.append(f"{len(failed)} of {total} were not {done}: {named}")
    if missing:
        parts.append(f"there may be more than the {total} that were found: {missing}")
    stopped = [row for it, row in found.items() if it not in failed]
    return Incomplete("; ".join(parts), stopped=stopped, not_stopped=failed)
