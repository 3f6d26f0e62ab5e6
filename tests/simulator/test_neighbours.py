"""Deployments of neighbours, and the time at which a deployment is READY or ERROR."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from support.plain_client import DEPLOY, plain

from edgegap_async.cli.program import program
from edgegap_async.models.paging import ListFilter, ListQuery
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.http import bodies
from edgegap_async.simulator.world.clock import Clock
from edgegap_async.simulator.world.options import WorldOptions
from edgegap_async.simulator.world.world import World

MANY = 20_000
DAY = 24 * 3600


async def test_neighbours_are_listed_and_older_than_own_deployments() -> None:
    sim = Simulator(neighbours=250, ready_after=(1, 1), enforcement="off")
    async with plain(sim) as api:
        own = await api.deploy()
        await asyncio.sleep(2)
        page = await api.get("/v1/deployments", limit="100")
        assert (page["total_count"], page["pagination"]["paginator"]["num_pages"]) == (
            251,
            3,
        )
        assert page["data"][0]["request_id"] == own
        starts = [row["start_time"] for row in page["data"]]
        assert starts == sorted(starts, reverse=True)
        assert all(row["ready"] for row in page["data"])
        assert len({row["public_ip"] for row in page["data"]}) == 100
        neighbour = page["data"][1]["request_id"]
        assert await api.state(neighbour) == "READY"
        assert await api.listed(
            ("status", "eq", "ready"), ("request_id", "in", [own, neighbour])
        ) == [own, neighbour]
        ours_only = [
            {"field": "application", "operator": "eq", "value": DEPLOY["application"]}
        ]
        assert (
            await api.get("/v1/deployments", query=json.dumps({"filters": ours_only}))
        )["total_count"] == 1


async def test_neighbours_never_end_by_themselves() -> None:
    async with plain(Simulator(neighbours=5)) as api:
        own = await api.deploy()
        await asyncio.sleep(3 * DAY)
        assert own not in await api.listed()
        assert len(await api.listed(("status", "eq", "ready"))) == 5


async def test_neighbours_count_as_stopped_but_not_as_deployed_or_running() -> None:
    sim = Simulator(neighbours=50, stop_takes=1)
    async with plain(sim) as api:
        own = await api.deploy()
        await asyncio.sleep(10)
        assert sim.deployed() == (own,)
        assert sim.running() == {own}
        neighbour = (await api.listed())[1]
        assert sim.ready_or_failed_at(neighbour) is not None
        await api("DELETE", f"/v1/stop/{own}")
        await api("DELETE", f"/v1/stop/{neighbour}")
        await asyncio.sleep(0.5)
        assert await api.state(neighbour) == "TERMINATING"
        await asyncio.sleep(1)
        assert (await api("GET", f"/v1/status/{neighbour}"))[0] == 404
        assert (await api.get("/v1/deployments"))["total_count"] == 49

    assert sim.stopped() == {own, neighbour}
    assert sim.counts()["stopped"] == 2
    assert sim.running() == set()


async def test_own_deployments_are_the_same_with_and_without_neighbours() -> None:
    async def statuses(neighbours: int) -> list[dict[str, object]]:
        async with plain(
            Simulator(seed=3, neighbours=neighbours, error_share=0.5)
        ) as api:
            made = [await api.deploy() for _ in range(20)]
            await asyncio.sleep(10)
            kept = (
                "request_id",
                "public_ip",
                "current_status",
                "error_detail",
                "location",
            )
            answers = [await api.get(f"/v1/status/{each}") for each in made]
            return [{key: answer[key] for key in kept} for answer in answers]

    assert await statuses(0) == await statuses(300)


def test_neighbours_must_be_a_number_from_zero() -> None:
    with pytest.raises(
        ValueError, match="neighbours must be a number of deployments, not -1"
    ):
        Simulator(neighbours=-1)
    result = CliRunner().invoke(program, ["simulate", "--neighbours", "-1"])
    assert result.exit_code == 2
    assert "--neighbours" in result.stderr


def world_with(neighbours: int) -> tuple[World, Clock]:
    clock = Clock(datetime.now(UTC))
    return World(WorldOptions(neighbours=neighbours), 0, clock), clock


def seconds_for_a_page(neighbours: int) -> float:
    """Return the shortest time of five for ten pages of 100 without a filter,
    including their bodies.
    """
    world, clock = world_with(neighbours)

    def once() -> float:
        began = time.perf_counter()
        for number in range(1, 11):
            page = world.page(ListQuery(), number, 100, 60.0)
            rows = [bodies.row(it, 60.0, clock) for it in page.items]
            assert len(bodies.page(page, rows)) == 4
        return time.perf_counter() - began

    return min(once() for _ in range(5))


@pytest.mark.full
@pytest.mark.slow
def test_a_page_of_twenty_thousand_costs_little_more_than_of_a_thousand() -> None:
    # A scan or a sort would take ten times as long.
    assert seconds_for_a_page(MANY) < 3 * seconds_for_a_page(1000)


@pytest.mark.full
@pytest.mark.slow
def test_twenty_thousand_neighbours_are_created_fast_and_found_by_id() -> None:
    began = time.process_time()
    world, _ = world_with(MANY)
    assert time.process_time() - began < 2
    some = [it.request_id for it in world.page(ListQuery(), 7, 100, 60.0).items]
    query = ListQuery(
        (ListFilter("status", "eq", "ready"), ListFilter("request_id", "in", some))
    )
    assert [it.request_id for it in world.page(query, 1, 100, 60.0).items] == some


async def test_ready_or_failed_at_is_known_once_a_deployment_is_ready() -> None:
    sim, loop = Simulator(ready_after=(3, 3)), asyncio.get_running_loop()
    async with plain(sim) as api:
        before = loop.time()
        request_id = await api.deploy()
        after = loop.time()
        await asyncio.sleep(2.9)
        assert sim.ready_or_failed_at(request_id) is None
        await asyncio.sleep(0.2)
        ready_at = sim.ready_or_failed_at(request_id)
        assert ready_at is not None
        assert before + 3 <= ready_at <= after + 3
        assert await api.state(request_id) == "READY"
        await api("DELETE", f"/v1/stop/{request_id}")
        late = await api.deploy()
        with pytest.raises(LookupError):
            sim.ready_or_failed_at("unknown")
    await asyncio.sleep(60)
    assert sim.ready_or_failed_at(request_id) == ready_at
    # It was not READY when the simulator ended.
    assert sim.ready_or_failed_at(late) is None


async def test_ready_or_failed_at_is_known_for_errors_too() -> None:
    sim = Simulator(
        ready_after=(3, 3), faults=Fault.script("deploy", "422"), error_share=1
    )
    async with plain(sim) as api:
        status, answer = await api("POST", "/v2/deployments", DEPLOY)
        assert status == 422
        at_once = sim.ready_or_failed_at(answer["request_id"])
        later = await api.deploy()
        await asyncio.sleep(3)
        assert at_once is not None
        assert sim.ready_or_failed_at(later) == pytest.approx(at_once + 3, abs=0.01)
