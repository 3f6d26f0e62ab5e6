"""Pages of lists, and the query of a list of deployments."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import force_setattr

from ._check import (
    HasRequestId,
    any_number,
    closest,
    deployment_id,
    encodable,
    fail,
    instances,
    is_sequence,
    label,
    plain_number,
    shown,
    text,
    utc,
)
from ._plain import PlainData
from ._wire import Answer, Integer, Maybe, Rows

# Users read the values of these fields from files and pipes. A value with a line end
# would match nothing, and the API would report no error.
CHECKS: Mapping[str, Callable[[str, object], str]] = {
    "request_id": deployment_id,
    "tags": label,
    "deployment_tags": label,
}

# The fields of filters and of the order, each under itself.
_FIELDS = {
    name: name
    for name in (
        "status",
        "request_id",
        "tags",
        "application",
        "version",
        "fleet_name",
        "host_name",
        "created_at",
    )
}
# The operators, and what other languages write for them.
_OPERATORS = {
    **{name: name for name in ("eq", "neq", "in", "nin", "ilike", "gte", "lte")},
    **dict.fromkeys(("=", "==", "is", "equals"), "eq"),
    **dict.fromkeys(("!=", "<>", "ne", "not"), "neq"),
    **dict.fromkeys(("not_in", "not in"), "nin"),
    "like": "ilike",
    **dict.fromkeys((">=", "ge"), "gte"),
    **dict.fromkeys(("<=", "le"), "lte"),
    # No typos of gte and lte: the API may know them.
    "gt": "gt",
    "lt": "lt",
}
_ORDERS = {"asc": "asc", "desc": "desc"}


def known(argument: str, given: object, names: Mapping[str, str]) -> str:
    """Check a name that the API defines. Other names are allowed, as the API may define
    more, unless they look like a typo of one.

    Args:
        names: the names, and others that users take for them.
    """
    name = text(argument, given)
    if name in names:
        meant: str | None = names[name]
    else:
        found = closest(name, names, stems=names is _ORDERS)
        meant = found and names[found]
    if meant and meant != name:
        fail(argument, f"must not be {shown(name)}: did you mean {meant!r}?")
    return name


class Paginator(Answer, frozen=True, kw_only=True):
    """The number of pages."""

    num_pages: Integer = None


class Pagination(Answer, frozen=True, kw_only=True):
    """The position of a page among all pages.

    All fields are None if the operation has no pages (`{}`).
    """

    number: Integer = None
    next_page_number: Integer = None
    previous_page_number: Integer = None
    paginator: Maybe[Paginator] = None
    has_next: Maybe[bool] = None
    has_previous: Maybe[bool] = None


class Page(Rows, frozen=True, kw_only=True):
    """Base of all answers that may be one page of several.

    Attributes:
        total_count: the number of rows on all pages.
    """

    total_count: Integer = None
    pagination: Maybe[Pagination] = None


def has_next(page: Page, shown: int, seen: int) -> bool | None:
    """Whether another page follows. None: the page does not tell, so that only an empty
    or a repeated page is the end.

    Args:
        shown: the number of rows of this page.
        seen: the number of rows so far, with those of this page.
    """
    follows = page.pagination.has_next if page.pagination else None
    total = page.total_count
    # A count below the rows that were shown counts something else, and one of the rows
    # of this page may count only those.
    if follows is None and total is not None and total >= seen and total != shown:
        return seen < total
    return follows


def tells_more(page: Page, number: int, seen: int) -> bool:
    """Whether any field of a page tells of rows after it.

    Args:
        number: the number of this page, from 1.
        seen: the number of rows so far, with those of this page.
    """
    pages = page.pagination or Pagination()
    paginator = pages.paginator or Paginator()
    return (
        pages.has_next is True
        or (page.total_count or 0) > seen
        or max(pages.next_page_number or 0, paginator.num_pages or 0) > number
    )


if TYPE_CHECKING:
    # The types that a caller may pass. The filter converts them to the types below.
    _Value: TypeAlias = (
        str | int | float | datetime | HasRequestId | Sequence[str | HasRequestId]
    )
else:
    _Value = str | int | float | Sequence[str]


class ListFilter(PlainData, frozen=True):
    """A condition on a list of deployments: `ListFilter("status", "eq", "ready")`.

    Known fields and their operators:

    - status: eq, neq
    - request_id, tags, application, version: eq, neq, in, nin
    - fleet_name, host_name: eq, neq, in, nin, and ilike with % as a wildcard
    - created_at, a `datetime` or text in ISO 8601: eq, gte, lte

    `in` and `nin` take a sequence. A naive `datetime` is UTC. An object with a
    `request_id` may stand for it. Other fields and operators are sent unchecked, unless
    they look like a typo of one above. A query in the API's own JSON text may hold any.
    """

    field: str
    operator: str
    value: _Value

    def __post_init__(self) -> None:
        field = known("query: field of a filter", self.field, _FIELDS)
        operator = known("query: operator of a filter", self.operator, _OPERATORS)
        argument = f"query: filter on {shown(field)}"
        force_setattr(self, "field", field)
        force_setattr(self, "operator", operator)
        force_setattr(self, "value", _value(argument, field, operator, self.value))


def _value(
    argument: str, field: str, operator: str, value: object
) -> str | int | float | tuple[str, ...]:
    """Return the value of a filter as it is sent."""
    check = CHECKS.get(field, text)
    if is_sequence(value) != (operator in ("in", "nin")):
        fail(
            argument,
            f"takes a sequence with in and nin, and only with them, not {shown(value)} with {operator}",
        )
    if is_sequence(value):
        return tuple(check(argument, item) for item in value)
    if isinstance(value, datetime):
        return utc(argument, value).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        fail(argument, f"must be a datetime, or a text in ISO 8601, not {shown(value)}")
    if isinstance(value, bool):
        return value
    if plain_number(value) is not None:
        return any_number(argument, value)
    if isinstance(value, str) and field not in CHECKS:
        # The API may take an empty one.
        return encodable(argument, value)
    return check(argument, value)


class OrderBy(PlainData, frozen=True):
    """The order of a list of deployments: `OrderBy("created_at", "desc")`."""

    field: str
    order: str = "asc"

    def __post_init__(self) -> None:
        field = known("query: field of an order_by", self.field, _FIELDS)
        order = known("query: order of an order_by", self.order, _ORDERS)
        force_setattr(self, "field", field)
        force_setattr(self, "order", order)


class ListQuery(PlainData, frozen=True, omit_defaults=True):
    """The filters and the order of a list of deployments.

    The API takes at most one filter per field.
    """

    filters: Sequence[ListFilter] = ()
    order_by: Sequence[OrderBy] = ()

    def __post_init__(self) -> None:
        filters = instances("query: filters", self.filters, ListFilter)
        force_setattr(self, "filters", filters)
        force_setattr(
            self, "order_by", instances("query: order_by", self.order_by, OrderBy)
        )
        fields = [item.field for item in filters]
        if twice := sorted({field for field in fields if fields.count(field) > 1}):
            fail(
                "query",
                f"has more than one filter on {', '.join(twice)}; the API takes one per field",
            )
