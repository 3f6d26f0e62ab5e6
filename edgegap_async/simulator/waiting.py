"""What a test awaits of a simulator, and calls that any thread may make."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
# Seconds between two looks at a condition. A condition may be about anything, so nobody
# tells when it changes.
LOOK_EVERY = 0.01


async def until(
    condition: Callable[[], object], timeout: float, problem: Callable[[], str]
) -> None:
    """Wait until a condition is true, on the clock of the running loop.

    Args:
        condition: is called again and again.
        timeout: seconds.
        problem: returns what the error says.

    Raises:
        TimeoutError: it was not true in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        if loop.time() >= end:
            raise TimeoutError(problem())
        await asyncio.sleep(LOOK_EVERY)


def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], T]) -> T:
    """Call a function in the thread of a loop, and return its result."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here or not loop.is_running():
        return call()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 (it is raised elsewhere)
            done.set_exception(error)

    loop.call_soon_threadsafe(run)
    return done.result()
