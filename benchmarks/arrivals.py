"""A server in a process of its own that records when requests arrive, and functions that
compare the arrivals with a limit.

It shares no code with the SDK: it is a plain aiohttp server that answers every deploy,
status and list. It can stall like a proxy, which then delivers all requests at once.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from urllib.request import urlopen

from aiohttp import web

DEPLOY = "/v2/deployments"
# Seconds of a round trip. A request counts after half of it.
DELAYS = {
    "2 ms": lambda: 0.002,
    "30 ms": lambda: 0.030,
    "0-50 ms, 1 % to 400": lambda: (
        random.uniform(0.05, 0.4) if random.random() < 0.01 else random.uniform(0, 0.05)
    ),
    "200-300 ms": lambda: random.uniform(0.2, 0.3),
    "300 ms": lambda: 0.300,
}
# Seconds that the handshakes of a new connection take.
SLOW_CONNECTION = (0.1, 0.3)


class Arrivals:
    """Counts what arrives; refuses what is more than `rate` in any second."""

    def __init__(self, rate: int) -> None:
        self.times: list[float] = []
        self.refused = 0
        self._rate = rate
        self._admitted: deque[float] = deque()

    def arrive(self, now: float) -> bool:
        """Whether the arrival is within the limit."""
        self.times.append(now)
        while self._admitted and now - self._admitted[0] >= 1:
            self._admitted.popleft()
        if len(self._admitted) >= self._rate:
            self.refused += 1
            return False
        self._admitted.append(now)
        return True


class Gate:
    """Lets requests pass, or holds all of them for some time."""

    def __init__(self) -> None:
        self.closed_until = 0.0

    async def stall(self, request: web.Request) -> web.Response:
        """Hold all requests for so many seconds."""
        seconds = float(request.match_info["seconds"])
        self.closed_until = asyncio.get_running_loop().time() + seconds
        return web.Response()

    async def passed(self) -> None:
        """Wait for the end of a stall."""
        loop = asyncio.get_running_loop()
        if loop.time() < self.closed_until:
            await asyncio.sleep(self.closed_until - loop.time())


def add_others(app: web.Application, gate: Gate) -> None:
    """Add status and list, and the arrivals of each; they are never refused."""
    times: dict[str, list[float]] = {"status": [], "list": []}

    async def answer(request: web.Request) -> web.Response:
        await gate.passed()
        name = "status" if "request_id" in request.match_info else "list"
        times[name].append(asyncio.get_running_loop().time())
        body = {"request_id": request.match_info.get("request_id"), "data": []}
        return web.json_response(body)

    async def counts(request: web.Request) -> web.Response:
        return web.json_response({"times": times[request.match_info["name"]]})

    app.router.add_get("/v1/status/{request_id}", answer)
    app.router.add_get("/v1/deployments", answer)
    app.router.add_get("/arrivals/{name}", counts)
    app.router.add_post("/stall/{seconds}", gate.stall)


async def serve(delays: str, slow_connections: bool, rate: int) -> None:
    """Serve until killed; the URL is the first line printed."""
    arrivals, gate = Arrivals(rate), Gate()
    known: weakref.WeakSet[object] = weakref.WeakSet()
    draw = DELAYS[delays]

    async def deploy(request: web.Request) -> web.Response:
        there, back = (draw() / 2, draw() / 2)
        if slow_connections and request.transport not in known:
            known.add(request.transport)
            there += random.uniform(*SLOW_CONNECTION)
        await asyncio.sleep(there)
        await gate.passed()
        admitted = arrivals.arrive(asyncio.get_running_loop().time())
        await asyncio.sleep(back)
        if not admitted:
            return web.json_response({"message": "too many requests"}, status=429)
        return web.json_response({"request_id": "a69f8e3e0555"}, status=202)

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({"times": arrivals.times, "refused": arrivals.refused})

    app = web.Application()
    app.router.add_post(DEPLOY, deploy)
    app.router.add_get("/arrivals", counts)
    add_others(app, gate)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


@contextmanager
def server(
    delays: str, *, slow_connections: bool = False, rate: int = 40
) -> Iterator[str]:
    """A server in a process of its own; gives its URL."""
    words = [sys.executable, __file__, delays, str(int(slow_connections)), str(rate)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def fetch(url: str, name: str = "") -> tuple[list[float], int]:
    """When requests arrived at a server, and how many of them it refused.

    They are those of deploys, or of another limit.
    """
    with urlopen(f"{url}/arrivals/{name}".rstrip("/")) as answer:  # noqa: S310 - our own server on loopback
        counts = json.load(answer)
    return counts["times"], counts.get("refused", 0)


def busiest_second(times: list[float]) -> int:
    """The most arrivals in any window of one second."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def share(times: list[float], rate: float, skip: float, length: float) -> float:
    """The part of the limit that was reached.

    Mean over 50 windows of `length` seconds whose starts are spread over one second,
    from `skip` seconds after the first arrival on: arrivals come in clusters, and one
    window could end before or after one.
    """
    starts = [times[0] + skip + step / 50 for step in range(50)]
    inside = [sum(start <= time < start + length for time in times) for start in starts]
    return sum(inside) / len(inside) / (rate * length)


def longest_gap(times: list[float]) -> float:
    """The longest time without an arrival, in seconds."""
    return max(after - before for before, after in pairwise(times))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("delays", choices=DELAYS)
    parser.add_argument("slow_connections", type=int)
    parser.add_argument("rate", type=int)
    given = parser.parse_args()
    asyncio.run(serve(given.delays, bool(given.slow_connections), given.rate))
