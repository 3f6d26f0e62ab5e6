"""The parts of a started simulator, and what concerns all of them."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypedDict

from ..endpoints import LimitName
from .faults.injector import FaultInjector
from .http.open_ports import OpenPorts
from .http.pipeline import RequestPipeline
from .http.webhooks import WebhookCounts, WebhookSender
from .rate_limits import LimitCounts, RateLimits
from .world.deployment import Deployment
from .world.world import World


class Counts(TypedDict):
    """The result of `Simulator.counts`: plain values, ready for JSON."""

    limits: dict[LimitName, LimitCounts]
    deployed: int
    running: int
    stopped: int
    most_at_once: int
    faulted: dict[str, int]
    webhooks: WebhookCounts


@dataclass(slots=True)
class Parts:
    """The parts of a started simulator. They can be read after its end."""

    world: World
    limits: RateLimits
    injector: FaultInjector
    webhooks: WebhookSender
    open_ports: OpenPorts | None
    # Called after each change of the world.
    changed: Callable[[], None]
    pipeline: RequestPipeline
    loop: asyncio.AbstractEventLoop
    started_at: float
    # The base URL, which is known when the simulator listens.
    url: str = ""
    ended_at: float | None = None

    def now(self) -> float:
        """Return the time. After the end, it is the time of the end."""
        return self.loop.time() if self.ended_at is None else self.ended_at

    def counts(self) -> Counts:
        """Return all counts. `Simulator.counts` describes them."""
        world = self.world
        running = world.running(self.now()).difference(world.stopped())
        limits = self.limits.by_name
        return {
            "limits": {name: limit.counts() for name, limit in limits.items()},
            "deployed": world.deployed_count,
            "running": len(running),
            "stopped": world.stopped_count,
            "most_at_once": world.most_at_once,
            "faulted": self.injector.hits(),
            "webhooks": self.webhooks.counts(),
        }

    def stop(self, deployments: Collection[Deployment]) -> None:
        """Stop deployments."""
        for each in deployments:
            self.world.stop(each, self.now())
        self.changed()

    def crash(self, deployment: Deployment) -> None:
        """Let the container of a deployment crash.

        Raises:
            ApiError: It is not READY.
        """
        self.world.crash(deployment, self.now())
        self.changed()

    async def reset(self) -> None:
        """Return to the state after the start; requests in progress go on."""
        await self.pipeline.reset()
        self.limits.reset()
        self.injector.reset()
        self.world.reset(self.now())
        await self.webhooks.reset()
        if self.open_ports:
            await self.open_ports.reset()
