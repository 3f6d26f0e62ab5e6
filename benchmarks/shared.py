"""One budget for many processes: how many requests arrive, and how much of the limit is
used.

    python benchmarks/shared.py [SCENARIO...] [--engine valkey|sqlite]
    python benchmarks/shared.py --virtual [SCENARIO...]

Processes with `EdgegapSession(shared=...)` call a server in a process of its own, 0 to
50 ms away. It counts the arrivals. The clock starts when all processes are ready. With
`--virtual`, limiters and ledger run in one process and in virtual time.

Columns: the most arrivals in any second of the run; the part of the limit that was used;
the least served process, compared with an equal share; operations of the store for each
request (Valkey); requests that the server refused; how long a call waited for the limit,
median; the longest time in which a process had no answer; the part of the limit in each
second.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from aiohttp import web
from arrivals import busiest_second
from support import shared_simulation as virtual
from support.stores import Valkey, valkey

from edgegap_async import (
    EdgegapError,
    EdgegapSession,
    Event,
    Limits,
    Retry,
    SharedState,
)

# Requests per second of the limit of `locations.list`, and seconds of each way.
RATE, WAY = 40, 0.05
# Seconds without an answer: what was used can be used again a second later, and an answer
# takes 0 to 0.1 s.
SILENT = 1.0 + 2 * WAY
# Seconds of each way to a store that is 80 ms away, and to one that is 1 ms away.
FAR, NEAR = 0.04, 0.0005
FAR_STORE = str(Path(__file__).with_name("far_store.py"))
# Seconds after which a new ledger has listened, and all tokens have been used.
STARTED = 3.0
KEY = "shared"


# The server.


async def serve(admits: int) -> None:
    """Serve until killed; the URL is the first line printed."""
    times: list[float] = []
    refused: list[float] = []
    admitted: deque[float] = deque()

    async def locations(_: web.Request) -> web.Response:
        await asyncio.sleep(random.uniform(0, WAY))
        now = time.monotonic()
        times.append(now)
        while admitted and now - admitted[0] >= 1:
            admitted.popleft()
        passes = not admits or len(admitted) < admits
        (admitted if passes else refused).append(now)
        await asyncio.sleep(random.uniform(0, WAY))
        return web.json_response({"locations": []}, status=200 if passes else 429)

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({"times": sorted(times), "refused": refused})

    app = web.Application()
    app.router.add_get("/v1/locations", locations)
    app.router.add_get("/counts", counts)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


# A process. It gets one JSON object in its argument, and a line with the time at which the
# clock starts.


async def work(given: dict[str, Any]) -> None:
    """Call as the phases say: `[from, until, callers, seconds between calls]`."""
    store = given["store"]
    # Seconds in the queue of the limit.
    queued: list[float] = []

    def on_event(event: Event) -> None:
        if event.kind == "call":
            queued.append(event.queued)

    edgegap = EdgegapSession(
        "made-up-token",
        base_url=given["url"],
        limits=Limits(other=given["rate"], share=given["share"]),
        retry=Retry(tries=1),
        timeout=None,
        shared=SharedState(store, key=KEY) if store else None,
        on_event=on_event,
    )
    print("ready", flush=True)
    start = float(sys.stdin.readline())
    calls: list[tuple[float, float]] = []

    async def caller(until: float, pause: float) -> None:
        await asyncio.sleep(random.uniform(0, pause))
        while (began := time.monotonic() - start) < until:
            try:
                await edgegap.locations.list()
            except EdgegapError:
                await asyncio.sleep(0.3)
            calls.append((began, time.monotonic() - start))
            await asyncio.sleep(pause)

    async def phase(begin: float, until: float, callers: int, pause: float) -> None:
        await asyncio.sleep(max(0.0, start + begin - time.monotonic()))
        tasks = [asyncio.create_task(caller(until, pause)) for _ in range(callers)]
        await asyncio.sleep(max(0.0, start + until - time.monotonic()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async with edgegap:
        await asyncio.gather(*(phase(*each) for each in given["phases"]))
    print(json.dumps({"calls": calls, "queued": queued}), flush=True)


# The stores.


class ValkeyEngine:
    """A real Valkey."""

    def __init__(self, server: Valkey) -> None:
        self._server, self.url, self.socket = server, server.url, server.socket
        self._before = 0

    def freeze(self) -> None:
        os.kill(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server.pid, signal.SIGCONT)

    def flush(self) -> None:
        self._server.command("FLUSHALL")

    def lose(self) -> None:
        self._before = self.operations() or 0
        self._server.stop()

    def start(self) -> None:
        self._server.start()

    def operations(self) -> int | None:
        stats = self._server.command("INFO", "commandstats")
        calls = (stats.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval"))
        return self._before + sum(each.get("calls", 0) for each in calls)


class SQLiteEngine:
    """A file. While it is frozen, somebody holds its lock."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/edgegap.db"
        self.url = f"sqlite:///{self._path}"
        self._holder: sqlite3.Connection | None = None

    def freeze(self) -> None:
        self._holder = sqlite3.connect(self._path, isolation_level=None, timeout=2)
        self._holder.execute("BEGIN IMMEDIATE")

    def thaw(self) -> None:
        assert self._holder
        self._holder.execute("ROLLBACK")
        self._holder.close()

    def flush(self) -> None:
        with sqlite3.connect(self._path, timeout=2) as db:
            db.execute("DELETE FROM budgets")

    def lose(self) -> None:
        self.freeze()

    def start(self) -> None:
        self.thaw()

    def operations(self) -> int | None:
        return None


Engine = ValkeyEngine | SQLiteEngine


@contextmanager
def engine_called(name: str) -> Iterator[Engine]:
    if name == "valkey":
        with valkey() as server:
            yield ValkeyEngine(server)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield SQLiteEngine(folder)


# The scenarios.

BUSY = 60
Phase = tuple[float, float, int, float]


def busy(begin: float, until: float, callers: int = BUSY) -> Phase:
    return begin, until, callers, 0.0


def rare(begin: float, until: float, pause: float) -> Phase:
    return begin, until, 1, pause


@dataclass
class Scenario:
    """What happens.

    Attributes:
        seconds: how long it takes.
        processes: the phases of each one.
        rate: requests per second of the limit.
        events: `(seconds, what, process)`.
        share: `Limits.share` of each process. With it, nothing is shared.
        admits: requests per second that the server admits. 0: all.
        bound: the most arrivals in a second. None: there must be more than the rate.
        least: the part of the limit that must be used.
        away: seconds of each way to the store, of each process. Empty: none. It takes an
            engine with a socket.
        silent: the most seconds in which a process has no answer.
        queued: the most milliseconds that a call waits for the limit, median.
    """

    seconds: float
    processes: list[list[Phase]]
    rate: int = RATE
    events: list[tuple[float, str, int]] = field(default_factory=list)
    share: float | None = None
    admits: int = 0
    bound: int | None = RATE
    least: float = 0.0
    away: list[float] = field(default_factory=list)
    silent: float = inf
    queued: float = inf


def saturated(seconds: float, count: int = 4, **more: Any) -> Scenario:
    return Scenario(seconds, [[busy(0, seconds)] for _ in range(count)], **more)


def failing(seconds: float, *events: tuple[float, str, int]) -> Scenario:
    return saturated(seconds, events=list(events))


SCENARIOS = {
    "uncoordinated": saturated(10, share=1.0, bound=None),
    "static": saturated(20, share=0.25, least=0.9),
    "saturated": saturated(20, least=0.93),
    "swap": Scenario(
        20,
        [
            [busy(0, 10)],
            [rare(0, 10, 2.0), busy(10, 20)],
            [rare(0, 20, 2.0)],
            [rare(0, 20, 2.0)],
        ],
        least=0.85,
    ),
    "sixteen": Scenario(
        30, [[busy(0, 30, 10)] for _ in range(16)], rate=10, bound=10, least=0.85
    ),
    # Both are within 0.03 of the same processes beside the store.
    "far": saturated(20, least=0.93 - 0.03, away=[FAR] * 4, silent=SILENT),
    "sixteen-near": saturated(20, 16, least=0.93),
    "one-far": saturated(
        20, 16, least=0.93 - 0.03, away=[FAR] + [NEAR] * 15, silent=SILENT
    ),
    "rare": Scenario(60, [[rare(0, 60, 6.0)] for _ in range(4)], queued=1.0),
    "kill": failing(20, (8, "kill", 1)),
    "pause": failing(26, (8, "pause", 1), (18, "resume", 1)),
    "flush": failing(20, (8, "flush", 0)),
    "restart": failing(20, (8, "lose", 0), (8.1, "start", 0)),
    "frozen-2": failing(20, (8, "freeze", 0), (10, "thaw", 0)),
    "frozen-5": failing(24, (8, "freeze", 0), (13, "thaw", 0)),
    "gone": failing(28, (8, "lose", 0), (16, "start", 0)),
    "wake": Scenario(
        28,
        [[rare(0, 9, 2.0), busy(9, 28)] for _ in range(4)],
        events=[(8, "lose", 0), (16, "start", 0)],
    ),
    "lower": saturated(40, admits=25, least=0.85 * 25 / RATE),
    "soak": Scenario(
        90,
        [
            *([busy(0, 90)] for _ in range(4)),
            [(0, 90, 3, 0.7)],
            [busy(20, 90, 20)],
        ],
        events=[
            (8, "flush", 0),
            (15, "lose", 0),
            (15.3, "start", 0),
            (24, "freeze", 0),
            (26, "thaw", 0),
            (32, "pause", 1),
            (38, "resume", 1),
            (44, "flush", 0),
            (44.2, "pause", 2),
            (47, "resume", 2),
            (54, "freeze", 0),
            (60, "thaw", 0),
            (60.1, "flush", 0),
            (68, "kill", 3),
            (69, "flush", 0),
            (76, "lose", 0),
            (77, "start", 0),
        ],
    ),
}


def child(*words: str) -> "subprocess.Popen[str]":
    return command(__file__, *words)


def command(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def happen(
    what: str, which: int, processes: "list[subprocess.Popen[str]]", engine: Engine
) -> None:
    signals = {"kill": 9, "pause": signal.SIGSTOP, "resume": signal.SIGCONT}
    if what in signals:
        processes[which].send_signal(signals[what])
    else:
        getattr(engine, what)()


def run(name: str, scenario: Scenario, engine: Engine) -> bool:
    """Run a scenario and print its row. Return whether the goals were reached."""
    with ExitStack() as stack:
        server = stack.enter_context(child("--serve", str(scenario.admits)))
        stack.callback(server.kill)
        url = line_of(server)
        processes = []
        stores = {0.0: "" if scenario.share else engine.url}
        for way in {*scenario.away}:
            assert isinstance(engine, ValkeyEngine)
            far = stack.enter_context(
                command(FAR_STORE, engine.socket, str(way)),
            )
            stack.callback(far.kill)
            stores[way] = line_of(far)
        ways = scenario.away or [0.0] * len(scenario.processes)
        for phases, way in zip(scenario.processes, ways, strict=True):
            given = {
                "url": url,
                "store": stores[way],
                "rate": scenario.rate,
                "share": scenario.share or 1.0,
                "phases": phases,
            }
            process = stack.enter_context(child("--work", json.dumps(given)))
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert line_of(process) == "ready"
        start = time.monotonic() + 0.5
        for process in processes:
            assert process.stdin
            print(start, file=process.stdin, flush=True)
        for at, what, which in scenario.events:
            time.sleep(max(0.0, start + at - time.monotonic()))
            happen(what, which, processes, engine)
        said = [line_of(process) for process in processes]
        with urlopen(f"{url}/counts") as answer:  # noqa: S310 - our own server on loopback
            counts = json.load(answer)
        times = [at - start for at in counts["times"]]
        return show(name, scenario, times, counts["refused"], said, engine)


def show(
    name: str,
    scenario: Scenario,
    times: list[float],
    refused: list[float],
    said: list[str],
    engine: Engine,
) -> bool:
    end, rate = scenario.seconds - 0.3, scenario.rate
    busiest = busiest_second(times)
    used = sum(STARTED <= at < end for at in times) / (end - STARTED) / rate
    # One that was killed says nothing.
    told = [json.loads(each) for each in said if each]
    calls: list[list[tuple[float, float]]] = [each["calls"] for each in told]
    queued = 1000 * median([wait for each in told for wait in each["queued"]] or [0.0])
    served = [sum(STARTED <= at < end for _, at in each) for each in calls]
    least = min(served) / (sum(served) / len(served)) if any(served) else 0.0
    operations = None if scenario.share else engine.operations()
    seconds = [
        round(sum(at <= each < at + 1 for each in times) / rate, 2)
        for at in range(int(scenario.seconds))
    ]
    silent = max(
        (longest_gap([at for _, at in each], end) for each in calls), default=0.0
    )
    row = [
        f"{name:14}",
        f"busiest {busiest:3}",
        f"used {used:.3f}",
        f"least {least:.2f}",
        f"operations {operations / len(times):.2f}" if operations else "",
        f"refused {len(refused)}",
        f"median wait {queued:.1f} ms",
        f"silent {silent:.2f} s",
    ]
    print("  ".join(each for each in row if each), flush=True)
    if scenario.events or name == "swap":
        print(f"{'':14}  {seconds}", flush=True)
    if scenario.bound is None:
        return busiest > rate
    if silent > scenario.silent or queued > scenario.queued:
        return False
    return busiest <= scenario.bound and used >= scenario.least


def longest_gap(answers: list[float], end: float) -> float:
    """The longest time in which a process had no answer, in seconds."""
    times = [STARTED, *(at for at in sorted(answers) if STARTED <= at < end), end]
    return max(later - at for at, later in pairwise(times))


# In virtual time.


async def imitate(scenario: Scenario) -> virtual.Simulation:
    server = virtual.Server(WAY, scenario.admits or None)
    count = len(scenario.processes)
    async with virtual.Simulation(
        count, rate=scenario.rate, server=server
    ) as simulation:
        changes: list[tuple[float, Callable[[], None]]] = []
        for number, phases in enumerate(scenario.processes):
            for begin, until, callers, pause in phases:

                def start(
                    at: tuple[int, int, float] = (number, callers, pause),
                ) -> None:
                    simulation.busy(*at)

                changes.append((begin, start))
                changes.append((until, lambda at=number: simulation.stop(at)))
        for at, what, _ in scenario.events:
            changes.append((at, lambda what=what: _happen_there(what, simulation)))
        for at, change in sorted(changes, key=lambda each: (each[0], id(each))):
            await simulation.run(simulation.start + at - virtual.now())
            change()
    return simulation


def _happen_there(what: str, simulation: virtual.Simulation) -> None:
    if what == "flush":
        simulation.store.flush()
    else:
        ends = {"lose": float("inf"), "start": virtual.now()}
        simulation.store.gone_until = ends[what]


# What the simulation can't do: stop a process, or a store that answers later.
REAL = {
    *("uncoordinated", "static", "kill", "pause", "frozen-2", "frozen-5", "soak"),
    *("far", "one-far"),
}


def run_virtual(name: str, scenario: Scenario) -> bool:
    random.seed(0)
    simulation = virtual.run(imitate(scenario))
    end = scenario.seconds - 0.3
    used, busiest = simulation.share(STARTED, end), simulation.busiest()
    each = simulation.store.operations / len(simulation.times())
    print(
        f"{name:14}  busiest {busiest:3}  used {used:.3f}  "
        f"least {simulation.least_served(STARTED, end):.2f}  operations {each:.2f}  "
        f"refused {len(simulation.server.refused)}",
        flush=True,
    )
    assert scenario.bound is not None
    return busiest <= scenario.bound and used >= scenario.least


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--engine", choices=["valkey", "sqlite"], default="valkey")
    parser.add_argument("--virtual", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
    elif given.work is not None:
        asyncio.run(work(given.work))
    else:
        missed = []
        for name in given.scenarios or SCENARIOS:
            scenario = SCENARIOS[name]
            if scenario.away and given.engine == "sqlite":
                # A file is not far away.
                continue
            if given.virtual:
                reached = name in REAL or run_virtual(name, scenario)
            else:
                with engine_called(given.engine) as engine:
                    reached = run(name, scenario, engine)
            if not reached:
                missed.append(name)
        if missed:
            sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
