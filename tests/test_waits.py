"""Who is looked at next, and what a list is worth: the rules by themselves, where nothing else shows them."""

import asyncio
from math import inf

import pytest
from bucket_model import now

from edgegap_async._deadlines import Waits
from edgegap_async._settled import Outcomes
from edgegap_async._trust import DISTRUST, LEAST_ROOM, ROOM, Trust
from edgegap_async._waits import (
    FASTEST,
    MISSES,
    SAFETY_NET,
    Board,
    Caller,
    Outcome,
    Place,
    Wait,
)
from edgegap_async.errors import DeploymentTerminated
from edgegap_async.models.deployment import ReadyDeployment


def place(board: Board, request_id: str, *, due: float = 0.0, goal: str = "ready", hooked: bool = False) -> Place:
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
async def test_what_settles_in_the_instant_in_which_the_time_is_over_is_told_once(offset: float) -> None:
    loop, board = asyncio.get_running_loop(), Board()
    places = [place(board, name) for name in "abc"]
    deadline = now() + 1
    places = [each._replace(deadline=deadline) for each in places]
    told = Outcomes(places, Waits().wait, lambda place: place.caller.result() if place.caller.done() else late)
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
