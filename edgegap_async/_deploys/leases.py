"""Servers that the session must stop: at the end of a block, when an outcome was never
taken, or when the session is closed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import Any, TypeAlias
from weakref import ReferenceType, WeakKeyDictionary, ref

from msgspec import structs

from .._records.state import DeployRecord, DeployState, Event
from .._transport.deadlines import loop_time
from ..errors import (
    DeploymentFailed,
    DeploymentTerminated,
    SessionClosed,
    WrongLoop,
)
from ..models._check import optional_seconds
from ..models.deployment import ContainerLogs, EndReason, ReadyDeployment
from ..probes import Probe

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds that closing has for one more try, even if leaving blocks has taken all the time.
LEAST_CLEANUP = 1.0
# Seconds between two counts of the servers that are held: with thousands, one takes a
# millisecond, and each block that ends asks.
COUNT_EVERY = 0.01
Wait: TypeAlias = Callable[
    [str, float | None, Probe | None], Awaitable[ReadyDeployment]
]
# Waits for the end of a server, for so many seconds; None: without an end.
UntilEnded: TypeAlias = Callable[[str, float | None], Awaitable[EndReason]]
# The logs of a server; None: they could not be had.
FetchLogs: TypeAlias = Callable[[str], Awaitable[ContainerLogs | None]]
# Waits until the journal does not name a server any more.
Settle: TypeAlias = Callable[[DeployRecord], Awaitable[object]]
# Stops the server of a record. None: there is nothing to stop, or the session is closed.
Stop: TypeAlias = Callable[[DeployRecord], asyncio.Task[None] | None]


class Lease:
    """The session's responsibility for one server. A server may have several, of nested
    blocks. It is the caller's once all of them are released.

    Args:
        until_ended: waits for the end of a server.
    """

    __slots__ = ("_active", "_kept", "_until_ended", "record")

    def __init__(self, record: DeployRecord, until_ended: UntilEnded) -> None:
        self.record: DeployRecord = record
        self._until_ended = until_ended
        self._active, self._kept = True, False
        record.leases += 1

    def release(self) -> None:
        """The caller takes the server over.

        Raises:
            DeploymentTerminated: the session is stopping it, or it is gone.
        """
        if self._kept and self.record.state in (
            DeployState.LEASED,
            DeployState.RELEASED,
        ):
            return
        if not self._active or self.record.state is not DeployState.LEASED:
            raise being_stopped(self.record)
        self._end()
        self._kept = True
        if not self.record.leases:
            self.record.on(Event.RELEASE)

    def end(self) -> bool:
        """The block has ended. Returns whether the server must be stopped."""
        if not self._active:
            return False
        self._end()
        return self.record.state is DeployState.LEASED

    async def wait_ended(self, timeout: float | None) -> EndReason:
        """Wait until the server is not READY any more."""
        return await self._until_ended(
            self.record.request_id or "", optional_seconds("timeout", timeout)
        )

    def _end(self) -> None:
        self._active = False
        self.record.leases -= 1


def being_stopped(record: DeployRecord) -> DeploymentTerminated:
    """The error of a caller who wants a server that is being stopped."""
    request_id = record.request_id or ""
    if record.state is DeployState.DISOWNED:
        return DeploymentTerminated(
            request_id,
            f"another process has taken deployment {request_id} over, as this one did not renew its ownership in the "
            "journal, and stops it",
        )
    return DeploymentTerminated(
        request_id,
        f"deployment {request_id} is being stopped by this session, or has ended: it can "
        "only be kept inside its block",
    )


class OwnedDeployment(ReadyDeployment, frozen=True, kw_only=True, dict=True, gc=True):
    """A server that is ready, and is stopped at the end of its block.

    It turns into the same data as a `ReadyDeployment`. A copy of it is data alone.
    """

    @classmethod
    def of(cls, ready: ReadyDeployment, lease: Lease) -> "OwnedDeployment":
        """The server of a lease."""
        owned = cls(**structs.asdict(ready))
        # It is no field, as it can't be encoded.
        vars(owned)["lease"] = lease
        return owned

    def keep(self) -> None:
        """Take the server over: it is not stopped at the end of the block.

        Raises:
            DeploymentTerminated: the block has ended, or the session was closed, so the
                server is being stopped.
        """
        lease_of(self).release()

    async def wait_ended(self, *, timeout: float | None = None) -> EndReason:
        """Wait until the server has ended: somebody has stopped it, it has failed, or the
        API does not know it any more (lists of GET /v1/deployments, GET /v1/status).
        However many servers are watched, that costs a few requests per second; an end is
        known within about two seconds. If several are watched, a server that no list has
        shown yet takes five seconds, as it may be missing because lists lag.

            async with edgegap.deployments.running("my-game", "1.0", users=players) as server:
                reason = await server.wait_ended()

        Args:
            timeout: seconds; None: no end.

        Raises:
            DeadlineExceeded: it has not ended in time.
        """
        return await lease_of(self).wait_ended(timeout)


def lease_of(holder: object) -> Lease:
    """The lease that a struct was handed out with."""
    lease: Lease | None = vars(holder).get("lease")
    if lease is None:
        raise RuntimeError(
            "this is a copy, which has the data alone: use the object that the session "
            "has handed out"
        )
    return lease


class Leases:
    """Waits for the servers that the session must stop, and ends their blocks.

    Args:
        wait: waits until a server is READY, for a number of seconds.
        stop: stops a server.
        until_ended: waits for the end of a server.
        fetch_logs: fetches the logs of a server that has failed.
        settle: waits until the journal does not name a server any more that the caller
            has taken over. None: there is no journal.
        cleanup_timeout: seconds that leaving a block, or closing the session, waits for
            stops.
        count_open: returns how many servers the session holds and does not stop yet.
    """

    def __init__(
        self,
        wait: Wait,
        stop: Stop,
        until_ended: UntilEnded,
        fetch_logs: FetchLogs,
        settle: Settle | None,
        cleanup_timeout: float,
        count_open: Callable[[], int],
    ) -> None:
        self._count_open = count_open
        self._wait, self._stop, self._cleanup_timeout = wait, stop, cleanup_timeout
        self._until_ended, self._fetch_logs = until_ended, fetch_logs
        self._settle = settle
        # How many servers were held, and when they are counted again.
        self._open, self._count_at = 0, -inf
        # When tasks that are being cancelled have begun to leave their blocks.
        self._leaving: WeakKeyDictionary[asyncio.Task[Any], float] = WeakKeyDictionary()
        # The task that has opened the session. It holds the session itself.
        self._opener: ReferenceType[asyncio.Task[Any]] | None = None

    def own(self, record: DeployRecord) -> Lease:
        """Make the session responsible for the server of a record."""
        return Lease(record, self._until_ended)

    def opened(self) -> None:
        """The running task has opened the session."""
        task = asyncio.current_task()
        self._opener = ref(task) if task else None

    async def explain(self, error: BaseException) -> None:
        """Add its logs to the error of a server that has failed: they are gone once it is
        stopped.
        """
        if isinstance(error, DeploymentFailed):
            error.logs = await self._fetch_logs(error.request_id)

    def cleanup_end(self) -> float:
        """When the cleanup of the running task must be over, on the loop's clock. A task
        that is being cancelled has `cleanup_timeout` once: for its blocks, and for closing
        the session. If the task that has opened the session is being cancelled, that is
        the end of the program, and all tasks have that time together.
        """
        now, task = loop_time(), asyncio.current_task()
        if task is None or not task.cancelling():
            return now + self._cleanup_timeout
        if ending := self._ending():
            task = ending
        end = self._leaving.get(task, now) + self._cleanup_timeout
        if end < now - LEAST_CLEANUP:
            # That was an earlier cancellation.
            end = now + self._cleanup_timeout
        self._leaving[task] = end - self._cleanup_timeout
        return end

    def closing_end(self) -> float:
        """When closing the session must be over, on the loop's clock. Unlike `cleanup_end`,
        it leaves time for one more try.
        """
        least = min(LEAST_CLEANUP, self._cleanup_timeout)
        return max(self.cleanup_end(), loop_time() + least)

    def _ending(self) -> asyncio.Task[Any] | None:
        """The task that has opened the session, if it is being cancelled."""
        opener = self._opener() if self._opener else None
        return opener if opener and opener.cancelling() else None

    def _still_open(self) -> int:
        """How many servers are held, a moment ago."""
        now = loop_time()
        if now >= self._count_at:
            self._open, self._count_at = self._count_open(), now + COUNT_EVERY
        return self._open

    def end(self, lease: Lease) -> asyncio.Task[None] | None:
        """Stop a server, unless the caller has taken it over."""
        return self._stop(lease.record) if lease.end() else None

    async def until_ready(
        self,
        record: DeployRecord,
        request_id: str,
        timeout: float | None,
        probe: Probe | None,
        *,
        stop_on_failure: bool,
    ) -> ReadyDeployment:
        """Wait until a server is READY.

        Args:
            stop_on_failure: stop it if it does not become READY, or its probe raises.
        """
        try:
            return await self._wait(request_id, timeout, probe)
        except Exception as error:
            if stop_on_failure and not isinstance(
                error, DeploymentTerminated | SessionClosed | WrongLoop
            ):
                try:
                    await self.explain(error)
                finally:
                    self._stop(record)
            raise

    async def ready(
        self, lease: Lease, request_id: str, ready_timeout: float | None
    ) -> OwnedDeployment:
        """The server of a block, once it is READY. If it does not become READY, it is
        stopped.
        """
        try:
            ready = await self._wait(request_id, ready_timeout, None)
        except BaseException as error:
            try:
                await self.explain(error)
            finally:
                await self.leave(lease)
            raise
        return OwnedDeployment.of(ready, lease)

    async def leave(self, lease: Lease) -> None:
        """End a block. Waits until the stop is accepted, at most `cleanup_timeout`; after
        that the session goes on trying. If the program may be ending, the blocks that are
        still open share this time: one task may have to leave them all.

        Raises:
            DeploymentTerminated: the caller has taken the server over, but another
                process had done so before.
        """
        if stopping := self.end(lease):
            left = max(self.cleanup_end() - loop_time(), 0.0)
            if self._ending():
                left /= 1 + self._still_open()
            await asyncio.wait({stopping}, timeout=left)
        elif self._settle and lease.record.state is DeployState.RELEASED:
            await self._settle(lease.record)


# Starts or finds the server of a block: its lease and its request_id.
Begin: TypeAlias = Callable[[], Awaitable[tuple[Lease, str]]]


class ServerBlock(AbstractAsyncContextManager[OwnedDeployment]):
    """A server for as long as the block lasts.

    It is no generator: the loop would close it at its end beside the session, which
    stops the server anyway.

    Args:
        begin: called at the beginning of the block.
        ready_timeout: seconds until the server is READY; None: no end.
        max_seconds: seconds from then until it is stopped; None: it runs until the end
            of the block.
    """

    def __init__(
        self,
        leases: Leases,
        begin: Begin,
        ready_timeout: float | None,
        max_seconds: float | None,
    ) -> None:
        self._leases, self._begin = leases, begin
        self._ready_timeout = optional_seconds("ready_timeout", ready_timeout)
        self._max_seconds = optional_seconds("max_seconds", max_seconds)
        self._lease: Lease | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> OwnedDeployment:
        self._lease, request_id = await self._begin()
        server = await self._leases.ready(self._lease, request_id, self._ready_timeout)
        if self._max_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_seconds, self._expire, self._lease)
        return server

    def _expire(self, lease: Lease) -> None:
        if self._leases.end(lease):
            request_id = lease.record.request_id
            log.info(
                "stopping deployment %s: its max_seconds are over",
                request_id,
                extra={"request_id": request_id},
            )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer:
            self._timer.cancel()
        if self._lease:
            await self._leases.leave(self._lease)
