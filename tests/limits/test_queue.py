"""The queue of each limit has two priorities. While both wait, the background gets one
slot in ten. No call is lost when others are cancelled.
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
    STALLS,
    busiest_second,
    come_to_rest,
    made,
    moments,
    now,
    pace,
    plans,
    run,
    stall,
)
from support.raw_server import GET, GOOD, OWN_STATUS, answer, deploy, scripted

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async._limits.limiter import Limiter
from edgegap_async._limits.queue import Priority, PriorityQueue
from edgegap_async.endpoints import OPERATIONS
from edgegap_async.events import Event

PRIORITIES: tuple[Priority, ...] = get_args(Priority)


class Load:
    """Status calls. The request_id holds the priority and the place among its calls."""

    def __init__(self, edgegap: EdgegapSession) -> None:
        self.asked: list[str] = []
        # Seconds that calls of the foreground took.
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


def priority_of(name: str) -> str:
    return name.partition("-")[0]


def with_priority(priority: str, names: list[str]) -> list[str]:
    return [name for name in names if priority_of(name) == priority]


async def arrived(
    callers: Callable[[Load], list[Awaitable[None]]],
) -> tuple[Load, list[str]]:
    """Return the calls that arrive in thirty seconds of load, in order."""
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
    for priority in PRIORITIES:
        own = with_priority(priority, names)
        assert own == with_priority(priority, load.asked)[: len(own)]
    return load, names


@pytest.mark.full
@pytest.mark.slow
async def test_under_full_load_the_background_gets_a_tenth() -> None:
    _, names = await arrived(
        lambda load: [load.caller(each) for each in PRIORITIES for _ in range(30)]
    )
    order = [priority_of(name) for name in names]
    # The first burst was sent before there was a queue.
    assert order[:5] == ["foreground"] * 5
    tens = [Counter(order[at : at + 10]) for at in range(5, len(order) - 10)]
    assert all(ten == {"foreground": 9, "background": 1} for ten in tens[10:])


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 1])
async def test_the_background_gets_all_slots_that_the_foreground_does_not_use(
    others: int,
) -> None:
    def callers(load: Load) -> list[Awaitable[None]]:
        background = [load.caller("background") for _ in range(30)]
        return [load.caller("foreground", 0.2), *background] if others else background

    load, names = await arrived(callers)
    assert len(with_priority("foreground", names)) in (149 * others, 150 * others)
    # A call behind thirty of the background would take 1.5 s.
    assert max(load.waits, default=0) < 0.4


@pytest.mark.parametrize("priority", PRIORITIES)
async def test_a_retry_keeps_its_place_in_its_priority(priority: Priority) -> None:
    script = [answer(503, {"message": "no"}), OWN_STATUS]
    async with scripted(
        *script, limits=Limits(status=2, burst=1), retry=Retry(backoff=0.001)
    ) as (edgegap, server):
        load = Load(edgegap)
        await asyncio.gather(
            *map(load.call, (priority, *["foreground"] * 25, *["background"] * 4))
        )
        names = [arrival.path.rpartition("/")[2] for arrival in server.arrivals]
    first = load.asked[0]
    again = names.index(first, 1)
    for each in PRIORITIES:
        assert [
            name for name in with_priority(each, names) if name != first
        ] == with_priority(each, load.asked)[each == priority :]
    if priority == "foreground":
        # The next call was at the head by then.
        assert again == 2
    else:
        assert with_priority("background", names)[1] == first
        # The call at the head goes first, and nine of the foreground.
        assert 10 <= again - 1 <= 11


@dataclass(frozen=True)
class Stay:
    """The stay of a call at the head of the queue. Times are in seconds.

    Attributes:
        start: when the call enters the queue.
        length: for how long it is at the head.
        times: how often it enters.
        cancelled: seconds from the start until it is cancelled. None: never.
    """

    priority: Priority
    start: float
    length: float
    times: int
    cancelled: float | None


STAYS = st.builds(
    Stay,
    st.sampled_from(PRIORITIES),
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
    """Carry out a plan, and check that each call ends or is cancelled."""
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
class QueueModel:
    """A `PriorityQueue`, and the calls that wait in it, by their tickets."""

    queue: PriorityQueue = field(default_factory=PriorityQueue)
    # With the number of calls that were at the head when they entered.
    waiting: dict[int, tuple[Priority, int, asyncio.Task[None]]] = field(
        default_factory=dict
    )
    heads: int = 0
    inside: int = 0

    def granted(self, ticket: int, priority: Priority) -> None:
        del self.waiting[ticket]
        # A call that entered before the last one got to the head was in the queue when
        # this one was chosen. So it must not have a lower ticket.
        for other, (its_priority, since, task) in self.waiting.items():
            assert (
                its_priority != priority
                or since >= self.heads
                or task.cancelling()
                or other > ticket
            )
        self.heads += 1

    async def stay(self, each: Stay) -> None:
        await asyncio.sleep(each.start)
        ticket = self.queue.ticket()
        for _ in range(each.times):
            self.waiting[ticket] = each.priority, self.heads, asyncio.current_task()
            try:
                await self.queue.enter(ticket, each.priority)
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
                self.queue.leave(each.priority)


@pytest.mark.slow
@plans
@given(st.lists(STAYS, min_size=2, max_size=40), STALLS)
def test_no_call_is_lost_or_overtaken_in_the_queue(
    stays: list[Stay], stalls: list[tuple[float, float]]
) -> None:
    async def all_of_them() -> PriorityQueue:
        model = QueueModel()
        await carried_out(stays, stalls, model.stay)
        return model.queue

    queue = run(all_of_them())
    assert (queue.busy, queue.waiting, queue.waiting_since) == (
        False,
        dict.fromkeys(PRIORITIES, 0),
        None,
    )


@pytest.mark.parametrize("turns", range(6))
def test_the_turn_of_a_cancelled_call_stays_in_its_priority(turns: int) -> None:
    async def order() -> list[str]:
        queue, heads, soon = PriorityQueue(), list[str](), asyncio.Event()

        async def stay(name: str, priority: Priority) -> None:
            await queue.enter(queue.ticket(), priority)
            heads.append(name)
            if name == "foreground-9":
                # The next turn is one of the background.
                soon.set()
            try:
                await asyncio.sleep(0)
            finally:
                queue.leave(priority)

        names = [f"{each}-{number}" for each in PRIORITIES for number in range(30)]
        tasks = {
            name: asyncio.create_task(stay(name, each))
            for name in names
            for each in PRIORITIES
            if each in name
        }
        await soon.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks["background-0"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return heads

    heads = run(order())
    places = [
        place for place, name in enumerate(heads) if priority_of(name) == "background"
    ]
    assert len(heads) in (59, 60)
    assert places[:2] == [10, 20]


@pytest.mark.slow
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
                limiter.given_up(now()) if each.times == 1 else limiter.answered(
                    now() - 0.1
                )

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
        assert limiter.queue.waiting == dict.fromkeys(PRIORITIES, 0)
        await come_to_rest(limiter)
        assert await pace(limiter, 15) == pytest.approx(
            await pace(made(5, burst), 15), abs=0.005
        )

    run(afterwards())


ARGUMENTS: dict[str, Any] = {
    "request_id": "c065",
    "access_point_id": 7,
    "token": "delete-token",
    "fleet_name": "fleet",
}
ARGUMENTS |= {
    "application": "game",
    "version": "1",
    "users": ["203.0.113.7"],
    "private_host_ids": ["host"],
}
ARGUMENTS |= {"version_name": "v1", "req_cpu": 256, "req_memory": 512}
ARGUMENTS |= {"docker_repository": "a", "docker_image": "b", "docker_tag": "c"}
ARGUMENTS |= {"reason": "unfair", "app_name": "arena", "image": ""}
ARGUMENTS |= {
    "session_id": "c065-S",
    "user_ip": "203.0.113.7",
    "authorization_token": 5,
}
ARGUMENTS |= {"endpoint_name": "logs", "access_key_id": "a", "secret_access_key": "b"}
ARGUMENTS |= {"endpoint": "https://s3.example", "bucket": "c"}
ARGUMENTS |= {"image_name": "studio/arena", "tags": ["1.0.0"]}
ARGUMENTS |= {"pull_profile_name": "maps", "source": "/maps", "source_type": "File"}
ARGUMENTS |= {"destination": "/srv/maps"}
ARGUMENTS |= {"requests": [], "name": "abc", "tag_name": "b", "everything": True}


def methods(
    edgegap: EdgegapSession,
) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Yield each public method of the namespaces, with arguments that it takes."""
    for name, space in vars(edgegap).items():
        for method, call in inspect.getmembers(space, callable):
            if not f"{name}{method}".startswith("_") and not method.startswith("_"):
                parameters = inspect.signature(call).parameters
                arguments = {
                    key: value for key, value in ARGUMENTS.items() if key in parameters
                }
                if "image_name" not in arguments:
                    # Other methods take a filter or a switch of this name.
                    arguments.pop("tags", None)
                options = parameters.get("options")
                # Something must be changed.
                changed = {"is_active": True, "bucket": "c", "destination": "/srv"}
                names = names_in(options.annotation) if options else ()
                arguments |= {it: changed[it] for it in changed if it in names}
                yield f"{name}.{method}", call, arguments


# Methods that wait for a server, stop it or search for it send their requests in the
# background, so they take no priority.
WAITING = ("wait_until_ready", "wait_many", "wait_until_stopped", "notify")
WITHOUT_PRIORITY = {
    f"deployments.{name}"
    for name in (
        *WAITING,
        "adopt",
        "ensure_stopped",
        "reap",
        "find",
        "stop_all",
        "pool",
    )
} | {"private_fleets.adopt"}


async def begin(asked: Any) -> object:
    """Await, iterate or enter a call, and return its first result."""
    if inspect.isasyncgen(asked):
        return await anext(asked)
    return await (
        asked.__aenter__() if isinstance(asked, AbstractAsyncContextManager) else asked
    )


def names_in(options: Any) -> set[str]:
    """The names of `**options: Unpack[...]`."""
    (kind,) = get_args(options)
    return {*kind.__annotations__}


def test_every_method_that_calls_the_api_takes_a_priority() -> None:
    taking = set[str]()
    for name, call, _ in methods(EdgegapSession("token")):
        parameters = inspect.signature(call).parameters
        priority, options = parameters.get("priority"), parameters.get("options")
        if priority or (options and "priority" in names_in(options.annotation)):
            assert priority is None or (priority.kind, priority.default) == (
                inspect.Parameter.KEYWORD_ONLY,
                "foreground",
            ), name
            taking.add(name)
            required = {
                parameter.name
                for parameter in inspect.signature(call).parameters.values()
                if parameter.default is inspect.Parameter.empty
                and parameter.kind is not inspect.Parameter.VAR_KEYWORD
            }
            assert required <= set(ARGUMENTS), (
                f"add {required - set(ARGUMENTS)} of {name} to ARGUMENTS"
            )
    assert {
        name for name, _, _ in methods(EdgegapSession("token"))
    } - taking == WITHOUT_PRIORITY
    assert {row.call for row in OPERATIONS} < taking


@pytest.mark.parametrize("queue", [False, True])
@pytest.mark.parametrize("priority", ["urgent", "", None, ["background"]])
async def test_a_wrong_priority_is_refused_before_anything_is_sent(
    priority: Any, queue: bool
) -> None:
    events: list[Event] = []
    limits = Limits(deploy=1, status=1, list=1, other=1)
    async with scripted(
        GOOD, limits=limits, on_event=events.append, retry=Retry(tries=1)
    ) as (edgegap, server):
        # The next slots come back after a second.
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
        for name, call, arguments in methods(edgegap):
            if name not in WITHOUT_PRIORITY:
                with pytest.raises(ValueError, match="priority"):
                    await begin(call(**arguments, priority=priority))
        assert (len(server.arrivals), len(events)) == before
        assert all(usage.waiting == 0 for usage in edgegap.usage().values())
