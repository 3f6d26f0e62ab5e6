"""A server on loopback that records requests and sends prepared responses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import RawTestServer


@dataclass(frozen=True)
class RecordedRequest:
    """A recorded request."""

    method: str
    # The path as it was sent, with its percent signs.
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


class RecordingServer:
    """Records requests, and sends one of `answers` for each."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.answers: list[web.Response] = []
        self.url = ""
        # Seconds before each response.
        self.pause = 0.0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(
            RecordedRequest(
                request.method,
                path,
                list(request.query.items()),
                headers,
                await request.read(),
            )
        )
        if self.pause:
            await asyncio.sleep(self.pause)
        return self.answers.pop(0)


@asynccontextmanager
async def recording_server() -> AsyncIterator[RecordingServer]:
    """Start a server. A test sets `server.answers`, which it sends in order."""
    server = RecordingServer()
    async with RawTestServer(server.handle) as http:
        server.url = str(http.make_url("")).rstrip("/")
        yield server
