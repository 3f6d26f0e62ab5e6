"""The operations: one function per row of `endpoints.py`. Those of a namespace that has
a file of its own here (`catalog.py`, `relays.py`, `storage.py`, ...) are there.

An operation is synchronous. It takes a `Call`, reads or changes the world, and returns
the response. A new row of `endpoints.py` needs an entry in `HANDLERS`.
"""

from collections.abc import Mapping

from msgspec import DecodeError, json

from ... import endpoints
from ...models.deploy import DeployRequest
from ...models.deployment import BulkStopRequest, ReportRequest
from ...models.paging import ListQuery
from ...models.tag import TagRequest
from ..faults.lists import (
    apply_list_faults,
    apply_row_fault,
    apply_tags_fault,
    apply_total_fault,
)
from ..world.clock import DATE_FORMAT
from ..world.deployment import Deployment, Phase
from ..world.errors import ApiError
from . import bodies, container
from .calls import Call, Handler, with_body, without_body
from .catalog import CATALOG_HANDLERS
from .pull_profiles import PULL_PROFILE_HANDLERS
from .registry import REGISTRY_HANDLERS
from .relays import RELAY_HANDLERS
from .responses import Json, JsonResponse
from .rows import PAGE_SIZE, count, counted, cut
from .storage import STORAGE_HANDLERS

_LIST_QUERY = json.Decoder(ListQuery)


def _deploy(call: Call, body: DeployRequest) -> JsonResponse:
    made = call.world.deploy(body, call.now, allocated=call.allocated)
    if not call.allocated:
        return JsonResponse(
            422, {"request_id": made.request_id, "message": bodies.NO_SERVER}
        )
    return JsonResponse(202, {"request_id": made.request_id})


def _status(call: Call) -> JsonResponse:
    request_id = call.path_params["request_id"]
    found = call.world.find(request_id, call.now, include_ended=True)
    shown = bodies.status(found, call.now, call.world.clock)
    fault = call.pick_fault("tags", ())
    return JsonResponse(200, apply_tags_fault(shown, found.tags, fault))


def _stop(call: Call) -> JsonResponse:
    return _stop_deployment(call, call.deployment_to_stop())


def _self_stop(call: Call) -> JsonResponse:
    found = call.deployment_to_stop()
    if call.authorization != found.delete_token:
        raise ApiError(401, "Invalid token")
    if call.path_params["access_point_id"] != str(found.access_point):
        raise ApiError(404, "Access point not found")
    return _stop_deployment(call, found)


def _stop_deployment(call: Call, found: Deployment) -> JsonResponse:
    """Stop a deployment.

    The status is 200 if the stop begins at once, and 202 if it begins after the
    start-up.
    """
    begins_later = found.phase is Phase.STARTING
    call.world.stop(found, call.now)
    return JsonResponse(
        202 if begins_later else 200,
        {
            "message": f"Instance {found.request_id} will be deleted",
            "deployment_summary": bodies.status(found, call.now, call.world.clock),
        },
    )


def _bulk_stop(call: Call, body: BulkStopRequest) -> JsonResponse:
    found = call.world.bulk_stop(body.filters, call.now)
    rows = [{"request_id": each.request_id} for each in found]
    return JsonResponse(202, {"processable": rows})


def _list(call: Call) -> JsonResponse:
    try:
        query = _LIST_QUERY.decode(call.query.get("query", "{}"))
    except (DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"query: {error}") from None
    query, behaviour = apply_list_faults(query, call.pick_fault)
    number = count(call.query, "page", 1)
    size = count(call.query, "limit", PAGE_SIZE)
    if call.pick_fault("page", ()):
        number = 1
    page = call.world.page(query, number, size, call.now, behaviour)
    as_of, fault = call.now - behaviour.lag, call.pick_fault("tags", ())
    bare = call.pick_fault("rows", ())
    rows = [
        apply_row_fault(
            apply_tags_fault(bodies.row(it, as_of, call.world.clock), it.tags, fault),
            bare,
        )
        for it in page.items
    ]
    shown = apply_total_fault(
        bodies.page(page, rows),
        lambda: call.world.page(ListQuery(), 1, 1, call.now).total,
        call.pick_fault("total", ()),
    )
    return JsonResponse(200, shown)


def _locations(call: Call) -> JsonResponse:
    # Every location can run every application, so `app` and `version` exclude none.
    with_tags = call.query.get("tags") == "true"
    rows = bodies.locations(call.query.get("type"), with_tags=with_tags)
    body = cut(call.query, call.world.options, "locations", rows)
    return JsonResponse(200, {**body, "messages": []})


def _beacons(call: Call) -> JsonResponse:
    rows = bodies.beacons()
    return JsonResponse(200, counted(call.query, call.world.options, "locations", rows))


def _report(call: Call, body: ReportRequest) -> JsonResponse:
    call.deployment().reports.append(body)
    return JsonResponse(200)


def _container_logs(call: Call) -> JsonResponse:
    return JsonResponse(
        200, container.logs(call.deployment(), call.now, call.world.clock)
    )


def _metrics(call: Call) -> JsonResponse:
    start, end = _time(call, "start_time"), _time(call, "end_time")
    if start is not None and (call.now if end is None else end) <= start:
        raise ApiError(400, "end_time: must be greater than start_time")
    # With raw data, every sample is returned, so the steps are ignored.
    steps = None if call.query.get("raw") == "true" else call.query.get("steps")
    clock = call.world.clock
    return JsonResponse(
        200, container.metrics(call.deployment(), call.now, clock, start, end, steps)
    )


def _time(call: Call, name: str) -> float | None:
    text = call.query.get(name)
    if text is None:
        return None
    clock = call.world.clock
    try:
        # The reference page has the first form, the newer specification the second.
        return clock.seconds(text) if "T" in text else clock.parse_exact(text)
    except ValueError:
        raise ApiError(
            400, f"{name}: must match {DATE_FORMAT} or ISO 8601, not {text!r}"
        ) from None


def _fleet_hosts(call: Call) -> JsonResponse:
    world = call.world
    rows = [
        bodies.host(host, world.on_host(host, call.now), world.clock)
        for host in world.fleet(call.path_params["fleet_name"])
    ]
    return JsonResponse(200, cut(call.query, call.world.options, "data", rows))


def _tags(call: Call) -> JsonResponse:
    tags = [
        bodies.tag(name, tag, call.world.clock)
        for name, tag in call.deployment().tags.items()
    ]
    body = cut(call.query, call.world.options, "tags", tags)
    told: Json = {"count": len(tags), "pagination": {}}
    return JsonResponse(200, body if "total_count" in body else {**body, **told})


def _tag(call: Call) -> JsonResponse:
    name = call.path_params["tag_name"]
    tag = call.world.tag(call.deployment(), name)
    return JsonResponse(200, bodies.tag(name, tag, call.world.clock))


def _create_tag(call: Call, body: TagRequest) -> JsonResponse:
    tag = call.world.create_tag(call.deployment(), body.name, call.now)
    return JsonResponse(200, bodies.tag(body.name, tag, call.world.clock))


def _update_tag(call: Call, body: TagRequest) -> JsonResponse:
    name = call.path_params["tag_name"]
    tag = call.world.rename_tag(call.deployment(), name, body.name, call.now)
    return JsonResponse(200, bodies.tag(body.name, tag, call.world.clock))


def _delete_tag(call: Call) -> JsonResponse:
    call.world.delete_tag(call.deployment(), call.path_params["tag_name"])
    return JsonResponse(204)


# By the SDK method that an endpoint belongs to. The fleet deploy has two paths and one
# method, so one entry serves both.
HANDLERS: Mapping[str, Handler] = dict(
    (
        with_body(endpoints.DEPLOY, _deploy),
        without_body(endpoints.STATUS, _status),
        without_body(endpoints.STOP, _stop),
        without_body(endpoints.SELF_STOP, _self_stop, own_token=True),
        with_body(endpoints.BULK_STOP, _bulk_stop),
        without_body(endpoints.LIST, _list),
        without_body(endpoints.LOCATIONS, _locations),
        without_body(endpoints.BEACONS, _beacons),
        without_body(endpoints.CONTAINER_LOGS, _container_logs),
        without_body(endpoints.METRICS, _metrics),
        with_body(endpoints.REPORT, _report),
        with_body(endpoints.FLEET_DEPLOY, _deploy),
        without_body(endpoints.FLEET_HOSTS, _fleet_hosts),
        without_body(endpoints.TAGS, _tags),
        without_body(endpoints.TAG, _tag),
        with_body(endpoints.CREATE_TAG, _create_tag),
        with_body(endpoints.UPDATE_TAG, _update_tag),
        without_body(endpoints.DELETE_TAG, _delete_tag),
        *CATALOG_HANDLERS,
        *RELAY_HANDLERS,
        *STORAGE_HANDLERS,
        *REGISTRY_HANDLERS,
        *PULL_PROFILE_HANDLERS,
    )
)
