"""Measures what a load test costs: the CPU time of a process that runs one at 40 deploys
per second, in percent of a core.

    python benchmarks/load_overhead.py [--seconds 30] [--rate 40]

The simulator has a process of its own. `whole` is all that the process does: the SDK's
deploys, polls and stops, the recording, the progress each second and the report. `test` is
the part of `edgegap_async.load`, by the profile of a second test: the time in functions of
its own files. Then the time and the memory of 100,000 recorded deploys and their report
are measured. The exit code is 1 if the whole costs more than its goal. It uses CPU time, so
other programs hardly change the result.
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from edgegap_async import DeployOutcome, DeployRequest, EdgegapSession, load
from edgegap_async.load.building import report_of
from edgegap_async.load.page import page_of
from edgegap_async.load.recording import Recording
from edgegap_async.models.deployment import ReadyDeployment

GOAL = 0.10
OURS = str(Path(load.__file__).parent)
REQUEST = DeployRequest("game", "1", users=["203.0.113.7"])
MANY = 100_000


async def one_test(url: str, rate: float, seconds: float) -> load.Report:
    plan = load.Plan(request=REQUEST, rate=rate, hold=seconds, lifetime=10)
    async with EdgegapSession("made-up", base_url=url) as edgegap:
        return await load.run(plan, edgegap, on_update=lambda _: None)


def measured(url: str, rate: float, seconds: float) -> tuple[float, float, float]:
    """Return the shares of a core, of the whole and of the test, and the schedule kept."""
    began, cpu = time.perf_counter(), time.process_time()
    report = asyncio.run(one_test(url, rate, seconds))
    whole = (time.process_time() - cpu) / (time.perf_counter() - began)
    profile = cProfile.Profile(time.process_time)
    began, cpu = time.perf_counter(), time.process_time()
    profile.enable()
    asyncio.run(one_test(url, rate, seconds))
    profile.disable()
    times = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    ours = sum(row[2] for (path, *_), row in times if path.startswith(OURS))
    profiled = sum(row[2] for _, row in times)
    return whole, whole * ours / profiled, report.schedule_kept


def recorded() -> int:
    """Record many deploys and report them. Returns the bytes of their page."""
    chosen = random.Random(1)
    recording = Recording()
    for number in range(MANY):
        outcome = DeployOutcome(
            REQUEST,
            ReadyDeployment(request_id=f"{number:012x}"),
            queued=chosen.random(),
            accepted_after=0.1,
            ready_after=chosen.lognormvariate(1, 0.4),
        )
        recording.add(outcome, number / 40, number / 40, number / 40 + 5)
    report = report_of(
        recording,
        load.Plan(request=REQUEST, rate=40, count=MANY),
        seconds=MANY / 40 + 10,
        due_until=MANY / 40,
        target="",
        limits={
            "deploy": load.LimitCounts(
                allowed=40, requests=MANY, busiest_second=40, refused=0
            )
        },
    )
    return len(page_of(report))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=40.0)
    given = parser.parse_args()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "edgegap_async", "simulate"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert simulator.stdout is not None
        url = simulator.stdout.readline().strip()
        whole, ours, kept = measured(url, given.rate, given.seconds)
    finally:
        simulator.terminate()
        simulator.communicate()
    print(f"at {given.rate:g}/s, of a core: whole {whole:.1%}, test {ours:.1%}")
    print(f"schedule kept: {kept:.1%}")
    began = time.process_time()
    page = recorded()
    seconds = time.process_time() - began
    tracemalloc.start()
    recorded()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(
        f"{MANY:,} deploys: {seconds:.1f} s to record and report, at most {peak:.0f} MB, "
        f"a page of {page / 1e3:.0f} kB"
    )
    return 0 if whole <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
