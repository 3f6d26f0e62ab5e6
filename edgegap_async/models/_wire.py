"""Types of the fields of answers, for values that the API writes in several ways.

    type         the API sends                              the attribute holds
    ----------   ----------------------------------------   -------------------------
    Time         null, "", "2025-11-29 22:35:31.971359",    an aware datetime or None
                 "2025-11-26T16:32:30Z", 1764455731,
                 "Sat, 29 Nov 2025 22:35:31 GMT"
    Integer      null, "", 5, "5"                           an int or None
    Real         null, "", 45.5, "45.3324097"               a float or None
    Texts        null, "", "text", ["text"]                 a tuple of strings
    Numbers      null, "", [45.5, "5", null]                a tuple of numbers or None
    Labels       null, "", ["text", 5, null]                a tuple of strings or None
    Times        null, "", [times as above]                 a tuple of datetimes or None
    Several[X]   null, "", [...]                            a tuple of X
    ByName[X]    null, "", {...}                            a mapping of names to X
    Maybe[X]     null, "", true, {...}, [...]               an X or None

msgspec decodes the middle column. `Answer` converts each value right after decoding. A
type checker sees the right column.

A number or a time that can't be read becomes None. `_lenient.py` reads answers with
values of other types.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias, TypeVar

from msgspec import Meta
from msgspec.structs import force_setattr

from ._plain import PlainData, fields_of

T = TypeVar("T")
# Seconds since 1970, from September 2001 on. From the second number on, they are
# milliseconds. A smaller number is a duration or nothing, not a time.
_FIRST_EPOCH, _FIRST_EPOCH_MS = 1e9, 1e12
# Characters of the shortest and the longest text that is read as a time.
_SHORTEST_TIME, _LONGEST_TIME = 8, 64
# Digits of the longest number that is read. The time grows with their square, and
# int() refuses more than 4300.
LONGEST_NUMBER = 400


def _time(value: object) -> datetime | None:
    time: datetime | None = None
    if isinstance(value, str):
        try:
            # ISO 8601 allows dates without dashes, too. Numbers may look like them.
            time = datetime.fromisoformat(value) if value[4:5] == "-" else _odd(value)
        except ValueError:
            time = _odd(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        time = _time_of_epoch(value)
    elif isinstance(value, datetime):
        time = value
    # A naive time of this API is UTC.
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def _odd(text: str) -> datetime | None:
    """Read a time that is not written as on the reference page."""
    if not _SHORTEST_TIME <= len(text) <= _LONGEST_TIME:
        return None
    # Only a date of HTTP begins with a letter. Each wrong form takes a microsecond.
    for read in (
        _TIME_FORMS if text[0].isdecimal() else _HTTP_TIME if ":" in text else ()
    ):
        try:
            if time := read(text):
                return time
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _time_of_epoch(seconds: float | str) -> datetime | None:
    try:
        number = float(seconds)
    except OverflowError:
        return None
    if number >= _FIRST_EPOCH_MS:
        number /= 1000
    # Also False for NaN.
    if not _FIRST_EPOCH <= number < _FIRST_EPOCH_MS:
        return None
    try:
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


_Forms: TypeAlias = tuple[Callable[[str], datetime | None], ...]
_HTTP_TIME: _Forms = (parsedate_to_datetime,)
_TIME_FORMS: _Forms = (_time_of_epoch, *_HTTP_TIME, datetime.fromisoformat)


def _real(value: object) -> float | None:
    if type(value) is float:
        return value
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _number(value: object) -> int | float | None:
    if isinstance(value, str):
        if len(value) > LONGEST_NUMBER:
            return None
        try:
            # Exact for numbers of any length, which a float is not.
            return int(value)
        except ValueError:
            pass
    if type(value) is int:
        return value
    number = _real(value)
    return int(number) if number is not None and number.is_integer() else number


def _integer(value: object) -> int | None:
    try:
        # Most of them are texts of digits.
        if isinstance(value, str) and len(value) <= LONGEST_NUMBER:
            return int(value)
    except ValueError:
        pass
    return _whole(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return number if isinstance(number, int) else None


class Unlisted(tuple[str, ...]):
    """Texts that did not come as a list: left out, null, or one text, which may be
    several joined.
    """

    __slots__ = ()


NOTHING = Unlisted()


def _texts(value: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return Unlisted((value,)) if value else NOTHING
    return NOTHING if value is None else tuple(value)


def _several(value: Sequence[T] | None) -> Sequence[T]:
    return () if value is None or isinstance(value, str) else value


def _numbers(value: Sequence[object] | None) -> tuple[int | float | None, ...]:
    return tuple(_number(item) for item in _several(value))


def _labels(value: Sequence[object] | None) -> tuple[str | None, ...]:
    return tuple(
        str(item)
        if isinstance(item, int | float | str) and not isinstance(item, bool)
        else None
        for item in _several(value)
    )


def _times(value: Sequence[object] | None) -> tuple[datetime | None, ...]:
    return tuple(_time(item) for item in _several(value))


def _no_names(_: str | None) -> Mapping[str, object]:
    return {}


def _none_if_text(_: str) -> None:
    return None


class Takes:
    """Which types of values can be read, of a field that msgspec decodes as any.

    msgspec hands over the digits of a number only there. It would read them by itself
    elsewhere, which takes up to 16 microseconds for a number such as `1e300`.
    """

    def __init__(self, *types: type) -> None:
        self.types = types


class _Reads:
    """Converts a value of a field.

    Args:
        read: the conversion.
        types: the decoded types that need the conversion. Most values have the right
            type already, and are left as they are.
        shows: the type that the attribute holds.
    """

    def __init__(
        self, read: Callable[..., object], *types: type, shows: object
    ) -> None:
        self.read = read
        self.types = frozenset(types)
        self.shows = shows


if TYPE_CHECKING:
    RequestId: TypeAlias = str
    Time: TypeAlias = datetime | None
    Integer: TypeAlias = int | None
    Real: TypeAlias = float | None
    Texts: TypeAlias = tuple[str, ...]
    Numbers: TypeAlias = tuple[int | float | None, ...]
    Labels: TypeAlias = tuple[str | None, ...]
    Times: TypeAlias = tuple[datetime | None, ...]
    Several: TypeAlias = tuple[T, ...]
    ByName: TypeAlias = Mapping[str, T]
    Maybe: TypeAlias = T | None
else:
    # An answer without the ID of its deployment is of no use, so it fails to decode.
    RequestId = Annotated[str, Meta(min_length=1)]
    _Aware = Annotated[datetime, Meta(tz=True)]
    # msgpack has times: an answer encoded as msgpack holds a datetime where JSON holds
    # a string. msgspec has no union of a datetime and a string.
    Time = Annotated[
        object,
        _Reads(_time, str, datetime, bool, int, float, list, dict, shows=_Aware | None),
    ]
    _Value = Annotated[object, Takes(int, float, str, NoneType)]
    Integer = Annotated[
        _Value, _Reads(_integer, str, float, bool, list, dict, shows=int | None)
    ]
    Real = Annotated[
        _Value, _Reads(_real, str, int, bool, list, dict, shows=float | None)
    ]
    Texts = Annotated[
        tuple[str, ...] | str | None,
        _Reads(_texts, str, list, NoneType, shows=tuple[str, ...]),
    ]
    _Values = tuple[_Value, ...] | str | None
    Numbers = Annotated[
        _Values,
        _Reads(
            _numbers,
            *(str, list, tuple, NoneType),
            shows=tuple[int | float | None, ...],
        ),
    ]
    Labels = Annotated[
        _Values,
        _Reads(_labels, *(str, list, tuple, NoneType), shows=tuple[str | None, ...]),
    ]
    Times = Annotated[
        _Values,
        _Reads(_times, *(str, list, tuple, NoneType), shows=tuple[_Aware | None, ...]),
    ]

    class Several:
        def __class_getitem__(cls, kind: object) -> object:
            return Annotated[
                tuple[kind, ...] | str | None,
                _Reads(_several, str, NoneType, shows=tuple[kind, ...]),
            ]

    class ByName:
        def __class_getitem__(cls, kind: object) -> object:
            return Annotated[
                Mapping[str, kind] | str | None,
                _Reads(_no_names, str, NoneType, shows=Mapping[str, kind]),
            ]

    class Maybe:
        def __class_getitem__(cls, kind: object) -> object:
            return Annotated[
                kind | str | None, _Reads(_none_if_text, str, shows=kind | None)
            ]


class Answer(PlainData, frozen=True, gc=False, kw_only=True):
    """Base of all answers of the API.

    Answers are frozen. Unknown fields are ignored. Fields are converted as in the table
    at the top of this module.

    `gc=False`: answers hold no cycles, and it halves the time to decode a large page.
    """

    _readers: ClassVar[
        tuple[tuple[str, frozenset[type], Callable[..., object]], ...]
    ] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, hint in inspect.get_annotations(cls).items():
            for note in getattr(hint, "__metadata__", ()):
                if isinstance(note, _Reads):
                    cls._readers = (*cls._readers, (name, note.types, note.read))

    def __post_init__(self) -> None:
        for name, types, read in self._readers:
            value = getattr(self, name)
            if type(value) in types:
                force_setattr(self, name, read(value))

    def __iter__(self) -> Iterator[tuple[str, object]]:
        """The fields and their values, so that `dict(answer)` works. FastAPI calls it for
        answers without an annotation.
        """
        return fields_of(self)


class Rows(Answer, frozen=True, kw_only=True):
    """Base of all answers that hold rows.

    Attributes:
        skipped: how many rows were left out, because they are no objects or have no ID
            that can be used.
    """

    skipped: int = 0
