"""Webhooks made by hand: out of order, forged, broken or for another session. Few of
them are kept.
"""

import asyncio
import gc
import json
import sys
import weakref
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.owning import deploy, owning
from support.raw_server import Act, answer, failure, scripted
from support.webhook_samples import SECRET, path, receiver
from support.webhook_session import (
    ADDRESS,
    NEVER_READY,
    NO_POLLS,
    STATES,
    body,
    current_outcome,
    hooked,
    late,
    new_deployment,
    send_webhook,
    served,
    start,
)

from edgegap_async import EdgegapSession, ReadyDeployment
from edgegap_async.errors import (
    DeploymentFailed,
    DeploymentTerminated,
    SessionClosed,
    WrongLoop,
)
from edgegap_async.simulator import Fault
from edgegap_async.webhooks import LONGEST_BODY


@pytest.mark.parametrize("waits_before", [True, False], ids=["waiting", "later"])
@pytest.mark.parametrize(
    ("events", "end"),
    [
        (["ready"], ReadyDeployment),
        (["ready", "ready"], ReadyDeployment),
        (["error"], DeploymentFailed),
        (["terminated"], DeploymentTerminated),
    ],
)
async def test_each_event_resolves_its_waiters(
    events: list[str], end: type, waits_before: bool
) -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        waiting = (
            asyncio.ensure_future(edgegap.deployments.wait_until_ready(request_id))
            if waits_before
            else None
        )
        await asyncio.sleep(1)
        for event in events:
            await send_webhook(
                hooks,
                event,
                nonce,
                request_id,
                error_detail="Pull image timeout exceeded",
            )
        outcome = (
            (await asyncio.gather(waiting, return_exceptions=True))[0]
            if waiting
            else None
        )
        outcome = outcome or await current_outcome(edgegap, request_id)
        assert type(outcome) is end
        if isinstance(outcome, DeploymentFailed):
            assert outcome.detail == "Pull image timeout exceeded"
        if isinstance(outcome, ReadyDeployment):
            assert outcome.address("web") == (ADDRESS["fqdn"], 31000)


@pytest.mark.parametrize("end", ["error", "terminated"])
@pytest.mark.parametrize("after", [0.0, 29.0, 31.0, 500.0])
async def test_a_ready_webhook_after_the_end_is_ignored(end: str, after: float) -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        await send_webhook(hooks, end, nonce, request_id)
        await asyncio.sleep(after)
        waiting = asyncio.ensure_future(current_outcome(edgegap, request_id))
        await asyncio.sleep(0)
        await send_webhook(hooks, "ready", nonce, request_id)
        assert not isinstance(await waiting, ReadyDeployment)
        assert not isinstance(
            await current_outcome(edgegap, request_id), ReadyDeployment
        )


@pytest.mark.full
@pytest.mark.slow
async def test_a_terminated_webhook_never_expires() -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        await send_webhook(hooks, "terminated", nonce, request_id)
        await asyncio.sleep(3600)
        assert isinstance(
            await current_outcome(edgegap, request_id), DeploymentTerminated
        )


@pytest.mark.parametrize("order", ["before the stop", "after the stop"])
async def test_a_ready_webhook_of_a_stopped_server_is_ignored(
    order: str,
) -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        if order == "before the stop":
            await send_webhook(hooks, "ready", nonce, request_id)
        await edgegap.deployments.ensure_stopped(request_id)
        if order == "after the stop":
            await send_webhook(hooks, "ready", nonce, request_id)
        assert await current_outcome(edgegap, request_id) is None
        await send_webhook(hooks, "terminated", nonce, request_id)
        assert isinstance(
            await current_outcome(edgegap, request_id), DeploymentTerminated
        )


async def test_a_ready_webhook_of_a_gone_server_is_ignored() -> None:
    async with hooked(
        Fault("webhook", "lost"), options={"ready_after": (1.0, 1.0)}
    ) as (edgegap, sim, hooks):
        nonce, request_id = await new_deployment(edgegap)
        async with EdgegapSession("another", base_url=sim.url) as other:
            await other.deployments.ensure_stopped(request_id, wait=True)
        assert isinstance(
            await failure(edgegap.deployments.wait_until_ready(request_id)),
            DeploymentTerminated,
        )
        sim.faults = NO_POLLS
        await send_webhook(hooks, "ready", nonce, request_id)
        assert not isinstance(
            await current_outcome(edgegap, request_id), ReadyDeployment
        )


@pytest.mark.parametrize("event", ["ready", "error"])
@pytest.mark.parametrize(
    "state", ["READY", "ERROR", "DEPLOYING", "TERMINATED", "NEW_WORD"]
)
async def test_a_body_that_contradicts_its_url_leads_to_a_poll(
    event: str, state: str
) -> None:
    if STATES[event] == state:
        return
    async with hooked(options={"ready_after": (5.0, 5.0)}) as (edgegap, sim, hooks):
        # This deployment shows that webhooks arrive, and how long a start takes.
        await start(edgegap)
        nonce, request_id = await new_deployment(edgegap)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(request_id)
        )
        await asyncio.sleep(1)
        sim.faults = [Fault("webhook", "lost")]
        before = sim.arrivals("status")
        await send_webhook(hooks, event, nonce, request_id, state)
        await asyncio.sleep(0.1)
        assert sim.arrivals("status") == before + 1
        assert (await waiting).request_id == request_id
        # The outcome was true then.
        assert late(sim, request_id) < 3.1


@pytest.mark.parametrize(
    "missing", [{"fqdn": None, "public_ip": ""}, {"ports": None}, {"ports": {}}]
)
async def test_a_ready_webhook_without_an_address_leads_to_a_poll(
    missing: dict[str, Any],
) -> None:
    async with hooked(options={"ready_after": (0.5, 0.5)}) as (edgegap, sim, hooks):
        sim.faults = [Fault("webhook", "lost"), *NO_POLLS]
        nonce, request_id = await new_deployment(edgegap)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(request_id)
        )
        await asyncio.sleep(2)
        sim.faults = [Fault("webhook", "lost")]
        await send_webhook(hooks, "ready", nonce, request_id, **missing)
        server = await waiting
        assert server.fqdn != ADDRESS["fqdn"]
        assert server.address("web")


async def test_a_second_ready_webhook_with_an_address_resolves_a_waiter() -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        await send_webhook(hooks, "ready", nonce, request_id, ports=None)
        assert await current_outcome(edgegap, request_id) is None
        await send_webhook(hooks, "ready", nonce, request_id)
        assert isinstance(await current_outcome(edgegap, request_id), ReadyDeployment)


@pytest.mark.parametrize("event", ["ready", "error"])
@pytest.mark.parametrize("waits_before", [True, False], ids=["waiting", "later"])
async def test_only_a_terminated_webhook_resolves_a_wait_for_the_end(
    event: str, waits_before: bool
) -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        if not waits_before:
            await send_webhook(hooks, event, nonce, request_id)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_stopped(request_id)
        )
        await asyncio.sleep(1)
        await send_webhook(hooks, event, nonce, request_id)
        await asyncio.sleep(5)
        assert not waiting.done()
        await send_webhook(hooks, "terminated", nonce, request_id)
        await waiting


@pytest.mark.parametrize(
    "what",
    [
        "signature",
        "secret",
        "event",
        "nonce",
        "long",
        "json",
        "utf-8",
        "no id",
        "empty",
        "another id",
    ],
)
async def test_a_webhook_that_fails_verification_is_ignored(what: str) -> None:
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        waiting = asyncio.ensure_future(
            edgegap.deployments.wait_until_ready(request_id)
        )
        good, ready = path(hooks, "ready", nonce), body(request_id)
        where, brought = {
            "signature": (good[:-1] + ("0" if good[-1] != "0" else "1"), ready),
            "secret": (
                path(receiver("http://127.0.0.1/hooks", None), "ready", nonce),
                ready,
            ),
            "event": (good.replace("/ready/", "/error/"), ready),
            "nonce": (
                good.replace(nonce, nonce[:-1] + ("0" if nonce[-1] != "0" else "1")),
                ready,
            ),
            "long": (good, ready + b" " * (2 * LONGEST_BODY - len(ready))),
            "json": (good, ready[:-1]),
            "utf-8": (good, ready.replace(request_id.encode(), b"c0\xff5")),
            "no id": (good, b'{"current_status": "Status.READY"}'),
            "empty": (good, b""),
            "another id": (good, body("another")),
        }[what]
        event = await hooks.handle(where, brought)
        assert (event is None) == (what != "another id")
        await asyncio.sleep(5)
        assert not waiting.done()
        assert await current_outcome(edgegap, "another") is None
        # The valid webhook is still accepted.
        await send_webhook(hooks, "ready", nonce, request_id)
        assert (await waiting).request_id == request_id


async def test_an_early_webhook_of_another_deployment_is_ignored() -> None:
    nonces: list[str] = []
    options = {**NEVER_READY, "delay_after": (5.0, 5.0)}
    async with hooked(*NO_POLLS, options=options, on_intent=nonces.append) as (
        edgegap,
        _,
        hooks,
    ):
        deploying = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(2)
        for number in range(20):
            await send_webhook(hooks, "ready", nonces[0], f"another-{number}")
        accepted = await deploying
        assert await current_outcome(edgegap, accepted.request_id) is None
        assert await current_outcome(edgegap, "another-1") is None
        await send_webhook(hooks, "ready", nonces[0], accepted.request_id)
        assert isinstance(
            await current_outcome(edgegap, accepted.request_id), ReadyDeployment
        )


async def test_notify_passes_a_webhook_on_to_another_process() -> None:
    async with (
        hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, sim, _),
        served(SECRET) as mine,
        served(SECRET) as theirs,
        EdgegapSession("made-up", base_url=sim.url, webhooks=mine) as one,
        EdgegapSession("made-up", base_url=sim.url, webhooks=theirs) as two,
    ):
        nonce, request_id = await new_deployment(one)
        waiting = [
            asyncio.ensure_future(each.deployments.wait_until_ready(request_id))
            for each in (one, two, edgegap)
        ]
        await asyncio.sleep(1)
        # The load balancer chose the other process.
        event = await send_webhook(theirs, "ready", nonce, request_id)
        await asyncio.sleep(5)
        assert not any(wait.done() for wait in waiting)
        for session in (one, two, edgegap):
            session.deployments.notify(event)
        assert (await waiting[0]).request_id == request_id
        await asyncio.sleep(5)
        # These sessions did not make that deploy.
        assert not any(wait.done() for wait in waiting[1:])
        for wait in waiting[1:]:
            wait.cancel()
        await asyncio.wait(waiting)


async def test_notify_refuses_anything_but_an_event() -> None:
    async with hooked(options=NEVER_READY) as (edgegap, _, hooks):
        nonce, request_id = await new_deployment(edgegap)
        event = await send_webhook(hooks, "ready", nonce, request_id)
        with pytest.raises(ValueError, match="event"):
            edgegap.deployments.notify("ready")  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(edgegap.deployments.notify, event)
        await edgegap.aclose()
        with pytest.raises(SessionClosed):
            edgegap.deployments.notify(event)


def test_notify_on_another_loop_is_refused() -> None:
    async def events() -> None:
        async with hooked(options=NEVER_READY) as (edgegap, _, hooks):
            nonce, request_id = await new_deployment(edgegap)
            event = await send_webhook(hooks, "terminated", nonce, request_id)
            waiting = asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(request_id)
            )

            async def elsewhere() -> None:
                edgegap.deployments.notify(event)

            def run() -> None:
                with pytest.raises(WrongLoop):
                    asyncio.run(elsewhere())

            await asyncio.to_thread(run)
            assert isinstance(await failure(waiting), DeploymentTerminated)

    asyncio.run(events())


async def test_a_receiver_neither_calls_nor_holds_a_closed_session() -> None:
    async with served() as hooks:
        async with owning(options=NEVER_READY, webhooks=hooks) as (edgegap, _):
            nonce, request_id = await new_deployment(edgegap)
            waiting = asyncio.ensure_future(
                edgegap.deployments.wait_until_ready(request_id)
            )
            await asyncio.sleep(1)
            await edgegap.aclose()
            await send_webhook(hooks, "ready", nonce, request_id)
            assert isinstance(await failure(waiting), SessionClosed)
        gone = weakref.ref(edgegap._deploys)
        del edgegap, waiting
        await asyncio.sleep(100)
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(
    "end",
    [answer(400, {"message": "no such version"}), answer(422, {"message": "no room"})],
)
async def test_webhooks_of_a_failed_deploy_are_not_kept(once: bool, end: Act) -> None:
    hooks = receiver()
    async with scripted(end.later(5.0), webhooks=hooks) as (edgegap, server):
        deploying = asyncio.ensure_future(deploy(edgegap, once=once))
        await asyncio.sleep(2)
        url = json.loads(server.arrivals[0].body)["webhook_on_ready"]["url"]
        event = await send_webhook(hooks, "ready", url.split("/")[-2], "c065")
        kept = sys.getrefcount(event)
        await failure(deploying)
        await asyncio.sleep(0)
        assert sys.getrefcount(event) == kept - 1
        # A late webhook is not kept either.
        assert await hooks.handle(urlsplit(url).path, body("c065")) == event
        assert sys.getrefcount(event) == kept - 1


async def test_only_a_few_early_webhooks_are_kept() -> None:
    nonces: list[str] = []
    options = {**NEVER_READY, "seed": 1, "delay_after": (5.0, 5.0)}
    async with hooked(*NO_POLLS, options=options, on_intent=nonces.append) as (
        edgegap,
        sim,
        hooks,
    ):
        for last in (True, False):
            deploying = asyncio.ensure_future(deploy(edgegap))
            await asyncio.sleep(2)
            others = [f"another-{number}" for number in range(20)]
            for request_id in (
                [*others, sim.deployed()[-1]] if last else [sim.deployed()[-1], *others]
            ):
                await send_webhook(hooks, "ready", nonces[-1], request_id)
            outcome = await current_outcome(edgegap, (await deploying).request_id)
            assert isinstance(outcome, ReadyDeployment) == last


async def test_a_bounded_number_of_records_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgegap_async._records.records.MOST_RECORDS", 3)
    async with hooked(*NO_POLLS, options=NEVER_READY) as (edgegap, _, hooks):
        servers = [await new_deployment(edgegap) for _ in range(6)]
        for nonce, request_id in servers:
            await send_webhook(hooks, "ready", nonce, request_id)
        # The latest comes first, because a waiter of an old one takes the place of
        # another record.
        known = [
            isinstance(await current_outcome(edgegap, request_id), ReadyDeployment)
            for _, request_id in reversed(servers)
        ]
        assert known == [True] * 3 + [False] * 3


async def test_deployments_that_are_no_longer_kept_are_polled_as_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgegap_async._records.records.MOST_RECORDS", 1)
    async with hooked(options=NEVER_READY) as (edgegap, sim, hooks):
        (_, first), (nonce, second) = [await new_deployment(edgegap) for _ in range(2)]
        # This webhook shows that webhooks arrive.
        await send_webhook(hooks, "error", nonce, second, "DEPLOYING")
        asked = []
        for request_id in (second, first):
            before = sim.arrivals("status")
            await failure(edgegap.deployments.wait_until_ready(request_id, timeout=9.5))
            asked.append(sim.arrivals("status") - before)
        assert asked[0] <= 4
        assert asked[1] > 20
