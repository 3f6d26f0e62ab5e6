"""`run`: `asyncio.run` for programs that also clean up on SIGTERM and SIGHUP."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias, TypeVar

from ._transport.loop_end import discard_all
from .models._check import fail

T = TypeVar("T")
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
# Windows has no SIGHUP.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# A process that is ended by a signal has this exit code, plus the signal's number.
SIGNAL_EXIT = 128
# Seconds in which further signals count as the first one. When a terminal is lost, the
# shell and the kernel both send SIGHUP; `timeout` sends SIGTERM to a process and to its
# group; a launcher passes Ctrl-C on to a process that has got it from the terminal.
ONE_SIGNAL = 0.2


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: LoopFactory | None = None,
) -> T:
    """Run a program as `asyncio.run` does, and let it clean up on SIGTERM and SIGHUP.

    Without it, these signals end the process at once, and its servers run on. Here, the
    first one cancels the main task, as Ctrl-C does. Blocks are left, sessions are
    closed, and then SystemExit is raised with the exit code 128 + signal. A second
    signal, at least 0.2 seconds later, ends the process at once: the log names what may
    still be running. After Ctrl-C, KeyboardInterrupt is raised, and a second one within
    0.2 seconds is ignored.

    A signal that is ignored (SIGHUP under nohup) or that the program handles itself
    stays so. The handlers from before are restored at the end. In another thread than
    the main one, this is `asyncio.run`.

    Args:
        main: the coroutine to run.
        debug: asyncio's debug mode; None: as the environment says.
        loop_factory: makes the event loop, such as `uvloop.new_event_loop`.

    Raises:
        ValueError: main is not a coroutine.
        RuntimeError: an event loop runs already.
        SystemExit: a signal arrived, and the cleanup is over.
    """
    if not asyncio.iscoroutine(main):
        fail("main", f"must be a coroutine, not {type(main).__name__}: run(main())")
    if _in_loop():
        main.close()
        raise RuntimeError(
            "run() can't be called in an event loop: await the coroutine"
        )
    signals = _Signals()
    with signals.handled():
        try:
            with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
                result = runner.run(signals.cancelling(main))
        except asyncio.CancelledError:
            if signals.first is None:
                raise
        else:
            if signals.first is None:
                return result
    raise SystemExit(SIGNAL_EXIT + (signals.first or 0))


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Signals:
    """Turns the first signal into a cancellation, and ends the process at a second one.

    Attributes:
        first: the number of the first signal. None: there was none.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._time = 0.0
        self._process = os.getpid()
        # Whether `asyncio.run` handles Ctrl-C, and not the program.
        self._interrupts = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    async def cancelling(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in a task that the first signal cancels."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with self._one_interrupt(self._loop):
            return await main

    @contextmanager
    def handled(self) -> Generator[None, None, None]:
        """Handle the signals within the block, but for those that are ignored, or that
        the program handles itself.
        """
        taken: list[int] = []
        if threading.current_thread() is threading.main_thread():
            taken = [each for each in SIGNALS if _is_free(signal.getsignal(each))]
            interrupt = signal.getsignal(signal.SIGINT)
            self._interrupts = interrupt is signal.default_int_handler
        # Python refuses handlers outside of the main interpreter.
        with suppress(ValueError):
            for number in taken:
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number in taken:
                # Unless the program has set a handler of its own meanwhile.
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, signal.SIG_DFL)

    @contextmanager
    def _one_interrupt(
        self, loop: asyncio.AbstractEventLoop
    ) -> Generator[None, None, None]:
        """Within the block, ignore a Ctrl-C that follows the first one at once: to
        `asyncio.run` it would be the second, which breaks off the cleanup.
        """
        handler = signal.getsignal(signal.SIGINT)
        if not (self._interrupts and callable(handler)):
            yield
            return
        first: float | None = None

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal first
            if first is None:
                first = loop.time()
            elif loop.time() <= first + ONE_SIGNAL:
                return
            handler(number, frame)

        with suppress(ValueError):
            signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            # Unless the program has set a handler of its own meanwhile.
            if signal.getsignal(signal.SIGINT) is interrupt:
                signal.signal(signal.SIGINT, handler)

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child of the process that handles the signals."""
        return os.getpid() != self._process

    def _handle(self, number: int, frame: FrameType | None) -> None:
        loop, task = self._loop, self._task
        if loop is None or task is None or self.in_child:
            # Nothing was started yet, or this is a forked child, which has nothing to
            # clean up.
            _die(number)
        elif self.first is None:
            self.first, self._time = number, loop.time()
            # It wakes up the loop. `add_signal_handler` exists on Unix only.
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        elif loop.time() > self._time + ONE_SIGNAL:
            discard_all(loop)
            _die(number)


def _is_free(handler: object) -> bool:
    """Whether a signal has its default handler, or that of a parent that runs a program:
    a forked worker inherits it.
    """
    if handler is signal.SIG_DFL:
        return True
    owner: object = getattr(handler, "__self__", None)
    return isinstance(owner, _Signals) and owner.in_child


def _die(number: int) -> None:
    """End the process as a signal without a handler does."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    # The kernel sends such a signal to the first process of a container in vain.
    os._exit(SIGNAL_EXIT + number)
