"""The body of an error response, whatever its form: pure, no socket.

{"message": text, "details": any}       the API's own form
{"message": {...}}, {"errors": [...]}, {"detail": ...}
                                        other JSON, of the API or of a gateway
HTML, text, nothing                     of a proxy or a gateway
"""

import msgspec

# characters of a body in an error's text
EXCERPT = 200
# levels of JSON; what lies deeper does not help a reader
DEEPEST = 5
# where a JSON error tells what is wrong, the usual place first
_TEXT_KEYS = ("message", "errors", "error", "detail", "title")


class ErrorBody(msgspec.Struct, frozen=True):
    """What an error response tells. `from_api`: it has the API's own form."""

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
    message = decoded.get("message") if isinstance(decoded, dict) else None
    details = decoded.get("details") if isinstance(decoded, dict) else None
    request_id = _request_id(decoded)
    if isinstance(message, str):
        return ErrorBody(message, details, request_id, from_api=True)
    told = _telling_part(decoded)
    if details is None and not isinstance(told, str):
        details = told
    text = _readable(told)[:EXCERPT] if told else excerpt(body)
    return ErrorBody(text, details, request_id)


def excerpt(body: bytes) -> str:
    """The start of a body that is not JSON, as text."""
    return body[:EXCERPT].decode("utf-8", "replace").strip()


def _telling_part(decoded: object) -> object:
    if isinstance(decoded, dict):
        return next((decoded[key] for key in _TEXT_KEYS if decoded.get(key)), decoded)
    return decoded


def _readable(value: object, depth: int = 0) -> str:
    """`{"a": ["x", "y"]}` as `a: x; y`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list) and depth == DEEPEST:
        return "..."
    if isinstance(value, dict):
        parts = (f"{key}: {_readable(value[key], depth + 1)}" for key in value)
        return ", ".join(parts)
    if isinstance(value, list):
        return "; ".join(_readable(item, depth + 1) for item in value)
    return msgspec.json.encode(value).decode()


def _request_id(value: object, depth: int = 0) -> str | None:
    """The ID of the deployment that the body names, at whatever place."""
    if depth == DEEPEST or not isinstance(value, dict | list):
        return None
    if isinstance(value, list):
        parts = value
    else:
        own = value.get("request_id")
        if isinstance(own, str) and own.strip():
            return own
        parts = list(value.values())
    found = (_request_id(part, depth + 1) for part in parts)
    return next((each for each in found if each), None)
