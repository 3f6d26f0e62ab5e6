"""Checks of arguments, before anything is sent.

Each check returns the checked value, as a plain `str`, `int` or `float`: msgspec encodes
no other kinds of text and number, such as those of numpy. A wrong argument raises a
`ValueError` whose text names the argument.
"""

import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from itertools import islice
from math import isfinite
from operator import index
from reprlib import Repr
from typing import (
    Any,
    NoReturn,
    Protocol,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypeGuard,
    TypeVar,
)

from msgspec import UNSET, Struct, json
from msgspec.structs import force_setattr

T = TypeVar("T")
# The check of each field of a body.
Checks: TypeAlias = Mapping[str, Callable[[object], object]]
# Names in a text.
MOST_NAMED = 10
_REPR = Repr()
# Characters of a value that an error shows. The value may have megabytes.
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def fail(argument: str, problem: str) -> NoReturn:
    """Raise a `ValueError` that names an argument and its problem.

    A `problem` must not repeat a value that may be a secret.
    """
    raise ValueError(f"{argument} {problem}")


def shown(value: object) -> str:
    """Return the repr of a wrong value, shortened."""
    try:
        return _REPR.repr(value)
    except ValueError:
        # Python refuses to write an int of more than 4,300 digits.
        return f"a very long {type(value).__name__}"


def closest(given: str, known: Iterable[str], *, stems: bool = False) -> str | None:
    """Return the name that a misspelt one most likely stands for.

    Args:
        stems: also find `desc` for `descending`, and the other way round.
    """
    # Only wrong arguments need this module.
    from difflib import get_close_matches

    # A name in another case, and one with other separators.
    folded = {name.replace("_", ""): name for name in known}
    word = given.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if found := get_close_matches(word, folded, n=1, cutoff=0.8):
        return folded[found[0]]
    if stems and len(word) >= SHORTEST_STEM:
        for name in folded:
            if name.startswith(word) or word.startswith(name):
                return folded[name]
    return None


# Letters that two names must share at their beginning.
SHORTEST_STEM = 3


def plain(value: str) -> str:
    """Return the characters of a string of any class as a plain `str`."""
    # `str(value)` would be the name of an enum's member, not its value.
    return value if type(value) is str else str.__str__(value)


def text(argument: str, value: object) -> str:
    """Check a string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        fail(argument, f"must be a string that is not empty, not {shown(value)}")
    return encodable(argument, value)


# Unicode categories: separators, control characters, and format characters such as the
# byte order mark and the zero-width space.
_BLANK = ("Z", "Cc", "Cf")
# The blank characters that a label may hold between its ends: a space, and the joiners
# of emoji.
_INSIDE = (" ", "\u200c", "\u200d")


# Characters of the longest ID. Those of the API have 12, and those of users' hosts and
# sockets may be longer. A text of megabytes would be checked character by character.
LONGEST_ID = 128


def _is_blank(character: str) -> bool:
    return unicodedata.category(character).startswith(_BLANK)


def stripped(value: str) -> str:
    """Remove white space, control and format characters from both ends of a text."""
    # The usual ones first: fast, however many there are.
    value = value.strip()
    start, end = 0, len(value)
    while start < end and _is_blank(value[start]):
        start += 1
    while end > start and _is_blank(value[end - 1]):
        end -= 1
    return value[start:end]


def identifier(argument: str, value: object) -> str:
    """Check an ID, and strip it: users often read IDs from files and pipes."""
    if isinstance(value, str) and (length := len(value.strip())) > LONGEST_ID:
        fail(argument, f"must have at most {LONGEST_ID} characters, not {length:,}")
    checked = _single_line(argument, value, inside=())
    if checked in (".", ".."):
        fail(argument, f"must not be {checked!r}: a path can't hold it")
    return checked


class HasRequestId(Protocol):
    """What stands for a deployment: an answer, an outcome, an event, or an error."""

    @property
    def request_id(self) -> str:
        """The ID of the deployment."""
        ...


# What the methods take for a deployment.
DeploymentId: TypeAlias = str | HasRequestId


def deployment_id(argument: str, value: object) -> str:
    """Check the ID of a deployment, or take it from an object that has one."""
    if not isinstance(value, str):
        found: object = getattr(value, "request_id", None)
        if not isinstance(found, str):
            fail(
                argument,
                f"must be a request_id, or an object that has one, not {shown(value)}",
            )
        value = found
    return identifier(argument, value)


def usable_id(text: str) -> bool:
    """Whether a path can hold an ID. The IDs of the API are 12 hex digits."""
    if len(text) > LONGEST_ID:
        return False
    if text.isalnum() and text.isascii():
        return True
    if "\ufffd" in text:
        # It stands for a character that could not be read.
        return False
    try:
        identifier("request_id", text)
    except ValueError:
        return False
    return True


def check_id(request_id: str) -> None:
    """Refuse an answer with an ID that no path can hold."""
    if not usable_id(request_id):
        raise ValueError("request_id can't be used in a path")


def check_ids(request_ids: Sequence[str]) -> None:
    """Refuse an answer with any such ID. One check takes less time than one for each."""
    joined = "".join(request_ids)
    if not (
        joined.isalnum()
        and joined.isascii()
        and max(map(len, request_ids)) <= LONGEST_ID
    ):
        for request_id in request_ids:
            check_id(request_id)


def label(argument: str, value: object) -> str:
    """Check a tag or a name, and strip it. It may hold spaces."""
    return _single_line(argument, value, inside=_INSIDE)


def _single_line(argument: str, value: object, inside: Sequence[str]) -> str:
    bare = stripped(value) if isinstance(value, str) else value
    checked = text(argument, bare)
    if checked.isprintable() and (" " in inside or " " not in checked):
        return checked
    if wrong := [each for each in checked if _is_blank(each) and each not in inside]:
        fail(argument, f"must not hold {wrong[0]!r}: {shown(checked)}")
    return checked


def encodable(argument: str, value: str) -> str:
    """Check that UTF-8 can encode a string: half of a surrogate pair can't be sent."""
    try:
        value.encode()
    except UnicodeEncodeError:
        # It may be secret, and this error holds it.
        del value
    else:
        return plain(value)
    fail(argument, "holds half of a surrogate pair, which can't be sent")


def optional_text(argument: str, value: object) -> str | None:
    """Check a string that is not empty, or None."""
    return None if value is None else text(argument, value)


def flag(argument: str, value: object) -> bool:
    """Check True or False. A text is refused, as "false" would count as true."""
    if not (isinstance(value, bool) or _is_numpy_bool(value)):
        fail(argument, f"must be True or False, not {shown(value)}")
    return bool(value)


def _is_numpy_bool(value: object) -> bool:
    kind: object = getattr(getattr(value, "dtype", None), "kind", None)
    return kind == "b" and getattr(value, "ndim", None) == 0


def plain_number(value: object) -> int | float | None:
    """Return a number of any class as a plain one. None: it is no number.

    Booleans are no numbers, and neither are texts.
    """
    if type(value) is int or type(value) is float:
        return value
    if isinstance(value, bool | str | bytes | bytearray) or _is_numpy_bool(value):
        return None
    # Their `__index__` and `__float__` may raise any of these for some values.
    with suppress(TypeError, ValueError, OverflowError):
        if isinstance(value, float):
            return float(value)
        if isinstance(value, SupportsIndex):
            return index(value)
    with suppress(TypeError, ValueError, OverflowError):
        if isinstance(value, SupportsFloat):
            return float(value)
    return None


# msgspec encodes no larger one.
LARGEST_INT = 2**63 - 1


def whole_number(
    argument: str, value: object, least: int, most: int | None = None
) -> int:
    """Check an int from `least` to `most`, both included. None: as many as JSON of the
    API holds.
    """
    found = plain_number(value)
    largest = LARGEST_INT if most is None else most
    if not isinstance(found, int) or not least <= found <= largest:
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        fail(argument, f"must be a whole number {bounds}, not {shown(value)}")
    return found


def number(argument: str, value: object, least: float, most: float) -> float:
    """Check a number from `least` to `most`, both included."""
    found = plain_number(value)
    if found is None or not least <= found <= most:
        fail(
            argument,
            f"must be a number from {least:g} to {most:g}, not {shown(value)}",
        )
    return found


def any_number(argument: str, value: object) -> int | float:
    """Check a number that JSON can hold."""
    found = plain_number(value)
    if found is None or not (
        abs(found) <= LARGEST_INT if isinstance(found, int) else isfinite(found)
    ):
        fail(argument, f"must be a finite number, not {shown(value)}")
    return found


# A number that has more digits than a float can hold is not finite either.
MOST_SECONDS = sys.float_info.max


def optional_seconds(argument: str, value: object) -> float | None:
    """Check a number of seconds above zero. None means that there is no time limit."""
    return None if value is None else seconds(argument, value, none=True)


def seconds(
    argument: str, value: object, *, zero: bool = False, none: bool = False
) -> float:
    """Check a finite number of seconds above zero.

    Args:
        zero: zero is allowed, too.
        none: so is None, which the text of the error then names.
    """
    if isinstance(value, timedelta):
        fail(argument, "must be a number of seconds: give its total_seconds()")
    found = plain_number(value)
    if found is None or not 0 <= found <= MOST_SECONDS or not (found or zero):
        least = "of at least 0" if zero else "above 0"
        end = ", or None for no end" if none else ""
        fail(argument, f"must be a number of seconds {least}{end}, not {shown(value)}")
    return found


def utc(argument: str, time: datetime) -> datetime:
    """Check a time, and convert it to UTC. A naive one is UTC."""
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        pass
    fail(argument, f"is outside of the years 1 to 9999 in UTC: {shown(time)}")


def tag_name(argument: str, value: object) -> str:
    """Check the name of a tag."""
    # The reference page allows 20 characters, the newer specification 40. Only a name
    # that both forbid is refused.
    longest = 40
    tag = label(argument, value)
    if len(tag) > longest:
        fail(argument, f"must have at most {longest} characters, not {shown(tag)}")
    return tag


def sized_label(argument: str, value: object, least: int, most: int) -> str:
    """Check a name that has from `least` to `most` characters."""
    name = label(argument, value)
    if not least <= len(name) <= most:
        fail(
            argument, f"must have from {least} to {most} characters, not {shown(name)}"
        )
    return name


def check_fields(body: Struct, checks: Checks) -> None:
    """Check the fields of a body that are given, and set what the checks return.

    Raises:
        ValueError: a field is wrong, or none is given.
    """
    names = body.__struct_fields__
    given = [name for name in names if getattr(body, name) is not UNSET]
    if not given:
        fail(", ".join(names), "are all missing: give what is to be changed")
    for name in given:
        force_setattr(body, name, checks[name](getattr(body, name)))


def some(names: Collection[str]) -> str:
    """Some names of many for a text, and how many more there are."""
    text = ", ".join(islice(names, MOST_NAMED))
    more = len(names) - MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text


def sequence(
    argument: str, value: object, *, most: int | None = None
) -> tuple[object, ...]:
    """Return the items of a list, a tuple or another iterable.

    Bare strings, bytes and mappings are refused.

    Args:
        most: how many items there may be. None: any number.
    """
    if not is_sequence(value):
        problem = f"must be a sequence, not {shown(value)}"
        single = value is not None and not isinstance(value, Mapping)
        fail(argument, f"{problem}; put it into a list" if single else problem)
    if most is None:
        return tuple(value)
    # It may be endless.
    items = tuple(islice(value, most + 1))
    if len(items) > most:
        fail(argument, f"must hold at most {most:,} items")
    return items


def instances(argument: str, value: object, kind: type[T]) -> tuple[T, ...]:
    """Return the items of a sequence, all of which must be instances of `kind`."""
    items: tuple[T, ...] = ()
    for item in sequence(argument, value):
        if not isinstance(item, kind):
            fail(
                argument,
                f"must hold instances of {kind.__name__}, not of {type(item).__name__}",
            )
        items += (item,)
    return items


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether a value maps names to values."""
    return isinstance(value, Mapping)


def is_sequence(value: object) -> TypeGuard[Iterable[object]]:
    """Whether a value is an iterable, but no text, no mapping and no struct: an answer
    yields its fields.
    """
    return isinstance(value, Iterable) and not isinstance(
        value, str | bytes | Mapping | Struct
    )


def optional_switch(argument: str, value: object, other: str) -> str | None:
    """Check True, False or a text, and return it as the API writes it. None: not given.

    Args:
        other: what a text stands for.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip():
        return encodable(argument, value)
    if not (isinstance(value, bool) or _is_numpy_bool(value)):
        fail(argument, f"must be True, False, or {other}, not {shown(value)}")
    return str(bool(value)).lower()


def log_storage_query(storage: bool | str | None) -> dict[str, str | None]:
    """Build the query of a stop: whether the API keeps the logs of the container.

    True or False, or the name of an endpoint storage. None: the API decides.
    """
    about = "the name of an endpoint storage"
    return {
        "container_log_storage": optional_switch(
            "container_log_storage", storage, about
        )
    }


def instance(argument: str, value: object, kind: type[T]) -> T:
    """Check that a value is an instance of `kind`."""
    if not isinstance(value, kind):
        given = value.__name__ if isinstance(value, type) else type(value).__name__
        what = f"the class {given} itself" if isinstance(value, type) else given
        fail(argument, f"must be a {kind.__name__}, not {what}")
    return value


def optional_instance(argument: str, value: T | None, kind: type[T]) -> T | None:
    """Check that a value is an instance of `kind`, or None."""
    return None if value is None else instance(argument, value, kind)


def one_of(argument: str, value: T, allowed: Sequence[T]) -> T:
    """Check that a value is one of the allowed ones."""
    if value not in allowed:
        fail(
            argument,
            f"must be one of {', '.join(map(str, allowed))}, not {shown(value)}",
        )
    return allowed[allowed.index(value)]


def optional_callables(**arguments: object) -> None:
    """Check that each argument is None or a callable that is no coroutine function."""
    for name, value in arguments.items():
        if value is not None and not callable(value):
            fail(name, f"must be callable, not {type(value).__name__}")
        if iscoroutinefunction(value):
            fail(name, "must be a plain function, as the SDK would not await it")


def plain_object(argument: str, value: object) -> dict[str, Any]:
    """Check a mapping that JSON can hold, and return what JSON makes of it."""
    if not is_mapping(value):
        fail(argument, f"must be a mapping, not {shown(value)}")
    try:
        return json.decode(json.encode(value), type=dict[str, Any])
    except (TypeError, ValueError, RecursionError) as error:
        # The text may repeat a value, which may be a secret.
        problem = type(error).__name__
    fail(argument, f"can't be written as JSON ({problem})")
