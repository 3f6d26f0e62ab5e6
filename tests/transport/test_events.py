"""`on_event` receives one event for each attempt and one for each call, however it
ended.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.raw_server import (
    CUT,
    GET,
    GOOD,
    OPERATIONS,
    SILENT,
    STUCK,
    TOKEN,
    Act,
    answer,
    deploy,
    failure,
    idle_usage,
    scripted,
    session,
)

from edgegap_async import (
    ApiError,
    EdgegapError,
    EdgegapSession,
    Limits,
    QueueTooLong,
    Retry,
)
from edgegap_async.errors import DeadlineExceeded, SessionClosed
from edgegap_async.events import Event

Summary = tuple[str, int | str, int]
FAILED, REFUSED, REFUSED_FOR_9_S = (
    answer(503, {"message": "no"}),
    answer(429),
    answer(429, retry_after="9"),
)
ONE_PER_SECOND = Limits(status=1)


def summaries(events: list[Event]) -> list[Summary]:
    return [(event.kind, event.outcome, event.attempt) for event in of_calls(events)]


def of_calls(events: list[Event]) -> list[Event]:
    """The events that are not about a server."""
    return [event for event in events if event.operation]


def attempts(*outcomes: int | str, call: int | str | None = None) -> list[Summary]:
    """The expected events of a call whose attempts end with `outcomes`. The call ends
    as its last attempt did, unless `call` is given.
    """
    each: list[Summary] = [
        ("attempt", outcome, number) for number, outcome in enumerate(outcomes, 1)
    ]
    return [*each, ("call", call or outcomes[-1], len(outcomes))]


@pytest.mark.parametrize(
    ("acts", "call", "expected"),
    [
        ([answer()], GET, attempts(200)),
        ([GOOD], deploy, attempts(202)),
        ([answer(404)], GET, attempts(404)),
        ([answer(401, {"message": "no"})], deploy, attempts(401)),
        ([FAILED, answer()], GET, attempts(503, 200)),
        ([FAILED, FAILED, FAILED, answer()], GET, attempts(503, 503, 503)),
        (
            [REFUSED, REFUSED, REFUSED, REFUSED, GOOD],
            deploy,
            attempts(429, 429, 429, 429, 202),
        ),
        ([REFUSED_FOR_9_S, answer()], GET, attempts(429, 200)),
        ([CUT, answer()], GET, attempts("TransportError", 200)),
        ([CUT], GET, attempts("TransportError", "TransportError", "TransportError")),
        ([CUT], deploy, attempts("TransportError", call="DeployOutcomeUnknown")),
        ([FAILED], deploy, attempts(503)),
        ([STUCK, answer()], GET, attempts("TransportError", 200)),
        ([FAILED, SILENT], GET, attempts(503, "TransportError", "TransportError")),
    ],
)
async def test_each_attempt_and_each_call_is_one_event(
    acts: list[Act], call: Callable[..., Awaitable[object]], expected: list[Summary]
) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {
        "retry": Retry(tries=3),
        "attempt_timeout": 2.0,
        "on_event": events.append,
    }
    async with scripted(*acts, **options) as (edgegap, server):
        await asyncio.gather(call(edgegap), return_exceptions=True)
        assert summaries(events) == expected
        assert len(server.arrivals) == sum(event.kind == "attempt" for event in events)
        assert len({event.operation for event in of_calls(events)}) == 1


async def test_calls_that_are_never_sent_have_one_event() -> None:
    events: list[Event] = []
    async with scripted(SILENT, limits=ONE_PER_SECOND, on_event=events.append) as (
        edgegap,
        server,
    ):
        first = asyncio.ensure_future(failure(GET(edgegap, timeout=3)))
        await asyncio.sleep(1)
        # It is still in the queue.
        assert isinstance(await failure(GET(edgegap, timeout=1)), DeadlineExceeded)
        assert summaries(events) == [("call", "DeadlineExceeded", 0)]
        assert isinstance(await first, DeadlineExceeded)
        assert summaries(events)[1:] == attempts("DeadlineExceeded")
        del events[:]
        waiting = [asyncio.ensure_future(failure(GET(edgegap))) for _ in range(5)]
        await asyncio.sleep(0)
        assert isinstance(await failure(GET(edgegap, timeout=2)), QueueTooLong)
        assert summaries(events) == [("call", "QueueTooLong", 0)]
        with pytest.raises(ValueError, match="request_id"):
            await edgegap.deployments.status("")
        with pytest.raises(ValueError, match="timeout"):
            await edgegap.deployments.status("c065", timeout=-1)
        assert len(events) == 1
        await edgegap.aclose()
        assert {type(error) for error in await asyncio.gather(*waiting)} == {
            SessionClosed
        }
        assert summaries(events)[1:] == [("call", "SessionClosed", 0)] * 5
        assert len(server.arrivals) == 1


@pytest.mark.parametrize("how", ["cancelled", "closed"])
@pytest.mark.parametrize(
    ("act", "ends"),
    [
        (SILENT, "interrupted"),
        (STUCK, "interrupted"),
        (GOOD.later(2), "interrupted"),
        (REFUSED_FOR_9_S.later(0.5), 429),
    ],
)
async def test_cancelled_and_closed_calls_have_their_events(
    act: Act, ends: int | str, how: str
) -> None:
    events: list[Event] = []
    name = "CancelledError" if how == "cancelled" else "SessionClosed"
    async with scripted(act, limits=ONE_PER_SECOND, on_event=events.append) as (
        edgegap,
        _,
    ):
        first = asyncio.ensure_future(GET(edgegap))
        await asyncio.sleep(0.5)
        # It never leaves the queue.
        second = asyncio.ensure_future(GET(edgegap))
        await asyncio.sleep(0.5)
        if how == "cancelled":
            first.cancel()
            second.cancel()
        else:
            await edgegap.aclose()
        await asyncio.gather(first, second, return_exceptions=True)
        begun, queued = (
            [event for event in events if event.attempt],
            [event for event in events if not event.attempt],
        )
        assert summaries(begun) == attempts(
            name if ends == "interrupted" else ends, call=name
        )
        assert summaries(queued) == [("call", name, 0)]
        assert queued[0].queued == pytest.approx(0.5, abs=0.01)
        attempt, call = begun
        assert (
            attempt.round_trip
            == call.round_trip
            == pytest.approx(1 if ends == "interrupted" else 0.5, abs=0.01)
        )
        assert (attempt.queued, call.queued + call.round_trip) == pytest.approx(
            (0, 1), abs=0.01
        )


async def test_events_hold_queue_time_round_trip_and_rate() -> None:
    events: list[Event] = []
    script = [answer().later(0.25), FAILED.later(0.5), answer().later(0.125)]
    async with scripted(
        *script, limits=Limits(status=2, burst=1), on_event=events.append
    ) as (edgegap, _):
        await asyncio.gather(GET(edgegap), GET(edgegap))
        one, first_call, failed, good, second_call = events
        assert [event.rate for event in events] == [2.0] * 5
        assert (one.queued, one.round_trip) == pytest.approx((0, 0.25), abs=0.01)
        assert (first_call.queued, first_call.round_trip) == pytest.approx(
            (0, 0.25), abs=0.01
        )
        assert (failed.queued, failed.round_trip) == pytest.approx((0.5, 0.5), abs=0.01)
        assert good.round_trip == pytest.approx(0.125, abs=0.01)
        # The slot of the first request returns after 1.252 s.
        assert good.queued == pytest.approx(0.252, abs=0.01)
        assert second_call.queued == pytest.approx(failed.queued + good.queued)
        assert second_call.round_trip == pytest.approx(
            failed.round_trip + good.round_trip
        )
        with pytest.raises(AttributeError):
            one.outcome = 500


async def test_events_hold_the_rate_that_a_429_has_lowered() -> None:
    events: list[Event] = []
    script = [*[answer()] * 31, *[REFUSED] * 5, answer()]
    async with scripted(*script, on_event=events.append, limits=Limits(other=None)) as (
        edgegap,
        _,
    ):
        await edgegap.tags.delete("c065", "a")
        await asyncio.gather(*(GET(edgegap) for _ in range(50)))
        assert [event.rate for event in events[:2]] == [None, None]
        status = [
            event.rate
            for event in events
            if event.limit == "status" and event.kind == "attempt"
        ]
        assert status[:30] == [20] * 30
        assert all(0.7 * 20 < rate < 20 for rate in status[40:])
        assert status[-1] == pytest.approx(edgegap.usage()["status"].rate, abs=0.001)


CALLS: list[
    tuple[Callable[[EdgegapSession], Awaitable[object]], str, str, str | None]
] = [
    (OPERATIONS["GET"], "deployments.status", "status", "c065"),
    (OPERATIONS["DELETE"], "deployments.stop", "other", "c065"),
    (OPERATIONS["deploy"], "deployments.deploy", "deploy", "abcd"),
    (OPERATIONS["POST"], "tags.create", "other", "c065"),
    (lambda s: s.deployments.list(), "deployments.list", "list", None),
    (lambda s: s.locations.list(), "locations.list", "other", None),
    (lambda s: s.private_fleets.hosts("fleet"), "private_fleets.hosts", "list", None),
    (
        lambda s: s.deployments.self_stop("c065", 7, token="secret"),
        "deployments.self_stop",
        "other",
        "c065",
    ),
]


@pytest.mark.parametrize(
    ("call", "operation", "limit", "request_id"), CALLS, ids=[row[1] for row in CALLS]
)
async def test_events_name_operation_limit_and_request_id(
    call: Any, operation: str, limit: str, request_id: str | None
) -> None:
    events: list[Event] = []
    body: dict[str, Any] = {"name": "a", "locations": [], "data": [], "hosts": []}
    good = answer(
        202, body if request_id is None else {**body, "request_id": request_id}
    )
    async with scripted(
        good, answer(400, {"message": "no"}), on_event=events.append
    ) as (edgegap, _):
        await call(edgegap)
        await failure(call(edgegap))
    assert summaries(events) == [*attempts(202), *attempts(400)]
    told = of_calls(events)
    assert {(event.operation, event.limit) for event in told} == {(operation, limit)}
    assert {event.request_id for event in told[:2]} == {request_id}
    assert {event.request_id for event in told[2:]} == {
        None if operation.endswith(".deploy") else request_id
    }


async def test_the_event_of_a_failed_allocation_names_the_deployment() -> None:
    events: list[Event] = []
    async with scripted(
        answer(422, {"message": "no room", "request_id": "abcd"}),
        on_event=events.append,
    ) as (e, _):
        await failure(deploy(e))
    assert [(event.outcome, event.request_id) for event in events] == [
        (422, "abcd")
    ] * 2


@pytest.mark.parametrize("seed", range(3))
async def test_every_attempt_of_many_concurrent_calls_has_its_event(seed: int) -> None:
    """The attempts of each call are numbered from one."""
    # Backoff is random too.
    random.seed(seed)
    rng, events = random.Random(seed), list[Event]()
    good = answer(200, {"message": "it stops"})
    acts = [
        rng.choice([FAILED, REFUSED, CUT, SILENT, answer(403), *[good.later(0.1)] * 4])
        for _ in range(300)
    ]
    options: dict[str, Any] = {
        "limits": Limits(other=100),
        "attempt_timeout": 1.0,
        "on_event": events.append,
    }
    async with scripted(*acts, good, **options) as (edgegap, server):
        names = [f"c{number:03}" for number in range(100)]
        calls = [
            asyncio.ensure_future(edgegap.deployments.stop(name, timeout=4.0))
            for name in names
        ]
        for call in calls[::7]:
            asyncio.get_running_loop().call_later(rng.uniform(0, 3), call.cancel)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        idle_usage(edgegap, "DELETE")
        arrived = [arrival.path.rpartition("/")[2] for arrival in server.arrivals]
    for name, end in zip(names, ended, strict=True):
        own = [event for event in of_calls(events) if event.request_id == name]
        *tries, call = own
        assert (
            summaries(tries)
            == attempts(*(event.outcome for event in tries), call=1)[:-1]
        )
        assert (call.kind, call.attempt, len(tries)) == (
            "call",
            arrived.count(name),
            arrived.count(name),
        )
        outcome = end.status if isinstance(end, ApiError) else type(end).__name__
        assert call.outcome == (outcome if isinstance(end, BaseException) else 200)
    assert len({type(end) for end in ended}) >= 3


@pytest.mark.parametrize("act", [GOOD, answer(404), CUT])
async def test_an_exception_in_on_event_is_logged_and_changes_nothing(
    act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise LookupError(f"no label for {event.kind}")

    async def outcome(**options: Any) -> object:
        async with scripted(act, retry=Retry(tries=1), **options) as (edgegap, _):
            ended = (await asyncio.gather(GET(edgegap), return_exceptions=True))[0]
            idle_usage(edgegap, "GET")
            return repr(ended)

    caplog.set_level(logging.DEBUG, "edgegap_async")
    without = await outcome()
    assert "on_event" not in caplog.text
    assert await outcome(on_event=broken) == without
    logged = [record for record in caplog.records if "on_event" in record.message]
    assert [
        (record.levelname, str(record.exc_info and record.exc_info[1]))
        for record in logged
    ] == [
        ("ERROR", "no label for attempt"),
        ("ERROR", "no label for call"),
    ]


@pytest.mark.parametrize("wrong", ["print", 5, [print]])
def test_on_event_must_be_callable(wrong: Any) -> None:
    with pytest.raises(ValueError, match="on_event"):
        EdgegapSession("token", on_event=wrong)


@pytest.mark.parametrize("status", [200, 202, 307, 400, 401, 404, 422, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"message": TOKEN, "details": TOKEN, "request_id": 5},
        f"<html>{TOKEN}",
        f"{{{TOKEN}",
    ],
)
async def test_no_event_contains_the_token(status: int, body: object) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {
        "retry": Retry(tries=2),
        "timeout": 3.0,
        "on_event": events.append,
    }
    async with scripted(
        answer(status, body, retry_after=TOKEN, location=TOKEN), **options
    ) as (edgegap, server):
        for call in (
            GET,
            deploy,
            lambda e: e.deployments.self_stop("c065", 7, token=TOKEN),
        ):
            await asyncio.gather(call(edgegap), return_exceptions=True)
        async with session(server.url, on_event=events.append) as other:
            await asyncio.gather(other.tags.list("c065"), return_exceptions=True)
    assert len(events) >= 8
    assert TOKEN not in repr(events)
    assert EdgegapError.__name__ not in repr(events)
