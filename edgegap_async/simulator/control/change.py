"""The endpoints that change something."""

from dataclasses import replace

from msgspec import Struct, field

from ...endpoints import LimitName
from ..faults.fault import Fault
from ..http.responses import JsonResponse
from ..rate_limits import Enforcement
from ..world.deployment import Phase
from ..world.errors import ApiError
from ..world.registry import USUAL_SIZE_MB
from . import bodies, observe
from .call import ControlCall


class FaultToAdd(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /_simulator/faults`: the arguments of `Fault`.

    With `replace`, the fault replaces those of its kind and operation.
    """

    operation: str
    kind: str
    share: float = 1.0
    seconds: float | None = None
    fields: tuple[str, ...] = ()
    times: int | None = None
    replace: bool = False


class LimitsToChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /_simulator/limits`. Absent fields stay as they are."""

    enforcement: Enforcement | None = None
    rates: dict[LimitName, float | None] = field(
        default_factory=dict[LimitName, float | None]
    )


class ImageToPush(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /_simulator/images`: the arguments of `Simulator.push_image`."""

    image: str
    tags: tuple[str, ...]
    size_mb: float = USUAL_SIZE_MB


def add_fault(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/faults`: it applies to later requests."""
    body, injector = call.decoded(FaultToAdd), call.parts.injector
    try:
        fault = Fault(
            body.operation, body.kind, body.share, body.seconds, body.fields, body.times
        )
        kept = [
            each
            for each in injector.faults
            if not body.replace
            or (each.operation, each.kind) != (fault.operation, fault.kind)
        ]
        injector.faults = [*kept, fault]
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return observe.faults(call)


def clear_faults(call: ControlCall) -> JsonResponse:
    """`DELETE /_simulator/faults`: all, or those of an operation or a kind."""
    call.only("operation", "kind")
    try:
        call.parts.injector.clear(call.query.get("operation"), call.query.get("kind"))
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return observe.faults(call)


def change_limits(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/limits`: it applies to later requests."""
    body, limits = call.decoded(LimitsToChange), call.parts.limits
    try:
        limits.change(
            replace(
                limits.settings,
                enforcement=body.enforcement or limits.settings.enforcement,
                rates={**limits.settings.rates, **body.rates},
            )
        )
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return observe.limits(call)


def crash(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/crash/{request_id}`: the container of a READY deployment."""
    it = call.deployment()
    call.parts.crash(it)
    return _row(call)


def stop(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/stop/{request_id}`."""
    it = call.deployment()
    if it.phase is Phase.ENDED:
        raise ApiError(410, f"Deployment {it.request_id} is already terminated")
    call.parts.stop([it])
    return _row(call)


def _row(call: ControlCall) -> JsonResponse:
    parts = call.parts
    shown = bodies.row(call.deployment(), parts.now(), parts.world.clock)
    return JsonResponse(200, shown)


def push_image(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/images`: a new build of an image in the container registry."""
    body, parts = call.decoded(ImageToPush), call.parts
    try:
        made = parts.world.registry.push(
            body.image, body.tags, body.size_mb, parts.now()
        )
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return JsonResponse(200, {"image_hash": made.image_hash})


def stop_all(call: ControlCall) -> JsonResponse:
    """`POST /_simulator/stop-all`: but not the deployments of neighbours."""
    existing = [
        each
        for each in call.parts.world.existing(call.parts.now())
        if each.number >= 0 and each.stop_requested_at is None
    ]
    call.parts.stop(existing)
    return JsonResponse(200, {"stopped": len(existing)})
