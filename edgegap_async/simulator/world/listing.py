"""Selects the deployments of a list or a bulk stop: filters, order and pages.

Each filter becomes a predicate. The predicates are applied to the smallest set of
candidates that the index has for one of the filters.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, TypeAlias

from ...models.deployment import BulkStopFilter
from ...models.paging import ListFilter, ListQuery
from .clock import Clock
from .deployment import STARTING_STATES, Deployment, Phase
from .errors import ApiError
from .index import Index

_Predicate: TypeAlias = Callable[[Deployment], bool]
_Candidates: TypeAlias = Mapping[str, Deployment]
_Values: TypeAlias = Callable[[Deployment], tuple[str, ...]]
_PhaseOf: TypeAlias = Callable[[Deployment], Phase]

_EQUALITY = ("eq", "neq", "in", "nin")
_WITH_PATTERN = (*_EQUALITY, "ilike")
# The fields with text values: their operators, and the values of a deployment.
_FIELDS: dict[str, tuple[tuple[str, ...], _Values]] = {
    "request_id": (_EQUALITY, lambda it: (it.request_id,)),
    "tags": (_EQUALITY, lambda it: tuple(it.tags)),
    "application": (_EQUALITY, lambda it: (it.application,)),
    "version": (_EQUALITY, lambda it: (it.version,)),
    "fleet_name": (_WITH_PATTERN, lambda it: (it.host.fleet if it.host else "",)),
    "host_name": (_WITH_PATTERN, lambda it: (it.host.host_id if it.host else "",)),
}
# The phase for each value of a filter on `status`.
_PHASES = {state.lower(): Phase.STARTING for state in STARTING_STATES} | {
    "ready": Phase.READY,
    "error": Phase.FAILED,
    "terminating": Phase.STOPPING,
    "terminated": Phase.ENDED,
}
ListOrder: TypeAlias = Literal["requested", "oldest-first", "shuffled"]

_by_arrival = attrgetter("number")
# IDs are random, so this order has nothing to do with the arrival.
_shuffled = attrgetter("request_id")
_indexed_phase: _PhaseOf = attrgetter("phase")


@dataclass(frozen=True, slots=True)
class ListBehaviour:
    """How the server carries out the query of a list; by default, as documented.

    Args:
        lag: The list is so many seconds old.
        all_of: The fields on which a filter with `in` means all of its values.
        order: The order of the list: the requested one, or one that is always the same.
    """

    lag: float = 0.0
    all_of: frozenset[str] = frozenset()
    order: ListOrder = "requested"


AS_DOCUMENTED = ListBehaviour()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of deployments. There are `total` deployments on `pages` pages."""

    items: Sequence[Deployment]
    total: int
    number: int
    pages: int


def matching(
    index: Index,
    query: ListQuery,
    clock: Clock,
    now: float,
    behaviour: ListBehaviour = AS_DOCUMENTED,
) -> list[Deployment]:
    """Return the deployments that pass every filter, in the order of arrival.

    With a lag, these are the deployments that passed `lag` seconds ago. But filters use
    the current tags even then.

    Raises:
        ApiError: The API does not know a filter.
    """
    lag = behaviour.lag
    as_of = now - lag
    phase_of: _PhaseOf = (lambda it: it.phase_at(as_of)) if lag else _indexed_phase
    predicates = [_predicate(each, clock, as_of, phase_of) for each in query.filters]
    predicates += [
        _all_of(each)
        for each in query.filters
        if each.operator == "in" and each.field in behaviour.all_of
    ]
    # The index knows only the current phases.
    sets = [
        candidates
        for each in query.filters
        if not (lag and each.field == "status")
        if (candidates := _candidates(each, index)) is not None
    ]
    smallest = min(sets, key=len, default=index.all)
    existing = [*smallest.values()]
    if lag:
        existing = [
            each
            for each in (*existing, *index.ended_since(as_of))
            if each.created_at <= as_of
        ]
    found = _filtered(existing, predicates)
    if lag or smallest is not index.all:
        found.sort(key=_by_arrival)
    return found


def _filtered(
    deployments: list[Deployment], predicates: Sequence[_Predicate]
) -> list[Deployment]:
    if not predicates:
        return deployments
    return [it for it in deployments if all(test(it) for test in predicates)]


def page_of(
    found: list[Deployment],
    query: ListQuery,
    number: int,
    size: int,
    newest_first: bool,
    order: ListOrder = "requested",
) -> Page:
    """Return the page with this number, from 1. After the last page, it is empty.

    `found` is in the order of arrival.

    Raises:
        ApiError: The API does not know the order.
    """
    requested_newest_first = _newest_first(query, newest_first)
    if order == "shuffled":
        found.sort(key=_shuffled)
    elif order == "requested" and requested_newest_first:
        found.reverse()
    pages = max(1, -(-len(found) // size))
    return Page(found[(number - 1) * size : number * size], len(found), number, pages)


def _newest_first(query: ListQuery, default: bool) -> bool:
    for order in query.order_by:
        if order.field != "created_at" or order.order not in ("asc", "desc"):
            raise ApiError(
                400,
                "order_by: the only field is created_at, asc or desc, "
                f"not {order.field!r} {order.order!r}",
            )
        return order.order == "desc"
    return default


def _candidates(filter_: ListFilter, index: Index) -> _Candidates | None:
    """Return an indexed set that holds all deployments that pass a filter, if any."""
    if filter_.operator not in ("eq", "in"):
        return None
    wanted = _wanted(filter_)
    match filter_.field:
        case "request_id":
            return {each: index.all[each] for each in wanted if each in index.all}
        case "tags":
            return {
                key: each
                for name in wanted
                for key, each in index.with_tag(name).items()
            }
        case "status" if filter_.value in _PHASES:
            return index.in_phase(_PHASES[str(filter_.value)])
        case _:
            return None


def _wanted(filter_: ListFilter) -> frozenset[str]:
    value = filter_.value
    return frozenset(map(str, value) if isinstance(value, tuple) else (str(value),))


def _predicate(
    filter_: ListFilter, clock: Clock, now: float, phase_of: _PhaseOf
) -> _Predicate:
    if filter_.field == "created_at":
        return _created_at(filter_, clock)
    if filter_.field == "status":
        return _status(filter_, now, phase_of)
    if filter_.field not in _FIELDS:
        raise ApiError(400, f"query: there is no field {filter_.field!r} to filter by")
    operators, values = _FIELDS[filter_.field]
    _check_operator(filter_, operators)
    if filter_.operator == "ilike":
        pattern = re.compile(
            ".*".join(map(re.escape, str(filter_.value).split("%"))),
            re.IGNORECASE | re.DOTALL,
        )
        return lambda it: any(pattern.fullmatch(value) for value in values(it))
    wanted = _wanted(filter_)
    negated = filter_.operator in ("neq", "nin")
    return lambda it: wanted.isdisjoint(values(it)) is negated


def _all_of(filter_: ListFilter) -> _Predicate:
    """Test for all values of a filter; the field is one of `_FIELDS`."""
    _, values = _FIELDS[filter_.field]
    wanted = _wanted(filter_)
    return lambda it: wanted.issubset(values(it))


def _check_operator(filter_: ListFilter, operators: tuple[str, ...]) -> None:
    if filter_.operator not in operators:
        raise ApiError(
            400,
            f"query: {filter_.field} takes {', '.join(operators)}, "
            f"not {filter_.operator!r}",
        )


def _status(filter_: ListFilter, now: float, phase_of: _PhaseOf) -> _Predicate:
    """Compare phases. Several states share a phase only before READY."""
    _check_operator(filter_, ("eq", "neq"))
    wanted = str(filter_.value)
    phase, equal = _PHASES.get(wanted), filter_.operator == "eq"
    if phase is Phase.STARTING:
        return lambda it: (
            (phase_of(it) is phase and it.states(now)[0].lower() == wanted) is equal
        )
    return lambda it: (phase_of(it) is phase) is equal


def _created_at(filter_: ListFilter, clock: Clock) -> _Predicate:
    _check_operator(filter_, ("eq", "gte", "lte"))
    try:
        wanted = clock.seconds(str(filter_.value))
    except ValueError:
        raise ApiError(
            400, f"query: created_at takes an ISO 8601 date, not {filter_.value!r}"
        ) from None
    # Dates are written with six decimals.
    microsecond = 1e-6
    match filter_.operator:
        case "eq":
            return lambda it: abs(it.created_at - wanted) < microsecond
        case "gte":
            return lambda it: it.created_at > wanted - microsecond
        case _:
            return lambda it: it.created_at < wanted + microsecond


def to_stop(index: Index, filters: Sequence[BulkStopFilter]) -> list[Deployment]:
    """Return the deployments that a bulk stop stops.

    They pass every filter, and are not stopping already. Without filters, these are all
    deployments.

    Raises:
        ApiError: The API does not know a field.
    """
    predicates = [_bulk_predicate(each) for each in filters]
    sets = [
        candidates
        for each in filters
        if (candidates := _bulk_candidates(each, index)) is not None
    ]
    smallest = min(sets, key=len, default=index.all)
    running = [it for it in smallest.values() if it.phase is not Phase.STOPPING]
    return _filtered(running, predicates)


def _bulk_candidates(filter_: BulkStopFilter, index: Index) -> _Candidates | None:
    if filter_.filter_type == "not":
        return None
    if filter_.field == "request_id":
        return {each: index.all[each] for each in filter_.values if each in index.all}
    return {
        key: each
        for name in filter_.values
        for key, each in index.with_tag(name).items()
    }


_BULK_FIELDS: dict[str, Callable[[Deployment], frozenset[str]]] = {
    "request_id": lambda it: frozenset((it.request_id,)),
    "deployment_tags": lambda it: frozenset(it.tags),
}


def _bulk_predicate(filter_: BulkStopFilter) -> _Predicate:
    if filter_.field not in _BULK_FIELDS:
        raise ApiError(
            400,
            f"filters: field must be {' or '.join(_BULK_FIELDS)}, "
            f"not {filter_.field!r}",
        )
    values, wanted = _BULK_FIELDS[filter_.field], frozenset(filter_.values)
    match filter_.filter_type:
        case "any":
            return lambda it: not wanted.isdisjoint(values(it))
        case "all":
            return lambda it: wanted <= values(it)
        case "not":
            return lambda it: wanted.isdisjoint(values(it))
