"""Webhooks of deploys whose outcome is unknown: an orphaned server is stopped, a
claimed one is not.
"""

import asyncio
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import SteppingLoop, deploy, forgotten, owning
from support.raw_server import failure
from support.turns import chosen_turns
from support.webhook_samples import SECRET, receiver
from support.webhook_session import (
    NEVER_READY,
    NO_POLLS,
    body,
    current_outcome,
    hooked,
    send_webhook,
    served,
)

from edgegap_async import (
    DeploymentTerminated,
    DeployOutcomeUnknown,
    EdgegapSession,
    ReadyDeployment,
)
from edgegap_async.simulator import Fault
from edgegap_async.webhooks import WebhookEvent, parse

# With this fault, no search by tag finds a server.
NO_SEARCH = Fault("list", "503-before")


def late_deploy(seconds: float) -> Fault:
    """Return a fault: a deploy has no answer, and its server starts so much later."""
    return Fault("deploy", "processed-late", seconds=seconds, times=1)


@pytest.mark.parametrize("after", [1.0, 8.0, 30.0, 250.0])
async def test_a_webhook_of_an_orphaned_server_stops_that_server(
    after: float,
) -> None:
    async with hooked(late_deploy(after), NO_SEARCH) as (edgegap, sim, _):
        began = now()
        unknown = await failure(deploy(edgegap, timeout=None))
        assert isinstance(unknown, DeployOutcomeUnknown)
        # The server is ready after three seconds.
        await asyncio.sleep(max(began + after + 3 - now(), 0) + 1)
        assert sim.stopped() == {*sim.deployed()}
        assert len(sim.deployed()) == 1
    assert edgegap.leftovers == ()


async def test_a_server_that_was_found_is_not_orphaned() -> None:
    async with hooked(
        Fault("deploy", "cut-after", times=1), options={"ready_after": (0.0, 0.0)}
    ) as (edgegap, sim, _):
        accepted = await deploy(edgegap)
        assert sim.webhooks()["answered"] == 1
        sim.faults = NO_POLLS
        assert isinstance(
            await current_outcome(edgegap, accepted.request_id), ReadyDeployment
        )
        assert (sim.running(), sim.stopped()) == ({accepted.request_id}, frozenset())


async def test_after_a_redeploy_only_the_orphan_is_stopped() -> None:
    async with hooked(late_deploy(20.0)) as (edgegap, sim, _):
        accepted = await deploy(edgegap)
        assert sim.deployed() == (accepted.request_id,)
        sim.faults = [NO_SEARCH]
        await asyncio.sleep(30)
        assert sim.running() == {accepted.request_id}
        assert len(sim.stopped()) == 1


@pytest.mark.parametrize("foreign", ["of another tag", "of a claimed server"])
async def test_a_webhook_with_a_foreign_id_stops_nothing(
    foreign: str,
) -> None:
    tags: list[str] = []
    async with hooked(NO_SEARCH, on_intent=tags.append, options=NEVER_READY) as (
        edgegap,
        sim,
        hooks,
    ):
        server = (await deploy(edgegap)).request_id
        async with EdgegapSession("another", base_url=sim.url) as other:
            theirs = (await deploy(other)).request_id
        sim.faults = [late_deploy(40.0), NO_SEARCH]
        await failure(deploy(edgegap))
        if foreign == "of a claimed server":
            await send_webhook(hooks, "ready", tags[1], server)
        else:
            await send_webhook(
                hooks, "ready", tags[1], theirs, tags=["once-0123456789abcde"]
            )
        await asyncio.sleep(10)
        assert sim.stopped() == frozenset()
        # By now, the orphaned server exists.
        await asyncio.sleep(20)
        await send_webhook(
            hooks, "error", tags[1], sim.deployed()[-1], tags=["ranked", tags[1]]
        )
        await asyncio.sleep(1)
        assert sim.stopped() == {sim.deployed()[-1]}
        assert sim.tags_of(sim.deployed()[-1]) == (tags[1],)


@pytest.mark.parametrize("seconds", [1.0, 40.0])
async def test_a_replayed_ready_webhook_does_not_revive_a_server(
    seconds: float,
) -> None:
    tags: list[str] = []
    async with hooked(on_intent=tags.append, options={"ready_after": (1.0, 1.0)}) as (
        edgegap,
        sim,
        hooks,
    ):
        server = (await deploy(edgegap)).request_id
        await edgegap.deployments.wait_until_ready(server)
        await asyncio.sleep(60)
        async with EdgegapSession("another", base_url=sim.url) as another:
            await another.deployments.ensure_stopped(server, wait=True)
        await asyncio.sleep(seconds)
        await send_webhook(hooks, "ready", tags[0], server)
        outcome = await failure(edgegap.deployments.wait_until_ready(server))
        assert isinstance(outcome, DeploymentTerminated)


async def test_a_webhook_after_the_quarantine_stops_nothing() -> None:
    tags: list[str] = []
    async with hooked(
        late_deploy(400.0), on_intent=tags.append, options=NEVER_READY
    ) as (
        edgegap,
        sim,
        hooks,
    ):
        accepted = await deploy(edgegap)
        # Others may have found this server by its tag since.
        await asyncio.sleep(410)
        late = sim.deployed()[1]
        await send_webhook(hooks, "ready", tags[0], late)
        await asyncio.sleep(10)
        assert sim.stopped() == frozenset()
        assert sim.running() == {accepted.request_id, late}


async def test_a_webhook_of_an_orphan_can_be_passed_on() -> None:
    tags: list[str] = []
    # No server listens at this URL.
    options = {
        "on_intent": tags.append,
        "webhooks": receiver("http://127.0.0.1:9/hooks"),
    }
    async with (
        served(SECRET) as theirs,
        owning(late_deploy(30.0), NO_SEARCH, **options) as (edgegap, sim),
    ):
        await failure(deploy(edgegap))
        await asyncio.sleep(20)
        event = await send_webhook(theirs, "ready", tags[0], *sim.deployed())
        assert sim.stopped() == frozenset()
        edgegap.deployments.notify(event)
        await asyncio.sleep(1)
        assert sim.stopped() == {*sim.deployed()}


async def test_the_server_of_a_cancelled_caller_is_stopped_despite_webhooks() -> None:
    options = {"ready_after": (0.0, 0.0), "delay_after": (5.0, 5.0)}
    async with hooked(options=options) as (edgegap, sim, _):
        deploying = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(2)
        deploying.cancel()
        await asyncio.wait([deploying])
        await asyncio.sleep(15)
        assert sim.stopped() == {*sim.deployed()}
    assert edgegap.leftovers == ()


async def act_in_turn(
    turn: int, request_id: str, action: str, faults: tuple[Fault, ...]
) -> bool:
    """Deploy, and pass a webhook in a turn of the loop.

    Args:
        turn: the turn.
        request_id: the deployment that the simulator will start.
        action: what else happens in that turn: "nothing", "cancel" or "close".
        faults: the faults of the simulator.

    Returns:
        Whether the deploy had ended before that turn.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    tags: list[str] = []
    session: dict[str, Any] = {"on_intent": tags.append, "webhooks": receiver()}
    async with owning(faults, options=NEVER_READY, **session) as (edgegap, sim):
        closing: list[asyncio.Task[None]] = []
        notified: list[str] = []
        task = asyncio.ensure_future(deploy(edgegap))

        def act() -> None:
            notified.extend(tags)
            if tags:
                edgegap.deployments.notify(
                    WebhookEvent("ready", tags[-1], request_id, parse(body(request_id)))
                )
            if action == "cancel":
                task.cancel()
            elif action == "close":
                closing.append(loop.create_task(edgegap.aclose()))

        dues: dict[int, Any] = {turn: act}
        loop.begin(dues)
        await asyncio.wait([task])
        over, held = turn in dues, []
        dues.clear()
        if not task.cancelled() and task.exception() is None:
            held = [task.result().request_id]
        if held and notified and not closing:
            sim.faults = NO_POLLS
            assert isinstance(
                await current_outcome(edgegap, held[0]), ReadyDeployment
            ), turn
        sim.faults = ()
        await asyncio.gather(*closing)
        if not closing:
            await asyncio.sleep(10)
        assert forgotten(sim, held) == set(), turn
        await edgegap.aclose()
        assert edgegap.leftovers == (), turn
    return over


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [(), (Fault("deploy", "cut-after", times=1),)], ids=["answered", "lost"]
)
@pytest.mark.parametrize("action", ["nothing", "cancel", "close"])
def test_a_webhook_in_any_turn_of_a_deploy_is_handled(
    action: str, faults: tuple[Fault, ...]
) -> None:
    async def first() -> str:
        async with owning(options=NEVER_READY) as (edgegap, _):
            return str((await deploy(edgegap)).request_id)

    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        # With the same seed, the simulator gives the same request_id each time.
        request_id = runner.run(first())
        turns = next(
            turn
            for turn in chosen_turns(2000)
            if runner.run(act_in_turn(turn, request_id, action, faults))
        )
    assert turns > 10
