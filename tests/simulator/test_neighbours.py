"""An organization in which others run servers too, and the moment at which one of ours
is ready.
"""

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
from edgegap_async.simulator.http import bodies as answers
from edgegap_async.simulator.world.clock import Clock
from edgegap_async.simulator.world.world import Choices, World

MANY = 20_000
DAY = 24 * 3600


async def test_others_make_lists_long_and_are_older_than_ours() -> None:
    sim = Simulator(others=250, ready_after=(1, 1), enforcement="off")
    async with plain(sim) as api:
        mine = await api.deploy()
        await asyncio.sleep(2)
        page = await api.get("/v1/deployments", limit="100")
        assert (page["total_count"], page["pagination"]["paginator"]["num_pages"]) == (
            251,
            3,
        )
        assert page["data"][0]["request_id"] == mine
        starts = [row["start_time"] for row in page["data"]]
        assert starts == sorted(starts, reverse=True)
        assert all(row["ready"] for row in page["data"])
        assert len({row["public_ip"] for row in page["data"]}) == 100
        theirs = page["data"][1]["request_id"]
        assert await api.state(theirs) == "READY"
        assert await api.listed(
            ("status", "eq", "ready"), ("request_id", "in", [mine, theirs])
        ) == [mine, theirs]
        ours_only = [
            {"field": "application", "operator": "eq", "value": DEPLOY["application"]}
        ]
        assert (
            await api.get("/v1/deployments", query=json.dumps({"filters": ours_only}))
        )["total_count"] == 1


async def test_others_have_no_end_of_their_own() -> None:
    async with plain(Simulator(others=5)) as api:
        mine = await api.deploy()
        await asyncio.sleep(3 * DAY)
        assert mine not in await api.listed()
        assert len(await api.listed(("status", "eq", "ready"))) == 5


async def test_others_are_not_counted_as_ours_but_who_stops_them_is_seen() -> None:
    sim = Simulator(others=50, stop_takes=1)
    async with plain(sim) as api:
        mine = await api.deploy()
        await asyncio.sleep(10)
        assert sim.deployed() == (mine,)
        assert sim.running() == {mine}
        theirs = (await api.listed())[1]
        assert sim.settled_at(theirs) is not None
        await api("DELETE", f"/v1/stop/{mine}")
        await api("DELETE", f"/v1/stop/{theirs}")
        await asyncio.sleep(0.5)
        assert await api.state(theirs) == "TERMINATING"
        await asyncio.sleep(1)
        assert (await api("GET", f"/v1/status/{theirs}"))[0] == 404
        assert (await api.get("/v1/deployments"))["total_count"] == 49

    assert sim.stopped() == {mine, theirs}
    # by their arrival
    assert sim.counts()["stopped"] == [theirs, mine]
    assert sim.running() == set()


async def test_what_is_deployed_is_the_same_with_and_without_others() -> None:
    async def told(others: int) -> list[dict[str, object]]:
        async with plain(Simulator(seed=3, others=others, error_share=0.5)) as api:
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

    assert await told(0) == await told(300)


def test_others_are_a_number() -> None:
    with pytest.raises(
        ValueError, match="others must be a number of deployments, not -1"
    ):
        Simulator(others=-1)
    result = CliRunner().invoke(program, ["simulate", "--others", "-1"])
    assert result.exit_code == 2
    assert "--others" in result.stderr


def crowded(others: int) -> tuple[World, Clock]:
    clock = Clock(datetime.now(UTC))
    return World(Choices(others=others), 0, clock), clock


def seconds_for_a_page(others: int) -> float:
    """The time that ten pages of 100 take without a filter, undisturbed, to what goes
    onto the wire.
    """
    world, clock = crowded(others)

    def once() -> float:
        began = time.perf_counter()
        for number in range(1, 11):
            assert (
                len(
                    list(
                        answers.page(
                            world.page(ListQuery(), number, 100, 60.0), 60.0, clock
                        ).values()
                    )
                )
                == 4
            )
        return time.perf_counter() - began

    return min(once() for _ in range(5))


def test_a_page_of_twenty_thousand_costs_little_more_than_one_of_a_thousand() -> None:
    # To test each of them, or to sort them, would take ten times as long.
    assert seconds_for_a_page(MANY) < 3 * seconds_for_a_page(1000)


def test_twenty_thousand_are_made_in_a_moment_and_found_by_their_ids() -> None:
    began = time.perf_counter()
    world, _ = crowded(MANY)
    assert time.perf_counter() - began < 2
    some = [it.request_id for it in world.page(ListQuery(), 7, 100, 60.0).items]
    query = ListQuery(
        (ListFilter("status", "eq", "ready"), ListFilter("request_id", "in", some))
    )
    assert [it.request_id for it in world.page(query, 1, 100, 60.0).items] == some


async def test_the_moment_at_which_one_is_ready_is_told_from_then_on() -> None:
    sim, loop = Simulator(ready_after=(3, 3)), asyncio.get_running_loop()
    async with plain(sim) as api:
        before = loop.time()
        request_id = await api.deploy()
        after = loop.time()
        await asyncio.sleep(2.9)
        assert sim.settled_at(request_id) is None
        await asyncio.sleep(0.2)
        moment = sim.settled_at(request_id)
        assert moment is not None
        assert before + 3 <= moment <= after + 3
        assert await api.state(request_id) == "READY"
        await api("DELETE", f"/v1/stop/{request_id}")
        late = await api.deploy()
        with pytest.raises(LookupError):
            sim.settled_at("unknown")
    await asyncio.sleep(60)
    assert sim.settled_at(request_id) == moment
    # it was not ready when the simulator ended
    assert sim.settled_at(late) is None


async def test_an_error_has_its_moment_too() -> None:
    sim = Simulator(
        ready_after=(3, 3), faults=Fault.script("deploy", "422"), error_share=1
    )
    async with plain(sim) as api:
        status, answer = await api("POST", "/v2/deployments", DEPLOY)
        assert status == 422
        at_once = sim.settled_at(answer["request_id"])
        later = await api.deploy()
        await asyncio.sleep(3)
        assert at_once is not None
        assert sim.settled_at(later) == pytest.approx(at_once + 3, abs=0.01)
