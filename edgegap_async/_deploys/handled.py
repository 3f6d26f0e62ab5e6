"""Which task handles which outcome of `deploy_many`.

A server is the caller's once its outcome was handled: the task that took it asks for the
next one, or ends without an exception. If that task has failed, nobody has handled its
outcome: its server is stopped if the block fails too.
"""

import asyncio
from collections.abc import Callable

from .._records.state import DeployState
from .leases import Lease


class HandledLeases:
    """The leases of the outcomes that were taken, until they are released or ended."""

    def __init__(self) -> None:
        # By the task that took the outcome.
        self._by_task: dict[asyncio.Task[object], Lease] = {}
        # Taken by a task that did nothing else, as `asyncio.wait_for` makes one in Python
        # 3.11. The task that awaits it handles the outcome.
        self._by_waiter: list[Lease] = []
        # Taken by tasks that have ended since: without an exception, and with one.
        self._finished: list[Lease] = []
        self._failed: list[Lease] = []

    def taken(self, lease: Lease) -> None:
        """The running task has taken an outcome."""
        task = asyncio.current_task()
        if task is None:
            self._by_waiter.append(lease)
            return
        self._by_task[task] = lease
        task.add_done_callback(self._task_done)
        asyncio.get_running_loop().call_soon(self._check_waiter, task, lease)

    def _check_waiter(self, task: asyncio.Task[object], lease: Lease) -> None:
        # A task that has only taken the outcome is done by now.
        if task.done() and not _has_failed(task) and self._by_task.get(task) is lease:
            del self._by_task[task]
            self._by_waiter.append(lease)

    def _task_done(self, task: asyncio.Task[object]) -> None:
        if lease := self._by_task.pop(task, None):
            (self._failed if _has_failed(task) else self._finished).append(lease)

    def asked(self) -> None:
        """The running task asks for the next outcome, so it has handled the one before."""
        for lease in (*self._by_waiter, *self._finished):
            release(lease)
        self._by_waiter.clear()
        self._finished.clear()
        task = asyncio.current_task()
        if task and (previous := self._by_task.pop(task, None)):
            task.remove_done_callback(self._task_done)
            release(previous)

    def close(self, end: Callable[[Lease], object], *, failed: bool) -> None:
        """The block is left.

        Args:
            end: called with each lease whose outcome was not handled to the end.
            failed: the block has ended with an exception.
        """
        for lease in self._finished:
            release(lease)
        for lease in (*self._by_waiter, *self._by_task.values(), *self._failed):
            (end if failed else release)(lease)


def _has_failed(task: asyncio.Task[object]) -> bool:
    return task.cancelled() or task.exception() is not None


def release(lease: Lease) -> None:
    """The server is the caller's, unless it is being stopped."""
    if lease.record.state is DeployState.LEASED:
        lease.release()
