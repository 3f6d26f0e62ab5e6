"""Processes requests. Each request has these steps, in this order:

    dead connection? -> read the request -> delay_before -> wait while a proxy stalls
        -> count; over the limit: 429
        -> fault `-before`, or a 429 by a fault
        -> authorize -> carry out the operation
        -> fault `-after`
    -> delay_after -> respond

`delay_before` is the time that a request needs to reach the server. With a delay only
on the way back, the rate limiter of every client would look perfect.

A counted request is carried out even if its client has closed the connection. Only
requests that were counted and admitted can have a fault. They then count against the
limit, as on a real server. A request on a dead connection is not read, so it is not
counted either.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random
from typing import Literal, TypeAlias, get_args
from weakref import WeakKeyDictionary

from aiohttp import web

from ...endpoints import LimitName
from ..faults.broken import BrokenResponse, reset
from ..faults.effects import EFFECTS, FaultContext
from ..faults.injector import FaultInjector
from ..rate_limits import RateLimits
from ..world.errors import ApiError
from ..world.options import Delay, check_delay, draw_delay
from ..world.world import World
from .calls import Call
from .form import Form, in_form
from .handlers import HANDLERS
from .responses import JsonResponse, RetryAfter, to_aiohttp, token_of, too_many_requests
from .webhooks import TaskSet

AiohttpHandler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]
FleetPath: TypeAlias = Literal["both", "page", "renamed"]

_URI_TOO_LONG = 414
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of `Simulator` for HTTP. `Simulator` documents each of them."""

    token: str | None
    retry_after: RetryAfter
    delay_before: Delay
    delay_after: Delay
    longest_url: int | None = None
    fleet_deploy: FleetPath | None = None
    form: Form = "page"

    def __post_init__(self) -> None:
        check_delay("delay_before", self.delay_before)
        check_delay("delay_after", self.delay_after)
        if self.longest_url is not None and self.longest_url < 1:
            raise ValueError(
                f"longest_url must be a number of bytes, not {self.longest_url!r}"
            )
        if self.fleet_deploy not in (None, *get_args(FleetPath)):
            raise ValueError(
                "fleet_deploy must be both, page, renamed or None, "
                f"not {self.fleet_deploy!r}"
            )
        if self.form not in get_args(Form):
            raise ValueError(f"form must be page or official, not {self.form!r}")

    def fleet_path(self) -> FleetPath:
        """Return the path of the fleet deploy. Without a choice, the form decides."""
        default: FleetPath = "renamed" if self.form == "official" else "both"
        return self.fleet_deploy or default


class RequestPipeline:
    """Processes each request in the steps above."""

    def __init__(
        self,
        world: World,
        limits: RateLimits,
        options: ServerOptions,
        injector: FaultInjector,
        changed: Callable[[], None],
        seed: int,
    ) -> None:
        self._world = world
        self._limits = limits
        self._options = options
        self._injector = injector
        # Called after each operation, which may have changed the world.
        self._changed = changed
        self._seed = seed
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet()
        # The operations that are carried out after their response.
        self._later = TaskSet()
        self._begin()
        # When the latest response was sent, for each connection.
        self._used: WeakKeyDictionary[asyncio.Transport, float] = WeakKeyDictionary()

    def handler(self, operation: str, limit: LimitName) -> AiohttpHandler:
        """Return the function that aiohttp calls for an endpoint."""

        async def handle(request: web.Request) -> web.Response:
            # aiohttp runs each request in its own task.
            task = asyncio.current_task()
            if task is not None:
                self._tasks.add(task)
            return await self._process(operation, limit, request)

        return handle

    async def reset(self) -> None:
        """Begin again. Operations that are due later are never carried out.

        Requests in progress go on.
        """
        await self._later.cancel()
        self._begin()

    def _begin(self) -> None:
        # Delays have their own generator, so that they don't change the random numbers
        # of the world.
        self._random = Random(f"delays of {self._seed}")
        self._stalled_until = -inf

    async def aclose(self) -> None:
        """Cancel the requests in progress. Their clients see a closed connection."""
        await self._tasks.cancel()
        await self._later.cancel()

    async def _process(
        self, operation: str, limit: LimitName, request: web.Request
    ) -> web.Response:
        if self._is_dead(operation, request.transport):
            return BrokenResponse(reset)
        try:
            # The body is read first: aiohttp drops unread parts of it once the client
            # has closed the connection.
            body = await request.read()
        except ConnectionError:
            # The request is incomplete, so it never counts.
            return to_aiohttp(JsonResponse(400, {"message": "Incomplete request"}))
        except web.HTTPRequestEntityTooLarge as error:
            return to_aiohttp(JsonResponse(error.status, {"message": error.reason}))
        await self._delay(self._options.delay_before)
        await self._stall()
        response = await self._count_and_respond(operation, limit, request, body)
        await self._delay(self._options.delay_after)
        if request.transport is not None:
            self._used[request.transport] = self._loop.time()
        return response

    async def _count_and_respond(
        self, operation: str, limit: LimitName, request: web.Request, body: bytes
    ) -> web.Response:
        now, enforced = self._loop.time(), self._limits.by_name[limit]
        if not enforced.admit(now):
            return too_many_requests(
                f"limit {limit}",
                self._options.retry_after,
                now,
                self._world.clock,
            )
        response = await self._respond(operation, request, body)
        if response.status == _TOO_MANY_REQUESTS:
            # Only a fault sends this status.
            enforced.count_refusal()
        return response

    def _is_dead(self, operation: str, connection: asyncio.Transport | None) -> bool:
        """Whether a fault has closed a reused connection."""
        since = None if connection is None else self._used.get(connection)
        if since is None:
            return False
        idle = self._loop.time() - since
        return self._injector.pick(operation, "connection", idle=idle) is not None

    async def _respond(
        self, operation: str, request: web.Request, body: bytes
    ) -> web.Response:
        longest = self._options.longest_url
        if longest is not None and len(request.raw_path) > longest:
            return web.Response(status=_URI_TOO_LONG, text="URI Too Long")
        run = partial(self._run, operation, request, body)
        fault = self._injector.pick(operation, "response")
        if fault is None:
            return to_aiohttp(run())
        return await EFFECTS[fault.kind](
            FaultContext(
                operation=run,
                operation_later=partial(self._run_later, run),
                unallocated=partial(run, allocated=False),
                path=str(request.rel_url),
                request_id=request.match_info.get("request_id", ""),
                seconds=fault.seconds or 0.0,
                now=self._loop.time(),
                clock=self._world.clock,
            )
        )

    def _run_later(self, run: Callable[[], JsonResponse], seconds: float) -> None:
        async def wait_and_run() -> None:
            await asyncio.sleep(seconds)
            run()

        if seconds > 0:
            self._later.add(self._loop.create_task(wait_and_run()))
        else:
            run()

    def _run(
        self,
        operation: str,
        request: web.Request,
        body: bytes,
        *,
        allocated: bool = True,
    ) -> JsonResponse:
        handler = HANDLERS[operation]
        authorization = request.headers.get("Authorization", "").strip()
        call = Call(
            world=self._world,
            now=self._loop.time(),
            path_params=request.match_info,
            query=request.query,
            authorization=authorization,
            pick_fault=partial(self._injector.pick, operation),
            allocated=allocated,
        )
        try:
            if not handler.own_token:
                self._authorize(authorization)
            response = handler.respond(call, body)
        except ApiError as error:
            response = JsonResponse(error.status, {"message": error.message})
        finally:
            self._changed()
        return in_form(self._options.form, operation, response, self._world)

    def _authorize(self, authorization: str) -> None:
        token = token_of(authorization)
        if not token or self._options.token not in (None, token):
            raise ApiError(401, "Invalid authorization token")

    def stall(self, seconds: float) -> None:
        """Hold all requests for so many seconds from now."""
        self._stalled_until = self._loop.time() + seconds

    async def _stall(self) -> None:
        if (seconds := self._stalled_until - self._loop.time()) > 0:
            await asyncio.sleep(seconds)

    async def _delay(self, delay: Delay) -> None:
        if (seconds := draw_delay(delay, self._random)) > 0:
            await asyncio.sleep(seconds)
