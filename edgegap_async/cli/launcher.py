"""A launch: deploys a server for each match, waits until it is READY, and keeps track of
what was started.

`interrupt` withdraws queued deploys. A deploy in flight may start a server, so it is
not cancelled: its outcome is awaited, and its server is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

from .._deploys.batch import DeployOutcome, DeployStream
from ..errors import (
    AllocationFailed,
    DeploymentFailed,
    DeployOutcomeUnknown,
    EdgegapError,
    ReadyTimeout,
    Unauthorized,
)
from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from .matches import Match
from .summary import Failure, Outcome, reason

T = TypeVar("T")
# The match_id, its server, and the seconds until it was READY.
Tell: TypeAlias = Callable[[str, ReadyDeployment, float], None]
# Seconds for each stop, with all retries.
STOP_TIMEOUT = 60.0
# Stops at a time: more than the limit has slots.
STOPS = 100


class Launch:
    """Launches matches through a session.

    Args:
        timeout: seconds for each match, from the sending of its deploy until its server is
            READY; None: no end.
        tell: called with each server as soon as it is READY. If it raises an `OSError`, the
            output can't be written, and the launch is interrupted.
        max_running: how many servers may exist at once; None: no bound.
        stop_ready: stop each server as soon as it was READY.
    """

    def __init__(
        self,
        session: EdgegapSession,
        matches: Sequence[Match],
        *,
        timeout: float | None,
        tell: Tell,
        max_running: int | None = None,
        stop_ready: bool = False,
    ) -> None:
        self.outcome: Outcome = Outcome(len(matches))
        self.interrupted: bool = False
        self.write_error: OSError | None = None
        self.unauthorized: Unauthorized | None = None
        self._session = session
        self._many = session.deployments.deploy_many(
            (match.request for match in matches),
            ready_timeout=timeout,
            stop_on_failure=False,
            max_running=max_running,
        )
        self._match_ids = {id(match.request): match.match_id for match in matches}
        self._tell, self._stop_ready = tell, stop_ready
        self._outcomes: DeployStream | None = None

    async def run(self) -> None:
        """Launch all matches. Returns when each has its server or has failed, or when
        the launch was interrupted.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._many as self._outcomes:
            try:
                async with asyncio.TaskGroup() as stops:
                    async for outcome in self._outcomes:
                        self._settled(outcome, stops)
            except BaseException:
                for match_id in self.in_flight:
                    self._doubt(
                        match_id,
                        "its deploy was in flight and may have started a server",
                    )
                raise
        self.outcome.seconds = loop.time() - began

    def interrupt(self) -> None:
        """Start nothing more, and wait only for the deploys in flight."""
        self.interrupted = True
        if self._outcomes:
            self._outcomes.withdraw(until_ready=False)

    @property
    def in_flight(self) -> Sequence[str]:
        """The matches whose deploys are in flight."""
        return (
            [self._match_ids[id(request)] for request in self._outcomes.in_flight]
            if self._outcomes
            else []
        )

    def so_far(self) -> Outcome:
        """The outcome so far."""
        if self._outcomes:
            self.outcome.deployed = self._outcomes.accepted
        return self.outcome

    def _settled(self, settled: DeployOutcome, stops: asyncio.TaskGroup) -> None:
        match_id = self._match_ids[id(settled.request)]
        if settled.seconds is not None:
            sent = asyncio.get_running_loop().time() - settled.seconds
            self.outcome.first_sent = min(self.outcome.first_sent, sent)
            self.outcome.last_sent = max(self.outcome.last_sent, sent)
        if server := settled.deployment:
            self.outcome.existing[server.request_id] = match_id
            if isinstance(server, ReadyDeployment) and not self.interrupted:
                self._hand_out(match_id, server, settled.seconds or 0.0)
                if self._stop_ready:
                    stops.create_task(self._stop(server.request_id))
        elif error := settled.error:
            self._failed(match_id, error, stops)

    def _hand_out(self, match_id: str, server: ReadyDeployment, seconds: float) -> None:
        try:
            self._tell(match_id, server, seconds)
        except OSError as error:
            self.write_error = error
            self.interrupt()
        else:
            self.outcome.waits.append(seconds)

    def _failed(
        self, match_id: str, error: EdgegapError, stops: asyncio.TaskGroup
    ) -> None:
        """Record the failure, and stop what is left of the server: no line on standard
        output names it.
        """
        if isinstance(error, Unauthorized):
            self._refused(error)
            return
        self.outcome.failures.append(Failure(match_id, reason(error)))
        match error:
            case DeployOutcomeUnknown():
                self._doubt(match_id, reason(error))
            case (
                AllocationFailed(request_id=str(request_id))
                | DeploymentFailed(request_id=request_id)
                | ReadyTimeout(request_id=request_id)
            ):
                self.outcome.existing[request_id] = match_id
                stops.create_task(self._stop(request_id))
            case _:
                pass

    def _refused(self, error: Unauthorized) -> None:
        """The API refuses the token, so all other matches would fail in the same way."""
        if self.unauthorized is None and self._outcomes:
            self._outcomes.withdraw()
        self.unauthorized = error

    def _doubt(self, match_id: str, reason: str) -> None:
        self.outcome.unknown.append(Failure(match_id, reason))

    async def stop_all(self) -> None:
        """Stop all servers."""
        await _each(list(self.outcome.existing), self._stop, STOPS)

    async def _stop(self, request_id: str) -> None:
        if request_id not in self.outcome.existing:
            # It is stopped already.
            return
        match_id = self.outcome.existing[request_id]
        try:
            await self._session.deployments.ensure_stopped(
                request_id, timeout=STOP_TIMEOUT
            )
        except EdgegapError as error:
            self._doubt(match_id, f"{request_id} could not be stopped: {error}")
            return
        self.outcome.existing.pop(request_id, None)
        self.outcome.stopped[request_id] = match_id


async def _each(
    items: Iterable[T], do: Callable[[T], Awaitable[None]], at_once: int
) -> None:
    """Call `do` for all items, some at a time."""
    pending = iter(items)

    async def work() -> None:
        for item in pending:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
