"""Checks whether limiters keep the documented limit at the server, and measures how much
of it they reach.

    python benchmarks/limits.py [--seconds 20] [--loop asyncio|uvloop|both]

Each limiter has a saturated client, and a server in a process of its own. The limit is
that of deploys, 40 per second. The output is: arrivals in the busiest second / the share
of the limit that is reached / refusals. The exit code is 1 if ours misses its goal. The
run is void if a bare `AsyncLimiter(40, 1)` keeps the limit under the same conditions.

Then one process uses the SDK in unusual ways (`one_process.py`), and the CPU time of a
limiter is compared with that of aiolimiter.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import one_process
import queue_cost
from aiolimiter import AsyncLimiter
from arrivals import DELAYS, DEPLOY, busiest_second, fetch, server, share

from edgegap_async import EdgegapError, EdgegapSession, Limits

RATE = 40
# Calls in progress at any time, per process. They are the work of three seconds, so the
# limit is the bottleneck.
CALLERS = 120
# Seconds for which other code blocks the event loop, once per second.
STALL = 0.100
# Seconds after the first arrival that do not count for the share: the cold start.
SKIP = 1.0


@dataclass(frozen=True)
class Scenario:
    """Conditions, and the share of the limit that ours must reach under them."""

    name: str
    delays: str
    goal: float
    stalls: bool = False
    slow_connections: bool = False
    processes: int = 1


SCENARIOS = (
    Scenario("2 ms", "2 ms", 0.98),
    Scenario("30 ms", "30 ms", 0.95),
    Scenario("0-50 ms, 1 % to 400; stalls", "0-50 ms, 1 % to 400", 0.93, stalls=True),
    Scenario("cold, slow connections", "2 ms", 0.97, slow_connections=True),
    Scenario("three processes, share=1/3", "2 ms", 0.93, processes=3),
)
OURS, BARE, EVEN = "ours", "AsyncLimiter(40, 1)", "AsyncLimiter(1, 1/40)"
LIMITERS = (OURS, BARE, EVEN)


async def saturate(call: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Keep `CALLERS` callers busy for so long, then let those in flight end."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def caller() -> None:
        while loop.time() < end:
            await call()

    tasks = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def ours(url: str, seconds: float, share_of: int) -> None:
    """The SDK."""
    async with EdgegapSession(
        "token", base_url=url, limits=Limits(share=1 / share_of)
    ) as edgegap:

        async def call() -> None:
            try:
                await edgegap.deployments.deploy(
                    "app", "1", users=["203.0.113.7"], timeout=None
                )
            except EdgegapError as error:
                print(error, file=sys.stderr)

        await saturate(call, seconds)


async def bare(url: str, seconds: float, limiter: AsyncLimiter) -> None:
    """What anybody would write with aiolimiter."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def call() -> None:
            async with limiter, http.post(url + DEPLOY, json={}) as answer:
                await answer.read()

        await saturate(call, seconds)


async def stalls() -> None:
    """Something in the same process that keeps the loop busy."""
    while True:
        await asyncio.sleep(1 - STALL)
        time.sleep(STALL)  # noqa: ASYNC251 - the stall is what is measured


async def client(
    url: str, limiter: str, seconds: float, share_of: int, stalling: bool
) -> None:
    """One client process."""
    rate = RATE / share_of
    work = {
        OURS: lambda: ours(url, seconds, share_of),
        BARE: lambda: bare(url, seconds, AsyncLimiter(rate, 1)),
        EVEN: lambda: bare(url, seconds, AsyncLimiter(1, 1 / rate)),
    }[limiter]
    nuisance = asyncio.ensure_future(stalls()) if stalling else None
    await work()
    if nuisance:
        nuisance.cancel()


def measure(
    scenario: Scenario, seconds: float, loop: str
) -> dict[str, tuple[int, float, int]]:
    """Run all limiters at the same time, each with its own server: (busiest second,
    share, refused) of each.
    """
    servers = {
        name: server(
            scenario.delays, slow_connections=scenario.slow_connections, rate=RATE
        )
        for name in LIMITERS
    }
    urls = {name: context.__enter__() for name, context in servers.items()}
    try:
        words = [str(seconds), str(scenario.processes), str(int(scenario.stalls))]
        clients = [
            subprocess.Popen(
                [sys.executable, __file__, "--loop", loop, "client", url, name, *words]
            )
            for name, url in urls.items()
            for _ in range(scenario.processes)
        ]
        for process in clients:
            assert process.wait() == 0
        found = {name: fetch(url) for name, url in urls.items()}
    finally:
        for context in servers.values():
            context.__exit__(None, None, None)
    return {
        name: (
            busiest_second(times),
            share(times, RATE, SKIP, seconds - SKIP - 1.5),
            refused,
        )
        for name, (times, refused) in found.items()
    }


def report(loops: list[str], seconds: float) -> bool:
    """Print the table; whether ours reached every goal."""
    good = True
    print(
        f"| loop | conditions | goal | {' | '.join(LIMITERS)} |\n|{'---|' * (3 + len(LIMITERS))}"
    )
    for loop in loops:
        for scenario in SCENARIOS:
            found = measure(scenario, seconds, loop)
            cells = " | ".join(
                "{} / {:.3f} / {}".format(*found[name]) for name in LIMITERS
            )
            busiest, reached, _ = found[OURS]
            kept = busiest <= RATE and reached >= scenario.goal
            void = found[BARE][0] <= RATE
            verdict = ("" if kept else " FAILED") + (" VOID" if void else "")
            good = good and kept and not void
            print(
                f"| {loop} | {scenario.name} | {RATE} / {scenario.goal}{verdict} | {cells} |",
                flush=True,
            )
    return good


def main() -> None:
    """Either the whole benchmark, or one client of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--loop", default="both", choices=["asyncio", "uvloop", "both"])
    parser.add_argument("client", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        _, url, limiter, seconds, processes, stalling = given.client
        work = client(url, limiter, float(seconds), int(processes), stalling == "1")
        if given.loop == "uvloop":
            import uvloop

            uvloop.run(work)
        else:
            asyncio.run(work)
        return
    loops = ["asyncio", "uvloop"] if given.loop == "both" else [given.loop]
    good = [report(loops, given.seconds), *map(one_process.report, loops)]
    sys.exit(not all([*good, queue_cost.report()]))


if __name__ == "__main__":
    assert DELAYS.keys() >= {scenario.delays for scenario in SCENARIOS}
    main()
