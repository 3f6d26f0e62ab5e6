"""What is left to chance: seconds out of a range, or from a callable where a range is not enough."""

from collections.abc import Callable
from math import inf
from random import Random
from typing import TypeAlias

Draw: TypeAlias = tuple[float, float] | Callable[[], float]


def check_draw(argument: str, draw: Draw) -> None:
    """Refuse what can't be drawn from.

    Raises:
        ValueError: it is no range of seconds.
    """
    if not callable(draw):
        least, most = draw
        if not 0 <= least <= most < inf:
            raise ValueError(f"{argument} must be a range of seconds (least, most), not {draw!r}")


def drawn(draw: Draw, chance: Random) -> float:
    """A number of seconds."""
    return draw() if callable(draw) else chance.uniform(*draw)
