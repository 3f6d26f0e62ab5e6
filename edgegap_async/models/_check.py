"""Checks of what goes out: a wrong argument is a `ValueError` that names it, before anything is sent."""

from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeGuard


def fail(argument: str, problem: str) -> NoReturn:
    """Refuse an argument. The text never repeats the value where that could be a secret."""
    raise ValueError(f"{argument} {problem}")


def text(argument: str, value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        fail(argument, f"must be a string that is not empty, not {value!r}")
    return value


def optional_text(argument: str, value: object) -> str | None:
    """A string that is not empty, or None."""
    return None if value is None else text(argument, value)


def whole_number(argument: str, value: object, least: int, most: int | None = None) -> int:
    """An int between `least` and `most`, both allowed."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        fail(argument, f"must be a whole number {bounds}, not {value!r}")
    return value


def number(argument: str, value: object, least: float, most: float) -> float:
    """A number between `least` and `most`, both allowed."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        fail(argument, f"must be a number from {least:g} to {most:g}, not {value!r}")
    return value


def seconds(argument: str, value: object, *, zero: bool = False) -> float:
    """A number of seconds: finite, and more than zero unless `zero`."""
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value < float("inf")
        or not (value or zero)
    ):
        fail(argument, f"must be a number of seconds {'of at least' if zero else 'above'} 0, not {value!r}")
    return value


def tag_name(argument: str, value: object) -> str:
    """A tag: 20 characters by the reference page, 40 by the newer specification; the wider bound is refused."""
    longest = 40
    if len(text(argument, value)) > longest:
        fail(argument, f"must have at most {longest} characters, not {value!r}")
    return str(value)


def sequence(argument: str, value: object) -> tuple[object, ...]:
    """The items of a list, tuple or other iterable that is no bare string and no mapping."""
    if not _is_sequence(value):
        fail(argument, f"must be a sequence, not {value!r}")
    return tuple(value)


def _is_sequence(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
