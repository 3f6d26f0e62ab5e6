"""Webhooks that are lost, duplicated, late or reordered."""

import asyncio

import pytest
from support.plain_client import DEPLOY
from support.receiving import client_and_receiver

from edgegap_async.simulator import Fault, Simulator

# In seconds: virtual time advances by a microsecond with each turn of the loop.
EXACT = 0.01


async def webhooks_of_five(
    *steps: str, seconds: float = 1.0
) -> tuple[Simulator, list[tuple[int, float]]]:
    """Make five deployments that become READY `seconds` apart.

    Returns the simulator, and for each webhook its deployment (from 0) and its time.
    """
    sim = Simulator(
        ready_after=(60, 60), enforcement="off", faults=Fault.script("webhook", *steps)
    )
    async with client_and_receiver(sim) as (api, receiver):
        began = asyncio.get_running_loop().time()
        made = []
        for _ in range(5):
            made.append(await api.deploy(**receiver.fields("ready")))
            await asyncio.sleep(seconds)
        await asyncio.sleep(200)
        webhooks = [
            (made.index(each.body["request_id"]), each.at - began - 60)
            for each in receiver.received
        ]
    return sim, webhooks


@pytest.mark.measured
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["ok"], [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["ok", "lost", "lost"], [(0, 0), (3, 3), (4, 4)]),
        (["duplicated"], [(0, 0), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["ok", "late:2.5"], [(0, 0), (2, 2), (3, 3), (1, 3.5), (4, 4)]),
        (["reordered:30"], [(1, 1), (0, 1), (2, 2), (3, 3), (4, 4)]),
        (["reordered:0.5"], [(0, 0.5), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["reordered:30", "reordered:30"], [(2, 2), (0, 2), (1, 2), (3, 3), (4, 4)]),
        (["reordered:30", "lost", "late:0.5"], [(2, 2.5), (0, 2.5), (3, 3), (4, 4)]),
        (
            ["ok", "ok", "ok", "ok", "reordered:30"],
            [(0, 0), (1, 1), (2, 2), (3, 3), (4, 34)],
        ),
    ],
)
async def test_faults_lose_duplicate_delay_and_reorder_webhooks(
    steps: list[str], expected: list[tuple[int, float]]
) -> None:
    sim, webhooks = await webhooks_of_five(*steps)

    assert [which for which, _ in webhooks] == [which for which, _ in expected]
    assert [when for _, when in webhooks] == pytest.approx(
        [when for _, when in expected], abs=EXACT
    )
    assert sim.webhooks() == {
        "sent": len(webhooks),
        "answered": len(webhooks),
        "failed": 0,
        "lost": steps.count("lost"),
    }
    kinds = [step.partition(":")[0] for step in steps if step != "ok"]
    assert sim.faulted() == {kind: kinds.count(kind) for kind in kinds}


async def test_a_reordered_webhook_waits_for_one_that_is_sent_after_it() -> None:
    sim = Simulator(
        ready_after=(60, 60),
        enforcement="off",
        faults=Fault.script("webhook", "ok", "reordered:30"),
    )
    async with client_and_receiver(sim) as (api, receiver):
        receiver.on_webhook = lambda webhook: asyncio.sleep(5)
        made = []
        # The first has no response yet when the second is due.
        for _ in range(3):
            made.append(await api.deploy(**receiver.fields("ready")))
            await asyncio.sleep(3)
        await asyncio.sleep(100)

    assert [each.body["request_id"] for each in receiver.received] == [
        made[0],
        made[2],
        made[1],
    ]


async def test_a_late_webhook_shows_the_state_when_due() -> None:
    sim = Simulator(ready_after=(1, 1), faults=Fault.script("webhook", "late:60"))
    async with client_and_receiver(sim) as (api, receiver):
        request_id = await api.deploy(**receiver.fields("ready", "terminated"))
        await asyncio.sleep(2)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(100)

    assert [each.event for each in receiver.received] == ["terminated", "ready"]
    assert receiver.received[1].body["current_status"] == "Status.READY"


@pytest.mark.full
@pytest.mark.slow
async def test_the_seed_decides_which_webhooks_are_lost_and_changes_nothing_else() -> (
    None
):
    async def run(seed: int, *faults: Fault) -> tuple[list[tuple[str, str]], list[int]]:
        sim = Simulator(seed=seed, enforcement="off", faults=faults, error_share=0.3)
        async with client_and_receiver(sim) as (api, receiver):
            body = {**DEPLOY, **receiver.fields()}
            statuses = [
                (await api("POST", "/v2/deployments", body))[0] for _ in range(200)
            ]
            await asyncio.sleep(10)
        assert sim.webhooks()["sent"] + sim.webhooks()["lost"] == 200
        return receiver.ids_and_events, statuses

    lost, failing = Fault("webhook", "lost", 0.25), Fault("deploy", "500-after", 0.1)
    every, statuses = await run(1, failing)
    assert 500 in statuses
    some, with_losses = await run(1, failing, lost)
    assert with_losses == statuses
    assert 25 <= 200 - len(some) <= 75
    # The same deployments, in the same order.
    assert some == [each for each in every if each in some]
    assert (await run(1, lost))[0] == some
    assert (await run(2, lost))[0] != some
