"""Helpers of the tests that wait for deployments, on the simulator in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from edgegap_async import EdgegapSession, Limits
from edgegap_async.simulator import Fault, Simulator
from support.limiter_model import now

# Seconds that requests and answers are on their way.
WAY = (0.005, 0.03)

Accepted: TypeAlias = tuple[EdgegapSession, Simulator, list[str]]


@asynccontextmanager
async def accepted_deployments(
    many: int, *faults: Fault, session: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Accepted]:
    """Open a session on a simulator, and deploy so many times.

    A test that hangs fails after a day.

    Args:
        many: how many deployments.
        faults: faults of the simulator, from then on.
        session: arguments of the session.
        options: arguments of the simulator.

    Yields:
        The session, the simulator and the IDs of the deployments.
    """
    arguments = {"limits": Limits(deploy=None), "deploy_once": False, **(session or {})}
    options = {
        "ready_after": (2.0, 8.0),
        "delay_before": WAY,
        "delay_after": WAY,
        "rates": {"deploy": None},
        **options,
    }
    async with (
        asyncio.timeout(24 * 60 * 60),
        Simulator(**options) as sim,
        EdgegapSession("t", base_url=sim.url, **arguments) as edgegap,
    ):
        ids = await asyncio.gather(*(start(edgegap) for _ in range(many)))
        sim.faults = faults
        yield edgegap, sim, list(ids)
        if not any(fault.kind == "429" for fault in sim.faults):
            assert [sim.refused(limit) for limit in ("status", "list")] == [0, 0]


async def start(edgegap: EdgegapSession) -> str:
    return (
        await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
    ).request_id


async def delays(
    edgegap: EdgegapSession, sim: Simulator, ids: Sequence[str], **options: Any
) -> list[float]:
    """Wait for all, and return by how many seconds each was known late, sorted."""

    async def wait(request_id: str) -> float:
        ready = await edgegap.deployments.wait_until_ready(request_id, **options)
        resolved_at = sim.ready_or_failed_at(request_id)
        assert ready.request_id == request_id
        assert ready.address("web")
        # No waiter gets the outcome before it is true.
        assert resolved_at is not None
        return now() - resolved_at

    return sorted(await asyncio.gather(*map(wait, ids)))


def polls_of(sim: Simulator) -> int:
    return sim.arrivals("status") + sim.arrivals("list")
