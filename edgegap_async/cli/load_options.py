"""Values of the options of `load`: durations, ramps and thresholds."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import click

from ..load import Ramp, Threshold
from .ages import parse_age

T = TypeVar("T")
Callback: TypeAlias = Callable[[click.Context, click.Parameter, str | None], T | None]


def _optional(parse: Callable[[str], T]) -> Callback[T]:
    """Return the callback of an option that need not be given."""

    def callback(
        context: click.Context, param: click.Parameter, text: str | None
    ) -> T | None:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _seconds(text: str) -> float:
    """Read a number of seconds, or a duration such as 60s, 5m or 1h."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip(), re.ASCII):
        return float(text)
    return parse_age(text)


def _ramp(text: str) -> Ramp:
    parts = text.split(":")
    form = f"{text!r} is no ramp: write FROM:TO:DURATION, such as 1:40:60s"
    try:
        start, end, length = parts
        numbers = float(start), float(end), _seconds(length)
    except ValueError:
        raise ValueError(form) from None
    return Ramp(*numbers)


parse_duration: Callback[float] = _optional(_seconds)
parse_ramp: Callback[Ramp] = _optional(_ramp)


def parse_thresholds(
    context: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Sequence[Threshold]:
    """Read all thresholds of an option."""
    try:
        return [Threshold.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def plan_option(problem: str) -> str:
    """Name the options behind the arguments of a plan in the text of an error."""
    if problem.startswith("rate or ramp"):
        return "--rate or --ramp is required, and not both"
    if problem.startswith("hold or count"):
        return "--hold or --count is required with --rate: the test would never end"
    name, _, rest = problem.partition(" ")
    option = {"users:": "user", "tags:": "tag"}.get(name, name.replace("_", "-"))
    return f"--{option} {rest}"
