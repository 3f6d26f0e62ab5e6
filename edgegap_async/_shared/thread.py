"""Runs all work with one store, in a thread of its own.

The clients are synchronous, so a caller that is cancelled never breaks a connection off,
and a blocked event loop holds no work up that is due. One job runs at a time, in the
order in which they came. Each has time-outs of its own.
"""

import heapq
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from itertools import count
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from .store import ROUND_TRIP, StoreError

log: logging.Logger = logging.getLogger("edgegap_async")
S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")
# Works with a store, in the thread.
Job: TypeAlias = Callable[[S], T]
# Done again and again. Returns the seconds until the next time; None: never again.
Repeated: TypeAlias = Callable[[S], float | None]
# Seconds until a repeated job that has crashed is done again.
AFTER_CRASH = 5.0
# Seconds that closing waits for the job in progress.
CLOSE_TIMEOUT = 2 * ROUND_TRIP


class Repetition(Generic[S]):
    """A job that is done again and again.

    Attributes:
        job: None: not any more.
    """

    __slots__ = ("job",)

    def __init__(self, job: Repeated[S]) -> None:
        self.job: Repeated[S] | None = job

    def cancel(self) -> None:
        """Do it no more. For any thread. A job that is being done is done to its end."""
        self.job = None


class StoreThread(Executor, Generic[S]):
    """A thread and its store. The thread starts with the first job.

    It is an executor, as a loop in virtual time waits for the jobs of executors.

    Args:
        store: to be used in the thread only.
        close: closes the store.
    """

    def __init__(self, store: S, close: Job[S, object]) -> None:
        self.store, self._close = store, close
        # None: close the store, and end.
        self._calls: queue.SimpleQueue[
            tuple[Future[Any], Callable[[], object]] | None
        ] = queue.SimpleQueue()
        # When repeated jobs are due, on the monotonic clock.
        self._repeated: list[tuple[float, int, Repetition[S]]] = []
        self._numbers = count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call a function in the thread, as soon as those before it are done. For any
        thread.

        Raises:
            StoreError: the thread is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreError("shared store: it is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="edgegap store", daemon=True
                )
                self._thread.start()
            self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def repeat(self, job: Repeated[S], delay: float) -> Repetition[S]:
        """Do a job in `delay` seconds, and as often as it says then."""
        repetition = Repetition(job)
        self.submit(self._push, repetition, delay)
        return repetition

    def _push(self, repetition: Repetition[S], delay: float) -> None:
        due = time.monotonic() + delay
        heapq.heappush(self._repeated, (due, next(self._numbers), repetition))

    def _run(self) -> None:
        while True:
            self._do_due()
            timeout = None
            if self._repeated:
                timeout = max(self._repeated[0][0] - time.monotonic(), 0.0)
            try:
                item = self._calls.get(timeout=timeout)
            except queue.Empty:
                continue
            if item is None:
                self._close(self.store)
                return
            _answer(*item)
            # It would hold the last call until the next one comes.
            del item

    def _do_due(self) -> None:
        while self._repeated and self._repeated[0][0] <= time.monotonic():
            repetition = heapq.heappop(self._repeated)[2]
            job = repetition.job
            if job is None:
                continue
            try:
                delay = job(self.store)
            except Exception:
                log.exception("shared store: a repeated job has crashed")
                delay = AFTER_CRASH
            if delay is not None:
                self._push(repetition, delay)

    def close(self) -> None:
        """Close the store once all jobs so far are done. For any thread. Nobody has to
        wait for it.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._thread is None:
                    self._close(self.store)
                else:
                    self._calls.put(None)

    def join(self) -> None:
        """Wait until the thread has ended, after `close`, at most `CLOSE_TIMEOUT`."""
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)


def _answer(future: Future[Any], call: Callable[[], object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 (whoever waits for it gets it)
        future.set_exception(error)
