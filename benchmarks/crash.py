"""What remains of processes that are killed: which servers run on, and which were stopped
though they should not.

Processes launch matches with `running()`, `deploy_many` and `deploy()`, with a common journal,
on a simulator that loses and repeats deploys and shows each server within 5 s. At random
moments, some of the processes are killed with SIGKILL. After the owner lease, the search
window and 10 s,

    forgotten   servers run that no living process holds, and no caller was given
    wrong       servers were stopped that a living process holds, or a caller was given
    journal     entries are left, after the living ones have closed, that are no tags in
                quarantine

Each must be 0. A server that was handed over within the last moments before a SIGKILL may
be of either kind: nobody can tell whether its caller had it.

    python benchmarks/crash.py sqlite|valkey|none [--runs 10] [--scenario kill|stop|flush|all]
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.stores import Valkey, valkey

from edgegap_async import DeployRequest, EdgegapSession, Limits, SharedState
from edgegap_async._shared.listing import OpenEntry
from edgegap_async._shared.listing import open_entries as listing_of
from edgegap_async.errors import EdgegapError
from edgegap_async.simulator import Fault, Simulator

KEY = "crash"
PLAYERS = ["203.0.113.7"]
PROCESSES = 4
# Seconds. The search window is that of a session that has seen no lag.
LEASE, WINDOW, MARGIN = 5.0, 5.0, 10.0
# Seconds before a SIGKILL in which a hand-over may be lost with the process.
LAST_MOMENT = 0.25
# All of them show a server within 5 s.
FAULTS = (
    Fault("deploy", "cut-after", 0.03),
    Fault("deploy", "502-after", 0.03),
    Fault("deploy", "cut-before", 0.02),
    Fault("deploy", "late", 0.05, 2.0),
    Fault("deploy", "processed-late", 0.02, 2.0),
    Fault("deploy", "twice-first", 0.02, 1.0),
    Fault("list", "lag", 0.2, 1.5),
)


# A process that launches matches. It writes a line for each step, so that they are known
# when it is killed.


def say(word: str, request_id: str) -> None:
    os.write(1, f"{word} {request_id}\n".encode())


async def pauses(count: int, rate: float) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await asyncio.sleep(random.expovariate(rate))


async def hold(edgegap: EdgegapSession, over: asyncio.Event) -> None:
    try:
        async with edgegap.deployments.running("game", "1", users=PLAYERS) as server:
            say("held", server.request_id)
            await over.wait()
            say("released", server.request_id)
    except EdgegapError:
        pass


async def hand_out(edgegap: EdgegapSession) -> None:
    try:
        accepted = await edgegap.deployments.deploy("game", "1", users=PLAYERS)
    except EdgegapError:
        return
    say("handed", accepted.request_id)


async def many(edgegap: EdgegapSession, count: int, rate: float) -> None:
    async def requests() -> AsyncIterator[DeployRequest]:
        async for _ in pauses(count, rate):
            yield DeployRequest("game", "1", users=PLAYERS)

    async with edgegap.deployments.deploy_many(requests()) as outcomes:
        taken = ""
        async for outcome in outcomes:
            if taken:
                say("handed", taken)
            taken = outcome.deployment.request_id if outcome.deployment else ""
            if taken:
                say("taken", taken)
    if taken:
        say("handed", taken)


async def work(url: str, store: str, matches: int, rate: float) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    async with (
        EdgegapSession(
            "made-up",
            base_url=url,
            # With a journal, the processes share the limits.
            limits=Limits(share=1.0 if store else 1 / PROCESSES),
            attempt_timeout=WINDOW / 2,
            shared=SharedState(store, key=KEY, owner_lease=LEASE) if store else None,
        ) as edgegap,
        asyncio.TaskGroup() as group,
    ):
        say("ready", "-")
        each = matches // 3
        group.create_task(many(edgegap, each, rate / 3))
        async for number in pauses(matches - each, rate * 2 / 3):
            group.create_task(hold(edgegap, over) if number % 2 else hand_out(edgegap))
        await over.wait()


# The parent: the simulator, and what the processes have said.


@dataclass
class Process:
    """One process, and what it has said about its servers."""

    process: asyncio.subprocess.Process
    held: dict[str, float] = field(default_factory=dict)
    handed: dict[str, float] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)
    killed_at: float | None = None
    reading: "asyncio.Task[None] | None" = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            word, request_id = line.decode().split()
            if word == "ready":
                self.ready.set()
            elif word == "released":
                del self.held[request_id]
            else:
                getattr(self, word)[request_id] = time.monotonic()

    def kill(self) -> None:
        self.killed_at = time.monotonic()
        self.process.kill()


async def start(url: str, store: str, matches: int, rate: float) -> Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "work", url, store, str(matches), str(rate)),
        stdout=subprocess.PIPE,
    )
    started = Process(process)
    started.reading = asyncio.create_task(started.read())
    return started


@dataclass
class Found:
    """The result of one run."""

    deployed: int
    forgotten: set[str]
    wrong: set[str]
    journal: int
    moments: int
    about: list[str]

    @property
    def good(self) -> bool:
        return not (self.forgotten or self.wrong or self.journal)


async def disturb(
    scenario: str,
    processes: list[Process],
    store: str,
    server: Valkey | None,
    span: float,
) -> None:
    """Kill two processes at random moments, or do what the scenario is about."""
    moments = sorted(random.uniform(0.3 * span, 0.9 * span) for _ in range(2))
    began = time.monotonic()
    victims = random.sample(processes, 2)
    for number, (moment, victim) in enumerate(zip(moments, victims, strict=True)):
        await asyncio.sleep(began + moment - time.monotonic())
        if scenario == "stop" and number == 0:
            victim.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(3.0)
            victim.process.send_signal(signal.SIGCONT)
        elif scenario == "flush" and number == 0:
            empty(store, server)
        else:
            victim.kill()
    if scenario == "all":
        for process in processes:
            if process.killed_at is None:
                process.kill()


def empty(store: str, server: Valkey | None) -> None:
    """The store loses everything, and is restarted."""
    if server:
        server.stop()
        server.start()
    else:
        for end in ("", "-wal", "-shm"):
            Path(store.removeprefix("sqlite:///") + end).unlink(missing_ok=True)


async def run(
    scenario: str, store: str, server: Valkey | None, matches: int, rate: float
) -> Found:
    async with Simulator(
        faults=FAULTS, ready_after=(0.2, 1.0), seed=random.randrange(10**6)
    ) as sim:
        each = matches // PROCESSES
        processes = [
            await start(sim.url, store, each, rate / PROCESSES)
            for _ in range(PROCESSES)
        ]
        for process in processes:
            await process.ready.wait()
        await disturb(scenario, processes, store, server, matches / rate)
        if scenario == "all":
            processes.append(await start(sim.url, store, 0, 1.0))
            # It claims nobody before one lease is over.
            await processes[-1].ready.wait()
        await asyncio.sleep(LEASE + WINDOW + MARGIN)
        found = judge(sim, processes, open_entries(store))
        for process in processes:
            if process.killed_at is None:
                process.process.terminate()
            await process.process.wait()
            assert process.reading
            await process.reading
        # The living ones have closed, so what runs now was handed out.
        closed = judge(sim, processes, [])
        found.forgotten |= closed.forgotten
        found.wrong |= closed.wrong
        found.about += [it for it in closed.about if it not in found.about]
    quiet = ("quarantine", "checked")
    found.journal = sum(1 for it in open_entries(store) if it.state not in quiet)
    return found


def judge(sim: Simulator, processes: list[Process], opened: list[OpenEntry]) -> Found:
    """Compare the servers with what the processes have said.

    Args:
        opened: what is in the journal: a living process may have a deploy on its way, or
            a stop.
    """
    stopped, running = sim.stopped(), sim.running() - sim.stopped()
    known: set[str] = set()
    kept: set[str] = set()
    moments: set[str] = set()
    for process in processes:
        known |= process.handed.keys()
        kept |= process.handed.keys()
        if process.killed_at is None:
            mine = [it for it in opened if it.pid == process.process.pid]
            known |= {it.request_id for it in mine if it.request_id}
            tags = {it.tag for it in mine}
            known |= {it for it in running if not tags.isdisjoint(sim.tags_of(it))}
            known |= process.held.keys() | process.taken.keys()
            kept |= process.held.keys()
            continue
        # Its last outcome was taken, and may have been released.
        moments |= {*list(process.taken)[-1:]}
        last = process.killed_at - LAST_MOMENT
        moments |= {it for it, at in process.handed.items() if at >= last}
    forgotten = running - known - moments
    late = {it for it in forgotten if answered_lately(sim, it, processes)}
    moments |= late
    return Found(
        len(sim.deployed()),
        forgotten - late,
        (stopped & kept) - moments,
        0,
        len(moments & (running | stopped)),
        [
            f"{it}: {describe(sim, it, processes)}"
            for it in (forgotten - late) | ((stopped & kept) - moments)
        ],
    )


def describe(sim: Simulator, request_id: str, processes: list[Process]) -> str:
    made_at = sim._parts.world.known(request_id).created_at
    kills = [it.killed_at - made_at for it in processes if it.killed_at is not None]
    after = ", ".join(f"{each:.2f} s" for each in kills)
    return f"tags {', '.join(sim.tags_of(request_id))}; the kills came after {after}"


def answered_lately(sim: Simulator, request_id: str, processes: list[Process]) -> bool:
    """Whether a process was killed just when it was given a server, perhaps before it could
    say so.
    """
    made_at = sim._parts.world.known(request_id).created_at
    return any(
        process.killed_at is not None and 0 <= process.killed_at - made_at < LAST_MOMENT
        for process in processes
    )


def open_entries(store: str) -> list[OpenEntry]:
    if not store:
        return []
    listing = listing_of(SharedState(store, key=KEY), KEY)
    assert not listing.unreadable
    return list(listing.entries)


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[tuple[str, Valkey | None]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        valkey() if engine == "valkey" else nullcontext() as server,
    ):
        url = server.url if server else f"sqlite:///{folder}/edgegap.db"
        yield ("" if engine == "none" else url), server


async def measure(options: argparse.Namespace) -> int:
    bad = 0
    print("run  servers  forgotten  wrong  journal  in the last moment")
    for number in range(options.runs):
        async with opened(options.engine) as (store, server):
            found = await run(
                options.scenario, store, server, options.matches, options.rate
            )
        print(
            f"{number + 1:3}  {found.deployed:7}  {len(found.forgotten):9}  {len(found.wrong):5}  "
            f"{found.journal:7}  {found.moments:18}",
            flush=True,
        )
        for line in found.about:
            print("    ", line)
        bad += not found.good
    return bad


def main() -> int:
    if sys.argv[1] == "work":
        url, store, matches, rate = sys.argv[2:]
        asyncio.run(work(url, store, int(matches), float(rate)))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", choices=["sqlite", "valkey", "none"])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--matches", type=int, default=400)
    parser.add_argument("--rate", type=float, default=30.0, help="matches per second")
    parser.add_argument(
        "--scenario", choices=["kill", "stop", "flush", "all"], default="kill"
    )
    return 1 if asyncio.run(measure(parser.parse_args())) else 0


if __name__ == "__main__":
    sys.exit(main())
