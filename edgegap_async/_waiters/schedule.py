"""The waiters of a session, and which of them is polled next. Pure: the caller gives
the time. `_waiters/__init__.py` has the rules.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from math import inf
from typing import Literal, NamedTuple, TypeAlias

from ..errors import EdgegapError
from ..models.deployment import DeploymentStatus, ReadyDeployment

Goal: TypeAlias = Literal["ready", "stopped"]
# The state that a list is filtered by.
ListState: TypeAlias = Literal["ready", "error", "any"]
Outcome: TypeAlias = ReadyDeployment | EdgegapError
# None: no poll can bring a result before the deadline.
WaitFuture: TypeAlias = asyncio.Future[Outcome | None]

# Seconds between two polls.
FASTEST, SLOWEST = 0.25, 2.0
# The interval is this part of the time waited so far: it grows after 8 s, and is at its
# longest after a minute.
SLOWING = 1 / 32
# Webhooks in a row that did not arrive, after which none is relied on.
MISSES = 5
# Seconds between two polls of a deployment that sends webhooks.
SAFETY_NET = 3.0
# Lists of those in ERROR are this many times rarer.
ERROR_PACE = 8
# Seconds, and intervals, after which a list must show that a deployment exists.
OVERDUE, OVERDUE_PACE = 10.0, 15
# Seconds after which a status is polled, until a list has shown one of ours.
UNPROVEN = 1.0
# Seconds after which a status is polled if no list shows the deployment.
MISSING = 2.0
# Status polls in a row that fail, after which a list is used for a single waiter too.
STATUS_FAILURES = 3
# Seconds without an answer that count as such failures.
STATUS_TIMEOUT = 2.0
# Characters around an ID in a percent-encoded list: two quotes and a comma.
QUOTING = 9


def size(request_ids: Iterable[str]) -> int:
    """The length of these IDs in a URL, with their quotes and commas."""
    return sum(len(request_id) + QUOTING for request_id in request_ids)


def _by_due(wait: "Waiter") -> float:
    return wait.due


def _by_error_due(wait: "Waiter") -> float:
    return wait.error_due


def _by_polled(wait: "Waiter") -> float:
    return wait.polled_at


def _by_overdue(wait: "Waiter") -> float:
    return wait.polled_at + max(OVERDUE, OVERDUE_PACE * wait.pace(wait.polled_at))


_WHEN: Mapping[ListState, Callable[["Waiter"], float]] = {
    "ready": _by_due,
    "error": _by_error_due,
    "any": _by_overdue,
}


class Waiter:
    """A deployment that some callers wait for: to be READY, or gone."""

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
        "look",
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
        # With their deadlines.
        self.callers: dict[WaitFuture, float | None] = {}
        self.began: float = now
        # Each change of it sends a webhook.
        self.hooked: bool = hooked
        self.due: float = due
        self.error_due: float = due + ERROR_PACE * FASTEST
        # When its status was last polled.
        self.polled_at: float = now
        # In a row.
        self.failed_polls: int = 0
        # A status poll is in progress.
        self.polling: bool = False
        # The task of its latest status poll.
        self.look: asyncio.Task[None] | None = None
        # A list is in progress.
        self.listing: bool = False
        # A list was asked for it.
        self.listed: bool = False
        self.last: DeploymentStatus | None = None
        self.failure: EdgegapError | None = None

    @property
    def deadline(self) -> float | None:
        """The latest deadline of its callers; None: no end."""
        latest = -inf
        for deadline in self.callers.values():
            if deadline is None:
                return None
            latest = max(latest, deadline)
        return latest

    def went_wrong(self, error: EdgegapError) -> None:
        """A poll failed. A time-out says less than an earlier failure."""
        if self.failure is None or not isinstance(error, TimeoutError):
            self.failure = error

    def status_unavailable(self, now: float) -> bool:
        """Whether its status is not available."""
        return self.failed_polls >= STATUS_FAILURES or (
            self.polling and now - self.polled_at >= STATUS_TIMEOUT
        )

    def pace(self, now: float) -> float:
        """Seconds between two polls."""
        return min(max(FASTEST, SLOWING * (now - self.began)), SLOWEST)


class WaitHandle(NamedTuple):
    """The wait of one caller.

    Attributes:
        timeout: seconds, as asked for.
        deadline: on the loop's clock.
    """

    wait: Waiter
    caller: WaitFuture
    timeout: float | None
    deadline: float | None


class Schedule:
    """All waiters of a session."""

    def __init__(self) -> None:
        self._waits: dict[Goal, dict[str, Waiter]] = {"ready": {}, "stopped": {}}
        # To be polled out of turn.
        self._soon: dict[Waiter, None] = {}
        self._next_overdue = -inf
        # Webhooks in a row that did not arrive.
        self._missed = MISSES
        # When a list that is not full may be asked for.
        self._next_partial = -inf

    def __bool__(self) -> bool:
        return any(self._waits.values())

    def __contains__(self, wait: Waiter) -> bool:
        """Whether it is still waited for. Polls may end later."""
        return self._waits[wait.goal].get(wait.request_id) is wait

    @property
    def ready(self) -> dict[str, Waiter]:
        """The waiters for READY, by request_id."""
        return self._waits["ready"]

    def find(self, request_id: str) -> list[Waiter]:
        """The waiters of a deployment."""
        return [
            wait for waits in self._waits.values() if (wait := waits.get(request_id))
        ]

    def add(self, wait: Waiter) -> None:
        """Add a waiter."""
        self._waits[wait.goal][wait.request_id] = wait

    def get(self, request_id: str, goal: Goal) -> Waiter | None:
        """The waiter of a deployment with this goal."""
        return self._waits[goal].get(request_id)

    def leave(self, wait: Waiter, caller: WaitFuture) -> None:
        """A caller stops waiting."""
        wait.callers.pop(caller, None)
        if not wait.callers:
            self._drop(wait)

    @property
    def webhooks_come(self) -> bool:
        """Whether webhooks can be relied on: one has arrived, and not too many were
        missed since.
        """
        return self._missed < MISSES

    def pace(self, wait: Waiter, now: float) -> float:
        """Seconds between two polls of one waiter."""
        return SAFETY_NET if wait.hooked and self.webhooks_come else wait.pace(now)

    def error_pace(self, wait: Waiter, now: float) -> float:
        """Seconds between two lists of those in ERROR. With webhooks, both lists are
        only a safety net and equally rare.
        """
        return (
            SAFETY_NET
            if wait.hooked and self.webhooks_come
            else ERROR_PACE * wait.pace(now)
        )

    @property
    def lists_between(self) -> int:
        """Lists of those that are READY between two other lists."""
        return 1 if self.webhooks_come else ERROR_PACE

    def receive(self, wait: Waiter, outcome: Outcome | None) -> None:
        """A webhook has arrived: with an outcome, or with a sign that something has
        changed.
        """
        if outcome is None:
            self.poll_soon(wait)
            return
        self._end(wait, outcome)

    def webhook_arrived(self) -> None:
        """A webhook has arrived, of any deployment."""
        self._missed = 0

    def resolve(self, wait: Waiter, outcome: Outcome) -> None:
        """A poll has found the outcome of a waiter."""
        self._missed += wait.hooked and wait in self
        self._end(wait, outcome)

    def end_before(self, when: float, wait: Waiter, now: float) -> None:
        """End the callers whose deadline is before `when`, if no list can help them
        either.
        """
        if wait.hooked or (wait.goal == "ready" and self._in_lists(now)):
            return
        for caller, deadline in wait.callers.items():
            if deadline is not None and deadline < when and not caller.done():
                caller.set_result(None)

    def _end(self, wait: Waiter, outcome: Outcome) -> None:
        self._drop(wait)
        for caller in wait.callers:
            if not caller.done():
                caller.set_result(outcome)

    def _drop(self, wait: Waiter) -> None:
        self._soon.pop(wait, None)
        if wait in self:
            del self._waits[wait.goal][wait.request_id]

    def poll_soon(self, wait: Waiter) -> None:
        """Poll it out of turn."""
        if wait in self:
            self._soon[wait] = None

    def next_status(self, now: float, *, proven: bool, failing: bool) -> Waiter | None:
        """The waiter whose status is to be polled now.

        Args:
            proven: a list has shown one of ours.
            failing: no list works at the moment.
        """
        wait = self._choose(now, proven=proven, failing=failing)
        if wait:
            self._soon.pop(wait, None)
            wait.polling, wait.polled_at = True, now
        return wait

    def _choose(self, now: float, *, proven: bool, failing: bool) -> Waiter | None:
        flagged = next((wait for wait in self._soon if not wait.polling), None)
        if flagged:
            return flagged
        alone = failing or len(self.ready) == 1
        if (
            not alone
            and not proven
            and now >= self._next_overdue
            and (overdue := self._overdue(now))
        ):
            # Before the waiters for an end, of which there may be many.
            return overdue
        singly: list[Waiter] = [
            *self._waits["stopped"].values(),
            *(self.ready.values() if alone else ()),
        ]
        due = [wait for wait in singly if wait.due <= now and not wait.polling]
        return min(due, key=_by_due, default=None)

    def _overdue(self, now: float) -> Waiter | None:
        free = [wait for wait in self.ready.values() if not wait.polling]
        oldest = min(free, key=_by_polled) if free else None
        if oldest is None or now - oldest.polled_at < UNPROVEN:
            return None
        self._next_overdue = now + self.pace(oldest, now)
        return oldest

    def _in_lists(self, now: float) -> bool:
        """Whether lists are used."""
        return len(self.ready) > 1 or any(
            wait.status_unavailable(now) for wait in self.ready.values()
        )

    def next_list(self, now: float, room: int, word: ListState) -> dict[str, Waiter]:
        """The waiters to ask the next list for: those that are due, and as many others as
        fit.

        Args:
            room: characters of IDs that fit into the URL.
        """
        when = _WHEN[word]
        free = [wait for wait in self.ready.values() if not wait.listing]
        due = sum(when(wait) <= now for wait in free)
        if not due or not self._in_lists(now):
            return {}
        chunk: dict[str, Waiter] = {}
        for wait in nsmallest(room // QUOTING, free, key=when):
            room -= size([wait.request_id])
            if room < 0 and chunk:
                break
            chunk[wait.request_id] = wait
        # A list that is not full is asked for no more often than one of them is due.
        if due <= len(chunk) and word == "ready":
            if now < self._next_partial:
                return {}
            self._next_partial = now + FASTEST
        for wait in chunk.values():
            wait.listing = True
        return chunk

    def next_sweep(self, now: float) -> dict[str, Waiter]:
        """All waiters that a sweep can help, if one of them is due."""
        waits = dict(self.ready)
        if not self._in_lists(now) or not any(
            wait.due <= now and not wait.listing for wait in waits.values()
        ):
            return {}
        for wait in waits.values():
            wait.listing = True
        return waits

    def next_due(self, now: float) -> float:
        """When the next poll may be due. A waiter that is due already waits for a poll
        to end.
        """
        dues = [wait.due for waits in self._waits.values() for wait in waits.values()]
        soonest = min(
            (due for due in (*dues, self._next_partial) if due > now), default=inf
        )
        # A single waiter has only its status, unless that takes long.
        alone = len(self.ready) < 2 and not any(
            wait.polling for wait in self.ready.values()
        )
        return soonest if alone else min(soonest, now + FASTEST)
