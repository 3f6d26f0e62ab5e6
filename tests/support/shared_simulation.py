"""Several processes under one budget in virtual time: their limiters, their callers, a
store in memory, and a server that counts. Tests and `benchmarks/shared.py` use it.

The parts are the real ones, but for the sockets: `Limiter`, `LeasedSlots`, `Tenant` and
the ledger.
"""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.queue import Priority
from edgegap_async._shared.beat import Commit, Seen, respond
from edgegap_async._shared.messages import Reply, Report
from edgegap_async._shared.tenant import Tenant
from edgegap_async.endpoints import Limit
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

from .memory_budget import MemoryBudget

T = TypeVar("T")
LEASE, ROUND_TRIP = 5.0, 1.0
# Seconds: the wait of a caller after a 429.
AFTER_REFUSAL = 0.3


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """Counts requests. It may admit fewer than the documented limit, in any second.

    Args:
        way: the longest time of a request, and of an answer, on its way.
        admits: requests in any second. Others get a 429. None: all.
        retry_after: seconds that a 429 asks for.
    """

    def __init__(
        self,
        way: float = 0.05,
        admits: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.way, self.admits, self.retry_after = way, admits, retry_after
        self.arrivals: list[tuple[float, int]] = []
        self.admitted: list[float] = []
        self.refused: list[float] = []

    async def request(self, process: int) -> bool:
        """Return whether it was admitted."""
        await asyncio.sleep(random.uniform(0, self.way))
        at = now()
        self.arrivals.append((at, process))
        recent = len(self.admitted) - bisect_left(self.admitted, at - 1)
        admitted = self.admits is None or recent < self.admits
        (self.admitted if admitted else self.refused).append(at)
        await asyncio.sleep(random.uniform(0, self.way))
        return admitted


class Store(MemoryBudget):
    """The store. Times are those of the loop.

    Attributes:
        gone_until: no answer until then.
        operations: round trips so far.
        silent: the longest time that a process had no answer, while the store was there.
    """

    gone_until = -inf

    async def serve(self, report: Report, way: float, stop_at: float) -> Reply | None:
        """One beat of a process that is `way` seconds away."""
        seen: Seen | None = await self._call(way, report)
        while True:
            assert seen is not None
            answer = respond(seen, report)
            if not isinstance(answer, Commit):
                return answer
            if now() >= stop_at:
                raise TimeoutError
            seen = await self._call(way, answer)
            if seen is None:
                return answer.reply

    async def _call(self, way: float, sent: Report | Commit) -> Seen | None:
        await asyncio.sleep(way)
        if now() < self.gone_until:
            await asyncio.sleep(ROUND_TRIP - way)
            raise TimeoutError
        self.clock = 1_790_000_000.0 + now()
        found = self.post(sent) if isinstance(sent, Report) else self.commit(sent)
        await asyncio.sleep(way)
        return found


class Process:
    """One process: a limiter over the tokens it owns.

    Args:
        number: counts the processes.
        rate: of the limit.
        way: seconds to the store, one way.
    """

    def __init__(
        self, number: int, server: Server, store: Store, rate: float, way: float
    ) -> None:
        self.number, self.server, self.store, self.way = number, server, store, way
        self.tenant = Tenant(lease=LEASE, fallback=None, wake=self._wake)
        self.tenant.id = f"process-{number:03}"
        limit = Limit("deploy", rate)
        self.limiter = Limiter(self.tenant.add(limit, early_return=True))
        self.waits: list[float] = []
        self.beats: list[float] = []
        self.silence = 0.0
        # The callers of now stop after their call.
        self.ends = asyncio.Event()
        self.waiting: set[asyncio.Task[Any] | None] = set()
        self._woken = asyncio.Event()

    def _wake(self) -> None:
        self._woken.set()

    async def drive(self) -> None:
        """Beat whenever that is due."""
        while True:
            self._woken.clear()
            wait = self.tenant.due() - now()
            if wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._woken.wait(), None if wait == inf else wait
                    )
                continue
            await self.beat()

    async def beat(self) -> None:
        stop_at = self.tenant.lease.stop_at
        report = self.tenant.begin(now())
        until = inf if report.lease_left is None else stop_at
        try:
            reply = await self.store.serve(report, self.way, until)
        except TimeoutError:
            self.tenant.failed(report, now(), "no answer")
            return
        if reply is None:
            self.tenant.failed(report, now(), "overtaken")
            return
        self.tenant.answered(report, reply, now())
        if self.beats:
            self.silence = max(self.silence, now() - self.beats[-1])
        self.beats = [*self.beats[-1:], now()] if len(self.beats) > 9999 else self.beats
        self.beats.append(now())

    async def call(self, priority: Priority = "foreground") -> None:
        """One request."""
        limiter, began = self.limiter, now()
        sent = await limiter.try_acquire() if priority == "foreground" else None
        if sent is None:
            self.waiting.add(asyncio.current_task())
            await limiter.acquire(limiter.ticket(), priority)
            self.waiting.discard(asyncio.current_task())
            sent = now()
        self.waits.append(sent - began)
        answered = False
        try:
            admitted = await self.server.request(self.number)
            answered = True
            again = None if admitted else self.server.retry_after
            limiter.answered(sent, refused=not admitted, retry_after=again)
        finally:
            if not answered:
                limiter.given_up(sent)
        if not admitted:
            await asyncio.sleep(AFTER_REFUSAL)

    async def caller(
        self, think: float = 0.0, priority: Priority = "foreground"
    ) -> None:
        await asyncio.sleep(random.uniform(0, think))
        ends = self.ends
        while not ends.is_set():
            await self.call(priority)
            if think:
                await asyncio.sleep(think)


class Simulation:
    """Processes, and the tasks that run for them."""

    def __init__(
        self,
        processes: int,
        *,
        rate: float = 40,
        way: float | Iterable[float] = 0.0005,
        server: Server | None = None,
    ) -> None:
        self.rate = rate
        self.server, self.store = server or Server(), Store()
        ways = [way] * processes if isinstance(way, float) else list(way)
        self.processes = [
            Process(number, self.server, self.store, rate, each)
            for number, each in enumerate(ways)
        ]
        self.start = now()
        # The latest callers of each process.
        self.callers: dict[int, list[asyncio.Task[None]]] = {}
        self._tasks = [asyncio.ensure_future(each.drive()) for each in self.processes]

    async def __aenter__(self) -> "Simulation":
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def busy(
        self,
        number: int,
        callers: int = 60,
        think: float = 0.0,
        priority: Priority = "foreground",
    ) -> None:
        """Let a process have so many callers."""
        process = self.processes[number]
        new = [
            asyncio.ensure_future(process.caller(think, priority))
            for _ in range(callers)
        ]
        self._tasks += new
        self.callers[number] = new

    def stop(self, number: int) -> None:
        """Let a process have no callers any more, but for the requests on their way."""
        process = self.processes[number]
        process.ends.set()
        process.ends = asyncio.Event()
        for task in process.waiting:
            assert task
            task.cancel()
        process.waiting = set()

    async def run(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # What the server has seen

    def times(self, since: float = 0.0, until: float = inf) -> list[float]:
        first, last = self.start + since, self.start + until
        return [at for at, _ in self.server.arrivals if first <= at < last]

    def busiest(self, since: float = 0.0) -> int:
        """Return the most requests that arrived in a second."""
        times = sorted(self.times(since))
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def share(self, since: float, until: float) -> float:
        """Return the part of the limit that was used."""
        return len(self.times(since, until)) / (until - since) / self.rate

    def served(self, since: float, until: float) -> list[int]:
        """Return how many requests of each process arrived."""
        counts = [0] * len(self.processes)
        for at, number in self.server.arrivals:
            if since <= at - self.start < until:
                counts[number] += 1
        return counts

    def least_served(self, since: float, until: float) -> float:
        """Return the part of its fair share that the least served process got."""
        counts = self.served(since, until)
        return min(counts) / (sum(counts) / len(counts))
