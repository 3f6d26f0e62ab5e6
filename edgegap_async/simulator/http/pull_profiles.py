"""The operations on pull profiles."""

from ... import endpoints
from ...models.pull_profile import PullProfileRequest, PullProfileUpdate
from ..world.storage import PullProfile, Rows
from .calls import Call, Entry, with_body, without_body
from .responses import Json, JsonResponse
from .rows import paged


def _profiles(call: Call) -> Rows[PullProfileRequest, PullProfile]:
    return call.world.storages.profiles(call.path_params["endpoint_name"])


def _name(call: Call) -> str:
    return call.path_params["pull_profile_name"]


def _shown(it: PullProfile, call: Call) -> Json:
    settings, clock = it.settings, call.world.clock
    return {
        "name": settings.name,
        "source": settings.source,
        "source_type": settings.source_type,
        "destination": settings.destination,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


def _list(call: Call) -> JsonResponse:
    rows = [_shown(each, call) for each in _profiles(call).all()]
    body = paged(call.query, call.world.options, "pull_profiles", rows)
    return JsonResponse(200, body)


def _get(call: Call) -> JsonResponse:
    return JsonResponse(200, _shown(_profiles(call).get(_name(call)), call))


def _create(call: Call, body: PullProfileRequest) -> JsonResponse:
    return JsonResponse(200, _shown(_profiles(call).create(body, call.now), call))


def _update(call: Call, body: PullProfileUpdate) -> JsonResponse:
    changed = _profiles(call).update(_name(call), body, call.now)
    return JsonResponse(200, _shown(changed, call))


def _delete(call: Call) -> JsonResponse:
    _profiles(call).delete(_name(call))
    return JsonResponse(204)


def _link(call: Call) -> JsonResponse:
    names, clock = call.path_params, call.world.clock
    profile = _profiles(call).get(_name(call))
    app, version = names["app_name"], names["version_name"]
    call.world.catalog.version(app, version)
    link = profile.link(app, version, call.now)
    return JsonResponse(
        200,
        {
            "app": app,
            "app_version": version,
            "endpoint": names["endpoint_name"],
            "pull_profile": profile.settings.name,
            "create_time": clock.text(link.created),
            "last_updated": clock.text(link.updated),
        },
    )


def _unlink(call: Call) -> JsonResponse:
    profile = _profiles(call).get(_name(call))
    profile.unlink(call.path_params["app_name"], call.path_params["version_name"])
    return JsonResponse(204)


PULL_PROFILE_HANDLERS: tuple[Entry, ...] = (
    without_body(endpoints.PULL_PROFILES, _list),
    without_body(endpoints.PULL_PROFILE, _get),
    with_body(endpoints.CREATE_PULL_PROFILE, _create),
    with_body(endpoints.UPDATE_PULL_PROFILE, _update),
    without_body(endpoints.DELETE_PULL_PROFILE, _delete),
    without_body(endpoints.LINK_PULL_PROFILE, _link),
    without_body(endpoints.UNLINK_PULL_PROFILE, _unlink),
)
