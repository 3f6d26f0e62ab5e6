"""Who waits for servers: what the tests of the watcher share. All against the
simulator, in virtual time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from edgegap_async import EdgegapSession, Limits
from edgegap_async.simulator import Fault, Simulator
from support.limiter_model import now

# seconds in each direction
WAY = (0.005, 0.03)

Crowd: TypeAlias = tuple[EdgegapSession, Simulator, list[str]]


@asynccontextmanager
async def crowd(
    many: int, *faults: Fault, session: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Crowd]:
    """A session, its simulator, and so many deployments of it. What hangs, fails after
    a day.
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
    """How late each was known, in order."""

    async def wait(request_id: str) -> float:
        ready = await edgegap.deployments.wait_until_ready(request_id, **options)
        settled = sim.ready_or_failed_at(request_id)
        assert ready.request_id == request_id
        assert ready.address("web")
        # nobody is told before it is true
        assert settled is not None
        return now() - settled

    return sorted(await asyncio.gather(*map(wait, ids)))


def asked(sim: Simulator) -> int:
    return sim.arrivals("status") + sim.arrivals("list")
