"""The clients of deploy_storm.py: the SDK, and what anybody would write: aiohttp that
repeats on an error, and believes every 404.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import aiohttp
from aiolimiter import AsyncLimiter
from arrivals import DEPLOY
from storm_figures import Record

from edgegap_async import DeployRequest, EdgegapError, EdgegapSession

# In seconds, for each deploy as a whole.
TIMEOUT = 600.0
# In seconds. Twice the default attempt_timeout, as deploys get it; the fault `late` is
# later.
ATTEMPT = 30.0
PLAYER = "203.0.113.7"

Outcome: TypeAlias = str | BaseException
Outcomes: TypeAlias = AsyncIterator[tuple[int, Outcome]]


class Client(Protocol):
    """Starts servers for callers. The first tag of a server names its caller."""

    async def deploy(self, caller: int, timeout: float) -> str:
        """Start a server, and return its ID."""
        ...

    def match(self, caller: int) -> AbstractAsyncContextManager[str]:
        """Start a server that is READY, and stop it at the end of the block."""
        ...

    def stream(self, callers: Sequence[int]) -> AbstractAsyncContextManager[Outcomes]:
        """Start a server for each caller; yield the IDs and errors as they are known."""
        ...

    async def aclose(self) -> None:
        """End."""
        ...


def tag(caller: int) -> str:
    """Return the tag that names a caller."""
    return f"caller-{caller}"


class Sdk:
    """The SDK."""

    def __init__(
        self, url: str, http: aiohttp.ClientSession, record: Record, *, once: bool
    ) -> None:
        self._record = record
        self._edgegap = EdgegapSession(
            "token",
            base_url=url,
            http=http,
            deploy_once=once,
            on_intent=record.intents.append,
            on_event=record.on_event,
        )

    async def deploy(self, caller: int, timeout: float) -> str:
        accepted = await self._edgegap.deployments.deploy(
            "app", "1", users=[PLAYER], tags=[tag(caller)], timeout=timeout
        )
        return accepted.request_id

    @asynccontextmanager
    async def match(self, caller: int) -> AsyncIterator[str]:
        async with self._edgegap.deployments.running(
            "app", "1", users=[PLAYER], tags=[tag(caller)], timeout=TIMEOUT
        ) as server:
            yield server.request_id

    @asynccontextmanager
    async def stream(self, callers: Sequence[int]) -> AsyncIterator[Outcomes]:
        requests = [
            DeployRequest(
                application="app", version="1", users=[PLAYER], tags=[tag(caller)]
            )
            for caller in callers
        ]
        numbers = {id(it): caller for caller, it in zip(callers, requests, strict=True)}
        async with self._edgegap.deployments.deploy_many(requests) as outcomes:

            async def numbered() -> Outcomes:
                async for it in outcomes:
                    caller = numbers[id(it.request)]
                    if it.deployment:
                        yield caller, it.deployment.request_id
                    else:
                        yield caller, it.error or ValueError("neither server nor error")

            yield numbered()

    async def aclose(self) -> None:
        await self._edgegap.aclose()
        self._record.leftovers = self._edgegap.leftovers
        self._record.watched_tags = self._edgegap.watched_tags


class Naive:
    """Paced, and repeated on every error."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        self._deploys, self._looks = AsyncLimiter(1, 1 / 35), AsyncLimiter(1, 1 / 18)

    async def deploy(self, caller: int, timeout: float) -> str:
        user = {"user_type": "ip_address", "user_data": {"ip_address": PLAYER}}
        body = {
            "application": "app",
            "version": "1",
            "users": [user],
            "tags": [tag(caller)],
        }
        async with asyncio.timeout(timeout):
            for _ in range(5):
                try:
                    async with self._deploys:
                        _, answer = await self._send("POST", DEPLOY, body)
                        return str(answer["request_id"])
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                    await asyncio.sleep(random.random())
        raise EdgegapError("five times in vain")

    @asynccontextmanager
    async def match(self, caller: int) -> AsyncIterator[str]:
        request_id = await self.deploy(caller, TIMEOUT)
        try:
            await self._wait_until_ready(request_id)
            yield request_id
        finally:
            await self._stop(request_id)

    @asynccontextmanager
    async def stream(self, callers: Sequence[int]) -> AsyncIterator[Outcomes]:
        done = asyncio.Queue[tuple[int, Outcome]]()

        async def start(caller: int) -> None:
            try:
                request_id = await self.deploy(caller, TIMEOUT)
                await self._wait_until_ready(request_id)
                done.put_nowait((caller, request_id))
            except EdgegapError as error:
                done.put_nowait((caller, error))

        async def outcomes(count: int) -> Outcomes:
            for _ in range(count):
                yield await done.get()

        async with asyncio.TaskGroup() as group:
            yield outcomes(len([group.create_task(start(it)) for it in callers]))

    async def aclose(self) -> None:
        pass

    async def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; return the status and the body, None for a 404 or 410.

        Raises:
            ClientError: Any other error status.
        """
        async with self._http.request(
            method,
            self._url + path,
            json=body,
            headers={"Authorization": "token token"},
            timeout=aiohttp.ClientTimeout(total=ATTEMPT),
        ) as answer:
            if answer.status in (404, 410):
                return answer.status, None
            answer.raise_for_status()
            return answer.status, await answer.json()

    async def _wait_until_ready(self, request_id: str) -> None:
        for _ in range(200):
            try:
                async with self._looks:
                    _, status = await self._send("GET", f"/v1/status/{request_id}")
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
            if status is None:
                raise EdgegapError("it is gone")
            if status["current_status"] == "Status.READY":
                return
            await asyncio.sleep(5.0)
        raise EdgegapError("it is never READY")

    async def _stop(self, request_id: str) -> None:
        for _ in range(5):
            try:
                await self._send("DELETE", f"/v1/stop/{request_id}")
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(random.random())
            else:
                return
