"""Compares the CPU time of a call with that of handwritten code, which uses aiohttp's
default session and decodes into the same struct with msgspec.

    python benchmarks/overhead.py [--rounds 30] [--loop asyncio|uvloop]

It measures the CPU seconds of the client's process with 32 calls in flight. The server
has a process of its own. Each round runs all variants in turn, and the output is the
median of the ratios to the handwritten code. The SDK's limits are so high that no call
waits, but the cost of its limiters counts.

- status: 1,000 deployments are asked for again and again. The SDK keeps their URLs; yarl
  keeps only the last few hundred that it has parsed for the handwritten code.
- first status: each deployment is asked for once.
- list: a page of 100 deployments.
- import: the time to import the package, compared with that of its dependencies.

The exit code is 1 if one of them costs more than its goal.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count, cycle
from math import inf
from tempfile import TemporaryDirectory

import aiohttp
import msgspec
from yarl import URL

from edgegap_async import DeploymentStatus, EdgegapSession, Limits
from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.slots import Slots
from edgegap_async._transport.deadlines import ExchangeTimeout
from edgegap_async._transport.exchange import SingleDispatch
from edgegap_async._transport.unasked import CleanConnections
from edgegap_async.endpoints import Limit
from edgegap_async.models.deployment import DeploymentPage

IN_FLIGHT = 32
# Calls per round, which take some tenths of a second of CPU time.
CALLS = {"status": 640, "first status": 640, "list": 96}
DEPLOYMENTS = 1000
GOALS = {"status": 1.15, "first status": 1.3, "list": 1.15, "import": 1.2}
# Requests per second.
HIGH = 1e8
# By default, glibc returns large blocks to the kernel and requests them again. The page
# faults would take longer than the measured code.
QUIET_ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TOP_PAD_": "100000000",
}

PORT = {
    "external": 31669,
    "internal": 7777,
    "protocol": "UDP",
    "name": "7777",
    "tls_upgrade": False,
    "proxy": 65002,
}
ROW = {
    "request_id": "2d35052ec4e9",
    "fqdn": "abc123.test.edgegap.com",
    "start_time": "2025-11-29 22:35:31.971359",
    "ready": True,
    "public_ip": "100.10.0.85",
    "ports": {"7777": PORT, "web": PORT},
    "tags": ["production"],
    "sockets": "5",
    "sockets_usage": "2",
    "is_joinable_by_session": True,
}
ONE = {
    **ROW,
    "app_name": "test",
    "app_version": "v1",
    "current_status": "Status.READY",
    "running": True,
}
PAGE = {
    "data": [ROW] * 100,
    "total_count": 100,
    "pagination": {"number": 1, "has_next": False},
    "message": [""],
}
Call = Callable[[], Awaitable[object]]


class Canned(asyncio.Protocol):
    """As little of a server as there can be: the client is what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        page: dict[str, object] = PAGE
        if data.startswith(b"GET /v1/status/"):
            path = data.split(maxsplit=2)[1].decode()
            page = {**ONE, "request_id": path.rpartition("/")[2]}
        body = json.dumps(page).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(head.encode() + body)


async def serve() -> None:
    """Answer until killed; the URL is the first line printed."""
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def by_hand(
    http: aiohttp.ClientSession,
    url: Callable[[], str],
    kind: type,
    headers: dict[str, str],
) -> object:
    """What anybody would write."""
    async with http.get(url(), headers=headers) as answer:
        return msgspec.json.decode(await answer.read(), type=kind)


async def with_parts(
    http: aiohttp.ClientSession, url: Callable[[], str], kind: type, **options: object
) -> object:
    """The same with less to parse and to build, and with some of what the SDK adds."""
    limiter = options.pop("limiter", None)
    if options.pop("tracked", False):
        task = asyncio.current_task()
        assert task is not None
        attempt = SingleDispatch(ExchangeTimeout(inf, task), CleanConnections())
        options["middlewares"] = (attempt,)
    began = asyncio.get_running_loop().time()
    if isinstance(limiter, Limiter):
        await limiter.try_acquire()
    async with http.get(URL(url(), encoded=True), **options) as answer:  # type: ignore[arg-type]
        if isinstance(limiter, Limiter):
            limiter.answered(began)
        return msgspec.json.decode(await answer.read(), type=kind)


async def cpu_per_call(call: Call, calls: int) -> float:
    """CPU seconds of this process for one call, with `IN_FLIGHT` of them at a time."""

    async def caller() -> None:
        for _ in range(calls // IN_FLIGHT):
            await call()

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return (time.process_time() - began) / calls


async def compare(url: str, name: str, rounds: int) -> dict[str, float]:
    """Each variant's CPU per call as a part of the code by hand: the median of all
    rounds.
    """
    numbers = count() if name == "first status" else cycle(range(DEPLOYMENTS))
    deployments = (f"{number:012x}" for number in numbers)
    kind, address = (
        (DeploymentPage, lambda: f"{url}/v1/deployments")
        if name == "list"
        else (DeploymentStatus, lambda: f"{url}/v1/status/{next(deployments)}")
    )
    headers = {"Authorization": "token 0"}
    limit = Limits(deploy=HIGH, status=HIGH, list=HIGH, other=HIGH)
    async with (
        aiohttp.ClientSession() as plain,
        aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), headers=headers
        ) as bare,
        EdgegapSession("0", base_url=url, limits=limit) as edgegap,
        EdgegapSession("0", base_url=url, limits=limit, timeout=None) as endless,
    ):
        lean = partial(with_parts, bare, address, kind)

        def sdk(session: EdgegapSession) -> Call:
            calls = session.deployments
            return (
                calls.list
                if name == "list"
                else lambda: calls.status(next(deployments))
            )

        variants: dict[str, Call] = {
            "by hand": partial(by_hand, plain, address, kind, headers),
            "by hand, without cookie jar, URL not parsed": lean,
            "... and a time-out for each": lambda: lean(
                timeout=aiohttp.ClientTimeout(total=15, ceil_threshold=1e9)
            ),
            "... and the limiter": partial(
                lean, limiter=Limiter(Slots(Limit("status", HIGH)))
            ),
            "... and the tracker of what was sent": partial(lean, tracked=True),
            "the SDK, without a deadline for the call": sdk(endless),
            "the SDK": sdk(edgegap),
        }
        costs: dict[str, list[float]] = {variant: [] for variant in variants}
        # The first round warms up, and does not count.
        for _ in range(rounds + 1):
            for variant, call in variants.items():
                costs[variant].append(await cpu_per_call(call, CALLS[name]))
    base = costs["by hand"][1:]
    print(f"{name}: {statistics.median(base) * 1e6:.0f} us of CPU per call by hand")
    return {
        variant: statistics.median(
            cost / hand for cost, hand in zip(found[1:], base, strict=True)
        )
        for variant, found in costs.items()
    }


def imports(rounds: int) -> float:
    """Return the time to import the package with its usual names, relative to that of
    its dependencies. All modules are compiled before.
    """
    ours = "from edgegap_async import EdgegapSession, EdgegapError, Limits, Retry, DeploymentStatus"
    with TemporaryDirectory() as compiled:
        env = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": compiled,
        }
        ratios: list[float] = []
        # The first round compiles, and does not count.
        for _ in range(rounds + 1):
            times: list[float] = []
            for code in (ours, "import aiohttp, msgspec, aiolimiter"):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True, env=env)
                times.append(time.perf_counter() - began)
            ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


async def calls(url: str, rounds: int) -> bool:
    """Print what a call costs; whether the goal is reached for each."""
    good = True
    for name in CALLS:
        found = await compare(url, name, rounds)
        for variant, ratio in found.items():
            print(f"  {ratio:5.2f}  {variant}")
        good = good and found["the SDK"] <= GOALS[name]
    return good


def main() -> None:
    """Measure in a process whose allocator keeps still."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
    if not QUIET_ALLOCATOR.items() <= os.environ.items():
        environment = {**os.environ, **QUIET_ALLOCATOR}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606
    factory = asyncio.new_event_loop
    if given.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with (
        subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
        ) as server,
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        assert server.stdout is not None
        try:
            good = runner.run(calls(server.stdout.readline().strip(), given.rounds))
        finally:
            server.kill()
    importing = imports(max(5, given.rounds // 3))
    print(
        f"import: {importing:.2f} of the time to import aiohttp, msgspec and aiolimiter"
    )
    sys.exit(not (good and importing <= GOALS["import"]))


if __name__ == "__main__":
    main()
