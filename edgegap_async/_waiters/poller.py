"""Polls one status, a filtered list, or all pages newest first, and resolves the
waiters by what is shown.
"""

import asyncio
from collections.abc import Collection, Sequence
from math import inf

from .._deploys.existence import Existence
from .._transport.client import Transport
from .._transport.queries import PAGE_SIZE, in_state, is_last, newest
from ..endpoints import STATUS
from ..errors import (
    ApiError,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    QueueTooLong,
    is_permanent,
)
from ..models.deployment import (
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
    ReadyDeployment,
)
from .filter_health import FilterHealth
from .schedule import MISSING, Goal, ListState, Outcome, Schedule, Waiter, size

# Seconds for a list, with its time in the queue. Meanwhile a status may show more.
LIST_TIMEOUT = 10.0
# A full page counts as this part of a list: the more a page shows, the rarer are the
# lists of those in ERROR.
FULL_COUNTS = 0.25
# The statuses of a refused filter, and of a URL that is too long.
REFUSALS = (400, 414, 431)


def outcome_of(status: DeploymentStatus, goal: Goal) -> Outcome | None:
    """The outcome that a status shows, or None.

    The state decides. `running` and `error` count only if the state is a word that this
    version does not know.
    """
    state = status.state
    unknown = state is DeploymentState.UNKNOWN
    if goal == "stopped":
        return (
            DeploymentTerminated(status.request_id)
            if state is DeploymentState.TERMINATED
            else None
        )
    if state is DeploymentState.READY or (unknown and status.running):
        return ready_by(status)
    if state is DeploymentState.ERROR or (unknown and status.error):
        return DeploymentFailed(status.request_id, status.error_detail, status)
    if state in (DeploymentState.TERMINATING, DeploymentState.TERMINATED):
        return DeploymentTerminated(status.request_id)
    return None


def ready_by(shown: DeploymentStatus | DeploymentSummary) -> ReadyDeployment:
    """The part of a status or a list row that players need."""
    return ReadyDeployment(
        request_id=shown.request_id,
        fqdn=shown.fqdn,
        public_ip=shown.public_ip,
        ports=shown.ports,
        tags=shown.tags,
        start_time=shown.start_time,
    )


class Poller:
    """Takes polls, and resolves the waiters of the schedule."""

    def __init__(
        self,
        transport: Transport,
        schedule: Schedule,
        health: FilterHealth,
        existence: Existence,
    ) -> None:
        self._transport, self._existence = transport, existence
        self._schedule, self._health = schedule, health
        # Lists of those that are READY since the last other list. The fuller a page
        # was, the less it counts.
        self.ready_lists: float = 0

    async def poll_status(self, wait: Waiter) -> None:
        """Poll the status of one waiter."""
        began = _now()
        left = None if wait.deadline is None else max(wait.deadline - began, 0.001)
        try:
            status = await self._transport.call(
                STATUS,
                {"request_id": wait.request_id},
                timeout=left,
                priority="background",
            )
        except EdgegapError as error:
            await self._failed(wait, error)
        else:
            self._seen(wait, status)
        finally:
            wait.polling, wait.due = False, began + self._schedule.pace(wait, began)

    def _seen(self, wait: Waiter, status: DeploymentStatus) -> None:
        wait.last, wait.failed_polls = status, 0
        outcome = outcome_of(status, wait.goal)
        if outcome is None:
            return
        if (
            wait.listed
            and wait in self._schedule
            and isinstance(outcome, ReadyDeployment)
        ):
            self._health.not_shown(wait.request_id, _now())
        self._schedule.resolve(wait, outcome)

    async def _failed(self, wait: Waiter, error: EdgegapError) -> None:
        wait.went_wrong(error)
        wait.failed_polls += 1
        if isinstance(error, ApiError) and await self._existence.is_gone(
            self._transport, wait.request_id, error, wait.deadline
        ):
            gone = DeploymentTerminated(wait.request_id)
            gone.__cause__ = error
            self._schedule.resolve(wait, gone)
        elif is_permanent(error):
            self._schedule.resolve(wait, error)
        elif isinstance(error, QueueTooLong):
            now = _now()
            self._schedule.end_before(now + error.wait, wait, now)

    async def poll_list(self, chunk: dict[str, Waiter], word: ListState) -> None:
        """Poll a list of those that are in a state."""
        began = _now()
        for wait in chunk.values():
            wait.listed = True
        more = False
        if word == "error":
            self.ready_lists = 0
        try:
            more = await self._ask_list(chunk, word, began)
        finally:
            for wait in chunk.values():
                wait.listing = False
                if word == "error":
                    wait.error_due = began + self._schedule.error_pace(wait, began)
                else:
                    wait.due = (
                        -inf if more else began + self._schedule.pace(wait, began)
                    )

    async def _ask_list(
        self, chunk: dict[str, Waiter], word: ListState, began: float
    ) -> bool:
        """Returns whether there are more rows than the page showed."""
        asked = {*chunk, *(self._health.expected if word == "ready" else ())}
        try:
            page = await in_state(self._transport, asked, word, LIST_TIMEOUT)
        except EdgegapError as error:
            self._list_failed(chunk, error, asked)
            return False
        full = not is_last(page)
        sound = word == "error" or all(row.ready is not False for row in page.data)
        shown = [row.request_id for row in page.data]
        self._health.judge(shown, asked, began, sound=sound, full=full)
        for row in page.data:
            wait = chunk.get(row.request_id)
            if wait and row.ready and word == "ready":
                self._schedule.resolve(wait, ready_by(row))
            elif wait and sound:
                # The row lacks what only a status shows.
                self._schedule.poll_soon(wait)
        if word == "ready":
            self.ready_lists += (
                FULL_COUNTS
                if full
                else 1 - (1 - FULL_COUNTS) * min(len(shown) / PAGE_SIZE, 1)
            )
        return full and bool({*shown} & {*chunk})

    def _list_failed(
        self, waits: dict[str, Waiter], error: EdgegapError, asked: Collection[str]
    ) -> None:
        for wait in waits.values():
            wait.went_wrong(error)
        if asked and isinstance(error, ApiError) and error.status in REFUSALS:
            self._health.refused(size(asked), _now())
        else:
            self._health.failed(_now())

    async def sweep(self, waits: dict[str, Waiter], *, only: bool) -> None:
        """Read pages newest first, until all of these were seen.

        Args:
            only: ask for a list of these alone.
        """
        began, missing, strange = _now(), set(waits), set[str]()

        def take(rows: Sequence[DeploymentSummary]) -> bool:
            for row in rows:
                missing.discard(row.request_id)
                if row.ready and (wait := self._schedule.get(row.request_id, "ready")):
                    self._schedule.resolve(wait, ready_by(row))
            strange.update(
                row.request_id for row in rows if only and row.request_id not in waits
            )
            return bool(strange) or not missing

        if only:
            self.ready_lists = 0
        try:
            complete = await newest(
                self._transport,
                take,
                LIST_TIMEOUT,
                request_ids=tuple(waits) if only else None,
            )
        except EdgegapError as error:
            self._list_failed(waits, error, tuple(waits) if only else ())
        else:
            self._seen_to_exist(
                waits, missing if complete and not strange else set(), began, only=only
            )
            if strange:
                self._health.distrust(began)
        finally:
            for wait in waits.values():
                wait.listing, wait.due = False, began + self._schedule.pace(wait, began)

    def _seen_to_exist(
        self,
        waits: dict[str, Waiter],
        missing: Collection[str],
        began: float,
        *,
        only: bool,
    ) -> None:
        """Note which waiters the pages have shown, and which not."""
        self._health.answered()
        for request_id, wait in waits.items():
            if request_id in missing and began - wait.polled_at >= MISSING:
                # It is gone, or not listed yet, or the pages have shifted meanwhile.
                self._schedule.poll_soon(wait)
            elif only:
                # Another list shows those in ERROR.
                wait.polled_at = began


def _now() -> float:
    return asyncio.get_running_loop().time()
