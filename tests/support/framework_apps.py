"""The same matchmaker in five frameworks, for real servers.

A match is printed before its server is kept, as a matchmaker writes it to its database.
Some requests hold their server for a minute.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from edgegap_async import EdgegapError, EdgegapSession
from edgegap_async.integrations.asgi import EdgegapMiddleware

SESSION = web.AppKey("edgegap", EdgegapSession)
HELD = 60.0
# Seconds that requests in progress have to end, and that closing may take.
GRACE = int(os.environ.get("GRACE", "3"))
CLEANUP_TIMEOUT = float(os.environ.get("CLEANUP_TIMEOUT", "8"))


def session() -> EdgegapSession:
    """Open the session of an application."""
    return EdgegapSession(cleanup_timeout=CLEANUP_TIMEOUT)


async def match(edgegap: EdgegapSession, *, hold: bool) -> tuple[int, str]:
    """Start a server. Returns the status and the body of the response."""
    try:
        async with edgegap.deployments.running(
            "game", "1", users=["203.0.113.7"], ready_timeout=60
        ) as server:
            if hold:
                await asyncio.sleep(HELD)
            sys.stdout.write(f"kept {server.request_id}\n")
            sys.stdout.flush()
            server.keep()
    except EdgegapError as error:
        return 503, type(error).__name__
    return 200, server.request_id


def fastapi() -> Any:
    from fastapi import FastAPI, Request, Response

    app = FastAPI()
    app.add_middleware(EdgegapMiddleware, session=session)

    @app.post("/matches")
    async def view(request: Request, hold: bool = False) -> Response:
        status, body = await match(request.state.edgegap, hold=hold)
        return Response(body, status)

    return app


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def view(request: Request) -> Response:
        hold = "hold" in request.query_params
        status, body = await match(request.state.edgegap, hold=hold)
        return Response(body, status)

    return EdgegapMiddleware(
        Starlette(routes=[Route("/matches", view, methods=["POST"])]), session
    )


def litestar() -> Any:
    from litestar import Litestar, Request, Response, post

    @post("/matches")
    async def view(request: Request[Any, Any, Any]) -> Response[str]:
        hold = "hold" in request.query_params
        status, body = await match(request.scope["state"]["edgegap"], hold=hold)
        return Response(body, status_code=status)

    return EdgegapMiddleware(Litestar([view]), session)


def django() -> Any:
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse
    from django.urls import path

    async def view(request: Any) -> HttpResponse:
        edgegap = request.scope["state"]["edgegap"]
        status, body = await match(edgegap, hold="hold" in request.GET)
        return HttpResponse(body, status=status)

    class Urls:
        urlpatterns = (path("matches", view),)

    settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="made-up")
    return EdgegapMiddleware(get_asgi_application(), session)


def aiohttp() -> Any:
    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        async with session() as app[SESSION]:
            yield

    async def view(request: web.Request) -> web.Response:
        status, body = await match(request.app[SESSION], hold="hold" in request.query)
        return web.Response(text=body, status=status)

    app = web.Application()
    app.cleanup_ctx.append(lifespan)
    app.router.add_post("/matches", view)
    return app


def aiohttp_closing_first() -> Any:
    """gunicorn's worker leaves a twentieth of its time for cleanup contexts."""
    app = aiohttp()

    async def close(app: Any) -> None:
        await app[SESSION].aclose()

    app.on_shutdown.append(close)
    return app


MAKERS: dict[str, Callable[[], Any]] = {
    each.__name__: each
    for each in (fastapi, starlette, litestar, django, aiohttp, aiohttp_closing_first)
}
