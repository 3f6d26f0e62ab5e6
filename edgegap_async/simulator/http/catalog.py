"""The operations on applications and versions."""

from ... import endpoints
from ...models.app import AppRequest, AppUpdate
from ...models.version import AppVersionRequest, AppVersionUpdate
from . import bodies
from .calls import Call, Entry, with_body, without_body
from .responses import JsonResponse
from .rows import paged


def _apps(call: Call) -> JsonResponse:
    world = call.world
    rows = [bodies.app(each, world.clock) for each in world.catalog.apps()]
    return JsonResponse(200, paged(call.query, world.options, "applications", rows))


def _app(call: Call) -> JsonResponse:
    app = call.world.catalog.app(call.path_params["app_name"])
    return JsonResponse(200, bodies.app(app, call.world.clock))


def _create_app(call: Call, body: AppRequest) -> JsonResponse:
    app = call.world.catalog.create_app(body, call.now)
    return JsonResponse(200, bodies.app(app, call.world.clock))


def _update_app(call: Call, body: AppUpdate) -> JsonResponse:
    name = call.path_params["app_name"]
    app = call.world.catalog.update_app(name, body, call.now)
    return JsonResponse(200, bodies.app(app, call.world.clock))


def _delete_app(call: Call) -> JsonResponse:
    call.world.catalog.delete_app(call.path_params["app_name"])
    return JsonResponse(200)


def _versions(call: Call) -> JsonResponse:
    world, app = call.world, call.world.catalog.app(call.path_params["app_name"])
    rows = [bodies.version(each, world.clock) for each in app.versions.values()]
    return JsonResponse(200, paged(call.query, world.options, "versions", rows))


def _version(call: Call) -> JsonResponse:
    found = call.world.catalog.version(**call.path_params)
    return JsonResponse(200, bodies.version(found, call.world.clock))


def _create_version(call: Call, body: AppVersionRequest) -> JsonResponse:
    made = call.world.catalog.create_version(
        **call.path_params, body=body, now=call.now
    )
    shown = bodies.version(made, call.world.clock)
    return JsonResponse(200, {"success": True, "version": shown})


def _update_version(call: Call, body: AppVersionUpdate) -> JsonResponse:
    made = call.world.catalog.update_version(
        **call.path_params, body=body, now=call.now
    )
    shown = bodies.version(made, call.world.clock)
    return JsonResponse(200, {"success": True, "version": shown})


def _delete_version(call: Call) -> JsonResponse:
    call.world.catalog.delete_version(**call.path_params)
    name = call.path_params["version_name"]
    return JsonResponse(200, {"success": True, "message": f"Version {name} deleted"})


CATALOG_HANDLERS: tuple[Entry, ...] = (
    without_body(endpoints.APPS, _apps),
    without_body(endpoints.APP, _app),
    with_body(endpoints.CREATE_APP, _create_app),
    with_body(endpoints.UPDATE_APP, _update_app),
    without_body(endpoints.DELETE_APP, _delete_app),
    without_body(endpoints.VERSIONS, _versions),
    without_body(endpoints.VERSION, _version),
    with_body(endpoints.CREATE_VERSION, _create_version),
    with_body(endpoints.UPDATE_VERSION, _update_version),
    without_body(endpoints.DELETE_VERSION, _delete_version),
)
