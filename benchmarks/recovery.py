"""How long a deploy takes if its answer is lost, in virtual time.

    python benchmarks/recovery.py

Each row is one kind of fault. "found" means that the operation was done, so that a
server is found; "deployed again" means that it was not done. In the column "first" the
deploy is the first one of its session; in the column "later" the session knows the lag
of the lists.
"""

import argparse
import asyncio
from collections.abc import Sequence

from edgegap_async import EdgegapError, EdgegapSession
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

# Seconds until the lag of the lists is known.
SETTLED = 20.0
ROWS: Sequence[tuple[str, str, Fault]] = (
    ("5xx", "found", Fault("deploy", "502-after", times=1)),
    ("connection closed", "found", Fault("deploy", "cut-after", times=1)),
    ("no answer", "found", Fault("deploy", "hang-after", times=1)),
    ("5xx", "deployed again", Fault("deploy", "502-before", times=1)),
    ("connection closed", "deployed again", Fault("deploy", "cut-before", times=1)),
    ("no answer", "deployed again", Fault("deploy", "hang-before", times=1)),
)


async def seconds(fault: Fault, *, settled: bool, lag: float) -> float | EdgegapError:
    """Return how long a deploy takes, or its error."""
    lists = [Fault("list", "lag", seconds=lag)] if lag else []
    async with (
        Simulator(faults=lists) as sim,
        EdgegapSession("made-up", base_url=sim.url) as edgegap,
    ):
        loop = asyncio.get_running_loop()
        if settled:
            await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
            await asyncio.sleep(SETTLED + 2 * lag)
        sim.faults = [*lists, fault]
        began = loop.time()
        try:
            await edgegap.deployments.deploy(
                "game", "1", users=["203.0.113.7"], timeout=None
            )
        except EdgegapError as error:
            return error
        return loop.time() - began


def cell(taken: float | EdgegapError) -> str:
    """Return a figure of the table."""
    return f"{taken:.1f} s" if isinstance(taken, float) else type(taken).__name__


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lag", type=float, default=0.0, help="Seconds of the lists.")
    lag = parser.parse_args().lag
    print("| answer | outcome | first | later |")
    print("|---|---|---|---|")
    for name, outcome, fault in ROWS:
        cells = []
        for settled in (False, True):
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
                taken = runner.run(seconds(fault, settled=settled, lag=lag))
            cells.append(cell(taken))
        print(f"| {name} | {outcome} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
