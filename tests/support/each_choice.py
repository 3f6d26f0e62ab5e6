"""Few cases of a test with many parameters, so that each value occurs in one of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

# What identifies a value, by the name of its parameter.
Case: TypeAlias = Mapping[str, int]


def each_choice(cases: Sequence[Case]) -> list[int]:
    """Choose cases until each value of each parameter occurs.

    Among cases with equally many new values, those whose pairs of values are rarest so
    far come first, so that no two parameters always change together.

    Returns:
        The positions of the cases that are chosen, in ascending order.
    """
    missing = {value for case in cases for value in case.items()}
    pairs: Counter[object] = Counter()
    chosen: list[int] = []

    def gain(at: int) -> tuple[int, int]:
        values = cases[at].items()
        seen = sum(pairs[pair] for pair in combinations(values, 2))
        return len(missing & values), -seen

    while missing:
        best = max(range(len(cases)), key=gain)
        chosen.append(best)
        missing -= cases[best].items()
        pairs.update(combinations(cases[best].items(), 2))
    return sorted(chosen)
