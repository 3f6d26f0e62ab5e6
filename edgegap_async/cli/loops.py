"""Event loops by name."""

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

import click

LoopName: TypeAlias = Literal["asyncio", "uvloop"]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
LOOPS = ("asyncio", "uvloop")


def loop_factory(name: LoopName) -> LoopFactory:
    """What makes such a loop; uvloop is imported for whom asks for it."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ModuleNotFoundError:
        raise click.UsageError(
            "--loop uvloop: it is not installed: pip install uvloop"
        ) from None
    return uvloop.new_event_loop
