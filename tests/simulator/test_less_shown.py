"""Lists that show less than they should: tags, filters and order that are wrong."""

import asyncio
import json
from typing import Any

import pytest
from support.plain_client import Plain, plain

from edgegap_async.simulator import Fault, Simulator

MISSING = object()


async def pages(api: Plain, size: int, **query: Any) -> list[str]:
    """Return the IDs on all pages of a list."""
    found: list[str] = []
    number, has_next = 1, True
    while has_next:
        page = await api.get(
            "/v1/deployments",
            query=json.dumps(query),
            limit=str(size),
            page=str(number),
        )
        found += [row["request_id"] for row in page["data"]]
        number, has_next = number + 1, page["pagination"]["has_next"]
    return found


async def deploy_several(api: Plain, count: int = 6) -> list[str]:
    """Deploy once a second; the tags of number 3 are n3, odd and all."""
    made = []
    for number in range(count):
        parity = ("even", "odd")[number % 2]
        made.append(await api.deploy(tags=[f"n{number}", parity, "all"]))
        await asyncio.sleep(1)
    return made


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("tags-missing", MISSING),
        ("tags-null", None),
        ("tags-text", "once-1,match-7"),
        ("tags-objects", [{"name": "once-1"}, {"name": "match-7"}]),
        ("tags-nested", [["once-1"], ["match-7"]]),
        ("tags-mixed", [None, 5, "once-1", "match-7"]),
    ],
)
async def test_rows_and_statuses_can_have_no_readable_tags(
    kind: str, shown: Any
) -> None:
    sim = Simulator(faults=[Fault("list", kind)])
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["once-1", "match-7"])
        query = json.dumps(
            {"filters": [{"field": "tags", "operator": "eq", "value": "once-1"}]}
        )
        (row,) = (await api.get("/v1/deployments", query=query))["data"]
        assert row.get("tags", MISSING) == shown
        assert row["request_id"] == request_id
        # Only the named operation is hit.
        assert (await api.get(f"/v1/status/{request_id}"))["tags"] == [
            "once-1",
            "match-7",
        ]
        sim.faults = [Fault("status", kind, times=1)]
        answer = await api.get(f"/v1/status/{request_id}")
        assert answer.get("tags", MISSING) == shown
        assert (await api.get(f"/v1/status/{request_id}"))["tags"]
        (row,) = (await api.get("/v1/deployments"))["data"]
        assert row["tags"] == ["once-1", "match-7"]
    assert sim.faulted() == {kind: 2}


@pytest.mark.parametrize("order", [[], [{"field": "created_at", "order": "desc"}]])
async def test_a_list_can_be_oldest_first_whatever_is_requested(order: Any) -> None:
    sim = Simulator(faults=[Fault("list", "order-oldest-first")])
    async with plain(sim) as api:
        made = await deploy_several(api)
        assert await pages(api, 2, order_by=order) == made
        sim.faults = ()
        assert await pages(api, 2, order_by=order) == made[::-1]


async def test_a_shuffled_list_has_the_same_order_in_every_request() -> None:
    sim = Simulator(faults=[Fault("list", "order-shuffled")], enforcement="off")
    async with plain(sim) as api:
        made = await deploy_several(api, 12)
        first = await pages(api, 5)
        assert first == await pages(api, 5) == await pages(api, 100)
        assert first not in (made, made[::-1])
        # Every deployment is on one of the pages.
        assert sorted(first) == sorted(made)


async def test_a_list_can_ignore_the_page() -> None:
    sim = Simulator(faults=[Fault("list", "first-page")], enforcement="off")
    async with plain(sim) as api:
        made = await deploy_several(api, 3)
        for number in (1, 2, 7):
            page = await api.get("/v1/deployments", page=str(number), limit="2")
            assert [row["request_id"] for row in page["data"]] == made[:0:-1]
            assert page["pagination"]["number"] == 1
            assert page["pagination"]["has_next"]
    assert sim.faulted() == {"first-page": 3}


async def test_a_list_can_ignore_filters_and_order() -> None:
    by_tag = [{"field": "tags", "operator": "in", "value": ["n3"]}]
    newest = [{"field": "created_at", "order": "desc"}]
    sim = Simulator(
        faults=[Fault("list", "filters-ignored"), Fault("list", "order-oldest-first")]
    )
    async with plain(sim) as api:
        made = await deploy_several(api)
        assert await pages(api, 100, filters=by_tag, order_by=newest) == made
    assert sim.faulted() == {"filters-ignored": 1, "order-oldest-first": 1}


async def test_an_in_filter_can_mean_all_of_its_values() -> None:
    sim = Simulator(faults=[Fault("list", "filters-all-of")], enforcement="off")
    async with plain(sim) as api:
        made = await deploy_several(api)
        odd = [made[number] for number in (5, 3, 1)]
        assert await api.listed(("tags", "in", ["n1", "n3"])) == []
        assert await api.listed(("tags", "in", ["odd", "all"])) == odd
        assert await api.listed(("tags", "in", ["n3"])) == [made[3]]
        assert await api.listed(("tags", "eq", "n3")) == [made[3]]
        assert await api.listed(("tags", "in", [])) == []
        assert await api.listed(("request_id", "in", made[:2])) == []
        assert await api.listed(("request_id", "in", made[:1])) == made[:1]
        # `nin` and other fields stay as documented.
        assert await api.listed(("tags", "nin", ["n0", "odd"])) == [made[4], made[2]]
        sim.faults = [Fault("list", "filters-all-of", fields=("tags",))]
        assert await api.listed(("request_id", "in", made[:2])) == made[1::-1]
        assert await api.listed(("tags", "in", ["n1", "n3"])) == []
        sim.faults = ()
        assert await api.listed(("tags", "in", ["n1", "n3"])) == [made[3], made[1]]


async def test_wrong_filters_order_tags_and_a_lag_combine() -> None:
    sim = Simulator(
        faults=[
            Fault("list", "lag", seconds=2.5),
            Fault("list", "filters-all-of", fields=("tags",)),
            Fault("list", "order-oldest-first"),
            Fault("list", "tags-null"),
        ]
    )
    async with plain(sim) as api:
        made = await deploy_several(api)
        both = {"field": "tags", "operator": "in", "value": ["all", "even"]}
        page = await api.get("/v1/deployments", query=json.dumps({"filters": [both]}))
        assert [(row["request_id"], row["tags"]) for row in page["data"]] == [
            (made[0], None),
            (made[2], None),
        ]


@pytest.mark.parametrize("seconds", [8, 20])
async def test_a_list_can_lag_longer_than_a_deployment_starts_up(
    seconds: float,
) -> None:
    sim = Simulator(faults=[Fault("list", "lag", seconds=seconds)])
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["once-1"])
        await asyncio.sleep(seconds - 0.1)
        assert await api.listed(("tags", "in", ["once-1"])) == []
        await asyncio.sleep(0.2)
        assert await api.listed(("tags", "in", ["once-1"])) == [request_id]


@pytest.mark.parametrize(
    ("operation", "kind", "fields", "message"),
    [
        ("list", "filters-all-of", "tags", "fields must be names"),
        ("list", "order-shuffled", ("tags",), "fields: order-shuffled takes none"),
        ("stop", "tags-null", (), "operation: tags-null can't hit deployments.stop"),
        (
            "status",
            "order-shuffled",
            (),
            "operation: order-shuffled can't hit deployments.status",
        ),
    ],
)
def test_an_invalid_argument_is_a_value_error_that_names_it(
    operation: str, kind: str, fields: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(operation, kind, fields=fields)
