"""The aiohttp application: one route per row of `endpoints.py`, and the counts."""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from aiohttp import web

from ...endpoints import OPERATIONS
from .pipeline import RequestPipeline
from .responses import Json, JsonResponse, to_aiohttp

FleetPath: TypeAlias = Literal["both", "page", "renamed"]

_COUNTS_PATH = "/_simulator/counts"


def make_app(
    pipeline: RequestPipeline, fleet_deploy: FleetPath, counts: Callable[[], Json]
) -> web.Application:
    """Make the application.

    Args:
        pipeline: Serves the operations.
        fleet_deploy: The path of the fleet deploy.
        counts: Returns the body of `GET /_simulator/counts`.
    """
    app = web.Application(middlewares=[_json_errors])
    new_paths = {endpoint.renamed.path for endpoint in OPERATIONS if endpoint.renamed}
    for endpoint in OPERATIONS:
        left_out = (fleet_deploy == "renamed" and endpoint.renamed) or (
            fleet_deploy == "page" and endpoint.path in new_paths
        )
        if not left_out:
            handler = pipeline.handler(endpoint.call, endpoint.limit.name)
            app.router.add_route(endpoint.method, endpoint.path, handler)

    async def respond_counts(request: web.Request) -> web.Response:
        return to_aiohttp(JsonResponse(200, counts()))

    app.router.add_get(_COUNTS_PATH, respond_counts)
    return app


@web.middleware
async def _json_errors(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Give the errors of aiohttp the form of the API.

    aiohttp itself responds to an unknown path, a wrong method or a body that is too
    large.
    """
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = error.headers.get("Allow")
        headers = None if allow is None else {"Allow": allow}
        response = JsonResponse(error.status, {"message": error.reason})
        return to_aiohttp(response, headers)
