"""How late waiters in several processes learn that their servers are ready.

    python benchmarks/shared_waiters.py [--engine valkey|sqlite] [--processes 4]
        [--waiters 1000]

The processes share one budget (`EdgegapSession(shared=...)`). They start all servers,
and wait for all of them at once, while these become ready over six seconds. There are no
webhooks, so each learns it from its polls. The simulator has a process of its own, with
the documented limits for status and list. The exit code is 1 if the p95 of the delays is
above its goal, or a request was refused.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from math import ceil

from shared import engine_called

from edgegap_async import EdgegapSession, Limits, SharedState
from edgegap_async.simulator import Simulator

# Seconds.
GOAL = 0.9
WAY = (0.005, 0.03)
# From the deploy of a server until it is ready.
READY_AFTER = (8.0, 14.0)
# Deploys per second, which are not measured.
DEPLOYS = 500


async def work(url: str, store: str, waiters: int) -> None:
    """Start so many servers, and print when each was known to be ready."""
    known: dict[str, float] = {}
    async with EdgegapSession(
        "made-up-token",
        base_url=url,
        limits=Limits(deploy=DEPLOYS),
        shared=SharedState(store, key="waiters"),
        timeout=None,
    ) as edgegap:

        async def one() -> None:
            deployments = edgegap.deployments
            accepted = await deployments.deploy("app", "1", users=["203.0.113.7"])
            await deployments.wait_until_ready(accepted.request_id, timeout=None)
            known[accepted.request_id] = asyncio.get_running_loop().time()

        async with asyncio.TaskGroup() as group:
            for _ in range(waiters):
                group.create_task(one())
    print(json.dumps(known))


async def measure(store: str, processes: int, waiters: int) -> bool:
    """Print the figures. Return whether the goals were reached."""
    simulator = Simulator(
        ready_after=READY_AFTER,
        rates={"deploy": DEPLOYS},
        delay_before=WAY,
        delay_after=WAY,
    )
    command = [sys.executable, __file__, "--work"]
    async with simulator:
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                        [*command, simulator.url, store, str(waiters // processes)],
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                for _ in range(processes)
            ]
            outputs = await asyncio.gather(
                *(asyncio.to_thread(child.communicate) for child in children)
            )
        known = {
            request_id: at
            for output, _ in outputs
            for request_id, at in json.loads(output).items()
        }
        late = sorted(
            at - (simulator.ready_or_failed_at(request_id) or 0.0)
            for request_id, at in known.items()
        )
        limits = simulator.counts()["limits"]
    p50, p95 = (late[ceil(part * len(late)) - 1] for part in (0.5, 0.95))
    polls = sum(limits[name]["arrivals"] for name in ("status", "list"))
    refused = sum(limit["refused"] for limit in limits.values())
    busiest = {name: limit["busiest_second"] for name, limit in limits.items()}
    print(
        f"{len(late)} waiters in {processes} processes: p50 {p50:.2f} s, "
        f"p95 {p95:.2f} s, max {late[-1]:.2f} s; polls per waiter {polls / len(late):.2f}, "
        f"refused {refused}, busiest second {busiest}"
    )
    return len(late) == waiters and p95 <= GOAL and not refused


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=["valkey", "sqlite"], default="valkey")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        url, store, waiters = given.work
        asyncio.run(work(url, store, int(waiters)))
        return
    with engine_called(given.engine) as engine:
        reached = asyncio.run(measure(engine.url, given.processes, given.waiters))
    sys.exit(not reached)


if __name__ == "__main__":
    main()
