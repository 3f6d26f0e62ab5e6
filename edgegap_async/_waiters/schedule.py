"""The waiters for READY of a session, and the choice of the next poll.

`_waiters/__init__.py` has the rules. This module does no I/O: the caller passes the
time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Literal, TypeAlias

from .._transport.queries import size
from .due_queue import DueQueue
from .outcomes import Outcome
from .waiter import StatusPoll, Waiter

# The state that a list is filtered by. "any": the list is not filtered by a state.
PolledState: TypeAlias = Literal["ready", "error"]
ListState: TypeAlias = PolledState | Literal["any"]
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


def _by_due(waiter: "ReadyWaiter") -> float:
    return waiter.due


def _by_error_due(waiter: "ReadyWaiter") -> float:
    return waiter.error_due


def _by_overdue(waiter: "ReadyWaiter") -> float:
    return waiter.polled_at + max(
        OVERDUE, OVERDUE_INTERVALS * waiter.interval(waiter.polled_at)
    )


# When a waiter is due for each kind of list.
_WHEN: Mapping[ListState, Callable[["ReadyWaiter"], float]] = {
    "ready": _by_due,
    "error": _by_error_due,
    "any": _by_overdue,
}


class ReadyWaiter(Waiter[Outcome]):
    """A deployment that some callers wait for, until it is READY.

    Args:
        due: when it is polled first, on the loop's clock.
        hooked: Edgegap sends webhooks for it.

    Attributes:
        error_due: when it is due for a list of deployments in ERROR.
        listed: any list has included this deployment in its filter.
    """

    __slots__ = ("due", "error_due", "hooked", "listed")

    def __init__(
        self, request_id: str, now: float, due: float, *, hooked: bool = False
    ) -> None:
        super().__init__(request_id, now)
        self.hooked: bool = hooked
        self.due: float = due
        self.error_due: float = due + ERROR_INTERVALS * FASTEST
        self.listed: bool = False

    def interval(self, now: float) -> float:
        """Return the seconds between two polls."""
        return min(max(FASTEST, SLOWING * (now - self.began)), SLOWEST)


class Schedule:
    """All waiters for READY of a session.

    What is due next is found without looking at all waiters.
    """

    def __init__(self) -> None:
        self.waiters: dict[str, ReadyWaiter] = {}
        # The waiters that are not in a list at the moment, by when they are due for one.
        self._due: Mapping[ListState, DueQueue[ReadyWaiter]] = {
            state: DueQueue() for state in _WHEN
        }
        # All waiters, by when their status is due, and by when it was polled last.
        self._by_status: DueQueue[ReadyWaiter] = DueQueue()
        self._by_polled: DueQueue[ReadyWaiter] = DueQueue()
        # Waiters to poll out of turn, in order.
        self._soon: dict[ReadyWaiter, None] = {}
        self._next_unproven = -inf
        # Missing webhooks in a row.
        self._missed = MISSES
        # After a list with fewer IDs than fit into a URL: when the next list may begin,
        # of any kind, and of READY deployments.
        self._next_partial = self._next_partial_ready = -inf

    def __bool__(self) -> bool:
        return bool(self.waiters)

    def __contains__(self, waiter: ReadyWaiter) -> bool:
        """Whether callers still wait. A poll may end after the last of them left."""
        return self.waiters.get(waiter.request_id) is waiter

    def add(self, waiter: ReadyWaiter) -> None:
        """Add a waiter."""
        self.waiters[waiter.request_id] = waiter
        self._enqueue(waiter)

    def leave(self, waiter: ReadyWaiter, future: WaitFuture) -> None:
        """Remove a caller, and the waiter after its last caller."""
        waiter.callers.pop(future, None)
        if not waiter.callers:
            self._drop(waiter)

    def _enqueue(self, waiter: ReadyWaiter) -> None:
        self._by_status.put(waiter, waiter.due)
        self._by_polled.put(waiter, waiter.polled_at)
        if not waiter.listing:
            for state, queue in self._due.items():
                queue.put(waiter, _WHEN[state](waiter))

    def _begin_list(self, waiter: ReadyWaiter) -> None:
        waiter.listing = True
        for queue in self._due.values():
            queue.discard(waiter)

    @property
    def webhooks_arrive(self) -> bool:
        """Whether the poller relies on webhooks.

        It does if one has arrived, and not too many were missing since.
        """
        return self._missed < MISSES

    def interval(self, waiter: ReadyWaiter, now: float) -> float:
        """Return the seconds between two polls of a waiter."""
        return (
            SAFETY_NET
            if waiter.hooked and self.webhooks_arrive
            else waiter.interval(now)
        )

    def _error_interval(self, waiter: ReadyWaiter, now: float) -> float:
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

    def receive(self, waiter: ReadyWaiter, outcome: Outcome | None) -> None:
        """Resolve a waiter by a webhook, or poll it soon if there is no outcome."""
        if outcome is None:
            self.poll_soon(waiter)
            return
        self._end(waiter, outcome)

    def webhook_arrived(self) -> None:
        """Record that a webhook of any deployment has arrived."""
        self._missed = 0

    def resolve(self, waiter: ReadyWaiter, outcome: Outcome) -> None:
        """Resolve a waiter with the outcome that a poll has found."""
        self._missed += waiter.hooked and waiter in self
        self._end(waiter, outcome)

    def end_before(self, when: float, waiter: ReadyWaiter, now: float) -> None:
        """End the callers whose deadline is before `when`, unless lists or webhooks may
        still resolve them.

        Args:
            when: the time before which no status poll can be sent.
        """
        if waiter.hooked or self._in_lists(now):
            return
        for future, deadline in waiter.callers.items():
            if deadline is not None and deadline < when and not future.done():
                future.set_result(None)

    def _end(self, waiter: ReadyWaiter, outcome: Outcome) -> None:
        self._drop(waiter)
        waiter.resolve(outcome)

    def _drop(self, waiter: ReadyWaiter) -> None:
        self._soon.pop(waiter, None)
        if waiter in self:
            del self.waiters[waiter.request_id]
            for queue in (self._by_status, self._by_polled, *self._due.values()):
                queue.discard(waiter)

    def poll_soon(self, waiter: ReadyWaiter) -> None:
        """Poll the status of a waiter out of turn."""
        if waiter in self:
            self._soon[waiter] = None

    def next_status(
        self, now: float, *, proven: bool, failing: bool
    ) -> ReadyWaiter | None:
        """Choose the waiter whose status is polled now, and mark it as being polled.

        Args:
            proven: a list has shown a deployment of a waiter.
            failing: all lists fail at the moment.
        """
        waiter = self._choose(now, proven=proven, failing=failing)
        if waiter:
            self._soon.pop(waiter, None)
            waiter.poll, waiter.polled_at = StatusPoll(), now
            self._enqueue(waiter)
        return waiter

    def polled(self, waiter: ReadyWaiter, began: float) -> None:
        """A status poll has ended.

        Args:
            began: when it began.
        """
        waiter.poll = None
        waiter.due = began + self.interval(waiter, began)
        if waiter in self:
            self._enqueue(waiter)

    def _choose(self, now: float, *, proven: bool, failing: bool) -> ReadyWaiter | None:
        flagged = next((waiter for waiter in self._soon if not waiter.polling), None)
        if flagged:
            return flagged
        if failing or len(self.waiters) == 1:
            return self._first_due(now)
        return self._unproven(now) if not proven else None

    def _first_due(self, now: float) -> ReadyWaiter | None:
        """Return the waiter that is due first, unless it is being polled."""
        queue, polling = self._by_status, list[ReadyWaiter]()
        found = None
        while found is None and queue.first_due() <= now:
            waiter = queue.pop()
            polling.append(waiter)
            found = None if waiter.polling else waiter
        for waiter in polling:
            queue.put(waiter, waiter.due)
        return found

    def _unproven(self, now: float) -> ReadyWaiter | None:
        """Return the waiter to check by its status, as no list has proven to work."""
        oldest = self._by_polled.first()
        if (
            oldest is None
            or oldest.polling
            or now < self._next_unproven
            or now - oldest.polled_at < UNPROVEN
        ):
            return None
        self._next_unproven = now + self.interval(oldest, now)
        return oldest

    def _in_lists(self, now: float) -> bool:
        """Return whether lists are used."""
        return len(self.waiters) > 1 or any(
            waiter.status_unavailable(now) for waiter in self.waiters.values()
        )

    def next_list(
        self, now: float, room: int, state: ListState, spacing: float = 0.0
    ) -> dict[str, ReadyWaiter]:
        """Choose the waiters for the next list, and mark them as being listed.

        If a waiter is due, the rest of the URL is filled with others, those that are due
        next first.

        Args:
            room: characters of IDs that fit into the URL.
            state: the state that the list is filtered by.
            spacing: seconds between two requests at an even pace.
        """
        queue = self._due[state]
        if queue.first_due() > now or not self._in_lists(now):
            return {}
        # After a list that left room in its URL, all waiters are in lists. Further lists
        # have an even pace: several at once would show the same. Those of READY ones
        # are not sent more often than every 0.25 s: others may become due meanwhile.
        after = self._next_partial_ready if state == "ready" else self._next_partial
        if now < after:
            return {}
        chunk: dict[str, ReadyWaiter] = {}
        while waiter := queue.first():
            room -= size([waiter.request_id])
            if room < 0 and chunk:
                break
            chunk[waiter.request_id] = waiter
            self._begin_list(waiter)
        if queue.first_due() > now:
            # The rate may rise again, so a low one must not hold lists up for long.
            pause = min(spacing, SLOWEST)
            self._next_partial = now + pause
            least = FASTEST if state == "ready" else 0.0
            self._next_partial_ready = max(
                self._next_partial_ready, now + max(least, pause)
            )
        return chunk

    def next_sweep(self, now: float) -> dict[str, ReadyWaiter]:
        """Return all waiters, if one of them is due for a sweep."""
        if not self._in_lists(now) or self._due["ready"].first_due() > now:
            return {}
        waiters = dict(self.waiters)
        for waiter in waiters.values():
            self._begin_list(waiter)
        return waiters

    def listed(
        self,
        chunk: Iterable[ReadyWaiter],
        state: ListState,
        began: float,
        *,
        more: bool,
    ) -> None:
        """A list has ended.

        Args:
            began: when its request began.
            more: further pages may show more of these waiters, so they are due at once.
        """
        for waiter in chunk:
            waiter.listing = False
            if state == "error":
                waiter.error_due = began + self._error_interval(waiter, began)
            else:
                waiter.due = -inf if more else began + self.interval(waiter, began)
            if waiter in self:
                self._enqueue(waiter)

    def next_due(self, now: float) -> float:
        """Return the time at which the next poll may be due.

        Waiters that are due already do not count: they wait for the end of another poll.
        """
        queues = (self._by_status, *self._due.values())
        dues = (
            *(queue.first_due() for queue in queues),
            self._next_partial,
            self._next_partial_ready,
        )
        soonest = min((due for due in dues if due > now), default=inf)
        # A single waiter needs only its status, unless the status poll takes long.
        alone = len(self.waiters) < 2 and not any(
            waiter.polling for waiter in self.waiters.values()
        )
        return soonest if alone else min(soonest, now + FASTEST)
