"""Two lanes before each limit: a tenth for the background when both are full; no turn
is lost, whoever goes.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import (
    AT_REST,
    STALLS,
    busiest_second,
    made,
    moments,
    now,
    pace,
    plans,
    run,
    stall,
)
from support.raw_server import GET, GOOD, answer, deploy, scripted

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.queue import Priority, PriorityQueue
from edgegap_async.endpoints import OPERATIONS
from edgegap_async.events import Event

LANES: tuple[Priority, ...] = get_args(Priority)


class Load:
    """Status calls whose request IDs tell their lane and their place in it."""

    def __init__(self, edgegap: EdgegapSession) -> None:
        self.asked: list[str] = []
        # of the foreground
        self.waits: list[float] = []
        self._edgegap = edgegap
        self._numbers = count()
        self._end = now() + 30

    async def call(self, priority: Priority) -> None:
        name, asked = f"{priority}-{next(self._numbers)}", now()
        self.asked.append(name)
        await self._edgegap.deployments.status(name, priority=priority, timeout=None)
        if priority == "foreground":
            self.waits.append(now() - asked)

    async def caller(self, priority: Priority, pause: float = 0.0) -> None:
        while now() < self._end:
            await asyncio.gather(asyncio.sleep(pause), self.call(priority))


def lane_of(name: str) -> str:
    return name.partition("-")[0]


def in_lane(lane: str, names: list[str]) -> list[str]:
    return [name for name in names if lane_of(name) == lane]


async def arrived(
    callers: Callable[[Load], list[Awaitable[None]]],
) -> tuple[Load, list[str]]:
    """What arrives in thirty seconds of load, in order."""
    async with scripted() as (edgegap, server):
        load = Load(edgegap)
        await asyncio.gather(*callers(load))
        paths = [
            arrival.path
            for arrival, at in zip(server.arrivals, server.times, strict=True)
            if at < 30
        ]
        assert busiest_second(server.times) <= 20
    names = [path.rpartition("/")[2] for path in paths]
    assert len(names) >= 0.97 * 20 * 30
    for lane in LANES:
        mine = in_lane(lane, names)
        assert mine == in_lane(lane, load.asked)[: len(mine)]
    return load, names


async def test_under_full_load_the_background_gets_a_tenth() -> None:
    _, names = await arrived(
        lambda load: [load.caller(lane) for lane in LANES for _ in range(30)]
    )
    lanes = [lane_of(name) for name in names]
    # at once, before there was a queue
    assert lanes[:5] == ["foreground"] * 5
    tens = [Counter(lanes[at : at + 10]) for at in range(5, len(lanes) - 10)]
    assert all(ten == {"foreground": 9, "background": 1} for ten in tens[10:])


@pytest.mark.parametrize("others", [0, 1])
async def test_the_background_gets_all_that_the_foreground_leaves(others: int) -> None:
    def callers(load: Load) -> list[Awaitable[None]]:
        background = [load.caller("background") for _ in range(30)]
        return [load.caller("foreground", 0.2), *background] if others else background

    load, names = await arrived(callers)
    assert len(in_lane("foreground", names)) in (149 * others, 150 * others)
    # behind thirty of the background it would be 1.5 s
    assert max(load.waits, default=0) < 0.4


@pytest.mark.parametrize("lane", LANES)
async def test_a_retry_keeps_its_place_in_its_priority(lane: Priority) -> None:
    script = [answer(503, {"message": "no"}), answer()]
    async with scripted(
        *script, limits=Limits(status=2, burst=1), retry=Retry(backoff=0.001)
    ) as (edgegap, server):
        load = Load(edgegap)
        await asyncio.gather(
            *map(load.call, (lane, *["foreground"] * 25, *["background"] * 4))
        )
        names = [arrival.path.rpartition("/")[2] for arrival in server.arrivals]
    first = load.asked[0]
    again = names.index(first, 1)
    for each in LANES:
        assert [name for name in in_lane(each, names) if name != first] == in_lane(
            each, load.asked
        )[each == lane :]
    if lane == "foreground":
        # the next one was head by then
        assert again == 2
    else:
        assert in_lane("background", names)[1] == first
        # that head, and nine
        assert 10 <= again - 1 <= 11


@dataclass(frozen=True)
class Stay:
    """When somebody asks, for how long they are head, how often, and when they are
    cancelled; in seconds.
    """

    priority: Priority
    start: float
    length: float
    times: int
    cancelled: float | None


STAYS = st.builds(
    Stay,
    st.sampled_from(LANES),
    moments(0.4),
    moments(0.1),
    st.integers(1, 2),
    st.none() | moments(1.5),
)


async def carried_out(
    stays: list[Stay],
    stalls: list[tuple[float, float]],
    stay: Callable[[Stay], Coroutine[Any, Any, None]],
) -> None:
    """All of a plan; whoever is not cancelled comes to an end."""
    loop = asyncio.get_running_loop()
    for start, length in stalls:
        loop.call_later(start, stall, length)
    tasks = [asyncio.create_task(stay(each)) for each in stays]
    for each, task in zip(stays, tasks, strict=True):
        if each.cancelled is not None:
            loop.call_later(each.start + each.cancelled, task.cancel)
    async with asyncio.timeout(60):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [
        each for each in ended if not isinstance(each, asyncio.CancelledError | None)
    ] == []


@dataclass
class Desk:
    """PriorityQueue, and who waits before them, by their place in the order of asking."""

    lanes: PriorityQueue = field(default_factory=PriorityQueue)
    # heads by then
    waiting: dict[int, tuple[Priority, int, asyncio.Task[None]]] = field(
        default_factory=dict
    )
    heads: int = 0
    inside: int = 0

    def granted(self, ticket: int, priority: Priority) -> None:
        del self.waiting[ticket]
        # Whoever asked before the last one became head was there when this one was
        # chosen.
        for other, (lane, since, task) in self.waiting.items():
            assert (
                lane != priority
                or since >= self.heads
                or task.cancelling()
                or other > ticket
            )
        self.heads += 1

    async def stay(self, each: Stay) -> None:
        await asyncio.sleep(each.start)
        ticket = self.lanes.ticket()
        for _ in range(each.times):
            self.waiting[ticket] = each.priority, self.heads, asyncio.current_task()
            try:
                await self.lanes.enter(ticket, each.priority)
            except asyncio.CancelledError:
                self.waiting.pop(ticket, None)
                raise
            self.granted(ticket, each.priority)
            self.inside += 1
            try:
                assert self.inside == 1
                await asyncio.sleep(each.length)
            finally:
                self.inside -= 1
                self.lanes.leave(each.priority)


@plans
@given(st.lists(STAYS, min_size=2, max_size=40), STALLS)
def test_no_call_is_lost_or_overtaken_in_the_queue(
    stays: list[Stay], stalls: list[tuple[float, float]]
) -> None:
    async def all_of_them() -> PriorityQueue:
        desk = Desk()
        await carried_out(stays, stalls, desk.stay)
        return desk.lanes

    lanes = run(all_of_them())
    assert (lanes.busy, lanes.waiting, lanes.waiting_since) == (
        False,
        dict.fromkeys(LANES, 0),
        None,
    )


@pytest.mark.parametrize("turns", range(6))
def test_a_turn_given_back_stays_in_its_priority(turns: int) -> None:
    async def order() -> list[str]:
        lanes, heads, soon = PriorityQueue(), list[str](), asyncio.Event()

        async def stay(name: str, priority: Priority) -> None:
            await lanes.enter(lanes.ticket(), priority)
            heads.append(name)
            if name == "foreground-9":
                # the next turn is the background's
                soon.set()
            try:
                await asyncio.sleep(0)
            finally:
                lanes.leave(priority)

        names = [f"{lane}-{number}" for lane in LANES for number in range(30)]
        tasks = {
            name: asyncio.create_task(stay(name, lane))
            for name in names
            for lane in LANES
            if lane in name
        }
        await soon.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks["background-0"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return heads

    heads = run(order())
    places = [
        place for place, name in enumerate(heads) if lane_of(name) == "background"
    ]
    assert len(heads) in (59, 60)
    assert places[:2] == [10, 20]


@plans
@given(st.lists(STAYS, min_size=2, max_size=30), STALLS, st.sampled_from([None, 1, 9]))
def test_no_slot_is_lost_in_the_limiter(
    stays: list[Stay], stalls: list[tuple[float, float]], burst: int | None
) -> None:
    async def call(limiter: Limiter, each: Stay, sent: list[float]) -> None:
        await asyncio.sleep(each.start)
        ticket = limiter.ticket()
        for _ in range(each.times):
            await limiter.acquire(ticket, each.priority)
            sent.append(now())
            try:
                await asyncio.sleep(each.length)
            finally:
                limiter.given_up() if each.times == 1 else limiter.answered(now() - 0.1)

    async def afterwards() -> None:
        limiter, sent = made(5, burst), list[float]()
        await carried_out(stays, stalls, lambda each: call(limiter, each, sent))
        assert busiest_second(sent) <= 5
        usage = limiter.usage()
        assert (usage.waiting, usage.in_flight, usage.expected_wait, usage.sent) == (
            0,
            0,
            0,
            len(sent),
        )
        assert limiter.queue.waiting == dict.fromkeys(LANES, 0)
        await asyncio.sleep(AT_REST)
        assert await pace(limiter, 15) == pytest.approx(
            await pace(made(5, burst), 15), abs=0.005
        )

    run(afterwards())


SAID: dict[str, Any] = {
    "request_id": "c065",
    "access_point_id": 7,
    "token": "delete-token",
    "fleet_name": "fleet",
}
SAID |= {
    "application": "game",
    "version": "1",
    "users": ["203.0.113.7"],
    "private_host_ids": ["host"],
}
SAID |= {"requests": [], "name": "a", "tag_name": "b", "everything": True}


def methods(
    edgegap: EdgegapSession,
) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Every method of the namespaces, and arguments that it takes."""
    for name, space in vars(edgegap).items():
        for method, call in inspect.getmembers(space, callable):
            if not f"{name}{method}".startswith("_") and not method.startswith("_"):
                parameters = inspect.signature(call).parameters
                yield (
                    f"{name}.{method}",
                    call,
                    {word: value for word, value in SAID.items() if word in parameters},
                )


# What waits for a server, stops it or looks for it asks for itself, so always in the
# background.
WAITS = ("wait_until_ready", "wait_many", "wait_until_stopped", "notify")
ASK_FOR_THEMSELVES = {
    "private_fleets.adopt",
    *(f"deployments.{name}" for name in (*WAITS, "adopt", "ensure_stopped", "reap")),
}


async def begun(asked: Any) -> object:
    """What comes of a call first, be it awaited, iterated or entered."""
    if inspect.isasyncgen(asked):
        return await anext(asked)
    return await (
        asked.__aenter__() if isinstance(asked, AbstractAsyncContextManager) else asked
    )


def test_every_method_that_calls_the_api_takes_a_priority() -> None:
    taking = set[str]()
    for name, call, _ in methods(EdgegapSession("token")):
        priority = inspect.signature(call).parameters.get("priority")
        if priority:
            assert (priority.kind, priority.default) == (
                inspect.Parameter.KEYWORD_ONLY,
                "foreground",
            ), name
            taking.add(name)
    assert {
        name for name, _, _ in methods(EdgegapSession("token"))
    } - taking == ASK_FOR_THEMSELVES
    assert {row.call for row in OPERATIONS} < taking


@pytest.mark.parametrize("queue", [False, True])
@pytest.mark.parametrize("priority", ["urgent", "", None, ["background"]])
async def test_a_wrong_priority_is_refused_before_anything_is_sent(
    priority: Any, queue: bool
) -> None:
    events: list[Event] = []
    limits = Limits(deploy=1, status=1, list=1, other=1)
    async with scripted(GOOD, limits=limits, on_event=events.append) as (
        edgegap,
        server,
    ):
        # the next slots come after a second
        if queue:
            first = [
                deploy(edgegap),
                GET(edgegap),
                edgegap.deployments.list(),
                edgegap.locations.list(),
            ]
            await asyncio.gather(*first, return_exceptions=True)
            assert len(server.arrivals) == 4
        before = len(server.arrivals), len(events)
        for name, call, words in methods(edgegap):
            if name not in ASK_FOR_THEMSELVES:
                with pytest.raises(ValueError, match="priority"):
                    await begun(call(**words, priority=priority))
        assert (len(server.arrivals), len(events)) == before
        assert all(usage.waiting == 0 for usage in edgegap.usage().values())
