"""Helpers of the limiter's tests: a loop that stalls, calls that take slots, and counts
of requests per second.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.slots import Slots
from edgegap_async.endpoints import Limit
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

T = TypeVar("T")
# Seconds after which all slots are back and the shaper is full: a period, the longest
# time that a request may be on its way, and the time to refill.
AT_REST = 4.0
# Events at the same time are found by chance, so these tests need more examples.
plans = settings(max_examples=2 * settings().max_examples)


class Loop(VirtualTimeLoop):
    """A virtual-time loop that can stall, as if other code blocked it."""

    lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time. A test that hangs fails after a day."""

    async def within_a_day() -> T:
        async with asyncio.timeout(24 * 60 * 60):
            return await main

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(within_a_day())


def now() -> float:
    return asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.lost += seconds


def made(rate: float | None, burst: int | None = None) -> Limiter:
    return Limiter(Slots(Limit("deploy", rate, burst)))


async def slot(limiter: Limiter, ticket: int | None = None) -> None:
    """Wait for a slot."""
    await limiter.acquire(limiter.ticket() if ticket is None else ticket)


def moments(most: float) -> st.SearchStrategy[float]:
    """Generate seconds from 0 to `most`.

    They are multiples of 20 ms, so that events often happen at the same time.
    """
    return st.integers(0, round(most * 50)).map(lambda steps: steps / 50)


STALLS = st.lists(st.tuples(moments(3), moments(0.4)), max_size=6)


def busiest_second(times: list[float]) -> int:
    return max(
        (sum(start <= time < start + 1 for time in times) for start in times), default=0
    )


async def come_to_rest(limiter: Limiter) -> None:
    """Wait until all slots are back. An answer resolves the doubt about requests that
    were given up.
    """
    await slot(limiter)
    limiter.answered(now())
    await asyncio.sleep(AT_REST)


async def pace(limiter: Limiter, count: int) -> list[float]:
    """Take slots one after another, and return when each was granted, in seconds."""
    start, times = now(), []
    for _ in range(count):
        await slot(limiter)
        times.append(now() - start)
        limiter.answered(now())
    return times
