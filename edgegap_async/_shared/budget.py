"""Drives the beats of this process: in the thread of the store, so that a blocked loop,
or one after another that ends, holds up no beat. On a loop in virtual time, the loop
drives them, as only it knows the time.

The thread is held as long as the tenant is awake.
"""

import asyncio
import atexit
import logging
import time
from collections.abc import Callable
from functools import partial
from math import inf
from threading import RLock
from typing import NamedTuple
from weakref import WeakSet

from .._limits.clock import shares_clock
from .._limits.registry import fork_count
from .._limits.slots import Slots
from ..endpoints import Limit
from .budget_store import budget_store
from .config import SharedState
from .messages import Reply, Report
from .store import StoreError
from .stores import STORES, Store
from .tenant import SLEEPY, Tenant
from .thread import StoreThread

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds that the end of the interpreter waits for the last beat, at most.
AT_EXIT = 0.2


class SharedBudget(NamedTuple):
    """The budget of an organization.

    Attributes:
        shared: where it is.
        key: the organization's name.
    """

    shared: SharedState
    key: str

    def join(self, loop: asyncio.AbstractEventLoop | None) -> "Beats":
        """Let this process take part, on the clock of a loop, or, without one, on the
        process's monotonic clock.
        """
        if loop is None or shares_clock(loop):
            return ThreadBeats(self)
        return LoopBeats(self, loop)


class Beats:
    """A tenant, and what drives it.

    Attributes:
        tenant: it.
    """

    def __init__(self, budget: SharedBudget) -> None:
        self._budget, self._forks = budget, fork_count()
        shared = budget.shared
        self.tenant: Tenant = Tenant(
            lease=shared.lease, fallback=shared.fallback, wake=self._wake
        )
        self._thread: StoreThread[Store] | None = None
        # The ledger's, if it is not the store's.
        self._clock: Callable[[], float] | None = None

    def slots(self, limit: Limit, *, early_return: bool) -> Slots:
        """Return the slots of a limit."""
        return self.tenant.add(limit, early_return=early_return)

    @property
    def is_of_this_process(self) -> bool:
        """Whether this is not the child of a fork, where the tenant is the parent's."""
        return self._forks == fork_count()

    def used(self, *, used: bool) -> None:
        """Sessions are open, or none is any more: then everything is given back."""
        self.tenant.closed = not used
        self.tenant.sleep_after = SLEEPY if used else -inf
        if not used and not self.tenant.asleep:
            self._leave()

    def _leave(self) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError

    def _hold_thread(self) -> StoreThread[Store]:
        if self._thread is None:
            self._thread = STORES.acquire(*self._budget)
        return self._thread

    def _release_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread:
            STORES.release(*self._budget, thread)

    def _serve(
        self, report: Report, in_time: Callable[[], bool], store: Store
    ) -> Reply | None:
        budget = budget_store(store, self._budget.key, self._clock)
        return budget.serve(report, in_time)

    def _finish(
        self, report: Report, now: float, reply: Reply | None, error: Exception | None
    ) -> None:
        if reply:
            self.tenant.answered(report, reply, now)
            return
        if error and not isinstance(error, StoreError):
            log.error("shared budget: a beat has crashed", exc_info=error)
        self.tenant.failed(report, now, str(error or "a newer report was served"))


_beating: "WeakSet[ThreadBeats]" = WeakSet()


class ThreadBeats(Beats):
    """Beats in the thread of the store, on the monotonic clock."""

    def __init__(self, budget: SharedBudget) -> None:
        super().__init__(budget)
        self._lock = RLock()
        # Only the latest one of those that wait for the next beat goes on.
        self._turn = 0
        _beating.add(self)

    def _wake(self) -> None:
        if not self.is_of_this_process:
            return
        with self._lock:
            due = self.tenant.due()
            # During a beat, its end looks again.
            if due < inf:
                self._turn += 1
                turn = partial(self._run, self._turn)
                self._hold_thread().repeat(turn, max(0.0, due - time.monotonic()))

    def _leave(self) -> None:
        # The next beat is the last one.
        self.tenant.want_beat()

    def leave(self) -> None:
        """The interpreter ends: give everything back, as far as that is quick."""
        self.used(used=False)
        until = time.monotonic() + AT_EXIT
        while not self.tenant.has_left and time.monotonic() < until:
            time.sleep(AT_EXIT / 100)

    def _run(self, turn: int, store: Store) -> float | None:
        """Beat, if that is due. Return the seconds until the next beat."""
        if turn != self._turn:
            return None
        if self.tenant.due() <= time.monotonic():
            self._beat(store)
        with self._lock:
            due = self.tenant.due()
            if due < inf:
                return max(0.0, due - time.monotonic())
            if turn == self._turn:
                self._release_thread()
            return None

    def _beat(self, store: Store) -> None:
        now = time.monotonic()
        report = self.tenant.begin(now)
        until = inf if report.lease_left is None else now + report.lease_left
        reply, problem = None, None
        try:
            reply = self._serve(report, lambda: time.monotonic() < until, store)
        except Exception as error:  # noqa: BLE001 (the fallback is for all of them)
            problem = error
        self._finish(report, time.monotonic(), reply, problem)


@atexit.register
def _leave_at_exit() -> None:
    for beats in list(_beating):
        if not beats.tenant.has_left and beats.is_of_this_process:
            beats.leave()


def _always() -> bool:
    return True


class LoopBeats(Beats):
    """Beats that a loop in virtual time drives. Its store is real."""

    def __init__(self, budget: SharedBudget, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(budget)
        self._loop, self._clock = loop, loop.time
        self._timer: asyncio.TimerHandle | None = None

    def _wake(self) -> None:
        due = self.tenant.due()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if due < inf and not self._loop.is_closed():
            self._timer = self._loop.call_at(due, self._run)

    def used(self, *, used: bool) -> None:
        """Sessions are open, or none is any more: then everything is given back."""
        super().used(used=used)
        if used:
            self._wake()

    def _leave(self) -> None:
        # The loop may end now, so that the thread must be released at once. It does the
        # last beat first, unless another one is under way.
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._thread and self.tenant.due() < inf:
            report = self.tenant.begin(self._loop.time())
            self._thread.submit(self._serve, report, _always, self._thread.store)
            self.tenant.failed(report, self._loop.time(), "nobody waits for the answer")
        self._release_thread()

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        report = self.tenant.begin(now)
        until = inf if report.lease_left is None else now + report.lease_left
        thread = self._hold_thread()
        in_time = partial(self._is_before, until)
        job = self._loop.run_in_executor(
            thread, self._serve, report, in_time, thread.store
        )
        job.add_done_callback(partial(self._served, report))

    def _is_before(self, until: float) -> bool:
        return self._loop.time() < until

    def _served(self, report: Report, job: asyncio.Future[Reply | None]) -> None:
        if job.cancelled():
            return
        error = job.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        reply = None if error else job.result()
        self._finish(report, self._loop.time(), reply, error)
        if self.tenant.closed or self.tenant.due() == inf:
            self._release_thread()
        else:
            self._wake()
