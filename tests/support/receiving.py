"""A webhook receiver on loopback that uses none of the SDK's code."""

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
class ReceivedWebhook:
    """A webhook that was received."""

    at: float
    method: str
    # The last segment of its URL.
    event: str
    headers: Mapping[str, str]
    body: Any

    @property
    def id_and_event(self) -> tuple[str, str]:
        return str(self.body["request_id"]), self.event


@dataclass
class Receiver:
    """Receives webhooks and responds with `status`; None means never."""

    url: str
    received: list[ReceivedWebhook] = field(default_factory=list[ReceivedWebhook])
    status: int | None = 200
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    on_webhook: Callable[[ReceivedWebhook], Awaitable[None]] | None = None

    @property
    def ids_and_events(self) -> list[tuple[str, str]]:
        return [each.id_and_event for each in self.received]

    def fields(self, *events: str) -> dict[str, Any]:
        """Return the fields of a deploy request for these events, by default all."""
        return {
            f"webhook_on_{event}": {"url": f"{self.url}/{event}"}
            for event in events or EVENTS
        }

    async def receive(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        event = request.path.rpartition("/")[2]
        webhook = ReceivedWebhook(
            now,
            request.method,
            event,
            dict(request.headers),
            json.loads(await request.read() or "null"),
        )
        self.received.append(webhook)
        if self.on_webhook:
            await self.on_webhook(webhook)
        if self.status is None:
            await self.closing.wait()
        return web.Response(
            status=self.status or 200,
            headers={"Location": "/elsewhere", "Set-Cookie": "a=b"},
        )


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver("")
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.receive)
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
async def client_and_receiver(
    simulator: Simulator,
) -> AsyncIterator[tuple[Plain, Receiver]]:
    """Start a simulator, its client, and a receiver of its webhooks."""
    async with webhook_receiver() as receiver, plain(simulator) as api:
        yield api, receiver
