"""Servers that the session must stop: at the end of a block, when an outcome was never
taken, or when the session is closed.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from msgspec import structs

from ..errors import DeploymentTerminated, SessionClosed, WrongLoop
from ..models.deployment import ReadyDeployment
from ..probes import Probe

Wait: TypeAlias = Callable[
    [str, float | None, Probe | None], Awaitable[ReadyDeployment]
]


class Lease:
    """The session's responsibility for one server. `kept`: the user has taken over."""

    def __init__(self) -> None:
        self.kept: bool = False


class OwnedDeployment(ReadyDeployment, frozen=True, kw_only=True):
    """A server that is ready, and is stopped at the end of its block."""

    lease: Lease

    def keep(self) -> None:
        """Take the server over: it is not stopped at the end of the block."""
        self.lease.kept = True


class Leases:
    """The servers that the session must stop.

    Args:
        wait: waits until a server is READY, for a number of seconds.
        stop: stops a server. Returns None if the session is closed: it is only named.
        cleanup_timeout: seconds that leaving a block waits for its stop.
    """

    def __init__(
        self,
        wait: Wait,
        stop: Callable[[str, str | None], asyncio.Task[None] | None],
        cleanup_timeout: float,
    ) -> None:
        self._wait, self._stop, self._cleanup_timeout = wait, stop, cleanup_timeout
        # The request_id and the tag of each.
        self._held: dict[Lease, tuple[str, str | None]] = {}

    def acquire(self, lease: Lease, request_id: str, tag: str | None) -> None:
        """From now on the session must stop this server."""
        self._held[lease] = (request_id, tag)

    def release(self, lease: Lease) -> bool:
        """The caller takes the server over. Returns whether the session had it."""
        return self._held.pop(lease, None) is not None

    def end(self, lease: Lease) -> asyncio.Task[None] | None:
        """Stop the server, unless there is none or the user keeps it."""
        held = self._held.pop(lease, None)
        return self._stop(*held) if held and not lease.kept else None

    def end_all(self) -> None:
        """Stop the servers of all blocks, as the session is closed."""
        for lease in list(self._held):
            self.end(lease)

    async def until_ready(
        self,
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
                self._stop(request_id, None)
            raise

    @asynccontextmanager
    async def block(
        self, lease: Lease, request_id: str, ready_timeout: float | None
    ) -> AsyncGenerator[OwnedDeployment, None]:
        """A server that is stopped at the end of the block.

        Leaving waits until the stop is accepted, at most `cleanup_timeout`; after that
        the session goes on trying.
        """
        try:
            ready = await self._wait(request_id, ready_timeout, None)
            yield OwnedDeployment(lease=lease, **structs.asdict(ready))
        finally:
            if stopping := self.end(lease):
                await asyncio.wait({stopping}, timeout=self._cleanup_timeout)
