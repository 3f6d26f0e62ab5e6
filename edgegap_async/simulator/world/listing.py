"""Which deployments a list or a bulk stop means: filters, order, pages.

A filter is made a test; the tests run over the smallest part of the index that one of
the filters points to.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from msgspec.structs import replace

from ...models.deployment import BulkStopFilter
from ...models.paging import ListFilter, ListQuery
from ..faults.fault import Fault
from .clock import Clock
from .deployment import STARTING_STATES, Deployment, Phase
from .errors import Refusal
from .index import Index

_Test: TypeAlias = Callable[[Deployment], bool]
_Pool: TypeAlias = Mapping[str, Deployment]
_Values: TypeAlias = Callable[[Deployment], tuple[str, ...]]
_PhaseOf: TypeAlias = Callable[[Deployment], Phase]

_IS = ("eq", "neq", "in", "nin")
_LIKE = (*_IS, "ilike")
_FIELDS: dict[str, tuple[tuple[str, ...], _Values]] = {
    "request_id": (_IS, lambda it: (it.request_id,)),
    "tags": (_IS, lambda it: tuple(it.tags)),
    "application": (_IS, lambda it: (it.application,)),
    "version": (_IS, lambda it: (it.version,)),
    "fleet_name": (_LIKE, lambda it: (it.host.fleet if it.host else "",)),
    "host_name": (_LIKE, lambda it: (it.host.host_id if it.host else "",)),
}
# Phases by the word that a filter on `status` has for them.
_PHASES = {state.lower(): Phase.STARTING for state in STARTING_STATES} | {
    "ready": Phase.READY,
    "error": Phase.FAILED,
    "terminating": Phase.STOPPING,
    "terminated": Phase.ENDED,
}
_by_arrival = attrgetter("number")
_phase_as_indexed: _PhaseOf = attrgetter("phase")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of deployments, of `total` in `pages` pages."""

    items: Sequence[Deployment]
    total: int
    number: int
    pages: int


def matches(
    index: Index, query: ListQuery, clock: Clock, now: float, lag: float = 0.0
) -> list[Deployment]:
    """All that pass every filter, in the order of arrival; or those that did `lag`
    seconds ago, by their tags of now.

    Raises:
        Refusal: a filter that the API does not know.
    """
    seen = now - lag
    phase: _PhaseOf = (lambda it: it.phase_at(seen)) if lag else _phase_as_indexed
    tests = [_test(each, clock, seen, phase) for each in query.filters]
    # Of what was in a phase at another time no index tells.
    pools = [
        pool
        for each in query.filters
        if not (lag and each.field == "status")
        if (pool := _pool(each, index)) is not None
    ]
    pool = min(pools, key=len, default=index.all)
    held = [*pool.values()]
    if lag:
        held = [
            each for each in (*held, *index.ended_since(seen)) if each.created <= seen
        ]
    found = (
        [each for each in held if all(test(each) for test in tests)] if tests else held
    )
    if lag or pool is not index.all:
        found.sort(key=_by_arrival)
    return found


def page_of(
    found: list[Deployment],
    query: ListQuery,
    number: int,
    size: int,
    newest_first: bool,
) -> Page:
    """The page with this number, from 1; past the last it is empty.

    Raises:
        Refusal: an order that the API does not know.
    """
    if _newest_first(query, newest_first):
        found.reverse()
    pages = max(1, -(-len(found) // size))
    return Page(found[(number - 1) * size : number * size], len(found), number, pages)


def _newest_first(query: ListQuery, unless_asked: bool) -> bool:
    for order in query.order_by:
        if order.field != "created_at" or order.order not in ("asc", "desc"):
            raise Refusal(
                400,
                f"order_by: only created_at, asc or desc, not {order.field!r} {order.order!r}",
            )
        return order.order == "desc"
    return unless_asked


def _pool(given: ListFilter, index: Index) -> _Pool | None:
    """The part of the index in which all that pass a filter are; None if nothing less
    than all of it.
    """
    if given.operator not in ("eq", "in"):
        return None
    wanted = _wanted(given)
    match given.field:
        case "request_id":
            return {each: index.all[each] for each in wanted if each in index.all}
        case "tags":
            return {
                key: each for name in wanted for key, each in index.tagged(name).items()
            }
        case "status" if given.value in _PHASES:
            return index.in_phase(_PHASES[str(given.value)])
        case _:
            return None


def _wanted(given: ListFilter) -> frozenset[str]:
    value = given.value
    return frozenset((str(value),) if isinstance(value, str | int | float) else value)


def _test(given: ListFilter, clock: Clock, now: float, phase: _PhaseOf) -> _Test:
    if given.field == "created_at":
        return _when(given, clock)
    if given.field == "status":
        return _status(given, now, phase)
    if given.field not in _FIELDS:
        raise Refusal(400, f"query: there is no field {given.field!r} to filter by")
    operators, values = _FIELDS[given.field]
    _check_operator(given, operators)
    if given.operator == "ilike":
        pattern = re.compile(
            ".*".join(map(re.escape, str(given.value).split("%"))),
            re.IGNORECASE | re.DOTALL,
        )
        return lambda it: any(pattern.fullmatch(value) for value in values(it))
    wanted = _wanted(given)
    negated = given.operator in ("neq", "nin")
    return lambda it: wanted.isdisjoint(values(it)) is negated


def _check_operator(given: ListFilter, operators: tuple[str, ...]) -> None:
    if given.operator not in operators:
        raise Refusal(
            400,
            f"query: {given.field} takes {', '.join(operators)}, not {given.operator!r}",
        )


def _status(given: ListFilter, now: float, phase_of: _PhaseOf) -> _Test:
    """The phase tells; only before READY does the state say more."""
    _check_operator(given, ("eq", "neq"))
    wanted = str(given.value)
    phase, equal = _PHASES.get(wanted), given.operator == "eq"
    if phase is Phase.STARTING:
        return lambda it: (
            (phase_of(it) is phase and it.states(now)[0].lower() == wanted) is equal
        )
    return lambda it: (phase_of(it) is phase) is equal


def _when(given: ListFilter, clock: Clock) -> _Test:
    _check_operator(given, ("eq", "gte", "lte"))
    try:
        wanted = clock.seconds(str(given.value))
    except ValueError:
        raise Refusal(
            400, f"query: created_at takes an ISO 8601 date, not {given.value!r}"
        ) from None
    # what is written down of a time
    microsecond = 1e-6
    match given.operator:
        case "eq":
            return lambda it: abs(it.created - wanted) < microsecond
        case "gte":
            return lambda it: it.created > wanted - microsecond
        case _:
            return lambda it: it.created < wanted + microsecond


def misread(query: ListQuery, fault: Fault) -> ListQuery:
    """A query as it is taken by a server that has a fault of the stage `filters`.

    Raises:
        Refusal: the fault is that it refuses.
    """
    return _MISREADINGS[fault.kind](query, fault)


def _ignored(query: ListQuery, fault: Fault) -> ListQuery:
    return replace(
        query,
        filters=[
            each
            for each in query.filters
            if fault.fields and each.field not in fault.fields
        ],
    )


def _refused(query: ListQuery, fault: Fault) -> ListQuery:
    raise Refusal(
        400,
        f"query: filters on {', '.join(fault.fields) or 'any field'} are not supported",
    )


def _empty(query: ListQuery, fault: Fault) -> ListQuery:
    return replace(query, filters=[ListFilter("request_id", "in", ())])


_MISREADINGS = {
    "filters-ignored": _ignored,
    "filters-refused": _refused,
    "filters-empty": _empty,
}


def to_stop(index: Index, filters: Sequence[BulkStopFilter]) -> list[Deployment]:
    """What a bulk stop means: all that pass every filter and do not stop already. No
    filter at all: all.

    Raises:
        Refusal: a field that the API does not know.
    """
    tests = [_bulk_test(each) for each in filters]
    pools = [pool for each in filters if (pool := _bulk_pool(each, index)) is not None]
    pool = min(pools, key=len, default=index.all)
    return [
        it
        for it in pool.values()
        if it.phase is not Phase.STOPPING and all(test(it) for test in tests)
    ]


def _bulk_pool(given: BulkStopFilter, index: Index) -> _Pool | None:
    if given.filter_type == "not":
        return None
    if given.field == "request_id":
        return {each: index.all[each] for each in given.values if each in index.all}
    return {
        key: each for name in given.values for key, each in index.tagged(name).items()
    }


_BULK_FIELDS: dict[str, Callable[[Deployment], frozenset[str]]] = {
    "request_id": lambda it: frozenset((it.request_id,)),
    "deployment_tags": lambda it: frozenset(it.tags),
}


def _bulk_test(given: BulkStopFilter) -> _Test:
    if given.field not in _BULK_FIELDS:
        raise Refusal(
            400,
            f"filters: field must be {' or '.join(_BULK_FIELDS)}, not {given.field!r}",
        )
    values, wanted = _BULK_FIELDS[given.field], frozenset(given.values)
    match given.filter_type:
        case "any":
            return lambda it: not wanted.isdisjoint(values(it))
        case "all":
            return lambda it: wanted <= values(it)
        case "not":
            return lambda it: wanted.isdisjoint(values(it))
