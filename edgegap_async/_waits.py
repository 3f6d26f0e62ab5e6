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

from .errors import EdgegapError
from .models.deployment import DeploymentStatus, ReadyDeployment

Goal: TypeAlias = Literal["ready", "stopped"]
# the state that a list is asked for
Word: TypeAlias = Literal["ready", "error", "any"]
Outcome: TypeAlias = ReadyDeployment | EdgegapError
# None: nothing more will be seen in time
Caller: TypeAlias = asyncio.Future[Outcome | None]

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
UNTOLD = 3
# seconds without an answer that count as much
PATIENCE = 2.0
# characters around an ID in a percent-encoded list: two quotes and a comma
MARKS = 9


def size(request_ids: Iterable[str]) -> int:
    """What these cost in a URL: their letters, and what their quotes and commas become
    there.
    """
    return sum(len(request_id) + MARKS for request_id in request_ids)


def _by_due(wait: "Wait") -> float:
    return wait.due


def _by_error_due(wait: "Wait") -> float:
    return wait.error_due


def _by_looked(wait: "Wait") -> float:
    return wait.looked


def _by_overdue(wait: "Wait") -> float:
    return wait.looked + max(OVERDUE, OVERDUE_PACE * wait.pace(wait.looked))


_WHEN: Mapping[Word, Callable[["Wait"], float]] = {
    "ready": _by_due,
    "error": _by_error_due,
    "any": _by_overdue,
}


class Wait:
    """What some callers wait for: a deployment that is to be READY, or gone."""

    __slots__ = (
        "began",
        "callers",
        "due",
        "error_due",
        "failed_looks",
        "failure",
        "goal",
        "hooked",
        "in_list",
        "in_look",
        "last",
        "listed",
        "look",
        "looked",
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
        self.callers: dict[Caller, float | None] = {}
        self.began: float = now
        # a webhook is to tell of it
        self.hooked: bool = hooked
        self.due: float = due
        self.error_due: float = due + ERROR_PACE * FASTEST
        # when its status was last asked for
        self.looked: float = now
        # in a row
        self.failed_looks: int = 0
        # its status is being asked for
        self.in_look: bool = False
        # what asks for it, or did
        self.look: asyncio.Task[None] | None = None
        # a list is
        self.in_list: bool = False
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

    def untold(self, now: float) -> bool:
        """Whether its status is not to be had."""
        return self.failed_looks >= UNTOLD or (
            self.in_look and now - self.looked >= PATIENCE
        )

    def pace(self, now: float) -> float:
        """Seconds between two looks."""
        return min(max(FASTEST, SLOWING * (now - self.began)), SLOWEST)


class Place(NamedTuple):
    """A caller's place among those who wait. `deadline` is on the loop's clock,
    `timeout` the seconds before it.
    """

    wait: Wait
    caller: Caller
    timeout: float | None
    deadline: float | None


class Board:
    """All waits."""

    def __init__(self) -> None:
        self._waits: dict[Goal, dict[str, Wait]] = {"ready": {}, "stopped": {}}
        # to be looked at out of turn
        self._flagged: dict[Wait, None] = {}
        self._next_overdue = -inf
        # webhooks in a row that did not come
        self._missed = MISSES
        # when a list with room left may be asked for
        self._next_partial = -inf

    def __bool__(self) -> bool:
        return any(self._waits.values())

    def __contains__(self, wait: Wait) -> bool:
        """Whether somebody still waits: looks may end later."""
        return self._waits[wait.goal].get(wait.request_id) is wait

    @property
    def ready(self) -> dict[str, Wait]:
        """Those for deployments that are to be READY, by ID."""
        return self._waits["ready"]

    def find(self, request_id: str) -> list[Wait]:
        """Those for a deployment."""
        return [
            wait for waits in self._waits.values() if (wait := waits.get(request_id))
        ]

    def add(self, wait: Wait) -> None:
        """One more."""
        self._waits[wait.goal][wait.request_id] = wait

    def get(self, request_id: str, goal: Goal) -> Wait | None:
        """The one for this, if there is one."""
        return self._waits[goal].get(request_id)

    def leave(self, wait: Wait, caller: Caller) -> None:
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

    def pace(self, wait: Wait, now: float) -> float:
        """Seconds between two looks at one."""
        return SAFETY_NET if wait.hooked and self.webhooks_come else wait.pace(now)

    def error_pace(self, wait: Wait, now: float) -> float:
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

    def heard(self, wait: Wait, outcome: Outcome | None) -> None:
        """A webhook tells of one: this, or that something has changed."""
        if outcome is None:
            self.flag(wait)
            return
        self._end(wait, outcome)

    def webhook_came(self) -> None:
        """Of whatever it tells."""
        self._missed = 0

    def settle(self, wait: Wait, outcome: Outcome) -> None:
        """A look ends one."""
        self._missed += wait.hooked and wait in self
        self._end(wait, outcome)

    def no_status_before(self, when: float, wait: Wait, now: float) -> None:
        """Whoever has less time is told so now, where nothing else can tell."""
        if wait.hooked or (wait.goal == "ready" and self._in_lists(now)):
            return
        for caller, deadline in wait.callers.items():
            if deadline is not None and deadline < when and not caller.done():
                caller.set_result(None)

    def _end(self, wait: Wait, outcome: Outcome) -> None:
        self._drop(wait)
        for caller in wait.callers:
            if not caller.done():
                caller.set_result(outcome)

    def _drop(self, wait: Wait) -> None:
        self._flagged.pop(wait, None)
        if wait in self:
            del self._waits[wait.goal][wait.request_id]

    def flag(self, wait: Wait) -> None:
        """Look at it out of turn."""
        if wait in self:
            self._flagged[wait] = None

    def take_look(self, now: float, *, proven: bool, blind: bool) -> Wait | None:
        """Whose status to ask for now. `proven`: the list has shown something; `blind`:
        it tells nothing at all.
        """
        wait = self._next_look(now, proven=proven, blind=blind)
        if wait:
            self._flagged.pop(wait, None)
            wait.in_look, wait.looked = True, now
        return wait

    def _next_look(self, now: float, *, proven: bool, blind: bool) -> Wait | None:
        flagged = next((wait for wait in self._flagged if not wait.in_look), None)
        if flagged:
            return flagged
        alone = blind or len(self.ready) == 1
        if (
            not alone
            and not proven
            and now >= self._next_overdue
            and (overdue := self._overdue(now))
        ):
            # before those that wait for an end: they may be many
            return overdue
        singly: list[Wait] = [
            *self._waits["stopped"].values(),
            *(self.ready.values() if alone else ()),
        ]
        due = [wait for wait in singly if wait.due <= now and not wait.in_look]
        return min(due, key=_by_due, default=None)

    def _overdue(self, now: float) -> Wait | None:
        free = [wait for wait in self.ready.values() if not wait.in_look]
        oldest = min(free, key=_by_looked) if free else None
        if oldest is None or now - oldest.looked < UNPROVEN:
            return None
        self._next_overdue = now + self.pace(oldest, now)
        return oldest

    def _in_lists(self, now: float) -> bool:
        """Whether lists are asked for."""
        return len(self.ready) > 1 or any(
            wait.untold(now) for wait in self.ready.values()
        )

    def take_list(self, now: float, room: int, word: Word) -> dict[str, Wait]:
        """What to ask the list for now: those that are due, and as many more as there
        is room for.
        """
        when = _WHEN[word]
        free = [wait for wait in self.ready.values() if not wait.in_list]
        due = sum(when(wait) <= now for wait in free)
        if not due or not self._in_lists(now):
            return {}
        chunk: dict[str, Wait] = {}
        for wait in nsmallest(room // MARKS, free, key=when):
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
            wait.in_list = True
        return chunk

    def take_all(self, now: float) -> dict[str, Wait]:
        """All that a list can tell of, if some of it is due."""
        waits = dict(self.ready)
        if not self._in_lists(now) or not any(
            wait.due <= now and not wait.in_list for wait in waits.values()
        ):
            return {}
        for wait in waits.values():
            wait.in_list = True
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
            wait.in_look for wait in self.ready.values()
        )
        return soonest if alone else min(soonest, now + FASTEST)
