"""What the tests of the limiter share: a loop that stalls, the one place that knows how
a slot is taken, and windows.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from edgegap_async._limits.limiter import Limiter
from edgegap_async.endpoints import Limit
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

T = TypeVar("T")
# seconds after which everything is back: a period, the longest allowance, the shape
AT_REST = 4.0
plans = settings(max_examples=200, deadline=None)


class Loop(VirtualTimeLoop):
    """Virtual time, of which a stall takes some: other code keeps the loop from
    running.
    """

    lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost


def run(main: Coroutine[Any, Any, T]) -> T:
    """What hangs, fails after a day."""

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
    return Limiter(Limit("deploy", rate, burst))


async def slot(limiter: Limiter, ticket: int | None = None) -> None:
    """How a slot is taken: the one place that knows."""
    await limiter.acquire(limiter.ticket() if ticket is None else ticket)


def moments(most: float) -> st.SearchStrategy[float]:
    """Seconds from 0 to `most`, on a grid, so that things often happen in the same
    instant.
    """
    return st.integers(0, round(most * 50)).map(lambda steps: steps / 50)


STALLS = st.lists(st.tuples(moments(3), moments(0.4)), max_size=6)


def busiest_second(times: list[float]) -> int:
    return max(
        (sum(start <= time < start + 1 for time in times) for start in times), default=0
    )


async def pace(limiter: Limiter, count: int) -> list[float]:
    """When `count` calls that wait for nothing else are granted, in seconds from now."""
    start, times = now(), []
    for _ in range(count):
        await slot(limiter)
        times.append(now() - start)
        limiter.answered(now())
    return times
