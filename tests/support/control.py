"""Requests to the endpoints under `/_simulator/`, as a test in any language sends them."""

import json
from collections.abc import AsyncIterator
from typing import Any

from support.plain_client import Plain

JSON = {"Content-Type": "application/json"}


async def control(
    api: Plain, method: str, path: str, body: Any = None, /, **headers: str
) -> tuple[int, Any]:
    """Send a request without a token, and return its status and body."""
    async with api.http.request(
        method,
        f"/_simulator/{path}",
        data=None if body is None else json.dumps(body),
        headers={"Authorization": "", **JSON, **headers},
    ) as response:
        return response.status, json.loads(await response.text())


async def ok(api: Plain, method: str, path: str, body: Any = None) -> Any:
    """Send a request that succeeds, and return its body."""
    status, answer = await control(api, method, path, body)
    assert status == 200, answer
    return answer


async def events(api: Plain) -> AsyncIterator[tuple[str, Any]]:
    """Yield the events of a client: name and data."""
    async with api.http.get(
        "/_simulator/events",
        headers={"Authorization": ""},
        # The longest line: a snapshot of many deployments.
        read_bufsize=2**26,
    ) as it:
        assert it.status == 200
        assert it.content_type == "text/event-stream"
        name = ""
        async for line in it.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
