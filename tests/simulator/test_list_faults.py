"""Lists that lag, and filters that are ignored, refused or match nothing."""

import asyncio
import json
from typing import Any

import pytest
from support.plain_client import Plain, plain

from edgegap_async.simulator import Fault, Simulator

LAG = Fault("list", "lag", seconds=2)


async def rows(api: Plain, *filters: tuple[str, str, Any]) -> list[tuple[str, bool]]:
    asked = [
        dict(zip(("field", "operator", "value"), each, strict=True)) for each in filters
    ]
    page = await api.get("/v1/deployments", query=json.dumps({"filters": asked}))
    assert page["total_count"] == len(page["data"])
    return [(row["request_id"], row["ready"]) for row in page["data"]]


async def test_a_lagging_list_shows_an_earlier_state() -> None:
    sim = Simulator(ready_after=(3, 3), stop_takes=0.5, faults=[LAG])
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["once"])
        by_tag, ready, not_ready = (
            ("tags", "in", ["once"]),
            ("status", "eq", "ready"),
            ("status", "neq", "ready"),
        )
        await asyncio.sleep(1.9)
        assert (
            await rows(api)
            == await rows(api, by_tag)
            == await rows(api, not_ready)
            == []
        )
        await asyncio.sleep(0.2)
        assert (
            await rows(api)
            == await rows(api, by_tag)
            == await rows(api, not_ready)
            == [(request_id, False)]
        )
        assert await rows(api, ("status", "eq", "initializing")) == [
            (request_id, False)
        ]
        # It has been READY for almost two seconds.
        await asyncio.sleep(2.8)
        assert await api.state(request_id) == "READY"
        assert await rows(api) == [(request_id, False)]
        assert await rows(api, ready) == []
        await asyncio.sleep(0.2)
        assert await rows(api) == await rows(api, ready, by_tag) == [(request_id, True)]

        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(1.9)
        assert sim.running() == set()
        assert (
            await rows(api)
            == await rows(api, ready)
            == await rows(api, by_tag)
            == [(request_id, True)]
        )
        await asyncio.sleep(0.2)
        assert (
            await rows(api, ("status", "eq", "terminating"))
            == await rows(api)
            == [(request_id, False)]
        )
        await asyncio.sleep(0.5)
        assert await rows(api) == await rows(api, by_tag) == []
    assert sim.faulted()["lag"] == sim.arrivals("list")


async def test_a_lagging_list_shows_ended_deployments_in_order() -> None:
    sim = Simulator(ready_after=(0, 0), stop_takes=0, enforcement="off", faults=[LAG])
    async with plain(sim) as api:
        made = [
            await api.deploy(tags=["even" if number % 2 == 0 else "odd"])
            for number in range(6)
        ]
        await asyncio.sleep(60)
        await api("DELETE", f"/v1/stop/{made[0]}")
        await asyncio.sleep(60)
        for each in made[4:2:-1]:
            await api("DELETE", f"/v1/stop/{each}")
        brief = await api.deploy(tags=["odd"])
        await api("DELETE", f"/v1/stop/{brief}")
        await asyncio.sleep(1)
        assert await api.listed() == [made[index] for index in (5, 4, 3, 2, 1)]
        assert await api.listed(("tags", "eq", "odd")) == [
            made[index] for index in (5, 3, 1)
        ]
        assert await api.listed(limit="2", page="2") == [
            made[index] for index in (3, 2)
        ]
        sim.faults = ()
        assert await api.listed() == [made[index] for index in (5, 2, 1)]
        sim.faults = [LAG]
        await asyncio.sleep(1.5)
        assert await api.listed() == [made[index] for index in (5, 2, 1)]


async def filtered(api: Plain, fields: list[str], made: list[str]) -> int | list[str]:
    """List with filters on these fields that match the first deployment; return its
    rows, or the status of an error.
    """
    values = {
        "tags": ("eq", "n0"),
        "request_id": ("in", made[:1]),
        "version": ("eq", "v0"),
    }
    keys = ("field", "operator", "value")
    filters = [
        dict(zip(keys, (field, *values[field]), strict=True)) for field in fields
    ]
    status, answer = await api(
        "GET", "/v1/deployments", query=json.dumps({"filters": filters})
    )
    if status != 200:
        assert "not supported" in answer["message"]
        return status
    return [row["request_id"] for row in answer["data"]]


@pytest.mark.parametrize(
    ("kind", "first"), [("ignored", None), ("refused", 400), ("empty", [])]
)
async def test_filters_can_be_ignored_refused_or_match_nothing(
    kind: str, first: Any
) -> None:
    sim = Simulator(enforcement="off")
    async with plain(sim) as api:
        made = [
            await api.deploy(tags=[f"n{number}"], version=f"v{number}")
            for number in range(3)
        ]
        one, every = made[:1], made[::-1]
        wrong = every if kind == "ignored" else first
        sim.faults = [Fault("list", f"filters-{kind}", fields=("tags",))]
        assert await filtered(api, ["tags"], made) == wrong
        assert (
            await filtered(api, ["request_id"], made)
            == await filtered(api, ["version"], made)
            == one
        )
        assert await filtered(api, ["tags", "request_id"], made) == (
            one if kind == "ignored" else wrong
        )
        assert await filtered(api, [], made) == every
        assert sim.faulted() == {f"filters-{kind}": 2}
        sim.faults = [Fault("list", f"filters-{kind}")]
        for fields in (["tags"], ["request_id"], ["version"], ["tags", "version"]):
            assert await filtered(api, fields, made) == wrong
        assert await filtered(api, [], made) == every
    assert sim.faulted() == {f"filters-{kind}": 6}


async def test_lag_wrong_filters_and_errors_combine() -> None:
    empty = Fault("list", "filters-empty", fields=("tags",))
    sim = Simulator(
        faults=[LAG, empty, Fault("list", "500-before", 0.4)], enforcement="off"
    )
    async with plain(sim) as api:
        await api.deploy(tags=["n0"])
        await asyncio.sleep(1)
        statuses = [(await api("GET", "/v1/deployments"))[0] for _ in range(50)]
        assert 10 <= statuses.count(500) == sim.faulted()["500-before"] <= 30
        assert statuses.count(200) == sim.faulted()["lag"] == 50 - statuses.count(500)
        sim.faults = sim.faults[:2]
        assert await api.listed() == []
        await asyncio.sleep(2)
        assert len(await api.listed()) == 1
        assert await api.listed(("tags", "eq", "n0")) == []
