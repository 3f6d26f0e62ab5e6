"""Values of the options of `load`: durations and ramps."""

import re
from collections.abc import Callable
from typing import TypeVar

import click

from ..load import Ramp
from .ages import parse_age
from .options import parsed

F = TypeVar("F", bound=Callable[..., object])


def parse_seconds(text: str) -> float:
    """Read a number of seconds, or a duration such as 60s, 5m or 1h.

    Raises:
        ValueError: it has another form.
    """
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip(), re.ASCII):
        return float(text)
    return parse_age(text)


def duration_option(name: str, about: str) -> Callable[[F], F]:
    """Return an option that is a duration. The command gets seconds.

    Args:
        about: its help.
    """
    callback = parsed(parse_seconds)
    return click.option(name, callback=callback, metavar="DURATION", help=about)


def parse_ramp(text: str) -> Ramp:
    """Read a ramp such as 1:40:60s.

    Raises:
        ValueError: it is none; the text says why.
    """
    parts = text.split(":")
    form = f"{text!r} is no ramp: write FROM:TO:DURATION, such as 1:40:60s"
    try:
        start, end, length = parts
        numbers = float(start), float(end), parse_seconds(length)
    except ValueError:
        raise ValueError(form) from None
    return Ramp(*numbers)


def plan_option(problem: str) -> str:
    """Name the options behind the arguments of a plan in the text of an error."""
    if problem.startswith("rate or ramp"):
        return "--rate or --ramp is required, and not both"
    if problem.startswith("hold or count"):
        return "--hold or --count is required with --rate: the test would never end"
    name, _, rest = problem.partition(" ")
    option = {"users:": "user", "tags:": "tag"}.get(name, name.replace("_", "-"))
    return f"--{option} {rest.replace('max_running', '--max-running')}"
