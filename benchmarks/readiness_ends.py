"""Waits for an end, for `readiness.py`: how late each end is known, and what it costs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

from readiness_table import LIMITS, percentile

from edgegap_async import (
    BulkStopFilter,
    DeployRequest,
    EdgegapSession,
    Limits,
    ReadyDeployment,
)
from edgegap_async.endpoints import DEPLOY_LIMIT, LIST_LIMIT, STATUS_LIMIT
from edgegap_async.simulator import Fault, Simulator

# Seconds in each direction.
WAY = (0.005, 0.03)
WAITERS = 1000
# Servers that end one after the other, and the seconds between two of them.
ENDS, BETWEEN = 60, 5.0
# Seconds after which all of them are known, if all end at once.
ALL_AT_ONCE = 10.0
# Requests per second that the waits may cost.
MOST_REQUESTS = 6.0
# Servers that `max_running` allows, and the requests in so many seconds that a deploy
# which waits for one of them to end may cost.
HELD, HELD_SECONDS, HELD_REQUESTS = 500, 120.0, 60
# Seconds until the servers are older than an answer that says "not found" in vain.
OLD = 40.0
IDS_PER_BULK_STOP = 500
HEAD = "p50 | p95 | max | goal | requests per second | at most | status | list | busiest second | refused"


@dataclass(frozen=True)
class Ends:
    """One row: how the servers end, and the goals."""

    name: str
    faults: Sequence[Fault] = ()
    neighbours: int = 0
    at_once: bool = False
    # Whether the callers watch servers that they use, by `wait_ended`.
    in_use: bool = False
    goal: float = inf


ROWS = (
    Ends("one every 5 s", goal=1.0),
    Ends(
        "one every 5 s, lists without total_count",
        (Fault("list", "total-missing"),),
        goal=3.0,
    ),
    Ends("one every 5 s, wait_ended", in_use=True, goal=2.5),
    Ends("all at once", at_once=True, goal=ALL_AT_ONCE),
    Ends("all at once, others run on", neighbours=50, at_once=True, goal=ALL_AT_ONCE),
)


@asynccontextmanager
async def servers(
    many: int, row: Ends, seed: int
) -> AsyncIterator[tuple[Simulator, EdgegapSession, list[str]]]:
    """Yield so many running servers that are not young any more."""
    async with (
        Simulator(
            seed=seed,
            ready_after=(0.0, 0.0),
            stop_takes=0.0,
            rates={"deploy": None},
            delay_before=WAY,
            delay_after=WAY,
            neighbours=row.neighbours,
        ) as sim,
        EdgegapSession(
            "token", base_url=sim.url, limits=Limits(deploy=None), deploy_once=False
        ) as edgegap,
    ):
        deploys = [
            edgegap.deployments.deploy("app", "1", users=["203.0.113.7"], timeout=None)
            for _ in range(many)
        ]
        ids = [each.request_id for each in await asyncio.gather(*deploys)]
        await asyncio.sleep(OLD)
        sim.faults = row.faults
        yield sim, edgegap, ids


async def measure(row: Ends, seed: int) -> tuple[str, bool]:
    """Return the cells of a row, and whether its goals are reached."""
    loop = asyncio.get_running_loop()
    async with servers(WAITERS, row, seed) as (sim, edgegap, ids):
        known: dict[str, float] = {}

        async def wait(request_id: str) -> None:
            if row.in_use:
                async with edgegap.deployments.adopt(request_id) as server:
                    await server.wait_ended()
            else:
                await edgegap.deployments.wait_until_stopped(request_id, timeout=None)
            known[request_id] = loop.time()

        waits = [asyncio.create_task(wait(request_id)) for request_id in ids]
        await asyncio.sleep(10)
        before = {name: sim.arrivals(name) for name in ("status", "list")}
        began, ended = loop.time(), dict[str, float]()
        async with EdgegapSession("others", base_url=sim.url) as others:
            if row.at_once:
                for start in range(0, len(ids), IDS_PER_BULK_STOP):
                    some = ids[start : start + IDS_PER_BULK_STOP]
                    await others.deployments.bulk_stop(
                        BulkStopFilter("request_id", some)
                    )
                ended = dict.fromkeys(ids, loop.time())
                await asyncio.wait(waits)
            else:
                for request_id in ids[:ENDS]:
                    await others.deployments.stop(request_id)
                    ended[request_id] = loop.time()
                    await asyncio.sleep(BETWEEN)
        took = loop.time() - began
        cost = {name: sim.arrivals(name) - before[name] for name in before}
        for wait_task in waits:
            wait_task.cancel()
        await asyncio.wait(waits)
        late = [known[request_id] - ended[request_id] for request_id in ended]
        rate = sum(cost.values()) / took
        busiest = [sim.busiest_second("status"), sim.busiest_second("list")]
        refused = sum(sim.refused(limit.name) for limit in LIMITS)
        most = inf if row.at_once else MOST_REQUESTS
        held = _held(busiest, refused)
        p95 = percentile(late, 0.95)
        good = held and p95 <= row.goal and rate <= most
        cells = (
            f"{percentile(late, 0.5):.2f} | {p95:.2f} | {max(late):.2f} | "
            f"{row.goal:g}{' FAILED' * (not good)} | {rate:.1f} | "
            f"{'' if row.at_once else f'{most:g}'} | {cost['status']} | {cost['list']} | "
            f"{busiest[0]} status, {busiest[1]} list | {refused}"
        )
        return cells, good


def _held(busiest: Sequence[int], refused: int) -> bool:
    rates = (STATUS_LIMIT.rate or inf, LIST_LIMIT.rate or inf)
    return not refused and all(
        most <= rate for most, rate in zip(busiest, rates, strict=True)
    )


async def capacity(seed: int) -> tuple[int, bool]:
    """Hold 500 servers under `max_running` while one request waits.

    Returns:
        The requests that it costs in two minutes, and whether that is few enough.
    """
    async with servers(0, Ends(""), seed) as (sim, edgegap, _):
        requests = (
            DeployRequest("app", "1", users=["203.0.113.7"]) for _ in range(HELD + 1)
        )
        many = edgegap.deployments.deploy_many(requests, max_running=HELD)
        async with many as outcomes:
            for _ in range(HELD):
                assert isinstance((await anext(outcomes)).deployment, ReadyDeployment)
            last = asyncio.ensure_future(anext(outcomes))
            await asyncio.sleep(OLD)
            before = sim.arrivals("status") + sim.arrivals("list")
            await asyncio.sleep(HELD_SECONDS)
            cost = sim.arrivals("status") + sim.arrivals("list") - before
            assert not last.done()
            last.cancel()
            await asyncio.wait([last])
            outcomes.withdraw()
    return cost, cost <= HELD_REQUESTS


def ending(seeds: list[int], runner: asyncio.Runner) -> bool:
    """Print the table of ends. Return whether all goals are reached."""
    print(f"\n| {WAITERS:,} wait for an end: | {HEAD} |\n|{'---|' * 11}")
    good = True
    for row in ROWS:
        for seed in seeds:
            cells, reached = runner.run(measure(row, seed))
            print(f"| {row.name} | {cells} |", flush=True)
            good = good and reached
    cost, reached = runner.run(capacity(seeds[0]))
    print(
        f"\n{HELD} servers under max_running, one request waits: {cost} requests in "
        f"{HELD_SECONDS:g} s (at most {HELD_REQUESTS}){'' if reached else ' FAILED'}; "
        f"{DEPLOY_LIMIT.name} limit off"
    )
    return good and reached
