"""The effects of faults on lists and tags.

A fault changes the query of a list, the behaviour of the server that carries it out, or
the tags of an answer.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec.structs import replace

from ...models.paging import ListFilter, ListQuery
from ..http.responses import Json
from ..world.clock import DATE_FORMAT
from ..world.errors import ApiError
from ..world.listing import ListBehaviour, ListOrder
from .fault import Fault
from .kinds import Stage

PickFault: TypeAlias = Callable[[Stage, Collection[str]], Fault | None]

_ORDERS: Mapping[str, ListOrder] = {
    "order-oldest-first": "oldest-first",
    "order-shuffled": "shuffled",
}

# Other forms of the tags, by the kind of fault.
_TAG_FORMS: Mapping[str, Callable[[list[str]], object]] = {
    "tags-text": ",".join,
    "tags-objects": lambda tags: [{"name": tag} for tag in tags],
    "tags-keyed": lambda tags: [{"tag": tag, "id": 5} for tag in tags],
    "tags-nested": lambda tags: [[tag] for tag in tags],
    "tags-mixed": lambda tags: [None, 5, *tags],
    "tags-empty": lambda _: [],
    "tags-first": lambda tags: tags[:1],
    "tags-upper": lambda tags: [tag.upper() for tag in tags],
    "tags-spaces": lambda tags: [f" {tag} " for tag in tags],
    "tags-cut": lambda tags: [tag[:19] for tag in tags],
}
# The difference between a time in UTC and in the zone of "times-local".
_BEHIND = timedelta(hours=5)
_ADDRESS = ("fqdn", "public_ip", "ports")


def apply_list_faults(
    query: ListQuery, pick_fault: PickFault
) -> tuple[ListQuery, ListBehaviour]:
    """Return the query that the server carries out, and how it does so.

    Raises:
        ApiError: The fault makes the server refuse such filters.
    """
    fields = [each.field for each in query.filters]
    wrong = pick_fault("filters", fields) if fields else None
    all_of = frozenset[str]()
    if wrong and wrong.kind == "filters-all-of":
        all_of = frozenset(wrong.fields or fields)
    elif wrong:
        query = _with_wrong_filters(query, wrong)
    lag, order = pick_fault("lag", ()), pick_fault("order", ())
    return query, ListBehaviour(
        lag=(lag.seconds or 0.0) if lag else 0.0,
        all_of=all_of,
        order=_ORDERS[order.kind] if order else "requested",
    )


def apply_tags_fault(shown: Json, tags: Iterable[str], fault: Fault | None) -> Json:
    """Return a status, or a row of a list, with its tags as the server shows them."""
    if fault is None:
        return shown
    match fault.kind:
        case "tags-missing":
            return {key: value for key, value in shown.items() if key != "tags"}
        case "tags-null":
            return {**shown, "tags": None}
        case _:
            return {**shown, "tags": _TAG_FORMS[fault.kind](list(tags))}


def apply_total_fault(
    page: Json, count_all: Callable[[], int], fault: Fault | None
) -> Json:
    """Return a page with its `total_count` as the server shows it.

    Args:
        count_all: Returns the number of all deployments.
    """
    if fault is None:
        return page
    if fault.kind == "total-missing":
        return {key: value for key, value in page.items() if key != "total_count"}
    return {**page, "total_count": count_all()}


def apply_row_fault(row: Json, fault: Fault | None) -> Json:
    """Return a row of a list as the server shows it."""
    if fault is None:
        return row
    if fault.kind == "rows-without-address":
        return {**row, **dict.fromkeys(_ADDRESS)}
    started = row["start_time"]
    if not isinstance(started, str):
        return row
    local = datetime.strptime(started, DATE_FORMAT) - _BEHIND
    return {**row, "start_time": local.strftime(DATE_FORMAT)}


def _with_wrong_filters(query: ListQuery, fault: Fault) -> ListQuery:
    match fault.kind:
        case "filters-ignored":
            kept = [
                each
                for each in query.filters
                if fault.fields and each.field not in fault.fields
            ]
            return replace(query, filters=kept)
        case "filters-refused":
            names = ", ".join(fault.fields) or "any field"
            raise ApiError(400, f"query: filters on {names} are not supported")
        case _:
            return replace(query, filters=[ListFilter("request_id", "in", ())])
