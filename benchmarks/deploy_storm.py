"""Deploys in a storm of faults, a share of the callers cancelled: is a server handed
out twice, or forgotten?

    python benchmarks/deploy_storm.py [--deploys 2000] [--seed 1] [--columns NAME ...]

Against the simulator, in virtual time. The first columns have faults of every kind at
once. The session is closed when the last caller is served (what may run must be named
in `leftovers`), after its quarantine (nothing may run that nobody has), or in the
middle. The further columns have one kind of fault each: replicas that lag, gateways
that answer in the API's place, proxies that send a POST twice, lists that show less or
later than they should, answers that never come, a consumer that stands still.

The last rows show what anybody would write under the same faults, with no caller
cancelled: aiohttp that repeats on an error. Exits with 1 where a goal is missed, or
where this client or `deploy_once=False` loses nothing: then the faults were too mild
and the run is void.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Mapping

import aiohttp
from storm_callers import Callers
from storm_clients import TIMEOUT, Client, Naive, Sdk
from storm_columns import COLUMNS, GOALS, Column, Range
from storm_figures import Record, figures, lost

from edgegap_async.simulator import Simulator
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# In seconds in each direction.
WAY = (0.005, 0.03)
# In seconds from the beginning: closed in the middle.
MIDDLE = 30.0
# In seconds: longer than a tag stays in quarantine.
QUARANTINE_ENDS = 330.0
# In seconds. What is late still happens.
ALL_HAPPENED = 60.0
# The share of the callers that are cancelled.
CANCELLED = 0.05


async def run(
    column: Column, sim: Simulator, record: Record, callers: Callers, *, naive: bool
) -> None:
    """Serve all callers, and close the session."""
    loop = asyncio.get_running_loop()
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(callers.request_sent)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), trace_configs=[trace]
    )
    async with sim, http:
        client: Client = (
            Naive(sim.url, http)
            if naive
            else Sdk(sim.url, http, record, once=column.client == "sdk")
        )
        in_the_middle = column.closed == "in the middle"
        record.began = loop.time()
        callers.start(client)
        await callers.wait(MIDDLE if in_the_middle else 2 * TIMEOUT)
        record.served = loop.time()
        await asyncio.sleep(QUARANTINE_ENDS if column.closed == "after" else 0)
        closing = loop.time()
        try:
            async with asyncio.timeout(TIMEOUT):
                await client.aclose()
        except TimeoutError:
            record.hung += 1
        record.seconds_to_close = loop.time() - closing
        await callers.wait(ALL_HAPPENED)
        callers.end()
        await asyncio.sleep(ALL_HAPPENED)


def measure(
    column: Column, deploys: int, seed: int, *, naive: bool, cancelled: float
) -> dict[str, float]:
    """Return the figures of one run."""
    random.seed(seed)
    record = Record(column.callers or deploys)
    sim = Simulator(
        seed=seed,
        delay_before=WAY,
        delay_after=WAY,
        faults=column.faults,
        **column.simulator,
    )
    callers = Callers(column, sim, record, cancelled, seed)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run(column, sim, record, callers, naive=naive))
    return figures(column, sim, record)


def all_figures(column: Column, deploys: int, seed: int) -> dict[str, float]:
    """Return the figures of a column, with those of the naive client beside it."""
    found = measure(
        column, deploys, seed, naive=column.client == "naive", cancelled=CANCELLED
    )
    naive = measure(column, deploys, seed, naive=True, cancelled=0.0)
    return {
        **found,
        "naive: handed out twice": naive["handed out twice"],
        "naive: forgotten": naive["forgotten"],
        "naive: most started, not handed out": naive["most started, not handed out"],
    }


def missed_goals(column: Column, found: Mapping[str, float]) -> set[str]:
    """Return the names of the figures that miss their goals; only the SDK has goals."""
    if column.client != "sdk":
        return set()
    goals = {**GOALS, **column.goals}
    return {name for name in found if not goals.get(name, Range()).holds(found[name])}


def is_void(column: Column, found: Mapping[str, float]) -> bool:
    """Whether the faults were too mild: a client without protection lost nothing."""
    naive = found["naive: handed out twice"] + found["naive: forgotten"]
    return not naive or (column.client != "sdk" and not lost(found))


def cell(value: float, missed: bool) -> str:
    """Return a figure as text."""
    return f"{value:.4g}{' FAILED' if missed else ''}"


def main() -> None:
    """Run the columns, and print them side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deploys", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    names = [column.name for column in COLUMNS]
    parser.add_argument(
        "--columns",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"one or more of: {'; '.join(names)}",
    )
    given = parser.parse_args()
    columns = [column for column in COLUMNS if column.name in given.columns]
    # Every fault writes a line.
    logging.disable(logging.CRITICAL)
    found = {it.name: all_figures(it, given.deploys, given.seed) for it in columns}
    missed = {it.name: missed_goals(it, found[it.name]) for it in columns}
    print(f"| {given.deploys} deploys | {' | '.join(found)} |")
    print(f"|{'---|' * (1 + len(found))}")
    for row in next(iter(found.values())):
        cells = [cell(found[name][row], row in missed[name]) for name in found]
        print(f"| {row} | {' | '.join(cells)} |")
    void = [it.name for it in columns if is_void(it, found[it.name])]
    if void:
        print(f"VOID: in {', '.join(void)} a client without protection lost nothing")
    sys.exit(bool(void or any(missed.values())))


if __name__ == "__main__":
    main()
