"""`--fault`: what goes wrong in a simulator, as the command line says it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from ..simulator.faults import KINDS, Fault

F = TypeVar("F", bound=Callable[..., object])


def _parsed(
    context: click.Context, param: click.Parameter, texts: Sequence[str]
) -> tuple[Fault, ...]:
    try:
        return tuple(map(Fault.parse, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def fault_option(about: str) -> Callable[[F], F]:
    """The option, which may be given again and again; `about` begins its help."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        callback=_parsed,
        metavar="OPERATION:KIND[:SHARE[:SECONDS]]",
        help=f"{about}, such as deploy:cut-after:0.05 or deploy:late:0.02:20; may be repeated. "
        "`simulate --faults` lists the kinds.",
    )


def list_kinds(context: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Tell all kinds of fault, one a line, and end."""
    if not wanted or context.resilient_parsing:
        return
    width = max(map(len, KINDS))
    for name, kind in KINDS.items():
        click.echo(f"{name:<{width}}  {kind.about}")
    context.exit()
