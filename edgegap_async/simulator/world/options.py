"""What is left to chance: seconds out of a range, or from a callable where a range is
not enough.
"""

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
    match draw:
        case (float() | int() as least, float() | int() as most) if (
            0 <= least <= most < inf
        ):
            pass
        case _ if not callable(draw):
            raise ValueError(
                f"{argument} must be a range of seconds (least, most), not {draw!r}"
            )
        case _:
            pass


def drawn(draw: Draw, chance: Random) -> float:
    """A number of seconds."""
    return draw() if callable(draw) else chance.uniform(*draw)
