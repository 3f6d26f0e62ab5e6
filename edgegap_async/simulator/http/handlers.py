"""The operations: one function per row of `endpoints.py`.

An operation is synchronous. It takes a `Call`, reads or changes the world, and returns
the response. A new row of `endpoints.py` needs an entry in `HANDLERS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import DecodeError, json

from ... import endpoints
from ...endpoints import B, Endpoint, T
from ...models.app import AppRequest, AppUpdate
from ...models.deploy import DeployRequest
from ...models.deployment import BulkStopRequest, ReportRequest
from ...models.paging import ListQuery
from ...models.tag import TagRequest
from ...models.version import AppVersionRequest, AppVersionUpdate
from ..faults.lists import (
    PickFault,
    apply_list_faults,
    apply_row_fault,
    apply_tags_fault,
    apply_total_fault,
)
from ..world.clock import DATE_FORMAT
from ..world.deployment import Deployment, Phase
from ..world.errors import ApiError
from ..world.world import World
from . import bodies, container
from .required import check_required
from .responses import Json, JsonResponse
from .rows import PAGE_SIZE, count, counted, cut, paged

_LIST_QUERY = json.Decoder(ListQuery)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Args:
        world: The state of the API.
        now: The current time in seconds.
        path_params: The parameters of the path.
        query: The parameters of the query string.
        authorization: The `Authorization` header.
        pick_fault: Returns the fault of this call at a stage. It also takes the fields
            that the call filters by.
        allocated: Whether a deploy gets a server.
    """

    world: World
    now: float
    path_params: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str
    pick_fault: PickFault
    allocated: bool = True

    def deployment(self) -> Deployment:
        """Return the deployment in the path."""
        return self.world.find(self.path_params["request_id"], self.now)

    def deployment_to_stop(self) -> Deployment:
        """Return the deployment in the path, or raise the errors of a stop."""
        return self.world.find_to_stop(self.path_params["request_id"], self.now)


@dataclass(frozen=True, slots=True)
class Handler:
    """Serves a row of `endpoints.py`.

    With `own_token`, the operation checks another token than the API token.
    """

    respond: Callable[[Call, bytes], JsonResponse]
    own_token: bool = False


_Entry: TypeAlias = tuple[str, Handler]


def _without_body(
    endpoint: Endpoint[None, T],
    operation: Callable[[Call], JsonResponse],
    *,
    own_token: bool = False,
) -> _Entry:
    return endpoint.call, Handler(lambda call, body: operation(call), own_token)


def _with_body(
    endpoint: Endpoint[B, T], operation: Callable[[Call, B], JsonResponse]
) -> _Entry:
    decoder = json.Decoder(endpoint.takes)

    def respond(call: Call, body: bytes) -> JsonResponse:
        try:
            decoded = decoder.decode(body)
            check_required(body)
            return operation(call, decoded)
        except (DecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, f"Bad request: {error}") from None

    return endpoint.call, Handler(respond)


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


# By the SDK method that an endpoint belongs to. The fleet deploy has two paths and one
# method, so one entry serves both.
HANDLERS: Mapping[str, Handler] = dict(
    (
        _with_body(endpoints.DEPLOY, _deploy),
        _without_body(endpoints.STATUS, _status),
        _without_body(endpoints.STOP, _stop),
        _without_body(endpoints.SELF_STOP, _self_stop, own_token=True),
        _with_body(endpoints.BULK_STOP, _bulk_stop),
        _without_body(endpoints.LIST, _list),
        _without_body(endpoints.LOCATIONS, _locations),
        _without_body(endpoints.BEACONS, _beacons),
        _without_body(endpoints.CONTAINER_LOGS, _container_logs),
        _without_body(endpoints.METRICS, _metrics),
        _with_body(endpoints.REPORT, _report),
        _with_body(endpoints.FLEET_DEPLOY, _deploy),
        _without_body(endpoints.FLEET_HOSTS, _fleet_hosts),
        _without_body(endpoints.TAGS, _tags),
        _without_body(endpoints.TAG, _tag),
        _with_body(endpoints.CREATE_TAG, _create_tag),
        _with_body(endpoints.UPDATE_TAG, _update_tag),
        _without_body(endpoints.DELETE_TAG, _delete_tag),
        _without_body(endpoints.APPS, _apps),
        _without_body(endpoints.APP, _app),
        _with_body(endpoints.CREATE_APP, _create_app),
        _with_body(endpoints.UPDATE_APP, _update_app),
        _without_body(endpoints.DELETE_APP, _delete_app),
        _without_body(endpoints.VERSIONS, _versions),
        _without_body(endpoints.VERSION, _version),
        _with_body(endpoints.CREATE_VERSION, _create_version),
        _with_body(endpoints.UPDATE_VERSION, _update_version),
        _without_body(endpoints.DELETE_VERSION, _delete_version),
    )
)
