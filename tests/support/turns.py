"""The turns of a loop in which tests disturb a program, one run per turn."""

from collections.abc import Iterator
from itertools import chain

# The time of such a test is in proportion to the square of the number of turns. So not
# all of the later turns are chosen, unless `pytest --full` runs.
_ALL_UP_TO = 40
_further_step = 5


def choose_all() -> None:
    """Choose each turn from now on."""
    global _further_step
    _further_step = 1


def chosen_turns(most: int) -> Iterator[int]:
    """Return the turns to choose, from 1 to `most`."""
    return chain(
        range(1, min(_ALL_UP_TO, most)), range(_ALL_UP_TO, most, _further_step)
    )
