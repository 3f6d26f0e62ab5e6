"""Servers that are in a block: stopped at its end, or when the session is closed,
unless they were handed over.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from msgspec import structs

from .errors import DeploymentTerminated, SessionClosed, WrongLoop
from .models.deployment import ReadyDeployment
from .probes import Probe

Wait: TypeAlias = Callable[
    [str, float | None, Probe | None], Awaitable[ReadyDeployment]
]


class Handover:
    """Whether a server was handed over to somebody else."""

    def __init__(self) -> None:
        self.kept: bool = False


class OwnedDeployment(ReadyDeployment, frozen=True, kw_only=True):
    """A server that is ready, and stopped at the end of the block that it was given to."""

    handover: Handover

    def keep(self) -> None:
        """Hand it over: it is not stopped at the end of the block, and somebody else
        answers for it from now on.
        """
        self.handover.kept = True


class Scopes:
    """Which servers are in a block. `stop` stops one, or only names it where the
    session is closed (None); `wait` waits until one is READY, so many seconds.
    """

    def __init__(
        self,
        wait: Wait,
        stop: Callable[[str, str | None], asyncio.Task[None] | None],
        cleanup_timeout: float,
    ) -> None:
        self._wait, self._stop, self._cleanup_timeout = wait, stop, cleanup_timeout
        # (request_id, tag)
        self._held: dict[Handover, tuple[str, str | None]] = {}

    def hold(self, handover: Handover, request_id: str, tag: str | None) -> None:
        """The server is the session's to stop from now on."""
        self._held[handover] = (request_id, tag)

    def claim(self, handover: Handover) -> bool:
        """Somebody else answers for it from now on. Whether it was the session's until
        now.
        """
        return self._held.pop(handover, None) is not None

    def drop(self, handover: Handover) -> asyncio.Task[None] | None:
        """Nobody wants it any more, if there is one and it was not handed over."""
        held = self._held.pop(handover, None)
        return self._stop(*held) if held and not handover.kept else None

    def drop_all(self) -> None:
        """The session is closed: what its blocks have is stopped now."""
        for handover in list(self._held):
            self.drop(handover)

    async def until_ready(
        self,
        request_id: str,
        timeout: float | None,
        probe: Probe | None,
        *,
        stop_on_failure: bool,
    ) -> ReadyDeployment:
        """Wait for one; if so asked, stop one that will not be ready, or whose probe
        raised.
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
        self, handover: Handover, request_id: str, ready_timeout: float | None
    ) -> AsyncGenerator[OwnedDeployment, None]:
        """Leaving waits until the stop is accepted, at most `cleanup_timeout`; then it
        goes on by itself.
        """
        try:
            ready = await self._wait(request_id, ready_timeout, None)
            yield OwnedDeployment(handover=handover, **structs.asdict(ready))
        finally:
            if stopping := self.drop(handover):
                await asyncio.wait({stopping}, timeout=self._cleanup_timeout)
