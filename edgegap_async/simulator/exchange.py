"""What happens to every request, in this order:

    delay_before -> counted, refused with 429? -> authorized? -> the deed -> delay_after -> answered

The delay before stands for the way to the server: with delay on the way back only, every client's limiter looks
perfect. Once a request has counted it is carried out, whether or not somebody still waits for the answer.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, get_args

from aiohttp import web
from msgspec import json

from .._endpoint import LimitName
from .chance import Draw, check_draw, drawn
from .clock import Clock
from .enforcement import Gate
from .handlers import Call, Handler, Reply
from .refusal import Refusal
from .world import World

RetryAfterForm: TypeAlias = Literal["seconds", "date"]
Serve: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]

_SCHEME = "token "


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """What a 429 says of when to come back: so many `seconds`, or nothing for None, in one of two forms."""

    seconds: float | None = None
    form: RetryAfterForm = "seconds"

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise ValueError(f"retry_after must be a number of seconds or None, not {self.seconds!r}")
        if self.form not in get_args(RetryAfterForm):
            raise ValueError(f"retry_after_form must be seconds or date, not {self.form!r}")

    def headers(self, now: float, clock: Clock) -> dict[str, str]:
        """The headers of a 429; a date is read against the answer's own `Date`, so there is one."""
        if self.seconds is None:
            return {}
        if self.form == "seconds":
            return {"Retry-After": f"{self.seconds:g}"}
        return {"Date": clock.http(now), "Retry-After": clock.http(now + math.ceil(self.seconds))}


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server treats its clients."""

    token: str | None = None
    retry_after: RetryAfter = RetryAfter()
    delay_before: Draw = (0.0, 0.0)
    delay_after: Draw = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_draw("delay_before", self.delay_before)
        check_draw("delay_after", self.delay_after)


class Exchange:
    """Takes each request through the order above."""

    def __init__(self, world: World, gates: Mapping[LimitName, Gate], manners: Manners, seed: int) -> None:
        self._world = world
        self._gates = gates
        self._manners = manners
        self._chance = Random(f"delays of {seed}")  # its own, so that delays don't change what the world draws
        self._loop = asyncio.get_running_loop()
        self._busy: set[asyncio.Task[object]] = set()

    def serving(self, limit: LimitName, handler: Handler) -> Serve:
        """What aiohttp calls for a row."""

        async def serve(request: web.Request) -> web.Response:
            task = asyncio.current_task()
            if task is not None:  # aiohttp makes one for each request
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
            return await self._exchange(limit, handler, request)

        return serve

    async def aclose(self) -> None:
        """Give up what is in progress; its clients see a connection that is cut."""
        while self._busy:
            for task in self._busy:
                task.cancel()
            await asyncio.wait(self._busy)

    async def _exchange(self, limit: LimitName, handler: Handler, request: web.Request) -> web.Response:
        try:
            # First of all: once a client has gone, aiohttp gives out nothing more of what it sent.
            body = await request.read()
        except ConnectionError:
            return answer(Reply(400, {"message": "Incomplete request"}))  # cut short: it never counts
        await self._delay(self._manners.delay_before)
        now = self._loop.time()
        if self._gates[limit].admit(now):
            response = self._respond(handler, request, body)
        else:
            headers = self._manners.retry_after.headers(now, self._world.clock)
            response = answer(Reply(429, {"message": f"Too many requests: limit {limit}"}), headers)
        await self._delay(self._manners.delay_after)
        return response

    def _respond(self, handler: Handler, request: web.Request, body: bytes) -> web.Response:
        authorization = request.headers.get("Authorization", "").strip()
        try:
            if not handler.own_token:
                self._authorize(authorization)
            call = Call(self._world, self._loop.time(), request.match_info, request.query, authorization)
            return answer(handler.answer(call, body))
        except Refusal as no:
            return answer(Reply(no.status, {"message": no.message}))

    def _authorize(self, authorization: str) -> None:
        scheme, given = authorization[: len(_SCHEME)].lower(), authorization[len(_SCHEME) :].strip()
        if scheme != _SCHEME or not given or self._manners.token not in (None, given):
            raise Refusal(401, "Invalid authorization token")

    async def _delay(self, draw: Draw) -> None:
        if (seconds := drawn(draw, self._chance)) > 0:
            await asyncio.sleep(seconds)


def answer(reply: Reply, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply as aiohttp sends it."""
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    body = json.encode(reply.body)
    return web.Response(status=reply.status, headers=headers, body=body, content_type="application/json")
