"""The webhooks that the simulator sends: content, time, and failures."""

import asyncio
import logging
import time
from typing import Any

import pytest
import uvloop
from support.plain_client import DEPLOY, plain
from support.receiving import (
    EVENTS,
    ReceivedWebhook,
    client_and_receiver,
    webhook_receiver,
)
from support.reference import BY_KEY
from support.samples import STATUS

from edgegap_async.simulator import Fault, Simulator

DAY = 24 * 3600
# In seconds: virtual time advances by a microsecond with each turn of the loop.
EXACT = 0.01


async def test_each_event_is_posted_with_the_current_status_and_no_more() -> None:
    bodies: list[Any] = []
    sim = Simulator(ready_after=(3, 3), gone="terminated", enforcement="off")
    async with client_and_receiver(sim) as (api, receiver):

        async def ask(webhook: ReceivedWebhook) -> None:
            bodies.append(await api.get(f"/v1/status/{webhook.body['request_id']}"))

        receiver.on_webhook = ask
        request_id = await api.deploy(tags=["blue"], **receiver.fields())
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(10)

    assert receiver.ids_and_events == [
        (request_id, "ready"),
        (request_id, "terminated"),
    ]
    assert [each.body for each in receiver.received] == bodies
    assert [each.body["current_status"] for each in receiver.received] == [
        "Status.READY",
        "Status.TERMINATED",
    ]
    for each in receiver.received:
        assert each.method == "POST"
        assert each.body.keys() == BY_KEY[STATUS].answer.keys()
        assert each.headers.keys() == {
            "Host",
            "Content-Type",
            "Content-Length",
            "Connection",
        }
        assert each.headers["Content-Type"] == "application/json"
    assert (
        sim.webhooks()
        == sim.counts()["webhooks"]
        == {"sent": 2, "answered": 2, "failed": 0, "lost": 0}
    )


async def test_a_failed_deployment_sends_only_error() -> None:
    sim = Simulator(error_share=1, faults=Fault.script("deploy", "422"))
    async with client_and_receiver(sim) as (api, receiver):
        _, answer = await api(
            "POST", "/v2/deployments", {**DEPLOY, **receiver.fields()}
        )
        await asyncio.sleep(0.1)
        assert receiver.ids_and_events == [(answer["request_id"], "error")]
        other = await api.deploy(**receiver.fields())
        await asyncio.sleep(DAY)

    assert receiver.ids_and_events == [
        (answer["request_id"], "error"),
        (other, "error"),
    ]
    assert [each.body["error"] for each in receiver.received] == [True, True]
    assert receiver.received[0].body["error_detail"] == "No server could be allocated"


@pytest.mark.parametrize("requested", EVENTS)
async def test_only_requested_events_are_sent(requested: str) -> None:
    async with client_and_receiver(Simulator(error_share=0.5)) as (api, receiver):
        made = [await api.deploy(**receiver.fields(requested)) for _ in range(20)]
        await asyncio.sleep(10)
        for each in made:
            await api("DELETE", f"/v1/stop/{each}")
        await asyncio.sleep(10)

    assert {each.event for each in receiver.received} == {requested}
    assert (len(receiver.received) == 20) is (requested == "terminated")


@pytest.mark.parametrize(
    ("stopped", "ready", "ended"),
    [
        (None, 3, 3 + DAY + 2),
        (100, 3, 100 + 2),
        # The stop begins when it would be READY, so it is never seen as READY.
        (1, None, 3 + 2),
        # It is stopping already.
        (DAY + 4, 3, 3 + DAY + 2),
    ],
)
async def test_a_webhook_is_sent_when_its_event_happens(
    stopped: float | None, ready: float | None, ended: float
) -> None:
    sim, loop = Simulator(ready_after=(3, 3), stop_takes=2), asyncio.get_running_loop()
    async with client_and_receiver(sim) as (api, receiver):
        request_id = await api.deploy(**receiver.fields())
        began = loop.time()
        if stopped is not None:
            await asyncio.sleep(began + stopped - loop.time())
            assert (await api("DELETE", f"/v1/stop/{request_id}"))[0] in (200, 202, 410)
        await asyncio.sleep(2 * DAY)

    expected = {
        event: when
        for event, when in (("ready", ready), ("terminated", ended))
        if when is not None
    }
    assert {each.event: each.at - began for each in receiver.received} == pytest.approx(
        expected, abs=EXACT
    )
    if ready:
        assert receiver.received[0].at == pytest.approx(
            sim.ready_or_failed_at(request_id), abs=EXACT
        )


async def test_a_webhook_can_arrive_before_the_response_to_its_deploy() -> None:
    sim, loop = (
        Simulator(ready_after=(0, 0), delay_after=(1, 1)),
        asyncio.get_running_loop(),
    )
    async with client_and_receiver(sim) as (api, receiver):
        request_id = await api.deploy(**receiver.fields())
        answered = loop.time()

    assert receiver.ids_and_events == [(request_id, "ready")]
    assert receiver.received[0].at == pytest.approx(answered - 1, abs=EXACT)


@pytest.mark.full
@pytest.mark.slow
async def test_a_thousand_webhooks_at_once_all_arrive() -> None:
    sim = Simulator(ready_after=(5, 5), enforcement="off")
    async with client_and_receiver(sim) as (api, receiver):
        made = await asyncio.gather(
            *(api.deploy(**receiver.fields("ready")) for _ in range(1000))
        )
        await asyncio.sleep(10)

    assert sorted(each for each, _ in receiver.ids_and_events) == sorted(made)
    assert sim.webhooks()["answered"] == 1000


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (204, "answered"),
        (302, "failed"),
        (404, "failed"),
        (500, "failed"),
        (None, "failed"),
    ],
)
async def test_a_webhook_is_sent_once_whatever_the_response(
    status: int | None, outcome: str
) -> None:
    sim = Simulator(ready_after=(1, 1))
    async with client_and_receiver(sim) as (api, receiver):
        receiver.status = status
        request_id = await api.deploy(**receiver.fields())
        await asyncio.sleep(1.5)
        assert sim.webhooks()["sent"] == 1
        await asyncio.sleep(600)
        assert len(receiver.received) == 1
        assert sim.webhooks() == {"sent": 1, "answered": 0, "failed": 0, "lost": 0} | {
            outcome: 1
        }
        assert await api.state(request_id) == "READY"


async def test_a_receiver_has_ten_seconds_to_respond() -> None:
    sim = Simulator(ready_after=(1, 1))
    async with client_and_receiver(sim) as (api, receiver):
        receiver.status = None
        await api.deploy(**receiver.fields())
        await asyncio.sleep(1 + 9.9)
        assert sim.webhooks()["failed"] == 0
        await asyncio.sleep(0.2)
        assert sim.webhooks()["failed"] == 1


@pytest.mark.full
@pytest.mark.slow
async def test_at_most_two_hundred_webhooks_are_in_progress() -> None:
    sim = Simulator(ready_after=(5, 5), enforcement="off")
    async with client_and_receiver(sim) as (api, receiver):
        receiver.status = None
        await asyncio.gather(
            *(api.deploy(**receiver.fields("ready")) for _ in range(250))
        )
        await asyncio.sleep(10)
        assert len(receiver.received) == sim.webhooks()["sent"] == 200
        await asyncio.sleep(10)
        assert len(receiver.received) == sim.webhooks()["sent"] == 250
        await asyncio.sleep(10)
        assert sim.webhooks() == {"sent": 250, "answered": 0, "failed": 250, "lost": 0}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://€:1@127.0.0.1:1"])
async def test_an_unreachable_receiver_changes_nothing_and_its_url_is_not_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    sim = Simulator(ready_after=(1, 1))
    async with plain(sim) as api:
        request_id = await api.deploy(webhook_on_ready={"url": f"{url}/secret-words"})
        await asyncio.sleep(5)
        assert await api.state(request_id) == "READY"

    assert sim.webhooks() == {"sent": 1, "answered": 0, "failed": 1, "lost": 0}
    assert "secret-words" not in caplog.text
    assert caplog.messages
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


async def test_exit_cancels_webhooks_in_progress_and_sends_no_more() -> None:
    loop = asyncio.get_running_loop()
    faults = Fault.script("webhook", "ok", "late:100", "reordered:200")
    sim = Simulator(ready_after=(1, 1), faults=faults)
    async with webhook_receiver() as receiver:
        receiver.status = None
        async with plain(sim) as api:
            for _ in range(3):
                await api.deploy(**receiver.fields())
            await asyncio.sleep(2)
            began = loop.time()
        assert loop.time() - began < 0.1
        await asyncio.sleep(2 * DAY)
        assert len(receiver.received) == 1

    assert sim.webhooks() == {"sent": 1, "answered": 0, "failed": 0, "lost": 0}


@pytest.mark.real_time
async def test_a_webhook_delayed_by_a_busy_loop_shows_the_state_when_due() -> None:
    async with client_and_receiver(Simulator(ready_after=(0.1, 0.1))) as (
        api,
        receiver,
    ):
        await api.deploy(**receiver.fields("ready"))
        time.sleep(1.2)  # noqa: ASYNC251 - keeps the loop busy
        await asyncio.sleep(0.2)

    assert [
        (each.body["running"], each.body["elapsed_time"]) for each in receiver.received
    ] == [(True, 0)]


def test_a_coarse_clock_sends_no_webhook_early() -> None:
    async def run() -> None:
        times = iter(0.01 + 0.0003 * number for number in range(40))
        sim = Simulator(ready_after=lambda: next(times), enforcement="off")
        async with client_and_receiver(sim) as (api, receiver):
            for _ in range(40):
                await api.deploy(**receiver.fields("ready"))
            await asyncio.sleep(0.2)
            assert len(receiver.received) == 40
            for each in receiver.received:
                ready_at = sim.ready_or_failed_at(each.body["request_id"])
                assert ready_at is not None
                assert ready_at <= each.at

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
