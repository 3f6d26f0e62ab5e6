"""One call is one "call" event, which says what its caller got, however often the session
has sent its request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import deploy, owning, running
from support.raw_server import CUT, GOOD, TOKEN, answer, half, scripted

from edgegap_async import DeployOutcomeUnknown, EdgegapSession, Limits
from edgegap_async.events import Event
from edgegap_async.simulator import Fault

INSTANT = {"ready_after": (0.0, 0.0)}


def calls(events: list[Event], operation: str = "deployments.deploy") -> list[Event]:
    return [
        event
        for event in events
        if event.kind == "call" and event.operation == operation
    ]


def attempts(events: list[Event], operation: str = "deployments.deploy") -> list[Event]:
    return [
        event
        for event in events
        if event.kind == "attempt" and event.operation == operation
    ]


@pytest.mark.parametrize(
    ("kind", "outcome", "sent"),
    [
        ("503-after", 503, 1),
        ("502-before", 202, 2),
        ("cut-after", "TransportError", 1),
        ("cut-before", 202, 2),
        ("408-after", 408, 1),
        ("truncated", "TransportError", 1),
        ("not-json", 202, 1),
        ("hang-after", "TransportError", 1),
    ],
)
async def test_a_deploy_that_recovers_is_one_call_that_has_succeeded(
    kind: str, outcome: int | str, sent: int
) -> None:
    events: list[Event] = []
    async with owning(
        Fault("deploy", kind, times=1), options=INSTANT, on_event=events.append
    ) as (edgegap, sim):
        accepted = await deploy(edgegap)
        (call,) = calls(events)
        assert (call.error, call.recovered) == (None, True)
        assert (call.outcome, call.attempt) == (outcome, sent)
        assert call.request_id == accepted.request_id
        tried = attempts(events)
        assert [event.attempt for event in tried] == [*range(1, sent + 1)]
        assert {event.call_id for event in tried} == {call.call_id}
        assert len(sim.deployed()) == 1


async def test_a_deploy_that_did_not_need_to_recover_says_so() -> None:
    events: list[Event] = []
    async with owning(
        Fault("deploy", "429", times=2), options=INSTANT, on_event=events.append
    ) as (edgegap, _):
        await deploy(edgegap)
    (call,) = calls(events)
    assert (call.outcome, call.error, call.attempt) == (202, None, 3)
    assert not call.recovered


async def test_a_deploy_that_stays_unknown_is_one_call_with_the_true_status() -> None:
    events: list[Event] = []
    async with owning(
        Fault("deploy", "503-before"), options=INSTANT, on_event=events.append
    ) as (edgegap, _):
        with pytest.raises(DeployOutcomeUnknown):
            await deploy(edgegap)
    (call,) = calls(events)
    assert (call.outcome, call.error, call.attempt) == (503, "DeployOutcomeUnknown", 3)
    assert not call.recovered
    assert [event.outcome for event in attempts(events)] == [503] * 3
    assert {event.error for event in attempts(events)} == {"ServerError"}


async def test_the_seconds_of_a_call_are_those_that_its_caller_has_waited() -> None:
    events: list[Event] = []
    async with owning(
        Fault("deploy", "503-before", times=1), options=INSTANT, on_event=events.append
    ) as (edgegap, _):
        began = asyncio.get_running_loop().time()
        await deploy(edgegap)
        took = asyncio.get_running_loop().time() - began
    (call,) = calls(events)
    assert call.queued + call.round_trip == pytest.approx(took, abs=0.001)


@pytest.mark.parametrize("leaves", ["cancelled", "late"])
async def test_a_caller_who_leaves_is_told_once_and_its_attempt_ends_later(
    leaves: str,
) -> None:
    events: list[Event] = []
    timeout = 2.0 if leaves == "late" else 60.0
    async with owning(
        Fault("deploy", "late", seconds=5.0), options=INSTANT, on_event=events.append
    ) as (edgegap, sim):
        deploying = asyncio.ensure_future(deploy(edgegap, timeout=timeout))
        await asyncio.sleep(2)
        if leaves == "cancelled":
            deploying.cancel()
        await asyncio.gather(deploying, return_exceptions=True)
        (call,) = calls(events)
        name = "CancelledError" if leaves == "cancelled" else "DeployOutcomeUnknown"
        assert (call.outcome, call.error, call.attempt) == (name, name, 1)
        assert call.queued + call.round_trip == pytest.approx(2.0, abs=0.01)
        assert attempts(events) == []
        await asyncio.sleep(30)
        assert calls(events) == [call]
        (attempt,) = attempts(events)
        assert attempt.call_id == call.call_id
        assert sim.running() - sim.stopped() == set()


@pytest.mark.parametrize("kind", ["503-before", "cut-before", "500-before"])
async def test_a_stop_that_is_retried_is_one_call(kind: str) -> None:
    events: list[Event] = []
    async with owning(
        Fault("stop", kind, times=2), options=INSTANT, on_event=events.append
    ) as (edgegap, _):
        accepted = await deploy(edgegap)
        await edgegap.deployments.ensure_stopped(accepted.request_id)
    (call,) = calls(events, "deployments.stop")
    assert (call.outcome, call.error, call.attempt) == (200, None, 3)
    assert call.request_id == accepted.request_id
    assert len(attempts(events, "deployments.stop")) == 3


async def test_a_stop_that_was_done_the_first_time_has_recovered() -> None:
    events: list[Event] = []
    gone = answer(404, {"message": "no deployment"})
    async with scripted(CUT, gone, on_event=events.append) as (edgegap, _):
        await edgegap.deployments.stop("c065")
    (call,) = calls(events, "deployments.stop")
    assert (call.outcome, call.error, call.recovered) == (404, None, True)


@pytest.mark.parametrize("kind", ["cut-after", "502-after", "hang-after", "408-after"])
@pytest.mark.parametrize("how", ["caller", "block"])
async def test_a_stop_that_is_retried_and_was_done_the_first_time_has_recovered(
    how: str, kind: str
) -> None:
    events: list[Event] = []
    async with owning(
        Fault("stop", kind, times=1),
        options=INSTANT | {"stop_takes": 0.0},
        on_event=events.append,
    ) as (edgegap, sim):
        if how == "caller":
            server = await deploy(edgegap)
            await asyncio.sleep(1)
            await edgegap.deployments.ensure_stopped(server)
        else:
            async with running(edgegap):
                pass
        await sim.until(lambda: sim.stopped() == {*sim.deployed()})
        await asyncio.sleep(60)
    (call,) = calls(events, "deployments.stop")
    assert (call.error, call.recovered, call.attempt) == (None, True, 2)
    # It was this session who has stopped it.
    kinds = [event.kind for event in events if not event.operation]
    assert "stopped" in kinds
    assert "ended" not in kinds


async def test_a_stop_of_a_server_that_was_gone_before_has_not_recovered() -> None:
    events: list[Event] = []
    refused = answer(409, {"message": "not now"})
    gone = answer(410, {"message": "deployment c065 is gone"})
    async with scripted(refused, gone, on_event=events.append) as (edgegap, _):
        await edgegap.deployments.ensure_stopped("c065")
    (call,) = calls(events, "deployments.stop")
    assert (call.outcome, call.error, call.recovered) == (410, None, False)
    assert [event.kind for event in events if not event.operation] == ["ended"]


async def test_a_path_that_was_renamed_is_one_call() -> None:
    events: list[Event] = []
    async with scripted(answer(404), GOOD, on_event=events.append) as (edgegap, _):
        await edgegap.private_fleets.deploy(
            "game", "1", users=["::1"], private_host_ids=["host"]
        )
    first, second, call = (event for event in events if event.operation)
    assert [event.outcome for event in (first, second, call)] == [404, 202, 202]
    assert (call.attempt, call.error) == (2, None)
    assert {event.call_id for event in events} == {call.call_id}
    assert [event.path for event in (first, second, call)] == [
        "/v2/private-fleets:deploy",
        "/v2/private-fleets/deployments",
        "/v2/private-fleets/deployments",
    ]


async def test_deploy_many_is_one_call_for_each_request() -> None:
    events: list[Event] = []
    faults = [
        Fault("deploy", "503-after", share=0.3),
        Fault("deploy", "429", share=0.3),
    ]
    async with (
        owning(faults, options=INSTANT, on_event=events.append) as (edgegap, _),
        edgegap.deployments.deploy_many(requests(30)) as outcomes,
    ):
        taken = [outcome async for outcome in outcomes]
    assert len(calls(events)) == 30
    assert {event.error for event in calls(events)} == {None}
    assert {event.request_id for event in calls(events)} == {
        outcome.deployment.request_id for outcome in taken if outcome.deployment
    }
    assert sum(event.recovered for event in calls(events)) >= 1


async def test_a_call_that_the_limit_refuses_is_one_call_without_an_attempt() -> None:
    events: list[Event] = []
    async with owning(
        options=INSTANT, on_event=events.append, limits=Limits(deploy=1)
    ) as (edgegap, _):
        await deploy(edgegap)
        waiting = [asyncio.ensure_future(deploy(edgegap)) for _ in range(5)]
        await asyncio.sleep(0.1)
        del events[:]
        await asyncio.gather(deploy(edgegap, timeout=2.0), return_exceptions=True)
        (call,) = events
        assert (call.kind, call.error, call.attempt) == ("call", "QueueTooLong", 0)
        await asyncio.gather(*waiting)


EVERY_CALL: dict[str, Callable[[EdgegapSession], Awaitable[object]]] = {
    "GET /v1/status/{request_id}": lambda s: s.deployments.status("c0651"),
    "DELETE /v1/stop/{request_id}": lambda s: s.deployments.stop("c0651"),
    "POST /v2/deployments": deploy,
    "GET /v1/deployments": lambda s: s.deployments.list(page=17),
    "PATCH /v1/deployments/{request_id}/tags/{tag_name}": lambda s: s.tags.update(
        "c0651", "a-tag", name="b-tag"
    ),
    "DELETE /v1/self/stop/{request_id}/{access_point_id}": lambda s: (
        s.deployments.self_stop("c0651", 7777, token=TOKEN)
    ),
}


@pytest.mark.parametrize("route", EVERY_CALL)
@pytest.mark.parametrize("status", [200, 404])
async def test_events_name_method_host_and_a_path_without_ids(
    route: str, status: int
) -> None:
    events: list[Event] = []
    body = {"request_id": "c0651", "message": TOKEN, "data": [], "name": "a"}
    async with scripted(answer(status, body), on_event=events.append) as (
        edgegap,
        server,
    ):
        await asyncio.gather(EVERY_CALL[route](edgegap), return_exceptions=True)
        told = [event for event in events if event.operation]
        assert {f"{event.method} {event.path}" for event in told} == {route}
        assert {event.host for event in events} == {server.url.removeprefix("http://")}
    assert not any(
        part in event.path
        for event in events
        for part in ("c0651", "a-tag", "7777", "17")
    )
    assert TOKEN not in repr(events)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_on_event_that_raises_changes_nothing_for_a_deploy_that_recovers(
    number: int,
) -> None:
    events: list[Event] = []

    def broken(event: Event) -> None:
        events.append(event)
        if len(events) == number:
            raise LookupError("no such label")

    async with owning(
        Fault("deploy", "503-before", times=1), options=INSTANT, on_event=broken
    ) as (edgegap, sim):
        await deploy(edgegap)
        assert len(calls(events)) == 1
        assert len(sim.deployed()) == 1


async def test_half_an_answer_to_a_read_is_an_attempt_and_the_call_succeeds() -> None:
    events: list[Event] = []
    async with scripted(half(), answer(), on_event=events.append) as (edgegap, _):
        await edgegap.deployments.status("c065")
    assert [(event.kind, event.outcome, event.error) for event in events] == [
        ("attempt", "TransportError", "TransportError"),
        ("attempt", 200, None),
        ("call", 200, None),
    ]


async def test_the_requests_of_a_running_block_belong_to_its_deploy() -> None:
    events: list[Any] = []
    async with owning(on_event=events.append) as (edgegap, _), running(edgegap):
        pass
    own = {event.call_id for event in calls(events)}
    assert len(own) == 1
    for event in events:
        assert event.call_id in own or {*event.caused_by} == own, event
