"""The shared watcher behind `wait_until_ready`: a thousand who wait cost a few requests
a second between them.

One task looks for all, in the background lane, for as long as anybody waits. Which look
comes next stands in `_waits.py`, how it is taken in `_looks.py`, whether a list can be
believed in `_trust.py`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import Context
from copy import copy
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from ._heard import Heard
from ._looks import Looks
from ._settled import Outcomes
from ._transport.client import Transport
from ._trust import Trust
from ._waits import Board, Caller, Goal, Outcome, Place, Wait, Word
from .errors import (
    DeadlineExceeded,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
    SessionClosed,
)
from .models.deployment import ReadyDeployment
from .probes import Probe

# most sessions have no webhooks
if TYPE_CHECKING:
    from .webhooks import WebhookEvent

log: logging.Logger = logging.getLogger("edgegap_async")
# under way at a time: who waits for a slot can't be put together any more
MOST_LOOKS, MOST_LISTS = 20, 4
# of the shortest time to ready that was seen: before, there is nothing to see
FIRST_LOOK = 0.8
# seconds: one whose image is cached may be quicker than all before it
LATEST_FIRST_LOOK = 2.0
# times to ready that are remembered
STARTS = 20
# deployments whose beginning is remembered: two minutes at the full rate
MOST_ACCEPTED = 5000


class Watcher:
    """All who wait for deployments of one session, and the task that looks for them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._board, self._trust = Board(), Trust()
        self._looks = Looks(transport, self._board, self._trust)
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        # looks at one
        self._single: set[asyncio.Task[None]] = set()
        self._lists: set[asyncio.Task[None]] = set()
        # since when; whether a webhook will tell of it
        self._accepted: dict[str, tuple[float, bool]] = {}
        self._heard = Heard()
        # seconds from accepted to READY
        self._starts: deque[float] = deque(maxlen=STARTS)

    def accepted(self, request_id: str, *, hooked: bool) -> None:
        """A deployment of this session begins; `hooked`: a webhook will tell of
        whatever happens to it.
        """
        self._accepted[request_id] = (asyncio.get_running_loop().time(), hooked)
        if len(self._accepted) > MOST_ACCEPTED:
            del self._accepted[next(iter(self._accepted))]

    def hear(self, event: "WebhookEvent") -> None:
        """What a webhook tells of a deployment of this session."""
        request_id, now = event.request_id, asyncio.get_running_loop().time()
        self._board.webhook_came()
        self._heard.hear(event, now)
        self._trust.forget(request_id)
        for wait in self._board.find(request_id):
            outcome = self._heard.outcome(request_id, wait.goal, now)
            if wait.listed and isinstance(outcome, ReadyDeployment):
                # it may come to show it: so lists are proven without a look
                self._trust.not_shown(request_id, now)
            self._board.heard(wait, outcome)
        self._changed.set()

    def stopping(self, request_id: str) -> None:
        """Its stop was accepted, or it is gone."""
        self._heard.ends(request_id, asyncio.get_running_loop().time())
        self._trust.forget(request_id)
        for wait in self._board.find(request_id):
            self._board.flag(wait)
        self._changed.set()

    async def until_ready(
        self, request_id: str, timeout: float | None, probe: Probe | None = None
    ) -> ReadyDeployment:
        """Wait until it is READY, and until the probe has returned, for `timeout`
        seconds.

        Raises:
            DeploymentFailed, DeploymentTerminated: it will never be.
            ReadyTimeout: it is not in time.
        """
        place, outcome = await self._until(request_id, "ready", timeout)
        if isinstance(outcome, EdgegapError):
            raise outcome
        if probe and not await self._passed(probe, outcome, place):
            raise self._late(place, probing=True)
        return outcome

    async def _passed(
        self, probe: Probe, server: ReadyDeployment, place: Place
    ) -> bool:
        """Whether the probe ends in time. A TimeoutError of its own is what it raises,
        and no end of the wait.
        """
        own: list[TimeoutError] = []

        async def ask() -> None:
            try:
                await probe(server)
            except TimeoutError as error:
                own.append(error)

        ended = await self._transport.wait(ask(), place.deadline)
        if own:
            raise own[0]
        return ended

    async def until_stopped(self, request_id: str, timeout: float | None) -> None:
        """Wait until it is gone, for `timeout` seconds.

        Raises:
            DeadlineExceeded: it is not in time.
        """
        _, outcome = await self._until(request_id, "stopped", timeout)
        if isinstance(outcome, EdgegapError) and not isinstance(
            outcome, DeploymentTerminated
        ):
            raise outcome

    async def _until(
        self, request_id: str, goal: Goal, timeout: float | None
    ) -> tuple[Place, Outcome]:
        place = self._join(request_id, goal, timeout)
        try:
            await self._transport.wait(_over(place.caller), place.deadline)
            return place, self._told(place)
        finally:
            self._leave(place)

    @asynccontextmanager
    async def many(
        self, request_ids: Iterable[str], timeout: float | None
    ) -> AsyncGenerator[Outcomes, None]:
        """The outcomes of many waits, as they settle."""
        places = [
            self._join(request_id, "ready", timeout)
            for request_id in dict.fromkeys(request_ids)
        ]
        try:
            yield Outcomes(places, self._transport.wait, self._told)
        finally:
            for place in places:
                self._leave(place)

    def _join(self, request_id: str, goal: Goal, timeout: float | None) -> Place:
        loop = self._transport.enter()
        now = loop.time()
        deadline = None if timeout is None else now + timeout
        wait = self._board.get(request_id, goal) or self._new(request_id, goal, now)
        caller: Caller = loop.create_future()
        wait.callers[caller] = deadline
        if outcome := self._heard.outcome(request_id, goal, now):
            self._board.heard(wait, outcome)
        else:
            self._wake()
        return Place(wait, caller, timeout, deadline)

    def _new(self, request_id: str, goal: Goal, now: float) -> Wait:
        accepted, hooked = self._accepted.get(request_id, (-inf, False))
        first = accepted + min(
            FIRST_LOOK * min(self._starts, default=0.0), LATEST_FIRST_LOOK
        )
        wait = Wait(
            request_id,
            goal,
            now,
            now if goal == "stopped" else max(now, first),
            hooked=hooked,
        )
        self._board.add(wait)
        return wait

    def _leave(self, place: Place) -> None:
        wait = place.wait
        self._board.leave(wait, place.caller)
        if not wait.callers and wait.look:
            # it would be in the way of others
            wait.look.cancel()
        if not self._board:
            self._changed.set()

    def _told(self, place: Place) -> Outcome:
        """What a caller is told, whose wait is over."""
        self._leave(place)
        caller = place.caller
        outcome = caller.result() if caller.done() and not caller.cancelled() else None
        if outcome is None:
            return self._late(place)
        if isinstance(outcome, ReadyDeployment):
            self._learn(outcome.request_id)
            return outcome
        if isinstance(outcome, DeploymentTerminated):
            self._heard.ends(outcome.request_id, asyncio.get_running_loop().time())
        # others who wait for it raise theirs
        own = copy(outcome)
        own.__cause__ = outcome.__cause__
        return own

    def _late(self, place: Place, *, probing: bool = False) -> EdgegapError:
        wait = place.wait
        if self._transport.closed:
            return SessionClosed(
                f"the session was closed while {wait.request_id} was waited for"
            )
        late: EdgegapError = ReadyTimeout(
            wait.request_id, place.timeout or 0.0, wait.last, probing=probing
        )
        if wait.goal == "stopped":
            text = f"deployment {wait.request_id} was not gone within {place.timeout or 0:g} s"
            late = DeadlineExceeded(text, request_sent=True)
        late.__cause__ = wait.failure or _unanswered(
            wait, asyncio.get_running_loop().time()
        )
        log.warning("a wait is given up: %s", late)
        return late

    def _learn(self, request_id: str) -> None:
        since, _ = self._accepted.pop(request_id, (None, False))
        if since is not None:
            self._starts.append(asyncio.get_running_loop().time() - since)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What is to be ended with the session."""
        return [self._task] if self._task else []

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(
                self._run(), name="edgegap watcher", context=Context()
            )
            self._task.add_done_callback(self._asleep)

    def _asleep(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            log.error(
                "the watcher ended in a way that nobody thought of", exc_info=error
            )
        elif self._board and not self._transport.closed:
            # somebody came in the last moment
            self._wake()

    async def _run(self) -> None:
        """Look until nobody waits."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while self._board:
                self._changed.clear()
                now = loop.time()
                self._plan(group, now)
                due = self._board.next_due(now)
                try:
                    async with asyncio.timeout_at(None if due == inf else due):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            for look in self._single | self._lists:
                look.cancel()

    def _plan(self, group: asyncio.TaskGroup, now: float) -> None:
        """Begin all looks whose time has come."""
        board, trust = self._board, self._trust
        while len(self._single) < MOST_LOOKS:
            wait = board.take_look(now, proven=trust.proven, blind=trust.blind)
            if wait is None:
                break
            wait.look = self._begin(
                group, self._single, partial(self._looks.at_status, wait)
            )
        if not trust.lists(now):
            return
        if not trust.filters(now):
            if not self._lists and (waits := board.take_all(now)):
                self._begin(
                    group,
                    self._lists,
                    partial(self._looks.at_newest, waits, only=False),
                )
            return
        while len(self._lists) < (1 if trust.blind else MOST_LISTS) and (
            look := self._next_list(now)
        ):
            self._begin(group, self._lists, look)

    def _next_list(self, now: float) -> Callable[[], Awaitable[None]] | None:
        rest: tuple[Word, ...] = (
            ("any", "error")
            if self._looks.lists_of_ready >= self._board.lists_between
            else ()
        )
        for word in (*rest, "ready"):
            if chunk := self._board.take_list(now, self._trust.room, word):
                if word == "any":
                    return partial(self._looks.at_newest, chunk, only=True)
                return partial(self._looks.at_list, chunk, word)
        return None

    def _begin(
        self,
        group: asyncio.TaskGroup,
        under_way: set[asyncio.Task[None]],
        look: Callable[[], Awaitable[None]],
    ) -> asyncio.Task[None]:
        task = group.create_task(self._logged(look))
        under_way.add(task)

        def over(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            self._changed.set()

        task.add_done_callback(over)
        return task

    async def _logged(self, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except Exception:
            log.exception(
                "a look failed in a way that nobody thought of; the next one follows"
            )


def _unanswered(wait: Wait, now: float) -> EdgegapError | None:
    """What went wrong where no look has failed yet: the one that is under way has no
    answer.
    """
    if not wait.untold(now):
        return None
    text = f"the status of {wait.request_id} was not answered within {now - wait.looked:.3g} s"
    return DeadlineExceeded(text, request_sent=True)


async def _over(caller: Caller) -> None:
    await caller
