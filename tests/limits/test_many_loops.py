"""One process and one token are one budget, on however many loops and threads.

These tests run on real loops. They count arrivals at a server in a thread of its own,
so a slow machine can't make them fail.
"""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from support.limiter_model import busiest_second
from support.raw_server import GET, SILENT, TOKEN, Act, RawServer, session

from edgegap_async import EdgegapSession, Limits
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning"),
]
LIMIT = 20
AT_ONCE = Limits(burst=LIMIT)
Program = Callable[[str], Awaitable[object]]


@contextmanager
def served(*acts: Act) -> Iterator[RawServer]:
    """Run a server in a thread of its own."""
    server, ready = RawServer(*acts), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def run_script(code: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with a URL as its argument."""
    return subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", code, url], check=False, capture_output=True, text=True
    )


async def several(edgegap: EdgegapSession, calls: int = LIMIT) -> None:
    await asyncio.gather(*(GET(edgegap, timeout=None) for _ in range(calls)))


async def one_session(url: str) -> None:
    async with session(url, limits=AT_ONCE) as edgegap:
        await several(edgegap)


async def session_per_task(url: str) -> None:
    async def task() -> None:
        async with session(url, limits=AT_ONCE) as edgegap:
            await GET(edgegap, timeout=None)

    await asyncio.gather(*(task() for _ in range(LIMIT)))


async def unclosed(url: str) -> None:
    await several(session(url, limits=AT_ONCE))


def in_a_row(program: Program, url: str) -> None:
    for _ in range(3):
        asyncio.run(program(url))


def in_threads(program: Program, url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(asyncio.run, program(url)) for _ in range(3)]
    for run in runs:
        run.result()


@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        session_per_task,
        *(pytest.param(it, marks=pytest.mark.full) for it in (one_session, unclosed)),
    ],
)
@pytest.mark.parametrize("way", [in_a_row, in_threads])
def test_one_process_is_one_budget(
    program: Program, way: Callable[[Program, str], None]
) -> None:
    with served() as server:
        way(program, server.url)
        gc.collect()
    assert len(server.arrivals) == 3 * LIMIT
    assert busiest_second(server.times) <= LIMIT


# Neither the sessions nor their tasks have an orderly end. asyncio reports that, which
# is why this runs in a process of its own.
CUT_OFF = f"""
import asyncio, gc, sys
from edgegap_async import EdgegapSession, Limits

def session():
    return EdgegapSession({TOKEN!r}, base_url=sys.argv[1], limits=Limits(burst={LIMIT}))

async def five():
    async with session() as edgegap:
        calls = (edgegap.deployments.status("c065", timeout=4) for _ in range(5))
        await asyncio.gather(*calls, return_exceptions=True)

def cut_off():
    loop, edgegap = asyncio.new_event_loop(), session()
    for _ in range({LIMIT}):
        loop.create_task(edgegap.deployments.status("c065"))
    loop.run_until_complete(asyncio.sleep(0.3))
    loop.close()
    return edgegap if keep else None

for keep in (True, False, True):
    kept = cut_off()
    gc.collect()
asyncio.run(five())
"""


@pytest.mark.full
@pytest.mark.slow
def test_loops_that_were_closed_at_once_leave_their_slots_cooling() -> None:
    with served(SILENT) as server:
        run = run_script(CUT_OFF, server.url)
    assert run.returncode == 0, run.stderr
    # The first loop has used all slots but the reserve. The last one probes.
    assert LIMIT * 3 // 4 < len(server.arrivals) <= LIMIT


@pytest.mark.full
@pytest.mark.slow
def test_two_busy_threads_get_about_half_each() -> None:
    served_to: dict[str, int] = {"one": 0, "two": 0}
    start = threading.Barrier(2)

    async def busy(name: str, url: str) -> None:
        async def caller(edgegap: EdgegapSession) -> None:
            while sum(served_to.values()) < 100:
                await GET(edgegap, timeout=None)
                served_to[name] += 1

        async with session(url, limits=Limits(status=40)) as edgegap:
            start.wait()
            await asyncio.gather(*(caller(edgegap) for _ in range(30)))

    with served() as server, ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(asyncio.run, busy(name, server.url)) for name in served_to]
        for run in runs:
            run.result()
    assert busiest_second(server.times) <= 40
    assert min(served_to.values()) >= 30


@pytest.mark.full
@pytest.mark.slow
def test_a_blocked_loop_does_not_stop_the_others() -> None:
    done: list[str] = []
    blocked, unblock = threading.Event(), threading.Event()

    async def blocks(url: str) -> None:
        async with session(url, limits=AT_ONCE) as edgegap:
            await several(edgegap)
            waiting = asyncio.ensure_future(several(edgegap, 5))
            await asyncio.sleep(0.1)
            blocked.set()
            # The loop's turn for the next slots comes now.
            unblock.wait()
            await waiting
            done.append("blocked")

    async def goes_on(url: str) -> None:
        async with session(url, limits=AT_ONCE) as edgegap:
            await several(edgegap, 30)
            done.append("other")

    with served() as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(asyncio.run, blocks(server.url))
        blocked.wait()
        pool.submit(asyncio.run, goes_on(server.url)).result(60)
        unblock.set()
        first.result(60)
    assert done == ["other", "blocked"]
    assert len(server.arrivals) == 55
    assert busiest_second(server.times) <= LIMIT


@pytest.mark.parametrize("other", [Limits(burst=19), Limits(status=19)])
def test_other_limits_on_another_loop_are_refused(other: Limits) -> None:
    async def fails(url: str) -> None:
        with pytest.raises(ValueError, match="limits"):
            async with session(url, limits=other):
                pass

    async def works(url: str) -> None:
        async with session(url, limits=other) as edgegap:
            assert edgegap.usage()["status"].sent == 1

    with served() as server, asyncio.Runner() as here:
        edgegap = session(server.url, limits=AT_ONCE)
        here.run(GET(edgegap))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, fails(server.url)).result()
            here.run(edgegap.aclose())
            pool.submit(asyncio.run, works(server.url)).result()


def test_an_unclosed_session_of_an_ended_loop_refuses_no_other_limits() -> None:
    async def works(url: str) -> None:
        async with session(url, limits=Limits(burst=19)) as edgegap:
            await GET(edgegap)

    with served() as server:
        loop = asyncio.new_event_loop()
        edgegap = session(server.url, limits=AT_ONCE)
        # It opens no connection, which nobody could close.
        loop.run_until_complete(edgegap.__aenter__())
        loop.close()
        asyncio.run(works(server.url))
        asyncio.run(edgegap.aclose())


def test_a_loop_in_virtual_time_has_a_budget_of_its_own() -> None:
    async def used(url: str) -> int:
        async with session(url, limits=AT_ONCE) as edgegap:
            return edgegap.usage()["status"].sent

    with served() as server:
        asyncio.run(one_session(server.url))
        assert asyncio.run(used(server.url)) == LIMIT
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            assert runner.run(used(server.url)) == 0


FORKS = f"""
import asyncio, os, sys
from edgegap_async import EdgegapSession, Limits

async def several():
    limits = Limits(burst={LIMIT})
    async with EdgegapSession({TOKEN!r}, base_url=sys.argv[1], limits=limits) as edgegap:
        calls = (edgegap.deployments.status("c065", timeout=None) for _ in range({LIMIT}))
        await asyncio.gather(*calls)

asyncio.run(several())
child = os.fork()
if child:
    os._exit(os.waitpid(child, 0)[1])
asyncio.run(several())
os._exit(0)
"""


@pytest.mark.full
@pytest.mark.slow
def test_a_forked_child_waits_until_the_slots_of_its_parent_are_back() -> None:
    with served() as server:
        run = run_script(FORKS, server.url)
    assert run.returncode == 0, run.stderr
    assert len(server.arrivals) == 2 * LIMIT
    assert busiest_second(server.times) <= LIMIT
