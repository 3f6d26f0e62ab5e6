"""A proxy sends a deploy twice: one server is handed out, and the other one is stopped."""

import asyncio

import pytest
from support.deploy_many import requests
from support.owning import deploy, forgotten, owning, running
from support.raw_server import answer, scripted

from edgegap_async.simulator import Fault

TWICE = [
    (kind, seconds)
    for kind in ("twice-first", "twice-second", "twice-502", "twice-hang")
    for seconds in (0.0, 1.0, 3.0)
]
LATE = [
    (f"twice-late-{kind}", seconds) for kind in ("502", "hang") for seconds in (1, 3)
]
each_kind = pytest.mark.parametrize(("kind", "seconds"), [*TWICE, *LATE])


@pytest.mark.measured
@each_kind
@pytest.mark.parametrize("warm", [False, True])
async def test_a_second_server_of_a_deploy_is_stopped(
    kind: str, seconds: float, warm: bool
) -> None:
    async with owning() as (edgegap, sim):
        held = [await deploy(edgegap)] if warm else []
        sim.faults = [Fault("deploy", kind, seconds=seconds, times=1)]
        held.append(await deploy(edgegap))
        await asyncio.sleep(40)
        assert len(sim.deployed()) >= 2 + warm
        ids = [server.request_id for server in held]
        assert forgotten(sim, ids) == set()
        assert sim.running() == {*ids}
        await edgegap.aclose()
    assert edgegap.leftovers == ()


@each_kind
async def test_a_block_stops_both_servers(kind: str, seconds: float) -> None:
    async with owning(
        Fault("deploy", kind, seconds=seconds, times=1),
        options={"ready_after": (0.0, 0.0)},
    ) as (edgegap, sim):
        async with running(edgegap):
            pass
        await asyncio.sleep(40)
        assert len(sim.deployed()) == 2
        assert forgotten(sim) == set()


@each_kind
async def test_a_caller_that_leaves_leaves_neither_server(
    kind: str, seconds: float
) -> None:
    fault = Fault("deploy", kind, seconds=seconds, times=1)
    async with owning(fault, options={"delay_after": (0.5, 0.5)}) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.2)
        call.cancel()
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 2
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


async def test_closing_looks_for_second_servers_once() -> None:
    async with owning(Fault("deploy", "twice-first", seconds=0.0)) as (edgegap, sim):
        held = [(await deploy(edgegap)).request_id for _ in range(5)]
        await edgegap.aclose()
        assert forgotten(sim, held) == set()
        assert len(sim.stopped()) == 5
    assert edgegap.leftovers == ()


@pytest.mark.full
@pytest.mark.slow
async def test_forty_deploys_a_second_cost_few_lists() -> None:
    async with owning() as (edgegap, sim):
        many = edgegap.deployments.deploy_many(requests(1200), until_ready=False)
        async with many as outcomes:
            taken = [outcome async for outcome in outcomes]
        assert len(taken) == len(sim.deployed()) == 1200
        # Thirty seconds: lists that check tags, and those that measure the lag.
        assert sim.arrivals("list") <= 30
        await asyncio.sleep(20)
        idle = sim.arrivals("list")
        await asyncio.sleep(200)
        assert sim.arrivals("list") == idle


@pytest.mark.measured
@pytest.mark.parametrize("bad", ["filters-ignored", "filters-empty", "filters-refused"])
async def test_second_servers_are_found_without_a_filter(bad: str) -> None:
    faults = [
        Fault("list", bad),
        Fault("deploy", "twice-first", seconds=1.0, times=1),
    ]
    async with owning(faults) as (edgegap, sim):
        server = await deploy(edgegap)
        await asyncio.sleep(40)
        assert sim.running() == {server.request_id}
        assert len(sim.stopped()) == 1


FORMS = ["missing", "null", "empty", "first", "upper", "spaces", "cut"]
FORMS += ["objects", "keyed", "nested", "mixed"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ignored", [True, False])
async def test_second_servers_are_found_in_lists_that_do_not_tell_their_tags(
    form: str, ignored: bool
) -> None:
    lists = [Fault("list", f"tags-{form}")]
    if ignored:
        lists.append(Fault("list", "filters-ignored"))
    twice = Fault("deploy", "twice-first", seconds=0.2, times=1)
    async with owning(lists, twice) as (edgegap, sim):
        held = [await deploy(edgegap, tags=["mine"]) for _ in range(2)]
        await asyncio.sleep(120)
        assert len(sim.deployed()) == 3
        assert sim.running() == {server.request_id for server in held}
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("lag", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("late", [0.1, 1.0, 4.0])
async def test_a_second_server_whose_status_is_not_visible_yet_is_found_later(
    late: float, lag: float
) -> None:
    """Rows do not tell tags, and replicas lag."""
    faults = [
        Fault("list", "tags-missing"),
        Fault("deploy", "twice-first", seconds=late, times=1),
    ]
    async with owning(faults, options={"replica_lag": lag}) as (edgegap, sim):
        held = [await deploy(edgegap) for _ in range(2)]
        await asyncio.sleep(120)
        assert len(sim.deployed()) == 3
        assert sim.running() == {server.request_id for server in held}
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("padding", [" {}", "{}\n", "\t {} \r\n"])
async def test_a_padded_id_is_not_that_of_a_second_server(padding: str) -> None:
    """The answer pads it, and lists and statuses do not."""
    tags: list[str] = []
    lists = answer(503, "")
    acts = [answer(202, {"request_id": padding.format("c065")})]
    async with scripted(
        *acts, lists=lists, deploy_once=True, on_intent=tags.append
    ) as (edgegap, server):
        accepted = await deploy(edgegap)
        assert accepted.request_id == "c065"
        row = {"request_id": "c065", "tags": tags, "ready": True}
        server.show(answer(200, {"data": [row], "total_count": 1}))
        await asyncio.sleep(120)
        assert {it.method for it in server.arrivals} == {"POST", "GET"}
