"""Polls statuses, filtered lists and pages of all deployments, and resolves the waiters
for READY.
"""

from collections.abc import Collection, Sequence

from .._records.existence import Existence
from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from .._transport.queries import PAGE_SIZE, in_state, is_last, newest, size
from ..errors import (
    ApiError,
    DeploymentTerminated,
    EdgegapError,
    QueueTooLong,
    is_permanent,
)
from ..models.deployment import DeploymentStatus, DeploymentSummary, ReadyDeployment
from .filter_health import REFUSALS, FilterHealth
from .outcomes import CONFIRM_AFTER, claim_of, has_address, outcome_of, ready_by
from .schedule import MISSING, UNPROVEN, PolledState, ReadyWaiter, Schedule
from .waiter import ask_status

# Seconds for a list, with its time in the queue. If a list takes longer, statuses may
# show the result earlier.
LIST_TIMEOUT = 10.0
# A full page counts as this part of a list. So lists of deployments in ERROR are rarer
# while many deployments become READY.
FULL_COUNTS = 0.25


class Poller:
    """Sends polls, and resolves the waiters of a schedule.

    Attributes:
        ready_lists: lists of READY deployments since the last other list. A full page
            counts less than an empty one.
    """

    def __init__(
        self,
        transport: Transport,
        schedule: Schedule,
        health: FilterHealth,
        existence: Existence,
    ) -> None:
        self._transport, self._existence = transport, existence
        self._schedule, self._health = schedule, health
        self.ready_lists: float = 0

    async def poll_status(self, waiter: ReadyWaiter) -> None:
        """Poll the status of one waiter."""
        began = loop_time()
        try:
            status = await ask_status(self._transport, waiter)
        except EdgegapError as error:
            await self._failed(waiter, error, began)
        else:
            self._seen(waiter, status)
        finally:
            self._schedule.polled(waiter, began)

    def _seen(self, waiter: ReadyWaiter, status: DeploymentStatus) -> None:
        waiter.answered(status)
        self._existence.seen(waiter.request_id)
        outcome, now = outcome_of(status), loop_time()
        claim = None if outcome else claim_of(status)
        if waiter.claims(claim and claim[0], now, CONFIRM_AFTER) and claim:
            outcome = claim[1]
        if outcome is None:
            return
        if (
            waiter.listed
            and waiter in self._schedule
            and isinstance(outcome, ReadyDeployment)
        ):
            self._health.not_shown(waiter.request_id, now)
        self._schedule.resolve(waiter, outcome)

    async def _failed(
        self, waiter: ReadyWaiter, error: EdgegapError, asked: float
    ) -> None:
        waiter.record_failure(error)
        waiter.failed_polls += 1
        if isinstance(error, ApiError) and await self._existence.is_gone(
            self._transport,
            waiter.request_id,
            error,
            asked,
            waiter.deadline,
            doubt=True,
        ):
            gone = DeploymentTerminated(waiter.request_id)
            gone.__cause__ = error
            self._schedule.resolve(waiter, gone)
        elif is_permanent(error):
            if waiter.believes(error, loop_time()):
                self._schedule.resolve(waiter, error)
        elif isinstance(error, QueueTooLong):
            now = loop_time()
            self._schedule.end_before(now + error.wait, waiter, now)
        else:
            waiter.answered_otherwise()

    async def poll_list(
        self, chunk: dict[str, ReadyWaiter], state: PolledState
    ) -> None:
        """Poll which deployments are in a state.

        Args:
            chunk: the waiters to list, by request_id.
            state: the state that the list is filtered by.
        """
        began = loop_time()
        for waiter in chunk.values():
            waiter.listed = True
        more = False
        if state == "error":
            self.ready_lists = 0
        try:
            more = await self._ask_list(chunk, state, began)
        finally:
            self._schedule.listed(chunk.values(), state, began, more=more)

    async def _ask_list(
        self, chunk: dict[str, ReadyWaiter], state: PolledState, began: float
    ) -> bool:
        """Return whether further pages may show more deployments of these waiters."""
        asked = {*chunk, *(self._health.expected if state == "ready" else ())}
        try:
            page = await in_state(self._transport, asked, state, LIST_TIMEOUT)
        except EdgegapError as error:
            self._list_failed(chunk, error, asked)
            return False
        for listed in chunk.values():
            listed.answered_otherwise()
        full = not is_last(page)
        sound = state == "error" or all(row.ready is not False for row in page.data)
        shown = [row.request_id for row in page.data]
        self._health.judge(shown, asked, began, sound=sound, full=full)
        for row in page.data:
            if (waiter := chunk.get(row.request_id)) is None:
                continue
            if row.ready and state == "ready":
                self._shown_ready(waiter, row)
            elif sound and loop_time() - waiter.polled_at >= UNPROVEN:
                # The row lacks details that only a status has.
                self._schedule.poll_soon(waiter)
        if state == "ready":
            self.ready_lists += (
                FULL_COUNTS
                if full
                else 1 - (1 - FULL_COUNTS) * min(len(shown) / PAGE_SIZE, 1)
            )
        return full and bool({*shown} & {*chunk})

    def _shown_ready(self, waiter: ReadyWaiter, row: DeploymentSummary) -> None:
        """A list shows that a deployment is READY. Its status may have an address that
        the row lacks.
        """
        self._existence.seen(waiter.request_id)
        if has_address(row):
            self._schedule.resolve(waiter, ready_by(row))
        elif loop_time() - waiter.polled_at >= UNPROVEN:
            self._schedule.poll_soon(waiter)

    def _list_failed(
        self,
        waiters: dict[str, ReadyWaiter],
        error: EdgegapError,
        asked: Collection[str],
    ) -> None:
        for waiter in waiters.values():
            waiter.record_failure(error)
        if asked and isinstance(error, ApiError) and error.status in REFUSALS:
            self._health.refused(size(asked), loop_time())
        else:
            self._health.failed(loop_time())

    async def sweep(self, waiters: dict[str, ReadyWaiter], *, filtered: bool) -> None:
        """Read pages, newest first, until they have shown all of these waiters.

        Args:
            waiters: the waiters to look for, by request_id.
            filtered: whether the pages are filtered by these IDs, to see which of them
                exist.
        """
        began, missing, unrequested = loop_time(), set(waiters), set[str]()

        def take(rows: Sequence[DeploymentSummary]) -> bool:
            for row in rows:
                missing.discard(row.request_id)
                waiter = self._schedule.waiters.get(row.request_id)
                if row.ready and waiter:
                    self._shown_ready(waiter, row)
            unrequested.update(
                row.request_id
                for row in rows
                if filtered and row.request_id not in waiters
            )
            return bool(unrequested) or not missing

        if filtered:
            self.ready_lists = 0
        try:
            complete = await newest(
                self._transport,
                take,
                Deadline.after(LIST_TIMEOUT),
                request_ids=tuple(waiters) if filtered else None,
            )
        except EdgegapError as error:
            self._list_failed(waiters, error, tuple(waiters) if filtered else ())
        else:
            self._seen_to_exist(
                waiters,
                missing if complete and not unrequested else set(),
                began,
                filtered=filtered,
            )
            if unrequested:
                self._health.distrust(began)
        finally:
            self._schedule.listed(waiters.values(), "any", began, more=False)

    def _seen_to_exist(
        self,
        waiters: dict[str, ReadyWaiter],
        missing: Collection[str],
        began: float,
        *,
        filtered: bool,
    ) -> None:
        """Record which deployments the pages have shown, and which not."""
        self._health.answered()
        for request_id, waiter in waiters.items():
            if request_id in missing and began - waiter.polled_at >= MISSING:
                # The deployment is gone, or not listed yet, or it moved to another page
                # between two requests.
                self._schedule.poll_soon(waiter)
            elif filtered:
                # The deployment exists. Another list shows whether it is in ERROR.
                waiter.polled_at = began
