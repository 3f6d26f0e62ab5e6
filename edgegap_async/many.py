"""`deploy_many`: a stream of requests in, an outcome for each as it is settled.

One task for each request that is under way; its place is free again when its outcome was taken, so that memory is
bounded by what is in flight. Whatever was not taken when the block ends is stopped.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

from msgspec import Struct

from ._purse import Purse
from ._scopes import Handover
from .errors import EdgegapError
from .models._check import instance
from .models.deploy import DeploymentAccepted, DeployRequest
from .models.deployment import ReadyDeployment

Deploy: TypeAlias = Callable[[DeployRequest, Handover], Awaitable[DeploymentAccepted]]
Settle: TypeAlias = Callable[[Handover], object]
Wait: TypeAlias = Callable[[str], Awaitable[ReadyDeployment]]
Requests: TypeAlias = Iterable[DeployRequest] | AsyncIterable[DeployRequest]
log: logging.Logger = logging.getLogger("edgegap_async")
CONCURRENCY = 400  # requests under way at a time: ten seconds' worth of deploys, as a server is soon ready


class DeployOutcome(Struct, frozen=True):
    """What became of one request: a deployment (ready, or only accepted), or the error."""

    request: DeployRequest
    deployment: ReadyDeployment | DeploymentAccepted | None = None
    error: EdgegapError | None = None


class Outcomes:
    """The outcomes, as they are settled: an asynchronous iterator."""

    def __init__(
        self,
        deploy: Deploy,
        wait: Wait | None,
        claim: Settle,
        drop: Settle,
        purse: Purse | None,
        concurrency: int,
    ) -> None:
        self._deploy, self._wait, self._claim, self._drop, self._purse = deploy, wait, claim, drop, purse
        self._places = asyncio.Semaphore(concurrency)
        self._settled: asyncio.Queue[tuple[DeployOutcome, Handover] | Exception | None] = asyncio.Queue()
        self._over = False

    def __aiter__(self) -> AsyncIterator[DeployOutcome]:
        return self

    async def __anext__(self) -> DeployOutcome:
        """The next outcome.

        Raises:
            ValueError: what came was no `DeployRequest`; all that came before is settled.
        """
        if self._over:
            raise StopAsyncIteration
        settled = await self._settled.get()
        if not isinstance(settled, tuple):
            self._over = True
            raise settled or StopAsyncIteration
        outcome, handover = settled
        self._claim(handover)
        self._places.release()
        return outcome

    async def feed(self, requests: Requests) -> None:
        """Start each request as soon as there is a place for it, and say when all are settled."""
        broken: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                broken = await self._take_in(requests, group)
        except ExceptionGroup as nobody_thought_of:  # no outcome of a request, such as an `on_intent` that fails
            broken = nobody_thought_of
        self._settled.put_nowait(broken)

    async def _take_in(self, requests: Requests, group: asyncio.TaskGroup) -> Exception | None:
        try:
            async for request in _each(requests):
                await self._places.acquire()
                if self._purse:
                    await self._purse.take()
                group.create_task(self._one(request))
        except Exception as error:  # the caller's own: raised where the outcomes are taken, after those that go on
            log.exception("the requests for deploy_many can't be read on")
            return error
        return None

    async def _one(self, request: DeployRequest) -> None:
        handover = Handover()
        try:
            outcome = DeployOutcome(request, await self._deployed(request, handover))
        except EdgegapError as error:
            self._drop(handover)
            outcome = DeployOutcome(request, error=error)
        except BaseException:
            self._drop(handover)
            raise
        self._settled.put_nowait((outcome, handover))

    async def _deployed(self, request: DeployRequest, handover: Handover) -> ReadyDeployment | DeploymentAccepted:
        try:
            accepted = await self._deploy(request, handover)
        except BaseException:
            if self._purse:
                self._purse.give_back()
            raise
        if self._purse:
            self._purse.holds(accepted.request_id)
        return await self._wait(accepted.request_id) if self._wait else accepted

    def stop_the_rest(self) -> None:
        """Nobody takes any more."""
        while not self._settled.empty():
            left = self._settled.get_nowait()
            if isinstance(left, tuple):
                self._drop(left[1])


@asynccontextmanager
async def many(outcomes: Outcomes, requests: Requests, purse: Purse | None) -> AsyncGenerator[Outcomes, None]:
    """The outcomes for as long as the block lasts."""
    tasks = [asyncio.create_task(outcomes.feed(requests), name="edgegap deploy_many")]
    if purse:
        tasks.append(asyncio.create_task(purse.watch(), name="edgegap max_running"))
    try:
        yield outcomes
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.wait(tasks)
        finally:
            outcomes.stop_the_rest()


async def _each(requests: Requests) -> AsyncGenerator[DeployRequest, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield instance("requests: each", request, DeployRequest)
    else:
        for request in requests:
            yield instance("requests: each", request, DeployRequest)
