"""The form of answers: that of the reference page, or that of Edgegap's OpenAPI files.

The operations answer in the form of the page. `OFFICIAL` has what the files write in
another way, by operation and field. It is applied to a success right before it leaves,
and to webhooks. A field that has no entry has the same form in both.

What only the page has, such as `sockets`, stays: the schemas allow further properties.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, cast

from msgspec import UNSET

from ... import endpoints
from ..world.world import World
from .bodies import pagination
from .responses import Json, JsonResponse

Form: TypeAlias = Literal["page", "official"]
# Returns when a deployment was made, by its ID, in the form of the files.
Created: TypeAlias = Callable[[str], str]


class Context(NamedTuple):
    """What a conversion may need besides its value: the object that holds it."""

    of: Json
    created: Created


# Converts a value. UNSET leaves its field out.
Convert: TypeAlias = Callable[[object, Context], object]
# What becomes of the fields of an object, or of each object in a list.
Fields: TypeAlias = Mapping[str, "Convert | Fields"]


def _date_time(value: object, _: Context) -> object:
    """Write a time as RFC 3339 does. The page has "2025-11-29 22:35:31.971359", or null
    for what has not happened.
    """
    if not isinstance(value, str):
        return UNSET
    return value.replace(" ", "T") + "Z"


def _start(value: object, context: Context) -> object:
    """Return the time of the deploy for a deployment that has not been ready: the files
    require a time.
    """
    if value is None:
        return context.created(str(context.of["request_id"]))
    return _date_time(value, context)


def _date(value: object, _: Context) -> object:
    """Return the day of a time: the times of metrics have the format `date`."""
    return str(value)[:10]


def _integer(value: object, _: Context) -> object:
    return int(str(value))


def _number(value: object, _: Context) -> object:
    return float(str(value))


def _text(value: object, _: Context) -> object:
    """The files require a text where the page has null."""
    return "" if value is None else value


def _known(value: object, _: Context) -> object:
    """The files have no null here, but the field is optional."""
    return UNSET if value is None else value


_CENTROID = ("label", "latitude", "longitude", "radius_km", "desired_host_count")


def _host(value: object, _: Context) -> object:
    """The files have the order of a host, and its end, under other names. No host of the
    simulator has an end.
    """
    host = dict(cast("Json", value))
    pin = cast("Json", host.pop("pin"))
    del host["delete_schedules"]
    return {
        **host,
        "centroid": {key: pin[key] for key in _CENTROID},
        "delete_schedule": None,
        "fleet_host_specifications": {
            "cpu_units": _units(pin["cpu_cores"]),
            "memory_mb": _units(pin["memory_gb"]),
            "base_clock_speed_mhz": 1000 * cast("int", pin["clock_speed_ghz"]),
        },
    }


def _units(value: object) -> int:
    """Convert cores to CPU units, or GB to MB, as in the samples of the files."""
    return 1024 * cast("int", value)


_STATUS: Fields = {
    "fqdn": _text,
    "public_ip": _text,
    "start_time": _start,
    "removal_time": _date_time,
    "last_status": _known,
    "ports": _known,
    "location": _known,
}
_ROW: Fields = {
    "fqdn": _text,
    "public_ip": _text,
    "start_time": _start,
    "ports": _known,
}
_STOPPED: Fields = {"deployment_summary": _STATUS}
# Tags, applications and versions.
_CREATED: Fields = {"create_time": _date_time, "last_updated": _date_time}
_CHANGED_VERSION: Fields = {"version": _CREATED}
_SERIES: Fields = {"datasets": _integer, "timestamps": _date}
_TOTAL = ("receive_total", "transmit_total", "disk_read_total", "disk_write_total")
_METRICS: Fields = {
    "total": dict.fromkeys(_TOTAL, _SERIES),
    "cpu": _SERIES,
    "mem": _SERIES,
    "network": dict.fromkeys(("receive", "transmit"), _SERIES),
}
_COORDINATES: Fields = {"latitude": _number, "longitude": _number}

OFFICIAL: Mapping[str, Fields] = {
    endpoints.STATUS.call: _STATUS,
    endpoints.STOP.call: _STOPPED,
    endpoints.SELF_STOP.call: _STOPPED,
    endpoints.LIST.call: {"data": _ROW},
    endpoints.LOCATIONS.call: {"locations": _COORDINATES},
    endpoints.METRICS.call: _METRICS,
    endpoints.FLEET_HOSTS.call: {"data": _host},
    endpoints.TAGS.call: {"tags": _CREATED},
    endpoints.TAG.call: _CREATED,
    endpoints.CREATE_TAG.call: _CREATED,
    endpoints.UPDATE_TAG.call: _CREATED,
    endpoints.APPS.call: {"applications": _CREATED},
    endpoints.APP.call: _CREATED,
    endpoints.CREATE_APP.call: _CREATED,
    endpoints.UPDATE_APP.call: _CREATED,
    endpoints.VERSIONS.call: {"versions": _CREATED},
    endpoints.VERSION.call: _CREATED,
    endpoints.CREATE_VERSION.call: _CHANGED_VERSION,
    endpoints.UPDATE_VERSION.call: _CHANGED_VERSION,
    endpoints.IMAGE_TAGS.call: {"data": {"last_push_at": _date_time}},
}
# The rows of answers that are pages only in the files. Unless a page is asked for, it is
# one page with all rows.
PAGED: Mapping[str, str] = {
    endpoints.LOCATIONS.call: "locations",
    endpoints.FLEET_HOSTS.call: "data",
    endpoints.TAGS.call: "tags",
}
# The files do not have each status for each operation.
STATUSES: Mapping[tuple[str, int], int] = {
    (endpoints.REPORT.call, 404): 400,
    (endpoints.SELF_STOP.call, 410): 404,
    # Their list knows no parameters that could be wrong.
    (endpoints.RELAYS.call, 400): 403,
    (endpoints.AUTHORIZE_RELAY_USER.call, 404): 400,
}


def in_form(
    form: Form, operation: str, response: JsonResponse, world: World
) -> JsonResponse:
    """Return a response in a form.

    Args:
        operation: The method of the SDK, as in `endpoints.py`.
    """
    if form == "page":
        return response
    status = STATUSES.get((operation, response.status), response.status)
    body = response.body
    if body is None or status >= 400:
        return JsonResponse(status, body)

    def created(request_id: str) -> str:
        return world.clock.iso(world.known(request_id).created_at)

    return JsonResponse(status, official(operation, body, created))


def official(operation: str, body: Json, created: Created) -> Json:
    """Return the body of a success in the form of the files."""
    converted = _converted(body, OFFICIAL.get(operation, {}), created)
    rows = body.get(PAGED.get(operation, ""))
    if rows is None or "total_count" in body:
        return converted
    # The files have `total_count` in place of it.
    count = len(cast("Sequence[object]", rows))
    paged = {"total_count": count, "pagination": pagination(1, 1)}
    return {key: converted[key] for key in converted if key != "count"} | paged


def _converted(body: Json, fields: Fields, created: Created) -> Json:
    context = Context(body, created)
    found = {
        key: _value(value, fields[key], context) if key in fields else value
        for key, value in body.items()
    }
    return {key: value for key, value in found.items() if value is not UNSET}


def _value(value: object, field: "Convert | Fields", context: Context) -> object:
    """Convert a value, or each item of a list. An object with fields has an entry for
    some of them; what is no object stays.
    """
    if isinstance(value, list):
        return [_value(each, field, context) for each in cast("list[object]", value)]
    if callable(field):
        return field(value, context)
    if not isinstance(value, Mapping):
        return value
    return _converted(cast("Json", value), field, context.created)
