"""The simulator's lists and bulk stops: filters, order, pages and errors."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from support.plain_client import Plain, plain

from edgegap_async.models.deploy import DeployRequest
from edgegap_async.models.paging import ListFilter, ListQuery
from edgegap_async.simulator import Simulator
from edgegap_async.simulator.world.clock import Clock
from edgegap_async.simulator.world.options import WorldOptions
from edgegap_async.simulator.world.world import World


async def deployed(api: Plain, number: int) -> list[str]:
    """Make deployments, and return their IDs in the order of arrival."""
    made = []
    for index in range(number):
        made.append(
            await api.deploy(tags=[f"n{index}", "even" if index % 2 == 0 else "odd"])
        )
        await asyncio.sleep(0.01)
    return made


async def test_a_list_includes_starting_deployments_and_omits_ended_ones() -> None:
    async with plain(Simulator(ready_after=(3, 3))) as api:
        ended = await api.deploy()
        await asyncio.sleep(5)
        await api("DELETE", f"/v1/stop/{ended}")
        await asyncio.sleep(1)
        pending = await api.deploy()
        (row,) = (await api.get("/v1/deployments"))["data"]
        assert (row["request_id"], row["ready"], row["start_time"], row["ports"]) == (
            pending,
            False,
            None,
            None,
        )
        await asyncio.sleep(3)
        (row,) = (await api.get("/v1/deployments"))["data"]
        assert (row["ready"], row["ports"]["7777"]["internal"]) == (True, 7777)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_are_newest_first_unless_configured_or_requested_otherwise(
    newest_first: bool,
) -> None:
    async with plain(Simulator(newest_first=newest_first, enforcement="off")) as api:
        made = await deployed(api, 25)
        pages = [
            await api.get("/v1/deployments", page=str(number))
            for number in (1, 2, 3, 4)
        ]
        found = [row["request_id"] for page in pages for row in page["data"]]
        assert found == (made[::-1] if newest_first else made)
        assert [len(page["data"]) for page in pages] == [10, 10, 5, 0]
        assert [page["total_count"] for page in pages] == [25] * 4
        assert [page["pagination"]["has_next"] for page in pages] == [
            True,
            True,
            False,
            False,
        ]
        assert pages[1]["pagination"] == {
            "number": 2,
            "next_page_number": 3,
            "previous_page_number": 1,
            "paginator": {"num_pages": 3},
            "has_next": True,
            "has_previous": True,
        }
        for order, expected in (("asc", made), ("desc", made[::-1])):
            query = json.dumps({"order_by": [{"field": "created_at", "order": order}]})
            page = await api.get("/v1/deployments", query=query, limit="25")
            assert [row["request_id"] for row in page["data"]] == expected


async def test_a_page_is_never_larger_than_the_maximum() -> None:
    async with plain(Simulator(max_page_size=3, enforcement="off")) as api:
        await deployed(api, 5)
        assert len(await api.listed(limit="100")) == 3
        assert len(await api.listed(limit="2")) == 2


FILTERS: list[tuple[tuple[str, str, Any], list[int]]] = [
    (("status", "eq", "ready"), [0, 1, 2, 3]),
    (("status", "neq", "ready"), [4, 5]),
    (("status", "eq", "initializing"), [5]),
    (("status", "eq", "deploying"), [4]),
    (("status", "eq", "READY"), []),
    (("status", "neq", "whatever"), [0, 1, 2, 3, 4, 5]),
    (("request_id", "eq", 2), [2]),
    (("request_id", "neq", 2), [0, 1, 3, 4, 5]),
    (("request_id", "in", [1, 4]), [1, 4]),
    (("request_id", "nin", [1, 4]), [0, 2, 3, 5]),
    (("tags", "eq", "odd"), [1, 3, 5]),
    (("tags", "neq", "odd"), [0, 2, 4]),
    (("tags", "in", ["n0", "n5", "n9"]), [0, 5]),
    (("tags", "nin", ["n0", "odd"]), [2, 4]),
    (("application", "eq", "my-app"), [0, 1, 2, 3, 4, 5]),
    (("version", "in", ["v2"]), []),
    (("fleet_name", "ilike", "%e%"), []),
    (("host_name", "neq", "x"), [0, 1, 2, 3, 4, 5]),
    (("created_at", "gte", "2020-01-01T00:00:00Z"), [0, 1, 2, 3, 4, 5]),
    (("created_at", "lte", "2020-01-01"), []),
]


@pytest.mark.parametrize(("asked", "expected"), FILTERS)
async def test_a_filter_selects_the_matching_deployments(
    asked: tuple[str, str, Any], expected: list[int]
) -> None:
    async with plain(Simulator(ready_after=(3, 3), enforcement="off")) as api:
        made = await deployed(api, 4)
        await asyncio.sleep(5)
        made.append(await api.deploy(tags=["n4", "even"]))
        await asyncio.sleep(2)
        made.append(await api.deploy(tags=["n5", "odd"]))
        field, operator, value = asked
        if field == "request_id":
            value = (
                [made[index] for index in value]
                if isinstance(value, list)
                else made[value]
            )

        assert sorted(await api.listed((field, operator, value))) == sorted(
            made[index] for index in expected
        )


async def test_created_at_matches_the_exact_time() -> None:
    async with plain(Simulator(enforcement="off")) as api:
        made = await deployed(api, 3)
        tags = await api.get(f"/v1/deployments/{made[1]}/tags")
        # This tag was created with the deployment.
        moment = tags["tags"][0]["create_time"]
        assert await api.listed(("created_at", "eq", moment)) == [made[1]]
        assert await api.listed(("created_at", "gte", moment)) == [made[2], made[1]]
        assert await api.listed(("created_at", "lte", moment)) == [made[1], made[0]]


async def test_several_filters_must_all_match() -> None:
    async with plain(Simulator(enforcement="off")) as api:
        made = await deployed(api, 6)
        await asyncio.sleep(10)
        asked = (
            ("status", "eq", "ready"),
            ("request_id", "in", made[:3]),
            ("tags", "eq", "even"),
        )
        assert await api.listed(*asked) == [made[2], made[0]]


def filtered_by(field: str, operator: str, value: Any) -> dict[str, str]:
    """Return the query of a list with one filter."""
    filter_ = {"field": field, "operator": operator, "value": value}
    return {"query": json.dumps({"filters": [filter_]})}


@pytest.mark.measured
@pytest.mark.parametrize(
    "query",
    [
        {"query": "no json"},
        filtered_by("tags", "in", "no list"),
        filtered_by("tags", "gte", "a"),
        filtered_by("status", "in", ["ready"]),
        filtered_by("created_at", "gte", "yesterday"),
        filtered_by("unknown", "eq", "a"),
        {
            "query": json.dumps(
                {"filters": [{"field": "tags", "operator": "eq", "value": "a"}] * 2}
            )
        },
        {"query": '{"order_by": [{"field": "fqdn", "order": "asc"}]}'},
        {"page": "0"},
        {"limit": "-1"},
        {"limit": "many"},
        {"limit": ""},
    ],
)
async def test_an_invalid_query_gets_400(query: dict[str, str]) -> None:
    async with plain(Simulator()) as api:
        status, answer = await api("GET", "/v1/deployments", **query)

    assert status == 400
    assert answer["message"]


BULK: list[tuple[list[tuple[str, str, list[Any]]], list[int]]] = [
    ([("request_id", "any", [0, 3])], [0, 3]),
    ([("request_id", "all", [0])], [0]),
    ([("request_id", "all", [0, 1])], []),
    ([("request_id", "not", [0, 1])], [2, 3]),
    ([("deployment_tags", "any", ["n0", "n1"])], [0, 1]),
    ([("deployment_tags", "all", ["n0", "even"])], [0]),
    ([("deployment_tags", "not", ["even"])], [1, 3]),
    ([("deployment_tags", "any", ["even"]), ("request_id", "any", [0, 1])], [0]),
    ([], [0, 1, 2, 3]),
]


@pytest.mark.measured
@pytest.mark.parametrize(("asked", "expected"), BULK)
async def test_a_bulk_stop_stops_deployments_that_match_all_filters(
    asked: Any, expected: list[int]
) -> None:
    sim = Simulator(enforcement="off")
    async with plain(sim) as api:
        made = await deployed(api, 4)
        filters = [
            {
                "field": field,
                "filter_type": kind,
                "values": [
                    made[each] if isinstance(each, int) else each for each in values
                ],
            }
            for field, kind, values in asked
        ]
        status, answer = await api(
            "POST", "/v1/deployments/bulk-stop", {"filters": filters}
        )

    assert status == 202
    assert sorted(each["request_id"] for each in answer["processable"]) == sorted(
        made[index] for index in expected
    )
    assert sim.stopped() == {made[index] for index in expected}


async def test_a_bulk_stop_omits_stopping_deployments_and_refuses_unknown_filters() -> (
    None
):
    async with plain(Simulator()) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        filters = [
            {"field": "request_id", "values": [request_id], "filter_type": "any"}
        ]
        path = "/v1/deployments/bulk-stop"
        assert (await api("POST", path, {"filters": filters}))[1] == {
            "processable": [{"request_id": request_id}]
        }
        assert (await api("POST", path, {"filters": filters}))[1] == {"processable": []}
        assert (
            await api("POST", path, {"filters": [{**filters[0], "field": "fqdn"}]})
        )[0] == 400
        assert (
            await api(
                "POST", path, {"filters": [{**filters[0], "filter_type": "some"}]}
            )
        )[0] == 400


def seconds_for_a_list_by_id(deployments: int) -> float:
    """Return the shortest time of five for 40 lists of the same 200 IDs."""
    world = World(WorldOptions(), 0, Clock(datetime.now(UTC)))
    body = DeployRequest("my-app", "v1", ("75.28.35.192",), tags=("all",))
    made = [world.deploy(body, index / 1000).request_id for index in range(deployments)]
    few = ListQuery(
        (
            ListFilter("status", "eq", "ready"),
            ListFilter("request_id", "in", made[:200]),
        )
    )

    def once() -> float:
        began = time.perf_counter()
        assert all(world.page(few, 1, 100, 60.0).total == 200 for _ in range(40))
        return time.perf_counter() - began

    return min(once() for _ in range(5))


@pytest.mark.full
@pytest.mark.slow
def test_a_list_by_id_does_not_scan_twenty_thousand_deployments() -> None:
    # A full scan would take fifty times as long.
    assert seconds_for_a_list_by_id(20_000) < 5 * seconds_for_a_list_by_id(200)


async def test_an_ended_deployment_never_appears_again() -> None:
    async with plain(Simulator()) as api:
        request_id = await api.deploy(tags=["blue"])
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(1)
        assert await api.listed(("tags", "eq", "blue")) == []
        await asyncio.sleep(48 * 3600)
        other = await api.deploy(tags=["blue"])
        assert await api.listed(("tags", "eq", "blue")) == await api.listed() == [other]
