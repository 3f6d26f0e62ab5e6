"""A deploy whose answer is lost: how it is found, behind lists that show less or later than
they should, and how long that takes.
"""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import PLAYERS, deploy, forgotten, owning, running
from support.raw_server import RawServer, answer, failure, session

from edgegap_async import EdgegapSession
from edgegap_async._deploys.tag_search import UNPROVEN_TIMEOUT
from edgegap_async._records.state import DeployRecord, DeployState
from edgegap_async.errors import (
    DeploymentTerminated,
    DeployOutcomeUnknown,
    EdgegapError,
)
from edgegap_async.simulator import Fault

LOST = [Fault("deploy", "cut-after", times=1)]
# What the lists show less.
LESS: dict[str, list[Fault]] = {
    "tags left out": [Fault("list", "tags-missing")],
    "tags null": [Fault("list", "tags-null")],
    "tags joined": [Fault("list", "tags-text")],
    **{
        f"tags {form}": [Fault("list", f"tags-{form}")]
        for form in ("empty", "first", "upper", "spaces", "cut")
    },
    **{
        f"tags {form}{', in statuses too' * both}{', no filters' * ignored}": [
            Fault("list", f"tags-{form}"),
            *[Fault("status", f"tags-{form}")] * both,
            *[Fault("list", "filters-ignored")] * ignored,
        ]
        for form in ("objects", "keyed", "nested", "mixed")
        for both in (False, True)
        for ignored in (False, True)
    },
    "no filters, tags empty": [
        Fault("list", "filters-ignored"),
        Fault("list", "tags-empty"),
    ],
    "local times, no filters, tags left out": [
        Fault("list", "times-local"),
        Fault("list", "filters-ignored"),
        Fault("list", "tags-missing"),
    ],
    "in means all of": [Fault("list", "filters-all-of")],
    "no filters": [Fault("list", "filters-ignored")],
    "no filters, oldest first": [
        Fault("list", "filters-ignored"),
        Fault("list", "order-oldest-first"),
    ],
    "no filters, shuffled": [
        Fault("list", "filters-ignored"),
        Fault("list", "order-shuffled"),
    ],
    "no filters, tags left out": [
        Fault("list", "filters-ignored"),
        Fault("list", "tags-missing"),
    ],
    "lag of 3 s": [Fault("list", "lag", seconds=3.0)],
}
# Whatever else is in these tags can't be read anywhere, so no absence can be proven.
UNPROVABLE = [name for name in LESS if "mixed, in statuses" in name]
less = pytest.mark.parametrize("faults", LESS.values(), ids=LESS)
warm = pytest.mark.parametrize("before", [0, 1, 8])


@pytest.mark.parametrize("faults", [[], [Fault("list", "filters-empty")]])
async def test_statuses_that_are_not_answered_do_not_hold_a_search_up(
    faults: list[Fault],
) -> None:
    """Lists don't tell tags, so that statuses are asked for them."""
    faults = [*faults, Fault("list", "tags-missing"), Fault("status", "hang-before")]
    options = {"neighbours": 60}
    async with owning([*faults, *LOST], options=options) as (edgegap, _):
        began = now()
        with pytest.raises(DeployOutcomeUnknown):
            await deploy(edgegap, timeout=None)
        assert now() - began < 2 * UNPROVEN_TIMEOUT


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
@less
@warm
@pytest.mark.parametrize("neighbours", [0, 150])
async def test_a_lost_deploy_is_found_in_lists_that_show_less(
    faults: list[Fault], before: int, neighbours: int
) -> None:
    async with owning(faults, options={"neighbours": neighbours}) as (edgegap, sim):
        held = [(await deploy(edgegap)).request_id for _ in range(before)]
        await asyncio.sleep(20 if before else 0)
        sim.faults = [*faults, *LOST]
        server = await deploy(edgegap, tags=["mine"])
        await asyncio.sleep(60)
        assert len(sim.deployed()) == before + 1
        assert sim.running() == {*held, server.request_id}
    assert edgegap.leftovers == ()


@pytest.mark.slow
@less
async def test_a_deploy_that_started_nothing_is_sent_again_behind_such_lists(
    faults: list[Fault],
) -> None:
    async with owning(options={"neighbours": 20}) as (edgegap, sim):
        sim.faults = [*faults, Fault("deploy", "cut-before", times=1)]
        if faults in [LESS[name] for name in UNPROVABLE]:
            assert isinstance(await failure(deploy(edgegap)), DeployOutcomeUnknown)
            assert sim.deployed() == ()
            return
        server = await deploy(edgegap, timeout=120)
        assert sim.deployed() == (server.request_id,)


@pytest.mark.parametrize("lag", [8.0, 20.0])
async def test_the_search_window_follows_the_lag_of_the_lists(lag: float) -> None:
    async with owning(Fault("list", "lag", seconds=lag)) as (edgegap, sim):
        held = [(await deploy(edgegap)).request_id]
        await asyncio.sleep(lag + 20)
        sim.faults = [Fault("list", "lag", seconds=lag), *LOST]
        held.append((await deploy(edgegap, timeout=120)).request_id)
        # Nothing was paid for twice.
        assert len(sim.deployed()) == 2
        assert sim.running() == {*held}


async def test_the_lag_is_measured_to_half_a_second() -> None:
    """The window is twice the lag and a second."""
    lists = Fault("list", "lag", seconds=3.0)
    async with owning(lists) as (edgegap, sim):
        await deploy(edgegap)
        await asyncio.sleep(20)
        sim.faults = [lists, Fault("deploy", "503-before", times=1)]
        began = now()
        await deploy(edgegap)
        assert 7 <= now() - began < 9


@pytest.mark.parametrize("lag", [8.0, 20.0])
async def test_a_server_that_is_listed_late_is_stopped(lag: float) -> None:
    """The first deploy of a session, so that no lag is known."""
    async with owning(Fault("list", "lag", seconds=lag), LOST) as (edgegap, sim):
        held = []
        with suppress(DeployOutcomeUnknown):
            held.append((await deploy(edgegap, timeout=120)).request_id)
        await asyncio.sleep(120)
        assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        # The operation was done.
        ("502-after", 0.0, 0.1),
        ("cut-after", 0.0, 0.1),
        ("408-after", 0.0, 0.1),
        # Found beside the request, after 3 s.
        ("hang-after", 3.0, 3.2),
        # It was not done.
        ("502-before", 5.0, 6.0),
        ("cut-before", 5.0, 6.0),
    ],
)
async def test_recovery_is_quick_without_a_lag(
    kind: str, least: float, most: float
) -> None:
    async with owning(Fault("deploy", kind, times=1)) as (edgegap, _):
        began = now()
        await deploy(edgegap)
        assert least <= now() - began < most


@pytest.mark.parametrize("kind", ["503-before", "cut-before"])
async def test_recovery_is_quicker_once_the_lag_is_known(kind: str) -> None:
    async with owning() as (edgegap, sim):
        await deploy(edgegap)
        await asyncio.sleep(10)
        sim.faults = [Fault("deploy", kind, times=1)]
        began = now()
        await deploy(edgegap, timeout=5)
        assert now() - began < 3.5


async def test_a_caller_that_gives_up_starts_the_search_at_once() -> None:
    async with owning(Fault("deploy", "hang-after")) as (edgegap, sim):
        error = await failure(deploy(edgegap, timeout=2))
        assert isinstance(error, DeployOutcomeUnknown)
        await asyncio.sleep(1)
        assert len(sim.deployed()) == 1
        assert forgotten(sim) == set()
        began = now()
        await edgegap.aclose()
        assert now() - began < 0.5
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("kind", ["hang-after", "hang-before"])
async def test_closing_searches_while_a_deploy_has_no_answer(kind: str) -> None:
    async with owning(Fault("deploy", kind)) as (edgegap, sim):
        calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(5)]
        await asyncio.sleep(1)
        began = now()
        await edgegap.aclose()
        assert now() - began < 8
        for call in calls:
            assert isinstance(call.exception(), DeployOutcomeUnknown)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


async def unknown_server(edgegap: EdgegapSession, sim: Any) -> tuple[str, str]:
    """A server that only a list shows: the outcome of its deploy is unknown."""
    sim.faults = [*LOST, Fault("list", "503-before")]
    error = await failure(deploy(edgegap, timeout=None))
    assert isinstance(error, DeployOutcomeUnknown)
    assert error.tag is not None
    assert error.tag in str(error)
    (request_id,) = sim.deployed()
    return request_id, error.tag


@pytest.mark.slow
@pytest.mark.parametrize("by", ["wait", "wait_many", "adopt"])
async def test_a_caller_that_finds_its_server_by_its_tag_has_it(by: str) -> None:
    async with owning(options={"ready_after": (100.0, 100.0)}) as (edgegap, sim):
        request_id, tag = await unknown_server(edgegap, sim)
        deployments = edgegap.deployments

        async def use() -> None:
            if by == "wait":
                await deployments.wait_until_ready(request_id)
            elif by == "wait_many":
                async with deployments.wait_many([request_id]) as outcomes:
                    await anext(outcomes)
            else:
                async with deployments.adopt(request_id) as server:
                    server.keep()

        using = asyncio.ensure_future(use())
        await asyncio.sleep(1)
        sim.faults = ()
        (found,) = [row async for row in deployments.find(tags=[tag])]
        assert found.request_id == request_id
        await using
        await asyncio.sleep(400)
        assert sim.running() == {request_id}
        assert sim.stopped() == frozenset()
    assert edgegap.leftovers == ()


async def test_an_unknown_server_that_nobody_claims_is_stopped() -> None:
    async with owning() as (edgegap, sim):
        request_id, _ = await unknown_server(edgegap, sim)
        sim.faults = ()
        await asyncio.sleep(10)
        assert sim.stopped() == {request_id}
        with pytest.raises(DeploymentTerminated):
            async with edgegap.deployments.adopt(request_id):
                pass


async def test_a_server_that_the_session_stops_can_not_be_kept() -> None:
    async with (
        owning(Fault("stop", "503-before")) as (edgegap, _),
        running(edgegap) as server,
    ):
        await edgegap.aclose()
        with pytest.raises(DeploymentTerminated, match="being stopped"):
            server.keep()


async def test_keep_after_the_block_is_an_error() -> None:
    async with owning() as (edgegap, _):
        async with running(edgegap) as server:
            pass
        with pytest.raises(DeploymentTerminated):
            server.keep()


@pytest.mark.full
@pytest.mark.slow
async def test_thousands_of_unknown_outcomes_leave_the_search_quick() -> None:
    async with owning(options={"enforcement": "off"}, limits=None) as (edgegap, sim):
        search = edgegap._deploys.background.enter()[1]
        for number in range(20_000):
            record = DeployRecord(DeployState.UNKNOWN)
            record.tag, record.sent_at = f"once-{number:015x}", now()
            search.quarantine(record.tag, record)
        sim.faults = LOST
        began = now()
        server = await deploy(edgegap)
        assert now() - began < 2
        assert sim.deployed() == (server.request_id,)
        before = sim.arrivals("list")
        await asyncio.sleep(60)
        assert sim.arrivals("list") - before <= 3 * 60
        await asyncio.sleep(600)
        assert edgegap.leftovers == ()
        before = sim.arrivals("list")
        await asyncio.sleep(60)
        assert sim.arrivals("list") == before


async def test_a_suspended_process_searches_again() -> None:
    """Time that the process did not live through does not end a search."""
    async with owning(LOST) as (edgegap, sim):
        loop: Any = asyncio.get_running_loop()
        sim.faults = [*LOST, Fault("list", "hang-before", times=1)]
        call = asyncio.ensure_future(deploy(edgegap, timeout=None))
        await asyncio.sleep(1)
        # As SIGSTOP does: the clock goes on, and nothing else.
        loop._clock.now += 60
        server = await call
        assert sim.deployed() == (server.request_id,)


@pytest.mark.parametrize("body", [None, [], {"data": "no"}])
async def test_a_deploy_behind_lists_that_are_no_lists_ends_typed(body: object) -> None:
    acts = answer(502, "<html>")
    async with (
        RawServer(acts, lists=answer(200, body)) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        error = await failure(deploy(edgegap, timeout=None))
        assert isinstance(error, EdgegapError)
        posts = [it for it in server.arrivals if it.method == "POST"]
        assert len(posts) == 1


# The search says absent, the next deploy waits, and then the server is listed.
WAITING = [
    Fault("list", "lag", seconds=8.0),
    *Fault.script("deploy", "cut-after"),
    Fault("deploy", "429-seconds", seconds=30.0),
]


async def test_a_server_that_turns_up_before_the_redeploy_is_the_answer() -> None:
    async with owning(WAITING) as (edgegap, sim):
        began = now()
        server = await deploy(edgegap, timeout=None)
        assert now() - began < 40
        assert sim.deployed() == (server.request_id,)
        await asyncio.sleep(400)
        assert sim.running() == {server.request_id}


@pytest.mark.parametrize("how", ["cancelled", "closed", "late"])
@pytest.mark.parametrize("seconds", [6.0, 8.5, 12.0])
async def test_a_caller_that_leaves_before_the_redeploy_leaves_no_server(
    how: str, seconds: float
) -> None:
    async with owning(WAITING) as (edgegap, sim):
        timeout = seconds if how == "late" else None
        call = asyncio.ensure_future(deploy(edgegap, timeout=timeout))
        await asyncio.sleep(seconds)
        if how == "cancelled":
            call.cancel()
        elif how == "closed":
            await edgegap.aclose()
        await asyncio.wait([call])
        await asyncio.sleep(60)
        if how == "closed" and seconds == 6.0:
            # It was listed after the end of the session, which names its tag.
            assert {*sim.tags_of(sim.deployed()[0])} <= {*edgegap.watched_tags}
        else:
            assert forgotten(sim) == set()


@pytest.mark.parametrize("kind", ["502-after", "hang-after", "late"])
async def test_a_caller_that_has_given_up_can_claim_its_server(kind: str) -> None:
    faults = [Fault("deploy", kind, seconds=7.0 if kind == "late" else None, times=1)]
    async with owning(faults, Fault("list", "lag", seconds=6.0)) as (edgegap, sim):
        error = await failure(deploy(edgegap, timeout=5))
        assert isinstance(error, DeployOutcomeUnknown)
        await asyncio.sleep(0.9)
        (request_id,) = sim.deployed()
        await edgegap.deployments.wait_until_ready(request_id)
        await asyncio.sleep(400)
        assert sim.running() == {request_id}


@pytest.mark.slow
@pytest.mark.parametrize("neighbours", [150, 1500])
async def test_a_burst_of_own_servers_does_not_prove_the_order(neighbours: int) -> None:
    bad = [Fault("list", "filters-ignored"), Fault("list", "order-oldest-first")]
    async with owning(bad, options={"neighbours": neighbours}) as (edgegap, sim):
        held = [(await deploy(edgegap)).request_id for _ in range(8)]
        await asyncio.sleep(60)
        sim.faults = [*bad, *LOST]
        held.append((await deploy(edgegap)).request_id)
        assert len(sim.deployed()) == 9
        await asyncio.sleep(60)
        assert sim.running() == {*held}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("bad", ["filters-ignored", "filters-empty", "503-before"])
async def test_an_idle_session_asks_for_no_lists(bad: str) -> None:
    faults = [Fault("list", bad)]
    async with owning(faults, options={"neighbours": 4500}) as (edgegap, sim):
        for _ in range(20):
            await deploy(edgegap)
        await asyncio.sleep(300)
        before = sim.arrivals("list")
        await asyncio.sleep(300)
        assert sim.arrivals("list") == before


async def test_lists_that_are_suddenly_empty_are_not_believed() -> None:
    async with owning(LOST) as (edgegap, sim):
        held = [(await deploy(edgegap)).request_id for _ in range(3)]
        await asyncio.sleep(20)
        sim.faults = [*LOST, Fault("list", "lag", seconds=1e6)]
        call = asyncio.ensure_future(deploy(edgegap, timeout=None))
        await asyncio.sleep(10)
        sim.faults = ()
        held.append((await call).request_id)
        assert sim.running() == {*held}
        assert len(sim.deployed()) == 4


async def test_adopting_a_server_that_the_session_has_stopped_fails_at_once() -> None:
    async with owning() as (edgegap, _):
        async with running(edgegap) as server:
            pass
        await edgegap.deployments.list()
        began = now()
        with pytest.raises(DeploymentTerminated):
            async with edgegap.deployments.adopt(server.request_id):
                pass
        assert now() == began


async def test_a_tag_whose_server_was_taken_over_is_not_watched() -> None:
    late = Fault("deploy", "processed-late", seconds=20.0, times=1)
    async with owning(late) as (edgegap, sim):
        await deploy(edgegap)
        for _ in range(400):
            if len(sim.deployed()) > 1:
                break
            await asyncio.sleep(0.05)
        # Before the next look at its tag.
        request_id = sim.deployed()[1]
        async with edgegap.deployments.adopt(request_id) as server:
            server.keep()
        await edgegap.aclose()
        assert edgegap.watched_tags == ()
        assert request_id in sim.running()


@pytest.mark.parametrize("lost", ["cut-after", "cut-before"])
@pytest.mark.parametrize(
    "kind", ["odd-values", "odd-rows", "next-missing", "next-text"]
)
async def test_odd_lists_never_start_a_second_server(kind: str, lost: str) -> None:
    async with owning(
        Fault.script("deploy", lost), Fault("list", kind), timeout=120
    ) as (edgegap, sim):
        try:
            held = {(await deploy(edgegap)).request_id}
        except DeployOutcomeUnknown:
            # A row without an ID may be the server.
            assert kind == "odd-rows"
            held = set()
        assert len(sim.deployed()) <= 1
        assert held <= {*sim.deployed()}
        await edgegap.aclose()
    if kind != "odd-rows":
        assert len(held) == 1


async def test_the_log_calls_a_deploy_that_is_found_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "edgegap_async")
    async with owning(LOST) as (edgegap, _):
        accepted = await deploy(edgegap)
    search, recovery = (it.getMessage() for it in caplog.records)
    tag, request_id = accepted.once_tag, accepted.request_id
    assert search.startswith(f"searching for the tag {tag}: ")
    assert "ServerDisconnectedError" in search
    assert recovery == f"recovered: the tag {tag} is that of deployment {request_id}"


async def test_the_log_names_a_deploy_that_nobody_searches_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "edgegap_async")
    async with owning(LOST) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown):
            await edgegap.deployments.deploy("game", "1", users=PLAYERS, once=False)
        await edgegap.deployments.stop(sim.deployed()[0])
    (line,) = (it.getMessage() for it in caplog.records)
    assert line.startswith("deployments.deploy failed: ")
