"""Webhooks that the simulator sends resolve waiters at once, and polling makes up for
lost ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import PLAYERS, deploy, running
from support.raw_server import failure
from support.receiving import webhook_receiver
from support.webhook_session import NO_POLLS, WAY, hooked, late, served, start

from edgegap_async import DeployRequest, EdgegapSession, ReadyDeployment
from edgegap_async.errors import DeploymentFailed, DeploymentTerminated, ReadyTimeout
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.webhooks import WebhookEvent

# Seconds between two polls while webhooks arrive.
SAFETY_NET = 3.0
Start = Callable[[EdgegapSession], Awaitable[ReadyDeployment]]


async def by_fleet(edgegap: EdgegapSession) -> ReadyDeployment:
    accepted = await edgegap.private_fleets.deploy(
        "game", "1", users=PLAYERS, private_host_ids=["host"]
    )
    return await edgegap.deployments.wait_until_ready(accepted.request_id)


async def by_running(edgegap: EdgegapSession) -> ReadyDeployment:
    async with running(edgegap) as server:
        assert isinstance(server, ReadyDeployment)
        return server


async def by_many(edgegap: EdgegapSession) -> ReadyDeployment:
    async with edgegap.deployments.deploy_many(
        [DeployRequest("game", "1", users=PLAYERS)]
    ) as outcomes:
        outcome = await anext(outcomes)
        assert isinstance(outcome.deployment, ReadyDeployment)
        return outcome.deployment


async def by_wait_many(edgegap: EdgegapSession) -> ReadyDeployment:
    accepted = await deploy(edgegap)
    async with edgegap.deployments.wait_many([accepted.request_id]) as outcomes:
        _, outcome = await anext(outcomes)
        assert isinstance(outcome, ReadyDeployment)
        return outcome


async def by_plain_deploy(edgegap: EdgegapSession) -> ReadyDeployment:
    return await start(edgegap, once=False)


@pytest.mark.parametrize(
    "way", [start, by_plain_deploy, by_fleet, by_running, by_many, by_wait_many]
)
async def test_a_webhook_resolves_a_waiter_at_once(way: Start) -> None:
    async with hooked(*NO_POLLS) as (edgegap, sim, _):
        server = await way(edgegap)
        assert late(sim, server.request_id) < WAY
        assert server.address("web")
        assert sim.webhooks()["sent"] >= 1


@pytest.mark.full
@pytest.mark.slow
async def test_a_hundred_webhooks_resolve_a_hundred_waiters() -> None:
    options = {"ready_after": (2.0, 8.0), "error_share": 0.2}
    async with hooked(*NO_POLLS, options=options) as (edgegap, sim, _):

        async def one() -> bool:
            accepted = await deploy(edgegap)
            waiting = asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(accepted.request_id)
            )
            await asyncio.wait([waiting])
            assert late(sim, accepted.request_id) < WAY
            outcome = waiting.exception() or waiting.result()
            assert isinstance(outcome, ReadyDeployment | DeploymentFailed)
            assert outcome.request_id == accepted.request_id
            return isinstance(outcome, ReadyDeployment)

        ready = sum(await asyncio.gather(*(one() for _ in range(100))))
        assert 60 < ready < 95


async def test_a_webhook_before_the_answer_of_its_deploy_resolves_a_waiter() -> None:
    options = {"ready_after": (0.0, 0.0), "delay_after": (5.0, 5.0)}
    for once in (True, False):
        async with hooked(*NO_POLLS, options=options) as (edgegap, sim, _):
            accepted = await deploy(edgegap, once=once)
            answered = now()
            assert sim.webhooks()["answered"] == 1
            await edgegap.deployments.wait_until_ready(accepted.request_id)
            assert now() - answered < WAY


async def test_a_duplicated_webhook_resolves_a_waiter_once() -> None:
    async with hooked(*NO_POLLS, Fault("webhook", "duplicated")) as (
        edgegap,
        _,
        receiver,
    ):
        events: list[WebhookEvent] = []
        receiver.listen(events.append)
        server = await start(edgegap)
        await asyncio.sleep(1)
        assert [(event.event, event.request_id) for event in events] == 2 * [
            ("ready", server.request_id)
        ]
        assert (await edgegap.deployments.wait_until_ready(server.request_id)) == server


async def test_an_error_webhook_raises_with_its_detail() -> None:
    async with hooked(*NO_POLLS, options={"error_share": 1.0}) as (edgegap, sim, _):
        accepted = await deploy(edgegap)
        failed = await failure(
            edgegap.deployments.wait_until_ready(accepted.request_id)
        )
        assert isinstance(failed, DeploymentFailed)
        assert late(sim, accepted.request_id) < WAY
        assert (failed.request_id, bool(failed.detail)) == (accepted.request_id, True)
        assert failed.status is not None


@pytest.mark.slow
async def test_a_terminated_webhook_resolves_all_waiters() -> None:
    async with hooked(*NO_POLLS, options={"ready_after": (30.0, 30.0)}) as (
        edgegap,
        sim,
        _,
    ):
        accepted = await deploy(edgegap)
        ready = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(accepted.request_id)
        )
        stopped = asyncio.ensure_future(
            edgegap.deployments.wait_until_stopped(accepted.request_id)
        )
        await asyncio.sleep(1)
        async with EdgegapSession("another", base_url=sim.url) as other:
            await other.deployments.stop(accepted.request_id)
        assert isinstance(await failure(ready), DeploymentTerminated)
        await stopped
        # A stop takes half a second.
        assert 0.5 <= late(sim, accepted.request_id) < 0.5 + WAY
        # A waiter that starts now gets the same outcome.
        assert isinstance(
            await failure(edgegap.deployments.wait_until_ready(accepted.request_id)),
            DeploymentTerminated,
        )
        await edgegap.deployments.wait_until_stopped(accepted.request_id)


async def test_a_late_ready_webhook_is_ignored() -> None:
    async with hooked(*NO_POLLS, *Fault.script("webhook", "reordered:20")) as (
        edgegap,
        sim,
        receiver,
    ):
        events: list[str] = []
        receiver.listen(lambda event: events.append(event.event))
        accepted = await deploy(edgegap)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(accepted.request_id)
        )
        await asyncio.sleep(8)
        async with EdgegapSession("another", base_url=sim.url) as other:
            await other.deployments.stop(accepted.request_id)
        assert isinstance(await failure(waiting), DeploymentTerminated)
        await asyncio.sleep(1)
        assert events == ["terminated", "ready"]
        assert isinstance(
            await failure(edgegap.deployments.wait_until_ready(accepted.request_id)),
            DeploymentTerminated,
        )


async def test_a_waiter_that_joins_later_gets_the_earlier_webhook() -> None:
    async with hooked(*NO_POLLS) as (edgegap, _, _):
        accepted = await deploy(edgegap)
        await asyncio.sleep(10)
        began = now()
        assert (
            await edgegap.deployments.wait_until_ready(accepted.request_id)
        ).request_id == accepted.request_id
        assert now() == pytest.approx(began, abs=0.001)
        # The webhook is too old by now, so only a poll can resolve a waiter.
        await asyncio.sleep(60)
        late = await failure(
            edgegap.deployments.wait_until_ready(accepted.request_id, timeout=20)
        )
        assert isinstance(late, ReadyTimeout)


async def test_polling_makes_up_for_lost_webhooks() -> None:
    async with hooked() as (edgegap, sim, _):
        # This deployment shows that webhooks arrive.
        await start(edgegap)
        sim.faults = [Fault("webhook", "lost")]
        delays = [late(sim, (await start(edgegap)).request_id) for _ in range(12)]
        assert max(delays[:5]) <= SAFETY_NET + WAY
        assert max(delays[:5]) > 0.3
        assert max(delays[5:]) < 0.3
        sim.faults = ()
        # One webhook has arrived.
        await start(edgegap)
        before = sim.arrivals("status")
        await start(edgegap)
        assert sim.arrivals("status") - before <= 1


async def cost(*faults: Fault, many: int, hooks: bool) -> tuple[int, float]:
    """Wait for many servers.

    Returns:
        How many requests it took, and by how many seconds the last outcome was late.
    """
    async with (
        served() as receiver,
        Simulator(
            ready_after=(20.0, 40.0), faults=faults, rates={"deploy": None}
        ) as sim,
        EdgegapSession(
            "made-up", base_url=sim.url, webhooks=receiver if hooks else None
        ) as edgegap,
    ):
        # The first deployments show that webhooks arrive.
        await asyncio.gather(*(deploy(edgegap) for _ in range(3)))
        await asyncio.sleep(45)
        ids = [
            each.request_id
            for each in await asyncio.gather(*(deploy(edgegap) for _ in range(many)))
        ]
        before, delays = sim.arrivals("status") + sim.arrivals("list"), []
        async with edgegap.deployments.wait_many(ids) as outcomes:
            async for request_id, outcome in outcomes:
                assert isinstance(outcome, ReadyDeployment)
                delays.append(late(sim, request_id))
        return sim.arrivals("status") + sim.arrivals("list") - before, max(delays)


@pytest.mark.slow
@pytest.mark.parametrize(
    "many",
    [1, 20, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.full])],
)
async def test_webhooks_save_most_polls(many: int) -> None:
    without, _ = await cost(many=many, hooks=False)
    with_hooks, last = await cost(many=many, hooks=True)
    assert last < WAY
    assert with_hooks <= without / 4


@pytest.mark.full
@pytest.mark.slow
async def test_polling_makes_up_for_a_lost_error_webhook_among_many_waiters() -> None:
    options = {"ready_after": (20.0, 60.0), "error_share": 0.5, "seed": 5}
    async with hooked(Fault("webhook", "lost", 0.3), options=options) as (
        edgegap,
        sim,
        _,
    ):
        ids = [
            each.request_id
            for each in await asyncio.gather(*(deploy(edgegap) for _ in range(40)))
        ]
        delays = []
        async with edgegap.deployments.wait_many(ids) as outcomes:
            async for request_id, outcome in outcomes:
                assert isinstance(outcome, ReadyDeployment | DeploymentFailed)
                delays.append(late(sim, request_id))
        assert sim.webhooks()["lost"] > 5
        # A list of READY ones, of existing ones and one of those in ERROR in turn.
        assert max(delays) < 4 * SAFETY_NET


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["filters-empty", "filters-ignored"])
async def test_polling_makes_up_for_lost_webhooks_although_lists_are_wrong(
    kind: str,
) -> None:
    faults = (
        Fault("webhook", "lost", 0.3),
        Fault("webhook", "late", 0.7, seconds=2.0),
        Fault("list", kind),
    )
    async with hooked(*faults, options={"ready_after": (20.0, 60.0), "seed": 1}) as (
        edgegap,
        sim,
        _,
    ):
        ids = [
            each.request_id
            for each in await asyncio.gather(*(deploy(edgegap) for _ in range(60)))
        ]
        async with edgegap.deployments.wait_many(ids) as outcomes:
            delays = [late(sim, request_id) async for request_id, _ in outcomes]
        assert len(delays) == 60
        assert max(delays) < 4 * SAFETY_NET


@pytest.mark.full
@pytest.mark.slow
async def test_all_servers_are_known_although_one_webhook_in_ten_is_lost() -> None:
    spent, last = await cost(Fault("webhook", "lost", 0.1), many=300, hooks=True)
    assert last < 2 * SAFETY_NET
    assert spent < 300


async def test_webhook_urls_of_the_user_are_not_replaced() -> None:
    async with hooked() as (edgegap, sim, hooks), webhook_receiver() as theirs:
        # This deployment shows that webhooks arrive.
        await start(edgegap)
        events: list[WebhookEvent] = []
        hooks.listen(events.append)
        url = theirs.fields("ready")["webhook_on_ready"]["url"]
        server = await start(edgegap, webhook_on_ready=url)
        assert late(sim, server.request_id) < 0.3
        await edgegap.deployments.stop(server.request_id)
        await asyncio.sleep(2)
        assert theirs.ids_and_events == [(server.request_id, "ready")]
        assert [(event.event, event.request_id) for event in events] == [
            ("terminated", server.request_id)
        ]


@pytest.mark.slow
async def test_waiters_are_resolved_without_any_webhook() -> None:
    async with hooked(Fault("webhook", "lost")) as (edgegap, sim, receiver):
        servers = await asyncio.gather(*(start(edgegap) for _ in range(10)))
        assert max(late(sim, server.request_id) for server in servers) < 0.5
        assert sim.webhooks()["answered"] == 0
    assert edgegap.leftovers == ()
    assert await receiver.handle("/hooks/ready/a/b", b"") is None


async def test_one_receiver_serves_two_sessions() -> None:
    async with hooked(*NO_POLLS) as (edgegap, sim, receiver):
        async with EdgegapSession(
            "another", base_url=sim.url, webhooks=receiver
        ) as other:
            one, two = await asyncio.gather(start(edgegap), start(other))
            assert one.request_id != two.request_id
        # It still serves the first session after the other one is closed.
        again = await start(edgegap)
        assert late(sim, again.request_id) < WAY


@pytest.mark.parametrize("wrong", ["x", 1, True, object(), EdgegapSession])
def test_a_wrong_webhooks_argument_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="webhooks"):
        EdgegapSession("made-up", webhooks=wrong)


@pytest.mark.slow
async def test_a_terminated_webhook_releases_capacity_at_once() -> None:
    async with hooked(options={"stop_takes": 0.5}) as (edgegap, sim, _):
        requests = [DeployRequest("game", "1", users=["203.0.113.7"])] * 2
        async with edgegap.deployments.deploy_many(requests, max_running=1) as outcomes:
            first = (await anext(outcomes)).deployment
            assert first
            async with EdgegapSession("another", base_url=sim.url) as other:
                await other.deployments.stop(first.request_id)
            began = now()
            assert (await anext(outcomes)).deployment
            # Polls would be ten seconds apart.
            assert now() - began < 0.5 + 3 + 0.5
