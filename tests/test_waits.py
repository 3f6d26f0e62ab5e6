"""Who is looked at next, and what a list is worth: the rules by themselves, where
nothing else shows them.
"""

import asyncio
from math import inf

import pytest
from support.limiter_model import now

from edgegap_async._settled import Outcomes
from edgegap_async._transport.deadlines import OpenWaits
from edgegap_async._trust import (
    AGAIN,
    DISTRUST,
    LAG,
    LEAST_ROOM,
    MOST_CANARIES,
    ROOM,
    Trust,
)
from edgegap_async._waits import (
    ERROR_PACE,
    FASTEST,
    MISSES,
    OVERDUE,
    SAFETY_NET,
    UNPROVEN,
    Board,
    Caller,
    Outcome,
    Place,
    Wait,
    size,
)
from edgegap_async.errors import DeploymentTerminated
from edgegap_async.models.deployment import ReadyDeployment


def place(
    board: Board,
    request_id: str,
    *,
    due: float = 0.0,
    goal: str = "ready",
    hooked: bool = False,
) -> Place:
    """Somebody waits; since the time 0."""
    caller: Caller = asyncio.get_running_loop().create_future()
    wait = Wait(request_id, goal, 0.0, due, hooked=hooked)  # type: ignore[arg-type]
    wait.callers[caller] = None
    board.add(wait)
    return Place(wait, caller, None, None)


async def test_whom_nobody_waits_for_is_looked_at_no_more() -> None:
    board = Board()
    gone, _ = place(board, "a"), place(board, "b", due=inf)
    board.leave(gone.wait, gone.caller)
    board.flag(gone.wait)
    assert board.take_look(0.0, proven=True, blind=False) is None
    assert board.take_look(0.0, proven=True, blind=True) is None


@pytest.mark.parametrize("offset", [step * 2.5e-7 for step in range(-8, 9)])
async def test_what_settles_in_the_instant_in_which_the_time_is_over_is_told_once(
    offset: float,
) -> None:
    loop, board = asyncio.get_running_loop(), Board()
    places = [place(board, name) for name in "abc"]
    deadline = now() + 1
    places = [each._replace(deadline=deadline) for each in places]
    told = Outcomes(
        places,
        OpenWaits().wait,
        lambda place: place.caller.result() if place.caller.done() else late,
    )
    late: Outcome = DeploymentTerminated("late")
    ready = ReadyDeployment(request_id="a")
    loop.call_at(deadline + offset, places[0].caller.set_result, ready)
    assert sorted([request_id async for request_id, _ in told]) == ["a", "b", "c"]


async def test_a_webhook_that_came_is_not_missed_by_a_look_that_ends_after_it() -> None:
    board, ready = Board(), ReadyDeployment(request_id="a")
    board.webhook_came()
    for _ in range(MISSES):
        told = place(board, "a", hooked=True)
        board.heard(told.wait, ready)
        board.settle(told.wait, ready)
    assert board.webhooks_come
    assert board.pace(told.wait, 0.0) == SAFETY_NET
    for _ in range(MISSES):
        assert board.webhooks_come
        board.settle(place(board, "a", hooked=True).wait, ready)
    assert not board.webhooks_come
    assert board.pace(told.wait, 0.0) == FASTEST


def test_lists_that_are_too_long_are_halved_once_however_many_were_under_way() -> None:
    trust = Trust()
    for _ in range(4):
        trust.refused(ROOM, 0.0)
    assert trust.room == ROOM // 2
    trust.refused(ROOM // 4, 0.0)
    assert trust.room == ROOM // 8
    assert trust.filters(0.0)


def test_where_even_short_lists_are_refused_it_is_their_filters() -> None:
    trust = Trust()
    trust.refused(2 * LEAST_ROOM, 10.0)
    assert trust.filters(10.0)
    trust.refused(2 * LEAST_ROOM - 1, 10.0)
    assert not trust.filters(10.0 + DISTRUST - 0.1)
    assert trust.filters(10.0 + DISTRUST)
    assert trust.room == ROOM


async def test_what_has_waited_longest_is_asked_for_first() -> None:
    board = Board()
    places = {
        name: place(board, name, due=due)
        for name, due in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 9.0))
    }
    room = size(["a", "b"])
    assert [*board.take_list(5.0, room, "ready")] == ["b", "c"]
    # with room left, what is due next goes along
    assert [*board.take_list(5.0, room, "ready")] == ["a", "d"]
    # all are being asked for
    assert board.take_list(5.0, room, "ready") == {}
    singly = [board.take_look(5.0, proven=True, blind=True) for _ in range(4)]
    assert singly == [places["b"].wait, places["c"].wait, places["a"].wait, None]


async def test_a_list_with_room_left_waits_until_its_time_has_come() -> None:
    board = Board()
    places = [place(board, name, due=1.0) for name in "ab"]
    assert board.take_list(0.9, ROOM, "ready") == {}
    assert len(board.take_list(1.0, ROOM, "ready")) == 2
    for each in places:
        each.wait.in_list, each.wait.due = False, 1.0
    assert board.take_list(1.1, ROOM, "ready") == {}
    assert board.next_due(1.1) == 1.0 + FASTEST
    # those in ERROR are asked for less often
    assert len(board.take_list(1.1, ROOM, "error")) == 0
    assert len(board.take_list(1.0 + ERROR_PACE * FASTEST, ROOM, "error")) == 2


async def test_an_id_that_is_longer_than_a_url_is_asked_for_all_the_same() -> None:
    board = Board()
    names = ["x" * ROOM, "y" * ROOM]
    for name in names:
        place(board, name)
    assert [len(board.take_list(0.0, ROOM, "ready")) for _ in range(2)] == [1, 1]


async def test_until_a_list_has_shown_something_statuses_are_asked_for_one_by_one() -> (
    None
):
    board = Board()
    first, second = place(board, "a", due=inf), place(board, "b", due=inf)
    first.wait.looked, second.wait.looked = 0.5, 0.0
    assert board.take_look(UNPROVEN - 0.1, proven=False, blind=False) is None
    assert board.take_look(UNPROVEN, proven=True, blind=False) is None
    assert board.take_look(UNPROVEN, proven=False, blind=False) is second.wait
    later = UNPROVEN + FASTEST
    assert board.take_look(later - 0.01, proven=False, blind=False) is None
    assert board.take_look(0.5 + UNPROVEN, proven=False, blind=False) is first.wait
    first.wait.in_look = second.wait.in_look = False
    assert board.take_look(100.0, proven=True, blind=False) is None


async def test_a_list_has_to_show_now_and_then_that_they_exist() -> None:
    board = Board()
    first, second = place(board, "a", due=inf), place(board, "b", due=inf)
    first.wait.looked, second.wait.looked = 5.0, 0.0
    assert board.take_list(OVERDUE - 0.1, ROOM, "any") == {}
    # and what is overdue next goes along
    assert [*board.take_list(OVERDUE, ROOM, "any")] == ["b", "a"]


async def test_a_flag_waits_until_a_look_that_began_before_it_has_ended() -> None:
    board = Board()
    wait = place(board, "a").wait
    assert board.take_look(0.0, proven=True, blind=False) is wait
    board.flag(wait)
    assert board.take_look(0.0, proven=True, blind=False) is None
    wait.in_look, wait.due = False, 1.0
    assert board.take_look(0.1, proven=True, blind=False) is wait
    wait.in_look = False
    assert board.take_look(0.1, proven=True, blind=False) is None


async def test_one_whom_a_webhook_will_tell_is_not_ended_early() -> None:
    board = Board()
    hooked, hurried = place(board, "a", hooked=True), place(board, "b", goal="stopped")
    hooked.wait.callers[hooked.caller] = hurried.wait.callers[hurried.caller] = 5.0
    for each in (hooked, hurried):
        board.no_status_before(5.0, each.wait, 0.0)
        assert not each.caller.done()
        board.no_status_before(5.1, each.wait, 0.0)
    assert not hooked.caller.done()
    assert hurried.caller.result() is None


def judged(
    trust: Trust, *shown: str, began: float, sound: bool = True, full: bool = False
) -> bool:
    """A list of a and b has shown these; whether the filters are believed."""
    trust.judge(shown, ["a", "b", *trust.canaries], began, sound=sound, full=full)
    return trust.filters(began)


def test_a_list_that_shows_what_was_not_asked_for_is_not_believed() -> None:
    assert judged(Trust(), "a", "b", began=0.0)
    assert not judged(Trust(), "a", "c", began=0.0)
    assert not judged(Trust(), "a", began=0.0, sound=False)


def test_what_a_status_has_shown_a_list_must_show_too_once_it_had_the_time() -> None:
    trust = Trust()
    trust.not_shown("c", 10.0)
    assert trust.canaries == ("c",)
    assert judged(trust, "a", began=10.0 + LAG)
    assert trust.proven
    # it may be on the next page
    assert judged(trust, "a", began=11.0 + LAG, full=True)
    assert not judged(trust, "a", began=11.0 + LAG)
    assert not trust.proven
    assert trust.canaries == ()


@pytest.mark.parametrize("how", ["shown", "stopped"])
def test_what_a_list_has_shown_or_what_is_stopped_proves_nothing_against_it(
    how: str,
) -> None:
    trust = Trust()
    trust.not_shown("c", 10.0)
    if how == "shown":
        assert judged(trust, "c", began=10.5)
    else:
        trust.forget("c")
    assert judged(trust, began=20.0)


def test_no_more_is_asked_for_on_trial_than_a_url_has_room_for() -> None:
    trust = Trust()
    for number in range(2 * MOST_CANARIES):
        trust.not_shown(str(number), 0.0)
    assert len(trust.canaries) == MOST_CANARIES


def test_lists_are_blind_after_three_that_fail_in_a_row() -> None:
    trust = Trust()
    for _ in range(2):
        trust.failed(0.0)
    trust.answered()
    for _ in range(3):
        assert not trust.blind
        assert trust.lists(0.0)
        trust.failed(0.0)
    assert trust.blind
    assert not trust.lists(AGAIN - 0.1)
    assert trust.lists(AGAIN)
    assert judged(trust, began=0.0)
    assert not trust.blind
