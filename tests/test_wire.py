"""What is on the wire is what the reference page says: its paths, bodies, answers; none
of it from our table.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import web
from aioresponses import aioresponses
from support.echo import Echo, echoing
from support.reference import BY_KEY, OPERATIONS, Operation
from support.samples import STRUCTS, lost
from yarl import URL

from edgegap_async import (
    BulkStopFilter,
    EdgegapSession,
    EnvironmentVariable,
    GeoCoordinatesUser,
    IPAddressUser,
    Webhook,
    __version__,
)
from edgegap_async.models.deploy import DeployRequest, FleetDeployRequest
from edgegap_async.models.deployment import BulkStopRequest
from edgegap_async.models.tag import TagRequest

ID, HOST, TAG, FLEET = (
    "c0653765de3b",
    "alpha-north-america-95fab093",
    "v1.0.0",
    "test-fleet",
)
WORDS = {"request_id": ID, "access_point_id": "7", "tag_name": TAG, "fleet_name": FLEET}
HOOK = "https://my-webhook.com"
DEPLOY: dict[str, Any] = {
    "application": "my-app",
    "version": "25.05.30-16.45.19-04",
    "require_cached_locations": False,
    "users": ["75.28.35.192", (45.508888, -73.561668)],
    "environment_variables": [
        EnvironmentVariable("MY_ENVIRONMENT_VARIABLE", "my-value")
    ],
    "tags": ["my-custom-tag"],
    "webhook_on_ready": HOOK,
    "webhook_on_error": Webhook(HOOK),
    "webhook_on_terminated": HOOK,
}
START, END = datetime(2021, 7, 10, tzinfo=UTC), "2021-07-19 00:00:00.00"
Call = Callable[[EdgegapSession], Coroutine[Any, Any, Any]]
# How each operation of the page is called with the page's own values, and the query
# that these values make.
CALLS: dict[str, tuple[Call, dict[str, str]]] = {
    "POST /v2/deployments": (lambda s: s.deployments.deploy(**DEPLOY), {}),
    "GET /v1/status/{request_id}": (lambda s: s.deployments.status(ID), {}),
    "DELETE /v1/stop/{request_id}": (
        lambda s: s.deployments.stop(ID, container_log_storage="my logs"),
        {"container_log_storage": "my logs"},
    ),
    "DELETE /v1/self/stop/{request_id}/{access_point_id}": (
        lambda s: s.deployments.self_stop(
            ID, 7, token="delete-token", container_log_storage=False
        ),
        {"container_log_storage": "false"},
    ),
    "POST /v1/deployments/bulk-stop": (
        lambda s: s.deployments.bulk_stop(BulkStopFilter("request_id", [ID])),
        {},
    ),
    "GET /v1/deployments": (lambda s: s.deployments.list("{}"), {"query": "{}"}),
    "GET /v1/locations": (
        lambda s: s.locations.list(
            app="my-app", version="v1", type="standard", tags=True
        ),
        {"app": "my-app", "version": "v1", "type": "standard", "tags": "true"},
    ),
    "GET /v1/deployment/{request_id}/container-logs": (
        lambda s: s.deployments.container_logs(ID),
        {},
    ),
    "GET /v1/metrics/deployment/{request_id}": (
        lambda s: s.deployments.metrics(
            ID, start_time=START, end_time=END, steps="30s", raw=True
        ),
        {
            "start_time": "2021-07-10 00:00:00.000000",
            "end_time": END,
            "steps": "30s",
            "raw": "true",
        },
    ),
    "POST /v2/private-fleets:deploy": (
        lambda s: s.private_fleets.deploy(**DEPLOY, private_host_ids=[HOST]),
        {},
    ),
    "GET /v2/private-fleets/{fleet-name}/hosts": (
        lambda s: s.private_fleets.hosts(FLEET),
        {},
    ),
    "GET /v1/deployments/{request_id}/tags": (lambda s: s.tags.list(ID), {}),
    "GET /v1/deployments/{request_id}/tags/{tag_name}": (
        lambda s: s.tags.get(ID, TAG),
        {},
    ),
    "POST /v1/deployments/{request_id}/tags": (lambda s: s.tags.create(ID, TAG), {}),
    "DELETE /v1/deployments/{request_id}/tags/{tag_name}": (
        lambda s: s.tags.delete(ID, TAG),
        {},
    ),
    "PATCH /v1/deployments/{request_id}/tags/{tag_name}": (
        lambda s: s.tags.update(ID, TAG, name=TAG),
        {},
    ),
}
EACH = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=lambda operation: operation.key
)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


def answered(operation: Operation) -> web.Response:
    return (
        web.Response(status=204)
        if operation.answer is None
        else web.json_response(operation.answer)
    )


def check(operation: Operation, value: Any) -> None:
    """The answer is the struct of the page's sample, whole."""
    if operation.answer is None:
        assert value is None
    else:
        assert type(value) is STRUCTS[operation.key]
        assert list(lost(operation.answer, value)) == []


def test_every_operation_of_the_page_is_called_with_every_parameter_that_it_has() -> (
    None
):
    assert {key: tuple(query) for key, (_, query) in CALLS.items()} == {
        operation.key: operation.query for operation in OPERATIONS
    }


@EACH
async def test_the_request_and_the_answer_are_the_page_s(
    operation: Operation, wire: aioresponses
) -> None:
    call, query = CALLS[operation.key]
    url = URL(f"https://api.edgegap.com{operation.at(**WORDS)}").with_query(query)
    wire.add(
        url,
        method=operation.method,
        payload=operation.answer,
        status=200 if operation.answer else 204,
    )
    async with EdgegapSession("my-token", deploy_once=False) as session:
        check(operation, await call(session))
    (((method, sent_to), (request,)),) = wire.requests.items()
    assert (method, sent_to.with_query(None), dict(sent_to.query)) == (
        operation.method,
        url.with_query(None),
        query,
    )
    body = request.kwargs["data"]
    assert (None if body is None else json.loads(body)) == operation.body


@EACH
async def test_the_bytes_that_arrive_are_the_page_s(
    operation: Operation, echo: Echo
) -> None:
    call, query = CALLS[operation.key]
    echo.answers = [answered(operation)]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        check(operation, await call(session))
    (seen,) = echo.seen
    assert (seen.method, seen.path, dict(seen.query)) == (
        operation.method,
        operation.at(**WORDS),
        query,
    )
    assert seen.json == operation.body
    if operation.body is not None:
        assert len(seen.body) == int(operation.headers["Content-Length"])
        assert seen.headers["content-type"] == "application/json"
    else:
        assert "content-type" not in seen.headers
    bare = "self/stop" in operation.path
    assert seen.headers["authorization"] == (
        "delete-token" if bare else "token my-token"
    )
    assert seen.headers["user-agent"] == f"edgegap_async/{__version__}"


@pytest.mark.parametrize(
    "given",
    [
        "my-token",
        "token my-token",
        "Token my-token",
        "TOKEN  my-token",
        " my-token\r\n",
        "\ttoken my-token \n",
    ],
)
@pytest.mark.parametrize("source", ["argument", "environment"])
async def test_a_token_is_sent_once_prefixed(
    source: str, given: str, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_BASE_URL", f" {echo.url}/ ")
    monkeypatch.setenv(
        "EDGEGAP_API_TOKEN", given if source == "environment" else "another"
    )
    echo.answers = [web.json_response({"tags": []})]
    async with EdgegapSession(given if source == "argument" else None) as session:
        await session.tags.list(ID)
    assert echo.seen[0].headers["authorization"] == "token my-token"


PATH_WORDS = [
    "../x",
    "a/b",
    "ü",
    "%2e",
    "..%2f",
    "a?b=c",
    "a#b",
    "{request_id}",
    "...",
]


@pytest.mark.parametrize("word", ["a b", "a\r\nb"])
async def test_an_id_of_two_words_is_refused(word: str, echo: Echo) -> None:
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        with pytest.raises(ValueError, match="request_id"):
            await session.tags.get(word, "v1")
    assert not echo.seen


@pytest.mark.parametrize("word", PATH_WORDS)
async def test_whatever_the_word_it_stays_one_word_of_the_path(
    word: str, echo: Echo
) -> None:
    echo.answers = [web.json_response({"name": "v1"})]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        await session.tags.get(word, word)
    (seen,) = echo.seen
    assert (seen.path, seen.query) == (
        f"/v1/deployments/{quote(word, '')}/tags/{quote(word, '')}",
        [],
    )


@pytest.mark.parametrize("prefix", ["", "/edgegap", "/a/b/"])
async def test_a_base_url_may_have_a_path(prefix: str, echo: Echo) -> None:
    echo.answers = [web.json_response({"tags": []})]
    async with EdgegapSession("my-token", base_url=echo.url + prefix) as session:
        await session.tags.list(ID)
    assert echo.seen[0].path == f"{prefix.rstrip('/')}/v1/deployments/{ID}/tags"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2021, 7, 10, 12, 30, 1, 250000), "2021-07-10 12:30:01.250000"),
        (datetime(2021, 7, 10, 12, 30, tzinfo=UTC), "2021-07-10 12:30:00.000000"),
        (
            datetime(2021, 7, 10, 1, 30, tzinfo=timezone(timedelta(hours=2))),
            "2021-07-09 23:30:00.000000",
        ),
        ("2021-07-10 00:00:00.00", "2021-07-10 00:00:00.00"),
    ],
)
async def test_metrics_times_are_sent_in_utc_and_in_the_page_s_form(
    time: Any, text: str, echo: Echo
) -> None:
    echo.answers = [web.json_response({})]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        await session.deployments.metrics(ID, start_time=time, end_time=time, raw=False)
    assert echo.seen[0].query == [
        ("start_time", text),
        ("end_time", text),
        ("raw", "false"),
    ]


@pytest.mark.parametrize(
    ("storage", "text"),
    [(True, "true"), (False, "false"), ("my-storage", "my-storage")],
)
async def test_what_becomes_of_the_logs_is_said_in_the_query(
    storage: Any, text: str, echo: Echo
) -> None:
    echo.answers = [web.json_response({"message": "x"}), web.Response(status=202)]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        await session.deployments.stop(ID, container_log_storage=storage)
        await session.deployments.self_stop(
            ID, "stop-key", token="t", container_log_storage=storage
        )
    assert [seen.query for seen in echo.seen] == [[("container_log_storage", text)]] * 2
    assert echo.seen[1].path.endswith(f"/{ID}/stop-key")


VARIABLES = {"A": "", "B": "ü"}
USERS = BY_KEY["POST /v2/deployments"].body["users"]


@pytest.mark.parametrize(
    "users",
    [
        ["75.28.35.192", (45.508888, -73.561668)],
        ("75.28.35.192", [45.508888, -73.561668]),
        (
            user
            for user in [
                IPAddressUser("75.28.35.192"),
                GeoCoordinatesUser(45.508888, -73.561668),
            ]
        ),
    ],
    ids=["tuple", "list", "structs"],
)
async def test_players_are_told_in_whatever_form_they_are_at_hand(
    users: Any, echo: Echo
) -> None:
    echo.answers = [web.json_response({"request_id": "a69f8e3e0555"}, status=202)]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        await session.deployments.deploy(
            "app", "v1", users=users, tags=["a" * 40], environment_variables=VARIABLES
        )
    assert echo.seen[0].json["users"] == USERS
    told = [
        {"key": key, "value": value, "is_hidden": False}
        for key, value in VARIABLES.items()
    ]
    assert (echo.seen[0].json["environment_variables"], echo.seen[0].json["tags"]) == (
        told,
        ["a" * 40],
    )


BODIES = {
    "POST /v2/deployments": DeployRequest,
    "POST /v2/private-fleets:deploy": FleetDeployRequest,
    "POST /v1/deployments/bulk-stop": BulkStopRequest,
    "POST /v1/deployments/{request_id}/tags": TagRequest,
    "PATCH /v1/deployments/{request_id}/tags/{tag_name}": TagRequest,
}


def test_a_body_that_arrives_is_read_back_whole() -> None:
    """As the simulator does, with the same checks."""
    assert set(BODIES) == {operation.key for operation in OPERATIONS if operation.body}
    for key, kind in BODIES.items():
        read = msgspec.json.decode(json.dumps(BY_KEY[key].body), type=kind)
        assert json.loads(msgspec.json.encode(read)) == BY_KEY[key].body
    with pytest.raises(msgspec.ValidationError, match="users"):
        msgspec.json.decode(
            b'{"application": "a", "version": "v", "users": []}', type=DeployRequest
        )


@pytest.mark.parametrize(
    ("filters", "sent"),
    [
        (None, []),
        ([], []),
        (
            BulkStopFilter("request_id", []),
            [{"field": "request_id", "values": [], "filter_type": "any"}],
        ),
        (
            [BulkStopFilter("tags", ("a",), "not")],
            [{"field": "tags", "values": ["a"], "filter_type": "not"}],
        ),
    ],
)
async def test_everything_is_stopped_for_who_says_so(
    filters: Any, sent: Any, echo: Echo
) -> None:
    echo.answers = [web.Response(status=202)]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        assert (
            await session.deployments.bulk_stop(filters, everything=True)
        ).processable == ()
    assert echo.seen[0].json == {"filters": sent}


async def test_what_is_not_given_is_not_sent(echo: Echo) -> None:
    answers = [
        {"data": []},
        {"locations": []},
        {},
        {},
        {"data": []},
        {"request_id": "a69f8e3e0555"},
    ]
    echo.answers = [web.json_response(answer) for answer in answers]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        await session.deployments.list()
        await session.locations.list()
        await session.deployments.metrics(ID)
        await session.deployments.stop(ID)
        await session.private_fleets.hosts(FLEET)
        await session.deployments.deploy("my-app", "v1", users=[ip_address("::1")])
    assert all(seen.query == [] for seen in echo.seen)
    user = {"user_type": "ip_address", "user_data": {"ip_address": "::1"}}
    assert echo.seen[-1].json == {
        "application": "my-app",
        "version": "v1",
        "users": [user],
    }
