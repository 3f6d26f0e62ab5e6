"""Decodes the body of an answer, and loses as little as possible of one that is odd.

A strict decoder comes first: it is fast, and nearly every body passes. Otherwise the
body is decoded into plain data, and read part by part:

    part that can't be read         what becomes of it
    -----------------------------   ---------------------------------------------------
    a field                         its default: None, or nothing
    a row, or one without its ID    left out, and counted in `skipped` of its answer
    a number, a label or a time     None, so that the others keep their places
      in a list
    a text in a list                left out; the list is `Unlisted`
    a port, a session               left out
    the answer, if it is no object  its defaults, if every field has one

Bytes that are not UTF-8, halves of surrogate pairs, NaN and infinite numbers spoil only
the value that holds them. An ID that holds a broken character is no ID. A hostile body
can hold so many values that reading all of them one by one would block the loop for
seconds: after `_MOST_VALUES`, the rest is left out.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from ._check import usable_id
from ._wire import Rows, Unlisted

T = TypeVar("T")
# The digits of the longest number that is read: int() refuses more than 4300.
_LONGEST_NUMBER = 400
# Values that are read one by one, each in some microseconds. A page of a hundred odd
# rows has some thousands.
_MOST_VALUES = 50_000
# Escapes of halves of surrogate pairs, in JSON without escaped backslashes.
_HALVES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_LOST: Final = object()
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class UnreadableError(ValueError):
    """The body can't be read. The text says why, without repeating the body."""


def decode(body: bytes, kind: type[T]) -> T:
    """Decode the JSON of an answer.

    Raises:
        UnreadableError: it is not JSON, or a part without which the answer is of no use
            is missing.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except _REFUSED as error:
        # A ValidationError is a DecodeError. Hostile nesting raises RecursionError.
        problem = str(error)
    value, salvage = _plain(body), _Salvage()
    found = salvage.value(value, kind)
    if found is _LOST and not isinstance(value, dict):
        found = salvage.value({}, kind)
    if found is _LOST:
        raise UnreadableError(problem)
    return cast("T", found)


def _plain(body: bytes) -> object:
    """Decode JSON of any form into plain data."""
    try:
        return msgspec.json.decode(body)
    except _REFUSED:
        pass
    problem = "it is not JSON"
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        if "\\ud" in text or "\\uD" in text:
            text = _without_halves(text)
        # Slower, and more tolerant.
        return json.loads(
            text,
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_whole_number,
        )
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        # The text of a JSONDecodeError holds no part of the body.
        if isinstance(error, json.JSONDecodeError):
            problem = f"it is not JSON: {error}"
    raise UnreadableError(problem)


def _without_halves(text: str) -> str:
    if "\0" in text:
        # It is no JSON, and refused.
        return text
    bare = text.replace("\\\\", "\0")
    return _HALVES.sub("\ufffd", bare).replace("\0", "\\\\")


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


class _Salvage:
    """Reads as much of one answer as can be read. Each method returns `_LOST` if that is
    nothing.
    """

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def value(self, value: object, kind: Any) -> object:
        """Read a value of a type, as the annotation of a field has it."""
        self._left -= 1
        if self._left < 0:
            return _LOST
        try:
            found: object = msgspec.convert(value, kind)
        except (msgspec.ValidationError, RecursionError):
            pass
        else:
            if not _holds_unusable_id(found):
                return found
        for member in _members(kind):
            origin = get_origin(member) or member
            if isinstance(value, dict) and isinstance(origin, type):
                if issubclass(origin, Struct):
                    return self._struct(cast("dict[str, object]", value), origin)
                if issubclass(origin, Mapping):
                    inner = get_args(member)[1]
                    return self._by_name(cast("dict[str, object]", value), inner)
            if isinstance(value, list) and origin is tuple:
                inner = get_args(member)[0]
                return self._items(cast("list[object]", value), inner)
        return _LOST

    def _struct(self, values: dict[str, object], kind: type[Struct]) -> object:
        found: dict[str, Any] = {}
        skipped = 0
        for field in _fields(kind):
            if field.name in values:
                value = values[field.name]
                part = self.value(value, field.type)
                if part is not _LOST:
                    found[field.name] = part
                if isinstance(part, tuple) and _holds_rows(field.type):
                    kept = cast("tuple[object, ...]", part)
                    skipped += len(cast("list[object]", value)) - len(kept)
            if field.required and field.name not in found:
                return _LOST
        if issubclass(kind, Rows):
            found["skipped"] = skipped
        try:
            return kind(**found)
        except ValueError:
            # Its ID can't be used.
            return _LOST

    def _by_name(self, values: dict[str, object], kind: Any) -> object:
        parts = {name: self.value(values[name], kind) for name in values}
        return {name: part for name, part in parts.items() if part is not _LOST}

    def _items(self, values: list[object], kind: Any) -> object:
        parts = [self.value(value, kind) for value in values]
        if _is_struct(kind):
            return tuple(
                part for part in parts if part is not _LOST and _has_usable_id(part)
            )
        if type(None) in _members(kind):
            return tuple(None if part is _LOST else part for part in parts)
        return Unlisted(str(part) for part in parts if part is not _LOST)


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the types that a value may have."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if isinstance(kind, type) or get_origin(kind) in (tuple, Mapping):
        return (kind,)
    return get_args(kind) or (kind,)


@cache
def _fields(kind: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    # Asking for them resolves all annotations, which takes long.
    return structs.fields(kind)


def _holds_rows(kind: Any) -> bool:
    return any(
        get_origin(member) is tuple and _is_struct(get_args(member)[0])
        for member in _members(kind)
    )


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _holds_unusable_id(found: object) -> bool:
    if not isinstance(found, tuple):
        return False
    rows = cast("tuple[object, ...]", found)
    if not isinstance(next(iter(rows), None), Struct):
        return False
    return not all(map(_has_usable_id, rows))


def _has_usable_id(row: object) -> bool:
    return usable_id(getattr(row, "request_id", None) or "0")
