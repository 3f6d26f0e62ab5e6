"""What runs while a simulator serves, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ..world.world import World
from .handlers import Reply
from .pipeline import Exchange
from .responses import answer
from .webhooks import Webhooks


@dataclass(slots=True)
class Served:
    """What a simulator has while it serves, and keeps to tell of afterwards."""

    url: str
    world: World
    exchange: Exchange
    webhooks: Webhooks
    runner: web.AppRunner
    loop: asyncio.AbstractEventLoop
    ended: float | None = None

    def now(self) -> float:
        """The time, which stands still after the end."""
        return self.loop.time() if self.ended is None else self.ended

    async def aclose(self) -> None:
        """End all that is in progress, and all connections."""
        if self.ended is None:
            self.ended = self.loop.time()
            for site in self.runner.sites:
                await site.stop()
            await self.exchange.aclose()
            await self.runner.cleanup()
            # last: as long as a request can come, it can ask for one
            await self.webhooks.aclose()


@web.middleware
async def in_json(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """What aiohttp itself refuses (no such path, no such method, too large) is said in
    the API's form.
    """
    try:
        return await handler(request)
    except web.HTTPException as no:
        headers = {"Allow": no.headers["Allow"]} if "Allow" in no.headers else None
        return answer(Reply(no.status, {"message": no.reason}), headers)
