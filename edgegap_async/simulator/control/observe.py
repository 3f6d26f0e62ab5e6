"""The endpoints that read."""

from collections.abc import Callable, Collection, Mapping
from itertools import islice

from ...models.deployment import DeploymentState
from ..http.responses import JsonResponse
from ..world.deployment import Deployment
from ..world.errors import ApiError
from . import bodies
from .call import ControlCall

_PAGE_SIZE, _MAX_PAGE_SIZE = 100, 1000
# The parameters that compare a value of a deployment.
_EQUAL: Mapping[str, Callable[[Deployment], str]] = {
    "application": lambda it: it.application,
    "version": lambda it: it.version,
    "city": lambda it: it.location.city,
}
# The values of `state`.
_STATES = frozenset(
    {"pending", *(it.value.lower() for it in DeploymentState)} - {"unknown"}
)


def counts(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/counts`."""
    return JsonResponse(200, {**call.parts.counts()})


def deployments(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/deployments`: a page of the deployments that pass all filters."""
    call.only(*_EQUAL, "state", "tag", "limit", "after")
    now, clock = call.parts.now(), call.parts.world.clock
    states = _wanted_states(call.query)
    found = [
        each
        for each in call.parts.world.all_known(now)
        if _passes(each, call.query, states, now)
    ]
    size = min(_number(call.query, "limit", _PAGE_SIZE, least=1), _MAX_PAGE_SIZE)
    after = _number(call.query, "after", -1, least=0)
    page = list(islice((each for each in found if each.number > after), size + 1))
    shown = page[:size]
    return JsonResponse(
        200,
        {
            "deployments": [bodies.row(each, now, clock) for each in shown],
            "total": len(found),
            "next": shown[-1].number if len(page) > size else None,
        },
    )


def _wanted_states(query: Mapping[str, str]) -> Collection[str]:
    """Return the states and groups of states in `state`. Empty: all are wanted.

    Raises:
        ApiError: 400: there is no such state.
    """
    if "state" not in query:
        return ()
    wanted = query["state"].lower().split(",")
    for state in wanted:
        if state not in _STATES:
            known = ", ".join(sorted(_STATES))
            raise ApiError(400, f"state: there is no {state!r}; there are: {known}")
    return wanted


def _passes(
    it: Deployment, query: Mapping[str, str], states: Collection[str], now: float
) -> bool:
    if not all(query.get(name) in (None, of(it)) for name, of in _EQUAL.items()):
        return False
    if query.get("tag") not in (None, *it.tags):
        return False
    state = bodies.state_of(it, now)
    return not states or state.lower() in states or bodies.group_of(state) in states


def _number(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (
        text.isascii() and text.isdigit() and len(text) < 20 and int(text) >= least
    ):
        raise ApiError(400, f"{name}: must be a number from {least}, not {text!r}")
    return int(text)


def deployment(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/deployments/{request_id}`: everything about one deployment."""
    it, parts = call.deployment(), call.parts
    return JsonResponse(
        200,
        bodies.details(
            it,
            parts.now(),
            parts.world.clock,
            parts.url,
            with_values=call.has_token,
        ),
    )


def environment(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/environment/{request_id}`: the variables of a container."""
    shown = bodies.variables(
        call.deployment(), call.parts.url, with_values=call.has_token
    )
    return JsonResponse(200, shown)


def limits(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/limits`: settings and counts."""
    return JsonResponse(200, bodies.limits(call.parts.limits))


def faults(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/faults`: the active ones."""
    return JsonResponse(200, {"faults": bodies.faults(call.parts.injector)})


def fault_kinds(call: ControlCall) -> JsonResponse:
    """`GET /_simulator/faults/kinds`."""
    return JsonResponse(200, {"kinds": bodies.fault_kinds()})
