"""How late a webhook wakes its waiter if another process gets it.

    python benchmarks/relay.py [--seconds 20] [--engine sqlite|valkey]

A simulator sends the webhooks of all deploys, 40 a second, to a process that waits for
none of them. Three more processes deploy, and wait until their servers are ready. All are
real processes with one store.

    waits    how many were measured
    delay    from the arrival of a webhook at the wrong process until its waiter goes on,
             in milliseconds
    share    of the waits that a webhook has ended. A poll was faster for the others
    passed   webhooks that got to their process at all, as a part of all
    stored   the size of the file at the end
"""

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from aiohttp import web
from support.stores import valkey

from edgegap_async import EdgegapSession, SharedState, WebhookReceiver
from edgegap_async.simulator import Simulator

PLAYERS = ["203.0.113.7"]
SECRET = "a-secret-of-the-benchmark"  # noqa: S105 (it is none)
# Deploys per second, and the processes that make them.
LIMIT, WAITING = 40, 3
# Seconds from a deploy until its server is ready.
READY_AFTER = (1.0, 5.0)
# Seconds in which all sessions have got their share of the limit.
WARM_UP = 3.0
# The goal for p95, in milliseconds.
MOST_DELAY = 500.0
RELAYED = "webhook received from another process"


def session(url: str, store: str, receiver: WebhookReceiver) -> EdgegapSession:
    return EdgegapSession(
        "made-up",
        base_url=url,
        shared=SharedState(store, key="bench"),
        webhooks=receiver,
    )


# The processes. Each prints what it knows of each deployment at the end, by its ID.


async def receive(url: str, store: str) -> None:
    """Get all webhooks, until a line comes from standard input."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None)
    arrived: dict[str, float] = {}
    receiver = WebhookReceiver("http://127.0.0.1", secret=SECRET)
    app.add_routes(receiver.routes())
    receiver.listen(
        lambda event: arrived.setdefault(event.request_id, time.monotonic())
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    async with session(url, store, receiver):
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    await runner.cleanup()
    print(json.dumps(arrived), flush=True)


class Relayed(logging.Handler):
    """Which deployments a webhook from another process was about."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.request_ids: set[str] = set()

    def emit(self, record: Any) -> None:
        if record.getMessage().startswith(RELAYED):
            self.request_ids.add(record.request_id)


async def wait(url: str, store: str, port: str, seconds: float) -> None:
    """Deploy at a part of the limit, and wait for each server."""
    relayed = Relayed()
    log = logging.getLogger("edgegap_async")
    log.addHandler(relayed)
    log.setLevel(logging.DEBUG)
    # When each waiter went on, and whether a webhook was the reason.
    ended: dict[str, tuple[float, bool]] = {}
    receiver = WebhookReceiver(f"http://127.0.0.1:{port}", secret=SECRET)

    async def one(edgegap: EdgegapSession) -> None:
        accepted = await edgegap.deployments.deploy(
            "game", "1", users=PLAYERS, timeout=None
        )
        request_id = accepted.request_id
        await edgegap.deployments.wait_until_ready(request_id)
        ended[request_id] = time.monotonic(), request_id in relayed.request_ids

    async with session(url, store, receiver) as edgegap:
        await edgegap.locations.list()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < end:
                group.create_task(one(edgegap))
                await asyncio.sleep(WAITING / LIMIT)
        # Webhooks that were slower than a poll.
        await asyncio.sleep(1.0)
    passed = [it for it in ended if it in relayed.request_ids]
    print(json.dumps({"ended": ended, "passed": passed}), flush=True)


# The figures.


class Child:
    """A process, and its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *words: str) -> "Child":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=2**24,
        )
        return cls(process)

    async def line(self) -> Any:
        assert self._process.stdout
        return json.loads(await self._process.stdout.readline())

    async def word(self) -> None:
        assert self._process.stdout
        assert await self._process.stdout.readline()

    def go(self) -> None:
        assert self._process.stdin
        self._process.stdin.write(b"\n")

    async def end(self) -> None:
        await self._process.wait()


async def measure(engine: str, seconds: float) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        valkey() if engine == "valkey" else nullcontext() as server,
    ):
        file = Path(folder) / "edgegap.db"
        store = server.url if server else f"sqlite:///{file}"
        async with Simulator(ready_after=READY_AFTER) as sim:
            wrong = await Child.start("receive", sim.url, store)
            port = str(await wrong.line())
            words = ("wait", sim.url, store, port, str(seconds + WARM_UP))
            waiting = [await Child.start(*words) for _ in range(WAITING)]
            for each in waiting:
                await each.word()
            for each in waiting:
                each.go()
            began = time.monotonic()
            ended: dict[str, tuple[float, bool]] = {}
            passed: set[str] = set()
            for each in waiting:
                found = await each.line()
                ended |= found["ended"]
                passed |= {*found["passed"]}
            wrong.go()
            arrived: dict[str, float] = await wrong.line()
            for each in (wrong, *waiting):
                await each.end()
            stored = file.stat().st_size if file.exists() else 0
    counted = {
        request_id: (at, by_webhook)
        for request_id, (at, by_webhook) in ended.items()
        if at > began + WARM_UP
    }
    delays = sorted(
        at - arrived[request_id]
        for request_id, (at, by_webhook) in counted.items()
        if by_webhook
    )
    return {
        "waits": len(counted),
        "share": len(delays) / len(counted),
        "passed": len(passed & counted.keys()) / len(counted),
        "stored": stored / 1024,
        "p50": 1000 * delays[len(delays) // 2],
        "p95": 1000 * delays[len(delays) * 95 // 100],
        "max": 1000 * delays[-1],
    }


async def show(engines: list[str], seconds: float) -> bool:
    """Print the figures. Return whether the goals were reached."""
    reached = True
    for engine in engines:
        found = await measure(engine, seconds)
        print(
            f"{engine:6}  waits {found['waits']:4.0f}  delay p50 {found['p50']:3.0f} ms  p95 {found['p95']:3.0f} ms  "
            f"max {found['max']:3.0f} ms  share of waits ended by a webhook {found['share']:.3f}  "
            f"passed {found['passed']:.3f}  stored {found['stored']:.0f} KiB",
            flush=True,
        )
        reached = reached and found["p95"] <= MOST_DELAY and found["passed"] >= 0.95
    return reached


def main() -> None:
    if sys.argv[1:2] == ["receive"]:
        asyncio.run(receive(*sys.argv[2:]))
        return
    if sys.argv[1:2] == ["wait"]:
        asyncio.run(wait(*sys.argv[2:5], float(sys.argv[5])))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engine", choices=["sqlite", "valkey"])
    given = parser.parse_args()
    engines = [given.engine] if given.engine else ["sqlite", "valkey"]
    if not asyncio.run(show(engines, given.seconds)):
        sys.exit("missed")


if __name__ == "__main__":
    main()
