"""The body of an error response, whatever its form: pure, no socket.

{"message": text, "details": any}       the API's own form
{"message": {...}}, {"errors": [...]}, {"detail": ...}
                                        other JSON, of the API or of a gateway
HTML, text, nothing                     of a proxy or a gateway
"""

from typing import cast

import msgspec

# characters of a body in an error's text
EXCERPT = 200
# levels of JSON; what lies deeper does not help a reader
DEEPEST = 5
# The keys of a JSON error that say what is wrong, the most usual first.
_TEXT_KEYS = ("message", "errors", "error", "detail", "title")


class ErrorBody(msgspec.Struct, frozen=True):
    """The content of an error response. `from_api`: it has the API's own form."""

    message: str
    details: object = None
    request_id: str | None = None
    from_api: bool = False


def read_error_body(body: bytes) -> ErrorBody:
    """The body as readable text, with what can be decoded of it."""
    try:
        decoded: object = msgspec.json.decode(body)
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
    """The start of a body that is not JSON, as text in one line."""
    return _one_line(body[: 2 * EXCERPT].decode("utf-8", "replace"))


def _one_line(text: str) -> str:
    # an error is a line of a log
    return " ".join(text[: 2 * EXCERPT].split())[:EXCERPT]


def _relevant_part(decoded: object) -> object:
    fields = _fields(decoded)
    return next((fields[key] for key in _TEXT_KEYS if fields.get(key)), decoded)


def _fields(value: object) -> dict[str, object]:
    """Those of a JSON object; of anything else none."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    """Those of a JSON array; of anything else none."""
    return cast("list[object]", value) if isinstance(value, list) else []


def _readable(value: object, depth: int = 0) -> str:
    """`{"a": ["x", "y"]}` as `a: x; y`."""
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
    """The ID of the deployment that the body is about: at the top level, or directly in
    one of the usual parts. An ID elsewhere may be that of another deployment.
    """
    fields = _fields(value)
    parts = [fields.get(key) for key in ("details", *_TEXT_KEYS)]
    for part in (value, *parts, *(item for each in parts for item in _items(each))):
        own = _fields(part).get("request_id")
        if isinstance(own, str) and own.strip():
            return own.strip()
    return None
