"""Our operations agree with Edgegap's OpenAPI files.

The files are not a part of the project: see `support/official.py`. They are edited by
hand, so each known difference stands in a table here, with its reason. A difference that
is not there any more fails a test, too.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

import pytest
from msgspec import Struct, structs
from support.official import documented, needs_files, shape
from support.reference import BY_KEY, Operation, operations

from edgegap_async import EdgegapSession
from edgegap_async._transport.response import Reply, read
from edgegap_async.endpoints import OPERATIONS, Endpoint

Row = Endpoint[Any, Any]
pytestmark = needs_files

# The operations that the files do not have.
NOT_THERE = {"POST /v2/private-fleets:deploy": "the files have its newer path"}
# What we send or read and neither the files nor the reference page have: query parameters
# by operation, and properties by struct.
A_PAGE = {"page", "limit"}, "its answer is a page"
MORE_QUERY = {"GET /v1/app/{}/versions": A_PAGE, "GET /v1/relays/sessions": A_PAGE}
# The operations whose answer is not read.
NOT_READ = {"relays.revoke_user": "it may also be 204, without a body"}
# The operations whose body the files do not describe.
ANY_BODY = {"pull_profiles.update": "its schema is empty"}
MORE = {
    ("DeploymentAccepted", "once_tag"): "the SDK sets it",
    ("DeploymentSummary", "status"): "clients of Edgegap's own read it",
    ("PingBeacons", "total_count"): "its parameters are those of pages",
    ("EndpointStorages", "total_count"): "its answer is a page",
    ("ImageTags", "total_count"): "its parameters are those of pages",
    ("ImageTags", "pagination"): "its parameters are those of pages",
    ("PingBeacons", "pagination"): "its parameters are those of pages",
}
# What the files have and our structs do not.
LESS: dict[tuple[str, str], str] = {}
# What the files do not require and we do: an answer without it would look like one that
# says that there is nothing, or has no identity.
NEEDED = {
    "storage.update": "name",
    "pull_profiles.update": "name",
    "deployments.list": "data",
    "locations.list": "locations",
    "tags.list": "tags",
}
# Of an answer, the number of rows that were left out: ours.
SKIPPED = "skipped"
# The reference page, whose properties the files lack in part.
PAGE = {f"{it.method} {it.path}": it for it in operations()}


def key_of(row: Row) -> str:
    return f"{row.method} {shape(row.path)}"


def resolved(schema: Any, file: Any) -> Any:
    """A schema without a reference, and with the properties of all its parts."""
    while "$ref" in schema:
        place = file
        for step in schema["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        schema = place
    parts = [
        resolved(part, file)
        for kind in ("allOf", "oneOf", "anyOf")
        for part in schema.get(kind, ())
    ]
    whole = dict(schema)
    for part in parts:
        whole["properties"] = {
            **part.get("properties", {}),
            **whole.get("properties", {}),
        }
        whole.setdefault("items", part.get("items"))
    return whole


def body_schema(content: Any, file: Any) -> Any:
    """The schema of a JSON body. None: there is no body."""
    if not content:
        return None
    return resolved(content["application/json"]["schema"], file)


def answer_schema(operation: Any, file: Any) -> Any:
    """The schema of a success."""
    schemas = [
        body_schema(resolved(response, file).get("content"), file)
        for status, response in operation["responses"].items()
        if status.startswith("2")
    ]
    return next((each for each in schemas if each), None)


def structs_of(kind: Any) -> list[type[Struct]]:
    """The structs that a value of a type may hold directly."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return [kind]
    parts = get_args(kind)[1:] if get_origin(kind) is Mapping else get_args(kind)
    return [each for part in parts for each in structs_of(part)]


def is_by_name(kind: Any) -> bool:
    """Whether a field maps names of the user's to values."""
    return get_origin(kind) is Mapping or any(map(is_by_name, get_args(kind)))


def below(kind: Any, schema: Any, file: Any) -> Any:
    """The schema of the objects that a field holds."""
    schema = resolved(schema, file)
    if is_by_name(kind) and schema.get("properties"):
        # The files have one name as an example.
        schema = resolved(next(iter(schema["properties"].values())), file)
    while schema.get("items"):
        schema = resolved(schema["items"], file)
    return schema


def differences(
    kind: type[Struct], schema: Any, file: Any
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Where a struct and a schema differ: a property that only the struct has is `more`,
    one that only the schema has is `less`.
    """
    properties = schema.get("properties") or {}
    fields = {field.encode_name: field for field in structs.fields(kind)}
    own = fields.keys() - {SKIPPED}
    yield from (("more", (kind.__name__, name)) for name in own - properties.keys())
    yield from (("less", (kind.__name__, name)) for name in properties.keys() - own)
    for name in own & properties.keys():
        kinds = structs_of(fields[name].type)
        inner = below(fields[name].type, properties[name], file)
        # The forms of a player are several, and the reference page has samples of them.
        if len(kinds) == 1 and inner.get("properties"):
            yield from differences(kinds[0], inner, file)


def keys_in(sample: Any) -> set[str]:
    """All keys of a sample, at any depth."""
    if isinstance(sample, list):
        return {key for item in sample for key in keys_in(item)}
    if not isinstance(sample, dict):
        return set()
    return {*sample, *(key for item in sample.values() for key in keys_in(item))}


def on_page(row: Row) -> Operation | None:
    return PAGE.get(f"{row.method} {row.path}".replace("{fleet_name}", "{fleet-name}"))


ROWS = [row for row in OPERATIONS if f"{row.method} {row.path}" not in NOT_THERE]
each_row = pytest.mark.parametrize("row", ROWS, ids=str)


@each_row
def test_the_files_have_the_operation(row: Row) -> None:
    assert key_of(row) in documented()


def test_the_operations_that_the_files_do_not_have_are_known() -> None:
    keys = {f"{row.method} {row.path}": key_of(row) for row in OPERATIONS}
    missing = {name for name, key in keys.items() if key not in documented()}
    assert missing == set(NOT_THERE)


@each_row
def test_the_query_has_what_the_files_say(row: Row) -> None:
    operation, _ = documented()[key_of(row)]
    known = {
        it["name"] for it in operation.get("parameters", ()) if it["in"] == "query"
    }
    space, _, method = row.call.partition(".")
    call = getattr(getattr(EdgegapSession("made-up"), space), method)
    assert known <= {*inspect.signature(call).parameters}
    # The queries of the reference page are compared with that page (test_wire.py).
    other = None if on_page(row) else BY_KEY.get(f"{row.method} {row.path}")
    sent = set(other.query) if other else set[str]()
    more, _ = MORE_QUERY.get(key_of(row), (set(), ""))
    assert sent - known == more


def of_body(row: Row) -> Iterator[tuple[str, tuple[str, str]]]:
    operation, file = documented()[key_of(row)]
    content = resolved(operation.get("requestBody", {}), file).get("content")
    schema = body_schema(content, file)
    assert (row.takes is NoneType) == (schema is None)
    assert (schema == {}) is (row.call in ANY_BODY)
    if schema:
        yield from differences(row.takes, schema, file)


def of_answer(row: Row) -> Iterator[tuple[str, tuple[str, str]]]:
    operation, file = documented()[key_of(row)]
    schema = answer_schema(operation, file)
    if row.returns is NoneType:
        empty = schema is None or not schema.get("properties")
        assert empty is not (row.call in NOT_READ)
        return
    page = on_page(row)
    known = keys_in(page.answer) if page else set()
    for what, (struct, name) in differences(row.returns, schema, file):
        if what == "less" or name not in known:
            yield what, (struct, name)


@each_row
def test_the_body_has_what_the_files_say(row: Row) -> None:
    assert list(of_body(row)) == []


@each_row
def test_the_answer_has_what_the_files_say(row: Row) -> None:
    excused = {("more", it) for it in MORE} | {("less", it) for it in LESS}
    assert {*of_answer(row)} <= excused


def test_every_exception_is_still_needed() -> None:
    found = {each for row in ROWS for each in of_answer(row)}
    assert {it for what, it in found if what == "more"} == set(MORE)
    assert {it for what, it in found if what == "less"} == set(LESS)
    keys = {key_of(row) for row in ROWS}
    assert MORE_QUERY.keys() <= keys
    assert NEEDED.keys() | ANY_BODY.keys() <= {row.call for row in ROWS}


@each_row
def test_the_files_do_not_require_what_only_we_need(row: Row) -> None:
    operation, file = documented()[key_of(row)]
    schema = answer_schema(operation, file) or {}
    assert NEEDED.get(row.call) not in schema.get("required", ())


@each_row
def test_every_answer_that_the_files_allow_is_read(row: Row) -> None:
    """Of each object only what is required, with the values of the files' examples."""
    operation, file = documented()[key_of(row)]
    schema = answer_schema(operation, file)
    if row.returns is NoneType or schema is None:
        return
    for only_required in (True, False):
        answer = made_up(schema, file, only_required)
        if row.call in NEEDED:
            name = NEEDED[row.call]
            answer.setdefault(name, "a" if name == "name" else [])
        body = json.dumps(answer, default=str).encode()
        result = read(row, Reply(200, body))
        assert type(result) is row.returns
        assert getattr(result, SKIPPED, 0) == 0
        if not only_required:
            assert [*unread(answer, result, "")] == []


def made_up(schema: Any, file: Any, only_required: bool) -> Any:
    """A value that a schema allows."""
    schema = resolved(schema, file)
    if schema.get("properties"):
        names = schema.get("required", ()) if only_required else [*schema["properties"]]
        return {
            name: made_up(schema["properties"][name], file, only_required)
            for name in names
            if name in schema["properties"]
        }
    if schema.get("type") == "array":
        return [made_up(schema["items"], file, only_required)]
    if "example" in schema:
        return schema["example"]
    return {"string": "text", "integer": 1, "number": 0.5, "boolean": True}.get(
        schema.get("type"), {}
    )


def unread(sample: Any, value: Any, where: str) -> Iterator[str]:
    """The places of a sample that an answer does not have."""
    if isinstance(sample, dict) and sample:
        for key, item in sample.items():
            inner = (
                value.get(key)
                if isinstance(value, Mapping)
                else getattr(value, key, None)
            )
            yield from unread(item, inner, f"{where}.{key}")
    elif isinstance(sample, list):
        if len(value or ()) != len(sample):
            yield where
    elif value is None and sample not in (None, ""):
        yield where
