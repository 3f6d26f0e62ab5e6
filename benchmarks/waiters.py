"""Measures what one event costs the waiters of a session, by their number.

    python benchmarks/waiters.py [--waiters 1000 20000] [--rounds 5]

An event is a webhook that resolves a waiter, a caller that joins, a caller that leaves,
or an end that is known. Each is measured as CPU time of the thread, with so many others
waiting, in the same process. Nothing is sent meanwhile. Each figure is the least of all
rounds. The exit code is 1 if an event costs more than 1.3 times as much with the most
waiters as with the fewest.
"""

import argparse
import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

from msgspec import convert

from edgegap_async import DeploymentStatus, EdgegapSession
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop
from edgegap_async.webhooks import WebhookEvent

WAITERS = (1000, 20_000)
GOAL = 1.3
# Events per round.
EVENTS = 500


class Crowd:
    """A session with so many waiters, on a server that never answers polls."""

    def __init__(self, edgegap: EdgegapSession, many: int) -> None:
        self.edgegap = edgegap
        self.watcher = edgegap._deploys.watcher
        self.records = edgegap._deploys.records
        self.waits = [self.join(f"{number:012x}") for number in range(many)]
        self._count = many

    def join(self, request_id: str) -> asyncio.Task[object]:
        wait = self.edgegap.deployments.wait_until_ready(request_id, timeout=None)
        return asyncio.create_task(wait)

    def new_ids(self) -> list[str]:
        self._count += EVENTS
        return [f"{self._count + number:012x}" for number in range(EVENTS)]


def event(request_id: str) -> WebhookEvent:
    """A webhook that says READY."""
    body = {
        "request_id": request_id,
        "current_status": "Status.READY",
        "fqdn": "a.example.net",
        "ports": {"web": {"external": 31000}},
    }
    return WebhookEvent("ready", "nonce", request_id, convert(body, DeploymentStatus))


async def webhooks(crowd: Crowd) -> float:
    ids = crowd.new_ids()
    waits = [crowd.join(request_id) for request_id in ids]
    await asyncio.sleep(0)
    events = [event(request_id) for request_id in ids]
    for request_id in ids:
        crowd.records.of(request_id).nonce = "nonce"

    async def act() -> None:
        for each in events:
            crowd.edgegap.deployments.notify(each)
            await asyncio.sleep(0)
        await asyncio.wait(waits)

    return await cost(act())


async def joins(crowd: Crowd) -> float:
    waits: list[asyncio.Task[object]] = []

    async def act() -> None:
        for request_id in crowd.new_ids():
            waits.append(crowd.join(request_id))
            await asyncio.sleep(0)

    seconds = await cost(act())
    await end(waits)
    return seconds


async def leaves(crowd: Crowd) -> float:
    waits = [crowd.join(request_id) for request_id in crowd.new_ids()]
    await asyncio.sleep(0)

    async def act() -> None:
        for wait in waits:
            wait.cancel()
            await asyncio.sleep(0)
        await asyncio.wait(waits)

    return await cost(act())


async def all_in_one_turn(crowd: Crowd) -> float:
    """Join and leave, all in one turn of the loop."""

    async def act() -> None:
        waits = [crowd.join(request_id) for request_id in crowd.new_ids()]
        await asyncio.sleep(0)
        await end(waits)

    return await cost(act())


async def ends(crowd: Crowd) -> float:
    ids = crowd.new_ids()
    waits = [
        asyncio.create_task(
            crowd.edgegap.deployments.wait_until_stopped(request_id, timeout=None)
        )
        for request_id in ids
    ]
    await asyncio.sleep(0)

    async def act() -> None:
        for request_id in ids:
            crowd.watcher.ends.learn(request_id)
            await asyncio.sleep(0)

    seconds = await cost(act())
    await end(waits)
    return seconds


async def end(waits: list[asyncio.Task[object]]) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)


async def cost(acting: Coroutine[Any, Any, None]) -> float:
    """CPU seconds per event."""
    gc.collect()
    gc.disable()
    began = time.thread_time()
    await acting
    seconds = (time.thread_time() - began) / EVENTS
    gc.enable()
    return seconds


KINDS: dict[str, Callable[[Crowd], Coroutine[Any, Any, float]]] = {
    "a webhook": webhooks,
    "a caller joins": joins,
    "a caller leaves": leaves,
    "joins and leaves, 500 in one turn": all_in_one_turn,
    "a stop that others wait for": ends,
}


async def measure(many: int, rounds: int) -> dict[str, float]:
    """The least cost of each kind of event, in seconds."""
    hanging = [Fault(call, "hang-before") for call in ("status", "list")]
    async with (
        Simulator(faults=hanging) as sim,
        EdgegapSession("token", base_url=sim.url, cleanup_timeout=0) as edgegap,
    ):
        crowd = Crowd(edgegap, many)
        # Now all polls that may be under way at a time hang.
        await asyncio.sleep(3)
        least = dict.fromkeys(KINDS, inf)
        for _ in range(rounds):
            for name, kind in KINDS.items():
                least[name] = min(least[name], await kind(crowd))
        await end(crowd.waits)
    return least


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waiters", type=int, nargs="+", default=WAITERS)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        costs = [
            runner.run(measure(many, given.rounds)) for many in sorted(given.waiters)
        ]
    counts = " | ".join(f"{many:,} others" for many in sorted(given.waiters))
    print(f"| event | {counts} | ratio | goal |\n|{'---|' * (len(costs) + 3)}")
    good = True
    for name in KINDS:
        ratio = costs[-1][name] / costs[0][name]
        good = good and ratio <= GOAL
        cells = " | ".join(f"{each[name] * 1e6:.0f} µs" for each in costs)
        print(
            f"| {name} | {cells} | {ratio:.2f} | {GOAL:g}{' FAILED' * (ratio > GOAL)} |"
        )
    sys.exit(not good)


if __name__ == "__main__":
    main()
