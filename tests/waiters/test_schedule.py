"""Rules of the schedule and of the filter checks that the tests of the watcher do not
show.
"""

import asyncio
from math import inf

import pytest
from support.limiter_model import now

from edgegap_async._transport.deadlines import OpenWaits
from edgegap_async._transport.queries import size
from edgegap_async._waiters.filter_health import (
    DISTRUST,
    LAG,
    LEAST_ROOM,
    MOST_EXPECTED,
    RETRY_AFTER_FAILURE,
    ROOM,
    FilterHealth,
)
from edgegap_async._waiters.outcomes import Outcome
from edgegap_async._waiters.schedule import (
    ERROR_INTERVALS,
    FASTEST,
    MISSES,
    OVERDUE,
    SAFETY_NET,
    SLOWEST,
    UNPROVEN,
    ListState,
    ReadyWaiter,
    Schedule,
)
from edgegap_async._waiters.stream import ReadyStream
from edgegap_async._waiters.waiter import WaitHandle
from edgegap_async.errors import DeploymentTerminated
from edgegap_async.models.deployment import ReadyDeployment


def add_waiter(
    schedule: Schedule,
    request_id: str,
    *,
    due: float = 0.0,
    hooked: bool = False,
) -> WaitHandle[Outcome]:
    """Add a waiter with one caller to the schedule, at the time 0."""
    future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
    waiter = ReadyWaiter(request_id, 0.0, due, hooked=hooked)
    waiter.callers[future] = None
    schedule.add(waiter)
    return WaitHandle(waiter, future, None, None)


def requeue(schedule: Schedule) -> None:
    """Take changed times of all waiters into account."""
    waiters = schedule.next_sweep(inf).values()
    for waiter in waiters:
        waiter.listing = False
        schedule.add(waiter)


async def test_a_deployment_without_callers_is_not_polled() -> None:
    schedule = Schedule()
    gone, _ = add_waiter(schedule, "a"), add_waiter(schedule, "b", due=inf)
    schedule.leave(gone.waiter, gone.future)
    schedule.poll_soon(gone.waiter)
    assert schedule.next_status(0.0, proven=True, failing=False) is None
    assert schedule.next_status(0.0, proven=True, failing=True) is None


@pytest.mark.parametrize("offset", [step * 2.5e-7 for step in range(-8, 9)])
async def test_an_outcome_at_the_deadline_is_reported_once(
    offset: float,
) -> None:
    loop, schedule = asyncio.get_running_loop(), Schedule()
    handles = [add_waiter(schedule, name) for name in "abc"]
    deadline = now() + 1
    handles = [each._replace(deadline=deadline) for each in handles]
    outcomes = ReadyStream(
        handles,
        OpenWaits().wait,
        lambda handle: handle.future.result() if handle.future.done() else late,
    )
    late: Outcome = DeploymentTerminated("late")
    ready = ReadyDeployment(request_id="a")
    loop.call_at(deadline + offset, handles[0].future.set_result, ready)
    assert sorted([request_id async for request_id, _ in outcomes]) == ["a", "b", "c"]


async def test_a_webhook_during_a_poll_is_not_counted_as_missed() -> None:
    schedule, ready = Schedule(), ReadyDeployment(request_id="a")
    schedule.webhook_arrived()
    for _ in range(MISSES):
        handle = add_waiter(schedule, "a", hooked=True)
        schedule.receive(handle.waiter, ready)
        schedule.resolve(handle.waiter, ready)
    assert schedule.webhooks_arrive
    assert schedule.interval(handle.waiter, 0.0) == SAFETY_NET
    for _ in range(MISSES):
        assert schedule.webhooks_arrive
        schedule.resolve(add_waiter(schedule, "a", hooked=True).waiter, ready)
    assert not schedule.webhooks_arrive
    assert schedule.interval(handle.waiter, 0.0) == FASTEST


def test_lists_that_are_too_long_are_halved_once() -> None:
    health = FilterHealth()
    for _ in range(4):
        health.refused(ROOM, 0.0)
    assert health.room == ROOM // 2
    health.refused(ROOM // 4, 0.0)
    assert health.room == ROOM // 8
    assert health.filters_trusted(0.0)


def test_filters_are_not_trusted_after_a_short_list_was_refused() -> None:
    health = FilterHealth()
    health.refused(2 * LEAST_ROOM, 10.0)
    assert health.filters_trusted(10.0)
    health.refused(2 * LEAST_ROOM - 1, 10.0)
    assert not health.filters_trusted(10.0 + DISTRUST - 0.1)
    assert health.filters_trusted(10.0 + DISTRUST)
    assert health.room == ROOM


async def test_the_longest_waiters_are_listed_first() -> None:
    schedule = Schedule()
    handles = {
        name: add_waiter(schedule, name, due=due)
        for name, due in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 9.0))
    }
    room = size(["a", "b"])
    assert [*schedule.next_list(5.0, room, "ready")] == ["b", "c"]
    # A waiter that is due next is listed too, as there is room left.
    assert [*schedule.next_list(5.0, room, "ready")] == ["a", "d"]
    # Lists with all of them are in progress.
    assert schedule.next_list(5.0, room, "ready") == {}
    singly = [schedule.next_status(5.0, proven=True, failing=True) for _ in range(4)]
    assert singly == [
        handles["b"].waiter,
        handles["c"].waiter,
        handles["a"].waiter,
        None,
    ]


async def test_a_list_that_is_not_full_waits_until_it_is_due() -> None:
    schedule = Schedule()
    for name in "ab":
        add_waiter(schedule, name, due=1.0)
    assert schedule.next_list(0.9, ROOM, "ready") == {}
    assert len(schedule.next_list(1.0, ROOM, "ready")) == 2
    waiters = [schedule.waiters[name] for name in "ab"]
    schedule.listed(waiters, "ready", 1.0 - FASTEST, more=False)
    assert schedule.next_list(1.1, ROOM, "ready") == {}
    assert schedule.next_due(1.1) == 1.0 + FASTEST
    # Lists of deployments in ERROR are rarer.
    assert len(schedule.next_list(1.1, ROOM, "error")) == 0
    assert len(schedule.next_list(1.0 + ERROR_INTERVALS * FASTEST, ROOM, "error")) == 2


async def test_lists_have_an_even_pace_once_all_waiters_are_in_them() -> None:
    schedule = Schedule()
    waiters = [add_waiter(schedule, name, due=0.0).waiter for name in "ab"]
    # Of 2.5 requests per second.
    spacing = 0.4
    assert len(schedule.next_list(0.0, ROOM, "ready", spacing)) == 2
    schedule.listed(waiters, "ready", 0.0, more=False)
    for state in ("error", "ready"):
        for waiter in waiters:
            waiter.due = waiter.error_due = 0.0
        requeue(schedule)
        assert schedule.next_list(0.39, ROOM, state, spacing) == {}
        assert schedule.next_due(0.39) == spacing
    assert len(schedule.next_list(spacing, ROOM, "error", spacing)) == 2
    schedule.listed(waiters, "error", spacing, more=False)
    assert schedule.next_list(2 * spacing - 0.01, ROOM, "ready", spacing) == {}
    assert len(schedule.next_list(2 * spacing, ROOM, "ready", spacing)) == 2


@pytest.mark.parametrize("state", ["ready", "error", "any"])
@pytest.mark.parametrize("spacing", [12.8, 1000.0, inf])
async def test_a_low_rate_that_has_passed_holds_lists_up_no_longer_than_an_interval(
    spacing: float, state: ListState
) -> None:
    schedule = Schedule()
    waiters = [add_waiter(schedule, name, due=0.0).waiter for name in "ab"]
    assert len(schedule.next_list(0.0, ROOM, "ready", spacing)) == 2
    schedule.listed(waiters, "ready", 0.0, more=False)
    for waiter in waiters:
        waiter.due = waiter.error_due = waiter.polled_at = -100.0
    requeue(schedule)
    assert schedule.next_list(SLOWEST - 0.01, ROOM, state, 0.1) == {}
    assert schedule.next_due(SLOWEST - 0.01) == SLOWEST
    assert len(schedule.next_list(SLOWEST, ROOM, state, 0.1)) == 2


async def test_lists_for_more_waiters_than_fit_into_one_follow_at_once() -> None:
    schedule = Schedule()
    for name in "abcd":
        add_waiter(schedule, name, due=0.0)
    room = size(["a", "b"])
    for _ in range(2):
        assert len(schedule.next_list(0.0, room, "ready", 0.4)) == 2


async def test_an_id_longer_than_a_url_is_still_listed() -> None:
    schedule = Schedule()
    names = ["x" * ROOM, "y" * ROOM]
    for name in names:
        add_waiter(schedule, name)
    assert [len(schedule.next_list(0.0, ROOM, "ready")) for _ in range(2)] == [1, 1]


async def test_statuses_are_polled_until_a_list_has_shown_one() -> None:
    schedule = Schedule()
    first, second = (
        add_waiter(schedule, "a", due=inf),
        add_waiter(schedule, "b", due=inf),
    )
    first.waiter.polled_at, second.waiter.polled_at = 0.5, 0.0
    requeue(schedule)
    assert schedule.next_status(UNPROVEN - 0.1, proven=False, failing=False) is None
    assert schedule.next_status(UNPROVEN, proven=True, failing=False) is None
    assert schedule.next_status(UNPROVEN, proven=False, failing=False) is second.waiter
    later = UNPROVEN + FASTEST
    assert schedule.next_status(later - 0.01, proven=False, failing=False) is None
    assert (
        schedule.next_status(0.5 + UNPROVEN, proven=False, failing=False)
        is first.waiter
    )
    first.waiter.poll = second.waiter.poll = None
    assert schedule.next_status(100.0, proven=True, failing=False) is None


async def test_a_list_checks_now_and_then_that_deployments_exist() -> None:
    schedule = Schedule()
    first, second = (
        add_waiter(schedule, "a", due=inf),
        add_waiter(schedule, "b", due=inf),
    )
    first.waiter.polled_at, second.waiter.polled_at = 5.0, 0.0
    requeue(schedule)
    assert schedule.next_list(OVERDUE - 0.1, ROOM, "any") == {}
    # The waiter that is overdue next is listed too.
    assert [*schedule.next_list(OVERDUE, ROOM, "any")] == ["b", "a"]


async def test_an_early_poll_waits_for_the_one_in_progress() -> None:
    schedule = Schedule()
    waiter = add_waiter(schedule, "a").waiter
    assert schedule.next_status(0.0, proven=True, failing=False) is waiter
    schedule.poll_soon(waiter)
    assert schedule.next_status(0.0, proven=True, failing=False) is None
    schedule.polled(schedule.waiters["a"], 0.0)
    assert schedule.next_status(0.1, proven=True, failing=False) is waiter
    schedule.polled(schedule.waiters["a"], 0.1)
    assert schedule.next_status(0.1, proven=True, failing=False) is None


async def test_a_waiter_with_webhooks_does_not_end_early() -> None:
    schedule = Schedule()
    for hooked in (True, False):
        handle = add_waiter(schedule, "a", hooked=hooked)
        waiter = schedule.waiters["a"]
        waiter.callers[handle.future] = 5.0
        schedule.end_before(5.0, waiter, 0.0)
        assert not handle.future.done()
        schedule.end_before(5.1, waiter, 0.0)
        assert handle.future.done() is not hooked


def check_list(
    health: FilterHealth,
    *shown: str,
    began: float,
    sound: bool = True,
    full: bool = False,
) -> bool:
    """Check a list of a and b. Return whether the filters are trusted."""
    health.judge(shown, ["a", "b", *health.expected], began, sound=sound, full=full)
    return health.filters_trusted(began)


def test_filters_are_not_trusted_after_a_list_with_foreign_rows() -> None:
    assert check_list(FilterHealth(), "a", "b", began=0.0)
    assert not check_list(FilterHealth(), "a", "c", began=0.0)
    assert not check_list(FilterHealth(), "a", began=0.0, sound=False)


def test_a_list_must_show_what_a_status_has_shown() -> None:
    health = FilterHealth()
    health.not_shown("c", 10.0)
    assert health.expected == ("c",)
    assert check_list(health, "a", began=10.0 + LAG)
    assert health.proven
    # The deployment may be on the next page.
    assert check_list(health, "a", began=11.0 + LAG, full=True)
    assert not check_list(health, "a", began=11.0 + LAG)
    assert not health.proven
    assert health.expected == ()


@pytest.mark.parametrize("how", ["shown", "stopped"])
def test_filters_stay_trusted_if_an_expected_deployment_is_shown_or_stopped(
    how: str,
) -> None:
    health = FilterHealth()
    health.not_shown("c", 10.0)
    if how == "shown":
        assert check_list(health, "c", began=10.5)
    else:
        health.forget("c")
    assert check_list(health, began=20.0)


def test_a_list_must_show_a_bounded_number_of_expected_deployments() -> None:
    health = FilterHealth()
    for number in range(2 * MOST_EXPECTED):
        health.not_shown(str(number), 0.0)
    assert len(health.expected) == MOST_EXPECTED


def test_lists_become_rare_after_three_failures() -> None:
    health = FilterHealth()
    for _ in range(2):
        health.failed(0.0)
    health.answered()
    for _ in range(3):
        assert not health.failing
        assert health.lists_work(0.0)
        health.failed(0.0)
    assert health.failing
    assert not health.lists_work(RETRY_AFTER_FAILURE - 0.1)
    assert health.lists_work(RETRY_AFTER_FAILURE)
    assert check_list(health, began=0.0)
    assert not health.failing
