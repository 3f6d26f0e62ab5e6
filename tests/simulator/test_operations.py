"""The simulator's operations over HTTP, compared with the reference page."""

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
from support.plain_client import DEPLOY, Plain, plain
from support.reference import OPERATIONS, Operation
from support.sample_calls import call_sample

from edgegap_async import simulator
from edgegap_async.simulator import Simulator

PROFILE = "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}"
NOT_200 = {
    "POST /v2/deployments": 202,
    "POST /v2/private-fleets:deploy": 202,
    "POST /v1/deployments/bulk-stop": 202,
    "DELETE /v1/deployments/{request_id}/tags/{tag_name}": 204,
    "DELETE /v1/relays/sessions/{session_id}": 204,
    "DELETE /v1/storage/endpoint/{endpoint_name}": 204,
    f"DELETE {PROFILE}": 204,
    f"DELETE {PROFILE}/app/{{app_name}}/version/{{version_name}}": 204,
    "POST /v1/container-registry/images/{image_name}/tags/bulk-delete": 207,
    "POST /v1/relays/sessions:revoke-user": 204,
}
# The states of a deployment, in order.
STATES = ["INITIALIZING", "SEEKING", "SEEKED", "SCANNING", "DEPLOYING", "READY"]


def shape(value: Any) -> Any:
    """Return the keys and types of a sample; a list has those of its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return (
        float
        if isinstance(value, int | float) and not isinstance(value, bool)
        else type(value)
    )


def shape_like(value: Any, sample: Any) -> Any:
    """Return the shape of a value; null and an empty list match any sample."""
    if value is None or value == []:
        return shape(sample)
    if isinstance(value, dict) and isinstance(sample, dict):
        return {key: shape_like(item, sample.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(sample, list):
        return [shape_like(value[0], sample[0])]
    return shape(value)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.key)
async def test_responses_have_the_keys_and_types_of_the_reference_page(
    operation: Operation,
) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["old"])
        await asyncio.sleep(100)
        status, answer = await call_sample(sim, api, operation, request_id)

    assert status == NOT_200.get(operation.key, 200), (
        "if the page has another status than 200, add the operation to NOT_200"
    )
    assert shape_like(answer, operation.answer) == shape(operation.answer)


@pytest.mark.parametrize(
    ("served", "page", "renamed"),
    [("both", 202, 202), ("page", 202, 404), ("renamed", 404, 202)],
)
async def test_fleet_deploy_is_served_under_the_configured_paths(
    served: Any, page: int, renamed: int
) -> None:
    body = {**DEPLOY, "private_host_ids": ["alpha-north-america-95fab093"]}
    async with plain(Simulator(fleet_deploy=served)) as api:
        assert (await api("POST", "/v2/private-fleets:deploy", body))[0] == page
        assert (await api("POST", "/v2/private-fleets/deployments", body))[0] == renamed


async def test_a_deployment_passes_through_all_states_until_ready() -> None:
    async with plain(Simulator(ready_after=(4, 4), enforcement="off")) as api:
        request_id = await api.deploy(tags=["blue"])
        seen: list[str] = []
        for _ in range(50):
            state = await api.state(request_id)
            if state not in seen:
                seen.append(state)
            await asyncio.sleep(0.1)
        status = await api.get(f"/v1/status/{request_id}")

    assert seen == STATES
    assert status["running"] is True
    assert status["error"] is False
    assert status["last_status"] == "Status.DEPLOYING"
    assert status["elapsed_time"] == 1
    assert status["tags"] == ["blue"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", status["start_time"])


async def test_a_new_deployment_has_no_address_and_no_location() -> None:
    async with plain(Simulator()) as api:
        status = await api.get(f"/v1/status/{await api.deploy()}")

    assert [
        status[key] for key in ("fqdn", "public_ip", "ports", "location", "start_time")
    ] == [None] * 5


@pytest.mark.full
@pytest.mark.slow
async def test_ready_times_depend_on_range_and_seed() -> None:
    async def ready_by_second(seed: int) -> list[list[str]]:
        async with plain(Simulator(seed=seed, enforcement="off")) as api:
            made = [await api.deploy() for _ in range(30)]
            seen = []
            for _ in range(6):
                seen.append(
                    [
                        request_id
                        for request_id in made
                        if await api.state(request_id) == "READY"
                    ]
                )
                await asyncio.sleep(1)
            assert seen[1] == []
            assert seen[5] == made
            return seen

    assert await ready_by_second(1) == await ready_by_second(1)
    assert await ready_by_second(1) != await ready_by_second(2)


async def test_error_share_of_deployments_becomes_error_and_exists_until_stopped() -> (
    None
):
    sim = Simulator(error_share=0.5, enforcement="off")
    async with plain(sim) as api:
        made = [await api.deploy() for _ in range(60)]
        # The successful ones have ended: none runs longer than a day.
        await asyncio.sleep(48 * 3600)
        failed = [each for each in made if each in sim.running()]
        status = await api.get(f"/v1/status/{failed[0]}")
        logs = [
            await api.get(f"/v1/deployment/{each}/container-logs") for each in failed
        ]

    assert 20 <= len(failed) <= 40
    assert status["current_status"] == "Status.ERROR"
    assert (status["error"], status["running"], status["start_time"]) == (
        True,
        False,
        None,
    )
    assert status["error_detail"] in (
        "Pull image timeout exceeded",
        "Container crashed",
    )
    assert {(each["crash_data"] or {}).get("exit_code") for each in logs} == {None, 1}


async def test_stop_terminates_a_ready_deployment() -> None:
    sim = Simulator(stop_takes=0.5)
    async with plain(sim) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        status, answer = await api("DELETE", f"/v1/stop/{request_id}")

        assert (status, answer["message"]) == (
            200,
            f"Instance {request_id} will be deleted",
        )
        assert await api.state(request_id) == "TERMINATING"
        assert (await api("DELETE", f"/v1/stop/{request_id}"))[0] == 200
        assert sim.running() == sim.stopped() == {request_id}
        await asyncio.sleep(0.5)
        assert await api.listed() == []
        assert (await api("DELETE", f"/v1/stop/{request_id}"))[0] == 410
        assert (await api("DELETE", "/v1/stop/0123456789ab"))[0] == 404
    assert sim.running() == set()
    assert sim.deployed() == (request_id,)


@pytest.mark.parametrize("error_share", [0.0, 1.0])
async def test_stop_during_start_up_begins_when_ready_or_failed(
    error_share: float,
) -> None:
    sim = Simulator(ready_after=(4, 4), error_share=error_share)
    async with plain(sim) as api:
        request_id = await api.deploy()
        status, answer = await api("DELETE", f"/v1/stop/{request_id}")
        assert status == 202
        assert answer["deployment_summary"]["current_status"] == "Status.INITIALIZING"
        await asyncio.sleep(3.9)
        assert await api.state(request_id) == "DEPLOYING"
        await asyncio.sleep(0.2)
        assert await api.state(request_id) == "TERMINATING"
        await asyncio.sleep(0.5)
        assert sim.running() == set()


@pytest.mark.parametrize(
    ("gone", "ended", "never"),
    [("404", 404, 404), ("410", 410, 404), ("400", 400, 400), ("terminated", 200, 404)],
)
async def test_the_response_for_an_ended_deployment_is_configurable(
    gone: Any, ended: int, never: int
) -> None:
    async with plain(Simulator(gone=gone)) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(1)

        status, answer = await api("GET", f"/v1/status/{request_id}")
        assert status == ended
        if gone == "400":
            assert answer == {"message": "Bad Request ID provided"}
        if gone == "terminated":
            assert (answer["current_status"], answer["last_status"]) == (
                "Status.TERMINATED",
                "Status.TERMINATING",
            )
            assert (await api("GET", f"/v1/deployment/{request_id}/container-logs"))[
                0
            ] == 404
        assert (await api("GET", "/v1/status/0123456789ab"))[0] == never


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"version": "v1", "users": DEPLOY["users"]}, "application"),
        ({**DEPLOY, "version": 1}, "version"),
        ({**DEPLOY, "users": []}, "users"),
        (
            {
                **DEPLOY,
                "users": [
                    {"user_type": "ip_address", "user_data": {"ip_address": "x"}}
                ],
            },
            "users",
        ),
        ({**DEPLOY, "tags": "no-list"}, "tags"),
        ({**DEPLOY, "environment_variables": [{"key": "A"}]}, "environment_variables"),
    ],
)
async def test_an_invalid_body_gets_400_that_names_the_field(
    body: Any, named: str
) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        status, answer = await api("POST", "/v2/deployments", body)

    assert status == 400
    assert named in answer["message"]
    assert sim.deployed() == ()


async def test_malformed_json_and_unknown_paths_get_json_errors() -> None:
    async with plain(Simulator()) as api:
        async with api.http.post("/v2/deployments", data=b"{") as response:
            assert response.status == 400
            assert "message" in await response.json()
        assert await api("GET", "/v1/nothing") == (404, {"message": "Not Found"})
        assert (await api("PUT", "/v2/deployments"))[0] == 405


async def unauthorized(api: Plain, authorization: str) -> bool:
    async with api.http.get(
        "/v1/locations", headers={"Authorization": authorization}
    ) as response:
        assert response.status in (200, 401)
        return response.status == 401


async def test_the_token_and_its_scheme_are_checked() -> None:
    async with plain(Simulator(token="right")) as api:
        assert not await unauthorized(api, "token right")
        for wrong in (
            "token wrong",
            "right",
            "Bearer right",
            "token",
            "token token right",
            "",
        ):
            assert await unauthorized(api, wrong)
    async with plain(Simulator()) as api:
        assert not await unauthorized(api, "token whatever")
        assert await unauthorized(api, "whatever")


async def test_self_stop_takes_only_the_delete_token_of_its_deployment() -> None:
    sim = Simulator(token="right")
    async with plain(sim, "token right") as api:
        request_id, other = await api.deploy(), await api.deploy()
        own, others = sim.environment(request_id), sim.environment(other)
        url, token = own["ARBITRIUM_DELETE_URL"], own["ARBITRIUM_DELETE_TOKEN"]
        for used, expected in (
            ("token right", 401),
            (others["ARBITRIUM_DELETE_TOKEN"], 401),
            (token, 202),
        ):
            async with aiohttp.request(
                "DELETE", url, headers={"Authorization": used}
            ) as response:
                assert response.status == expected
        async with aiohttp.request(
            "DELETE", f"{url}9", headers={"Authorization": token}
        ) as response:
            assert response.status == 404
    assert sim.stopped() == {request_id}


async def test_a_container_has_its_environment() -> None:
    sim = Simulator()
    async with plain(sim) as api:
        variables = [{"key": "MODE", "value": "ranked", "is_hidden": False}]
        request_id = await api.deploy(tags=["a", "b"], environment_variables=variables)
        await asyncio.sleep(10)
        status = await api.get(f"/v1/status/{request_id}")
        environment = sim.environment(request_id)

    assert environment["MODE"] == "ranked"
    assert environment["ARBITRIUM_REQUEST_ID"] == request_id
    assert environment["ARBITRIUM_PUBLIC_IP"] == status["public_ip"]
    assert environment["ARBITRIUM_DEPLOYMENT_TAGS"] == "a,b"
    assert environment["ARBITRIUM_PORT_WEB_EXTERNAL"] == str(
        status["ports"]["web"]["external"]
    )
    assert (
        json.loads(environment["ARBITRIUM_PORTS_MAPPING"])["ports"]["7777"]["protocol"]
        == "UDP"
    )
    with pytest.raises(LookupError):
        sim.environment("0123456789ab")


@pytest.mark.parametrize("name", ["Simulater", "server_"])
def test_an_unknown_name_in_the_package_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(simulator, name)


@pytest.mark.parametrize(
    "wrong", [5, "ab", (1,), (2, 1), (-1, 1), None, (1, float("inf"))]
)
@pytest.mark.parametrize("argument", ["ready_after", "delay_before", "delay_after"])
def test_an_invalid_delay_is_a_value_error_that_names_it(
    argument: str, wrong: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} must be a range of seconds"):
        Simulator(**{argument: wrong})
