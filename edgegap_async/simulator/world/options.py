"""The options of the simulated world, and delays."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal, TypeAlias, get_args

Delay: TypeAlias = tuple[float, float] | Callable[[], float]
Gone: TypeAlias = Literal["404", "410", "400", "terminated"]


def check_delay(argument: str, delay: Delay) -> None:
    """Check that a delay is a range of seconds or a callable.

    Raises:
        ValueError: It is neither.
    """
    match delay:
        case (float() | int() as least, float() | int() as most) if (
            0 <= least <= most < inf
        ):
            pass
        case _ if not callable(delay):
            raise ValueError(
                f"{argument} must be a range of seconds (least, most) or a callable, "
                f"not {delay!r}"
            )
        case _:
            pass


def draw_delay(delay: Delay, random: Random) -> float:
    """Return the seconds of a delay: random within its range, or from its callable."""
    return delay() if callable(delay) else random.uniform(*delay)


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """The options of `Simulator` for the world. `Simulator` documents each of them."""

    ready_after: Delay = (2.0, 5.0)
    error_share: float = 0.0
    crash_after: Delay | None = None
    stop_takes: float = 0.5
    gone: Gone = "404"
    newest_first: bool = True
    max_page_size: int = 100
    page_size: int | None = None
    neighbours: int = 0
    replica_lag: float = 0.0
    keep: int | None = None

    def __post_init__(self) -> None:
        check_delay("ready_after", self.ready_after)
        if self.crash_after is not None:
            check_delay("crash_after", self.crash_after)
        if not 0 <= self.error_share <= 1:
            raise ValueError(
                f"error_share must be a share from 0 to 1, not {self.error_share!r}"
            )
        if not 0 <= self.stop_takes < inf:
            raise ValueError(
                f"stop_takes must be a number of seconds, not {self.stop_takes!r}"
            )
        if self.gone not in get_args(Gone):
            raise ValueError(
                "gone must be one of the strings 404, 410, 400 and terminated, "
                f"not {self.gone!r}"
            )
        if self.max_page_size < 1:
            raise ValueError(
                f"max_page_size must be at least 1, not {self.max_page_size!r}"
            )
        if self.page_size is not None and self.page_size < 1:
            raise ValueError(
                f"page_size must be at least 1, or None, not {self.page_size!r}"
            )
        if self.neighbours < 0:
            raise ValueError(
                f"neighbours must be a number of deployments, not {self.neighbours!r}"
            )
        if self.keep is not None and self.keep < 0:
            raise ValueError(
                f"keep must be a number of deployments, or None, not {self.keep!r}"
            )
        if not 0 <= self.replica_lag < inf:
            raise ValueError(
                f"replica_lag must be a number of seconds, not {self.replica_lag!r}"
            )
