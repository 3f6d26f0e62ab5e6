"""Responses with values that the reference page does not promise."""

from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from ..http.responses import Json

Change: TypeAlias = Callable[[Json], object]

# What a field becomes, wherever it is. PHP writes an empty mapping as `[]`.
_ODD_VALUES: Mapping[str, object] = {
    "fqdn": 5,
    "ports": [],
    "tags": [None],
    "location": "unknown",
    "start_time": {},
    "sockets": [],
    "message": {"en": "odd"},
}
# In place of each time. A decoder that reads digit by digit needs a millisecond for so
# many numbers. The nested values have hardly a comma by which they could be counted.
_SLOW_NUMBERS = [1e308] * 60
_DEPTH, _NESTED_VALUES = 100, 20
# Another ID than any of the simulator's: they are hexadecimal.
_OTHER_ID = "somebody-else"


def _with_odd_values(body: Json) -> object:
    def odd(value: object) -> object:
        if isinstance(value, Mapping):
            fields = cast("Json", value)
            return {
                key: _ODD_VALUES.get(key) if key in _ODD_VALUES else odd(fields[key])
                for key in fields
            }
        if isinstance(value, list):
            return [odd(item) for item in cast("list[object]", value)]
        return value

    return odd(body)


def _with_rows_without_id(body: Json) -> object:
    rows = body.get("data")
    if not isinstance(rows, list):
        return body
    nameless = {"request_id": None, "ready": True}
    return {**body, "data": [None, nameless, *cast("list[object]", rows)]}


def _next_missing(body: Json) -> object:
    return {key: body[key] for key in body if key not in ("total_count", "pagination")}


def _next_as_text(body: Json) -> object:
    pages = body.get("pagination")
    if not isinstance(pages, Mapping):
        return body
    told = str(cast("Json", pages).get("has_next")).lower()
    return {**_fields(_next_missing(body)), "pagination": {"has_next": told}}


def _next_false(body: Json) -> object:
    return {**body, "pagination": {"has_next": False}}


def _total_of_page(body: Json) -> object:
    rows = body.get("data")
    count = len(cast("list[object]", rows)) if isinstance(rows, list) else None
    return {**_fields(_next_missing(body)), "total_count": count}


def _fields(body: object) -> Json:
    return cast("Json", body)


def _with_other_id(body: Json) -> object:
    return {**body, "request_id": _OTHER_ID}


def _with_times(time: object) -> Change:
    """Replace each time of a response."""

    def changed(name: str, value: object) -> object:
        if name.endswith("time"):
            return time
        if isinstance(value, Mapping):
            fields = cast("Json", value)
            return {key: changed(key, fields[key]) for key in fields}
        if isinstance(value, list):
            return [changed("", item) for item in cast("list[object]", value)]
        return value

    return lambda body: changed("", body)


def _nested_values() -> object:
    value: object = 0
    for _ in range(_DEPTH):
        value = [{"a": value}]
    return [value] * _NESTED_VALUES


CHANGES: Mapping[str, Change] = {
    "slow-numbers": _with_times(_SLOW_NUMBERS),
    "nested-values": _with_times(_nested_values()),
    "odd-values": _with_odd_values,
    "odd-rows": _with_rows_without_id,
    "next-missing": _next_missing,
    "next-text": _next_as_text,
    "next-false": _next_false,
    "total-of-page": _total_of_page,
    "other-id": _with_other_id,
    "null": lambda _: None,
    "text": lambda _: "Success",
}
