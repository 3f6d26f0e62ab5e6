"""Which requests are struck by a fault, and how often that was. Pure, but for the
chance that it draws from.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from .fault import Fault, Stage

_Place: TypeAlias = tuple[str, Stage]

# as much may ten shares of a tenth be off from 1
_ROUNDING = 1e-9


@dataclass(slots=True)
class _Armed:
    """A fault, and how often it may still strike."""

    fault: Fault
    left: int | None

    def concerns(self, fields: Collection[str]) -> bool:
        wanted = self.fault.fields
        return self.left != 0 and (
            not wanted or any(field in wanted for field in fields)
        )


class Mischief:
    """Strikes. Every operation has a chance of its own at each stage: what is switched
    on for one changes nothing for the others, and nothing of what the world draws.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._seed = seed
        self._chances: dict[_Place, Random] = {}
        self._struck: Counter[str] = Counter()
        self._armed = _arm(faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that can still strike, with the `times` that are left to them."""
        return tuple(
            replace(each.fault, times=each.left)
            for each in list(self._armed)
            if each.left != 0
        )

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        """Only these from now on."""
        self._armed = _arm(faults)

    def struck(self) -> dict[str, int]:
        """How often each kind has struck."""
        return dict(self._struck)

    def strike(
        self, operation: str, stage: Stage, fields: Collection[str] = ()
    ) -> Fault | None:
        """The fault that strikes this request, if any does; `fields` are those that it
        filters by.
        """
        place = (operation, stage)
        able = [
            each
            for each in self._armed
            if _place(each.fault) == place and each.concerns(fields)
        ]
        if not able:
            return None
        drawn, reach = self._chance(place).random(), 0.0
        # side by side, so that their shares add up
        for each in able:
            reach += each.fault.share
            if drawn < reach:
                return self._spend(each)
        return None

    def _chance(self, place: _Place) -> Random:
        if place not in self._chances:
            self._chances[place] = Random(f"{place} of {self._seed}")
        return self._chances[place]

    def _spend(self, armed: _Armed) -> Fault | None:
        if armed.left is not None:
            armed.left -= 1
        if armed.fault.kind == "ok":
            return None
        self._struck[armed.fault.kind] += 1
        return armed.fault


def _place(fault: Fault) -> _Place:
    return fault.operation, fault.stage


def _arm(faults: Sequence[Fault]) -> list[_Armed]:
    """Ready to strike.

    Raises:
        ValueError: what is no fault, or faults that leave others no share of the
            requests.
    """
    shares: defaultdict[tuple[_Place, Sequence[str]], float] = defaultdict(float)
    for fault in faults:
        if not isinstance(fault, Fault):
            raise ValueError(f"faults must hold Faults, not {fault!r}")
        if fault.times is None:
            shares[_place(fault), fault.fields] += fault.share
    for ((operation, _), _), share in shares.items():
        if share > 1 + _ROUNDING:
            raise ValueError(
                f"faults: the shares of those that strike {operation} add up to {share:g}, and not to 1"
            )
    return [_Armed(fault, fault.times) for fault in faults]
