"""A caller who leaves, at whatever moment and however, leaves no server that nobody
has.
"""

import asyncio
from typing import Any

import pytest
from support.deploy_many import faulty
from support.limiter_model import now
from support.owning import (
    PLAYERS,
    at_every_turn,
    deploy,
    forgotten,
    owning,
    running,
)
from support.raw_server import ACCEPTED, Act, RawServer, answer, never_accepts, session

from edgegap_async import EdgegapSession, Limits
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    SessionClosed,
)
from edgegap_async.simulator import Fault, Simulator

AGAIN = [
    (),
    *(
        pytest.param(again, marks=pytest.mark.full)
        for again in ((1,), (3, 7), (1, 2, 3, 4, 5, 6, 7, 8))
    ),
]


def methods(server: RawServer) -> list[str]:
    return [arrival.method for arrival in server.arrivals]


async def deployed(edgegap: EdgegapSession, _: Simulator) -> str:
    return str((await deploy(edgegap)).request_id)


async def ran(edgegap: EdgegapSession, _: Simulator) -> None:
    async with running(edgegap):
        await asyncio.sleep(0)


@pytest.mark.slow
@faulty
@pytest.mark.parametrize("again", AGAIN[:2])
def test_cancelling_a_deploy_in_any_turn_leaves_no_server(
    faults: list[Fault], again: tuple[int, ...]
) -> None:
    _, turns = at_every_turn(deployed, *faults, again=again)
    assert turns > 10


@pytest.mark.slow
@faulty
@pytest.mark.parametrize("again", AGAIN)
def test_cancelling_a_block_in_any_turn_leaves_no_server(
    faults: list[Fault], again: tuple[int, ...]
) -> None:
    _, turns = at_every_turn(ran, *faults, again=again)
    assert turns > 10


@pytest.mark.slow
@faulty
@pytest.mark.parametrize("attempt", [deployed, ran])
def test_closing_in_any_turn_leaves_no_server(
    attempt: Any, faults: list[Fault]
) -> None:
    errors, _ = at_every_turn(attempt, *faults, strike="close")
    assert all(isinstance(error, EdgegapError | None) for error in errors)
    assert {type(error) for error in errors} & {SessionClosed, DeployOutcomeUnknown}


@pytest.mark.full
@pytest.mark.slow
async def test_a_cancelled_queued_deploy_starts_nothing() -> None:
    async with owning(timeout=600) as (edgegap, sim):
        calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(2000)]
        await asyncio.sleep(3.3)
        sent = len(sim.deployed())
        assert 100 < sent < 160
        held = {call.result().request_id for call in calls if call.done()}
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await asyncio.sleep(60)
        assert len(sim.deployed()) == sent
        assert forgotten(sim, held) == set()
        assert edgegap.usage()["deploy"].waiting == 0
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    "act",
    [answer(429, {"message": "no"}), answer(429, {"message": "no"}, retry_after="2")],
)
async def test_a_refused_deploy_without_a_caller_is_not_retried(act: Act) -> None:
    async with (
        RawServer(act.later(1), ACCEPTED) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        call.cancel()
        await asyncio.wait([call])
        await asyncio.sleep(30)
        assert methods(server).count("POST") == 1


async def test_an_unsent_deploy_without_a_caller_is_not_sent() -> None:
    async with (
        RawServer(ACCEPTED, closed=True) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        # connections are refused, and it tries again
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait([call])
        await server.listen()
        await asyncio.sleep(60)
        assert server.arrivals == []


async def test_a_connecting_deploy_without_a_caller_gives_up() -> None:
    with never_accepts() as url:
        async with session(url, deploy_once=True) as edgegap:
            call = asyncio.ensure_future(deploy(edgegap))
            await asyncio.sleep(0.5)
            call.cancel()
            await asyncio.wait([call])
            # longer than an attempt
            await asyncio.sleep(40)
            assert edgegap.usage()["deploy"].in_flight == 0
        assert edgegap.leftovers == ()


async def test_a_cancelled_caller_returns_at_once_and_its_server_is_stopped() -> None:
    loop = asyncio.get_running_loop()
    async with owning(options={"delay_after": (3.0, 3.0)}) as (edgegap, sim):
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await deploy(edgegap)
        assert loop.time() - began == pytest.approx(1, abs=0.01)
        assert len(forgotten(sim)) == 1
        await asyncio.sleep(5)
        assert forgotten(sim) == set()


async def test_a_deadline_during_the_request_is_an_unknown_outcome() -> None:
    loop = asyncio.get_running_loop()
    async with owning(options={"delay_after": (3.0, 3.0)}) as (edgegap, sim):
        began = loop.time()
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=1)
        assert loop.time() - began == pytest.approx(1, abs=0.01)
        assert isinstance(caught.value.__cause__, DeadlineExceeded)
        assert caught.value.request_sent
        assert [caught.value.tag] == [*sim.tags_of(sim.deployed()[0])]
        await asyncio.sleep(5)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


async def test_a_deadline_in_the_queue_is_deadline_exceeded() -> None:
    async with owning(options={"enforcement": "off"}) as (edgegap, sim):
        calls = [
            asyncio.ensure_future(deploy(edgegap, timeout=1.0)) for _ in range(100)
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        held = [
            each.request_id for each in results if not isinstance(each, BaseException)
        ]
        assert {type(each) for each in results if isinstance(each, BaseException)} <= {
            DeadlineExceeded,
            *DeadlineExceeded.__subclasses__(),
        }
        await asyncio.sleep(10)
        assert (forgotten(sim, held), len(sim.deployed())) == (set(), len(held))


async def test_a_failing_task_group_leaves_no_server() -> None:
    async with owning(options={"delay_after": (0.5, 0.5)}) as (edgegap, sim):

        async def fails() -> None:
            await asyncio.sleep(0.7)
            raise ZeroDivisionError

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(30):
                    group.create_task(ran(edgegap, sim))
                group.create_task(fails())

        with pytest.raises(ExceptionGroup):
            await together()
        await asyncio.sleep(10)
        assert len(sim.deployed()) >= 10
        assert forgotten(sim) == set()


async def test_closing_stops_the_servers_of_deploys_in_flight() -> None:
    async with owning(options={"delay_after": (2.0, 2.0)}) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        await edgegap.aclose()
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await call
        assert isinstance(caught.value.__cause__, SessionClosed)
        assert (len(sim.deployed()), forgotten(sim), edgegap.leftovers) == (
            1,
            set(),
            (),
        )


async def test_closing_without_time_names_leftovers_and_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with owning(options={"delay_after": (2.0, 2.0)}, cleanup_timeout=0) as (
        edgegap,
        sim,
    ):
        held = await deploy(edgegap)
        scope = running(edgegap)
        server = await scope.__aenter__()
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        caplog.clear()
        await edgegap.aclose()
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await call
        assert {*edgegap.leftovers} == {
            (server.request_id, sim.tags_of(server.request_id)[0]),
            (None, caught.value.tag),
        }
        warnings = [
            record for record in caplog.records if record.levelname == "WARNING"
        ]
        assert len(warnings) == 1
        assert server.request_id in caplog.text
        assert str(caught.value.tag) in caplog.text
        assert held.request_id not in caplog.text
        before = edgegap.leftovers
        await edgegap.aclose()
        assert (edgegap.leftovers, len(caplog.records)) == (before, len(caplog.records))
        await scope.__aexit__(None, None, None)


async def test_a_cancelled_aclose_finishes_and_then_raises() -> None:
    async with owning(options={"delay_after": (2.0, 2.0)}) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        closing = asyncio.ensure_future(edgegap.aclose())
        for _ in range(3):
            await asyncio.sleep(0.3)
            closing.cancel()
        await asyncio.wait([closing, call])
        assert closing.cancelled()
        assert isinstance(call.exception(), DeployOutcomeUnknown)
        assert (len(sim.deployed()), forgotten(sim), edgegap.leftovers) == (
            1,
            set(),
            (),
        )


async def test_a_stop_is_retried_until_it_is_accepted() -> None:
    script = Fault.script(
        "stop",
        "500-before",
        "cut-before",
        "502-before",
        "429",
        "hang-before",
        *["503-before"] * 9,
    )
    async with owning(script, options={"delay_after": (2.0, 2.0)}) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown):
            await deploy(edgegap, timeout=1)
        await asyncio.sleep(120)
        assert (len(sim.deployed()), forgotten(sim), sim.faults) == (1, set(), ())


@pytest.mark.parametrize("kind", ["403-before", "403-after"])
async def test_a_stop_refused_by_a_firewall_is_retried(kind: str) -> None:
    async with owning(
        Fault("stop", kind, times=5), options={"delay_after": (2.0, 2.0)}
    ) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown):
            await deploy(edgegap, timeout=1)
        await asyncio.sleep(120)
        assert (len(sim.deployed()), forgotten(sim)) == (1, set())
    assert edgegap.leftovers == ()


async def test_a_stop_that_stays_forbidden_is_named_at_closing() -> None:
    forbidden = answer(403, {"message": "not yours"})
    async with (
        RawServer(ACCEPTED.later(2), forbidden) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=1)
        await asyncio.sleep(61)
        # every five seconds
        assert methods(server).count("DELETE") == 12
        began = asyncio.get_running_loop().time()
        await edgegap.aclose()
        assert asyncio.get_running_loop().time() - began == pytest.approx(8, abs=0.1)
    assert edgegap.leftovers == (("c065", caught.value.tag),)


async def test_a_stop_that_can_not_succeed_is_named_at_closing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    revoked = answer(401, {"message": "no such token"})
    async with (
        RawServer(ACCEPTED.later(2), revoked) as server,
        session(server.url, deploy_once=True) as edgegap,
    ):
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=1)
        await asyncio.sleep(20)
        assert methods(server).count("DELETE") == 1
    assert edgegap.leftovers == (("c065", caught.value.tag),)
    assert "c065" in caplog.text


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(delay_after=(0.4, 0.4), ready_after=(0.0, 0.0))
@pytest.mark.parametrize(
    "seconds",
    [0.6, *(pytest.param(it, marks=pytest.mark.full) for it in (0.2, 1.0))],
)
@pytest.mark.parametrize("attempt", [deployed, ran])
def test_a_loop_shutdown_leaves_no_unnamed_server(
    attempt: Any, seconds: float, edgegap_simulator: Simulator
) -> None:
    """`asyncio.run` cancels all tasks at once at its end: those of the session too."""
    sessions, held = [], []

    async def works() -> None:
        async with EdgegapSession("t", base_url=edgegap_simulator.url) as edgegap:
            sessions.append(edgegap)
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(one(edgegap))
                group.create_task(asyncio.sleep(100))

    async def one(edgegap: EdgegapSession) -> None:
        held.append(await attempt(edgegap, edgegap_simulator))

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(works())
        await asyncio.sleep(seconds)
        return task

    assert asyncio.run(main()).cancelled()
    named = {tag for _, tag in sessions[0].leftovers}
    lost = {
        it
        for it in forgotten(edgegap_simulator, held)
        if not {*edgegap_simulator.tags_of(it)} & named
    }
    assert lost == set()


async def test_a_caller_that_leaves_before_the_renamed_path_is_tried_starts_nothing() -> (
    None
):
    """The first path was answered 404, and the second waits for its slot."""
    async with owning(
        options={"fleet_deploy": "renamed"}, limits=Limits(deploy=1, burst=1)
    ) as (edgegap, sim):
        call = edgegap.private_fleets.deploy(
            "game", "1", users=PLAYERS, private_host_ids=["h"], timeout=None
        )
        waiting = asyncio.create_task(call)
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0.01)
        assert edgegap.usage()["deploy"].waiting == 0
        await asyncio.sleep(60)
        assert sim.deployed() == ()
        began = now()
        await edgegap.aclose()
        assert now() - began < 1
    assert edgegap.leftovers == ()
