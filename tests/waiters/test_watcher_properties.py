"""In random scenarios, each waiter gets a true outcome in time, and polling ends after
the last one.
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
from support.waiting import WAY, polls_of

from edgegap_async import EdgegapSession, Limits, ReadyDeployment
from edgegap_async._waiters.waiter import LINGER
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
)
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

# Seconds by which a time may differ.
EXACT = 0.02
# Seconds in which faults occur.
TROUBLE = 12.0
# Seconds after the last fault in which each outcome is known. A filter that did not
# work is not trusted for a minute.
SOON = 75.0
LONG = 1000.0
How: TypeAlias = Literal["ready", "stopped", "many"]


@dataclass(frozen=True)
class Server:
    """A deployment. Times are in seconds.

    Attributes:
        resolves: when it is READY or in ERROR.
        stopped: when another program stops it. None: never.
    """

    resolves: float
    stopped: float | None


@dataclass(frozen=True)
class Caller:
    """A caller that waits. Times are in seconds.

    Attributes:
        starts: when the wait begins.
        timeout: the time-out of the wait.
        leaves: after how long the caller is cancelled. None: never.
        how: which method waits.
        servers: the deployments to wait for.
    """

    starts: float
    timeout: float | None
    leaves: float | None
    how: How
    servers: Sequence[int]


@dataclass(frozen=True)
class Scenario:
    """All events of a test, and the options of its simulator."""

    servers: Sequence[Server]
    callers: Sequence[Caller]
    # Each list of faults applies from its time on.
    faults: Sequence[tuple[float, Sequence[Fault]]]
    error_share: float
    gone: Any
    page: int
    neighbours: int


SERVERS = st.builds(Server, resolves=moments(10), stopped=st.none() | moments(14))
CALLERS = st.builds(
    Caller,
    starts=moments(8),
    timeout=st.none() | st.sampled_from([0.1, 1.0, 4.0, 15.0, 200.0]),
    leaves=st.none() | st.none() | moments(6),
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
SCENARIOS = st.builds(
    Scenario,
    servers=st.lists(SERVERS, min_size=1, max_size=8),
    callers=st.lists(CALLERS, min_size=1, max_size=12),
    faults=st.lists(st.tuples(moments(TROUBLE - 1), FAULTS), max_size=3),
    error_share=st.sampled_from([0.0, 0.3]),
    gone=st.sampled_from(["404", "410", "400", "terminated"]),
    page=st.sampled_from([1, 3, 100]),
    neighbours=st.sampled_from([0, 250]),
)


class Run:
    """Performs a scenario, and checks each outcome."""

    def __init__(
        self, scenario: Scenario, sim: Simulator, edgegap: EdgegapSession
    ) -> None:
        self.scenario, self.sim, self.edgegap = scenario, sim, edgegap
        self.ids: list[str] = []
        self.began = now()

    async def run(self) -> None:
        deploys = [
            self.edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
            for _ in self.scenario.servers
        ]
        await asyncio.gather(*deploys)
        self.ids = [*self.sim.deployed()]
        self.began = now()
        async with asyncio.TaskGroup() as group:
            for request_id, server in zip(self.ids, self.scenario.servers, strict=True):
                if server.stopped is not None:
                    group.create_task(self.stop(request_id, server.stopped))
            for moment, faults in self.scenario.faults:
                group.create_task(self.change(moment, faults))
            group.create_task(self.change(TROUBLE, []))
            for caller in self.scenario.callers:
                group.create_task(self.call(caller))
        # Requests in progress are answered.
        await asyncio.sleep(1)
        before = polls_of(self.sim)
        await asyncio.sleep(100)
        assert polls_of(self.sim) == before

    async def stop(self, request_id: str, moment: float) -> None:
        await asyncio.sleep(moment)
        async with EdgegapSession("another", base_url=self.sim.url) as other:
            await other.deployments.ensure_stopped(request_id, timeout=None)

    async def change(self, moment: float, faults: Sequence[Fault]) -> None:
        await asyncio.sleep(moment)
        self.sim.faults = faults

    async def call(self, caller: Caller) -> None:
        await asyncio.sleep(caller.starts)
        ids = list(
            dict.fromkeys(self.ids[number % len(self.ids)] for number in caller.servers)
        )
        if caller.how == "many":
            waits = [self.wait_many(ids, caller)]
        else:
            waits = [self.wait(request_id, caller) for request_id in ids]
        leaves = caller.leaves
        if leaves is None and caller.how == "stopped" and caller.timeout is None:
            # The deployment may never be stopped.
            leaves = TROUBLE + SOON
        with suppress(TimeoutError):
            async with asyncio.timeout(leaves), asyncio.TaskGroup() as group:
                for wait in waits:
                    group.create_task(wait)

    async def wait_many(self, ids: Sequence[str], caller: Caller) -> None:
        began, taken = now(), set[str]()
        async with self.edgegap.deployments.wait_many(
            ids, timeout=caller.timeout
        ) as outcomes:
            async for request_id, outcome in outcomes:
                assert request_id not in taken
                taken.add(request_id)
                self.judge(request_id, outcome, began, caller)
        assert taken == {*ids}

    async def wait(self, request_id: str, caller: Caller) -> None:
        began = now()
        outcome: ReadyDeployment | EdgegapError | None
        try:
            if caller.how == "ready":
                outcome = await self.edgegap.deployments.wait_until_ready(
                    request_id, timeout=caller.timeout
                )
            else:
                outcome = await self.edgegap.deployments.wait_until_stopped(
                    request_id, timeout=caller.timeout
                )
        except EdgegapError as error:
            outcome = error
        self.judge(request_id, outcome, began, caller)

    def judge(
        self,
        request_id: str,
        outcome: ReadyDeployment | EdgegapError | None,
        began: float,
        caller: Caller,
    ) -> None:
        """Check that an outcome is true and in time."""
        resolved, stopped = (
            self.sim.ready_or_failed_at(request_id),
            request_id in self.sim.stopped(),
        )
        deadline = None if caller.timeout is None else began + caller.timeout
        assert deadline is None or now() <= deadline + EXACT
        match outcome:
            case None:
                assert request_id not in self.sim.running()
            case ReadyDeployment():
                assert outcome.request_id == request_id
                assert resolved is not None
            case DeploymentFailed():
                assert outcome.request_id == request_id
                assert resolved is not None
                assert outcome.status is not None
                assert outcome.detail
            case DeploymentTerminated():
                assert outcome.request_id == request_id
                assert stopped
            case DeadlineExceeded():
                assert isinstance(outcome, ReadyTimeout) == (caller.how != "stopped")
                assert deadline is not None
                # It may end a little early only if its status can't be polled any more,
                # for example after a 429.
                assert now() >= deadline - EXACT or outcome.__cause__ is not None
                # The outcome may be known but not reported only during faults, or
                # shortly after.
                since = self.since(request_id, caller.how, began)
                assert since is None or now() - since <= SOON
                return
            case _:
                raise AssertionError(f"{outcome!r}")
        since = self.since(request_id, caller.how, began)
        assert since is not None
        assert now() - since <= SOON

    def since(self, request_id: str, how: How, began: float) -> float | None:
        """Return the time since which there was an outcome to report, and no fault.

        None: there is no outcome.
        """
        server = self.scenario.servers[self.ids.index(request_id)]
        resolved = self.sim.ready_or_failed_at(request_id)
        if how == "stopped" and request_id in self.sim.running():
            return None
        if resolved is None and (
            server.stopped is None or request_id in self.sim.running()
        ):
            return None
        ends = [
            began,
            resolved or 0.0,
            self.began + TROUBLE if self.scenario.faults else 0.0,
        ]
        if how == "stopped":
            ends.append(self.began + (server.stopped or 0.0))
        return max(ends)


async def perform(scenario: Scenario) -> None:
    resolves = iter([server.resolves for server in scenario.servers])
    async with (
        asyncio.timeout(LONG),
        Simulator(
            ready_after=lambda: next(resolves),
            error_share=scenario.error_share,
            gone=scenario.gone,
            max_page_size=scenario.page,
            neighbours=scenario.neighbours,
            delay_before=WAY,
            delay_after=WAY,
            rates={"deploy": None},
        ) as sim,
        EdgegapSession(
            "t", base_url=sim.url, limits=Limits(deploy=None), deploy_once=False
        ) as edgegap,
    ):
        run = Run(scenario, sim, edgegap)
        tasks = asyncio.all_tasks()
        await run.run()
        # A poll that is under way is answered for a caller who comes back.
        await asyncio.sleep(LINGER + 1)
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


@pytest.mark.full
@pytest.mark.slow
@settings(
    max_examples=settings().max_examples // 3,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(SCENARIOS)
def test_all_waiters_get_true_outcomes_in_time_and_polling_ends(
    scenario: Scenario,
) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(perform(scenario))
