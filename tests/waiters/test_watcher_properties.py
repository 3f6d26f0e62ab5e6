"""Whatever happens: who waits is told in time, nothing wrong, and when all are told
nothing is asked any more.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.limiter_model import moments, now
from support.waiting import WAY, asked

from edgegap_async import EdgegapSession, Limits, ReadyDeployment
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
)
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

# seconds
EXACT = 0.02
# seconds in which things go wrong
TROUBLE = 12.0
# seconds after trouble in which all is known: a filter that lied is not believed for a
# minute
SOON = 75.0
LONG = 1000.0
How: TypeAlias = Literal["ready", "stopped", "many"]


@dataclass(frozen=True)
class Server:
    """One deployment, in seconds: when it is READY or in ERROR, and when others stop
    it.
    """

    settles: float
    stopped: float | None


@dataclass(frozen=True)
class Visitor:
    """One who waits: from when on, how long at most, when he goes by himself, and for
    which servers.
    """

    comes: float
    timeout: float | None
    goes: float | None
    how: How
    servers: Sequence[int]


@dataclass(frozen=True)
class World:
    """What happens."""

    servers: Sequence[Server]
    visitors: Sequence[Visitor]
    # from when on which
    faults: Sequence[tuple[float, Sequence[Fault]]]
    error_share: float
    gone: Any
    page: int
    neighbours: int


SERVERS = st.builds(Server, settles=moments(10), stopped=st.none() | moments(14))
VISITORS = st.builds(
    Visitor,
    comes=moments(8),
    timeout=st.none() | st.sampled_from([0.1, 1.0, 4.0, 15.0, 200.0]),
    goes=st.none() | st.none() | moments(6),
    how=st.sampled_from(["ready", "ready", "many", "stopped"]),
    servers=st.lists(st.integers(0, 7), min_size=1, max_size=8),
)
SHARE = st.sampled_from([0.2, 0.5, 1.0])
KINDS = [
    "503-before",
    "cut-before",
    "cut-after",
    "hang-before",
    "not-json",
    "no-id",
    "truncated",
    "stalled",
    "429",
]
WRONG = st.builds(
    Fault, st.sampled_from(["list", "status"]), st.sampled_from(KINDS), SHARE
)
FILTERS = st.builds(
    Fault,
    st.just("list"),
    st.sampled_from(["filters-ignored", "filters-refused", "filters-empty"]),
    SHARE,
    fields=st.sampled_from([(), ("status",), ("request_id",)]),
)
LAGS = st.builds(
    Fault, st.just("list"), st.just("lag"), SHARE, seconds=st.sampled_from([0.5, 2.0])
)
FAULTS = st.tuples(WRONG, FILTERS, LAGS, st.sets(st.integers(0, 2))).map(
    lambda drawn: [
        fault for number, fault in enumerate(drawn[:3]) if number in drawn[3]
    ]
)
WORLDS = st.builds(
    World,
    servers=st.lists(SERVERS, min_size=1, max_size=8),
    visitors=st.lists(VISITORS, min_size=1, max_size=12),
    faults=st.lists(st.tuples(moments(TROUBLE - 1), FAULTS), max_size=3),
    error_share=st.sampled_from([0.0, 0.3]),
    gone=st.sampled_from(["404", "410", "400", "terminated"]),
    page=st.sampled_from([1, 3, 100]),
    neighbours=st.sampled_from([0, 250]),
)


class Play:
    """A world as it happens, and its laws."""

    def __init__(self, world: World, sim: Simulator, edgegap: EdgegapSession) -> None:
        self.world, self.sim, self.edgegap = world, sim, edgegap
        self.ids: list[str] = []
        self.began = now()

    async def run(self) -> None:
        deploys = [
            self.edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
            for _ in self.world.servers
        ]
        await asyncio.gather(*deploys)
        self.ids = [*self.sim.deployed()]
        self.began = now()
        async with asyncio.TaskGroup() as group:
            for request_id, server in zip(self.ids, self.world.servers, strict=True):
                if server.stopped is not None:
                    group.create_task(self.stop(request_id, server.stopped))
            for moment, faults in self.world.faults:
                group.create_task(self.change(moment, faults))
            group.create_task(self.change(TROUBLE, []))
            for visitor in self.world.visitors:
                group.create_task(self.visit(visitor))
        # what was under way is answered
        await asyncio.sleep(1)
        before = asked(self.sim)
        await asyncio.sleep(100)
        assert asked(self.sim) == before

    async def stop(self, request_id: str, moment: float) -> None:
        await asyncio.sleep(moment)
        async with EdgegapSession("another", base_url=self.sim.url) as other:
            await other.deployments.ensure_stopped(request_id, timeout=None)

    async def change(self, moment: float, faults: Sequence[Fault]) -> None:
        await asyncio.sleep(moment)
        self.sim.faults = faults

    async def visit(self, visitor: Visitor) -> None:
        await asyncio.sleep(visitor.comes)
        ids = list(
            dict.fromkeys(
                self.ids[number % len(self.ids)] for number in visitor.servers
            )
        )
        if visitor.how == "many":
            waits = [self.wait_many(ids, visitor)]
        else:
            waits = [self.wait(request_id, visitor) for request_id in ids]
        goes = visitor.goes
        if goes is None and visitor.how == "stopped" and visitor.timeout is None:
            # nobody may ever stop it
            goes = TROUBLE + SOON
        with suppress(TimeoutError):
            async with asyncio.timeout(goes), asyncio.TaskGroup() as group:
                for wait in waits:
                    group.create_task(wait)

    async def wait_many(self, ids: Sequence[str], visitor: Visitor) -> None:
        came, told = now(), set[str]()
        async with self.edgegap.deployments.wait_many(
            ids, timeout=visitor.timeout
        ) as outcomes:
            async for request_id, outcome in outcomes:
                assert request_id not in told
                told.add(request_id)
                self.judge(request_id, outcome, came, visitor)
        assert told == {*ids}

    async def wait(self, request_id: str, visitor: Visitor) -> None:
        came = now()
        outcome: ReadyDeployment | EdgegapError | None
        try:
            if visitor.how == "ready":
                outcome = await self.edgegap.deployments.wait_until_ready(
                    request_id, timeout=visitor.timeout
                )
            else:
                outcome = await self.edgegap.deployments.wait_until_stopped(
                    request_id, timeout=visitor.timeout
                )
        except EdgegapError as error:
            outcome = error
        self.judge(request_id, outcome, came, visitor)

    def judge(
        self,
        request_id: str,
        outcome: ReadyDeployment | EdgegapError | None,
        came: float,
        visitor: Visitor,
    ) -> None:
        """It is true, and it comes in time."""
        settled, stopped = (
            self.sim.ready_or_failed_at(request_id),
            request_id in self.sim.stopped(),
        )
        deadline = None if visitor.timeout is None else came + visitor.timeout
        assert deadline is None or now() <= deadline + EXACT
        match outcome:
            case None:
                assert request_id not in self.sim.running()
            case ReadyDeployment():
                assert outcome.request_id == request_id
                assert settled is not None
            case DeploymentFailed():
                assert outcome.request_id == request_id
                assert settled is not None
                assert outcome.status is not None
                assert outcome.detail
            case DeploymentTerminated():
                assert outcome.request_id == request_id
                assert stopped
            case DeadlineExceeded():
                assert isinstance(outcome, ReadyTimeout) == (visitor.how != "stopped")
                assert deadline is not None
                # A little early only where its status can't be asked for any more:
                # after a 429, say.
                assert now() >= deadline - EXACT or outcome.__cause__ is not None
                # It was not told though it was true: only while something went wrong,
                # or shortly after.
                since = self.since(request_id, visitor.how, came)
                assert since is None or now() - since <= SOON
                return
            case _:
                raise AssertionError(f"{outcome!r}")
        since = self.since(request_id, visitor.how, came)
        assert since is not None
        assert now() - since <= SOON

    def since(self, request_id: str, how: How, came: float) -> float | None:
        """From when on there was something to tell, and nothing that kept it from being
        told.
        """
        server = self.world.servers[self.ids.index(request_id)]
        settled = self.sim.ready_or_failed_at(request_id)
        if how == "stopped" and request_id in self.sim.running():
            return None
        if settled is None and (
            server.stopped is None or request_id in self.sim.running()
        ):
            return None
        ends = [
            came,
            settled or 0.0,
            self.began + TROUBLE if self.world.faults else 0.0,
        ]
        if how == "stopped":
            ends.append(self.began + (server.stopped or 0.0))
        return max(ends)


async def happens(world: World) -> None:
    settles = iter([server.settles for server in world.servers])
    async with (
        asyncio.timeout(LONG),
        Simulator(
            ready_after=lambda: next(settles),
            error_share=world.error_share,
            gone=world.gone,
            max_page_size=world.page,
            neighbours=world.neighbours,
            delay_before=WAY,
            delay_after=WAY,
            rates={"deploy": None},
        ) as sim,
        EdgegapSession(
            "t", base_url=sim.url, limits=Limits(deploy=None), deploy_once=False
        ) as edgegap,
    ):
        play = Play(world, sim, edgegap)
        tasks = asyncio.all_tasks()
        await play.run()
        assert sim.busiest_second("status") <= 20
        assert sim.busiest_second("list") <= 10
        assert sim.refused("status") + sim.refused("list") == sim.faulted().get(
            "429", 0
        )
        assert {
            usage.in_flight + usage.waiting for usage in edgegap.usage().values()
        } == {0}
        assert not {
            task for task in asyncio.all_tasks() - tasks if "watcher" in task.get_name()
        }


@pytest.mark.slow
@settings(
    max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
)
@given(WORLDS)
def test_all_waiters_get_true_outcomes_in_time_and_polling_ends(world: World) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(happens(world))
