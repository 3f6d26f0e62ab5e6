"""The table of the endpoints under `/_simulator/`, and how a request is processed:

    cancelled at the end of the simulator
        -> refused by the guard? -> read the body -> operation -> respond

Nothing here counts against a limit, has a delay or a fault.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from ..http.responses import JsonResponse, to_aiohttp
from ..http.webhooks import TaskSet
from ..parts import Parts
from ..world.errors import ApiError
from . import change, observe
from .call import ControlCall
from .changes import Changes
from .events import EventStream
from .guard import SAFE_HEADERS, Guard
from .page import INDEX, page_file

_PREFIX = "/_simulator"
_Operation: TypeAlias = Callable[[ControlCall], JsonResponse | Awaitable[JsonResponse]]
_Served: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _reset(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/reset`: everything is as after the start."""
    await call.parts.reset()
    return JsonResponse(200, {**call.parts.counts()})


@dataclass(frozen=True, slots=True)
class _Endpoint:
    method: str
    path: str
    operation: _Operation

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


ENDPOINTS = (
    _Endpoint("GET", "/counts", observe.counts),
    _Endpoint("GET", "/deployments", observe.deployments),
    _Endpoint("GET", "/deployments/{request_id}", observe.deployment),
    _Endpoint("GET", "/environment/{request_id}", observe.environment),
    _Endpoint("GET", "/limits", observe.limits),
    _Endpoint("GET", "/faults", observe.faults),
    _Endpoint("GET", "/faults/kinds", observe.fault_kinds),
    _Endpoint("POST", "/limits", change.change_limits),
    _Endpoint("POST", "/faults", change.add_fault),
    _Endpoint("DELETE", "/faults", change.clear_faults),
    _Endpoint("POST", "/crash/{request_id}", change.crash),
    _Endpoint("POST", "/stop/{request_id}", change.stop),
    _Endpoint("POST", "/stop-all", change.stop_all),
    _Endpoint("POST", "/images", change.push_image),
    _Endpoint("POST", "/reset", _reset),
)


class Control:
    """The page and the endpoints of one simulator."""

    def __init__(self, parts: Parts, guard: Guard) -> None:
        self._parts = parts
        self._guard = guard
        self._tasks = TaskSet()
        self._events = EventStream(Changes(parts, needs_token=guard.needs_token))

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the page, the events and all endpoints."""
        router.add_get("/", self._guarded(self._page))
        router.add_get(f"{_PREFIX}/page/{{name}}", self._guarded(self._page))
        router.add_get(
            f"{_PREFIX}/events", self._guarded(self._events.serve), allow_head=False
        )
        for endpoint in ENDPOINTS:
            handler = self._guarded(self._json(endpoint), changes=endpoint.changes)
            router.add_route(endpoint.method, _PREFIX + endpoint.path, handler)

    async def aclose(self) -> None:
        """Cancel the requests in progress, and the events."""
        await self._tasks.cancel()
        await self._events.aclose()

    def _guarded(self, serve: _Served, *, changes: bool = False) -> _Served:
        async def handle(request: web.Request) -> web.StreamResponse:
            # aiohttp runs each request in its own task.
            task = asyncio.current_task()
            if task is not None:
                self._tasks.add(task)
            refusal = self._guard.refusal(request, changes=changes)
            return await serve(request) if refusal is None else _respond(refusal)

        return handle

    def _json(self, endpoint: _Endpoint) -> _Served:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                body = await request.read()
            except ConnectionError:
                return _respond(JsonResponse(400, {"message": "Incomplete request"}))
            except web.HTTPRequestEntityTooLarge as error:
                return _respond(JsonResponse(error.status, {"message": error.reason}))
            call = ControlCall(
                parts=self._parts,
                path_params=request.match_info,
                query=request.query,
                body=body,
                has_token=self._guard.has_token(request),
            )
            try:
                answer = endpoint.operation(call)
                return _respond(
                    answer if isinstance(answer, JsonResponse) else await answer
                )
            except ApiError as error:
                return _respond(JsonResponse(error.status, {"message": error.message}))

        return serve

    async def _page(self, request: web.Request) -> web.StreamResponse:
        found = page_file(request.match_info.get("name", INDEX))
        return found or _respond(JsonResponse(404, {"message": "Not Found"}))


def _respond(response: JsonResponse) -> web.StreamResponse:
    return to_aiohttp(response, SAFE_HEADERS)
