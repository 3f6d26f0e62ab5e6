"""A launch: deploy a server for each match, wait until it is ready, and know at any time what was started.

    match -> queued -> in flight -> existing -> ready
                |          |            `-----> failed: stopped, as nobody would own it
                |          `-> refused, never sent: queued again
                `-> withdrawn by `interrupt`

`interrupt` cancels whatever is not in flight. A deploy in flight may start a server, so it is never cancelled: its
answer comes, or its attempt's time-out and then what the session finds under its tag, and what was started is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

from ..errors import (
    AllocationFailed,
    ApiError,
    DeploymentFailed,
    DeploymentTerminated,
    DeployOutcomeUnknown,
    EdgegapError,
    ReadyTimeout,
    is_gone,
)
from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from ._sending import Sending
from .matches import Match
from .summary import Failure, Outcome, reason

T = TypeVar("T")
Tell: TypeAlias = Callable[[str, ReadyDeployment, float], None]  # match_id, its server, seconds until it was ready

# Deploys that wait for the limit at a time: more than any limit has slots, so that the queue never runs dry, and few
# enough that ten thousand lines are not ten thousand tasks before their turn.
QUEUED = 200
STOPS = 100  # at a time: more than the limit has slots


class Withdrawn(Exception):
    """The launch was interrupted before this deploy was sent."""


class _Flight(Sending):
    """One match under way."""

    def __init__(self, launch: "Launch", match: Match) -> None:
        self.launch = launch
        self.match = match
        self.sent_at = 0.0
        self.in_flight = False
        self.withdrawn = False

    def begins(self) -> None:
        """An attempt is about to be sent.

        Raises:
            Withdrawn: it must not be any more.
        """
        if self.launch.interrupted:
            self.in_flight = False
            raise Withdrawn
        self.sent_at = now = asyncio.get_running_loop().time()
        self.in_flight = True
        outcome = self.launch.outcome
        outcome.first_sent, outcome.last_sent = min(outcome.first_sent, now), now

    def over(self) -> None:
        """The attempt is over and started nothing. There may be another, but not after an interruption."""
        self.in_flight = False
        task = asyncio.current_task()
        if self.launch.interrupted and task:
            self.withdrawn = True
            task.cancel()  # the session's, in which the deploy goes on: it would wait for another attempt


class Launch:
    """Launches matches through a session.

    Args:
        session: of the SDK.
        total: how many matches there will be.
        timeout: seconds for each match, from the sending of its deploy until it is ready; None: no end.
        tell: told of each server as soon as it is ready. If it raises an `OSError`, nobody listens any more, and the
            launch is interrupted.
    """

    def __init__(self, session: EdgegapSession, *, total: int, timeout: float | None, tell: Tell) -> None:
        self.outcome: Outcome = Outcome(total)
        self.interrupted: bool = False
        self.deaf: OSError | None = None
        self._session = session
        self._timeout = timeout
        self._tell = tell
        self._room = asyncio.Semaphore(QUEUED)
        self._flights: dict[asyncio.Task[None], _Flight] = {}

    async def run(self, matches: Iterable[Match]) -> None:
        """Launch all, and return when each has its server or has failed, or when it was interrupted."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for match in matches:
                await self._room.acquire()
                if self.interrupted:
                    break
                flight = _Flight(self, match)
                task = group.create_task(self._launch(flight))
                self._flights[task] = flight
                task.add_done_callback(self._flights.pop)
        self.outcome.seconds = loop.time() - began

    def interrupt(self) -> None:
        """Start nothing more, wait for nothing but the deploys in flight."""
        self.interrupted = True
        self._room.release()
        for task, flight in self._flights.items():
            if not flight.in_flight:
                task.cancel()

    @property
    def in_flight(self) -> int:
        """How many deploys are on their way or unanswered."""
        return sum(flight.in_flight for flight in self._flights.values())

    async def _launch(self, flight: _Flight) -> None:
        try:
            request_id = await self._deploy(flight)
            if not self.interrupted:
                self._hand_out(flight, await self._wait(request_id, flight.sent_at))
        except Withdrawn:
            pass
        except EdgegapError as error:
            if not flight.withdrawn:
                await self._failed(flight.match.match_id, error)

    async def _deploy(self, flight: _Flight) -> str:
        match, request = flight.match, flight.match.request
        try:
            with flight:
                accepted = await self._session.deployments.deploy(
                    request.application,
                    request.version,
                    users=request.users,
                    environment_variables=request.environment_variables,
                    tags=request.tags,
                    timeout=None,
                )
        except asyncio.CancelledError:
            if flight.in_flight:
                self._doubt(match.match_id, "its deploy was in flight and may have started a server")
            raise
        finally:
            flight.in_flight = False
            self._room.release()
        self.outcome.deployed += 1
        self.outcome.existing[accepted.request_id] = match.match_id
        return accepted.request_id

    async def _wait(self, request_id: str, sent_at: float) -> ReadyDeployment:
        if self._timeout is None:
            return await self._session.deployments.wait_until_ready(request_id, timeout=None)
        left = sent_at + self._timeout - asyncio.get_running_loop().time()
        if left <= 0:
            raise ReadyTimeout(request_id, self._timeout, None)
        return await self._session.deployments.wait_until_ready(request_id, timeout=left)

    def _hand_out(self, flight: _Flight, server: ReadyDeployment) -> None:
        seconds = asyncio.get_running_loop().time() - flight.sent_at
        try:
            self._tell(flight.match.match_id, server, seconds)
        except OSError as error:
            self.deaf = error
            self.interrupt()
        else:
            self.outcome.waits.append(seconds)

    async def _failed(self, match_id: str, error: EdgegapError) -> None:
        """Note the failure, and stop what is left of it: no line tells of it, so nobody else would."""
        self.outcome.failures.append(Failure(match_id, reason(error)))
        match error:
            case DeployOutcomeUnknown():
                self._doubt(match_id, reason(error))
            case DeploymentTerminated():
                self.outcome.existing.pop(error.request_id, None)
            case AllocationFailed(request_id=str(request_id)):
                self.outcome.existing[request_id] = match_id
                await self._stop(request_id)
            case DeploymentFailed() | ReadyTimeout():
                await self._stop(error.request_id)
            case _:
                pass

    def _doubt(self, match_id: str, reason: str) -> None:
        self.outcome.unknown.append(Failure(match_id, reason))

    async def stop_all(self) -> None:
        """Stop all that exists."""
        await _each(list(self.outcome.existing), self._stop, STOPS)

    async def _stop(self, request_id: str) -> None:
        match_id = self.outcome.existing[request_id]
        try:
            await self._session.deployments.stop(request_id, timeout=None)
        except EdgegapError as error:
            if not (isinstance(error, ApiError) and is_gone(error)):
                self._doubt(match_id, f"{request_id} could not be stopped: {error}")
                return
        self.outcome.stopped[request_id] = self.outcome.existing.pop(request_id)


async def _each(items: Iterable[T], do: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Do it for all, so many at a time."""
    pending = iter(items)

    async def work() -> None:
        for item in pending:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
