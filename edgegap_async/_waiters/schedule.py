"""Who waits for which deployment, and which is looked at next. Pure: who asks gives the
time.

one alone       by its status; if that is not to be had, by lists too
two or more     by lists of those that are READY, as many IDs as a URL carries; less
                often by lists of those in ERROR, and of those that exist
out of turn     by its status, where something says that it has changed, where no list
                shows it, and now and then as long as no list has shown anything

Each is looked at a quarter of a second after its last look began; the longer it lasts,
the less often.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from math import inf
from typing import Literal, NamedTuple, TypeAlias

from ..errors import EdgegapError
from ..models.deployment import DeploymentStatus, ReadyDeployment

Goal: TypeAlias = Literal["ready", "stopped"]
# the state that a list is asked for
ListState: TypeAlias = Literal["ready", "error", "any"]
Outcome: TypeAlias = ReadyDeployment | EdgegapError
# None: nothing more will be seen in time
WaitFuture: TypeAlias = asyncio.Future[Outcome | None]

# seconds between two looks
FASTEST, SLOWEST = 0.25, 2.0
# of the time that it has lasted: after 8 s it slows down, after a minute it is at its
# slowest
SLOWING = 1 / 32
# webhooks in a row that did not come, after which none is waited for any more
MISSES = 5
# seconds between two looks at what a webhook will tell of
SAFETY_NET = 3.0
# times as long between two lists of those in ERROR
ERROR_PACE = 8
# seconds, and times its pace, after which a list has to show that it exists
OVERDUE, OVERDUE_PACE = 10.0, 15
# seconds after which its status is asked for, until the list has shown something of
# ours
UNPROVEN = 1.0
# the same, where a list does not show it at all
MISSING = 2.0
# looks in a row that fail, after which a list is asked for one alone, too
STATUS_FAILURES = 3
# seconds without an answer that count as much
STATUS_TIMEOUT = 2.0
# characters around an ID in a percent-encoded list: two quotes and a comma
QUOTING = 9


def size(request_ids: Iterable[str]) -> int:
    """What these cost in a URL: their letters, and what their quotes and commas become
    there.
    """
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
    """What some callers wait for: a deployment that is to be READY, or gone."""

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
        # and their deadlines
        self.callers: dict[WaitFuture, float | None] = {}
        self.began: float = now
        # a webhook is to tell of it
        self.hooked: bool = hooked
        self.due: float = due
        self.error_due: float = due + ERROR_PACE * FASTEST
        # when its status was last asked for
        self.polled_at: float = now
        # in a row
        self.failed_polls: int = 0
        # its status is being asked for
        self.polling: bool = False
        # what asks for it, or did
        self.look: asyncio.Task[None] | None = None
        # a list is
        self.listing: bool = False
        # one was
        self.listed: bool = False
        self.last: DeploymentStatus | None = None
        self.failure: EdgegapError | None = None

    @property
    def deadline(self) -> float | None:
        """When the last of its callers goes."""
        latest = -inf
        for deadline in self.callers.values():
            if deadline is None:
                return None
            latest = max(latest, deadline)
        return latest

    def went_wrong(self, error: EdgegapError) -> None:
        """A look failed. That time ran out tells less than what went wrong before."""
        if self.failure is None or not isinstance(error, TimeoutError):
            self.failure = error

    def status_unavailable(self, now: float) -> bool:
        """Whether its status is not to be had."""
        return self.failed_polls >= STATUS_FAILURES or (
            self.polling and now - self.polled_at >= STATUS_TIMEOUT
        )

    def pace(self, now: float) -> float:
        """Seconds between two looks."""
        return min(max(FASTEST, SLOWING * (now - self.began)), SLOWEST)


class WaitHandle(NamedTuple):
    """A caller's place among those who wait. `deadline` is on the loop's clock,
    `timeout` the seconds before it.
    """

    wait: Waiter
    caller: WaitFuture
    timeout: float | None
    deadline: float | None


class Schedule:
    """All waits."""

    def __init__(self) -> None:
        self._waits: dict[Goal, dict[str, Waiter]] = {"ready": {}, "stopped": {}}
        # to be looked at out of turn
        self._soon: dict[Waiter, None] = {}
        self._next_overdue = -inf
        # webhooks in a row that did not come
        self._missed = MISSES
        # when a list with room left may be asked for
        self._next_partial = -inf

    def __bool__(self) -> bool:
        return any(self._waits.values())

    def __contains__(self, wait: Waiter) -> bool:
        """Whether somebody still waits: looks may end later."""
        return self._waits[wait.goal].get(wait.request_id) is wait

    @property
    def ready(self) -> dict[str, Waiter]:
        """Those for deployments that are to be READY, by ID."""
        return self._waits["ready"]

    def find(self, request_id: str) -> list[Waiter]:
        """Those for a deployment."""
        return [
            wait for waits in self._waits.values() if (wait := waits.get(request_id))
        ]

    def add(self, wait: Waiter) -> None:
        """One more."""
        self._waits[wait.goal][wait.request_id] = wait

    def get(self, request_id: str, goal: Goal) -> Waiter | None:
        """The one for this, if there is one."""
        return self._waits[goal].get(request_id)

    def leave(self, wait: Waiter, caller: WaitFuture) -> None:
        """A caller goes."""
        wait.callers.pop(caller, None)
        if not wait.callers:
            self._drop(wait)

    @property
    def webhooks_come(self) -> bool:
        """Whether they can be waited for: one has come, and not too many were missed
        since.
        """
        return self._missed < MISSES

    def pace(self, wait: Waiter, now: float) -> float:
        """Seconds between two looks at one."""
        return SAFETY_NET if wait.hooked and self.webhooks_come else wait.pace(now)

    def error_pace(self, wait: Waiter, now: float) -> float:
        """Seconds between two lists of those in ERROR that one is in. As a safety net
        both lists are worth the same.
        """
        return (
            SAFETY_NET
            if wait.hooked and self.webhooks_come
            else ERROR_PACE * wait.pace(now)
        )

    @property
    def lists_between(self) -> int:
        """Lists of those that are READY between two of others."""
        return 1 if self.webhooks_come else ERROR_PACE

    def receive(self, wait: Waiter, outcome: Outcome | None) -> None:
        """A webhook tells of one: this, or that something has changed."""
        if outcome is None:
            self.poll_soon(wait)
            return
        self._end(wait, outcome)

    def webhook_arrived(self) -> None:
        """Of whatever it tells."""
        self._missed = 0

    def resolve(self, wait: Waiter, outcome: Outcome) -> None:
        """A look ends one."""
        self._missed += wait.hooked and wait in self
        self._end(wait, outcome)

    def end_before(self, when: float, wait: Waiter, now: float) -> None:
        """Whoever has less time is told so now, where nothing else can tell."""
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
        """Look at it out of turn."""
        if wait in self:
            self._soon[wait] = None

    def next_status(self, now: float, *, proven: bool, failing: bool) -> Waiter | None:
        """Whose status to ask for now. `proven`: the list has shown something; `failing`:
        it tells nothing at all.
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
            # before those that wait for an end: they may be many
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
        """Whether lists are asked for."""
        return len(self.ready) > 1 or any(
            wait.status_unavailable(now) for wait in self.ready.values()
        )

    def next_list(self, now: float, room: int, word: ListState) -> dict[str, Waiter]:
        """What to ask the list for now: those that are due, and as many more as there
        is room for.
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
        # with room left, no more often than one of them is due
        if due <= len(chunk) and word == "ready":
            if now < self._next_partial:
                return {}
            self._next_partial = now + FASTEST
        for wait in chunk.values():
            wait.listing = True
        return chunk

    def next_sweep(self, now: float) -> dict[str, Waiter]:
        """All that a list can tell of, if some of it is due."""
        waits = dict(self.ready)
        if not self._in_lists(now) or not any(
            wait.due <= now and not wait.listing for wait in waits.values()
        ):
            return {}
        for wait in waits.values():
            wait.listing = True
        return waits

    def next_due(self, now: float) -> float:
        """When there may be something to look at. What is due already waits for a look
        to end.
        """
        dues = [wait.due for waits in self._waits.values() for wait in waits.values()]
        soonest = min(
            (due for due in (*dues, self._next_partial) if due > now), default=inf
        )
        # One alone has only its status, unless that takes long.
        alone = len(self.ready) < 2 and not any(
            wait.polling for wait in self.ready.values()
        )
        return soonest if alone else min(soonest, now + FASTEST)
