"""Reads the body of an error response. This module does no I/O.

A body has one of these forms:

    {"message": "...", "details": ...}    the form of the API
    {"message": {...}}                    other JSON, from the API or a gateway, also
                                          {"errors": [...]} or {"detail": ...}
    HTML, text or nothing                 from a proxy or a gateway
"""

from typing import cast

import msgspec

from ..models._check import usable_id
from ..models._lenient import decoder_of

# Characters of a body in the text of an error.
EXCERPT = 200
# Levels of JSON in the text of an error. Deeper levels do not help a reader.
DEEPEST = 5
# The keys of a JSON error that may hold its message, the most usual first.
_TEXT_KEYS = ("message", "errors", "error", "detail", "title")


class ErrorBody(msgspec.Struct, frozen=True):
    """The content of an error response.

    Attributes:
        message: a readable text in one line.
        details: the details of the error, as decoded from JSON.
        request_id: the deployment that the error is about.
        from_api: whether the body has the form of the API.
    """

    message: str
    details: object = None
    request_id: str | None = None
    from_api: bool = False


def read_error_body(body: bytes) -> ErrorBody:
    """Read a body, and decode as much of it as possible."""
    try:
        decoded: object = decoder_of(object).decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ErrorBody(excerpt(body))
    fields = _fields(decoded)
    message, details = fields.get("message"), fields.get("details")
    request_id = _request_id(decoded)
    if isinstance(message, str):
        return ErrorBody(message, details, request_id, from_api=True)
    relevant = _relevant_part(decoded)
    if details is None and not isinstance(relevant, str):
        details = relevant
    text = _one_line(_readable(relevant)) if relevant else excerpt(body)
    return ErrorBody(text, details, request_id)


def excerpt(body: bytes) -> str:
    """Return the start of a body as text in one line."""
    return _one_line(body[: 2 * EXCERPT].decode("utf-8", "replace"))


def _one_line(text: str) -> str:
    # The text of an error becomes a line in a log.
    return " ".join(text[: 2 * EXCERPT].split())[:EXCERPT]


def _relevant_part(decoded: object) -> object:
    fields = _fields(decoded)
    return next((fields[key] for key in _TEXT_KEYS if fields.get(key)), decoded)


def _fields(value: object) -> dict[str, object]:
    """Return the fields of a JSON object, and none for other values."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    """Return the items of a JSON array, and none for other values."""
    return cast("list[object]", value) if isinstance(value, list) else []


def _readable(value: object, depth: int = 0) -> str:
    """Write a JSON value as text: `{"a": ["x", "y"]}` as `a: x; y`."""
    if isinstance(value, str):
        return value
    fields, items = _fields(value), _items(value)
    if not fields and not items:
        return msgspec.json.encode(value).decode()
    if depth == DEEPEST:
        return "..."
    named = [f"{key}: {_readable(fields[key], depth + 1)}" for key in fields]
    listed = [_readable(item, depth + 1) for item in items]
    return ", ".join(named) or "; ".join(listed)


def _request_id(value: object) -> str | None:
    """Return the ID of the deployment that the body is about, or None.

    The ID is at the top level, or directly in one of the usual parts. An ID elsewhere
    may be that of another deployment.
    """
    fields = _fields(value)
    parts = [fields.get(key) for key in ("details", *_TEXT_KEYS)]
    for part in (value, *parts, *(item for each in parts for item in _items(each))):
        own = _fields(part).get("request_id")
        if isinstance(own, str) and usable_id(own.strip()):
            return own.strip()
    return None
