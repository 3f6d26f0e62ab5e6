"""What the API may send for a value, and what the attribute then holds.

A type checker sees the right column, msgspec the left one; a reader turns the one into the other right after decoding:

    null, "", "2025-11-29 22:35:31.971359", "2025-11-26T16:32:30Z"      Time: an aware datetime or None
    null, "", 5, "5"                                                    Integer: int or None
    null, "", 45.5, "45.3324097"                                        Real: float or None
    null, "", "text", ["text"]                                          Texts: a tuple
    null, "", {...}                                                     Ports, Place: the struct, {} or None

What can't be read is None: a number nobody can read must not take the whole answer with it.
"""

import inspect
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import force_setattr


def _time(value: str | datetime | None) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    # A naive time of this API is UTC.
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _real(value: float | str | None) -> float | None:
    if value is None or type(value) is float:
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _integer(value: float | str | None) -> int | None:
    if value is None or type(value) is int:
        return value
    number = _real(value)
    return int(number) if number is not None and number.is_integer() else None


def _texts(value: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value or ())


def _numbers(value: Sequence[float | str | None] | None) -> tuple[int | float | None, ...]:
    reals = [_real(item) for item in value or ()]
    return tuple(int(item) if item is not None and item.is_integer() else item for item in reals)


def _labels(value: Sequence[float | str | None] | None) -> tuple[str | None, ...]:
    return tuple(None if item is None else str(item) for item in value or ())


def _times(value: Sequence[str | datetime | None] | None) -> tuple[datetime | None, ...]:
    return tuple(_time(item) for item in value or ())


def none_if_empty(value: object) -> object:
    """Reads a struct for which the API also sends "" while there is none."""
    return value or None


def empty_if_none(value: object) -> object:
    """Reads a mapping for which the API also sends null or "" while there is none."""
    return value or {}


RequestId: TypeAlias = Annotated[str, Meta(min_length=1)]  # an identity: an answer without it is no answer

if TYPE_CHECKING:
    Time: TypeAlias = datetime | None
    Integer: TypeAlias = int | None
    Real: TypeAlias = float | None
    Texts: TypeAlias = tuple[str, ...]
    Numbers: TypeAlias = tuple[int | float | None, ...]
    Labels: TypeAlias = tuple[str | None, ...]
    Times: TypeAlias = tuple[datetime | None, ...]
else:
    Time = Annotated[str | None, _time]
    Integer = Annotated[int | float | str | None, _integer]
    Real = Annotated[int | float | str | None, _real]
    Texts = Annotated[tuple[str, ...] | str | None, _texts]
    Numbers = Annotated[tuple[int | float | str | None, ...] | None, _numbers]
    Labels = Annotated[tuple[int | float | str | None, ...] | None, _labels]
    Times = Annotated[tuple[str | None, ...] | None, _times]


def _reader(hint: object) -> Callable[..., object] | None:
    return next((note for note in getattr(hint, "__metadata__", ()) if callable(note)), None)


class Answer(Struct, frozen=True, gc=False, kw_only=True):
    """Base of all that the API answers: frozen, unknown fields ignored, variants read as the table above says.

    `gc=False` because answers hold no cycles: it halves the time to decode a large page.
    """

    _readers: ClassVar[tuple[tuple[str, Callable[..., object]], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hints = inspect.get_annotations(cls).items()
        own = tuple((name, read) for name, hint in hints if (read := _reader(hint)))
        cls._readers = cls._readers + own

    def __post_init__(self) -> None:
        for name, read in self._readers:
            came = getattr(self, name)
            if (value := read(came)) is not came:
                force_setattr(self, name, value)
