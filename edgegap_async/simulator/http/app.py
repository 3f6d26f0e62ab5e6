"""The aiohttp application: one route per row of `endpoints.py`, and further ones."""

from collections.abc import Callable, Collection

from aiohttp import web

from ...endpoints import OPERATIONS
from .pipeline import AiohttpHandler, FleetPath, RequestPipeline
from .responses import JsonResponse, to_aiohttp


def make_app(
    pipeline: RequestPipeline,
    fleet_deploy: FleetPath,
    add_routes: Callable[[web.UrlDispatcher], None],
) -> web.Application:
    """Make the application.

    Args:
        pipeline: Serves the operations.
        fleet_deploy: The path of the fleet deploy.
        add_routes: Adds the routes of what is not part of the API.
    """
    app = web.Application()
    new_paths = {endpoint.renamed.path for endpoint in OPERATIONS if endpoint.renamed}
    for endpoint in OPERATIONS:
        left_out = (fleet_deploy == "renamed" and endpoint.renamed) or (
            fleet_deploy == "page" and endpoint.path in new_paths
        )
        if not left_out:
            handler = pipeline.handler(endpoint.call, endpoint.limit.name)
            app.router.add_route(endpoint.method, endpoint.path, handler)

    add_routes(app.router)
    app.router.add_route("*", "/{path:.*}", _unknown(tuple(app.router.resources())))
    return app


def _unknown(known: Collection[web.AbstractResource]) -> AiohttpHandler:
    """Return the function for what is no operation: its errors have the form of the API.

    A middleware could change the errors of aiohttp itself. But aiohttp would keep its
    handlers, and so each simulator, for as long as the process runs.
    """

    async def respond_unknown(request: web.Request) -> web.Response:
        allowed = set[str]()
        for resource in known:
            allowed |= (await resource.resolve(request))[1]
        if not allowed:
            return to_aiohttp(JsonResponse(404, {"message": "Not Found"}))
        return to_aiohttp(
            JsonResponse(405, {"message": "Method Not Allowed"}),
            {"Allow": ",".join(sorted(allowed))},
        )

    return respond_unknown
