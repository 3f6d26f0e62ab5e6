"""`reap` lists or stops the servers with given tags, whether or not the filter of the
list works.
"""

import asyncio
import random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.owning import PLAYERS, deploy, forgotten, owning

from edgegap_async import EdgegapSession, Limits
from edgegap_async.errors import (
    Conflict,
    DeadlineExceeded,
    EdgegapError,
    Incomplete,
    ServerError,
    Unauthorized,
)
from edgegap_async.simulator import Fault, Simulator

UNRELIABLE_FILTERS = [[], ["filters-ignored"], ["filters-refused"], ["filters-empty"]]
FAULTS = [
    [Fault("list", kind, fields=fields) for kind in kinds]
    for kinds in UNRELIABLE_FILTERS
    for fields in ((), ("tags",))
][1:]


def filters(*faults: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "faults",
        faults,
        ids=lambda faults: (
            f"{faults[0].kind}-{len(faults[0].fields)}" if faults else "sound"
        ),
    )


unreliable_filters = filters(*FAULTS)


async def started(edgegap: EdgegapSession, **tags: int) -> dict[str, set[str]]:
    """Deploy so many servers with each tag and return their request IDs."""
    found: dict[str, set[str]] = {tag: set() for tag in tags}
    for tag, count in tags.items():
        for _ in range(count):
            found[tag].add((await deploy(edgegap, tags=[tag], once=False)).request_id)
    return found


@unreliable_filters
async def test_a_dry_run_lists_and_stops_nothing(faults: list[Fault]) -> None:
    async with owning(faults) as (edgegap, sim):
        ids = await started(edgegap, a=3, b=2, c=4)
        for wanted in (["a"], ["a", "c"], ["b", "none"], ("none",)):
            rows = await edgegap.deployments.reap(wanted, dry_run=True)
            expected = set[str]().union(*(ids.get(tag, set()) for tag in wanted))
            assert {row.request_id for row in rows} == expected
            assert len(rows) == len(expected)
            assert all({*row.tags} & {*wanted} for row in rows)
        assert sim.stopped() == set()


@unreliable_filters
async def test_only_servers_with_the_tags_are_stopped(
    faults: list[Fault],
) -> None:
    async with owning(faults) as (edgegap, sim):
        ids = await started(edgegap, a=3, b=2)
        rows = await edgegap.deployments.reap(["a"])
        assert {row.request_id for row in rows} == ids["a"] == sim.stopped()
        await asyncio.sleep(10)
        assert sim.running() == ids["b"]
        assert await edgegap.deployments.reap(["a"]) == ()


async def test_servers_left_by_a_crash_are_found_by_the_tags_of_on_intent() -> None:
    intents: list[str] = []
    async with Simulator(delay_after=(5.0, 5.0)) as sim:
        async with EdgegapSession(
            "t", base_url=sim.url, on_intent=intents.append, cleanup_timeout=0
        ) as dies:
            calls = [asyncio.ensure_future(deploy(dies)) for _ in range(8)]
            await asyncio.sleep(1)
        await asyncio.wait(calls)
        assert all(call.exception() for call in calls)
        assert len(forgotten(sim)) == 8
        async with EdgegapSession("t", base_url=sim.url) as edgegap:
            assert len(await edgegap.deployments.reap(intents)) == 8
        assert forgotten(sim) == set()


@pytest.mark.full
@pytest.mark.slow
@filters(
    FAULTS[0],
    *(pytest.param(faults, marks=pytest.mark.full) for faults in FAULTS[1:]),
)
async def test_reap_finds_every_server_on_many_pages_and_under_many_tags(
    faults: list[Fault],
) -> None:
    options: dict[str, Any] = {"enforcement": "off", "max_page_size": 100}
    async with owning(faults, options=options, limits=None) as (edgegap, sim):
        calls = (
            deploy(
                edgegap,
                tags=[f"tag-of-some-length-{n % 400}"],
                once=False,
                timeout=None,
            )
            for n in range(800)
        )
        await asyncio.gather(*calls)
        tags = [f"tag-of-some-length-{n}" for n in range(400)]
        assert len(await edgegap.deployments.reap(tags, dry_run=True)) == 800
        assert len(await edgegap.deployments.reap(tags[:200], dry_run=True)) == 400
        assert sim.stopped() == set()


@pytest.mark.full
@pytest.mark.slow
async def test_an_incomplete_list_is_an_error() -> None:
    """A list with more pages than a sweep reads must not pass for a complete one."""
    options: dict[str, Any] = {"enforcement": "off", "max_page_size": 5}
    async with owning(Fault("list", "filters-empty"), options=options) as (edgegap, _):
        old = await started(edgegap, old=1)
        await asyncio.gather(
            *(deploy(edgegap, once=False, timeout=None) for _ in range(230))
        )
        try:
            rows = await edgegap.deployments.reap(["old"])
        except EdgegapError:
            return
        assert {row.request_id for row in rows} == old["old"]


@pytest.mark.parametrize(
    "wrong", [[], (), "tag", [""], ["a", 5], None, {"a": 1}.values()]
)
async def test_invalid_tags_stop_nothing(wrong: Any) -> None:
    async with owning() as (edgegap, sim):
        await started(edgegap, a=1)
        with pytest.raises(ValueError, match="tags"):
            await edgegap.deployments.reap(wrong)
        assert sim.arrivals("list") == 0
        assert sim.stopped() == set()


async def test_dry_run_must_be_a_bool() -> None:
    async with owning() as (edgegap, sim):
        await started(edgegap, a=1)
        with pytest.raises(ValueError, match="dry_run"):
            await edgegap.deployments.reap(["a"], dry_run=None)
        assert sim.stopped() == set()


async def test_a_failing_list_is_an_error() -> None:
    async with owning(Fault("list", "503-before")) as (edgegap, _):
        with pytest.raises(ServerError):
            await edgegap.deployments.reap(["a"])


class RefusingServer:
    """Lists five servers, and refuses to stop the first of them."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.stopped: list[str] = []

    async def listed(self, _: web.Request) -> web.Response:
        rows = [{"request_id": f"c{number}", "tags": ["a"]} for number in range(5)]
        return web.json_response({"data": rows})

    async def told(self, request: web.Request) -> web.Response:
        return web.json_response({**request.match_info, "tags": ["a"]})

    async def stop(self, request: web.Request) -> web.Response:
        if request.match_info["request_id"] == "c0":
            return web.json_response({"message": "no"}, status=self.status)
        await asyncio.sleep(1)
        self.stopped.append(request.match_info["request_id"])
        return web.json_response({})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/deployments", self.listed)
        app.router.add_get("/v1/status/{request_id}", self.told)
        app.router.add_delete("/v1/stop/{request_id}", self.stop)
        return app


@pytest.mark.measured
@pytest.mark.parametrize(
    ("status", "error", "least", "most"),
    [(401, Unauthorized, 5, 10), (409, Conflict, 60, 80), (503, ServerError, 60, 80)],
)
async def test_a_stop_that_is_refused_is_named_and_delays_no_other(
    status: int, error: type[EdgegapError], least: float, most: float
) -> None:
    refusing = RefusingServer(status)
    loop = asyncio.get_running_loop()
    async with (
        TestServer(refusing.app()) as server,
        EdgegapSession("t", base_url=str(server.make_url(""))) as edgegap,
    ):
        began = loop.time()
        wrong = rf"1 of 5 were not stopped: c0 .*{status}"
        with pytest.raises(Incomplete, match=wrong) as got:
            await edgegap.deployments.reap(["a"])
        assert least <= loop.time() - began < most
        assert sorted(refusing.stopped) == ["c1", "c2", "c3", "c4"]
        assert [row.request_id for row in got.value.stopped] == ["c1", "c2", "c3", "c4"]
        assert isinstance(got.value.not_stopped["c0"], error)


@pytest.mark.parametrize(
    "kind", ["cut-after", "500-before", "502-after", "429", "hang-before"]
)
async def test_transient_failures_of_stops_are_retried(kind: str) -> None:
    async with owning(Fault("stop", kind, times=6)) as (edgegap, sim):
        ids = await started(edgegap, a=4)
        await edgegap.deployments.reap(["a"])
        assert sim.stopped() == ids["a"]


async def test_deployments_of_private_fleets_are_reaped() -> None:
    async with owning() as (edgegap, sim):
        it = await edgegap.private_fleets.deploy(
            "game", "1", users=PLAYERS, private_host_ids=["h"]
        )
        assert it.once_tag
        await edgegap.deployments.reap([it.once_tag])
        assert sim.stopped() == {it.request_id}


@pytest.mark.parametrize("longest", [6000, 1500, 400])
@pytest.mark.parametrize("alphabet", ["plain", "é ü/\U0001f600"])
async def test_more_tags_than_fit_into_a_url_are_asked_for_in_parts(
    longest: int, alphabet: str
) -> None:
    options = {"longest_url": longest}
    async with owning(options=options, limits=Limits(deploy=None)) as (edgegap, sim):
        tags = [f"{alphabet}{number}".ljust(40, "x") for number in range(120)]
        for tag in tags[::10]:
            await deploy(edgegap, tags=[tag], once=False)
        rows = await edgegap.deployments.reap(tags)
        assert {row.request_id for row in rows} == {*sim.deployed()} == sim.stopped()


async def test_a_single_tag_that_is_too_long_for_the_server_is_an_error() -> None:
    async with owning(options={"longest_url": 60}) as (edgegap, _):
        with pytest.raises(EdgegapError, match="414"):
            await edgegap.deployments.reap(["x" * 40])


@pytest.mark.full
@pytest.mark.slow
async def test_many_ids_that_are_in_doubt_are_confirmed_in_parts() -> None:
    """A gateway answers 404 to the stops of 300 old servers, and lists take few IDs."""
    gateway = Fault("stop", "404-text", times=300)
    options = {"longest_url": 1500, "ready_after": (0.0, 0.0)}
    async with owning(options=options, limits=Limits(deploy=None)) as (edgegap, sim):
        ids = [(await deploy(edgegap, once=False)).request_id for _ in range(300)]
        await asyncio.sleep(60)
        sim.faults = [gateway]
        stops = (edgegap.deployments.ensure_stopped(it, timeout=300) for it in ids)
        await asyncio.gather(*stops)
        assert sim.stopped() == {*ids}


@pytest.mark.measured
@pytest.mark.parametrize(
    "kind",
    [
        "odd-values",
        "slow-numbers",
        "nested-values",
        "next-missing",
        "next-text",
        "next-false",
        "total-of-page",
        *(f"tags-{how}" for how in ("missing", "empty", "first", "upper", "cut")),
        *(f"tags-{how}" for how in ("objects", "keyed", "nested", "mixed")),
    ],
)
async def test_odd_lists_hide_no_server_from_reap(kind: str) -> None:
    async with owning(Fault("list", kind)) as (edgegap, sim):
        ids = await started(edgegap, a=3, b=2)
        rows = await edgegap.deployments.reap(["a"])
        assert {row.request_id for row in rows} == ids["a"] == sim.stopped()
        assert all("a" in row.tags for row in rows)


async def test_rows_that_cannot_be_read_are_named_once_the_others_are_stopped() -> None:
    async with owning(Fault("list", "odd-rows")) as (edgegap, sim):
        ids = await started(edgegap, a=3, b=2)
        with pytest.raises(
            Incomplete, match=r"2 rows of deployments\.list could not"
        ) as got:
            await edgegap.deployments.reap(["a"])
        assert (
            {row.request_id for row in got.value.stopped} == ids["a"] == sim.stopped()
        )


@pytest.mark.parametrize("lag", [1.0, 3.0, 4.5])
async def test_servers_that_lists_show_late_are_stopped(lag: float) -> None:
    """Right after a crash, the list does not show yet what was deployed last."""
    async with owning() as (edgegap, sim):
        ids = await started(edgegap, a=3)
        sim.faults = [Fault("list", "lag", seconds=lag)]
        async with EdgegapSession("made-up", base_url=sim.url) as other:
            rows = await other.deployments.reap(["a"])
        assert {row.request_id for row in rows} == ids["a"] == sim.stopped()


@pytest.mark.slow
@pytest.mark.parametrize("page_size", [5, 20, 100])
@pytest.mark.parametrize("others", [0, 150])
async def test_every_server_of_many_pages_is_stopped(
    page_size: int, others: int
) -> None:
    """Pages shift while servers are stopped, and those of others end too."""
    options = {"enforcement": "off", "max_page_size": page_size}
    async with owning(options=options, limits=None) as (edgegap, sim):
        ids = await many(edgegap, mine=230, others=others)
        leaving = asyncio.create_task(end_slowly(edgegap, ids["others"]))
        rows = await edgegap.deployments.reap(["mine"])
        leaving.cancel()
        assert {row.request_id for row in rows} == ids["mine"]
        assert not ids["mine"] - sim.stopped()


@pytest.mark.slow
async def test_a_tag_with_nothing_under_it_costs_few_lists() -> None:
    options = {"enforcement": "off", "max_page_size": 5}
    async with owning(options=options, limits=None) as (edgegap, sim):
        await many(edgegap, others=300)
        before = sim.arrivals("list")
        assert await edgegap.deployments.reap(["nothing"]) == ()
        sweeps, lists = 7, 4
        assert sim.arrivals("list") - before <= sweeps * lists
        assert not sim.stopped()


@pytest.mark.slow
@pytest.mark.parametrize("faults", UNRELIABLE_FILTERS, ids=str)
async def test_a_filter_on_tags_is_tested_although_nobody_has_tags(
    faults: list[str],
) -> None:
    options = {"enforcement": "off", "neighbours": 500}
    async with owning(
        [Fault("list", kind) for kind in faults], options=options, limits=None
    ) as (edgegap, sim):
        ids = await many(edgegap, mine=1)
        # They are not on the first page.
        await asyncio.gather(
            *(deploy(edgegap, once=False, timeout=None) for _ in range(110))
        )
        before = sim.arrivals("list")
        rows = await edgegap.deployments.reap(["mine"])
        assert {row.request_id for row in rows} == ids["mine"]
        if not faults:
            assert sim.arrivals("list") - before < 50


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("count", [400, pytest.param(1500, marks=pytest.mark.full)])
async def test_many_servers_take_as_long_as_their_stops_need(count: int) -> None:
    options = {"enforcement": "off"}
    async with owning(options=options, limits=Limits(other=20)) as (edgegap, sim):
        ids = await many(edgegap, mine=count)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert len(await edgegap.deployments.reap(["mine"])) == count
        assert sim.stopped() == ids["mine"]
        assert loop.time() - began > 0.9 * count / 20


@pytest.mark.full
@pytest.mark.slow
async def test_a_timeout_says_what_is_missing() -> None:
    options = {"enforcement": "off"}
    async with owning(options=options, limits=Limits(other=10)) as (edgegap, sim):
        await many(edgegap, mine=200)
        with pytest.raises(Incomplete, match="of 200 were not stopped") as got:
            await edgegap.deployments.reap(["mine"], timeout=10)
        stopped = {row.request_id for row in got.value.stopped}
        assert 90 <= len(stopped) <= len(sim.stopped()) <= 110
        assert len(stopped) + len(got.value.not_stopped) == 200


async def test_a_timeout_before_anything_was_found_is_raised_as_such() -> None:
    async with owning(Fault("list", "hang-before")) as (edgegap, _):
        with pytest.raises(DeadlineExceeded):
            await edgegap.deployments.reap(["a"], timeout=3)


async def many(edgegap: EdgegapSession, **tags: int) -> dict[str, set[str]]:
    """Deploy so many servers with each tag, at once, and return their request IDs."""

    async def one(tag: str) -> tuple[str, str]:
        accepted = await deploy(edgegap, tags=[tag], once=False, timeout=None)
        return tag, accepted.request_id

    wanted = [tag for tag, count in tags.items() for _ in range(count)]
    random.Random(1).shuffle(wanted)
    found: dict[str, set[str]] = {tag: set() for tag in tags}
    for tag, request_id in await asyncio.gather(*map(one, wanted)):
        found[tag].add(request_id)
    return found


async def end_slowly(edgegap: EdgegapSession, ids: set[str]) -> None:
    for request_id in sorted(ids):
        await asyncio.sleep(0.05)
        await edgegap.deployments.stop(request_id)


@pytest.mark.parametrize("kind", ["tags-missing", "tags-null", "tags-upper"])
async def test_the_status_of_a_server_is_asked_for_once(kind: str) -> None:
    """It tells the tags that the row does not, and so confirms them, too."""
    async with owning(Fault("list", kind)) as (edgegap, sim):
        ids = await started(edgegap, a=12)
        rows = await edgegap.deployments.reap(["a"])
        assert {row.request_id for row in rows} == ids["a"] == sim.stopped()
        samples = 3
        assert sim.arrivals("status") <= 12 + samples
