"""What happens to every request, in this order:

    dead connection? -> delay_before -> counted, refused with 429? -> authorized? -> the
    deed -> delay_after -> answered
                                                                  |
                                                                  |
                                     a fault that comes before it, or with a 429     one
                                     that comes after it

The delay before stands for the way to the server: with delay on the way back only,
every client's limiter looks perfect. Once a request has counted it is carried out,
whether or not somebody still waits for the answer. A fault strikes what has counted,
and has used its share of the limit, as it would in a server; what was refused with 429
anyway is struck by none. Only what comes on a dead connection is not read, and so not
counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeAlias
from weakref import WeakSet

from aiohttp import web

from ..._endpoint import LimitName
from ..faults.effects import WAYS, Struck
from ..faults.injector import Mischief
from ..rate_limits import Gate
from ..world.errors import Refusal
from ..world.options import Draw, check_draw, drawn
from ..world.world import World
from .handlers import HANDLERS, Call, Reply
from .responses import Broken, RetryAfter, answer, reset, too_many
from .tasks import Tasks
from .webhooks import Webhooks

Serve: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]

_SCHEME = "token "
_REFUSED = 429


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server treats its clients."""

    token: str | None
    retry_after: RetryAfter
    delay_before: Draw
    delay_after: Draw

    def __post_init__(self) -> None:
        check_draw("delay_before", self.delay_before)
        check_draw("delay_after", self.delay_after)


class Exchange:
    """Takes each request through the order above."""

    def __init__(
        self,
        world: World,
        gates: Mapping[LimitName, Gate],
        manners: Manners,
        mischief: Mischief,
        webhooks: Webhooks,
        seed: int,
    ) -> None:
        self._world = world
        self._gates = gates
        self._manners = manners
        self._mischief = mischief
        self._webhooks = webhooks
        # its own, so that delays don't change what the world draws
        self._chance = Random(f"delays of {seed}")
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        # connections that have seen a request
        self._used: WeakSet[asyncio.Transport] = WeakSet()

    def serving(self, operation: str, limit: LimitName) -> Serve:
        """What aiohttp calls for a row."""

        async def serve(request: web.Request) -> web.Response:
            task = asyncio.current_task()
            # aiohttp makes one for each request
            if task is not None:
                self._tasks.add(task)
            return await self._exchange(operation, limit, request)

        return serve

    async def aclose(self) -> None:
        """Give up what is in progress; its clients see a connection that is cut."""
        await self._tasks.end()

    async def _exchange(
        self, operation: str, limit: LimitName, request: web.Request
    ) -> web.Response:
        if self._is_reused(request.transport) and self._mischief.strike(
            operation, "connection"
        ):
            return Broken(reset)
        try:
            # First of all: once a client has gone, aiohttp gives out nothing more of
            # what it sent.
            body = await request.read()
        except ConnectionError:
            # cut short: it never counts
            return answer(Reply(400, {"message": "Incomplete request"}))
        await self._delay(self._manners.delay_before)
        now = self._loop.time()
        if not self._gates[limit].admit(now):
            response = too_many(
                f"limit {limit}", self._manners.retry_after, now, self._world.clock
            )
        else:
            response = await self._carried_out(operation, request, body)
            # by a fault
            if response.status == _REFUSED:
                self._gates[limit].refuse()
        await self._delay(self._manners.delay_after)
        return response

    def _is_reused(self, connection: asyncio.Transport | None) -> bool:
        if connection is None or connection in self._used:
            return connection is not None
        self._used.add(connection)
        return False

    async def _carried_out(
        self, operation: str, request: web.Request, body: bytes
    ) -> web.Response:
        deed = partial(self._deed, operation, request, body)
        fault = self._mischief.strike(operation, "answer")
        if fault is None:
            return answer(deed())
        in_vain = partial(deed, allocated=False)
        seconds, now = fault.seconds or 0.0, self._loop.time()
        return await WAYS[fault.kind](
            Struck(deed, in_vain, str(request.rel_url), seconds, now, self._world.clock)
        )

    def _deed(
        self,
        operation: str,
        request: web.Request,
        body: bytes,
        *,
        allocated: bool = True,
    ) -> Reply:
        handler = HANDLERS[operation]
        authorization = request.headers.get("Authorization", "").strip()
        strike = partial(self._mischief.strike, operation)
        call = Call(
            self._world,
            self._loop.time(),
            request.match_info,
            request.query,
            authorization,
            strike,
            allocated,
        )
        try:
            if not handler.own_token:
                self._authorize(authorization)
            return handler.answer(call, body)
        except Refusal as no:
            return Reply(no.status, {"message": no.message})
        finally:
            self._webhooks.look()

    def _authorize(self, authorization: str) -> None:
        scheme, given = (
            authorization[: len(_SCHEME)].lower(),
            authorization[len(_SCHEME) :].strip(),
        )
        if scheme != _SCHEME or not given or self._manners.token not in (None, given):
            raise Refusal(401, "Invalid authorization token")

    async def _delay(self, draw: Draw) -> None:
        if (seconds := drawn(draw, self._chance)) > 0:
            await asyncio.sleep(seconds)
