"""Decodes the body of an answer, and loses as little as possible of one that is odd.

A strict decoder comes first: it is fast, and nearly every body passes. Otherwise the
body is decoded into plain data, and read part by part:

    part that can't be read         what becomes of it
    -----------------------------   ---------------------------------------------------
    a field                         its default: None, or nothing
    a row, or one without its ID    left out, and counted in `skipped` of its answer
    a number, a label or a time     None, so that the others keep their places
      in a list
    a text in a list                that of {"name": text} or {"tag": text}, or those of a
                                    list; else left out, and the list is `Unlisted`
    a port, a session               left out
    the answer, if it is no object  its defaults, if every field has one

Bytes that are not UTF-8, halves of surrogate pairs, NaN, infinite numbers and those of
more than 400 digits spoil only the value that holds them. An ID that holds a broken
character is no ID.

The time is linear in the length of the body, whatever it holds: each value takes less
than a microsecond. So a part is checked by the type that it has, without an exception.
"""

import json
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from math import isfinite
from types import NoneType
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from ._check import usable_id
from ._wire import LONGEST_NUMBER, RequestId, Rows, Takes, Unlisted

T = TypeVar("T")
# Every so many bytes, one is looked at: a number that is too long has so many of them.
_STRIDE = 25
_LONG_NUMBER = b"0" * ((LONGEST_NUMBER + 1) // _STRIDE)
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
# The keys of an object that hold the text of a tag.
_KEYS = ("name", "tag")
_LOST: Final = object()
# What msgspec says of a body that ends too early. Bytes of a surrogate pair.
_CUT_OFF, _PAIR = "Input data was truncated", 12
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Reads a part of plain data: a value of its type, or `_LOST`.
_Read: TypeAlias = Callable[[object], object]


class UnreadableError(ValueError):
    """The body can't be read. The text says why, without repeating the body."""


def decode(body: bytes, kind: type[T]) -> T:
    """Decode the JSON of an answer.

    Raises:
        UnreadableError: it is not JSON, or a part without which the answer is of no use
            is missing.
    """
    # The time to read a number grows with the square of its digits. Other digits may be
    # taken for a number here, which costs only time.
    long_numbers = _LONG_NUMBER in body[::_STRIDE].translate(_DIGITS)
    problem = "a part of it can't be read"
    # mypy takes no type for hashable.
    key: Any = kind
    if not long_numbers:
        try:
            answer: T = decoder_of(key).decode(body)
            return answer
        except _REFUSED as error:
            # A ValidationError is a DecodeError. Hostile nesting raises RecursionError.
            problem = str(error)
            # msgspec says so of a whole body, too, if one of its last characters is a
            # half of a surrogate pair.
            if problem == _CUT_OFF and b"\\u" not in body[-_PAIR:]:
                raise UnreadableError("it is not JSON: it is cut off") from None
    value, read = _plain(body, long_numbers=long_numbers), _reader_of(key)
    found = read(value)
    if found is _LOST and not isinstance(value, dict):
        found = read({})
    if found is _LOST:
        raise UnreadableError(problem)
    return cast("T", found)


@cache
def decoder_of(kind: Hashable) -> msgspec.json.Decoder[Any]:
    """The strict decoder of a type. msgspec calls `_fraction` for values of any type."""
    return msgspec.json.Decoder(cast("type", kind), float_hook=_fraction)


def _fraction(digits: str) -> float | None:
    """Read a number that is no integer. msgspec takes up to 60 times as long for one like
    `1e300`.
    """
    number = float(digits)
    return number if isfinite(number) else None


def _plain(body: bytes, *, long_numbers: bool) -> object:
    """Decode JSON of any form into plain data."""
    problem = "it is not JSON"
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        # msgspec refuses halves of surrogate pairs, NaN and infinite numbers.
        return json.loads(text, parse_int=_whole_number if long_numbers else None)
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        # The text of a JSONDecodeError holds no part of the body.
        if isinstance(error, json.JSONDecodeError):
            problem = f"it is not JSON: {error}"
    raise UnreadableError(problem)


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= LONGEST_NUMBER else None


@cache
def _reader_of(kind: Hashable) -> _Read:
    """The reader of a type, as the annotation of a field has it."""
    if kind == RequestId:
        return _read_id
    members = _members(kind)
    if object in members:
        return _itself
    # By the type of the plain data.
    readers = {form: _READERS[form] for form in _READERS if form in members}
    for member in members:
        if _is_struct(member):
            readers[dict] = _struct_reader(member)
        elif get_origin(member) is Mapping:
            readers[dict] = _mapping_reader(get_args(member)[1])
        elif get_origin(member) is tuple:
            readers[list] = _list_reader(get_args(member)[0])

    def read(value: object) -> object:
        reader = readers.get(type(value))
        return reader(value) if reader else _LOST

    return read


def _itself(value: object) -> object:
    return _sound(value) if isinstance(value, str) else value


def _read_id(value: object) -> object:
    return value if isinstance(value, str) and usable_id(value) else _LOST


def _finite(value: Any) -> object:
    return value if isfinite(value) else _LOST


def _sound(text: Any) -> str:
    """Replace the halves of surrogate pairs."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        # UTF-8 has three bytes for each. A regular expression takes five times as long.
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return cast("str", text.replace("\ufffd" * 3, "\ufffd"))
    return cast("str", text)


_READERS: Mapping[Any, _Read] = {
    str: _sound,
    float: _finite,
    **dict.fromkeys((bool, int, NoneType), _itself),
}


def _struct_reader(kind: type[Struct]) -> _Read:
    fields = [
        (field.name, _reader_of(field.type), field.required, _holds_rows(field.type))
        for field in structs.fields(kind)
    ]
    has_rows = issubclass(kind, Rows)

    def read(given: object) -> object:
        values = cast("dict[str, object]", given)
        found: dict[str, Any] = {}
        skipped = 0
        for name, read_part, required, holds_rows in fields:
            part = read_part(values[name]) if name in values else _LOST
            if part is not _LOST:
                found[name] = part
                if holds_rows and isinstance(part, tuple):
                    kept = len(cast("tuple[object, ...]", part))
                    skipped += len(cast("list[object]", values[name])) - kept
            elif required:
                return _LOST
        if has_rows:
            found["skipped"] = skipped
        return kind(**found)

    return read


def _mapping_reader(kind: Any) -> _Read:
    read_part = _reader_of(kind)

    def read(given: object) -> object:
        values = cast("dict[str, object]", given)
        parts = {_sound(name): read_part(values[name]) for name in values}
        return {name: part for name, part in parts.items() if part is not _LOST}

    return read


def _read_texts(given: object) -> object:
    texts = list[str]()
    whole = True
    for item in cast("list[object]", given):
        for each in cast("list[object]", item) if isinstance(item, list) else (item,):
            text = _text_of(each)
            whole = whole and text is not None
            texts += () if text is None else (text,)
    return tuple(texts) if whole else Unlisted(texts)


def _text_of(item: object) -> str | None:
    """A text, or that of an object as in the list of tags (GET .../tags)."""
    if isinstance(item, dict):
        fields = cast("dict[str, object]", item)
        texts = {each for key in _KEYS if isinstance(each := fields.get(key), str)}
        item = texts.pop() if len(texts) == 1 else None
    return _sound(item) if isinstance(item, str) else None


def _list_reader(kind: Any) -> _Read:
    if kind is str:
        return _read_texts
    read_part = _reader_of(kind)
    keeps_places = type(None) in _members(kind)

    def read(given: object) -> object:
        parts = map(read_part, cast("list[object]", given))
        if keeps_places:
            return tuple(None if part is _LOST else part for part in parts)
        return tuple(part for part in parts if part is not _LOST)

    return read


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the types that a value may have."""
    if get_origin(kind) is Annotated:
        taken = [note.types for note in kind.__metadata__ if isinstance(note, Takes)]
        return taken[0] if taken else _members(get_args(kind)[0])
    if isinstance(kind, type) or get_origin(kind) in (tuple, Mapping):
        return (kind,)
    return get_args(kind) or (kind,)


def _holds_rows(kind: Any) -> bool:
    return any(
        get_origin(member) is tuple and _is_struct(get_args(member)[0])
        for member in _members(kind)
    )


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)
