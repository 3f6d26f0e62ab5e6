"""The operations on endpoint storages."""

from msgspec import UNSET

from ... import endpoints
from ...models.storage import StorageRequest, StorageUpdate
from ..world.storage import Storage
from .calls import Call, Entry, with_body, without_body
from .responses import Json, JsonResponse
from .rows import paged


def _shown(it: Storage, call: Call) -> Json:
    settings, clock = it.settings, call.world.clock
    text = settings.output_format
    return {
        "name": settings.name,
        "access_key_id": settings.access_key_id,
        "endpoint": settings.endpoint,
        "bucket": settings.bucket,
        "output_format": "TEXT" if text is UNSET else text,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


def _list(call: Call) -> JsonResponse:
    rows = [_shown(each, call) for each in call.world.storages.all()]
    return JsonResponse(200, paged(call.query, call.world.options, "endpoints", rows))


def _get(call: Call) -> JsonResponse:
    found = call.world.storages.get(call.path_params["endpoint_name"])
    return JsonResponse(200, _shown(found, call))


def _create(call: Call, body: StorageRequest) -> JsonResponse:
    return JsonResponse(200, _shown(call.world.storages.create(body, call.now), call))


def _update(call: Call, body: StorageUpdate) -> JsonResponse:
    name = call.path_params["endpoint_name"]
    changed = call.world.storages.update(name, body, call.now)
    return JsonResponse(200, _shown(changed, call))


def _delete(call: Call) -> JsonResponse:
    call.world.storages.delete(call.path_params["endpoint_name"])
    return JsonResponse(204)


STORAGE_HANDLERS: tuple[Entry, ...] = (
    without_body(endpoints.STORAGES, _list),
    without_body(endpoints.STORAGE, _get),
    with_body(endpoints.CREATE_STORAGE, _create),
    with_body(endpoints.UPDATE_STORAGE, _update),
    without_body(endpoints.DELETE_STORAGE, _delete),
)
