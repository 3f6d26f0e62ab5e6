"""Measures how late waiters learn that their servers are ready, and what it costs.

    python benchmarks/readiness.py [--waiters 1 5 100 1000 5000] [--seeds 1] [--chart
    benchmarks/results/readiness.svg]

It uses the simulator in virtual time. Each request and each answer takes 5 to 30 ms.
First, all servers are deployed, all waiters wait at once, and the servers become ready
over 2 to 8 seconds. This is measured in an organization without other servers, and in
one with 20,000 running servers of neighbours. It is measured for one poll loop per
waiter (a second between two polls, through the same limiters), for the watcher, and for
the watcher with webhooks. A tenth of the webhooks is lost, and the delays of these
waiters are shown separately. Then 1,000 servers are deployed at the documented rate. Then 1,000 callers wait for the
end of their servers, and 500 servers are held under `max_running`.
Each figure is the worst of all seeds. The exit code is 1 if a goal is missed, a limit is
exceeded or any request is refused. `--chart` needs the extra `bench`.
"""

import argparse
import asyncio
import logging
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import ceil, inf
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from readiness_ends import ending
from readiness_table import (
    GOAL_WITH_WEBHOOKS,
    HEAD,
    HOWS,
    LIMITS,
    Figures,
    How,
    Run,
    percentile,
    worst,
)

from edgegap_async import DeploymentState, EdgegapSession, Limits
from edgegap_async.endpoints import DEPLOY_LIMIT
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop
from edgegap_async.webhooks import WebhookEvent, WebhookReceiver

WAITERS = (1, 5, 100, 1000, 5000)
# With so many waiters, it also measures a server that ignores list filters.
IGNORED = 100
# The least number of delays per row of the table. Few waiters have many rounds, one
# after the other.
DELAYS = 200
OTHERS = 20_000
# Seconds in each direction.
WAY = (0.005, 0.03)
# Seconds from the start of all waits until a server is ready.
BECOME_READY = (2.0, 8.0)
# Deploys per second before the waits. They are not measured.
DEPLOYS = 500.0
# The most poll loops that are measured with neighbours in the organization.
MOST_POLLS = 1000
# Seconds between two polls of one waiter.
POLL_PAUSE = 1.0
# The share of webhooks that are lost.
LOST = 0.1
# The servers that are deployed at the documented rate.
RAMP = 1000
# Seconds from the deploy of such a server until it is ready.
RAMP_READY = (2.0, 5.0)
# The p95 of the delays, in seconds.
RAMP_GOALS: dict[How, float] = {
    "watcher": 0.5,
    "watcher and webhooks": GOAL_WITH_WEBHOOKS,
}


async def poll(edgegap: EdgegapSession, request_id: str) -> None:
    """Poll the status of one deployment until it is READY."""
    while True:
        status = await edgegap.deployments.status(request_id, timeout=None)
        if status.state is DeploymentState.READY:
            return
        await asyncio.sleep(POLL_PAUSE)


@dataclass
class Scene:
    """A simulator, its session, and the times at which servers were known to be ready."""

    sim: Simulator
    edgegap: EdgegapSession
    known: dict[str, float] = field(default_factory=dict)
    # The deployments whose webhook arrived.
    notified: set[str] = field(default_factory=set)

    def on_webhook(self, event: WebhookEvent) -> None:
        """Record a webhook of the receiver."""
        self.notified.add(event.request_id)

    async def deploy(self) -> str:
        """Start one server, and return its request_id."""
        return (
            await self.edgegap.deployments.deploy(
                "app", "1", users=["203.0.113.7"], timeout=None
            )
        ).request_id

    async def wait(self, how: How, request_id: str) -> None:
        """Wait until it is known to be ready."""
        if how == "a poll each":
            await poll(self.edgegap, request_id)
        else:
            await self.edgegap.deployments.wait_until_ready(request_id, timeout=None)
        self.known[request_id] = asyncio.get_running_loop().time()

    async def figures(self, how: How) -> Figures:
        """Return the figures of all waits, at the end."""
        sim, lost = self.sim, set[str]()
        if how == "watcher and webhooks":
            # A webhook that arrives after a poll is not lost.
            await asyncio.sleep(1)
            lost = self.known.keys() - self.notified
            assert len(lost) == sim.webhooks()["lost"]
        late = {
            request_id: at - (sim.ready_or_failed_at(request_id) or inf)
            for request_id, at in self.known.items()
        }
        assert min(late.values()) > 0
        others = [delay for request_id, delay in late.items() if request_id not in lost]
        without_webhook = [late[request_id] for request_id in lost]
        return Figures(
            p50=percentile(others, 0.5),
            p95=percentile(others, 0.95),
            longest=percentile(others, 1.0),
            lost_p95=percentile(without_webhook, 0.95),
            lost_longest=percentile(without_webhook, 1.0),
            requests=(sim.arrivals("status") + sim.arrivals("list")) / len(late),
            deploys=sim.busiest_second("deploy"),
            statuses=sim.busiest_second("status"),
            lists=sim.busiest_second("list"),
            refused=sum(sim.refused(limit.name) for limit in LIMITS),
        )


@asynccontextmanager
async def receiving(seed: int) -> AsyncIterator[WebhookReceiver]:
    """Yield a receiver of webhooks, which take as long as requests to the API."""
    chance = random.Random(seed)

    @web.middleware
    async def delayed(request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(chance.uniform(*WAY))
        return await handler(request)

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    receiver = WebhookReceiver(f"http://127.0.0.1:{listening.getsockname()[1]}")
    app = web.Application(middlewares=[delayed])
    app.add_routes(receiver.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scene(
    run: Run, seed: int, ready_after: Callable[[], float], deploys: float
) -> AsyncIterator[Scene]:
    """Yield a simulator that admits so many deploys per second, and its client."""
    faults = [Fault("webhook", "lost", LOST)] + [
        Fault("list", "filters-ignored")
    ] * run.ignored
    sim = Simulator(
        seed=seed,
        ready_after=ready_after,
        rates={"deploy": deploys},
        delay_before=WAY,
        delay_after=WAY,
        faults=faults,
        neighbours=run.neighbours,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sim)
        receiver = (
            await stack.enter_async_context(receiving(seed))
            if run.how == "watcher and webhooks"
            else None
        )
        client = EdgegapSession(
            "token", base_url=sim.url, limits=Limits(deploy=deploys), webhooks=receiver
        )
        it = Scene(sim, await stack.enter_async_context(client))
        if receiver:
            receiver.listen(it.on_webhook)
        yield it


async def measure(run: Run, seed: int) -> Figures:
    """Deploy all servers, wait for all of them, and return the figures."""
    loop, chance, begin = asyncio.get_running_loop(), random.Random(seed), 0.0

    def ready_after() -> float:
        return begin + chance.uniform(*BECOME_READY) - loop.time()

    async with scene(run, seed, ready_after, DEPLOYS) as it:
        for _ in range(ceil(DELAYS / run.waiters)):
            begin = loop.time() + run.waiters / DEPLOYS + 2
            accepted = await asyncio.gather(*(it.deploy() for _ in range(run.waiters)))
            await asyncio.sleep(begin - loop.time())
            await asyncio.gather(
                *(it.wait(run.how, request_id) for request_id in accepted)
            )
        return (await it.figures(run.how))._replace(deploys=0)


async def ramp(how: How, seed: int) -> tuple[Figures, float, float]:
    """Deploy and wait at the documented rate.

    Returns:
        The figures, the seconds until the last server is known to be ready, and the
        most seconds that this may take.
    """
    loop, chance, starts = (
        asyncio.get_running_loop(),
        random.Random(seed),
        list[float](),
    )

    def ready_after() -> float:
        starts.append(chance.uniform(*RAMP_READY))
        return starts[-1]

    rate = DEPLOY_LIMIT.rate or inf
    async with scene(Run(how, RAMP), seed, ready_after, rate) as it:
        began = loop.time()

        async def one() -> None:
            await it.wait(how, await it.deploy())

        await asyncio.gather(*(one() for _ in range(RAMP)))
        took = loop.time() - began
        return await it.figures(how), took, 1.05 * RAMP / rate + max(starts) + 1


def runs(waiters: Collection[int]) -> list[Run]:
    """Return all rows of the table, in order."""
    rows: list[Run] = []
    for n in waiters:
        rows += [Run(how, n) for how in HOWS]
        # Servers of neighbours do not matter to status polls. With 5,000 poll loops, it
        # would take long to show that.
        rows += [Run(how, n, OTHERS) for how in (HOWS if n <= MOST_POLLS else HOWS[1:])]
        rows += [Run(how, n, OTHERS, ignored=True) for how in HOWS[1:] if n == IGNORED]
    return rows


def waiting(
    rows: list[Run], seeds: list[int], runner: asyncio.Runner
) -> dict[Run, Figures]:
    """Measure waiters that wait at once, and print their table row by row."""
    print(f"| waiters | neighbours | way | {HEAD} |\n|{'---|' * 11}")
    measured: dict[Run, Figures] = {}
    for run in rows:
        measured[run] = worst([runner.run(measure(run, seed)) for seed in seeds])
        way = run.how + ", filters ignored" * run.ignored
        print(
            f"| {run.waiters:,} | {run.neighbours:,} | {way} | {measured[run].cells(run.goal)} |",
            flush=True,
        )
    return measured


def ramping(seeds: list[int], runner: asyncio.Runner) -> bool:
    """Print the table of deploys at the documented rate. Return whether all goals are
    reached.
    """
    print(
        f"\n| {RAMP:,} from nothing | all known after, s | at most | {HEAD} |\n|{'---|' * 11}"
    )
    good = True
    for how in HOWS:
        results = [runner.run(ramp(how, seed)) for seed in seeds]
        figures = worst([each for each, _, _ in results])
        _, took, may = max(results, key=lambda result: result[1] - result[2])
        goal = RAMP_GOALS.get(how, inf)
        # The webhook of the last server may be lost, and that delay has no goal.
        most, late = (f"{may:.2f}", took > may) if how == "watcher" else ("", False)
        print(
            f"| {how} | {took:.2f}{' FAILED' * late} | {most} | {figures.cells(goal)} |",
            flush=True,
        )
        good = good and not late and figures.held and figures.p95 <= goal
    return good


def main() -> None:
    """Print both tables, and draw the chart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waiters", type=int, nargs="+", default=WAITERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--chart",
        type=Path,
        help="an SVG file, or one of another kind that matplotlib can write",
    )
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        measured = waiting(runs(given.waiters), given.seeds, runner)
        good = ramping(given.seeds, runner)
        good = ending(given.seeds, runner) and good
    if given.chart:
        import readiness_chart

        readiness_chart.draw(given.chart, measured)
    sys.exit(
        not good
        or any(not it.held or it.p95 > run.goal for run, it in measured.items())
    )


if __name__ == "__main__":
    main()
