"""Answers that prove nothing: a wait for READY goes on, and ends once several agree."""

import asyncio
from typing import Any

import pytest
from support.limiter_model import now
from support.raw_server import ADDRESS, Act, answer, failure, scripted
from support.waiting import accepted_deployments, delays

from edgegap_async._records.existence import YOUNG
from edgegap_async._waiters.outcomes import CONFIRM_AFTER, END_WORDS
from edgegap_async._waiters.waiter import GATEWAY_ERRORS
from edgegap_async.errors import (
    DeploymentTerminated,
    Forbidden,
    ReadyTimeout,
    Unauthorized,
)
from edgegap_async.simulator import Fault

PAGE = "<html><title>403 Forbidden</title></html>"


def status(state: str, **fields: object) -> Act:
    return answer(200, {"request_id": "c065", "current_status": state, **fields})


PENDING = status("Status.DEPLOYING")
READY = status("Status.READY", **ADDRESS)


@pytest.mark.measured
@pytest.mark.parametrize("many", [1, 30])
async def test_a_row_without_an_address_leads_to_the_status(many: int) -> None:
    bare = Fault("list", "rows-without-address")
    async with accepted_deployments(many, bare) as (edgegap, sim, ids):
        known = await delays(edgegap, sim, ids)
        assert known[len(ids) // 2] < 2.5


@pytest.mark.parametrize(
    "missing",
    [
        {},
        {"fqdn": None, "public_ip": None, "ports": {"web": {"external": 31000}}},
        {"fqdn": "", "ports": {}},
    ],
)
async def test_ready_without_a_host_is_not_ready_so_far(
    missing: dict[str, Any],
) -> None:
    half = status("Status.READY", **missing)
    async with scripted(PENDING, *[half] * 40, READY) as (edgegap, server):
        ready = await edgegap.deployments.wait_until_ready("c065")
        assert ready.address("web") == ("c065.example.net", 31000)
        assert len(server.arrivals) >= 42


@pytest.mark.parametrize(
    "host", [{"fqdn": "c065.example.net"}, {"public_ip": "1.2.3.4"}]
)
async def test_ready_with_a_host_for_two_seconds_is_ready_without_ports(
    host: dict[str, str],
) -> None:
    async with scripted(PENDING, status("Status.READY", **host)) as (edgegap, _):
        began = now()
        ready = await edgegap.deployments.wait_until_ready("c065")
        assert ready.fqdn or ready.public_ip
        assert CONFIRM_AFTER <= now() - began < CONFIRM_AFTER + 1


async def test_ports_that_come_late_are_handed_out() -> None:
    half = status("Status.READY", fqdn="c065.example.net")
    async with scripted(PENDING, half, half, half, READY) as (edgegap, _):
        ready = await edgegap.deployments.wait_until_ready("c065")
        assert ready.address("web") == ("c065.example.net", 31000)


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("body", [PAGE, "", {"errors": ["no"]}])
async def test_one_page_of_a_firewall_ends_no_wait(code: int, body: object) -> None:
    page = answer(code, body)
    async with scripted(PENDING, page, page, PENDING, page, READY) as (edgegap, server):
        assert await edgegap.deployments.wait_until_ready("c065")
        assert {arrival.method for arrival in server.arrivals} == {"GET"}


@pytest.mark.parametrize(("code", "kind"), [(401, Unauthorized), (403, Forbidden)])
async def test_pages_of_a_firewall_for_ten_seconds_end_a_wait(
    code: int, kind: type[Exception]
) -> None:
    async with scripted(PENDING, answer(code, PAGE)) as (edgegap, _):
        began = now()
        error = await failure(edgegap.deployments.wait_until_ready("c065"))
        assert type(error) is kind
        assert GATEWAY_ERRORS <= now() - began < GATEWAY_ERRORS + 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["not-found", "404-json", "404-html", "404-empty"])
@pytest.mark.parametrize("many", [1, 5])
async def test_not_found_for_three_seconds_ends_no_wait_for_an_old_deployment(
    kind: str, many: int
) -> None:
    ready_after = YOUNG + 20
    async with accepted_deployments(many, ready_after=(ready_after, ready_after)) as (
        edgegap,
        sim,
        ids,
    ):
        waits = asyncio.ensure_future(delays(edgegap, sim, ids))
        await asyncio.sleep(YOUNG + 5)
        sim.faults = [Fault("status", kind)]
        await asyncio.sleep(3)
        sim.faults = []
        assert max(await waits) < 3
        assert len(sim.running()) == many


@pytest.mark.parametrize("word", ["STOPPED", "Status.EXITED", "deleted"])
async def test_a_word_that_means_an_end_ends_a_wait_once_it_is_confirmed(
    word: str,
) -> None:
    assert word.rpartition(".")[2].upper() in END_WORDS
    async with scripted(PENDING, status(word, running=False)) as (edgegap, _):
        began = now()
        error = await failure(edgegap.deployments.wait_until_ready("c065"))
        assert isinstance(error, DeploymentTerminated)
        assert CONFIRM_AFTER <= now() - began < CONFIRM_AFTER + 1
    async with scripted(PENDING, status(word), status(word), PENDING, READY) as (
        edgegap,
        _,
    ):
        assert await edgegap.deployments.wait_until_ready("c065")
    async with scripted(PENDING, status(word), status(word)) as (edgegap, _):
        await edgegap.deployments.wait_until_stopped("c065")


@pytest.mark.parametrize("timeout", [0.05, 0.4])
@pytest.mark.parametrize("cancelled", [True, False])
async def test_waits_shorter_than_an_answer_are_resolved_in_the_end(
    timeout: float, cancelled: bool
) -> None:
    options = {"delay_before": (0.5, 0.5), "delay_after": (0.5, 0.5)}
    async with accepted_deployments(1, ready_after=(3.0, 3.0), **options) as (
        edgegap,
        sim,
        ids,
    ):
        wait = edgegap.deployments.wait_until_ready
        for _ in range(100):
            try:
                if cancelled:
                    async with asyncio.timeout(timeout):
                        ready = await wait(ids[0])
                else:
                    ready = await wait(ids[0], timeout=timeout)
                break
            except (TimeoutError, ReadyTimeout):
                await asyncio.sleep(timeout)
        else:
            raise AssertionError("never resolved")
        assert ready.address("web")
        # No more than one after the other.
        assert sim.arrivals("status") < 10


async def test_an_answer_that_nobody_came_back_for_is_not_waited_for() -> None:
    async with accepted_deployments(
        1, Fault("status", "hang-before"), ready_after=(3.0, 3.0)
    ) as (edgegap, sim, ids):
        with pytest.raises(ReadyTimeout):
            await edgegap.deployments.wait_until_ready(ids[0], timeout=0.5)
        await asyncio.sleep(11)
        assert edgegap.usage()["status"].in_flight == 0
        assert sim.arrivals("status") == 1
