"""The clock on which slots are counted."""

import asyncio
import time
from collections.abc import Callable

# Seconds by which a loop's clock may differ from the process's monotonic clock. uvloop
# counts whole milliseconds; a clock in virtual time is far away.
AGREEMENT = 0.05


def shares_clock(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the time of a loop is that of the process's monotonic clock."""
    return abs(loop.time() - time.monotonic()) < AGREEMENT


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the clock on which the slots of a loop are counted.

    It is the process's monotonic clock where the loop has the same time, so that all
    such loops count alike. Otherwise it is the loop's own.
    """
    return time.monotonic if shares_clock(loop) else loop.time
