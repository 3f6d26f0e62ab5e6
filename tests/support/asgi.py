"""Runs an ASGI application on the loop of the test.

A test calls it directly, or serves it on loopback with its lifespan.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, TypeAlias

from aiohttp import web

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Receive, Send], Awaitable[None]]
ASGI = {"version": "3.0", "spec_version": "2.4"}


async def call(
    app: App,
    state: dict[str, Any],
    method: str,
    path: str,
    chunks: Iterable[bytes] = (b"",),
    **scope: Any,
) -> tuple[int, bytes]:
    """Call the application, and return the status and the body of its response.

    The chunks of the request's body are produced when the application reads them.
    """
    answer: list[Message] = []
    coming = chain(chunks, [None])

    async def receive() -> Message:
        for chunk in coming:
            return {
                "type": "http.request",
                "body": chunk or b"",
                "more_body": chunk is not None,
            }
        # The client waits for the response.
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answer.append(message)

    whole: dict[str, Any] = {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"a.example"), (b"content-type", b"application/json")],
        "client": ("203.0.113.9", 1),
        "server": ("a.example", 80),
        "state": dict(state),
    }
    await app(whole | scope, receive, send)
    return answer[0]["status"], b"".join(
        message.get("body", b"") for message in answer[1:]
    )


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
    """Run the lifespan of the application around the block, and yield its state."""
    state: dict[str, Any] = {}
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": ASGI, "state": state}

    async def run_lifespan() -> None:
        await app(scope, to_app.get, from_app.put)

    async with asyncio.TaskGroup() as group:
        group.create_task(run_lifespan())
        await to_app.put({"type": "lifespan.startup"})
        assert await from_app.get() == {"type": "lifespan.startup.complete"}
        try:
            yield state
        finally:
            await to_app.put({"type": "lifespan.shutdown"})
            assert await from_app.get() == {"type": "lifespan.shutdown.complete"}


class LoopbackServer:
    """Serves an application on loopback. `answers` are (path, status), in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app: App | None = None
        self.state: dict[str, Any] = {}
        self.answers: list[tuple[str, int]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Pass a request to the application."""
        assert self.app
        body = await request.read()
        status, text = await call(
            self.app, self.state, request.method, request.path, [body]
        )
        self.answers.append((request.path, status))
        return web.Response(status=status, body=text)


@asynccontextmanager
async def loopback() -> AsyncIterator[LoopbackServer]:
    """Start the server before the application exists, so that the URL is known.

    Set `app` and `state` before the first request.
    """
    inner = web.Application()
    runner = web.AppRunner(inner, shutdown_timeout=0)
    served = LoopbackServer("")
    inner.router.add_route("*", "/{rest:.*}", served.answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()
