"""Ctrl-C and SIGTERM, as calls into the running loop."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

# The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130
# The exit code of a launch that has started nothing, as of wrong arguments.
NOTHING_STARTED = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(call: Callable[[], None]) -> Generator[None, None, None]:
    """Call this in the loop at each of the two signals; afterwards they mean again what
    they meant before.
    """
    loop = asyncio.get_running_loop()

    def told(number: int, frame: FrameType | None) -> None:
        # wakes the loop up, whatever it waits for; add_signal_handler is for Unix only
        loop.call_soon_threadsafe(call)

    before = {number: signal.signal(number, told) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
