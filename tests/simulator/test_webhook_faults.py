"""Webhooks that get lost, doubled, late, or overtaken by others."""

import asyncio

import pytest
from support.plain_client import DEPLOY
from support.receiving import both

from edgegap_async.simulator import Fault, Simulator

# seconds: virtual time counts a microsecond for each turn of the loop
EXACT = 0.01


async def one_after_the_other(
    *steps: str, seconds: float = 1.0
) -> tuple[Simulator, list[tuple[int, float]]]:
    """Deployments that are ready so many seconds one after the other: whose webhooks
    come (from 0), and when.
    """
    sim = Simulator(
        ready_after=(60, 60), enforcement="off", faults=Fault.script("webhook", *steps)
    )
    async with both(sim) as (api, receiver):
        began = asyncio.get_running_loop().time()
        made = []
        for _ in range(5):
            made.append(await api.deploy(**receiver.asked("ready")))
            await asyncio.sleep(seconds)
        await asyncio.sleep(200)
        told = [
            (made.index(each.body["request_id"]), each.at - began - 60)
            for each in receiver.came
        ]
    return sim, told


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (["ok"], [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["ok", "lost", "lost"], [(0, 0), (3, 3), (4, 4)]),
        (["doubled"], [(0, 0), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["ok", "late:2.5"], [(0, 0), (2, 2), (3, 3), (1, 3.5), (4, 4)]),
        (["swapped:30"], [(1, 1), (0, 1), (2, 2), (3, 3), (4, 4)]),
        (["swapped:0.5"], [(0, 0.5), (1, 1), (2, 2), (3, 3), (4, 4)]),
        (["swapped:30", "swapped:30"], [(2, 2), (0, 2), (1, 2), (3, 3), (4, 4)]),
        (["swapped:30", "lost", "late:0.5"], [(2, 2.5), (0, 2.5), (3, 3), (4, 4)]),
        (
            ["ok", "ok", "ok", "ok", "swapped:30"],
            [(0, 0), (1, 1), (2, 2), (3, 3), (4, 34)],
        ),
    ],
)
async def test_they_are_lost_doubled_late_and_out_of_order_on_request(
    steps: list[str], wanted: list[tuple[int, float]]
) -> None:
    sim, told = await one_after_the_other(*steps)

    assert [which for which, _ in told] == [which for which, _ in wanted]
    assert [when for _, when in told] == pytest.approx(
        [when for _, when in wanted], abs=EXACT
    )
    assert sim.webhooks() == {
        "sent": len(told),
        "answered": len(told),
        "failed": 0,
        "lost": steps.count("lost"),
    }
    kinds = [step.partition(":")[0] for step in steps if step != "ok"]
    assert sim.faulted() == {kind: kinds.count(kind) for kind in kinds}


async def test_the_next_one_is_one_that_is_sent_later() -> None:
    sim = Simulator(
        ready_after=(60, 60),
        enforcement="off",
        faults=Fault.script("webhook", "ok", "swapped:30"),
    )
    async with both(sim) as (api, receiver):
        receiver.on_webhook = lambda came: asyncio.sleep(5)
        made = []
        # the first is still unanswered when the second is due
        for _ in range(3):
            made.append(await api.deploy(**receiver.asked("ready")))
            await asyncio.sleep(3)
        await asyncio.sleep(100)

    assert [each.body["request_id"] for each in receiver.came] == [
        made[0],
        made[2],
        made[1],
    ]


async def test_one_that_is_late_tells_what_was_when_it_was_due() -> None:
    sim = Simulator(ready_after=(1, 1), faults=Fault.script("webhook", "late:60"))
    async with both(sim) as (api, receiver):
        request_id = await api.deploy(**receiver.asked("ready", "terminated"))
        await asyncio.sleep(2)
        await api("DELETE", f"/v1/stop/{request_id}")
        await asyncio.sleep(100)

    assert [each.event for each in receiver.came] == ["terminated", "ready"]
    assert receiver.came[1].body["current_status"] == "Status.READY"


async def test_a_share_is_lost_by_the_seed_and_nothing_else_depends_on_it() -> None:
    async def told(
        seed: int, *faults: Fault
    ) -> tuple[list[tuple[str, str]], list[int]]:
        sim = Simulator(seed=seed, enforcement="off", faults=faults, error_share=0.3)
        async with both(sim) as (api, receiver):
            body = {**DEPLOY, **receiver.asked()}
            statuses = [
                (await api("POST", "/v2/deployments", body))[0] for _ in range(200)
            ]
            await asyncio.sleep(10)
        assert sim.webhooks()["sent"] + sim.webhooks()["lost"] == 200
        return receiver.what, statuses

    lost, failing = Fault("webhook", "lost", 0.25), Fault("deploy", "500-after", 0.1)
    every, statuses = await told(1, failing)
    assert 500 in statuses
    some, with_losses = await told(1, failing, lost)
    assert with_losses == statuses
    assert 25 <= 200 - len(some) <= 75
    # the same deployments, in the same order
    assert some == [each for each in every if each in some]
    assert (await told(1, lost))[0] == some
    assert (await told(2, lost))[0] != some
