"""Runs the program in a pseudo-terminal."""

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from edgegap_async.simulator import Simulator

from .programs import PROCESS_TIMEOUT, account

# Seconds.
PRESSED_EVERY = 2.0
PROGRAM = (sys.executable, "-m", "edgegap_async")


class Terminal:
    """A program and its terminal.

    Attributes:
        process: the program.
        shown: what it has written so far.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", fd: int) -> None:
        self.process, self._fd = process, fd
        self.shown = ""
        # A reading may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def until(self, text: str) -> None:
        """Read until the program has written a text."""
        end = monotonic() + PROCESS_TIMEOUT
        while text not in self.shown:
            assert monotonic() < end, f"{text!r} was not shown: {self.shown!r}"
            assert self._read(), f"it ended without {text!r}: {self.shown!r}"

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def interrupted(self) -> int:
        """Press Ctrl-C until the program ends, and return its exit code.

        If the signal arrives just before `input` reads, it is noticed after that only.
        """
        self.type("\x03")
        end = monotonic() + PROCESS_TIMEOUT
        while self.process.poll() is None:
            assert monotonic() < end, f"Ctrl-C does not end it: {self.shown!r}"
            if not select.select([self._fd], [], [], PRESSED_EVERY)[0]:
                self.type("\x03")
            elif not self._read():
                break
        return self.ended()

    def ended(self) -> int:
        """Read until the program ends, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(PROCESS_TIMEOUT)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], PROCESS_TIMEOUT)
        assert ready, f"it shows nothing more, and does not end: {self.shown!r}"
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            # Linux says so if nobody has the other end any more.
            return False
        self.shown += self._decoder.decode(data)
        return bool(data)

    def lines(self) -> list[str]:
        """What was written, as lines."""
        return self.shown.replace("\r\n", "\n").splitlines()


@contextmanager
def in_terminal(
    simulator: Simulator,
    *args: str,
    columns: int = 80,
    rows: int = 24,
    **variables: str,
) -> Iterator[Terminal]:
    """Run the program in a terminal of this size.

    Args:
        simulator: the API that it calls.
        args: its arguments.
        variables: of its environment.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = account(simulator) | {"TERM": "xterm-256color"} | variables
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        if name not in variables:
            environment.pop(name, None)
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*PROGRAM, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        # Ctrl-C reaches the program through its terminal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    with process:
        try:
            yield Terminal(process, ours)
        finally:
            # This does nothing if the process has ended.
            process.kill()
            os.close(ours)
