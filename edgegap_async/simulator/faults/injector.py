"""Selects the requests with a fault, and counts how often each kind has occurred."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from .fault import Fault, check_kind, known_operation
from .kinds import Stage

_Point: TypeAlias = tuple[str, Stage]

# The sum of ten shares of 0.1 differs from 1 by less than this.
_ROUNDING = 1e-9


@dataclass(slots=True)
class _ActiveFault:
    """A fault, and how often it can still occur. None means without end."""

    fault: Fault
    left: int | None

    def applies_to(self, fields: Collection[str], idle: float) -> bool:
        wanted = self.fault.fields
        if self.fault.stage == "connection" and idle < (self.fault.seconds or 0.0):
            return False
        return self.left != 0 and (
            not wanted or any(field in wanted for field in fields)
        )


class FaultInjector:
    """Picks the fault for each request.

    Each stage of each operation has its own random generator. So a fault in one
    operation does not change the faults of others, nor the random numbers of the world.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._seed = seed
        self._initial = faults
        self.reset()

    def reset(self) -> None:
        """Begin again, with the faults and random numbers of the beginning."""
        self._generators: dict[_Point, Random] = {}
        self._hits: Counter[tuple[str, str]] = Counter()
        self._active = _activate(self._initial)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that can still occur, each with its remaining `times`."""
        return tuple(
            replace(each.fault, times=each.left)
            for each in list(self._active)
            if each.left != 0
        )

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        """Replace all faults."""
        self._active = _activate(faults)

    def clear(self, operation: str | None, kind: str | None) -> None:
        """Remove the faults of an operation and of a kind. None: of all.

        Raises:
            ValueError: There is no such operation or kind; the message names those
                there are.
        """
        wanted = None if operation is None else known_operation(operation)
        if kind is not None:
            check_kind(kind)
        self.faults = [
            each
            for each in self.faults
            if wanted not in (None, each.operation) or kind not in (None, each.kind)
        ]

    def hits(self) -> dict[str, int]:
        """Return how often each kind has occurred."""
        by_kind = Counter[str]()
        for (_, kind), hits in list(self._hits.items()):
            by_kind[kind] += hits
        return dict(by_kind)

    def hits_of(self, fault: Fault) -> int:
        """Return how often a kind has occurred in the operation of a fault."""
        return self._hits[fault.operation, fault.kind]

    def pick(
        self,
        operation: str,
        stage: Stage,
        fields: Collection[str] = (),
        *,
        idle: float = 0.0,
    ) -> Fault | None:
        """Return the fault of this request at a stage, or None.

        Args:
            operation: The operation of the request.
            stage: The stage.
            fields: The fields that the request filters by.
            idle: How many seconds its connection was idle.
        """
        point = (operation, stage)
        possible = [
            each
            for each in self._active
            if _point(each.fault) == point and each.applies_to(fields, idle)
        ]
        if not possible:
            return None
        number, threshold = self._generator(point).random(), 0.0
        # Each fault has its own part of the range from 0 to 1, so that shares add up.
        for each in possible:
            threshold += each.fault.share
            if number < threshold:
                return self._hit(each)
        return None

    def _generator(self, point: _Point) -> Random:
        if point not in self._generators:
            self._generators[point] = Random(f"{point} of {self._seed}")
        return self._generators[point]

    def _hit(self, active: _ActiveFault) -> Fault | None:
        if active.left is not None:
            active.left -= 1
        if active.fault.kind == "ok":
            return None
        self._hits[active.fault.operation, active.fault.kind] += 1
        return active.fault


def _point(fault: Fault) -> _Point:
    return fault.operation, fault.stage


def _activate(faults: Sequence[Fault]) -> list[_ActiveFault]:
    """Check the faults, and return them with their counters.

    Raises:
        ValueError: An item is not a `Fault`, or the shares of faults that exclude each
            other add up to more than 1.
    """
    shares: defaultdict[tuple[_Point, Sequence[str]], float] = defaultdict(float)
    for fault in faults:
        if not isinstance(fault, Fault):
            raise ValueError(f"faults must be Fault objects, not {fault!r}")
        if fault.times is None:
            shares[_point(fault), fault.fields] += fault.share
    for ((operation, _), _), share in shares.items():
        if share > 1 + _ROUNDING:
            raise ValueError(
                f"faults: the shares of the faults in {operation} add up to "
                f"{share:g}, which is more than 1"
            )
    return [_ActiveFault(fault, fault.times) for fault in faults]
