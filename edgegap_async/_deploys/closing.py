"""Closes a session: finishes what can be finished in time, and reports the rest.

A session is closed by its user, at the end of its event loop, or because it was
garbage-collected. Nothing can be sent after the end of the loop.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .._records.records import Records
from .._records.state import DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import finish, running_loop
from .._transport.loop_end import LoopEnd
from .._waiters.watcher import Watcher
from .background import BackgroundWork
from .leases import Leases
from .leftovers import Leftovers
from .runner import DeployRunner
from .webhook_router import WebhookRouter

# Most sessions have no journal.
if TYPE_CHECKING:
    from .journal import Journal

# Seconds that cancelled tasks have to end. They only leave an exchange, so they need a
# few turns of the loop.
CANCEL_TIMEOUT = 1.0
# The part of `cleanup_timeout` after which closing gives up the answers to deploys in
# flight: the search windows of their tags begin then, and must end in time.
GIVE_UP_AFTER = 0.25
# Seconds for the last look at tags of deploys that were accepted.
LAST_CHECK = 2.0


class Closing:
    """Closes one session.

    Args:
        callers: the transport for the calls of the session's users.
        runner, background, watcher, router, journal: the parts that are ended.
        leases: says when closing must be over.
        leftovers: reports what may still be running.

    Attributes:
        watched_tags: the tags that were still watched when the session was closed.
    """

    def __init__(
        self,
        callers: Transport,
        records: Records,
        runner: DeployRunner,
        background: BackgroundWork,
        leases: Leases,
        leftovers: Leftovers,
        *,
        watcher: Watcher,
        router: WebhookRouter,
        journal: "Journal | None",
    ) -> None:
        self._callers, self._records = callers, records
        self._runner, self._background = runner, background
        self._leases, self._leftovers = leases, leftovers
        self._watcher, self._router, self._journal = watcher, router, journal
        self.watched_tags: tuple[str, ...] = ()
        # If nobody closes the session, it closes itself.
        self._loop_end = LoopEnd(self._close, self._hurry, self._discard)
        self._closed = asyncio.Event()
        # The task that `close_soon` has begun.
        self._closing: asyncio.Task[None] | None = None
        # The task that closes the session, and whether Ctrl-C has interrupted it.
        self._closer: asyncio.Task[object] | None = None
        self._hurried = False

    def watch(self) -> None:
        """Close the session at the end of the running loop, if nobody does it before."""
        self._loop_end.watch()

    async def aclose(self) -> None:
        """Close the session: finish what can be finished within `cleanup_timeout`, then
        report the rest. After the loop of the session has ended, nothing can be stopped
        any more. A second call waits for the first. In a forked child, all is left to
        the parent.
        """
        if self._callers.in_child:
            # No loop runs here, as far as asyncio knows.
            self._callers.leave_to_parent()
            return
        running_loop()
        loop = self._callers.loop
        if self._callers.closed:
            # Another task may still be closing it.
            await self._closed.wait()
        elif loop is not None and loop.is_closed():
            self._discard()
        else:
            await self._close()

    def close_soon(self) -> None:
        """Begin to close a session that is garbage-collected, and that nobody has closed."""
        loop = self._callers.loop
        if loop is None or self._callers.closed or self._callers.in_child:
            return
        if loop.is_closed():
            self._discard()
        else:
            # This may be another thread.
            loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._closing = asyncio.ensure_future(self._close())

    def _discard(self) -> None:
        """Close the session without its loop: nothing is stopped, all is reported."""
        if self._closed.is_set():
            return
        self._callers.discard()
        for record in self._records.in_state(DeployState.LEASED):
            record.on(Event.CUT_OFF)
        if not self._leftovers.reported:
            self._report_leftovers()
        self._abandon_parts()
        self._closed.set()

    def _abandon_parts(self) -> None:
        self._router.close()
        if self._journal:
            self._journal.abandon()

    def _hurry(self) -> None:
        """Wait no longer, and report what may still be running."""
        self._hurried = True
        if self._closer:
            self._closer.cancel()

    async def _close(self) -> None:
        if self._callers.in_child:
            self._callers.leave_to_parent()
        if self._callers.closed:
            return
        self._closer = asyncio.current_task()
        self._callers.abort()
        try:
            cancelled = await self._close_all()
        except GeneratorExit:
            # The loop has ended around it.
            self._discard()
            raise
        finally:
            self._closed.set()
        if cancelled and not self._hurried:
            raise cancelled

    async def _close_all(self) -> asyncio.CancelledError | None:
        try:
            await self._loop_end.aclose()
            cancelled = await self._stop_all()
        except GeneratorExit:
            raise
        except BaseException:
            self._abandon_parts()
            await self._callers.aclose()
            raise
        if self._journal:
            cancelled = await self._journal.aclose() or cancelled
        return await self._callers.aclose() or cancelled

    async def _stop_all(self) -> asyncio.CancelledError | None:
        self._router.close()
        self._runner.abandon_all()
        for record in self._records.in_state(DeployState.LEASED):
            record.on(Event.CLOSES)
            self._background.begin_stop(record)
        self._background.resume_stops()
        cancelled = await self._finish()
        self._report_leftovers()
        return await self._end_tasks() or cancelled

    def _report_leftovers(self) -> None:
        self.watched_tags = tuple(self._background.watched_tags)
        self._leftovers.report(
            [*self._background.may_be_running, *self._runner.may_be_running]
        )

    async def _finish(self) -> asyncio.CancelledError | None:
        """Wait for deploys, for searches without a caller, and for the stops that they
        lead to.
        """
        now = asyncio.get_running_loop().time()
        end = self._leases.closing_end()
        check = self._background.last_check(min(LAST_CHECK, end - now))
        cancelled = await self._until_idle(now + GIVE_UP_AFTER * (end - now), check)
        self._runner.give_up()
        cancelled = await self._until_idle(end, check) or cancelled
        for task in check:
            task.cancel()
        return await finish(check, end) or cancelled

    async def _until_idle(
        self, end: float, more: Collection[asyncio.Task[None]]
    ) -> asyncio.CancelledError | None:
        cancelled: asyncio.CancelledError | None = None
        while asyncio.get_running_loop().time() < end and not self._hurried:
            tasks: list[asyncio.Future[Any]] = [
                *self._runner.tasks,
                *self._background.unfinished,
                *more,
            ]
            if all(task.done() for task in tasks):
                break
            cancelled = await finish(tasks, end, lambda: self._hurried) or cancelled
        return cancelled

    async def _end_tasks(self) -> asyncio.CancelledError | None:
        """Cancel what is still in progress."""
        tasks = {
            *self._background.end(),
            *self._runner.tasks,
            *self._watcher.tasks,
            *self._watcher.ends.tasks,
        }
        for task in tasks:
            task.cancel()
        end = asyncio.get_running_loop().time() + CANCEL_TIMEOUT
        return await finish(tasks, end)
