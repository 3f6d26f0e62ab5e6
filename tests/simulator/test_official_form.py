"""With `form="official"`, every answer is valid against Edgegap's OpenAPI files."""

import asyncio
from typing import Any

import pytest
from support.official import needs_files
from support.plain_client import DEPLOY, Plain, plain
from support.receiving import client_and_receiver
from support.reference import OPERATIONS, Operation
from support.sample_calls import VERSION, call_sample

from edgegap_async.simulator import Fault, Simulator

pytestmark = needs_files
pytest.importorskip("jsonschema")
from support import official_schemas as schemas  # noqa: E402

FORM = {"form": "official"}
STATUS = "/v1/status/{request_id}"
STOP = "/v1/stop/{request_id}"
# The options of the simulator, and the seconds after the deploy.
STATES: dict[str, tuple[dict[str, Any], float]] = {
    "INITIALIZING": ({"ready_after": (50, 50)}, 0),
    "DEPLOYING": ({"ready_after": (50, 50)}, 49),
    "READY": ({}, 100),
    "ERROR": ({"error_share": 1.0}, 100),
}
each_operation = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=lambda operation: operation.key
)


def path_of(operation: Operation) -> str:
    """The path in the files, which have renamed one operation of the reference page."""
    renamed = {"/v2/private-fleets:deploy": "/v2/private-fleets/deployments"}
    return renamed.get(operation.path, operation.path)


def invalid(operation: Operation, status: int, body: Any) -> list[str]:
    return [*schemas.errors(operation.method, path_of(operation), status, body)]


@pytest.mark.parametrize("state", STATES)
@each_operation
async def test_a_success_is_valid(operation: Operation, state: str) -> None:
    options, seconds = STATES[state]
    sim = Simulator(**FORM, **options)
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["old"])
        await asyncio.sleep(seconds)
        assert await api.state(request_id) == state
        path = path_of(operation)
        status, body = await call_sample(
            sim,
            api,
            operation,
            request_id,
            path=path if path != operation.path else None,
        )
    assert status < 300
    assert invalid(operation, status, body) == []


async def errors_of(api: Plain, operation: Operation) -> list[tuple[int, Any]]:
    """The answers to calls that name what is unknown, or are wrong."""
    names = ("request_id", "tag_name", "fleet_name", "app_name", "version_name")
    path = operation.path_with(**dict.fromkeys(names, "unknown"), access_point_id="5")
    path = path.replace(operation.path, path_of(operation))
    found = [
        await api(
            operation.method, path, operation.body, page="0", query="x", steps="x"
        )
    ]
    if operation.body is not None:
        found.append(await api(operation.method, path, []))
    # A second application or version of the same name is refused.
    found += [await api(operation.method, path, operation.body) for _ in range(2)]
    api.http.headers["Authorization"] = "none"
    return [*found, await api(operation.method, path, operation.body)]


@pytest.mark.parametrize("gone", ["404", "400"])
@each_operation
async def test_an_error_is_valid(operation: Operation, gone: Any) -> None:
    async with plain(Simulator(gone=gone, **FORM)) as api:
        answers = await errors_of(api, operation)
    assert answers[-1][0] >= 400
    for status, body in answers:
        assert invalid(operation, status, body) == []


@pytest.mark.parametrize("path", ["/v2/deployments", "/v2/private-fleets/deployments"])
async def test_a_deploy_without_a_server_is_answered_validly(path: str) -> None:
    body = {**DEPLOY, "private_host_ids": ["alpha"]}
    faults = [Fault("deploy", "422"), Fault("private_fleets.deploy", "422")]
    async with plain(Simulator(faults=faults, **FORM)) as api:
        status, answer = await api("POST", path, body)
        shown = await api.get(f"/v1/status/{answer['request_id']}")
    assert status == 422
    assert [*schemas.errors("POST", path, status, answer)] == []
    assert [*schemas.errors("GET", STATUS, 200, shown)] == []


async def test_the_end_of_a_deployment_is_answered_validly() -> None:
    sim = Simulator(gone="terminated", **FORM)
    async with plain(sim) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        environment = sim.environment(request_id)
        stop = f"/v1/stop/{request_id}"
        answers = [await api("DELETE", stop)]
        shown = [await api.get(f"/v1/status/{request_id}")]
        await asyncio.sleep(10)
        shown.append(await api.get(f"/v1/status/{request_id}"))
        answers.append(await api("DELETE", stop))
        api.http.headers["Authorization"] = environment["ARBITRIUM_DELETE_TOKEN"]
        self_stop = "/v1/self/stop/{request_id}/{access_point_id}"
        url = environment["ARBITRIUM_DELETE_URL"].removeprefix(sim.url)
        ended = await api("DELETE", url)

    assert [each["current_status"] for each in shown] == [
        "Status.TERMINATING",
        "Status.TERMINATED",
    ]
    assert [status for status, _ in (*answers, ended)] == [200, 410, 404]
    for each in shown:
        assert [*schemas.errors("GET", STATUS, 200, each)] == []
    for status, body in answers:
        assert [*schemas.errors("DELETE", STOP, status, body)] == []
    assert [*schemas.errors("DELETE", self_stop, *ended)] == []


@pytest.mark.parametrize("error_share", [0.0, 1.0])
async def test_a_webhook_is_a_valid_status(error_share: float) -> None:
    sim = Simulator(error_share=error_share, **FORM)
    async with client_and_receiver(sim) as (api, receiver):
        made = await api.deploy(**receiver.fields())
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(10)
    assert len(receiver.received) == 2
    for each in receiver.received:
        assert [*schemas.errors("GET", STATUS, 200, each.body)] == []


async def test_a_version_with_a_null_is_answered_validly() -> None:
    path = "/v1/app/{app_name}/version"
    accepted = set[str]()
    async with plain(Simulator(**FORM)) as api:
        await api("POST", "/v1/app", {"name": "arena", "image": "", "is_active": True})
        for number, key in enumerate(VERSION):
            body = {**VERSION, "name": f"v{number}", key: None}
            status, answer = await api("POST", "/v1/app/arena/version", body)
            assert [*schemas.errors("POST", path, status, answer)] == []
            if status == 200:
                accepted.add(key)
    assert {"private_token", "dns_config"} <= accepted


async def test_the_page_form_is_not_valid() -> None:
    async with plain(Simulator()) as api:
        status = await api.get(f"/v1/status/{await api.deploy()}")
        locations = await api.get("/v1/locations")
    assert [*schemas.errors("GET", STATUS, 200, status)] != []
    assert [*schemas.errors("GET", "/v1/locations", 200, locations)] != []
