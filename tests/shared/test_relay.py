"""Webhooks reach the process that waits for them, whichever process gets them."""

import asyncio
import gc
import logging
import os
import sqlite3
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from support.journals import locked, until, warned_of
from support.limiter_model import now
from support.owning import deploy
from support.raw_server import failure
from support.relaying import KEY, URL, forget_published, published, relay_at, relaying
from support.stores import Valkey, valkey
from support.webhook_samples import SECRET, path
from support.webhook_session import (
    NEVER_READY,
    body,
    new_deployment,
    send_webhook,
)

from edgegap_async import EdgegapSession, ReadyDeployment, SharedState, WebhookReceiver
from edgegap_async._deploys.relay import MOST_NONCES, MOST_QUEUED, READ_IDLE, SOON
from edgegap_async._shared.relay_messages import (
    LIFETIME,
    LONGEST_MESSAGE,
    Message,
    Sealer,
)
from edgegap_async._shared.relay_store import MOST_ROWS
from edgegap_async._shared.stores import STORES
from edgegap_async._waiters.outcomes import outcome_of
from edgegap_async.errors import DeploymentFailed, DeploymentTerminated
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.webhooks import WebhookEvent


@pytest.fixture(autouse=True)
def nothing_published(request: pytest.FixtureRequest) -> None:
    for fixture in {"store_url", "one_store_url"} & {*request.fixturenames}:
        forget_published(request.getfixturevalue(fixture))


# Seconds that a waiter may wait in virtual time, which runs while a message of a real
# store is on its way.
PATIENCE = 300.0


def waiting_for(edgegap: EdgegapSession, request_id: str) -> asyncio.Future[object]:
    """A waiter for READY. No poll is answered."""
    return asyncio.ensure_future(
        edgegap.deployments.wait_until_ready(request_id, timeout=PATIENCE)
    )


async def test_a_waiter_is_woken_by_a_webhook_that_another_process_got(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        heard: list[WebhookEvent] = []
        both.hooks.listen(heard.append)
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        ready = await waiting
        assert isinstance(ready, ReadyDeployment)
        assert ready.address("web")
        await asyncio.sleep(10)
        # Once, and by nothing else.
        assert [it.kind for it in both.events if it.kind == "ready"] == ["ready"]
        assert published(store_url) == 1
        # It did not arrive here.
        assert heard == []


async def test_the_status_that_is_passed_on_is_that_of_the_webhook(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        event = await send_webhook(
            both.other_hooks, "ready", nonce, request_id, fqdn="zwölf.example"
        )
        ready = await waiting
        assert isinstance(ready, ReadyDeployment)
        assert ready == outcome_of(event.status)
        assert ready.fqdn == "zwölf.example"


@pytest.mark.parametrize(
    ("event", "end"),
    [("error", DeploymentFailed), ("terminated", DeploymentTerminated)],
)
async def test_failures_and_ends_are_passed_on_too(
    one_store_url: str, event: str, end: type[Exception]
) -> None:
    async with relaying(one_store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        await send_webhook(both.other_hooks, event, nonce, request_id)
        assert isinstance(await failure(waiting), end)


async def test_a_webhook_before_the_answer_of_its_deploy_is_passed_on(
    one_store_url: str,
) -> None:
    options = {**NEVER_READY, "delay_after": (5.0, 5.0)}
    async with relaying(one_store_url, options=options) as both:
        deploying = asyncio.ensure_future(new_deployment(both.waits))
        await asyncio.sleep(2)
        (request_id,) = both.sim.deployed()
        (tag,) = both.sim.tags_of(request_id)
        await send_webhook(both.other_hooks, "ready", tag, request_id)
        assert await deploying == (tag, request_id)
        assert isinstance(await waiting_for(both.waits, request_id), ReadyDeployment)


@pytest.mark.full
@pytest.mark.slow
async def test_a_waiter_that_begins_long_after_its_deploy_is_woken(
    one_store_url: str,
) -> None:
    async with relaying(one_store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        await asyncio.sleep(SOON + 10)
        waiting = waiting_for(both.waits, request_id)
        await asyncio.sleep(READ_IDLE)
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        assert isinstance(await waiting, ReadyDeployment)


async def test_many_waiters_are_woken_each_by_its_own_webhook(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        deployed = [await new_deployment(both.waits) for _ in range(20)]
        waiting = [waiting_for(both.waits, request_id) for _, request_id in deployed]
        for nonce, request_id in deployed:
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
        outcomes = await asyncio.gather(*waiting)
        assert [getattr(it, "request_id", None) for it in outcomes] == [
            request_id for _, request_id in deployed
        ]
        assert published(store_url) == 20


# What is not passed on.


async def test_a_webhook_that_arrives_at_its_own_process_uses_no_store(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        await send_webhook(both.hooks, "ready", nonce, request_id)
        assert isinstance(await waiting_for(both.waits, request_id), ReadyDeployment)
        for event in ("ready", "error", "terminated"):
            await send_webhook(both.hooks, event, nonce, request_id)
        # Also if it names another deployment.
        await send_webhook(both.hooks, "ready", nonce, "another")
        await asyncio.sleep(10)
        assert published(store_url) == 0


async def test_a_webhook_of_a_deploy_that_has_failed_uses_no_store(
    one_store_url: str,
) -> None:
    tags: list[str] = []
    async with relaying(
        one_store_url, Fault("deploy", "401"), on_intent=tags.append
    ) as both:
        await failure(deploy(both.waits))
        (tag,) = tags
        await send_webhook(both.hooks, "error", tag, "c0ffee")
        await asyncio.sleep(10)
        assert published(one_store_url) == 0


@pytest.mark.full
@pytest.mark.slow
async def test_two_sessions_with_one_receiver_pass_a_webhook_on_once(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        shared = SharedState(store_url, key=KEY)
        async with EdgegapSession(
            "made-up",
            base_url=both.sim.url,
            shared=shared,
            webhooks=both.other_hooks,
        ) as third:
            # What one of them has sent needs no store either.
            nonce, request_id = await new_deployment(third)
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
            assert await waiting_for(third, request_id)
            await asyncio.sleep(10)
            assert published(store_url) == 0
            nonce, request_id = await new_deployment(both.waits)
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
            assert await waiting_for(both.waits, request_id)
            await asyncio.sleep(10)
            assert published(store_url) == 1


async def test_an_event_that_the_program_passes_on_is_not_passed_on_again(
    one_store_url: str,
) -> None:
    async with relaying(one_store_url) as both:
        event = await both.hooks.handle(path(both.hooks), body("c0ffee"))
        assert event
        await asyncio.sleep(10)
        before = published(one_store_url)
        both.other.deployments.notify(event)
        await asyncio.sleep(10)
        assert published(one_store_url) == before == 1


async def test_without_a_secret_nothing_is_passed_on_and_a_line_says_why(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    async with relaying(store_url, secrets=(SECRET, None)) as both:
        await send_webhook(both.other_hooks, "ready", "once-0", "c0ffee")
        await asyncio.sleep(10)
        assert published(store_url) == 0
    lines = [it for it in caplog.messages if "WebhookReceiver(url, secret=...)" in it]
    assert len(lines) == 1


async def test_without_shared_state_nothing_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    EdgegapSession("made-up", webhooks=WebhookReceiver(URL))
    assert caplog.messages == []


# What is not believed.


def forged(request_id: str, nonce: str) -> list[bytes]:
    """What somebody can write who knows all but the secret."""
    hooks = WebhookReceiver(URL, secret=SECRET)
    assert hooks.relay_keys
    event = b'{"event":"ready","nonce":"%s","request_id":"%s","status":%s}' % (
        nonce.encode(),
        request_id.encode(),
        body(request_id),
    )
    genuine, time_now = Sealer(hooks.relay_keys), time.time()
    message = Message(nonce, event)
    good = genuine.seal(message, time_now)
    assert good
    return [
        event,
        b"",
        b"\x00\xff garbage",
        b" ".join([b"0" * 64, *good.split(b" ")[1:]]),
        good.replace(b"READY", b"ERROR"),
        Sealer([b"another secret"]).seal(message, time_now) or b"",
        Sealer([SECRET.encode()]).seal(message, time_now) or b"",
        genuine.seal(message, time_now - LIFETIME - 5) or b"",
        genuine.seal(message, time_now + LIFETIME + 5) or b"",
        genuine.seal(Message(nonce, b"{"), time_now) or b"",
        genuine.seal(Message(nonce, b'"\xff"'), time_now) or b"",
        genuine.seal(Message(nonce, event.replace(b"ready", b"done")), time_now) or b"",
        good + bytes(LONGEST_MESSAGE),
    ]


async def test_messages_that_are_not_signed_old_or_too_long_wake_nobody(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying(store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        await asyncio.sleep(1)
        with relay_at(store_url) as relay:
            for _ in range(3):
                relay.publish(forged(request_id, nonce))
        # The genuine one comes last, and is the first that counts.
        await send_webhook(
            both.other_hooks, "ready", nonce, request_id, fqdn="genuine.example"
        )
        ready = await waiting
        assert isinstance(ready, ReadyDeployment)
        assert ready.fqdn == "genuine.example"
    ignored = [it for it in caplog.messages if "ignored" in it]
    # One line for each reason, not for each message.
    assert len(ignored) == len(set(ignored)) == 4
    assert SECRET not in caplog.text


async def test_a_webhook_that_is_too_long_is_not_passed_on(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying(store_url) as both:
        for _ in range(3):
            await send_webhook(
                both.other_hooks, "ready", "once-0", "c0ffee", fqdn="x" * 20_000
            )
        await asyncio.sleep(10)
        assert published(store_url) == 0
    assert len([it for it in caplog.messages if "longer than" in it]) == 1


async def test_nothing_that_is_passed_on_reveals_the_token_or_the_secret(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        with relay_at(store_url) as relay:
            await send_webhook(both.other_hooks, "ready", "once-0", "c0ffee")
            found: list[bytes] = []
            await until(lambda: found.extend(relay.read()) or found)
        signature = path(both.hooks, "ready", "once-0").rpartition("/")[2]
        assert both.hooks.relay_keys
        for secret in (
            "made-up",
            SECRET,
            SECRET.encode().hex(),
            both.hooks.relay_keys[0].hex(),
            # Whoever has it can forge a webhook.
            signature,
        ):
            assert secret.encode() not in found[0]
        assert b"c0ffee" in found[0]


# What may fail.


@pytest.mark.slow
async def test_without_the_store_polling_still_ends_a_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = f"unix://{tmp_path / 'missing.sock'}"
    async with relaying(missing, options={"ready_after": (3.0, 3.0)}) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        began = now()
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        # The answer to Edgegap waits for nothing.
        assert now() - began < 0.01
        await asyncio.sleep(1)
        both.sim.faults = ()
        assert isinstance(await waiting, ReadyDeployment)
        await asyncio.sleep(60)
    warnings = [it for it in caplog.messages if it.startswith("webhooks can't be")]
    # One for each direction.
    assert len(warnings) == len(set(warnings)) == 2
    assert all("polling goes on" in it for it in warnings)


async def test_a_locked_file_holds_up_no_answer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    async with relaying(url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        with locked(url):
            began = time.monotonic()
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
            assert time.monotonic() - began < 0.2
            await asyncio.sleep(0.3)
            assert not waiting.done()
        assert isinstance(await waiting, ReadyDeployment)


@pytest.mark.full
@pytest.mark.slow
async def test_webhooks_are_passed_on_again_after_the_server_was_restarted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    with valkey() as server:
        async with relaying(server.url) as both:
            nonce, request_id = await new_deployment(both.waits)
            await asyncio.sleep(1)
            server.stop()
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
            await asyncio.sleep(10)
            server.start()
            await asyncio.sleep(10)
            waiting = waiting_for(both.waits, request_id)
            await asyncio.sleep(1)
            # That one is lost.
            assert not waiting.done()
            await send_webhook(both.other_hooks, "ready", nonce, request_id)
            assert isinstance(await waiting, ReadyDeployment)
    # As loud as the outage.
    assert warned_of(caplog, "webhooks are passed on to other processes again")
    assert warned_of(caplog, "webhooks are received from other processes again")


async def test_a_flood_is_bounded_and_what_follows_is_passed_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "edgegap.db"
    async with relaying(f"sqlite:///{file}") as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        url, status = path(both.other_hooks, "ready", "once-0"), body("c0ffee")
        for _ in range(2 * MOST_QUEUED):
            await both.other_hooks.handle(url, status)
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        assert isinstance(await waiting, ReadyDeployment)
        assert published(f"sqlite:///{file}") <= MOST_QUEUED + 1 < MOST_ROWS
    assert len([it for it in caplog.messages if "faster than" in it]) == 1


async def test_only_the_latest_deploys_are_known(tmp_path: Path) -> None:
    async with relaying(f"sqlite:///{tmp_path / 'edgegap.db'}") as both:
        relay = both.waits._deploys._relay
        assert relay
        for number in range(MOST_NONCES + 2):
            relay.expect(f"once-{number}")
        known = [relay.is_own(f"once-{number}") for number in (0, 1, 2, number)]
        assert known == [False, False, True, True]


async def test_what_was_published_is_removed_though_nothing_follows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "edgegap.db"

    def rows() -> int:
        with sqlite3.connect(file) as db:
            (count,) = db.execute("SELECT count(*) FROM relay").fetchone()
        db.close()
        return int(count)

    async with relaying(f"sqlite:///{file}") as both:
        await send_webhook(both.other_hooks, "ready", "once-0", "c0ffee")
        await asyncio.sleep(1)
        assert rows() == 1
        with sqlite3.connect(file) as db:
            # The clock of this machine is a real one.
            db.execute("UPDATE relay SET at = at - ?", (LIFETIME + 5,))
        db.close()
        await asyncio.sleep(LIFETIME - 5)
        assert rows() == 1
        await asyncio.sleep(10)
        assert rows() == 0


# What it costs, and how it ends.


async def statements(url: str, seconds: float) -> list[str]:
    """The statements of the relay in these seconds, in the thread of the store."""
    shared, found = SharedState(url, key=KEY), list[str]()
    thread = STORES.acquire(shared, KEY)

    def trace(found: Any) -> None:
        with thread.store.reading() as db:  # type: ignore[union-attr]
            db.set_trace_callback(found)

    try:
        await asyncio.wrap_future(thread.submit(trace, found.append))
        await asyncio.sleep(seconds)
        await asyncio.wrap_future(thread.submit(trace, None))
    finally:
        STORES.release(shared, KEY, thread)
    return [it for it in found if "relay" in it]


@pytest.mark.full
@pytest.mark.slow
async def test_a_process_that_waits_for_no_webhook_hardly_reads_the_file(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    async with relaying(url) as both:
        await asyncio.sleep(5)
        # It has deployed nothing.
        assert await statements(url, 60.0) == []
        _, request_id = await new_deployment(both.waits)
        busy = await statements(url, SOON - 5)
        assert len(busy) > 5 * SOON
        await asyncio.sleep(10)
        idle = await statements(url, 60.0)
        # Each is one look at one row, without a lock.
        assert len(idle) <= 61
        assert {it.split()[0] for it in idle} == {"SELECT"}
        waiting = waiting_for(both.waits, request_id)
        await asyncio.sleep(1)
        assert len(await statements(url, 10.0)) > 50
        waiting.cancel()


async def test_closing_sends_what_was_received_and_leaves_nothing(
    store_url: str, shared_valkey: Valkey
) -> None:
    async with relaying(store_url) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        await asyncio.sleep(1)
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        await both.other.aclose()
        assert isinstance(await waiting, ReadyDeployment)
        # Nobody passes it on any more.
        before = published(store_url)
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        await asyncio.sleep(10)
        assert published(store_url) == before
    await until(
        lambda: not shared_valkey.command("CLIENT", "LIST", "TYPE", "PUBSUB").split()
    )


@pytest.mark.filterwarnings("ignore:the EdgegapSession:ResourceWarning")
async def test_a_session_whose_loop_has_ended_keeps_webhooks_from_no_other_one(
    store_url: str,
) -> None:
    async with relaying(store_url) as both:
        forgotten = EdgegapSession(
            "made-up",
            base_url=both.sim.url,
            shared=SharedState(store_url, key=KEY),
            webhooks=both.other_hooks,
        )

        def open_and_forget() -> None:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(forgotten.__aenter__())
            loop.close()

        await asyncio.to_thread(open_and_forget)
        nonce, request_id = await new_deployment(both.waits)
        waiting = waiting_for(both.waits, request_id)
        await asyncio.sleep(1)
        # The first one may be lost.
        await send_webhook(both.other_hooks, "ready", "once-0", "c0ffee")
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        assert isinstance(await waiting, ReadyDeployment)
        await forgotten.aclose()


async def test_closing_sends_all_of_a_flood(store_url: str) -> None:
    async with relaying(store_url) as both:
        for _ in range(250):
            await send_webhook(both.other_hooks, "ready", "once-0", "c0ffee")
        await both.other.aclose()
        await until(lambda: published(store_url) == 250)


async def test_a_session_that_was_dropped_passes_nothing_on(store_url: str) -> None:
    hooks = WebhookReceiver(URL, secret=SECRET)
    async with Simulator(**NEVER_READY) as sim:
        edgegap = EdgegapSession(
            "made-up",
            base_url=sim.url,
            shared=SharedState(store_url, key=KEY),
            webhooks=hooks,
        )
        await deploy(edgegap)
        gone = weakref.ref(edgegap)
        with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031
            del edgegap
            gc.collect()
        assert gone() is None
        await asyncio.sleep(30)
        await send_webhook(hooks, "ready", "once-0", "c0ffee")
        await asyncio.sleep(10)
        assert published(store_url) == 0


async def test_a_receiver_keeps_nothing_of_a_closed_session(store_url: str) -> None:
    async with relaying(store_url) as both:
        await new_deployment(both.waits)
        relay = both.waits._deploys._relay
        assert relay
        kept = weakref.ref(relay)
        await both.waits.aclose()
        del relay
        hooks = both.hooks
        del both
    gc.collect()
    assert kept() is None
    assert await hooks.handle(path(hooks), body("c0ffee"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
async def test_a_forked_child_leaves_the_relay_of_its_parent_alone(
    tmp_path: Path,
) -> None:
    async with relaying(f"sqlite:///{tmp_path / 'edgegap.db'}") as both:
        await asyncio.sleep(1)
        loop: Any = asyncio.get_running_loop()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                before = len(loop._ready)
                asyncio.events._set_running_loop(None)
                event = asyncio.run(both.hooks.handle(path(both.hooks), body("c0")))
                code = 0 if event and len(loop._ready) == before else 2
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
