"""The event loop in virtual time: waits take no time, sockets are real, and jobs in
threads take real time.
"""

import asyncio
import contextlib
import gc
import socket
import threading
import time

import pytest
from aiolimiter import AsyncLimiter

from edgegap_async.simulator import VirtualTimeLoop


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_day_passes_at_once_with_timers_in_order() -> None:
    order: list[int] = []

    async def at(hour: int) -> None:
        await asyncio.sleep(3600 * hour)
        order.append(hour)

    began, really = now(), time.perf_counter()
    await asyncio.gather(*(at(hour) for hour in (24, 3, 12)))

    assert order == [3, 12, 24]
    assert now() - began == pytest.approx(24 * 3600, abs=0.001)
    assert time.perf_counter() - really < 5


async def test_timeouts_fire_when_due() -> None:
    began = now()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(300):
            await asyncio.Event().wait()

    assert now() - began == pytest.approx(300, abs=0.001)


async def test_code_that_polls_the_clock_does_not_spin_forever() -> None:
    began, really = now(), time.perf_counter()
    limiter = AsyncLimiter(1, 1 / 40)
    for _ in range(800):
        await limiter.acquire()

    assert now() - began == pytest.approx(20, abs=0.1)
    # Usually 0.07 s.
    assert time.perf_counter() - really < 2


async def test_bytes_arrive_before_time_passes() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(20):
            writer.write(b"%d\n" % number)
            # The clock would jump to this timeout if no socket were ready.
            async with asyncio.timeout(0.01):
                assert await reader.readline() == b"%d\n" % number
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(ask(port) for _ in range(20)))
        # Let the server close its ends of the connections.
        await asyncio.sleep(0.01)


async def test_a_job_in_a_thread_takes_real_time() -> None:
    began = now()
    # Without the job, the clock would jump to this timeout.
    async with asyncio.timeout(60):
        await asyncio.to_thread(time.sleep, 0.02)

    assert 0.02 <= now() - began < 10


@pytest.mark.parametrize("busy", [0.01, 0.03])
async def test_a_job_in_a_thread_takes_real_time_while_the_loop_is_busy(
    busy: float,
) -> None:
    began = now()
    job = asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
    time.sleep(busy)  # noqa: ASYNC251 - keeps the loop busy
    await job

    assert 0.02 <= now() - began < 10


async def test_a_host_name_lookup_does_not_jump() -> None:
    async with asyncio.timeout(60):
        found = await asyncio.get_running_loop().getaddrinfo(
            "localhost", 80, type=socket.SOCK_STREAM
        )

    assert found


async def test_without_a_timer_it_waits_for_other_threads() -> None:
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()
    began = now()
    thread = threading.Timer(0.02, loop.call_soon_threadsafe, (woken.set,))
    thread.start()
    await woken.wait()
    thread.join()

    assert now() - began < 0.001


async def test_each_turn_advances_the_clock_a_little() -> None:
    began = now()
    for _ in range(1000):
        await asyncio.sleep(0)

    assert 0.0005 < now() - began < 0.01


def test_it_works_as_a_loop_factory_and_leaves_nothing_open() -> None:
    async def main() -> float:
        # Start a thread, so that there is one to join.
        await asyncio.to_thread(threading.get_ident)
        asyncio.get_running_loop().call_later(1000, print)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 50)
        return now()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == pytest.approx(1_000_050, abs=1)
    # An open loop or socket would cause a warning, and warnings are errors.
    gc.collect()
