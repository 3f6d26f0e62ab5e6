"""Options of several commands: the event loop, Ctrl-C, and faults of a simulator."""

import asyncio
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from math import inf, isfinite
from types import FrameType
from typing import Any, Literal, TypeAlias, TypeVar

import click

from .._run import ONE_SIGNAL, SIGNALS
from ..simulator.faults import KINDS, Fault

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
LoopName: TypeAlias = Literal["asyncio", "uvloop"]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS = ("asyncio", "uvloop")
# The exit code after Ctrl-C, SIGTERM or SIGHUP.
INTERRUPTED = 130
# The exit code of a launch that has started no server. It is also that of wrong
# arguments.
NOTHING_STARTED = 2
# More servers and requests than there can be.
MOST = 1_000_000


def loop_factory(name: LoopName) -> LoopFactory:
    """Return the factory of an event loop. It imports uvloop only if it is needed."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ModuleNotFoundError:
        raise click.UsageError(
            "--loop uvloop: it is not installed: pip install uvloop"
        ) from None
    return uvloop.new_event_loop


class Seconds(click.FloatRange):
    """A finite number: click's own type takes inf and nan, too."""

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


# Above 0; and 0 or more.
SECONDS, ANY_SECONDS = Seconds(min=0, min_open=True), Seconds(min=0)


@contextmanager
def on_interrupt(call: Callable[[], None]) -> Generator[None, None, None]:
    """Call a function in the loop at each Ctrl-C, SIGTERM and SIGHUP, within the block.

    A SIGHUP that is ignored, as under nohup, stays so. Signals other than Ctrl-C that
    follow one at once have the same cause. At the end, the signals get their earlier
    handlers back.
    """
    loop = asyncio.get_running_loop()
    last = -inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        since, last = loop.time() - last, loop.time()
        if number == signal.SIGINT or since > ONE_SIGNAL:
            # It wakes up the loop. `add_signal_handler` exists on Unix only.
            loop.call_soon_threadsafe(call)

    handled = [signal.SIGINT, *filter(_is_handled, SIGNALS)]
    before: dict[int, Any] = {each: signal.signal(each, handle) for each in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_handled(number: int) -> bool:
    ignored = signal.getsignal(number) is signal.SIG_IGN
    return number == signal.SIGTERM or not ignored


def each_parsed(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, Sequence[str]], tuple[T, ...]]:
    """Return the callback of an option that may be repeated.

    Args:
        parse: reads one value. It raises a `ValueError` that says what is wrong.
    """

    def callback(
        context: click.Context, param: click.Parameter, texts: Sequence[str]
    ) -> tuple[T, ...]:
        try:
            return tuple(map(parse, texts))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def parsed(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """Return the callback of an option that need not be given. See `each_parsed`."""
    each = each_parsed(parse)

    def callback(
        context: click.Context, param: click.Parameter, text: str | None
    ) -> T | None:
        return None if text is None else each(context, param, [text])[0]

    return callback


def required_name(option: str, value: str | None) -> str:
    """Return the value of an option that only a simulated command need not have.

    Raises:
        click.UsageError: it is missing or blank.
    """
    if not (value or "").strip():
        raise click.UsageError(f"{option} is required, except with --simulate")
    return str(value)


def fault_option(about: str) -> Callable[[F], F]:
    """Return the option `--fault`. Its help begins with `about`."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        callback=each_parsed(Fault.parse),
        metavar="OPERATION:KIND[:SHARE[:SECONDS]]",
        help=f"{about}, such as deploy:cut-after:0.05 or deploy:late:0.02:20; may be "
        "repeated. `simulate --faults` lists the kinds.",
    )


def list_kinds(context: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Print all kinds of fault, one per line, and exit."""
    if not wanted or context.resilient_parsing:
        return
    width = max(map(len, KINDS))
    for name, kind in KINDS.items():
        click.echo(f"{name:<{width}}  {kind.about}")
    context.exit()
