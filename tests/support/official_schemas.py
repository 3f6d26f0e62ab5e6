"""Checks answers against the schemas of Edgegap's OpenAPI files, formats included."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from support.official import documented, files, shape

# RFC 3339, which the OpenAPI specification names for both formats.
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(
        _DATE.fullmatch(value) and date.fromisoformat(value)
    )


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(
        _DATE_TIME.fullmatch(value) and datetime.fromisoformat(value)
    )


def _as_json_schema(schema: Any) -> Any:
    """Convert a schema of OpenAPI 3.0, which writes null as `nullable`."""
    if isinstance(schema, list):
        return [_as_json_schema(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    converted = {key: _as_json_schema(value) for key, value in schema.items()}
    if converted.get("nullable") is True and "$ref" not in converted:
        return {"anyOf": [converted, {"type": "null"}]}
    return converted


@cache
def _documents() -> Mapping[str, Any]:
    return {version: _as_json_schema(file) for version, file in files().items()}


def errors(method: str, path: str, status: int, body: Any) -> Iterator[str]:
    """Yield what an answer has that the files do not allow.

    Args:
        path: As in `endpoints.py`, with the names of its parameters.
        body: None if the answer has none.
    """
    operation, _ = documented()[f"{method} {shape(path)}"]
    response = operation["responses"].get(str(status))
    if response is None:
        yield f"the status {status}"
        return
    content = response.get("content")
    if not content:
        if body is not None:
            yield "a body"
        return
    document = _documents()[path.split("/")[1]]
    schema = {
        "components": document["components"],
        "allOf": [_as_json_schema(content["application/json"]["schema"])],
    }
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    for error in validator.iter_errors(body):
        # Of a schema with `nullable`, the first alternative says more than the other.
        while error.context:
            error = error.context[0]
        yield f"{error.json_path}: {error.message[:200]}"
