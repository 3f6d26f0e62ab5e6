"""`session.request`: the row of the table for an operation that has no method yet."""

import re
from functools import cache
from typing import Any, get_args
from urllib.parse import quote, unquote

import msgspec
from msgspec import structs

from ..endpoints import METRICS, OPERATIONS, OTHER_LIMIT, Endpoint, Method
from ..models._check import (
    any_number,
    encodable,
    fail,
    is_mapping,
    label,
    one_of,
    text,
)

METHODS: tuple[Method, ...] = get_args(Method)
CALL = "request"
# A path is one of ours with further parameters, so this is generous.
LONGEST_PATH = 2_000
# What stays as it is in a path. `%` begins what is percent-encoded already, or is bare.
_SAFE = "/:@!$&'()*+,;=%~"
_BARE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


def raw_endpoint(method: Method, path: str) -> Endpoint[Any, object]:
    """The row of an operation: one of the table, if it is there, so that its limit and
    its bounds count; otherwise a row of its own, under the limit "other".

    Raises:
        ValueError: an argument is wrong.
    """
    verb = one_of("method", method, METHODS)
    checked = _path(path)
    for pattern, row in _patterns():
        if row.method == verb and pattern.fullmatch(checked):
            return structs.replace(
                row,
                path=checked,
                takes=object,
                returns=object,
                call=CALL,
                # This path was asked for, and no other.
                renamed=None,
            )
    return Endpoint(
        verb, checked, object, object, OTHER_LIMIT, CALL, max_bytes=METRICS.max_bytes
    )


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Endpoint[Any, Any]], ...]:
    return tuple((_pattern(row.path), row) for row in OPERATIONS)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", path)
    return re.compile("[^/]+".join(map(re.escape, parts)))


def _path(given: object) -> str:
    path = text("path", given)
    if not path.startswith("/") or path.startswith("//"):
        fail("path", "must begin with one slash, and have no host")
    if "?" in path or "#" in path:
        fail("path", "must have no query: give it as query=")
    if len(path) > LONGEST_PATH or not path.isprintable():
        fail("path", f"must be printable, and at most {LONGEST_PATH:,} characters")
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        fail("path", "must not have . or .. as a segment: servers resolve them")
    return quote(_BARE_PERCENT.sub("%25", path), safe=_SAFE)


def raw_query(query: object) -> dict[str, str | None]:
    """The parameters of a URL. None leaves one out.

    Raises:
        ValueError: one is neither a text, a number nor a bool.
    """
    if query is None:
        return {}
    if not is_mapping(query):
        fail("query", f"must be a mapping, not {type(query).__name__}")
    return {
        label("query: each name", name): _value(f"query: {name}", value)
        for name, value in query.items()
    }


def _value(argument: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return encodable(argument, value)
    return str(any_number(argument, value))


def raw_body(body: object) -> object:
    """A body as JSON, checked. None: there is none.

    Raises:
        ValueError: it can't be written as JSON.
    """
    if body is None:
        return None
    try:
        return msgspec.Raw(msgspec.json.encode(body))
    except (TypeError, ValueError, RecursionError) as error:
        # The text may repeat a value, which may be a secret.
        fail("body", f"can't be written as JSON ({type(error).__name__})")
