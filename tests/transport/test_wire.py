"""Requests and answers match the reference page. Nothing here is read from `endpoints`,
so that client and tests can't share an error.
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
from support.recording_server import RecordingServer, recording_server
from support.reference import BY_KEY, OPERATIONS, Operation
from support.samples import STRUCTS, differences
from yarl import URL

from edgegap_async import (
    BulkStopFilter,
    EdgegapSession,
    EnvironmentVariable,
    GeoCoordinatesUser,
    IPAddressUser,
    PortSpec,
    Webhook,
    __version__,
)
from edgegap_async.models.app import AppRequest, AppUpdate
from edgegap_async.models.deploy import DeployRequest, FleetDeployRequest
from edgegap_async.models.deployment import BulkStopRequest, ReportRequest
from edgegap_async.models.pull_profile import PullProfileRequest, PullProfileUpdate
from edgegap_async.models.registry import ImageTagsRequest
from edgegap_async.models.relay import (
    RelayAuthorization,
    RelayRevocation,
    RelaySessionRequest,
)
from edgegap_async.models.storage import StorageRequest, StorageUpdate
from edgegap_async.models.tag import TagRequest
from edgegap_async.models.version import AppVersionRequest, AppVersionUpdate

APP, VERSION = "my game", "1.0+b/7"
ID, HOST, TAG, FLEET = (
    "c0653765de3b",
    "alpha-north-america-95fab093",
    "v1.0.0",
    "test-fleet",
)
RELAY = "7349356945f1-S"
STORAGE = "my logs/1"
IMAGE = "my-org/my-game"
PROFILE = "my configs/2"
LINK = (
    "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}"
    "/app/{app_name}/version/{version_name}"
)
SOURCE: dict[str, Any] = {
    "source": "/my-bucket/maps",
    "source_type": "Folder",
    "destination": "/srv/game/maps",
}
BUCKET: dict[str, Any] = {
    "access_key_id": "made-up-id",
    "secret_access_key": "made-up-key",
    "endpoint": "https://s3.example.com",
    "bucket": "my-bucket",
    "output_format": "NDJSON",
}
PATH_PARAMS = {
    "request_id": ID,
    "access_point_id": "7",
    "tag_name": TAG,
    "fleet_name": FLEET,
    "app_name": quote(APP),
    "version_name": quote(VERSION, ""),
    "session_id": RELAY,
    "endpoint_name": quote(STORAGE, ""),
    "image_name": "my-org%2Fmy-game",
    "pull_profile_name": quote(PROFILE, ""),
}
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
CREATE: dict[str, Any] = {
    "app_name": APP,
    "name": "v7",
    "req_cpu": 512,
    "req_memory": 1024,
    "req_video": 128,
    "docker_repository": "registry.example.com",
    "docker_image": "studio/arena",
    "docker_tag": "v7",
    "private_username": "puller-account",
    "private_token": "made-up-registry-token",
    "is_active": True,
    "verify_image": True,
    "force_cache": True,
    "time_to_deploy": 120,
    "max_duration": 60,
    "restart_policy": "never",
    "termination_grace_period_seconds": 30,
    "will_deploy_in_mainland_china": True,
    "dns_config": "my-domain",
    "ports": [PortSpec(7777, "UDP", name="game")],
    "envs": [EnvironmentVariable("MODE", "ranked", is_hidden=True)],
    "endpoint_storage": "my-logs",
}
START, END = datetime(2021, 7, 10, tzinfo=UTC), "2021-07-19 00:00:00.00"
Call = Callable[[EdgegapSession], Coroutine[Any, Any, Any]]
# The call of each operation with the values of the reference page, and the query that
# these values make.
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
    "GET /v1/locations/beacons": (
        lambda s: s.locations.beacons(page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "POST /v1/deployments/{request_id}:report": (
        lambda s: s.deployments.report(
            ID, "players see nothing", metadata={"match": "m-17", "reports": 3}
        ),
        {},
    ),
    "POST /v1/relays/sessions": (
        lambda s: s.relays.create(
            ["203.0.113.7"],
            filters=[{"field": "city", "values": ["Montreal"], "filter_type": "any"}],
            webhook_url="https://hooks.example.com/relay",
        ),
        {},
    ),
    "GET /v1/relays/sessions": (
        lambda s: s.relays.list(page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "GET /v1/relays/sessions/{session_id}": (lambda s: s.relays.get(RELAY), {}),
    "DELETE /v1/relays/sessions/{session_id}": (lambda s: s.relays.delete(RELAY), {}),
    "POST /v1/relays/sessions:authorize-user": (
        lambda s: s.relays.authorize_user(RELAY, "203.0.113.8"),
        {},
    ),
    "POST /v1/relays/sessions:revoke-user": (
        lambda s: s.relays.revoke_user(RELAY, 21986334),
        {},
    ),
    "GET /v1/storage/endpoints": (
        lambda s: s.storage.list(page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "GET /v1/storage/endpoint/{endpoint_name}": (
        lambda s: s.storage.get(STORAGE),
        {},
    ),
    "POST /v1/storage/endpoint": (
        lambda s: s.storage.create("my-logs", **BUCKET),
        {},
    ),
    "PATCH /v1/storage/endpoint/{endpoint_name}": (
        lambda s: s.storage.update(STORAGE, name="my-logs-2", **BUCKET),
        {},
    ),
    "DELETE /v1/storage/endpoint/{endpoint_name}": (
        lambda s: s.storage.delete(STORAGE),
        {},
    ),
    "GET /v1/container-registry/images/{image_name}/tags": (
        lambda s: s.registry.tags(IMAGE, page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "DELETE /v1/container-registry/images/{image_name}/tags/{tag_name}": (
        lambda s: s.registry.delete_tag(IMAGE, TAG),
        {},
    ),
    "POST /v1/container-registry/images/{image_name}/tags/bulk-delete": (
        lambda s: s.registry.delete_tags(IMAGE, ["1.0.0", "0.9.0"]),
        {},
    ),
    "GET /v1/storage/endpoint/{endpoint_name}/pull-profiles": (
        lambda s: s.pull_profiles.list(STORAGE, page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "GET /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}": (
        lambda s: s.pull_profiles.get(STORAGE, PROFILE),
        {},
    ),
    "POST /v1/storage/endpoint/{endpoint_name}/pull-profile": (
        lambda s: s.pull_profiles.create(STORAGE, "my-configs", **SOURCE),
        {},
    ),
    "PATCH /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}": (
        lambda s: s.pull_profiles.update(
            STORAGE,
            PROFILE,
            name="my-configs-2",
            source="/my-bucket/maps/desert",
            source_type="File",
            destination="/srv/game/maps/desert",
        ),
        {},
    ),
    "DELETE /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}": (
        lambda s: s.pull_profiles.delete(STORAGE, PROFILE),
        {},
    ),
    f"PUT {LINK}": (
        lambda s: s.pull_profiles.link(STORAGE, PROFILE, APP, VERSION),
        {},
    ),
    f"DELETE {LINK}": (
        lambda s: s.pull_profiles.unlink(STORAGE, PROFILE, APP, VERSION),
        {},
    ),
    "GET /v1/apps": (
        lambda s: s.apps.list(page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "GET /v1/app/{app_name}": (lambda s: s.apps.get(APP), {}),
    "POST /v1/app": (lambda s: s.apps.create("arena", image="aGVsbG8="), {}),
    "PATCH /v1/app/{app_name}": (
        lambda s: s.apps.update(APP, name="arena-2", image="aGVsbG8=", is_active=True),
        {},
    ),
    "GET /v1/app/{app_name}/versions": (
        lambda s: s.versions.list(APP, page=2, limit=50),
        {"page": "2", "limit": "50"},
    ),
    "GET /v1/app/{app_name}/version/{version_name}": (
        lambda s: s.versions.get(APP, VERSION),
        {},
    ),
    "POST /v1/app/{app_name}/version": (lambda s: s.versions.create(**CREATE), {}),
    "PATCH /v1/app/{app_name}/version/{version_name}": (
        lambda s: s.versions.update(
            APP,
            VERSION,
            name="v8",
            docker_tag="v8",
            is_active=False,
            private_token="made-up-registry-token",
            dns_config=None,
        ),
        {},
    ),
    "DELETE /v1/app/{app_name}/version/{version_name}": (
        lambda s: s.versions.delete(APP, VERSION),
        {},
    ),
    "DELETE /v1/app/{app_name}": (lambda s: s.apps.delete(APP), {}),
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
each_operation = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=lambda operation: operation.key
)


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


def response_to(operation: Operation) -> web.Response:
    return (
        web.Response(status=204)
        if operation.answer is None
        else web.json_response(operation.answer)
    )


def check_answer(operation: Operation, value: Any) -> None:
    """Check that the value is the struct of the reference page's sample, without loss."""
    if operation.answer is None:
        assert value is None
    else:
        assert type(value) is STRUCTS[operation.key]
        assert list(differences(operation.answer, value)) == []


def test_the_calls_cover_every_operation_and_query_parameter() -> None:
    assert {key: tuple(query) for key, (_, query) in CALLS.items()} == {
        operation.key: operation.query for operation in OPERATIONS
    }, "add the missing call, with all query parameters of its operation, to CALLS"


@each_operation
async def test_each_request_and_answer_matches_the_reference(
    operation: Operation, wire: aioresponses
) -> None:
    call, query = CALLS[operation.key]
    url = URL(
        f"https://api.edgegap.com{operation.path_with(**PATH_PARAMS)}"
    ).with_query(query)
    wire.add(
        url,
        method=operation.method,
        payload=operation.answer,
        status=200 if operation.answer else 204,
    )
    async with EdgegapSession("my-token", deploy_once=False) as session:
        check_answer(operation, await call(session))
    (((method, sent_to), (request,)),) = wire.requests.items()
    assert (method, sent_to.with_query(None), dict(sent_to.query)) == (
        operation.method,
        url.with_query(None),
        query,
    )
    data = request.kwargs["data"]
    body = None if data is None else data.decode()
    assert (None if body is None else json.loads(body)) == operation.body


@each_operation
async def test_each_request_arrives_as_in_the_reference(
    operation: Operation, server: RecordingServer
) -> None:
    call, query = CALLS[operation.key]
    server.answers = [response_to(operation)]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        check_answer(operation, await call(session))
    (request,) = server.requests
    assert (request.method, request.path, dict(request.query)) == (
        operation.method,
        operation.path_with(**PATH_PARAMS),
        query,
    )
    assert request.json == operation.body
    if operation.body is not None:
        assert len(request.body) == int(operation.headers["Content-Length"])
        assert request.headers["content-type"] == "application/json"
    else:
        assert "content-type" not in request.headers
    bare = "self/stop" in operation.path
    assert request.headers["authorization"] == (
        "delete-token" if bare else "token my-token"
    )
    assert request.headers["user-agent"] == f"edgegap_async/{__version__}"


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
async def test_a_token_is_sent_with_one_prefix(
    source: str, given: str, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_BASE_URL", f" {server.url}/ ")
    monkeypatch.setenv(
        "EDGEGAP_API_TOKEN", given if source == "environment" else "another"
    )
    server.answers = [web.json_response({"tags": []})]
    async with EdgegapSession(given if source == "argument" else None) as session:
        await session.tags.list(ID)
    assert server.requests[0].headers["authorization"] == "token my-token"


SEGMENTS = [
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


@pytest.mark.parametrize("segment", ["a b", "a\r\nb"])
async def test_an_id_with_white_space_inside_is_rejected(
    segment: str, server: RecordingServer
) -> None:
    async with EdgegapSession("my-token", base_url=server.url) as session:
        with pytest.raises(ValueError, match="request_id"):
            await session.tags.get(segment, "v1")
    assert not server.requests


@pytest.mark.parametrize("segment", SEGMENTS)
async def test_a_path_parameter_stays_one_path_segment(
    segment: str, server: RecordingServer
) -> None:
    server.answers = [web.json_response({"name": "v1"})]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        await session.tags.get(segment, segment)
    (request,) = server.requests
    assert (request.path, request.query) == (
        f"/v1/deployments/{quote(segment, '')}/tags/{quote(segment, '')}",
        [],
    )


@pytest.mark.parametrize("prefix", ["", "/edgegap", "/a/b/"])
async def test_a_base_url_can_have_a_path(prefix: str, server: RecordingServer) -> None:
    server.answers = [web.json_response({"tags": []})]
    async with EdgegapSession("my-token", base_url=server.url + prefix) as session:
        await session.tags.list(ID)
    assert server.requests[0].path == f"{prefix.rstrip('/')}/v1/deployments/{ID}/tags"


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
async def test_metrics_times_are_sent_in_utc_in_the_reference_format(
    time: Any, text: str, server: RecordingServer
) -> None:
    server.answers = [web.json_response({})]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        await session.deployments.metrics(ID, start_time=time, end_time=time, raw=False)
    assert server.requests[0].query == [
        ("start_time", text),
        ("end_time", text),
        ("raw", "false"),
    ]


@pytest.mark.parametrize(
    ("storage", "text"),
    [(True, "true"), (False, "false"), ("my-storage", "my-storage")],
)
async def test_container_log_storage_is_sent_in_the_query(
    storage: Any, text: str, server: RecordingServer
) -> None:
    server.answers = [web.json_response({"message": "x"}), web.Response(status=202)]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        await session.deployments.stop(ID, container_log_storage=storage)
        await session.deployments.self_stop(
            ID, "stop-key", token="t", container_log_storage=storage
        )
    assert [request.query for request in server.requests] == [
        [("container_log_storage", text)]
    ] * 2
    assert server.requests[1].path.endswith(f"/{ID}/stop-key")


VARIABLES = {"A": "", "B": "ü"}
USERS = BY_KEY["POST /v2/deployments"].body["users"]


@pytest.mark.measured
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
async def test_users_can_be_addresses_coordinates_or_structs(
    users: Any, server: RecordingServer
) -> None:
    server.answers = [web.json_response({"request_id": "a69f8e3e0555"}, status=202)]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        await session.deployments.deploy(
            "app", "v1", users=users, tags=["a" * 40], environment_variables=VARIABLES
        )
    assert server.requests[0].json["users"] == USERS
    variables = [
        {"key": key, "value": value, "is_hidden": False}
        for key, value in VARIABLES.items()
    ]
    assert (
        server.requests[0].json["environment_variables"],
        server.requests[0].json["tags"],
    ) == (
        variables,
        ["a" * 40],
    )


BODIES = {
    "POST /v2/deployments": DeployRequest,
    "POST /v2/private-fleets:deploy": FleetDeployRequest,
    "POST /v1/deployments/bulk-stop": BulkStopRequest,
    "POST /v1/app": AppRequest,
    "PATCH /v1/app/{app_name}": AppUpdate,
    "POST /v1/app/{app_name}/version": AppVersionRequest,
    "PATCH /v1/app/{app_name}/version/{version_name}": AppVersionUpdate,
    "POST /v1/deployments/{request_id}:report": ReportRequest,
    "POST /v1/deployments/{request_id}/tags": TagRequest,
    "PATCH /v1/deployments/{request_id}/tags/{tag_name}": TagRequest,
    "POST /v1/relays/sessions": RelaySessionRequest,
    "POST /v1/storage/endpoint": StorageRequest,
    "PATCH /v1/storage/endpoint/{endpoint_name}": StorageUpdate,
    "POST /v1/storage/endpoint/{endpoint_name}/pull-profile": PullProfileRequest,
    "PATCH /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}": PullProfileUpdate,
    "POST /v1/relays/sessions:authorize-user": RelayAuthorization,
    "POST /v1/container-registry/images/{image_name}/tags/bulk-delete": ImageTagsRequest,
    "POST /v1/relays/sessions:revoke-user": RelayRevocation,
}


def test_request_bodies_decode_without_loss() -> None:
    """The simulator decodes bodies with the same structs and checks."""
    assert set(BODIES) == {
        operation.key for operation in OPERATIONS if operation.body
    }, "add the struct of the missing body to BODIES"
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
async def test_bulk_stop_of_everything_must_be_explicit(
    filters: Any, sent: Any, server: RecordingServer
) -> None:
    server.answers = [web.Response(status=202)]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        assert (
            await session.deployments.bulk_stop(filters, everything=True)
        ).processable == ()
    assert server.requests[0].json == {"filters": sent}


async def test_omitted_arguments_are_not_sent(server: RecordingServer) -> None:
    answers = [
        {"data": []},
        {"locations": []},
        {},
        {},
        {"data": []},
        {"request_id": "a69f8e3e0555"},
    ]
    server.answers = [web.json_response(answer) for answer in answers]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        await session.deployments.list()
        await session.locations.list()
        await session.deployments.metrics(ID)
        await session.deployments.stop(ID)
        await session.private_fleets.hosts(FLEET)
        await session.deployments.deploy("my-app", "v1", users=[ip_address("::1")])
    assert all(request.query == [] for request in server.requests)
    user = {"user_type": "ip_address", "user_data": {"ip_address": "::1"}}
    assert server.requests[-1].json == {
        "application": "my-app",
        "version": "v1",
        "users": [user],
    }
