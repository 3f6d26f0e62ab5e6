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
the value that holds them. An ID that holds a broken character is no ID.
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
# Halves of surrogate pairs: JSON can write them, and so bytes that are not UTF-8 are
# decoded here.
_HALVES = re.compile("[\ud800-\udfff]")
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
    value = _plain(body)
    found = _salvaged(value, kind)
    if found is _LOST and not isinstance(value, dict):
        found = _salvaged({}, kind)
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
        # Slower, and more tolerant.
        text = body.decode(json.detect_encoding(body), "surrogateescape")
        return _clean(
            json.loads(text, parse_constant=lambda _: None, parse_int=_whole_number)
        )
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        # The text of a JSONDecodeError holds no part of the body.
        if isinstance(error, json.JSONDecodeError):
            problem = f"it is not JSON: {error}"
    raise UnreadableError(problem)


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


def _clean(value: object, key: str = "") -> object:
    """Replace what can't be encoded again: infinite numbers and broken characters."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {_encodable(name): _clean(fields[name], name) for name in fields}
    if isinstance(value, list):
        return [_clean(item) for item in cast("list[object]", value)]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        sound = _encodable(value)
        return None if key.endswith("_id") and sound != value else sound
    return value


def _encodable(text: str) -> str:
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def _salvaged(value: object, kind: Any) -> object:
    """Return as much of a value as can be read, or `_LOST`."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        pass
    for member in _members(kind):
        origin = get_origin(member) or member
        if isinstance(value, dict) and isinstance(origin, type):
            if issubclass(origin, Struct):
                return _struct(cast("dict[str, object]", value), origin)
            if issubclass(origin, Mapping):
                return _by_name(cast("dict[str, object]", value), get_args(member)[1])
        if isinstance(value, list) and origin is tuple:
            return _items(cast("list[object]", value), get_args(member)[0])
    return _LOST


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the types that a value may have."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    return (
        (kind,)
        if isinstance(kind, type) or get_origin(kind) in (tuple, Mapping)
        else (get_args(kind) or (kind,))
    )


@cache
def _fields(kind: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    # Asking for them resolves all annotations, which takes long.
    return structs.fields(kind)


def _struct(values: dict[str, object], kind: type[Struct]) -> object:
    found: dict[str, Any] = {}
    skipped = 0
    for field in _fields(kind):
        if field.name in values:
            value = values[field.name]
            part = _salvaged(value, field.type)
            if part is not _LOST:
                found[field.name] = part
            if isinstance(part, tuple) and _holds_rows(field.type):
                skipped += len(cast("list[object]", value)) - len(
                    cast("tuple[object, ...]", part)
                )
        if field.required and field.name not in found:
            return _LOST
    if issubclass(kind, Rows):
        found["skipped"] = skipped
    try:
        return kind(**found)
    except ValueError:
        # Its ID can't be used.
        return _LOST


def _holds_rows(kind: Any) -> bool:
    return any(
        get_origin(member) is tuple and _is_struct(get_args(member)[0])
        for member in _members(kind)
    )


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _by_name(values: dict[str, object], kind: Any) -> object:
    parts = {name: _salvaged(values[name], kind) for name in values}
    return {name: part for name, part in parts.items() if part is not _LOST}


def _items(values: list[object], kind: Any) -> object:
    parts = [_salvaged(value, kind) for value in values]
    if _is_struct(kind):
        return tuple(
            part for part in parts if part is not _LOST and _has_usable_id(part)
        )
    if type(None) in _members(kind):
        return tuple(None if part is _LOST else part for part in parts)
    return Unlisted(str(part) for part in parts if part is not _LOST)


def _has_usable_id(row: object) -> bool:
    return usable_id(getattr(row, "request_id", None) or "0")
