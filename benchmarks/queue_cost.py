"""Compares the CPU time of a limiter with that of aiolimiter while many calls queue.

    python benchmarks/queue_cost.py [--rounds 3]

10,000 and 100,000 calls queue at once, and the limit lets 20,000 of them through in a
second, in bursts of 20. So the limiter is what keeps the process busy. The SDK's has
its lock, its slots, and aiolimiter itself as its shaper. The output is the best of all
rounds: microseconds per call, without the cost of a task that does nothing. The exit
code is 1 if the SDK's limiter costs more than 0.6 of aiolimiter. `limits.py` runs this
too.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from aiolimiter import AsyncLimiter

from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.slots import Slots
from edgegap_async.endpoints import Limit

RATE, BURST = 20_000.0, 20
QUEUED = (10_000, 100_000)
GOAL = 0.6
Call = Callable[[], Awaitable[object]]


def nothing() -> Call:
    """A call without a limiter."""

    async def call() -> None:
        pass

    return call


def ours() -> Call:
    """A call with the SDK's limiter, which is answered at once."""
    limiter = Limiter(Slots(Limit("deploy", RATE, BURST)))

    async def call() -> None:
        await limiter.acquire(limiter.ticket())
        limiter.answered(asyncio.get_running_loop().time())

    return call


def theirs() -> Call:
    """A call with aiolimiter."""
    limiter = AsyncLimiter(BURST, BURST / RATE)

    async def call() -> None:
        await limiter.acquire()

    return call


def cost(make: Callable[[], Call], calls: int) -> float:
    """CPU seconds per call."""

    async def run() -> float:
        call = make()
        began = time.process_time()
        await asyncio.gather(*(call() for _ in range(calls)))
        return (time.process_time() - began) / calls

    return asyncio.run(run())


def report(rounds: int = 3) -> bool:
    """Print a table; whether the goal is reached."""
    good = True
    print(
        "| calls that queue | goal | the SDK | aiolimiter | ratio |\n|---|---|---|---|---|"
    )
    for calls in QUEUED:
        best = {
            make: min(cost(make, calls) for _ in range(rounds))
            for make in (nothing, ours, theirs)
        }
        own, other = best[ours] - best[nothing], best[theirs] - best[nothing]
        reached = own <= GOAL * other
        good = good and reached
        print(
            f"| {calls:,} | {GOAL}{'' if reached else ' FAILED'} | {own * 1e6:.1f} us | {other * 1e6:.1f} us "
            f"| {own / other:.2f} |",
            flush=True,
        )
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    sys.exit(not report(parser.parse_args().rounds))
