"""Who is looked at next, and what a list is worth: the rules by themselves, where
nothing else shows them.
"""

import asyncio
from math import inf

import pytest
from support.limiter_model import now

from edgegap_async._transport.deadlines import OpenWaits
from edgegap_async._waiters.filter_health import (
    DISTRUST,
    LAG,
    LEAST_ROOM,
    MOST_EXPECTED,
    RETRY_AFTER_FAILURE,
    ROOM,
    FilterHealth,
)
from edgegap_async._waiters.schedule import (
    ERROR_PACE,
    FASTEST,
    MISSES,
    OVERDUE,
    SAFETY_NET,
    UNPROVEN,
    Outcome,
    Schedule,
    Waiter,
    WaitFuture,
    WaitHandle,
    size,
)
from edgegap_async._waiters.stream import ReadyStream
from edgegap_async.errors import DeploymentTerminated
from edgegap_async.models.deployment import ReadyDeployment


def place(
    schedule: Schedule,
    request_id: str,
    *,
    due: float = 0.0,
    goal: str = "ready",
    hooked: bool = False,
) -> WaitHandle:
    """Somebody waits; since the time 0."""
    caller: WaitFuture = asyncio.get_running_loop().create_future()
    wait = Waiter(request_id, goal, 0.0, due, hooked=hooked)  # type: ignore[arg-type]
    wait.callers[caller] = None
    schedule.add(wait)
    return WaitHandle(wait, caller, None, None)


async def test_a_deployment_without_callers_is_not_polled() -> None:
    schedule = Schedule()
    gone, _ = place(schedule, "a"), place(schedule, "b", due=inf)
    schedule.leave(gone.wait, gone.caller)
    schedule.poll_soon(gone.wait)
    assert schedule.next_status(0.0, proven=True, failing=False) is None
    assert schedule.next_status(0.0, proven=True, failing=True) is None


@pytest.mark.parametrize("offset", [step * 2.5e-7 for step in range(-8, 9)])
async def test_an_outcome_at_the_deadline_is_reported_once(
    offset: float,
) -> None:
    loop, schedule = asyncio.get_running_loop(), Schedule()
    places = [place(schedule, name) for name in "abc"]
    deadline = now() + 1
    places = [each._replace(deadline=deadline) for each in places]
    told = ReadyStream(
        places,
        OpenWaits().wait,
        lambda place: place.caller.result() if place.caller.done() else late,
    )
    late: Outcome = DeploymentTerminated("late")
    ready = ReadyDeployment(request_id="a")
    loop.call_at(deadline + offset, places[0].caller.set_result, ready)
    assert sorted([request_id async for request_id, _ in told]) == ["a", "b", "c"]


async def test_a_webhook_during_a_poll_is_not_counted_as_missed() -> None:
    schedule, ready = Schedule(), ReadyDeployment(request_id="a")
    schedule.webhook_arrived()
    for _ in range(MISSES):
        told = place(schedule, "a", hooked=True)
        schedule.receive(told.wait, ready)
        schedule.resolve(told.wait, ready)
    assert schedule.webhooks_come
    assert schedule.pace(told.wait, 0.0) == SAFETY_NET
    for _ in range(MISSES):
        assert schedule.webhooks_come
        schedule.resolve(place(schedule, "a", hooked=True).wait, ready)
    assert not schedule.webhooks_come
    assert schedule.pace(told.wait, 0.0) == FASTEST


def test_lists_that_are_too_long_are_halved_once() -> None:
    health = FilterHealth()
    for _ in range(4):
        health.refused(ROOM, 0.0)
    assert health.room == ROOM // 2
    health.refused(ROOM // 4, 0.0)
    assert health.room == ROOM // 8
    assert health.filters(0.0)


def test_refused_short_lists_discredit_the_filters() -> None:
    health = FilterHealth()
    health.refused(2 * LEAST_ROOM, 10.0)
    assert health.filters(10.0)
    health.refused(2 * LEAST_ROOM - 1, 10.0)
    assert not health.filters(10.0 + DISTRUST - 0.1)
    assert health.filters(10.0 + DISTRUST)
    assert health.room == ROOM


async def test_the_longest_waiters_are_listed_first() -> None:
    schedule = Schedule()
    places = {
        name: place(schedule, name, due=due)
        for name, due in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 9.0))
    }
    room = size(["a", "b"])
    assert [*schedule.next_list(5.0, room, "ready")] == ["b", "c"]
    # with room left, what is due next goes along
    assert [*schedule.next_list(5.0, room, "ready")] == ["a", "d"]
    # all are being asked for
    assert schedule.next_list(5.0, room, "ready") == {}
    singly = [schedule.next_status(5.0, proven=True, failing=True) for _ in range(4)]
    assert singly == [places["b"].wait, places["c"].wait, places["a"].wait, None]


async def test_a_list_that_is_not_full_waits_until_it_is_due() -> None:
    schedule = Schedule()
    places = [place(schedule, name, due=1.0) for name in "ab"]
    assert schedule.next_list(0.9, ROOM, "ready") == {}
    assert len(schedule.next_list(1.0, ROOM, "ready")) == 2
    for each in places:
        each.wait.listing, each.wait.due = False, 1.0
    assert schedule.next_list(1.1, ROOM, "ready") == {}
    assert schedule.next_due(1.1) == 1.0 + FASTEST
    # those in ERROR are asked for less often
    assert len(schedule.next_list(1.1, ROOM, "error")) == 0
    assert len(schedule.next_list(1.0 + ERROR_PACE * FASTEST, ROOM, "error")) == 2


async def test_an_id_longer_than_a_url_is_still_listed() -> None:
    schedule = Schedule()
    names = ["x" * ROOM, "y" * ROOM]
    for name in names:
        place(schedule, name)
    assert [len(schedule.next_list(0.0, ROOM, "ready")) for _ in range(2)] == [1, 1]


async def test_statuses_are_polled_until_a_list_has_shown_one() -> None:
    schedule = Schedule()
    first, second = place(schedule, "a", due=inf), place(schedule, "b", due=inf)
    first.wait.polled_at, second.wait.polled_at = 0.5, 0.0
    assert schedule.next_status(UNPROVEN - 0.1, proven=False, failing=False) is None
    assert schedule.next_status(UNPROVEN, proven=True, failing=False) is None
    assert schedule.next_status(UNPROVEN, proven=False, failing=False) is second.wait
    later = UNPROVEN + FASTEST
    assert schedule.next_status(later - 0.01, proven=False, failing=False) is None
    assert (
        schedule.next_status(0.5 + UNPROVEN, proven=False, failing=False) is first.wait
    )
    first.wait.polling = second.wait.polling = False
    assert schedule.next_status(100.0, proven=True, failing=False) is None


async def test_a_list_must_show_now_and_then_that_deployments_exist() -> None:
    schedule = Schedule()
    first, second = place(schedule, "a", due=inf), place(schedule, "b", due=inf)
    first.wait.polled_at, second.wait.polled_at = 5.0, 0.0
    assert schedule.next_list(OVERDUE - 0.1, ROOM, "any") == {}
    # and what is overdue next goes along
    assert [*schedule.next_list(OVERDUE, ROOM, "any")] == ["b", "a"]


async def test_an_early_poll_waits_for_the_one_in_progress() -> None:
    schedule = Schedule()
    wait = place(schedule, "a").wait
    assert schedule.next_status(0.0, proven=True, failing=False) is wait
    schedule.poll_soon(wait)
    assert schedule.next_status(0.0, proven=True, failing=False) is None
    wait.polling, wait.due = False, 1.0
    assert schedule.next_status(0.1, proven=True, failing=False) is wait
    wait.polling = False
    assert schedule.next_status(0.1, proven=True, failing=False) is None


async def test_a_waiter_with_webhooks_is_not_ended_early() -> None:
    schedule = Schedule()
    hooked, hurried = (
        place(schedule, "a", hooked=True),
        place(schedule, "b", goal="stopped"),
    )
    hooked.wait.callers[hooked.caller] = hurried.wait.callers[hurried.caller] = 5.0
    for each in (hooked, hurried):
        schedule.end_before(5.0, each.wait, 0.0)
        assert not each.caller.done()
        schedule.end_before(5.1, each.wait, 0.0)
    assert not hooked.caller.done()
    assert hurried.caller.result() is None


def judged(
    health: FilterHealth,
    *shown: str,
    began: float,
    sound: bool = True,
    full: bool = False,
) -> bool:
    """A list of a and b has shown these; whether the filters are believed."""
    health.judge(shown, ["a", "b", *health.expected], began, sound=sound, full=full)
    return health.filters(began)


def test_a_list_with_foreign_rows_discredits_the_filters() -> None:
    assert judged(FilterHealth(), "a", "b", began=0.0)
    assert not judged(FilterHealth(), "a", "c", began=0.0)
    assert not judged(FilterHealth(), "a", began=0.0, sound=False)


def test_a_list_must_show_what_a_status_has_shown() -> None:
    health = FilterHealth()
    health.not_shown("c", 10.0)
    assert health.expected == ("c",)
    assert judged(health, "a", began=10.0 + LAG)
    assert health.proven
    # it may be on the next page
    assert judged(health, "a", began=11.0 + LAG, full=True)
    assert not judged(health, "a", began=11.0 + LAG)
    assert not health.proven
    assert health.expected == ()


@pytest.mark.parametrize("how", ["shown", "stopped"])
def test_shown_or_stopped_deployments_do_not_discredit_a_list(
    how: str,
) -> None:
    health = FilterHealth()
    health.not_shown("c", 10.0)
    if how == "shown":
        assert judged(health, "c", began=10.5)
    else:
        health.forget("c")
    assert judged(health, began=20.0)


def test_few_deployments_are_expected_of_a_list_at_a_time() -> None:
    health = FilterHealth()
    for number in range(2 * MOST_EXPECTED):
        health.not_shown(str(number), 0.0)
    assert len(health.expected) == MOST_EXPECTED


def test_lists_are_given_up_after_three_failures() -> None:
    health = FilterHealth()
    for _ in range(2):
        health.failed(0.0)
    health.answered()
    for _ in range(3):
        assert not health.failing
        assert health.lists(0.0)
        health.failed(0.0)
    assert health.failing
    assert not health.lists(RETRY_AFTER_FAILURE - 0.1)
    assert health.lists(RETRY_AFTER_FAILURE)
    assert judged(health, began=0.0)
    assert not health.failing
