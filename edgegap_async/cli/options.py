"""What several commands share: the event loop, Ctrl-C, the faults of a simulator."""

import asyncio
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias, TypeVar

import click

from ..simulator.faults import KINDS, Fault

F = TypeVar("F", bound=Callable[..., object])
LoopName: TypeAlias = Literal["asyncio", "uvloop"]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS = ("asyncio", "uvloop")
# The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130
# The exit code of a launch that has started nothing, as of wrong arguments.
NOTHING_STARTED = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def loop_factory(name: LoopName) -> LoopFactory:
    """The factory of an event loop. uvloop is imported only if it is asked for."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ModuleNotFoundError:
        raise click.UsageError(
            "--loop uvloop: it is not installed: pip install uvloop"
        ) from None
    return uvloop.new_event_loop


@contextmanager
def on_interrupt(call: Callable[[], None]) -> Generator[None, None, None]:
    """Call this in the loop at each Ctrl-C or SIGTERM. Afterwards the signals have
    their earlier handlers again.
    """
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        # Wakes the loop up, whatever it waits for. add_signal_handler is for Unix only.
        loop.call_soon_threadsafe(call)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parse(
    context: click.Context, param: click.Parameter, texts: Sequence[str]
) -> tuple[Fault, ...]:
    try:
        return tuple(map(Fault.parse, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def fault_option(about: str) -> Callable[[F], F]:
    """The option `--fault`, which may be repeated. `about` begins its help."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        callback=_parse,
        metavar="OPERATION:KIND[:SHARE[:SECONDS]]",
        help=f"{about}, such as deploy:cut-after:0.05 or deploy:late:0.02:20; may be "
        "repeated. `simulate --faults` lists the kinds.",
    )


def list_kinds(context: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Print all kinds of fault, one on each line, and exit."""
    if not wanted or context.resilient_parsing:
        return
    width = max(map(len, KINDS))
    for name, kind in KINDS.items():
        click.echo(f"{name:<{width}}  {kind.about}")
    context.exit()
