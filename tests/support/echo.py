"""A server on loopback that keeps what arrives, as it arrives, and answers what it is
told.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import RawTestServer


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    # as it was written, percent signs and all
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


class Echo:
    """A server that keeps what arrives, and answers what it is told."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answers: list[web.Response] = []
        self.url = ""
        # seconds before each answer
        self.pause = 0.0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(
            Seen(
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
async def echoing() -> AsyncIterator[Echo]:
    """A server that answers `echo.answers`, one after the other."""
    echo = Echo()
    async with RawTestServer(echo.handle) as server:
        echo.url = str(server.make_url("")).rstrip("/")
        yield echo
