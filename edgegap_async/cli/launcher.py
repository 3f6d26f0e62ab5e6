"""A launch: deploys a server for each match, and waits until it is READY.

It keeps a list of all servers that were started. `interrupt` withdraws queued deploys.
A deploy in flight may start a server, so it is not cancelled: the launch waits for its
outcome and stops its server.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

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
from .at_once import for_each
from .matches import Match
from .summary import Failure, LaunchResult, reason

# It takes the match_id, its server, and the seconds until the server was READY.
OnReady: TypeAlias = Callable[[str, ReadyDeployment, float], None]
# Seconds for each stop, with all retries.
STOP_TIMEOUT = 60.0
# Stops in progress at a time: more than the limit has slots.
STOPS = 100


class Launch:
    """Launches matches through a session.

    Args:
        session: the session to use.
        matches: the matches to launch.
        timeout: seconds for each match, from its deploy until its server is READY.
            None: no limit.
        on_ready: called with each server as soon as it is READY. If it raises an
            `OSError`, the output can't be written, and the launch is interrupted.
        max_running: how many servers may exist at once. None: no bound.
        stop_ready: stop each server as soon as it is READY.
    """

    def __init__(
        self,
        session: EdgegapSession,
        matches: Sequence[Match],
        *,
        timeout: float | None,
        on_ready: OnReady,
        max_running: int | None = None,
        stop_ready: bool = False,
    ) -> None:
        self.result: LaunchResult = LaunchResult(len(matches))
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
        self._on_ready, self._stop_ready = on_ready, stop_ready
        self._outcomes: DeployStream | None = None

    async def run(self) -> None:
        """Launch all matches.

        It returns when each match has its server or has failed. After an interrupt, it
        returns when no deploy is in flight.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._many as self._outcomes:
            if self.interrupted:
                self._outcomes.withdraw(until_ready=False)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(STOPS):
                        group.create_task(self._take(self._outcomes))
            except BaseException:
                for match_id in self.in_flight:
                    self._add_unknown(
                        match_id,
                        "its deploy was in flight and may have started a server",
                    )
                raise
        self.result.seconds = loop.time() - began

    def interrupt(self) -> None:
        """Start no more servers, and wait only for the deploys in flight."""
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

    def so_far(self) -> LaunchResult:
        """Return the result so far."""
        if self._outcomes:
            self.result.deployed = self._outcomes.accepted
        return self.result

    async def _take(self, outcomes: DeployStream) -> None:
        """Process outcomes. A server that no line names is stopped before the next one is
        asked for: until then, the journal has it.
        """
        async for outcome in outcomes:
            if request_id := self._process(outcome):
                await self._stop(request_id)

    def _process(self, outcome: DeployOutcome) -> str | None:
        """Record an outcome.

        Returns:
            The server to stop.
        """
        match_id = self._match_ids[id(outcome.request)]
        if outcome.seconds is not None:
            sent = asyncio.get_running_loop().time() - outcome.seconds
            self.result.first_sent = min(self.result.first_sent, sent)
            self.result.last_sent = max(self.result.last_sent, sent)
        if server := outcome.deployment:
            self.result.existing[server.request_id] = match_id
            named = isinstance(server, ReadyDeployment) and self._report(
                match_id, server, outcome.seconds or 0.0
            )
            return None if named and not self._stop_ready else server.request_id
        return self._failed(match_id, outcome.error) if outcome.error else None

    def _report(self, match_id: str, server: ReadyDeployment, seconds: float) -> bool:
        """Report a server, except after an interrupt. Returns whether that was done."""
        if self.interrupted:
            return False
        try:
            self._on_ready(match_id, server, seconds)
        except OSError as error:
            self.write_error = error
            self.output_failed(error)
            return False
        self.result.waits.append(seconds)
        return True

    def output_failed(self, error: OSError) -> None:
        """Nobody can be told of servers any more: start none, and let all be stopped."""
        if not self.interrupted:
            self.interrupt()

    def _failed(self, match_id: str, error: EdgegapError) -> str | None:
        """Record a failure.

        Returns:
            The server of the match, if it has one. No line on standard output names it.
        """
        if isinstance(error, Unauthorized):
            self._refused(error)
            return None
        self.result.failures.append(Failure(match_id, reason(error)))
        match error:
            case DeployOutcomeUnknown():
                self._add_unknown(match_id, reason(error))
            case (
                AllocationFailed(request_id=str(request_id))
                | DeploymentFailed(request_id=request_id)
                | ReadyTimeout(request_id=request_id)
            ):
                self.result.existing[request_id] = match_id
                return request_id
            case _:
                pass
        return None

    def _refused(self, error: Unauthorized) -> None:
        """End the launch: with a refused token, all other matches would fail too."""
        if self.unauthorized is None and self._outcomes:
            self._outcomes.withdraw()
        self.unauthorized = error

    def _add_unknown(self, match_id: str, reason: str) -> None:
        self.result.unknown.append(Failure(match_id, reason))

    async def stop_all(self) -> None:
        """Stop all servers that were started and are not stopped yet."""
        await stop_existing(self._session, self.result)

    async def _stop(self, request_id: str) -> None:
        await _stop(self._session, self.result, request_id)


async def stop_existing(session: EdgegapSession, result: LaunchResult) -> None:
    """Stop all servers of a launch that are not stopped yet."""

    async def stop(request_id: str) -> None:
        await _stop(session, result, request_id)

    await for_each(list(result.existing), stop, STOPS)


async def _stop(session: EdgegapSession, result: LaunchResult, request_id: str) -> None:
    if request_id not in result.existing:
        # It is stopped already.
        return
    match_id = result.existing[request_id]
    try:
        await session.deployments.ensure_stopped(request_id, timeout=STOP_TIMEOUT)
    except EdgegapError as error:
        result.unknown.append(
            Failure(match_id, f"stop of {request_id} failed: {error}")
        )
        return
    result.existing.pop(request_id, None)
    result.stopped[request_id] = match_id
