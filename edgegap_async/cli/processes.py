"""`launch --processes`: a launch in several processes (`part.py`), with one summary."""

import asyncio
import sys
from collections.abc import Sequence
from functools import reduce
from typing import cast

import msgspec
from rich.console import Console

from .._limits.measurements import most_in_a_second
from ..endpoints import LimitName
from ..session import EdgegapSession
from .launcher import stop_existing
from .options import on_interrupt
from .part import LENGTH, End, Line, Message, Now, Plan, Say, SendTimes
from .progress import ProgressDisplay, keep_updating, progress_display
from .run_launch import report
from .streams import discard
from .summary import (
    Counts,
    Failure,
    LaunchEnd,
    LaunchResult,
    RequestCounts,
    ServerCounts,
    read_ready_line,
    stopped_lines,
)

_COMMAND = (sys.executable, "-m", "edgegap_async.cli.part")
# As many interrupts end a part that does not end by itself.
_KILL = 3
_message: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class _Part:
    """One process.

    Attributes:
        number: from 1.
        plan: what it is to do.
        counts: how far it is.
        result: what it has reached, as far as its lines tell.
        end: how it has ended. None: it has not, or without saying how.
        died: how, if it has ended without saying how.
    """

    def __init__(self, number: int, plan: Plan) -> None:
        self.number, self.plan = number, plan
        self.counts = Counts(len(plan.matches))
        self.result = LaunchResult(len(plan.matches))
        self.end: LaunchEnd | None = None
        self.died: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._interrupts = 0

    @property
    def has_stopped(self) -> bool:
        """Whether it has stopped its servers, or has tried."""
        return self.end is not None and (self.plan.stop or self.end.interrupted)

    def interrupt(self, times: int) -> None:
        """Interrupt it until it was interrupted so many times."""
        more, self._interrupts = times - self._interrupts, times
        if (process := self._process) is None or process.returncode is not None:
            return
        if times >= _KILL:
            process.kill()
        elif process.stdin:
            process.stdin.write(b"\n" * more)

    async def run(self, launch: "_Launch") -> None:
        """Start the process, and read its messages until it has ended."""
        pipe = asyncio.subprocess.PIPE
        # Ctrl-C in the terminal is for this process alone, which tells the others.
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=pipe, stdout=pipe, start_new_session=True
            )
        except OSError as error:
            # Such as too many open files. The others go on.
            self._died(f"can't be started ({error.strerror})")
            launch.display.say(str(self.died))
            return
        stdin = cast("asyncio.StreamWriter", process.stdin)
        stdout = cast("asyncio.StreamReader", process.stdout)
        try:
            plan = msgspec.msgpack.encode(self.plan)
            stdin.write(LENGTH.pack(len(plan)) + plan)
            stdin.write(b"\n" * self._interrupts)
            self._process = process
            await self._read(stdout, launch)
        finally:
            # To the process, that is a Ctrl-C. It must be able to write until it ends.
            stdin.close()
            await stdout.read()
            code = await process.wait()
        if self.end is None:
            self._died(
                f"was killed by signal {-code}"
                if code < 0
                else f"ended with exit code {code}"
            )
            launch.display.say(
                f"{self.died}: servers that it was starting are stopped by another "
                "process that uses the shared state, or by the next one that starts"
            )

    async def _read(self, stream: asyncio.StreamReader, launch: "_Launch") -> None:
        while True:
            try:
                (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
                data = await stream.readexactly(length)
            except asyncio.IncompleteReadError:
                return
            match _message.decode(data):
                case Line(text):
                    ready = read_ready_line(text)
                    self.result.existing[ready.request_id] = ready.match_id
                    self.result.waits.append(ready.seconds)
                    launch.line(text)
                case Say(text):
                    launch.display.say(f"process {self.number}: {text}")
                case Now(counts, sent):
                    self.counts = counts
                    launch.sent.add(sent)
                case End(end):
                    self.end, self.result = end, end.result

    def _died(self, how: str) -> None:
        self.died = f"process {self.number} {how}"
        ready = {*self.result.existing.values()}
        self.result.deployed = max(self.counts.deployed, len(ready))
        self.result.failures = [
            Failure(match.match_id, self.died)
            for match in self.plan.matches
            if match.match_id not in ready
        ]


class _Launch:
    """All processes of a launch."""

    def __init__(
        self, plans: Sequence[Plan], sent: SendTimes, display: ProgressDisplay
    ) -> None:
        self.parts = [_Part(number, plan) for number, plan in enumerate(plans, 1)]
        self.sent, self.display = sent, display
        self.interrupts = 0
        self.running = True
        self._task = asyncio.current_task()
        self.write_error: OSError | None = None

    @property
    def counts(self) -> Counts:
        """How far all are."""
        return reduce(Counts.plus, (part.counts for part in self.parts))

    def line(self, text: str) -> None:
        """Print the JSON line of a server."""
        if self.write_error is None:
            try:
                self.display.line(text)
            except OSError as error:
                self.write_error = error
                self.output_failed(error)

    def output_failed(self, error: OSError) -> None:
        """Nobody can be told of servers any more: start none, and stop all."""
        self._interrupt(max(1, self.interrupts))

    def interrupt(self) -> None:
        """Ctrl-C was pressed."""
        self.interrupts += 1
        self._interrupt(self.interrupts)
        if self.interrupts > 1 and not self.running and self._task:
            self._task.cancel()

    def _interrupt(self, times: int) -> None:
        for part in self.parts:
            part.interrupt(times)

    async def run(self) -> None:
        """Run all parts."""
        async with asyncio.TaskGroup() as group:
            for part in self.parts:
                group.create_task(part.run(self))
        self.running = False

    async def stop_rest(self, session: EdgegapSession) -> None:
        """Stop the servers of parts that have not stopped them: they have died, or had
        ended before an interrupt.
        """
        try:
            for part in self.parts:
                if not part.has_stopped:
                    await stop_existing(session, part.result)
        except BaseException:
            # Ctrl-C was pressed again.
            for line in stopped_lines(self.result, by_name=True):
                self.display.say(line)
            raise

    @property
    def result(self) -> LaunchResult:
        """What all have reached."""
        result = LaunchResult(0)
        for part in self.parts:
            result.add(part.result)
        return result

    def end(self, seconds: float, session: EdgegapSession) -> LaunchEnd:
        """Return how the launch has ended.

        Args:
            seconds: how long it took.
            session: the one of this process.
        """
        result = self.result
        result.seconds = seconds
        refused: dict[LimitName, int] = {
            name: used.refused for name, used in session.usage().items()
        }
        ends = [part.end for part in self.parts if part.end]
        for end in ends:
            for name, counts in end.requests.items():
                refused[name] += counts.refused
        requests: dict[LimitName, RequestCounts] = {
            name: RequestCounts(len(times), most_in_a_second(times), refused[name])
            for name in refused
            for times in [self.sent.times[name]]
        }
        interrupted = bool(self.interrupts) or any(end.interrupted for end in ends)
        refusals = [end.unauthorized for end in ends if end.unauthorized]
        return LaunchEnd(
            result, requests, interrupted, refusals[0] if refusals else None
        )


async def run_processes(
    session: EdgegapSession,
    plans: Sequence[Plan],
    sent: SendTimes,
    *,
    stop: bool,
    simulator: ServerCounts | None,
) -> int:
    """Launch the matches of each plan in a process of its own; return the exit code.

    Args:
        session: stops the servers that their processes can't stop any more. It shares
            what they do.
        plans: what they do.
        sent: notes the requests of the session.
        stop: stop all servers at the end.
        simulator: the simulator, whose counts are part of the summary.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    total = sum(len(plan.matches) for plan in plans)
    with progress_display(total, Console(stderr=True)) as display:
        launch = _Launch(plans, sent, display)
        display.say(f"launching {total} matches in {len(plans)} processes")
        with on_interrupt(launch.interrupt):
            async with asyncio.TaskGroup() as group:
                ticker = group.create_task(
                    keep_updating(display, lambda: launch.counts, launch.output_failed)
                )
                await launch.run()
                ticker.cancel()
            if launch.write_error:
                display.say(
                    f"writing to standard output failed, all servers were stopped: {launch.write_error}"
                )
                discard(sys.stdout)
            seconds = loop.time() - began
            if stop or launch.interrupts or launch.write_error:
                await launch.stop_rest(session)
    end = launch.end(seconds, session)
    return report(end, display, stop, launch.interrupts, simulator)
