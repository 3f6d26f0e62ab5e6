"""Who receives the simulator's webhooks, on loopback, and knows nothing of ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from edgegap_async.simulator import Simulator
from support.plain_client import Plain, plain

EVENTS = ("ready", "error", "terminated")


@dataclass
class Came:
    """A webhook as it came."""

    at: float
    method: str
    # the last word of its URL
    event: str
    headers: Mapping[str, str]
    body: Any

    @property
    def what(self) -> tuple[str, str]:
        return str(self.body["request_id"]), self.event


@dataclass
class Receiver:
    """Takes webhooks on loopback, and answers with a status, or never for None."""

    url: str
    came: list[Came] = field(default_factory=list[Came])
    status: int | None = 200
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    on_webhook: Callable[[Came], Awaitable[None]] | None = None

    @property
    def what(self) -> list[tuple[str, str]]:
        return [each.what for each in self.came]

    def asked(self, *events: str) -> dict[str, Any]:
        """The part of a deploy's body that asks for webhooks."""
        return {
            f"webhook_on_{event}": {"url": f"{self.url}/{event}"}
            for event in events or EVENTS
        }

    async def take(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        event = request.path.rpartition("/")[2]
        came = Came(
            now,
            request.method,
            event,
            dict(request.headers),
            json.loads(await request.read() or "null"),
        )
        self.came.append(came)
        if self.on_webhook:
            await self.on_webhook(came)
        if self.status is None:
            await self.closing.wait()
        return web.Response(
            status=self.status or 200,
            headers={"Location": "/elsewhere", "Set-Cookie": "a=b"},
        )


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver("")
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.001)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-words"
        yield receiver
    finally:
        receiver.closing.set()
        await runner.cleanup()


@asynccontextmanager
async def both(simulator: Simulator) -> AsyncIterator[tuple[Plain, Receiver]]:
    """A client of the simulator, and who receives its webhooks."""
    async with receiving() as receiver, plain(simulator) as api:
        yield api, receiver
