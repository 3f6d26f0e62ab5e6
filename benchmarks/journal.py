"""What the journal costs: a process that deploys as fast as the limit allows, without a
journal and with one.

    python benchmarks/journal.py [--seconds 10]

    throughput   deploys per second, as a part of those without a journal
    operations   writes and renewals per deploy
    loop         milliseconds of CPU per deploy in the thread of the event loop
    thread       the same for the thread of the store
    wait         milliseconds by which a lone deploy takes longer, median

`deploy` hands each server out; `running` holds each one for a second. Both make all calls
at once. `paced` is `deploy` with one call after the other, as they come.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.stores import valkey

from edgegap_async import EdgegapSession, SharedState
from edgegap_async._shared.thread import StoreThread
from edgegap_async.simulator import Simulator

PLAYERS = ["203.0.113.7"]
# Deploys per second.
LIMIT = 40


async def deploy(edgegap: EdgegapSession) -> None:
    await edgegap.deployments.deploy("game", "1", users=PLAYERS, timeout=None)


async def running(edgegap: EdgegapSession) -> None:
    async with edgegap.deployments.running(
        "game", "1", users=PLAYERS, ready_timeout=None, timeout=None
    ):
        await asyncio.sleep(1.0)


async def paced(edgegap: EdgegapSession, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(deploy(edgegap))
            await asyncio.sleep(1 / LIMIT)


async def lone(edgegap: EdgegapSession) -> float:
    """The seconds of a deploy that waits for nobody."""
    taken: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        await deploy(edgegap)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)
    return median(taken)


async def work(url: str, store: str, what: str, count: int) -> None:
    shared = SharedState(store, key="bench") if store else None
    counts = {"operations": 0, "thread": 0.0}
    counted(counts)
    async with EdgegapSession("made-up", base_url=url, shared=shared) as edgegap:
        alone = await lone(edgegap)
        await asyncio.sleep(2.0)
        counts["operations"], busy = 0, counts["thread"]
        began, cpu = time.perf_counter(), time.thread_time()
        if what == "paced":
            await paced(edgegap, count)
        else:
            await asyncio.gather(*(globals()[what](edgegap) for _ in range(count)))
        taken = time.perf_counter() - began
        loop = time.thread_time() - cpu
    print(
        json.dumps(
            {
                "rate": count / taken,
                "operations": counts["operations"] / count,
                "loop": 1000 * loop / count,
                "thread": 1000 * (counts["thread"] - busy) / count,
                "alone": 1000 * alone,
            }
        )
    )


def counted(counts: dict[str, float]) -> None:
    """Count the calls in the threads of stores, and their CPU time."""
    submit = StoreThread.submit

    def counting(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        def call():  # type: ignore[no-untyped-def]
            counts["operations"] += 1
            before = time.thread_time()
            try:
                return fn(*args, **kwargs)
            finally:
                counts["thread"] += time.thread_time() - before

        return submit(self, call)

    StoreThread.submit = counting  # type: ignore[method-assign]


async def measure(engine: str, what: str, count: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        valkey() if engine == "valkey" else nullcontext() as server,
    ):
        store = {
            "none": "",
            "sqlite": f"sqlite:///{folder}/edgegap.db",
            "valkey": server.url if server else "",
        }[engine]
        async with Simulator(ready_after=(0.0, 0.1), delay_after=(0.0, 0.05)) as sim:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "work", sim.url, store, what, str(count)),
                stdout=subprocess.PIPE,
            )
            out, _ = await process.communicate()
    found: dict[str, float] = json.loads(out)
    return found


async def compare(seconds: float) -> None:
    print("what     journal  throughput  operations  loop  thread  wait")
    for what in ("deploy", "running", "paced"):
        none = await measure("none", what, int(seconds * LIMIT))
        for engine in ("none", "sqlite", "valkey"):
            found = none
            if engine != "none":
                found = await measure(engine, what, int(seconds * LIMIT))
            print(
                f"{what:8} {engine:7}  {found['rate'] / none['rate']:10.3f}  {found['operations']:10.2f}  "
                f"{found['loop']:4.2f}  {found['thread']:6.2f}  {found['alone'] - none['alone']:4.1f}",
                flush=True,
            )


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        url, store, what, count = sys.argv[2:]
        asyncio.run(work(url, store, what, int(count)))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    asyncio.run(compare(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
