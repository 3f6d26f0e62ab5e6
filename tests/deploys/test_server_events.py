"""`ready`, `stopped` and `ended`: each is reported once for each server. What the session
asks by itself runs in an empty context, and names the calls that it is for.
"""

import asyncio
from collections.abc import Collection
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import deploy, owning, running
from support.webhook_session import NO_POLLS, hooked

from edgegap_async import (
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapSession,
    EndReason,
    ReadyTimeout,
)
from edgegap_async.events import Event
from edgegap_async.simulator import Fault

SERVERS = ("ready", "stopped", "ended")
QUICK = {"ready_after": (3.0, 3.0)}
WHO: ContextVar[str] = ContextVar("who", default="nobody")


def servers(events: Collection[Event]) -> list[tuple[str, int | str]]:
    return [(event.kind, event.outcome) for event in events if event.kind in SERVERS]


def call_ids(events: Collection[Event], operation: str = "deploy") -> set[int]:
    return {
        event.call_id
        for event in events
        if event.kind == "call" and event.operation == f"deployments.{operation}"
    }


async def test_the_server_of_a_block_is_ready_and_stopped_by_the_call_that_started_it() -> (
    None
):
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        async with running(edgegap) as server:
            assert servers(events) == [("ready", "ready")]
        assert servers(events) == [("ready", "ready"), ("stopped", "stopped")]
    own = [event for event in events if event.kind in SERVERS]
    assert {event.call_id for event in own} == call_ids(events)
    assert {event.request_id for event in own} == {server.request_id}
    assert len({event.host for event in events}) == 1
    ready = own[0]
    assert ready.seconds == pytest.approx(3.0, abs=0.5)
    assert own[1].seconds is None


async def test_each_server_of_deploy_many_is_ready_once() -> None:
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        async with edgegap.deployments.deploy_many(requests(30)) as outcomes:
            taken = [it.deployment async for it in outcomes]
        ids = [server.request_id for server in taken if server]
        await asyncio.gather(*map(edgegap.deployments.wait_until_ready, ids))
        async with edgegap.deployments.wait_many(ids, timeout=60) as again:
            assert len([it async for it in again]) == 30
    ready = [event for event in events if event.kind == "ready"]
    assert sorted(event.request_id or "" for event in ready) == sorted(ids)
    assert {event.call_id for event in ready} == call_ids(events)
    assert all(2.9 < (event.seconds or 0.0) < 6.0 for event in ready)


async def test_a_webhook_makes_a_server_ready_without_a_poll_or_a_waiter() -> None:
    events: list[Event] = []
    async with hooked(*NO_POLLS, options=QUICK, on_event=events.append) as (
        edgegap,
        _,
        _,
    ):
        first, second = await asyncio.gather(deploy(edgegap), deploy(edgegap))
        await asyncio.sleep(10)
        assert servers(events) == [("ready", "ready")] * 2
        await edgegap.deployments.wait_until_ready(first.request_id)
        assert servers(events) == [("ready", "ready")] * 2
        seconds = [event.seconds for event in events if event.kind == "ready"]
        assert seconds == pytest.approx([3.0, 3.0], abs=0.3)
        await edgegap.deployments.ensure_stopped(second.request_id)
        await asyncio.sleep(10)
    assert servers(events)[2:] == [("stopped", "stopped"), ("ended", "stopped")]


async def test_a_server_of_another_session_is_ready_without_seconds() -> None:
    events: list[Event] = []
    async with owning(options=QUICK) as (other, sim):
        accepted = await deploy(other)
        async with (
            EdgegapSession(
                "made-up", base_url=sim.url, on_event=events.append
            ) as edgegap,
            edgegap.deployments.adopt(accepted.request_id),
        ):
            pass
    own = [event for event in events if event.kind in SERVERS]
    assert servers(own) == [("ready", "ready"), ("stopped", "stopped")]
    assert {event.seconds for event in own} == {None}
    (call_id,) = {event.call_id for event in own}
    polls = [event for event in events if event.operation == "deployments.status"]
    assert {event.caused_by for event in polls} == {(call_id,)}


@pytest.mark.parametrize(
    ("ends", "error", "outcome"),
    [
        ("error", DeploymentFailed, "failed"),
        ("stopped", DeploymentTerminated, "stopped"),
        ("never", ReadyTimeout, None),
    ],
)
async def test_a_wait_that_fails_says_how_the_server_has_ended(
    ends: str, error: type[Exception], outcome: str | None
) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {
        "ready_after": (100.0, 100.0) if ends == "never" else (3.0, 3.0),
        "error_share": 1.0 if ends == "error" else 0.0,
    }
    async with owning(options=options, on_event=events.append) as (edgegap, sim):
        accepted = await deploy(edgegap)
        if ends == "stopped":
            async with EdgegapSession("made-up", base_url=sim.url) as other:
                await other.deployments.ensure_stopped(accepted.request_id)
        with pytest.raises(error):
            await edgegap.deployments.wait_until_ready(accepted.request_id, timeout=30)
        assert servers(events) == ([("ended", outcome)] if outcome else [])


@pytest.mark.parametrize("reason", [EndReason.STOPPED, EndReason.FAILED])
async def test_wait_ended_reports_the_end(reason: EndReason) -> None:
    events: list[Event] = []
    crash = {"crash_after": (2.0, 2.0)} if reason is EndReason.FAILED else {}
    async with (
        owning(options=QUICK | crash, on_event=events.append) as (edgegap, sim),
        running(edgegap) as server,
    ):
        if reason is EndReason.STOPPED:
            async with EdgegapSession("made-up", base_url=sim.url) as other:
                await other.deployments.ensure_stopped(server.request_id)
        assert await server.wait_ended(timeout=30) is reason
        assert await server.wait_ended(timeout=30) is reason
        assert servers(events) == [("ready", "ready"), ("ended", reason.value)]


async def test_a_stop_of_a_server_that_was_gone_is_no_stop() -> None:
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        await edgegap.deployments.ensure_stopped("0123456789ab")
    assert servers(events) == [("ended", "gone")]


async def test_servers_that_bulk_stop_stops_are_stopped() -> None:
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        accepted = await asyncio.gather(*(deploy(edgegap) for _ in range(3)))
        for each in accepted:
            await edgegap.deployments.wait_until_ready(each.request_id)
        del events[:]
        await edgegap.deployments.bulk_stop(everything=True)
        await edgegap.deployments.ensure_stopped(accepted[0].request_id, wait=True)
    assert servers(events) == [("stopped", "stopped")] * 3 + [("ended", "stopped")]


async def test_max_running_reports_the_servers_that_have_ended_by_themselves() -> None:
    events: list[Event] = []
    async with (
        owning(options=QUICK, on_event=events.append) as (edgegap, sim),
        EdgegapSession("made-up", base_url=sim.url) as other,
        edgegap.deployments.deploy_many(requests(2), max_running=1) as outcomes,
    ):
        async for outcome in outcomes:
            if outcome.deployment and len(sim.deployed()) == 1:
                await other.deployments.ensure_stopped(
                    outcome.deployment.request_id, wait=True
                )
    assert servers(events)[:2] == [("ready", "ready"), ("ended", "gone")]
    assert len(call_ids(events)) == 2


class Contexts:
    """The value of a context variable of the user in each event."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, str, int]] = []

    def __call__(self, event: Event) -> None:
        self.events.append((event, WHO.get(), len(copy_context())))


@pytest.mark.parametrize("kind", ["ok", "503-after", "cut-before", "hang-after"])
async def test_requests_of_the_session_run_in_an_empty_context_and_name_their_calls(
    kind: str,
) -> None:
    told = Contexts()
    async with owning(Fault("deploy", kind), options=QUICK, on_event=told) as (
        edgegap,
        _,
    ):

        async def one(name: str) -> None:
            WHO.set(name)
            async with running(edgegap, timeout=60, ready_timeout=60):
                await asyncio.sleep(1)

        names = [f"player {number}" for number in range(4)]
        await asyncio.gather(*map(one, names), return_exceptions=True)
        await asyncio.sleep(30)
    events = [event for event, _, _ in told.events]
    deploys = call_ids(events)
    assert len(deploys) == 4
    background = 0
    for event, who, size in told.events:
        if event.operation == "deployments.deploy" or event.kind == "ready":
            # In the context of its caller.
            assert who in names
            assert event.call_id in deploys
        elif event.operation == "deployments.container_logs":
            assert {*event.caused_by} <= deploys
        else:
            background += 1
            # The variable of this package alone.
            assert (who, size) == ("nobody", 1), event
            assert {event.call_id} <= deploys or {*event.caused_by} <= deploys
            assert event.kind in SERVERS or event.caused_by
    assert background
    by_name = [
        {event.call_id for event, who, _ in told.events if who == name}
        for name in names
    ]
    assert all(len(ids & deploys) == 1 for ids in by_name)


async def test_a_list_for_many_waiters_names_all_their_calls() -> None:
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        accepted = await asyncio.gather(*(deploy(edgegap) for _ in range(20)))
        ids = [each.request_id for each in accepted]
        await asyncio.gather(*map(edgegap.deployments.wait_until_ready, ids))
    named = {
        cause
        for event in events
        if event.operation == "deployments.list"
        for cause in event.caused_by
    }
    assert named == call_ids(events)
    assert len(named) == 20


async def test_what_a_user_calls_in_a_block_is_caused_by_nothing() -> None:
    events: list[Event] = []
    async with owning(options=QUICK, on_event=events.append) as (edgegap, _):
        async with running(edgegap) as server:
            del events[:]
            await edgegap.deployments.status(server.request_id)
            assert [event.caused_by for event in events] == [(), ()]
        await edgegap.deployments.status(server.request_id)
        assert [
            event.caused_by
            for event in events
            if event.operation == "deployments.status"
        ] == [()] * 4


async def test_what_an_on_event_that_raises_is_told_of_servers_changes_nothing() -> (
    None
):
    def broken(event: Event) -> None:
        if event.kind in SERVERS:
            raise LookupError("no such label")

    async with owning(options=QUICK, on_event=broken) as (edgegap, sim):
        async with running(edgegap) as server:
            assert server.request_id in sim.running()
        assert sim.running() - sim.stopped() == set()
    assert edgegap.leftovers == ()


async def test_a_second_server_belongs_to_the_call_whose_request_was_sent_twice() -> (
    None
):
    events: list[Event] = []
    async with owning(
        Fault("deploy", "twice-first", times=1, seconds=0.0),
        options={"ready_after": (0.0, 0.0)},
        on_event=events.append,
    ) as (edgegap, sim):
        await deploy(edgegap)
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 2
        (surplus,) = sim.stopped()
    (call,) = [event for event in events if event.method == "POST"][1:]
    stops = [event for event in events if event.request_id == surplus]
    assert {event.call_id for event in stops if event.kind == "stopped"} == {
        call.call_id
    }
    assert {event.caused_by for event in stops if event.operation} == {(call.call_id,)}
