"""The waiters of a session, and the choice of the next poll.

`_waiters/__init__.py` has the rules. This module does no I/O: the caller passes the
time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from math import inf
from typing import Literal, NamedTuple, TypeAlias

from ..errors import EdgegapError
from ..models.deployment import DeploymentStatus, ReadyDeployment

Goal: TypeAlias = Literal["ready", "stopped"]
# The state that a list is filtered by. "any": the list is not filtered by a state.
PolledState: TypeAlias = Literal["ready", "error"]
ListState: TypeAlias = PolledState | Literal["any"]
Outcome: TypeAlias = ReadyDeployment | EdgegapError
# The result None means that no poll can end before the deadline.
WaitFuture: TypeAlias = asyncio.Future[Outcome | None]

# The least and the most seconds between two polls of a waiter.
FASTEST, SLOWEST = 0.25, 2.0
# The interval is this part of the time waited so far. So it grows after 8 s, and
# reaches its maximum after about a minute.
SLOWING = 1 / 32
# After so many missing webhooks in a row, the poller no longer relies on webhooks.
MISSES = 5
# Seconds between two polls of a deployment that sends webhooks.
SAFETY_NET = 3.0
# Lists of deployments in ERROR are this many times rarer than those of READY ones.
ERROR_INTERVALS = 8
# A list must show that a deployment exists after so many seconds, or after so many
# intervals if they are longer.
OVERDUE, OVERDUE_INTERVALS = 10.0, 15
# Seconds after which a status is polled, until a list has shown a deployment of a
# waiter.
UNPROVEN = 1.0
# Seconds after which a status is polled if no list shows the deployment.
MISSING = 2.0
# After so many failed status polls in a row, lists are used even for a single waiter.
STATUS_FAILURES = 3
# A status poll without an answer for so many seconds counts as such failures.
STATUS_TIMEOUT = 2.0
# Characters around an ID in a percent-encoded list: two quotes and a comma.
QUOTING = 9


def size(request_ids: Iterable[str]) -> int:
    """Return the length of these IDs in a URL, with their quotes and commas."""
    return sum(len(request_id) + QUOTING for request_id in request_ids)


def _by_due(waiter: "Waiter") -> float:
    return waiter.due


def _by_error_due(waiter: "Waiter") -> float:
    return waiter.error_due


def _by_polled(waiter: "Waiter") -> float:
    return waiter.polled_at


def _by_overdue(waiter: "Waiter") -> float:
    return waiter.polled_at + max(
        OVERDUE, OVERDUE_INTERVALS * waiter.interval(waiter.polled_at)
    )


_WHEN: Mapping[ListState, Callable[["Waiter"], float]] = {
    "ready": _by_due,
    "error": _by_error_due,
    "any": _by_overdue,
}


class Waiter:
    """A deployment that some callers wait for: to become READY, or to be gone."""

    __slots__ = (
        "began",
        "callers",
        "due",
        "error_due",
        "failed_polls",
        "failure",
        "goal",
        "hooked",
        "last",
        "listed",
        "listing",
        "poll_task",
        "polled_at",
        "polling",
        "request_id",
    )

    def __init__(
        self,
        request_id: str,
        goal: Goal,
        now: float,
        due: float,
        *,
        hooked: bool = False,
    ) -> None:
        self.request_id: str = request_id
        self.goal: Goal = goal
        # The future of each caller, with the deadline of the caller.
        self.callers: dict[WaitFuture, float | None] = {}
        self.began: float = now
        # Whether Edgegap sends webhooks for this deployment.
        self.hooked: bool = hooked
        self.due: float = due
        self.error_due: float = due + ERROR_INTERVALS * FASTEST
        # The time of the last status poll.
        self.polled_at: float = now
        # Failed status polls in a row.
        self.failed_polls: int = 0
        # Whether a status poll is in progress.
        self.polling: bool = False
        # The task of the latest status poll.
        self.poll_task: asyncio.Task[None] | None = None
        # Whether a list with this deployment is in progress.
        self.listing: bool = False
        # Whether any list has included this deployment in its filter.
        self.listed: bool = False
        self.last: DeploymentStatus | None = None
        self.failure: EdgegapError | None = None

    @property
    def deadline(self) -> float | None:
        """The latest deadline of the callers. None: one of them has no deadline."""
        latest = -inf
        for deadline in self.callers.values():
            if deadline is None:
                return None
            latest = max(latest, deadline)
        return latest

    def record_failure(self, error: EdgegapError) -> None:
        """Record the error of a poll.

        A time-out does not replace another error, which has more information.
        """
        if self.failure is None or not isinstance(error, TimeoutError):
            self.failure = error

    def status_unavailable(self, now: float) -> bool:
        """Return whether status polls fail or hang."""
        return self.failed_polls >= STATUS_FAILURES or (
            self.polling and now - self.polled_at >= STATUS_TIMEOUT
        )

    def interval(self, now: float) -> float:
        """Return the seconds between two polls."""
        return min(max(FASTEST, SLOWING * (now - self.began)), SLOWEST)


class WaitHandle(NamedTuple):
    """The wait of one caller.

    Attributes:
        waiter: the deployment that the caller waits for.
        future: the result of the wait.
        timeout: seconds, as the caller passed them. None: no limit.
        deadline: the same as a time on the loop's clock.
    """

    waiter: Waiter
    future: WaitFuture
    timeout: float | None
    deadline: float | None


class Schedule:
    """All waiters of a session."""

    def __init__(self) -> None:
        self._waiters: dict[Goal, dict[str, Waiter]] = {"ready": {}, "stopped": {}}
        # Waiters to poll out of turn, in order.
        self._soon: dict[Waiter, None] = {}
        self._next_unproven = -inf
        # Missing webhooks in a row.
        self._missed = MISSES
        # The time of the next list with fewer IDs than fit into a URL.
        self._next_partial = -inf

    def __bool__(self) -> bool:
        return any(self._waiters.values())

    def __contains__(self, waiter: Waiter) -> bool:
        """Whether callers still wait. A poll may end after the last of them left."""
        return self._waiters[waiter.goal].get(waiter.request_id) is waiter

    @property
    def ready(self) -> dict[str, Waiter]:
        """The waiters for READY, by request_id."""
        return self._waiters["ready"]

    def find(self, request_id: str) -> list[Waiter]:
        """Return the waiters of a deployment, with either goal."""
        return [
            waiter
            for waiters in self._waiters.values()
            if (waiter := waiters.get(request_id))
        ]

    def add(self, waiter: Waiter) -> None:
        """Add a waiter."""
        self._waiters[waiter.goal][waiter.request_id] = waiter

    def get(self, request_id: str, goal: Goal) -> Waiter | None:
        """Return the waiter of a deployment with this goal."""
        return self._waiters[goal].get(request_id)

    def leave(self, waiter: Waiter, future: WaitFuture) -> None:
        """Remove a caller, and the waiter after its last caller."""
        waiter.callers.pop(future, None)
        if not waiter.callers:
            self._drop(waiter)

    @property
    def webhooks_arrive(self) -> bool:
        """Whether the poller relies on webhooks.

        It does if one has arrived, and not too many were missing since.
        """
        return self._missed < MISSES

    def interval(self, waiter: Waiter, now: float) -> float:
        """Return the seconds between two polls of a waiter."""
        return (
            SAFETY_NET
            if waiter.hooked and self.webhooks_arrive
            else waiter.interval(now)
        )

    def error_interval(self, waiter: Waiter, now: float) -> float:
        """Return the seconds between two lists of deployments in ERROR.

        While webhooks arrive, lists only make up for lost ones, so both kinds of lists
        are equally rare.
        """
        return (
            SAFETY_NET
            if waiter.hooked and self.webhooks_arrive
            else ERROR_INTERVALS * waiter.interval(now)
        )

    @property
    def lists_between(self) -> int:
        """Lists of READY deployments between two other lists."""
        return 1 if self.webhooks_arrive else ERROR_INTERVALS

    def receive(self, waiter: Waiter, outcome: Outcome | None) -> None:
        """Resolve a waiter by a webhook, or poll it soon if there is no outcome."""
        if outcome is None:
            self.poll_soon(waiter)
            return
        self._end(waiter, outcome)

    def webhook_arrived(self) -> None:
        """Record that a webhook of any deployment has arrived."""
        self._missed = 0

    def resolve(self, waiter: Waiter, outcome: Outcome) -> None:
        """Resolve a waiter with the outcome that a poll has found."""
        self._missed += waiter.hooked and waiter in self
        self._end(waiter, outcome)

    def end_before(self, when: float, waiter: Waiter, now: float) -> None:
        """End the callers whose deadline is before `when`, unless lists or webhooks may
        still resolve them.

        Args:
            when: the time before which no status poll can be sent.
        """
        if waiter.hooked or (waiter.goal == "ready" and self._in_lists(now)):
            return
        for future, deadline in waiter.callers.items():
            if deadline is not None and deadline < when and not future.done():
                future.set_result(None)

    def _end(self, waiter: Waiter, outcome: Outcome) -> None:
        self._drop(waiter)
        for future in waiter.callers:
            if not future.done():
                future.set_result(outcome)

    def _drop(self, waiter: Waiter) -> None:
        self._soon.pop(waiter, None)
        if waiter in self:
            del self._waiters[waiter.goal][waiter.request_id]

    def poll_soon(self, waiter: Waiter) -> None:
        """Poll the status of a waiter out of turn."""
        if waiter in self:
            self._soon[waiter] = None

    def next_status(self, now: float, *, proven: bool, failing: bool) -> Waiter | None:
        """Choose the waiter whose status is polled now, and mark it as being polled.

        Args:
            proven: a list has shown a deployment of a waiter.
            failing: all lists fail at the moment.
        """
        waiter = self._choose(now, proven=proven, failing=failing)
        if waiter:
            self._soon.pop(waiter, None)
            waiter.polling, waiter.polled_at = True, now
        return waiter

    def _choose(self, now: float, *, proven: bool, failing: bool) -> Waiter | None:
        flagged = next((waiter for waiter in self._soon if not waiter.polling), None)
        if flagged:
            return flagged
        alone = failing or len(self.ready) == 1
        if (
            not alone
            and not proven
            and now >= self._next_unproven
            and (unproven := self._unproven(now))
        ):
            # It goes before the waiters for an end, of which there may be many.
            return unproven
        singly: list[Waiter] = [
            *self._waiters["stopped"].values(),
            *(self.ready.values() if alone else ()),
        ]
        due = [waiter for waiter in singly if waiter.due <= now and not waiter.polling]
        return min(due, key=_by_due, default=None)

    def _unproven(self, now: float) -> Waiter | None:
        """Return the waiter to check by its status, as no list has proven to work."""
        free = [waiter for waiter in self.ready.values() if not waiter.polling]
        oldest = min(free, key=_by_polled) if free else None
        if oldest is None or now - oldest.polled_at < UNPROVEN:
            return None
        self._next_unproven = now + self.interval(oldest, now)
        return oldest

    def _in_lists(self, now: float) -> bool:
        """Return whether lists are used."""
        return len(self.ready) > 1 or any(
            waiter.status_unavailable(now) for waiter in self.ready.values()
        )

    def next_list(self, now: float, room: int, state: ListState) -> dict[str, Waiter]:
        """Choose the waiters for the next list, and mark them as being listed.

        If a waiter is due, others that fit into the URL are listed with it, those that
        are due next first.

        Args:
            room: characters of IDs that fit into the URL.
            state: the state that the list is filtered by.
        """
        when = _WHEN[state]
        free = [waiter for waiter in self.ready.values() if not waiter.listing]
        due = sum(when(waiter) <= now for waiter in free)
        if not due or not self._in_lists(now):
            return {}
        chunk: dict[str, Waiter] = {}
        for waiter in nsmallest(room // QUOTING, free, key=when):
            room -= size([waiter.request_id])
            if room < 0 and chunk:
                break
            chunk[waiter.request_id] = waiter
        # A list that leaves room in its URL is not sent more often than every 0.25 s:
        # others may become due meanwhile.
        if due <= len(chunk) and state == "ready":
            if now < self._next_partial:
                return {}
            self._next_partial = now + FASTEST
        for waiter in chunk.values():
            waiter.listing = True
        return chunk

    def next_sweep(self, now: float) -> dict[str, Waiter]:
        """Return all waiters for READY, if one of them is due for a sweep."""
        waiters = dict(self.ready)
        if not self._in_lists(now) or not any(
            waiter.due <= now and not waiter.listing for waiter in waiters.values()
        ):
            return {}
        for waiter in waiters.values():
            waiter.listing = True
        return waiters

    def next_due(self, now: float) -> float:
        """Return the time at which the next poll may be due.

        Waiters that are due already do not count: they wait for the end of another
        poll.
        """
        dues = [
            waiter.due
            for waiters in self._waiters.values()
            for waiter in waiters.values()
        ]
        soonest = min(
            (due for due in (*dues, self._next_partial) if due > now), default=inf
        )
        # A single waiter needs only its status, unless the status poll takes long.
        alone = len(self.ready) < 2 and not any(
            waiter.polling for waiter in self.ready.values()
        )
        return soonest if alone else min(soonest, now + FASTEST)
