"""How late those who wait for servers learn that they are ready, and what it costs.

    python benchmarks/readiness.py [--waiters 1 5 100 1000 5000] [--seed 1] [--chart benchmarks/results/readiness.svg]

Against the simulator, in virtual time: all are deployed beforehand and all wait at once, then they become ready over 2
to 8 seconds, alone and with 20,000 servers of others in the organization. Printed are the seconds from ready to known,
and the requests for each server; for one poll per waiter (what anybody would write, through the same buckets), for the
watcher, and for the watcher with webhooks of which a tenth is lost. Then 1,000 servers from nothing, deployed at the
documented rate. Exits with 1 where a goal is missed, a limit is passed or anything is refused.
"""

import argparse
import asyncio
import logging
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from edgegap_async import DeploymentState, EdgegapSession, Limits
from edgegap_async.endpoints import DEPLOY_LIMIT, LIST_LIMIT, STATUS_LIMIT
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

WAITERS = (1, 5, 100, 1000, 5000)
GOALS = {1: 0.3, 5: 0.3, 100: 0.3, 1000: 0.7, 5000: 2.5}  # seconds, p95, filters obeyed
GOAL_WITH_WEBHOOKS = 0.2  # of those that were not lost
OTHERS = 20_000
WAY = (0.005, 0.03)  # seconds in each direction
BECOME_READY = (2.0, 8.0)  # seconds after all have begun to wait
DEPLOYING = 10.0  # seconds before, in which all are deployed
POLL_PAUSE = 1.0  # seconds between two polls of one waiter
LOST = 0.1  # of the webhooks
RAMP = 1000  # servers from nothing
RAMP_READY = (2.0, 5.0)  # seconds from the deploy
RAMP_GOAL = 0.5  # seconds, p95
LIMITS = (DEPLOY_LIMIT, STATUS_LIMIT, LIST_LIMIT)
How = Literal["a poll each", "watcher", "watcher and webhooks"]
HOWS: tuple[How, ...] = ("a poll each", "watcher", "watcher and webhooks")


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    how: How
    waiters: int
    others: int = 0
    ignored: bool = False  # filters of lists are

    @property
    def goal(self) -> float:
        """The p95 that is asked for, in seconds."""
        if self.ignored or self.how == "a poll each" or self.waiters not in GOALS:
            return inf
        return GOAL_WITH_WEBHOOKS if self.how == "watcher and webhooks" else GOALS[self.waiters]


@dataclass(frozen=True)
class Result:
    """What was measured: delays in seconds, in order."""

    delays: list[float]
    requests: float  # for each server
    lost: int  # webhooks
    held: bool  # no limit was passed, nothing was refused

    def percentile(self, share: float) -> float:
        """The delay that this share does not exceed."""
        return self.delays[max(0, ceil(share * len(self.delays)) - 1)]


async def poll(edgegap: EdgegapSession, request_id: str) -> None:
    """What anybody would write."""
    while True:
        status = await edgegap.deployments.status(request_id, timeout=None)
        if status.state is DeploymentState.READY:
            return
        await asyncio.sleep(POLL_PAUSE)


async def watch(edgegap: EdgegapSession, request_id: str) -> None:
    """What the SDK has for it."""
    await edgegap.deployments.wait_until_ready(request_id, timeout=None)


async def measure(run: Run, seed: int) -> Result:
    """All deployed, all waiting, and when each was known."""
    loop, chance = asyncio.get_running_loop(), random.Random(seed)
    begin = loop.time() + DEPLOYING
    faults = [Fault("list", "filters-ignored")] if run.ignored else []
    sim = Simulator(
        seed=seed,
        ready_after=lambda: begin + chance.uniform(*BECOME_READY) - loop.time(),
        rates={"deploy": None},
        delay_before=WAY,
        delay_after=WAY,
        faults=faults,
        others=run.others,
    )
    known: dict[str, float] = {}
    lost: set[str] = set()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sim)
        edgegap = await stack.enter_async_context(EdgegapSession("t", base_url=sim.url, limits=Limits(deploy=None)))
        accepted = await asyncio.gather(*(start(edgegap) for _ in range(run.waiters)))
        await asyncio.sleep(begin - loop.time())
        before = asked(sim)

        async def wait(request_id: str) -> None:
            await (poll if run.how == "a poll each" else watch)(edgegap, request_id)
            known[request_id] = loop.time()

        await asyncio.gather(*map(wait, accepted))
        delays = [known[it] - (sim.settled_at(it) or inf) for it in accepted if it not in lost]
        held = all(sim.busiest_second(it.name) <= (it.rate or inf) for it in LIMITS[1:])
        held = held and not any(sim.refused(it.name) for it in LIMITS)
        return Result(sorted(delays), (asked(sim) - before) / run.waiters, len(lost), held)


async def start(edgegap: EdgegapSession) -> str:
    """A deployment."""
    accepted = await edgegap.deployments.deploy("app", "1", users=["203.0.113.7"], timeout=None)
    return accepted.request_id


def asked(sim: Simulator) -> int:
    """How many requests ask for deployments."""
    return sim.arrivals("status") + sim.arrivals("list")


async def ramp(seed: int) -> tuple[Result, float, float]:
    """From nothing at the documented rate: the delays, how long it took, and how long it may take."""
    loop, longest = asyncio.get_running_loop(), 0.0
    sim = Simulator(seed=seed, ready_after=RAMP_READY, delay_before=WAY, delay_after=WAY)
    known: dict[str, float] = {}
    async with sim, EdgegapSession("t", base_url=sim.url) as edgegap:
        began = loop.time()

        async def one() -> None:
            request_id = await start(edgegap)
            await watch(edgegap, request_id)
            known[request_id] = loop.time()

        await asyncio.gather(*(one() for _ in range(RAMP)))
        took = loop.time() - began
        longest = RAMP_READY[1]
        delays = sorted(at - (sim.settled_at(it) or inf) for it, at in known.items())
        held = all(sim.busiest_second(it.name) <= (it.rate or inf) for it in LIMITS)
        held = held and not any(sim.refused(it.name) for it in LIMITS)
        return Result(delays, asked(sim) / RAMP, 0, held), took, 1.05 * RAMP / 40 + longest + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiters", type=int, nargs="+", default=WAITERS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        for n in given.waiters:
            for how in HOWS[:2]:
                for run in [Run(how, n), Run(how, n, OTHERS)] + ([Run(how, n, OTHERS, True)] if n == 100 else []):
                    if how == "a poll each" and (n > 1000 or run.others):
                        continue
                    import time

                    t = time.time()
                    r = runner.run(measure(run, given.seed))
                    print(
                        run,
                        f"p50 {r.percentile(0.5):.3f} p95 {r.percentile(0.95):.3f} max {r.delays[-1]:.3f} req {r.requests:.2f} held {r.held} goal {run.goal} real {time.time() - t:.1f}",
                        flush=True,
                    )
        r, took, may = runner.run(ramp(given.seed))
        print(
            f"ramp p50 {r.percentile(0.5):.3f} p95 {r.percentile(0.95):.3f} max {r.delays[-1]:.3f} req {r.requests:.2f} held {r.held} took {took:.2f} may {may:.2f}"
        )


if __name__ == "__main__":
    main()
