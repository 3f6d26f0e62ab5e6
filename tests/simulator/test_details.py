"""Tags, locations, fleets, container logs and metrics of the simulator."""

import asyncio
from typing import Any

import pytest
from support.plain_client import DEPLOY, Plain, plain

from edgegap_async.simulator import Simulator


async def test_tags_can_be_created_renamed_and_deleted_and_lists_follow() -> None:
    async with plain(Simulator()) as api:
        request_id = await api.deploy(tags=["first"])
        path = f"/v1/deployments/{request_id}/tags"
        _, made = await api("POST", path, {"name": "second"})
        assert (await api("POST", path, {"name": "second"}))[0] == 409
        await asyncio.sleep(1)
        _, renamed = await api("PATCH", f"{path}/second", {"name": "third"})
        assert renamed["create_time"] == made["create_time"] < renamed["last_updated"]
        assert (await api("PATCH", f"{path}/third", {"name": "first"}))[0] == 409
        assert (await api("PATCH", f"{path}/third", {"name": "third"}))[0] == 200
        answer = await api.get(path)
        assert ([tag["name"] for tag in answer["tags"]], answer["count"]) == (
            ["first", "third"],
            2,
        )
        assert await api.listed(("tags", "eq", "third")) == [request_id]
        assert await api("DELETE", f"{path}/third") == (204, None)
        assert await api.listed(("tags", "eq", "third")) == []
        for method in ("GET", "DELETE"):
            assert (await api(method, f"{path}/third"))[0] == 404


async def test_locations_can_be_filtered_by_type_and_include_tags_on_request() -> None:
    async with plain(Simulator()) as api:
        everywhere = (await api.get("/v1/locations", app="my-app", version="v1"))[
            "locations"
        ]
        regional = (await api.get("/v1/locations", type="regional", tags="true"))[
            "locations"
        ]

    assert {each["type"] for each in everywhere} == {"standard", "regional"}
    assert {each["type"] for each in regional} == {"regional"}
    assert all(each["tags"] for each in regional)
    assert not any(each["tags"] for each in everywhere)


async def test_a_deployment_is_near_the_players_coordinates() -> None:
    user = {
        "user_type": "geo_coordinates",
        "user_data": {"latitude": 48.9, "longitude": 2.4},
    }
    async with plain(Simulator()) as api:
        request_id = await api.deploy(users=[user])
        await asyncio.sleep(10)
        assert (await api.get(f"/v1/status/{request_id}"))["location"][
            "city"
        ] == "Paris"


async def test_a_fleet_deploy_runs_on_the_first_known_host() -> None:
    async with plain(Simulator()) as api:
        _, second = (await api.get("/v2/private-fleets/test-fleet/hosts"))["data"][:2]
        body = {**DEPLOY, "private_host_ids": ["unknown", second["host_id"]]}
        _, answer = await api("POST", "/v2/private-fleets:deploy", body)
        _, cloud = await api(
            "POST",
            "/v2/private-fleets:deploy",
            {**DEPLOY, "private_host_ids": ["unknown"]},
        )
        request_id = answer["request_id"]
        assert await api.listed(("fleet_name", "ilike", "TEST-%")) == [request_id]
        assert await api.listed(("host_name", "eq", second["host_id"])) == [request_id]
        assert await api.listed(("host_name", "neq", second["host_id"])) == [
            cloud["request_id"]
        ]
        allocated = [host["allocated_cpu_units"] for host in await hosts(api)]
        assert allocated == [0, 1024, 0]
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(1)
        assert {host["allocated_cpu_units"] for host in await hosts(api)} == {0}


async def hosts(api: Plain) -> Any:
    return (await api.get("/v2/private-fleets/test-fleet/hosts"))["data"]


async def test_logs_grow_while_the_container_runs() -> None:
    async with plain(Simulator()) as api:
        request_id = await api.deploy()
        path = f"/v1/deployment/{request_id}/container-logs"
        assert (await api.get(path))["logs"] == ""
        await asyncio.sleep(100)
        assert len((await api.get(path))["logs"].splitlines()) == 5
        await api("DELETE", f"/v1/stop/{request_id}")
        assert "SIGTERM" in (await api.get(path))["logs"]
        await asyncio.sleep(1)
        assert (await api("GET", path))[0] == 404


async def test_metrics_respect_start_end_and_steps() -> None:
    async with plain(Simulator(ready_after=(2, 2))) as api:
        request_id = await api.deploy()
        path = f"/v1/metrics/deployment/{request_id}"
        assert (await api.get(path))["cpu"] == {
            "labels": [],
            "datasets": [],
            "timestamps": [],
        }
        await asyncio.sleep(602)
        every = (await api.get(path))["cpu"]["timestamps"]
        # One sample in 30 s.
        assert len(every) == 21
        assert len((await api.get(path, steps="5m"))["mem"]["datasets"]) == 3
        assert (
            len((await api.get(path, steps="5m", raw="true"))["mem"]["datasets"]) == 21
        )
        some = await api.get(path, start_time=every[4], end_time=every[8], steps="1m")
        assert some["total"]["receive_total"]["timestamps"] == every[4:9:2]
        totals = [int(each) for each in some["total"]["receive_total"]["datasets"]]
        assert totals == sorted(set(totals))
        early = await api.get(path, start_time="2021-07-10 00:00:00.00", steps="1h")
        assert early["cpu"]["timestamps"] == every[:1]


@pytest.mark.measured
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"start_time": "2021-07-10"}, "start_time"),
        (
            {
                "start_time": "2021-07-10 00:00:00.0",
                "end_time": "2021-07-10 00:00:00.0",
            },
            "end_time",
        ),
        ({"steps": "0s"}, "steps"),
        ({"steps": "5 minutes"}, "steps"),
        ({"steps": "1s"}, "steps"),
    ],
)
async def test_an_invalid_metrics_query_gets_400(
    query: dict[str, str], named: str
) -> None:
    async with plain(Simulator()) as api:
        request_id = await api.deploy()
        await asyncio.sleep(20_000)
        status, answer = await api(
            "GET", f"/v1/metrics/deployment/{request_id}", **query
        )

    assert status == 400
    assert named in answer["message"]
