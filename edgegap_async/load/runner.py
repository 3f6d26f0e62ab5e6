"""Runs a load test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from math import inf, isnan
from typing import TypeAlias, cast

from msgspec import structs

from .._deploys.batch import DeployOutcome, DeployStream
from .._limits.config import LimitUsage
from ..endpoints import LimitName
from ..errors import AllocationFailed, Unauthorized
from ..models._check import instance, optional_callables
from ..models._plain import PlainData
from ..models.deploy import DeployRequest
from ..models.deployment import ReadyDeployment
from ..session import EdgegapSession
from .building import limit_counts, report_of
from .figures import times_of
from .placements import Placements
from .plan import Plan
from .recording import Recording
from .report import Report, Times
from .servers import Servers

# Seconds between two looks at the counts of requests.
PERIOD = 1.0
# Seconds in which the last deploy must be sent to keep the schedule.
GRACE = 1.0
# Servers whose times to READY the progress shows: the latest ones.
LATEST = 2000


class Progress(PlainData, frozen=True, kw_only=True):
    """How far a load test is.

    Attributes:
        seconds: since its beginning.
        asked: deploys that were due in the last second.
        reached: deploys that were answered in the last second.
        due: deploys that were due so far.
        waiting: deploys that are due and not sent yet.
        in_flight: deploys that were sent and have no outcome yet.
        running: servers that are READY and not stopped yet.
        ready, stopped: how many servers became so.
        refused: 429s of the deploy limit.
        failures: failed deploys, for each kind.
        ready_after: of the latest 2,000 servers.
    """

    seconds: float
    asked: int
    reached: int
    due: int
    waiting: int
    in_flight: int
    running: int
    ready: int
    stopped: int
    refused: int
    failures: Mapping[str, int]
    ready_after: Times | None


OnUpdate: TypeAlias = Callable[[Progress], object]


async def run(
    plan: Plan, session: EdgegapSession, *, on_update: OnUpdate | None = None
) -> Report:
    """Deploy by a plan, wait for the servers, and stop them (POST /v2/deployments, GET
    /v1/status and /v1/deployments, DELETE /v1/stop).

    If it is cancelled or fails, all servers are stopped before it raises, however long
    that takes: about a second for each 40 of them. Then there is no report.

    Args:
        plan: what to do.
        session: the session to use. The test counts all of its requests, so do nothing
            else with it.
        on_update: called each second with the progress. An error that it raises ends
            the test.

    Raises:
        ValueError: an argument is wrong; the text names it.
        SessionClosed: the session was closed.
    """
    optional_callables(on_update=on_update)
    return await LoadTest(plan, session, on_update).run()


class LoadTest:
    """A load test. `run` may be called once."""

    def __init__(
        self, plan: Plan, session: EdgegapSession, on_update: OnUpdate | None
    ) -> None:
        self._plan = instance("plan", plan, Plan)
        self._session = instance("session", session, EdgegapSession)
        self._on_update = on_update
        self._recording = Recording()
        self._servers = Servers(session, plan.lifetime, self._stopped)
        self._placements = Placements(session)
        self._stream: DeployStream | None = None
        self._lives: asyncio.TaskGroup | None = None
        # When each request in progress was due, and was taken.
        self._pending: dict[int, tuple[float, float]] = {}
        self._taken = 0
        self._started = 0.0
        # At the beginning, and when it was last looked at.
        self._usage_before = self._usage = session.usage()
        self._due_until = inf
        self._error: str | None = None
        self.interrupted: bool = False
        # Of the live progress.
        self._due_times = plan.due_times()
        self._next_due = next(self._due_times, inf)
        self._due = 0

    async def run(self) -> Report:
        """Run the test, and return its report."""
        self._started = self._now()
        try:
            async with asyncio.TaskGroup() as group:
                ticks = group.create_task(self._tick())
                await self._deploy()
                ticks.cancel()
        except BaseException as error:
            if cancelled := await self._servers.stop_all():
                raise cancelled from error
            if (single := _single(error)) is not error:
                raise single from single.__cause__
            raise
        return self._report()

    def interrupt(self) -> None:
        """Start no more servers, and stop all as soon as no deploy is in flight."""
        if not self.interrupted:
            self.interrupted = True
            self._due_until = min(self._due_until, self._elapsed())
            self._end()

    def abandon(self) -> None:
        """Leave the servers that are not stopped yet running, once `run` is cancelled."""
        self._servers.abandoned = True

    @property
    def existing(self) -> list[str]:
        """The request_ids of the servers that are not stopped yet."""
        return [*self._servers.existing]

    def _end(self) -> None:
        if self._stream:
            self._stream.withdraw(until_ready=False)
        if self._lives:
            self._servers.end(self._lives)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _elapsed(self) -> float:
        return self._now() - self._started

    async def _deploy(self) -> None:
        many = self._session.deployments.deploy_many(
            self._requests(),
            ready_timeout=self._plan.ready_timeout,
            max_running=self._plan.max_running,
        )
        async with asyncio.TaskGroup() as self._lives:
            async with many as self._stream:
                if self.interrupted:
                    self._end()
                async for outcome in self._stream:
                    self._take(outcome, self._lives)
            if self._plan.stop_at_end:
                self._servers.end(self._lives)

    async def _requests(self) -> AsyncIterator[DeployRequest]:
        """The requests, each when it is due, or later if none could be taken then."""
        last = 0.0
        for due in self._plan.due_times():
            if (wait := due - self._elapsed()) > 0:
                await asyncio.sleep(wait)
            # Another object for each, as outcomes name theirs.
            request = structs.replace(self._plan.request)
            self._pending[id(request)] = due, self._elapsed()
            self._taken += 1
            yield request
            last = due
        # The last one may still be sent in time.
        whole = sum(phase.seconds for phase in self._plan.phases)
        self._due_until = min(self._due_until, whole, last + GRACE)

    def _take(self, outcome: DeployOutcome, lives: asyncio.TaskGroup) -> None:
        due, taken = self._pending.pop(id(outcome.request))
        self._recording.add(outcome, due, taken, self._elapsed())
        if server := outcome.deployment:
            if ready := isinstance(server, ReadyDeployment):
                self._placements.add(server, lives)
            self._servers.add(server.request_id, lives, ready=ready)
        elif isinstance(error := outcome.error, Unauthorized):
            # All others would fail too.
            self._error = str(error)
            self._due_until = min(self._due_until, self._elapsed())
            self._end()
        elif isinstance(error, AllocationFailed) and error.request_id:
            self._servers.add(error.request_id, lives, ready=False)

    def _stopped(self, was_ready: bool) -> None:
        self._recording.add_stopped(self._elapsed(), was_ready=was_ready)

    async def _tick(self) -> None:
        """Count the requests of each second, and report the progress."""
        seconds = 0
        while True:
            seconds += 1
            await asyncio.sleep(max(self._started + seconds * PERIOD - self._now(), 0))
            before = self._usage
            self._count_refused(seconds - 0.5)
            if self._on_update:
                self._on_update(self._progress(before))

    def _count_refused(self, at: float) -> None:
        """Count the 429s since the last call."""
        before, self._usage = self._usage, self._session.usage()
        for name, used in self._usage.items():
            if refused := used.refused - before[name].refused:
                self._recording.refused[name].add(at, refused)

    def _progress(self, before: Mapping[LimitName, LimitUsage]) -> Progress:
        due_before, elapsed, deploys = self._due, self._elapsed(), self._usage["deploy"]
        while self._next_due <= min(elapsed, self._due_until):
            self._due += 1
            self._next_due = next(self._due_times, inf)
        recording = self._recording
        latest = recording.ready_after[-LATEST:]
        waiting, in_flight = self._unresolved(deploys.waiting)
        return Progress(
            seconds=elapsed,
            asked=self._due - due_before,
            reached=deploys.sent - before["deploy"].sent,
            due=self._due,
            waiting=waiting,
            in_flight=in_flight,
            running=sum(self._servers.existing.values()),
            ready=recording.ready,
            stopped=recording.stopped,
            refused=deploys.refused - self._usage_before["deploy"].refused,
            failures={it.kind: it.count for it in recording.failures.values()},
            ready_after=times_of(it for it in latest if not isnan(it)),
        )

    def _unresolved(self, queued: int) -> tuple[int, int]:
        """Return how many deploys wait, and how many are in flight.

        Args:
            queued: how many wait in the queue of the limit.
        """
        if self._stream and (self.interrupted or self._error):
            # All others were withdrawn, and have no outcome.
            return 0, len(self._stream.in_flight)
        # `deploy_many` has taken those in the queue, too.
        queued = min(queued, len(self._pending))
        return max(self._due - self._taken, 0) + queued, len(self._pending) - queued

    def _report(self) -> Report:
        elapsed = self._elapsed()
        # Those of the second that is not over.
        self._count_refused(elapsed)
        report = report_of(
            self._recording,
            self._plan,
            seconds=elapsed,
            due_until=min(self._due_until, elapsed),
            target=self._session.base_url,
            limits=limit_counts(self._usage_before, self._usage),
        )
        return structs.replace(
            report,
            interrupted=self.interrupted,
            error=self._error,
            running=self.existing,
            not_stopped=self._servers.not_stopped,
            locations=self._placements.locations(),
        )


def _single(error: BaseException) -> BaseException:
    """Return the error of a group of one as it was raised, or the error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _single(group.exceptions[0]) if len(group.exceptions) == 1 else group
