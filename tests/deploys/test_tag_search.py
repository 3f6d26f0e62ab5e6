"""Whatever goes wrong with a deploy: one server is handed out or a typed error is
raised, and strays are stopped.
"""

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from support.owning import PLAYERS, QUARANTINE, deploy, forgotten, owning
from support.raw_server import ACCEPTED, CUT, CUT_IN_BODY, answer, half, session
from support.raw_server import RawServer as Server

from edgegap_async import EdgegapSession
from edgegap_async.errors import (
    AllocationFailed,
    BadRequest,
    DeployOutcomeUnknown,
    NotFound,
)
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.faults import KINDS

TAG = re.compile("once-[0-9a-f]{15}")
# these leave nothing open
ON_USED = {"dead-connection", "idle-connection"}
KNOWN = {"ok", "429", "429-seconds", "429-date", "late", "422", "odd-values"} | ON_USED
KNOWN |= {"answered-twice", "slow-numbers", "nested-values"}
SECONDS = {"429-seconds": 2.0, "429-date": 2.0, "late": 2.0, "processed-late": 2.0} | {
    "answered-twice": 0.01,
    "idle-connection": 0.0,
}
# a gateway refuses what was done (test_refusals.py)
REFUSED_ALL_THE_SAME = {"422-after", "429-after"}
# raised at once, whatever was started (test_refusals.py)
REFUSED = {"401", "403-before", "403-after", "redirect-before", "redirect-after"} | {
    name for name in KINDS if name.startswith("404-")
}
KIND = [
    name
    for name, kind in KINDS.items()
    if "deployments.deploy" in kind.operations
    and name not in {"422", *REFUSED, *REFUSED_ALL_THE_SAME}
    # These start two servers (tests/simulator/test_gateway_faults.py).
    and not name.startswith("twice-")
]
UNKNOWN = [kind for kind in KIND if kind not in KNOWN]
# the deed is done all the same
DONE = [kind for kind in UNKNOWN if not kind.endswith("-before")]
BAD_LISTS = {
    "ignored": [Fault("list", "filters-ignored")],
    "refused": [Fault("list", "filters-refused")],
    "empty": [Fault("list", "filters-empty")],
    "tags empty": [Fault("list", "filters-empty", fields=("tags",))],
    "half of it fails": [
        Fault("list", "500-before", 0.25),
        Fault("list", "cut-after", 0.25),
    ],
    "lagging": [Fault("list", "lag", seconds=3.0)],
    "lagging and ignored": [
        Fault("list", "lag", seconds=2.0),
        Fault("list", "filters-ignored"),
    ],
    "broken at first": Fault.script(
        "list", "truncated", "not-json", "empty", "hang-before", "403-before"
    ),
}


def fault(kind: str, **options: Any) -> Fault:
    return Fault("deploy", kind, seconds=SECONDS.get(kind), **options)


async def fleet_deploy(edgegap: EdgegapSession, **options: Any) -> Any:
    return await edgegap.private_fleets.deploy(
        "game", "1", users=PLAYERS, private_host_ids=["host"], **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KIND)
@pytest.mark.parametrize("fleet", [False, True], ids=["deployments", "fleets"])
@pytest.mark.parametrize("before", [0, 1], ids=["cold", "warm"])
async def test_a_deploy_under_any_fault_leaves_exactly_one_server(
    kind: str, fleet: bool, before: int
) -> None:
    row = "private_fleets.deploy" if fleet else "deploy"
    async with owning() as (edgegap, sim):
        call = fleet_deploy if fleet else deploy
        held = [await call(edgegap, timeout=120) for _ in range(before)]
        sim.faults = [Fault(row, kind, seconds=SECONDS.get(kind), times=1)]
        held.append(await call(edgegap, timeout=120))
        assert sim.faults == () or (kind in ON_USED and not before)
        await asyncio.sleep(QUARANTINE)
        assert len({each.request_id for each in held}) == len(held)
        assert {each.request_id for each in held} <= sim.running()
        assert forgotten(sim, [each.request_id for each in held]) == set()
        for each in held:
            assert TAG.fullmatch(each.once_tag)
            assert sim.tags_of(each.request_id) == (each.once_tag,)
        assert len(sim.deployed()) == len(held)
    assert edgegap.leftovers == ()


@pytest.mark.measured
@pytest.mark.parametrize("kind", DONE)
async def test_a_lost_deploy_is_found_by_its_tag_and_not_sent_again(
    kind: str,
) -> None:
    async with owning(fault(kind, times=1)) as (edgegap, sim):
        server = await deploy(edgegap, tags=["mine"], timeout=120)
        assert sim.deployed() == (server.request_id,)
        assert sim.tags_of(server.request_id) == ("mine", server.once_tag)
        assert sim.arrivals("deploy") == 1


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD_LISTS)
@pytest.mark.parametrize(
    "kind", ["cut-before", "cut-after", "processed-late", "502-after", "503-before"]
)
@pytest.mark.parametrize("others", [0, 3])
async def test_an_untrustworthy_list_never_leads_to_a_second_server(
    bad: str, kind: str, others: int
) -> None:
    async with owning(options={"seed": 3}) as (edgegap, sim):
        held = [(await deploy(edgegap, once=False)).request_id for _ in range(others)]
        sim.faults = [fault(kind, times=1), *BAD_LISTS[bad]]
        with suppress(DeployOutcomeUnknown):
            held.append((await deploy(edgegap, timeout=120)).request_id)
        await asyncio.sleep(QUARANTINE)
        assert forgotten(sim, held) == set()
        assert len(sim.deployed()) == others + 1
    assert edgegap.leftovers == ()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("late", [8.0, 60.0, 280.0])
@pytest.mark.parametrize("bad", [(), *BAD_LISTS.values()], ids=["sound", *BAD_LISTS])
async def test_a_server_that_appears_late_is_stopped(
    late: float, warm: bool, bad: tuple[Fault, ...]
) -> None:
    async with owning() as (edgegap, sim):
        held = []
        if warm:
            sim.faults = [fault("cut-after", times=1)]
            held.append((await deploy(edgegap)).request_id)
        sim.faults = [Fault("deploy", "processed-late", seconds=late, times=1), *bad]
        with suppress(DeployOutcomeUnknown):
            held.append((await deploy(edgegap, timeout=120)).request_id)
        await asyncio.sleep(late + 30)
        # it had shown a tag: it was believed
        if not (warm and any(each.kind == "filters-empty" for each in bad)):
            assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()


async def test_an_absent_deploy_is_sent_again_under_a_new_tag() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    late = Fault("deploy", "processed-late", seconds=20.0, times=1)
    async with owning(late, on_intent=told.append) as (edgegap, sim):
        began = loop.time()
        server = await deploy(edgegap, timeout=60)
        # the settle window, and the look-ups after it
        assert 5 <= loop.time() - began < 8
        assert (len(told), told[-1], len({*told})) == (2, server.once_tag, 2)
        assert sim.deployed() == (server.request_id,)
        await asyncio.sleep(30)
        stray = sim.deployed()[1]
        assert sim.tags_of(stray) == (told[0],)
        assert sim.stopped() == {stray}
    assert edgegap.leftovers == ()


async def test_closing_names_tags_in_quarantine() -> None:
    async with owning(fault("cut-after"), Fault("list", "503-before")) as (edgegap, _):
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=None)
        await edgegap.aclose()
        assert edgegap.leftovers == ((None, caught.value.tag),)


async def test_after_full_success_there_are_no_leftovers() -> None:
    async with owning(Fault("deploy", "503-before", 0.1)) as (edgegap, sim):
        servers = await asyncio.gather(
            *(deploy(edgegap, timeout=None) for _ in range(50))
        )
        assert len(sim.running()) == len(servers)
        await edgegap.aclose()
    assert edgegap.leftovers == ()


async def test_an_inconclusive_search_raises_and_sends_nothing_again() -> None:
    loop = asyncio.get_running_loop()
    async with owning(fault("cut-after"), Fault("list", "503-before")) as (
        edgegap,
        sim,
    ):
        began = loop.time()
        with pytest.raises(DeployOutcomeUnknown, match="once-") as caught:
            await deploy(edgegap, timeout=None)
        assert 15 <= loop.time() - began < 30
        assert (sim.arrivals("deploy"), [caught.value.tag]) == (
            1,
            [*sim.tags_of(sim.deployed()[0])],
        )
        sim.faults = ()
        # it stays in quarantine: as soon as a look-up tells, it is stopped
        await asyncio.sleep(20)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


async def test_without_time_for_a_redeploy_the_outcome_is_unknown() -> None:
    told: list[str] = []
    async with owning(fault("cut-before"), on_intent=told.append) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=6.5)
        assert (told, sim.arrivals("deploy"), sim.deployed()) == (
            [caught.value.tag],
            1,
            (),
        )


async def test_the_remains_of_a_failed_allocation_are_stopped() -> None:
    async with owning(fault("422")) as (edgegap, sim):
        with pytest.raises(AllocationFailed) as caught:
            await deploy(edgegap)
        error = caught.value
        assert (error.request_id, error.once_tag) == (
            sim.deployed()[0],
            sim.tags_of(sim.deployed()[0])[0],
        )
        await asyncio.sleep(5)
        assert forgotten(sim) == set()
        with pytest.raises(AllocationFailed):
            await deploy(edgegap, once=False)
        await asyncio.sleep(5)
        # without `once` it is the caller's
        assert len(forgotten(sim)) == 1
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("by", ["session", "call"])
@pytest.mark.parametrize("kind", UNKNOWN)
async def test_without_once_no_tag_is_sent_and_an_unknown_outcome_is_raised(
    kind: str, by: str
) -> None:
    whole = {"deploy_once": False} if by == "session" else {}
    each = {"once": False} if by == "call" else {}
    loop = asyncio.get_running_loop()
    async with owning(fault(kind), **whole) as (edgegap, sim):
        began = loop.time()
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, tags=["mine"], **each)
        # one attempt
        assert loop.time() - began < 31
        assert caught.value.tag is None
        assert (sim.arrivals("deploy"), sim.arrivals("list")) == (1, 0)
        await asyncio.sleep(20)
        assert all(sim.tags_of(it) == ("mine",) for it in sim.deployed())
        assert sim.stopped() == set()


async def test_once_of_a_call_overrides_the_session() -> None:
    async with owning(fault("cut-after", times=1), deploy_once=False) as (edgegap, sim):
        server = await deploy(edgegap, once=True)
        assert sim.tags_of(server.request_id) == (server.once_tag,)


async def test_on_intent_is_called_before_each_request() -> None:
    sent: list[tuple[str, int]] = []
    async with Server(CUT, ACCEPTED) as server:

        def told(tag: str) -> None:
            posts = [it for it in server.arrivals if it.method == "POST"]
            sent.append((tag, len(posts)))

        async with session(server.url, deploy_once=True, on_intent=told) as edgegap:
            await asyncio.gather(deploy(edgegap, timeout=8), return_exceptions=True)
        posts = [json.loads(it.body) for it in server.arrivals if it.method == "POST"]
    assert [number for _, number in sent] == [*range(len(sent))]
    assert [each["tags"] for each in posts] == [[tag] for tag, _ in sent]


async def test_an_error_of_on_intent_starts_nothing() -> None:
    def full(tag: str) -> None:
        raise OSError("no space left on device")

    async with owning(on_intent=full) as (edgegap, sim):
        with pytest.raises(OSError, match="no space"):
            await deploy(edgegap)
        assert sim.arrivals("deploy") == 0


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (answer(400, {"message": "no such app"}), BadRequest),
        (answer(404, "<html>"), NotFound),
    ],
)
async def test_a_refusal_is_raised_as_it_is(act: Any, error: type[Exception]) -> None:
    none = answer(200, {"data": []})
    async with (
        Server(act, lists=none) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        with pytest.raises(error):
            await deploy(edgegap)
        assert len(server.arrivals) == 1
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    "act",
    [
        CUT,
        CUT_IN_BODY,
        half(202, {"request_id": "c065"}),
        answer(202, {"request_id": ""}),
    ],
)
async def test_meaningless_answers_never_lead_to_two_servers(act: Any) -> None:
    # the lists are as broken
    async with Server(act) as server, session(server.url, deploy_once=True) as edgegap:
        with pytest.raises(DeployOutcomeUnknown):
            await deploy(edgegap, timeout=None)
        assert [it.method for it in server.arrivals].count("POST") == 1


@pytest.mark.slow
async def test_a_hundred_lost_deploys_share_one_search() -> None:
    async with owning(fault("cut-after"), options={"enforcement": "off"}) as (
        edgegap,
        sim,
    ):
        servers = await asyncio.gather(
            *(deploy(edgegap, timeout=None) for _ in range(200))
        )
        assert len({it.request_id for it in servers}) == len(sim.deployed()) == 200
        assert sim.arrivals("list") <= 40


async def test_sessions_do_not_touch_each_others_servers() -> None:
    async with (
        Simulator(faults=[Fault("deploy", "cut-after", 0.5)]) as sim,
        EdgegapSession("a", base_url=sim.url) as one,
        EdgegapSession("b", base_url=sim.url) as other,
    ):
        servers = await asyncio.gather(
            *(deploy(it, timeout=None) for it in [one, other] * 20)
        )
        assert len({it.request_id for it in servers}) == len(sim.deployed()) == 40
        assert sim.stopped() == set()
