"""A client that uses none of the SDK's code: aiohttp, literal paths, plain JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from edgegap_async.simulator import Simulator

DEPLOY = {
    "application": "my-app",
    "version": "v1",
    "users": [{"user_type": "ip_address", "user_data": {"ip_address": "75.28.35.192"}}],
}


class Plain:
    """Sends a request, and returns its status and body."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def __call__(
        self, method: str, path: str, body: Any = None, **query: str
    ) -> tuple[int, Any]:
        async with self.http.request(method, path, json=body, params=query) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def get(self, path: str, **query: str) -> Any:
        """Return the body of a GET that succeeds."""
        status, answer = await self("GET", path, **query)
        assert status == 200, answer
        return answer

    async def deploy(self, **changes: Any) -> str:
        """Deploy, and return the request ID."""
        status, answer = await self("POST", "/v2/deployments", {**DEPLOY, **changes})
        assert status == 202, answer
        return str(answer["request_id"])

    async def state(self, request_id: str) -> str:
        """Return the state of a deployment, such as READY."""
        return str(
            (await self.get(f"/v1/status/{request_id}"))["current_status"]
        ).removeprefix("Status.")

    async def listed(self, *filters: tuple[str, str, Any], **query: str) -> list[str]:
        """Return the IDs on a page of a list, filtered by (field, operator, value)."""
        keys = ("field", "operator", "value")
        asked = {"filters": [dict(zip(keys, each, strict=True)) for each in filters]}
        page = await self.get("/v1/deployments", query=json.dumps(asked), **query)
        return [row["request_id"] for row in page["data"]]


@asynccontextmanager
async def plain(
    simulator: Simulator, authorization: str = "token made-up"
) -> AsyncIterator[Plain]:
    """Start a simulator and its client."""
    headers = {"Authorization": authorization}
    async with simulator, aiohttp.ClientSession(simulator.url, headers=headers) as http:
        yield Plain(http)
