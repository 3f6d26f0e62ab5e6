"""Checks whether one process keeps the documented limits however it uses the SDK.

    python benchmarks/one_process.py [--loop asyncio|uvloop]

One process makes 20 event loops in a row, two of them in two threads, or a session for
each task; or its callers give up while a proxy stalls for 8 s. The output is the busiest
second of deploys, statuses and lists at the server, and how many arrived. The exit code
is 1 if one of them is above its limit. `limits.py` runs this too.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.request import Request, urlopen

from arrivals import busiest_second, fetch, server

from edgegap_async import EdgegapError, EdgegapSession

LIMITS = {"deploy": 40, "status": 20, "list": 10}
RUNS, TASKS, STALL = 20, 60, 8.0
# Seconds that two threads are busy, and that a caller waits during the stall.
BUSY, PATIENCE = 8.0, 1.0
Run = Callable[[Coroutine[Any, Any, None]], None]


def calls(edgegap: EdgegapSession, **options: Any) -> dict[str, Awaitable[object]]:
    """One call under each limit."""
    return {
        "deploy": edgegap.deployments.deploy(
            "app", "1", users=["203.0.113.7"], **options
        ),
        "status": edgegap.deployments.status("c065", **options),
        "list": edgegap.deployments.list(**options),
    }


def session(url: str) -> EdgegapSession:
    """A session that searches for no tags, which would be further lists."""
    return EdgegapSession("token", base_url=url, deploy_once=False)


async def some(url: str) -> None:
    """Calls of one session, as many as a second allows."""
    async with session(url) as edgegap:
        await asyncio.gather(
            *(
                call
                for number in range(LIMITS["deploy"])
                for name, call in calls(edgegap, timeout=None).items()
                if number < LIMITS[name] or call.close()
            )
        )


async def session_per_task(url: str) -> None:
    """A session for each of many tasks."""

    async def task() -> None:
        async with session(url) as edgegap:
            await asyncio.gather(*calls(edgegap, timeout=None).values())

    await asyncio.gather(*(task() for _ in range(TASKS)))


async def busy(url: str, seconds: float, timeout: float | None) -> None:
    """Callers without a pause, for so long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def caller(edgegap: EdgegapSession, name: str) -> None:
        while loop.time() < end:
            chosen = calls(edgegap, timeout=timeout)
            for other, call in chosen.items():
                if other != name:
                    call.close()
            with suppress(EdgegapError):
                await chosen[name]
            await asyncio.sleep(0.02)

    async with session(url) as edgegap:
        await asyncio.gather(
            *(
                caller(edgegap, name)
                for name, rate in LIMITS.items()
                for _ in range(2 * rate)
            )
        )


def in_a_row(run: Run, url: str) -> None:
    """20 event loops, one after another."""
    for _ in range(RUNS):
        run(some(url))


def in_threads(run: Run, url: str) -> None:
    """Two event loops at a time."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, busy(url, BUSY, None)) for _ in range(2)]
    for each in runs:
        each.result()


def per_task(run: Run, url: str) -> None:
    """A session for each task."""
    run(session_per_task(url))


def stalled(run: Run, url: str) -> None:
    """A proxy stalls, and callers give up."""

    async def program() -> None:
        work = asyncio.ensure_future(busy(url, 3 + STALL + 12, PATIENCE))
        await asyncio.sleep(3)
        request = Request(f"{url}/stall/{STALL}", method="POST")  # noqa: S310
        await asyncio.to_thread(lambda: urlopen(request).close())  # noqa: S310
        await work

    run(program())


WAYS: dict[str, Callable[[Run, str], None]] = {
    f"{RUNS} event loops in a row": in_a_row,
    "two threads": in_threads,
    "a session per task": per_task,
    f"a stall of {STALL:.0f} s": stalled,
}


def report(loop: str) -> bool:
    """Print a table; whether no limit was exceeded."""
    run: Run = asyncio.run
    if loop == "uvloop":
        import uvloop

        run = uvloop.run
    good = True
    names = " | ".join(f"{name} ({rate}/s)" for name, rate in LIMITS.items())
    print(f"| {loop}: busiest second / arrivals | {names} |\n|{'---|' * 4}")
    for way, use in WAYS.items():
        with server("30 ms", rate=1000) as url:
            use(run, url)
            times = {"deploy": fetch(url)[0]} | {
                name: fetch(url, name)[0] for name in ("status", "list")
            }
        most = {name: busiest_second(each) for name, each in times.items()}
        kept = all(most[name] <= rate for name, rate in LIMITS.items())
        good = good and kept
        cells = " | ".join(f"{most[name]} / {len(times[name])}" for name in LIMITS)
        print(f"| {way}{'' if kept else ' FAILED'} | {cells} |", flush=True)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
    sys.exit(not report(parser.parse_args().loop))
