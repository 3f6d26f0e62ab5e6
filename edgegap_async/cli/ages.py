"""Durations as operators write them: 90s, 15m, 1h, 2d."""

import re
from collections.abc import Callable
from typing import TypeVar

import click

from .options import parsed

F = TypeVar("F", bound=Callable[..., object])
SECONDS_OF = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
# A unit is shown from so many of it on: 90m, but 3h.
SHOWN_FROM = 2
_PART = r"(\d+(?:\.\d+)?)([smhd])"


def parse_age(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: it has another form.
    """
    found = text.strip().lower()
    if not re.fullmatch(f"(?:{_PART})+", found, re.ASCII):
        raise ValueError(f"{text!r} is no duration: write 90s, 15m, 1h or 2d")
    parts = re.findall(_PART, found, re.ASCII)
    return sum(float(number) * SECONDS_OF[unit] for number, unit in parts)


def age_text(seconds: float | None) -> str:
    """A duration in its largest unit of which there are two or more. None: no text."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    for unit, length in SECONDS_OF.items():
        if whole >= SHOWN_FROM * length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def age_option(name: str, about: str) -> Callable[[F], F]:
    """Return an option that is a duration. The command gets seconds.

    Args:
        about: its help.
    """
    return click.option(name, callback=parsed(parse_age), metavar="AGE", help=about)


def older_than_option(command: F) -> F:
    """Give a command the option `--older-than`."""
    about = "Only those that were READY for longer: 90s, 15m, 1h or 2d."
    return age_option("--older-than", about)(command)
