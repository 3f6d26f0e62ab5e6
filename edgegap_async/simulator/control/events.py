"""Server-sent events: one `snapshot`, then a `tick` with the changes, four per second.

All clients get the same ticks, which are made once. A client has room for some events.
One that does not read them in time is disconnected: it can come back, and gets a new
snapshot then. The simulator never waits for a client.
"""

import asyncio

from aiohttp import web
from msgspec import json

from ..http.responses import Json, JsonResponse, to_aiohttp
from ..http.webhooks import TaskSet
from .changes import Changes
from .guard import SAFE_HEADERS

# In seconds.
_INTERVAL = 0.25
# The events that wait for a client: ten seconds.
_MAX_WAITING = 40
_MAX_CLIENTS = 32
_HEADERS = {
    **SAFE_HEADERS,
    "Content-Type": "text/event-stream",
    # A proxy must not collect events.
    "X-Accel-Buffering": "no",
}


class _Client:
    """A connection that receives events."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)

    def put(self, event: bytes) -> None:
        """Add an event, or disconnect the client if it has too many already."""
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.disconnect()

    def disconnect(self) -> None:
        """Close the connection, which ends the request."""
        if self._transport is not None:
            self._transport.abort()


class EventStream:
    """Sends events to its clients, with one task, which runs while there are any."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._clients: set[_Client] = set()
        self._tasks = TaskSet()
        self._sender: asyncio.Task[None] | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Respond with events until the client or the simulator ends it."""
        if len(self._clients) >= _MAX_CLIENTS:
            message = f"there are {_MAX_CLIENTS} clients already"
            return to_aiohttp(JsonResponse(503, {"message": message}))
        client, response = _Client(request.transport), web.StreamResponse()
        response.headers.update(_HEADERS)
        self._add(client)
        try:
            await response.prepare(request)
            while True:
                await response.write(await client.waiting.get())
        except ConnectionError:
            # The client has left, or was disconnected.
            return response
        finally:
            self._remove(client)

    async def aclose(self) -> None:
        """End the task. The requests are cancelled by their owner."""
        await self._tasks.cancel()

    def _add(self, client: _Client) -> None:
        # The others get what changed, so that the snapshot continues what all have.
        self._send_changes()
        client.put(_event("snapshot", self._changes.snapshot()))
        self._clients.add(client)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_forever())
            self._tasks.add(self._sender)

    def _remove(self, client: _Client) -> None:
        self._clients.discard(client)
        if not self._clients and self._sender is not None:
            self._sender.cancel()
            self._sender = None

    async def _send_forever(self) -> None:
        try:
            while True:
                await asyncio.sleep(_INTERVAL)
                self._send_changes()
        finally:
            # Without the task, they would wait for ever.
            for client in self._clients:
                client.disconnect()

    def _send_changes(self) -> None:
        were_reset, changes = self._changes.noticed_reset(), self._changes.look()
        event = (
            _event("snapshot", self._changes.snapshot())
            if were_reset
            else _event("tick", changes)
        )
        for client in self._clients:
            client.put(event)


def _event(name: str, data: Json) -> bytes:
    # JSON has no line breaks, which would end the data of an event.
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.encode(data))
