"""The default run leaves out combinations, but no value of a parameter."""

from itertools import product

import pytest
from support.each_choice import each_choice


@pytest.mark.parametrize("sizes", [(1,), (5,), (28, 8), (2, 34, 2), (3, 1, 3), ()])
def test_each_value_occurs_in_as_few_cases_as_the_most_values(
    sizes: tuple[int, ...],
) -> None:
    names = "abc"
    cases = [
        dict(zip(names, indices, strict=False))
        for indices in product(*(range(size) for size in sizes))
    ]
    chosen = [cases[at] for at in each_choice(cases)]
    assert len(chosen) == max(sizes, default=0)
    for name, size in zip(names, sizes, strict=False):
        assert {case[name] for case in chosen} == {*range(size)}


def test_no_two_parameters_always_change_together() -> None:
    cases = [
        {"kind": kind, "fleet": fleet, "warm": warm}
        for kind, fleet, warm in product(range(8), range(2), range(2))
    ]
    chosen = [cases[at] for at in each_choice(cases)]
    assert len({(case["fleet"], case["warm"]) for case in chosen}) == 4


def test_combinations_that_do_not_exist_leave_out_no_value() -> None:
    cases = [{"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 1, "b": 1}, {"a": 1, "b": 2}]
    assert each_choice(cases) == [0, 2, 3]
