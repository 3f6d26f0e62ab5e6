"""Measures how much of the limit is reached far away from the server, and checks that
the limit is still kept.

    python benchmarks/far.py [--seconds 30] [--runs 40]

First it uses real sockets with a round trip of 200 to 300 ms, half of which passes
before a request counts. It measures after the first ten answers per slot, once with
slots that come back early and once without. Then it runs many mixes of latency in
virtual time. In none of them may the server count one request more than the limit in
any second.
"""

import argparse
import asyncio
import random
import subprocess
import sys
from collections.abc import Callable

from aiohttp import web
from arrivals import DEPLOY, busiest_second, fetch, server, share
from limits import CALLERS, RATE

from edgegap_async import EdgegapSession, Limits
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# Seconds in which each slot gets ten answers, even if slots don't come back early.
LEARNING = 16.0
GOAL = 0.90
# Seconds for one direction; each run draws from one of them.
MIXES: dict[str, Callable[[random.Random], float]] = {
    "1-2 ms": lambda chance: chance.uniform(0.001, 0.002),
    "0-50 ms": lambda chance: chance.uniform(0.0, 0.05),
    "100-150 ms": lambda chance: chance.uniform(0.1, 0.15),
    "150 ms, now and then 400": lambda chance: chance.choice([0.15] * 30 + [0.4]),
    "50-250 ms": lambda chance: chance.uniform(0.05, 0.25),
    "lognormal around 120 ms": lambda chance: min(
        2.0, chance.lognormvariate(-2.1, 0.4)
    ),
    "from 30 to 300 ms by and by": lambda chance: (
        0.03 + 0.27 * abs(chance.gauss(0, 0.5)) % 0.3
    ),
    "two ways, 80 and 200 ms": lambda chance: (
        chance.choice([0.08, 0.2]) + chance.uniform(0, 0.01)
    ),
}


async def saturate(url: str, seconds: float, *, early: bool) -> None:
    """Keep callers busy for so long."""
    async with EdgegapSession(
        "token", base_url=url, limits=Limits(early_return=early)
    ) as edgegap:

        async def caller() -> None:
            while True:
                await edgegap.deployments.deploy(
                    "app", "1", users=["203.0.113.7"], timeout=None
                )

        tasks = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def on_sockets(seconds: float) -> bool:
    """Both forms at the same time, each with its own server and in a process of its
    own.
    """
    good = True
    with server("200-300 ms") as near, server("200-300 ms") as plain:
        words = {True: near, False: plain}
        clients = [
            subprocess.Popen(
                [
                    sys.executable,
                    __file__,
                    "--client",
                    url,
                    str(int(early)),
                    str(seconds + LEARNING + 1),
                ]
            )
            for early, url in words.items()
        ]
        for client in clients:
            good = client.wait() == 0 and good
        for early, url in words.items():
            times, refused = fetch(url)
            reached, busiest = (
                share(times, RATE, LEARNING, seconds),
                busiest_second(times),
            )
            form = "slots come back early" if early else "the plain form"
            print(
                f"200-300 ms, {form}: busiest second {busiest}, share {reached:.3f}, refused {refused}"
            )
            good = good and busiest <= RATE and (reached >= GOAL or not early)
    return good


async def virtual(
    mix: Callable[[random.Random], float], seed: int, seconds: float
) -> list[float]:
    """When requests arrive, in one run in virtual time."""
    chance = random.Random(seed)
    arrivals: list[float] = []

    async def deploy(request: web.Request) -> web.Response:
        await asyncio.sleep(mix(chance))
        arrivals.append(asyncio.get_running_loop().time())
        await asyncio.sleep(mix(chance))
        return web.json_response({"request_id": "a69f8e3e0555"}, status=202)

    app = web.Application()
    app.router.add_post(DEPLOY, deploy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    await saturate(f"http://127.0.0.1:{runner.addresses[0][1]}", seconds, early=True)
    await runner.cleanup()
    return arrivals


def in_virtual_time(runs: int, seconds: float) -> bool:
    """Many runs, over all mixes in turn."""
    worst, shares = 0, dict.fromkeys(MIXES, 1.0)
    for run in range(runs):
        name, mix = list(MIXES.items())[run % len(MIXES)]
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            arrivals = runner.run(virtual(mix, run, seconds + LEARNING))
        worst = max(worst, busiest_second(arrivals))
        shares[name] = min(shares[name], share(arrivals, RATE, LEARNING, seconds - 2))
    print(
        f"{runs} runs of {seconds:g} s in virtual time: busiest second of all {worst}; least share:"
    )
    for name, least in shares.items():
        print(f"  {least:.3f}  {name}")
    return worst <= RATE


def main() -> None:
    """Both parts, or one client of the first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        url, early, seconds = given.client
        asyncio.run(saturate(url, float(seconds), early=early == "1"))
        return
    sys.exit(
        not all([on_sockets(given.seconds), in_virtual_time(given.runs, given.seconds)])
    )


if __name__ == "__main__":
    main()
