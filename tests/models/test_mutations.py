"""Mutated answers become structs or typed errors, quickly."""

from collections import Counter

import msgspec
import pytest
from support.mutations import answers, problem, problems

from edgegap_async import endpoints
from edgegap_async._transport.response import Reply
from edgegap_async.models._wire import Answer

# Seconds of CPU time. A test may be traced, on a busy machine: `benchmarks/mutations.py` has
# the goal.
LONGEST = 0.1


@pytest.mark.slow
@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.full)])
def test_mutated_answers_are_structs_or_typed_errors(count: int) -> None:
    kinds: Counter[str] = Counter()
    assert list(problems(count, 1, kinds, LONGEST)) == []
    # Most are still answers, so that the mutations are not too wild.
    assert count / 3 < kinds["struct"] < count * 2 / 3


@pytest.mark.full
def test_mutations_reach_every_operation_and_are_repeatable() -> None:
    first, second = list(answers(200)), list(answers(200))
    assert first == second
    assert {row for row, _ in first} == set(endpoints.OPERATIONS)
    assert len({reply.body for _, reply in first}) > 150


class Slow(Answer, frozen=True):
    """A struct that takes a CPU's time to decode."""

    a: int = 0

    def __post_init__(self) -> None:
        sum(range(5_000_000))


class Odd(Answer, frozen=True):
    """A struct that raises what no caller expects."""

    def __post_init__(self) -> None:
        raise KeyError("a")


class Unstable(Answer, frozen=True):
    """A struct that is encoded in another way than it was decoded."""

    a: int = msgspec.field(default=0, name="b")

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "a", self.a + 1)


@pytest.mark.parametrize(
    ("kind", "found"),
    [(Slow, "slow"), (Odd, "untyped error"), (Unstable, "changed")],
)
def test_the_search_finds_what_it_is_for(kind: type[Answer], found: str) -> None:
    row = msgspec.structs.replace(endpoints.METRICS, returns=kind)
    assert problem(row, Reply(200, b'{"b": 1}'))[0] == found
