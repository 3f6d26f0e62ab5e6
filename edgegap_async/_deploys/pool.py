"""A warm pool: servers that are ready before they are needed.

    starting -> idle -> taken -> stopped
        |         `-> too old, unhealthy, ended, or one too many: stopped, and replaced
        `-> failed: another one after a pause

Each server has one task, which holds its block (`leases.py`) until the server is not needed
any more. So whatever ends the pool ends all blocks, and these stop their servers.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from math import inf
from types import TracebackType
from typing import Any, Literal

from msgspec import Struct

from .._transport.deadlines import loop_time
from ..errors import (
    DeadlineExceeded,
    EdgegapError,
    SessionClosed,
    is_permanent,
    seconds_text,
)
from ..models._check import fail, optional_seconds, seconds, whole_number
from ..models.deployment import EndReason, UnknownPort
from ..probes import Probe, checked_probe, finish_probe, started_probe
from .blocks import SERVER, Block
from .leases import OwnedDeployment, lease_of

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds before another try after a server could not be started: the first pause, which
# doubles, and the longest one.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_SERVERS = 10_000


class PoolPlan(Struct, frozen=True):
    """The arguments of `pool`, checked.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    size: int
    max_running: int | None
    max_age: float | None
    check: Probe | None
    check_every: float
    check_timeout: float

    def __post_init__(self) -> None:
        _size(self.size)
        if self.max_running is not None:
            whole_number("max_running", self.max_running, 1)
        optional_seconds("max_age", self.max_age)
        if self.check is not None:
            checked_probe("check", self.check)
        seconds("check_every", self.check_every)
        seconds("check_timeout", self.check_timeout)


class _NoCheck(Exception):
    """The check of the pool returned nothing to await."""


class _Member:
    """One server of the pool.

    Attributes:
        server: None: it is starting.
        taken: somebody uses it, or has used it.
        dropped: it is not needed any more.
        task: holds its block.
    """

    def __init__(self) -> None:
        self.server: OwnedDeployment | None = None
        self.dropped = asyncio.Event()
        self.taken = False
        self.task: asyncio.Task[None] | None = None

    @property
    def is_starting(self) -> bool:
        """Whether it will be ready."""
        return self.server is None and not self.dropped.is_set()


class Pool:
    """Servers that are ready, and are replaced as soon as they are taken."""

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[OwnedDeployment]],
        plan: PoolPlan,
    ) -> None:
        """Make a pool without servers.

        Args:
            begin: makes the block of a new server.
            plan: how many there are, and for how long.
        """
        self._begin, self._plan = begin, plan
        self._size = plan.size
        self._members: dict[_Member, None] = {}
        # Idle servers, the oldest first.
        self._idle: deque[_Member] = deque()
        self._takers: deque[asyncio.Future[_Member]] = deque()
        self._group = asyncio.TaskGroup()
        self._failures = 0
        self._failure: EdgegapError | None = None
        # Why no server can ever be offered.
        self._wrong: ValueError | None = None
        # The next try after a failure.
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        if self._closed:
            return f"<Pool size {self._size}, closed>"
        counts = f"{self.ready} ready, {self.starting} starting, {self.taken} taken"
        return f"<Pool size {self._size}: {counts}>"

    @property
    def ready(self) -> int:
        """How many servers are ready, and not taken."""
        return len(self._idle)

    @property
    def starting(self) -> int:
        """How many servers are being started."""
        return sum(member.is_starting for member in self._members)

    @property
    def taken(self) -> int:
        """How many servers are taken."""
        return sum(
            member.taken and not member.dropped.is_set() for member in self._members
        )

    def resize(self, size: int) -> None:
        """Change how many servers are ready, or being started. Those that are too many are
        stopped; none that is taken is.

        Args:
            size: 0 or more.

        Raises:
            ValueError: it is no such number.
        """
        self._size = _size(size)
        self._fill()

    def take(
        self, *, timeout: float | None = 60.0
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """A server for as long as the block lasts. Then it is stopped, unless it was kept:
        no server is used twice. Leaving the block does not wait for the stop; leaving the
        block of the pool does. The caller that waits longest gets the next server.

            async with pool.take() as server:
                ...
                server.keep()  # take it over: it is not stopped

        Args:
            timeout: seconds until there is one; None: no end.

        Raises:
            DeadlineExceeded: there was none in time. `__cause__` is why the last one could
                not be started.
            SessionClosed: the pool or its session was closed.
            EdgegapError: no server can be started, or its check asks for a port that it
                does not have: no retry would mend it.
            ValueError: the timeout is wrong, or the pool's `check` returned nothing to
                await.
        """
        block = self._take(optional_seconds("timeout", timeout))
        return Block(block, "pool.take", SERVER)

    @asynccontextmanager
    async def _take(
        self, timeout: float | None
    ) -> AsyncGenerator[OwnedDeployment, None]:
        member = await self._next(timeout)
        try:
            assert member.server is not None  # noqa: S101 (it was idle)
            yield member.server
        finally:
            member.dropped.set()

    async def _next(self, timeout: float | None) -> _Member:
        if self._closed:
            raise SessionClosed("the pool was closed")
        if self._wrong:
            raise copy(self._wrong)
        taker: asyncio.Future[_Member] = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        self._serve()
        try:
            await asyncio.wait({taker}, timeout=timeout)
        except asyncio.CancelledError:
            if taker.done() and not taker.exception():
                # It came in the very turn in which the caller left.
                taker.result().dropped.set()
            raise
        finally:
            if not taker.done():
                self._takers.remove(taker)
                self._fill()
        if taker.done():
            return taker.result()
        error = DeadlineExceeded(
            f"the pool had no server within {seconds_text(timeout or 0)}"
        )
        raise error from self._failure

    # Filling.

    def _fill(self) -> None:
        """Start what is missing, and drop what is too much."""
        if self._closed or self._wrong:
            return
        missing = self._size + len(self._takers) - self.ready - self.starting
        for _ in range(-missing):
            self._drop_one()
        if self._retry is not None:
            return
        most = self._plan.max_running
        if most is not None:
            missing = min(missing, most - len(self._members))
        for _ in range(missing):
            member = _Member()
            self._members[member] = None
            member.task = self._group.create_task(self._run(member))

    def _drop_one(self) -> None:
        """Drop a server that is being started, the last one first, or the oldest."""
        starting = [each for each in self._members if each.is_starting]
        member = starting[-1] if starting else self._idle.popleft()
        member.dropped.set()
        if member.server is None:
            _cancel(member.task)

    def _serve(self) -> None:
        """Give servers that are ready to those who wait for one, the oldest first."""
        while self._idle and self._takers:
            member, taker = self._idle.popleft(), self._takers.popleft()
            member.taken = True
            self._failures = 0
            taker.set_result(member)
        self._fill()

    async def _run(self, member: _Member) -> None:
        """Hold the block of one server."""
        try:
            async with self._begin() as server:
                await self._check(server)
                member.server, self._failure = server, None
                self._idle.append(member)
                self._serve()
                await self._until_dropped(member, server)
        except EdgegapError as error:
            # It could not be started.
            if not member.dropped.is_set():
                self._failed(error)
        except _NoCheck as error:
            self._give_up(ValueError(*error.args))
        except asyncio.CancelledError:
            # Unless it was dropped, the pool ends. The block has stopped its server.
            if not member.dropped.is_set():
                raise
        finally:
            self._members.pop(member, None)
            self._fill()

    async def _check(self, server: OwnedDeployment) -> None:
        if self._plan.check is None:
            return
        limit = asyncio.timeout(self._plan.check_timeout)
        try:
            async with limit:
                await finish_probe(self._started_check(self._plan.check, server))
        except _NoCheck:
            raise
        except Exception as error:
            # What a user's function raises.
            problem = f"failed: {type(error).__name__}: {error}"
            if limit.expired():
                problem = f"took longer than {self._plan.check_timeout:g} s"
            raise _unhealthy(server, f"its check {problem}") from error

    def _started_check(
        self, check: Probe, server: OwnedDeployment
    ) -> Awaitable[object]:
        try:
            return started_probe("check", check, server)
        except ValueError as error:
            raise _NoCheck(*error.args) from None

    async def _until_dropped(self, member: _Member, server: OwnedDeployment) -> None:
        """Wait until the server is not needed any more."""
        ready_at = loop_time()
        ended = asyncio.ensure_future(lease_of(server).wait_ended(None))
        dropped = asyncio.ensure_future(member.dropped.wait())
        try:
            problem = await self._until_bad(member, server, ended, dropped)
            if member.taken:
                await dropped
            elif problem:
                if loop_time() - ready_at > LONGEST_PAUSE:
                    self._failures = 0
                # Its stop may take a while: nobody may take it, or replace it at once.
                self._failed(problem)
        finally:
            for each in (ended, dropped):
                each.cancel()
            if member in self._idle:
                self._idle.remove(member)
            self._fill()

    async def _until_bad(
        self,
        member: _Member,
        server: OwnedDeployment,
        ended: "asyncio.Future[EndReason]",
        dropped: "asyncio.Future[Literal[True]]",
    ) -> EdgegapError | None:
        """Check an idle server, until it is taken, dropped or too old. Returns what is
        wrong.
        """
        age = self._plan.max_age
        old_at = inf if age is None else loop_time() + age
        waiting: set[asyncio.Future[Any]] = {dropped, ended}
        every = self._plan.check_every if self._plan.check else inf
        while not (member.taken or dropped.done()):
            pause = min(every, max(0.0, old_at - loop_time()))
            await asyncio.wait(
                waiting,
                timeout=None if pause == inf else pause,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if member.taken or dropped.done():
                break
            try:
                if ended.done():
                    raise _unhealthy(server, f"it has ended: {ended.result().value}")
                if loop_time() >= old_at:
                    break
                await self._check(server)
            except EdgegapError as error:
                # Also one that says why it is not known whether it has ended.
                return error
        return None

    def _failed(self, error: EdgegapError) -> None:
        """A server could not be started, or is not healthy: another one, after a pause, as
        the next one may be like it.
        """
        if self._closed:
            return
        self._failure = error
        self._failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failures - 1))
        pause *= random.uniform(0.5, 1.0)
        log.warning("pool: retrying in %.1f s: %s", pause, error)
        if self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(pause, self._try_again)
        no_such_port = isinstance(error.__cause__, UnknownPort)
        if is_permanent(error) or isinstance(error, SessionClosed) or no_such_port:
            self._fail_takers(error)

    def _try_again(self) -> None:
        self._retry = None
        self._fill()

    def _give_up(self, error: ValueError) -> None:
        """No server would pass the check, as it is none."""
        if self._wrong is None:
            log.warning("pool: no more servers are started: %s", error)
        self._wrong = error
        for member in self._members:
            if not member.taken:
                member.dropped.set()
            if member.server is None and member.task is not asyncio.current_task():
                _cancel(member.task)
        self._fail_takers(error)

    def _fail_takers(self, error: EdgegapError | ValueError) -> None:
        while self._takers:
            # Each raises its own: a raised error collects its own traceback.
            own = copy(error)
            own.__cause__ = error.__cause__
            self._takers.popleft().set_exception(own)

    # The block.

    async def __aenter__(self) -> "Pool":
        await self._group.__aenter__()
        self._fill()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        if self._retry:
            self._retry.cancel()
        self._fail_takers(SessionClosed("the pool was closed"))
        for member in self._members:
            # Each task ends its block, which stops its server.
            member.dropped.set()
            if member.server is None:
                _cancel(member.task)
        # An error of the block is not the group's.
        await self._group.__aexit__(None, None, None)


def _cancel(task: asyncio.Task[None] | None) -> None:
    if task:
        task.cancel()


def _size(size: int) -> int:
    checked = whole_number("size", size, 0)
    if checked > MOST_SERVERS:
        fail("size", f"must be at most {MOST_SERVERS:,}")
    return checked


def _unhealthy(server: OwnedDeployment, problem: str) -> EdgegapError:
    return EdgegapError(f"deployment {server.request_id} is replaced: {problem}")
