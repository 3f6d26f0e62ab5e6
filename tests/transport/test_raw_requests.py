"""`session.request`: operations that have no method yet."""

import math
from typing import Any

import pytest
from support.raw_server import CUT, TOKEN, answer, failure, scripted

from edgegap_async import EdgegapSession
from edgegap_async.errors import (
    DeployOutcomeUnknown,
    NotFound,
    TransportError,
    UnexpectedAnswer,
)
from edgegap_async.events import Event
from edgegap_async.simulator import Simulator

APPS = {"applications": [{"name": "a", "is_active": True}], "total_count": 1}


async def test_the_json_of_the_answer_is_returned() -> None:
    async with scripted(answer(200, APPS)) as (edgegap, server):
        assert await edgegap.request("GET", "/v1/apps") == APPS
    (arrival,) = server.arrivals
    assert (arrival.method, arrival.path) == ("GET", "/v1/apps")
    assert arrival.headers["Authorization"] == f"token {TOKEN}"
    assert not arrival.body


@pytest.mark.parametrize("body", [b"", b"  ", b"null"])
async def test_an_answer_without_a_body_is_none(body: bytes) -> None:
    async with scripted(answer(200, body)) as (edgegap, _):
        assert await edgegap.request("DELETE", "/v1/app/old") is None


async def test_what_is_no_json_is_an_unexpected_answer() -> None:
    async with scripted(answer(200, "<html>")) as (edgegap, _):
        error = await failure(edgegap.request("POST", "/v1/app", body={}))
        assert isinstance(error, UnexpectedAnswer)


async def test_odd_numbers_of_an_answer_take_nothing_with_them() -> None:
    async with scripted(answer(200, b'{"a": NaN, "b": 1}')) as (edgegap, _):
        found = await edgegap.request("GET", "/v1/apps")
        assert found["b"] == 1
        assert math.isnan(found["a"])


async def test_queries_and_bodies_are_sent() -> None:
    async with scripted(answer()) as (edgegap, server):
        await edgegap.request(
            "PATCH",
            "/v1/app/my game/version/é",
            query={"page": 2, "raw": True, "name": "a&b", "not": None, "empty": ""},
            body={"is_active": False},
        )
        await edgegap.request("PUT", "/v1/app/100%25", body=[1, None])
        await edgegap.request("GET", "/v1/app/100%/5%zz")
    first, second, third = server.arrivals
    assert first.path == (
        "/v1/app/my%20game/version/%C3%A9?page=2&raw=true&name=a%26b&empty="
    )
    assert first.body == b'{"is_active":false}'
    assert first.headers["Content-Type"] == "application/json"
    assert (second.path, second.body) == ("/v1/app/100%25", b"[1,null]")
    # These percent signs begin no encoded character.
    assert third.path == "/v1/app/100%25/5%25zz"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_no_type_is_named_for_a_body_that_there_is_not(method: Any) -> None:
    async with scripted(answer()) as (edgegap, server):
        await edgegap.request(method, "/v1/app/old")
    (arrival,) = server.arrivals
    assert arrival.body == b""
    assert "Content-Type" not in arrival.headers


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("GET", "/v1/status/c065", "status"),
        ("GET", "/v1/deployments", "list"),
        ("POST", "/v2/deployments", "deploy"),
        ("GET", "/v2/private-fleets/fleet/hosts", "list"),
        # Others have the same path, or one that begins so.
        ("POST", "/v1/status/c065", "other"),
        ("GET", "/v1/status/c065/more", "other"),
        ("GET", "/v1/apps", "other"),
    ],
)
async def test_a_path_of_the_table_counts_for_its_limit(
    method: Any, path: str, limit: str
) -> None:
    events: list[Event] = []
    async with scripted(answer(), on_event=events.append) as (edgegap, _):
        await edgegap.request(method, path)
        sent = {name: used.sent for name, used in edgegap.usage().items()}
    assert sent == dict.fromkeys(sent, 0) | {limit: 1}
    assert {(each.operation, each.path) for each in events} == {("request", path)}


async def test_lost_requests_are_sent_again_only_if_that_is_safe() -> None:
    async with scripted(CUT, answer(200, APPS), CUT, answer()) as (edgegap, server):
        assert await edgegap.request("GET", "/v1/apps") == APPS
        error = await failure(edgegap.request("POST", "/v1/app", body={}))
        assert isinstance(error, TransportError)
        assert error.request_sent
        assert len(server.arrivals) == 3


async def test_a_lost_deploy_has_an_unknown_outcome() -> None:
    async with scripted(CUT) as (edgegap, server):
        call = edgegap.request("POST", "/v2/deployments", body={"application": "a"})
        assert isinstance(await failure(call), DeployOutcomeUnknown)
        assert server.arrivals[0].body == b'{"application":"a"}'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("GET", "v1/apps"), "path must begin with one slash"),
        (("GET", "https://elsewhere/v1/apps"), "path must begin with one slash"),
        (("GET", "//elsewhere/v1/apps"), "path must begin with one slash"),
        (("GET", "/v1/apps?page=1"), "path must have no query: give it as query="),
        (("GET", "/v1/apps#x"), "path must have no query"),
        (("GET", "/v1/app/../apps"), "path must not have . or .. as a segment"),
        (("GET", "/v1/app/./apps"), "path must not have . or .. as a segment"),
        (("GET", "/v1/%2e%2E/apps"), "path must not have . or .. as a segment"),
        (("GET", "/v1/a\r\nb"), "path must be printable"),
        (("GET", "/" + "a" * 3000), "at most 2,000 characters"),
        (("GET", None), "path must be a string"),
        (("get", "/v1/apps"), "method must be one of GET"),
        (("HEAD", "/v1/apps"), "method must be one of"),
    ],
)
async def test_wrong_operations_are_named_before_anything_is_sent(
    arguments: Any, told: str
) -> None:
    async with scripted(answer()) as (edgegap, server):
        with pytest.raises(ValueError, match=r"path|method") as raised:
            await edgegap.request(*arguments)
        assert told in str(raised.value)
    assert not server.arrivals


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"query": "page=1"}, "query must be a mapping, not str"),
        ({"query": {"page": [1]}}, "query: page must be a finite number, not [1]"),
        ({"query": {"": "a"}}, "query: each name must be a string that is not empty"),
        ({"query": {"a": "\ud800"}}, "query: a holds half of a surrogate pair"),
        ({"body": object()}, "body can't be written as JSON (TypeError)"),
    ],
)
async def test_wrong_queries_and_bodies_are_named(
    options: dict[str, Any], told: str
) -> None:
    async with scripted(answer()) as (edgegap, server):
        with pytest.raises(ValueError, match=r"query|body") as raised:
            await edgegap.request("POST", "/v1/app", **options)
        assert told in str(raised.value)
    assert not server.arrivals


async def test_the_simulator_answers_operations_of_the_table() -> None:
    async with (
        Simulator() as simulator,
        EdgegapSession("made-up", base_url=simulator.url) as edgegap,
    ):
        body = {
            "application": "game",
            "version": "1",
            "users": [
                {"user_type": "ip_address", "user_data": {"ip_address": "203.0.113.7"}}
            ],
        }
        accepted = await edgegap.request("POST", "/v2/deployments", body=body)
        path = f"/v1/status/{accepted['request_id']}"
        status = await edgegap.request("GET", path)
        assert status["app_name"] == "game"
        # It has no tag of ours.
        assert status["tags"] == []
        with pytest.raises(NotFound):
            await edgegap.request("GET", "/v1/no/such/thing")


async def test_no_other_path_than_the_given_one_is_tried() -> None:
    async with scripted(answer(404, {"message": "no such path"})) as (edgegap, server):
        error = await failure(
            edgegap.request("POST", "/v2/private-fleets:deploy", body={})
        )
        assert isinstance(error, NotFound)
    assert [it.path for it in server.arrivals] == ["/v2/private-fleets:deploy"]
