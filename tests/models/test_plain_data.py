"""Structs turn into plain data and JSON, can be keys, and carry nothing that can't be
encoded.
"""

import copy
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.deploy_many import requests
from support.owning import owning, running

import edgegap_async
from edgegap_async import (
    BulkStopFilter,
    DeploymentAccepted,
    DeployOutcome,
    DeployRequest,
    EdgegapError,
    EnvironmentVariable,
    Limits,
    ListFilter,
    ListQuery,
    OrderBy,
    ReadyDeployment,
    Retry,
    WebhookEvent,
)
from edgegap_async.container import Container
from edgegap_async.endpoints import OPERATIONS
from edgegap_async.events import Event
from edgegap_async.models._plain import PlainData, json_schema
from edgegap_async.models._wire import Answer
from edgegap_async.models.deployment import DeploymentPage, DeploymentStatus, Port

STATUS = DeploymentStatus(
    request_id="c065",
    fqdn="c065.example.net",
    ports={"web": Port(external=31000, internal=7777, protocol="UDP")},
    tags=("a", "b"),
    start_time=datetime(2025, 11, 29, 22, 35, 31, tzinfo=UTC),
    current_status="Status.READY",
    max_duration=1440,
)
REQUEST = DeployRequest(
    "game",
    "1",
    users=["203.0.113.7", (48.1, 11.5)],
    environment_variables=[EnvironmentVariable("A", "b", is_hidden=True)],
    tags=["a"],
    webhook_on_ready="https://a.example/hook",
)
STRUCTS: list[PlainData] = [
    STATUS,
    STATUS.ports["web"],
    ReadyDeployment(request_id="c065"),
    DeploymentAccepted(request_id="c065", once_tag="once-1"),
    DeploymentPage(data=()),
    REQUEST,
    ListQuery([ListFilter("tags", "in", ["a"])], [OrderBy("created_at")]),
    BulkStopFilter("request_id", ["a"]),
    Limits(share=0.5),
    Retry(tries=2),
    WebhookEvent("ready", "n", "c065", STATUS),
    Event(kind="call", call_id=1, host="a", outcome=200, caused_by=(1, 2)),
]


def subclasses(kind: type) -> set[type]:
    """The classes of this package that are a kind, without those of other tests."""
    below = (each for sub in kind.__subclasses__() for each in subclasses(sub))
    return {each for each in (kind, *below) if "edgegap_async" in each.__module__}


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda it: type(it).__name__)
def test_a_struct_turns_into_plain_data_and_back(struct: PlainData) -> None:
    plain = struct.to_dict()
    assert plain == json.loads(struct.to_json())
    assert plain == json.loads(json.dumps(plain))
    assert msgspec.json.decode(struct.to_json(), type=type(struct)) == struct
    assert msgspec.convert(plain, type(struct)) == struct


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda it: type(it).__name__)
def test_equal_structs_are_one_key(struct: PlainData) -> None:
    same = msgspec.json.decode(struct.to_json(), type=type(struct))
    assert same is not struct
    assert {struct: 1}[same] == 1
    assert len({*STRUCTS, same}) == len(STRUCTS)


def test_structs_that_differ_in_any_field_have_other_hashes() -> None:
    other = msgspec.structs.replace(STATUS, ports={"web": Port(external=1)})
    assert len({hash(STATUS), hash(other), hash(Port()), hash(ReadyDeployment)}) == 4
    mixed = {"a": Port(external=1), "b": Port(external=2)}
    turned = dict(reversed(mixed.items()))
    one, two = (ReadyDeployment(request_id="c", ports=it) for it in (mixed, turned))
    assert one == two
    assert hash(one) == hash(two)


def test_every_public_struct_turns_into_plain_data() -> None:
    public = [getattr(edgegap_async, name) for name in edgegap_async.__all__]
    structs = [
        kind
        for kind in public
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ]
    assert len(structs) > 15
    answers = [endpoint.returns for endpoint in OPERATIONS]
    bodies = [endpoint.takes for endpoint in OPERATIONS]
    for kind in (*structs, *answers, *bodies):
        if kind is not type(None):
            assert issubclass(kind, PlainData), kind


@pytest.mark.parametrize(
    "kind", sorted(subclasses(PlainData), key=lambda it: it.__name__)
)
def test_every_struct_has_a_schema_of_json_without_references(kind: Any) -> None:
    schema = json_schema(kind)
    assert schema["title"] == kind.__name__
    assert "$ref" not in json.dumps(schema)
    if issubclass(kind, Answer):
        assert {*schema["properties"]} == {*kind.__struct_fields__} - kind.secret_fields


def test_a_schema_says_what_attributes_hold_and_not_what_the_api_may_send() -> None:
    properties = json_schema(DeploymentStatus)["properties"]
    whole = [{"type": "integer"}, {"type": "null"}]
    assert properties["max_duration"]["anyOf"] == whole
    assert properties["start_time"]["anyOf"] == [
        {"type": "string", "format": "date-time"},
        {"type": "null"},
    ]
    ports = properties["ports"]
    assert ports["type"] == "object"
    assert ports["additionalProperties"]["properties"]["external"]["anyOf"] == whole
    assert properties["tags"]["items"] == {"type": "string"}
    assert properties["running"]["anyOf"] == [{"type": "boolean"}, {"type": "null"}]


def test_dict_of_an_answer_has_its_fields() -> None:
    assert dict(STATUS)["ports"] is STATUS.ports
    assert [name for name, _ in STATUS] == [*STATUS.__struct_fields__]


async def test_the_server_of_a_block_is_encoded_as_its_data() -> None:
    async with owning() as (edgegap, _), running(edgegap) as server:
        plain = server.to_dict()
        assert {*plain} == {*ReadyDeployment.__struct_fields__}
        assert plain["request_id"] == server.request_id
        assert msgspec.json.decode(msgspec.json.encode(server)) == plain
        assert msgspec.to_builtins(server)["fqdn"] == server.fqdn
        ready = msgspec.json.decode(server.to_json(), type=ReadyDeployment)
        assert dict(ready) == dict(server)
        assert "lease" not in repr(server)
        assert hash(server) == hash(server)
        for same in (copy.copy(server), pickle.loads(pickle.dumps(server))):  # noqa: S301
            assert same == server
            with pytest.raises(RuntimeError, match="copy"):
                same.keep()
            with pytest.raises(RuntimeError, match="copy"):
                await same.wait_ended()


async def test_the_outcomes_of_deploy_many_are_plain_data() -> None:
    async with (
        owning(options={"error_share": 0.5, "seed": 3}) as (edgegap, _),
        edgegap.deployments.deploy_many(requests(8)) as outcomes,
    ):
        taken = [outcome async for outcome in outcomes]
    assert {it.error is None for it in taken} == {True, False}
    for outcome in taken:
        plain = json.loads(outcome.to_json())
        assert plain == outcome.to_dict()
        assert {*plain} == {
            *("request", "deployment", "error", "seconds"),
            *("queued", "accepted_after", "ready_after"),
        }
        if outcome.deployment:
            assert plain["deployment"] == outcome.deployment.to_dict()
            assert msgspec.json.decode(msgspec.json.encode(outcome)) == plain
        else:
            assert plain["error"] == {
                "kind": "DeploymentFailed",
                "message": str(outcome.error),
            }
    assert len({*taken}) == 8


def test_a_container_keeps_its_delete_token_to_itself() -> None:
    container = Container(
        request_id="c065", delete_token="s3cret", delete_url="https://a.example/s3cret"
    )
    assert container.to_dict()["request_id"] == "c065"
    shown = (container.to_json(), repr(dict(container)), repr(json_schema(Container)))
    assert not any(part in text for text in shown for part in ("s3cret", "delete_"))
    assert "delete_token" not in container.to_dict()


def test_no_struct_needs_pydantic() -> None:
    code = (
        "import sys, edgegap_async as e; "
        "r = e.ReadyDeployment(request_id='a'); r.to_json(); hash(r); "
        "sys.exit('pydantic' in sys.modules or 'pydantic_core' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_an_error_in_an_outcome_is_a_text() -> None:
    outcome = DeployOutcome(REQUEST, error=EdgegapError("no room"))
    assert outcome.to_dict()["error"] == {"kind": "EdgegapError", "message": "no room"}
    assert hash(outcome) == hash(outcome)
