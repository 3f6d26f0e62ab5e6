"""The callers of deploy_storm.py: what they do, and when a share of them is cancelled."""

import asyncio
import random
from collections import Counter
from contextvars import ContextVar
from itertools import count

import aiohttp
from storm_clients import TIMEOUT, Client
from storm_columns import Column
from storm_figures import GaveUp, Record

from edgegap_async import EdgegapError
from edgegap_async.simulator import Simulator

# Per second, where callers come one after the other.
ARRIVALS = 30.0
# The longest match, in seconds.
LONGEST_MATCH = 10.0
# In seconds: how long the consumer of a stream stands still at first.
STANDS_STILL = 60
# In seconds after a request was sent: about when its answer arrives, and while a search
# for its server may be under way.
UNDER_WAY, SEARCHED_FOR = (0.0, 0.06), (0.1, 8.0)

CALLER: ContextVar[int] = ContextVar("CALLER")


class Callers:
    """All callers of a run, one task for each; a stream has one consumer for all.

    Half of the cancelled callers are cancelled at any moment, spread over the whole
    run. The others are cancelled while their request is under way, or while the client
    finds out what became of it.
    """

    def __init__(
        self,
        column: Column,
        sim: Simulator,
        record: Record,
        cancelled: float,
        seed: int,
    ) -> None:
        self._column, self._sim, self._record = column, sim, record
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled, self._random, self._ended = (
            cancelled,
            random.Random(seed),
            count(),
        )
        # How many callers to cancel when so many have ended.
        self._moments = Counter(
            self._random.randrange(record.callers)
            for _ in range(int(cancelled / 2 * record.callers))
        )

    def start(self, client: Client) -> None:
        """Start all callers at once."""
        if self._column.work == "stream":
            self._tasks = [asyncio.create_task(self._consume(client))]
            return
        self._tasks = [
            asyncio.create_task(self._call(client, caller))
            for caller in range(self._record.callers)
        ]
        for task in self._tasks:
            task.add_done_callback(self._one_has_ended)

    async def wait(self, seconds: float) -> None:
        """Wait until all callers have ended, at most so many seconds."""
        await asyncio.wait(self._tasks, timeout=seconds)

    def end(self) -> None:
        """Record the errors, and the calls that still hang."""
        served = {caller for caller, _ in self._record.handed_out}
        for caller, task in enumerate(self._tasks):
            if not task.done():
                self._record.hung += 1
                task.cancel()
            elif task.cancelled():
                # A caller that was served may be cancelled later.
                if caller not in served:
                    self._record.errors.append(asyncio.CancelledError())
            elif error := task.exception():
                self._record.errors.append(error)

    async def request_sent(
        self, _: object, __: object, params: aiohttp.TraceRequestStartParams
    ) -> None:
        """Cancel a share of the callers soon after their deploy was sent.

        aiohttp calls this. The SDK sends in the context of the caller.
        """
        drawn, caller = self._random.random(), CALLER.get(None)
        if caller is None or params.method != "POST":
            return
        if drawn < self._cancelled / 2:
            self._cancel_soon(self._tasks[caller], *UNDER_WAY)
        elif drawn < 1.5 * self._cancelled:
            self._cancel_soon(self._tasks[caller], *SEARCHED_FOR)

    def _one_has_ended(self, _: object) -> None:
        for _ in range(self._moments[next(self._ended)]):
            if waiting := [task for task in self._tasks if not task.done()]:
                self._cancel_soon(self._random.choice(waiting), 0.0, 0.2)

    def _cancel_soon(self, task: asyncio.Task[None], least: float, most: float) -> None:
        seconds = self._random.uniform(least, most)
        asyncio.get_running_loop().call_later(seconds, task.cancel)

    async def _call(self, client: Client, caller: int) -> None:
        CALLER.set(caller)
        if self._column.work == "deploy":
            self._record.hand_out(caller, await self._deploy(client, caller))
            return
        async with client.match(caller) as request_id:
            self._record.hand_out(caller, request_id)
            try:
                await asyncio.sleep(self._random.uniform(0, LONGEST_MATCH))
            finally:
                self._record.release(request_id, self._sim)

    async def _deploy(self, client: Client, caller: int) -> str:
        """Deploy. Of the callers that give up, one half passes a timeout to the client,
        the other half has a timeout around the call.
        """
        give_up = self._column.give_up
        if give_up is None:
            return await client.deploy(caller, TIMEOUT)
        await asyncio.sleep(caller / ARRIVALS)
        if caller % 2:
            return await client.deploy(caller, give_up)
        try:
            async with asyncio.timeout(give_up):
                return await client.deploy(caller, TIMEOUT)
        except EdgegapError:
            raise
        except TimeoutError:
            raise GaveUp from None

    async def _consume(self, client: Client) -> None:
        record, sim = self._record, self._sim
        async with client.stream(range(record.callers)) as outcomes:
            for _ in range(STANDS_STILL):
                await asyncio.sleep(1)
                untaken = len(sim.deployed()) - len(record.handed_out)
                record.most_untaken = max(record.most_untaken, untaken)
            async for caller, outcome in outcomes:
                if isinstance(outcome, str):
                    record.hand_out(caller, outcome)
                else:
                    record.errors.append(outcome)
