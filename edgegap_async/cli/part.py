"""A part of a launch, in a process of its own: `python -m edgegap_async.cli.part`.

The launch (`processes.py`) writes a plan to its standard input, then a byte for each
Ctrl-C. If the launch is gone, so is the input: that is a Ctrl-C too, unless there was one
before, so no server is forgotten. The part writes messages to its standard output. It has the environment of
the launch, with the URL of what is shared.
"""

import asyncio
import logging
import os
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from struct import Struct
from typing import BinaryIO, TypeAlias

import msgspec

from .._limits.config import Limits
from .._run import run
from .._shared.config import SharedState
from ..endpoints import LimitName
from ..events import Event
from ..session import EdgegapSession
from .matches import Match
from .options import LoopName, loop_factory, on_interrupt
from .run_launch import carry_out, end_of, make_launch
from .shared import SHARED_VARIABLE
from .summary import Counts, LaunchEnd
from .verbose import LOGGER

# Before each message: its length.
LENGTH = Struct("!I")
# Seconds between two messages about the progress.
PERIOD = 0.5


class Plan(msgspec.Struct):
    """What a part does. The options are those of `launch`.

    Attributes:
        token, base_url: None: as the environment says.
    """

    token: str | None
    base_url: str | None
    key: str | None
    matches: list[Match]
    timeout: float
    stop: bool
    max_running: int | None
    burst: int | None
    loop: LoopName


class Line(msgspec.Struct, tag=True):
    """The JSON line of a server that is ready."""

    text: str


class Say(msgspec.Struct, tag=True):
    """A message for the user."""

    text: str


class Now(msgspec.Struct, tag=True):
    """The progress, and when further requests were sent, on the clock of the machine."""

    counts: Counts
    sent: dict[LimitName, list[float]]


class End(msgspec.Struct, tag=True):
    """The end of the part."""

    end: LaunchEnd


Message: TypeAlias = Line | Say | Now | End


class SendTimes:
    """When the requests of a session were sent, on the clock of the machine.

    Attributes:
        times: of each limit, in seconds.
    """

    def __init__(self) -> None:
        self.times: defaultdict[LimitName, list[float]] = defaultdict(list)

    def on_event(self, event: Event) -> None:
        """Note when a request was sent."""
        if event.kind == "attempt" and event.limit:
            # All processes of a machine have one clock for their loops.
            sent = asyncio.get_running_loop().time() - event.round_trip
            self.times[event.limit].append(sent)

    def add(self, times: Mapping[LimitName, list[float]]) -> None:
        """Add those of another process."""
        for name, more in times.items():
            self.times[name] += more


class Messages:
    """Shows the progress of a part by messages. See `ProgressDisplay`."""

    period = PERIOD

    def __init__(self, stream: BinaryIO) -> None:
        self.lost: OSError | None = None
        self.sent: SendTimes = SendTimes()
        self._stream = stream

    def line(self, text: str) -> None:
        """Send the JSON line of a server."""
        self._write(Line(text))

    def say(self, text: str) -> None:
        """Send a message for the user."""
        self._try(Say(text))

    def update(self, counts: Counts) -> None:
        """Send the progress."""
        self._try(Now(counts, self.sent.times))
        self.sent.times.clear()

    def end(self, end: LaunchEnd) -> None:
        """Send the end."""
        self.update(end.result.counts)
        self._try(End(end))

    def _try(self, message: Message) -> None:
        try:
            self._write(message)
        except OSError as error:
            self.lost = error

    def _write(self, message: Message) -> None:
        data = msgspec.msgpack.encode(message)
        self._stream.write(LENGTH.pack(len(data)) + data)
        self._stream.flush()


class _Log(logging.Handler):
    """Sends warnings as messages, so that they say whose they are, and come between
    other lines.
    """

    def __init__(self, messages: Messages) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line of the log."""
        self._messages.say(self.format(record))


class _Interrupts:
    """Calls a function at each Ctrl-C, of which several sources may tell: a supervisor
    sends a signal to this process and to the launch, which passes it on.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._by_source: Counter[str] = Counter()
        self._called = 0

    def add(self, source: str) -> None:
        """A source tells of one more."""
        self._by_source[source] += 1
        if self._by_source[source] > self._called:
            self._called += 1
            self._call()


class Input:
    """Standard input, without a buffer: when the process ends, a thread may wait for it."""

    def __init__(self) -> None:
        self._file = FileIO(0, closefd=False)

    def read_plan(self) -> Plan:
        """Read the plan.

        Raises:
            EOFError: the launch is gone.
        """
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        return msgspec.msgpack.decode(self._read(length), type=Plan)

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self._file.read(length - len(data))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    @contextmanager
    def interrupts(self, call: Callable[[], None]) -> Generator[None, None, None]:
        """Call a function at each Ctrl-C: one is a byte, the end of the input, or a
        signal.

        A thread reads, as loops on Windows can't.
        """
        loop = asyncio.get_running_loop()
        found = _Interrupts(call)

        def read() -> None:
            # A closed loop raises: the part has ended.
            with suppress(RuntimeError):
                while self._file.read(1):
                    loop.call_soon_threadsafe(found.add, "byte")
                loop.call_soon_threadsafe(found.add, "end")

        threading.Thread(target=read, daemon=True).start()
        with on_interrupt(partial(found.add, "signal")):
            yield


async def _launch(plan: Plan, given: Input, messages: Messages) -> None:
    async with EdgegapSession(
        plan.token,
        base_url=plan.base_url,
        limits=Limits(burst=plan.burst),
        trust_env=True,
        shared=SharedState(os.environ[SHARED_VARIABLE], key=plan.key),
        on_event=messages.sent.on_event,
    ) as session:
        launch = make_launch(
            session,
            plan.matches,
            messages,
            timeout=plan.timeout,
            stop=plan.stop,
            max_running=plan.max_running,
        )
        await carry_out(launch, messages, plan.stop, given.interrupts)
        messages.end(end_of(launch, session))


def main() -> None:
    """Read the plan, and carry it out."""
    given, messages = Input(), Messages(sys.stdout.buffer)
    logging.getLogger(LOGGER).addHandler(_Log(messages))
    try:
        plan = given.read_plan()
        run(_launch(plan, given, messages), loop_factory=loop_factory(plan.loop))
    except (EOFError, KeyboardInterrupt, asyncio.CancelledError):
        # Nothing was started, or the messages have told what is left.
        sys.exit(1)


if __name__ == "__main__":
    main()
