"""Pages of lists, and the query of a list of deployments."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import force_setattr

from ._check import fail, identifier, instances, label, sequence, text
from ._wire import Answer, Integer, Maybe, Rows

# Users read the values of these fields from files and pipes. A value with a line end
# would match nothing, and the API would report no error.
CHECKS: Mapping[str, Callable[[str, object], str]] = {
    "request_id": identifier,
    "tags": label,
    "deployment_tags": label,
}


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


class ListFilter(Struct, frozen=True):
    """A condition on a list of deployments: `ListFilter("status", "eq", "ready")`.

    Known fields and their operators:

    - status: eq, neq
    - request_id, tags, application, version: eq, neq, in, nin
    - fleet_name, host_name: eq, neq, in, nin, and ilike with % as a wildcard
    - created_at, in ISO 8601: eq, gte, lte

    `in` and `nin` take a sequence. Other fields and operators are sent unchecked.
    """

    field: str
    operator: str
    value: str | int | float | Sequence[str]

    def __post_init__(self) -> None:
        text("query: field of a filter", self.field)
        text("query: operator of a filter", self.operator)
        value = self.value
        checked = CHECKS.get(self.field, text)
        argument = f"query: filter on {self.field!r}"
        one = isinstance(value, str | int | float)
        if one == (self.operator in ("in", "nin")):
            fail(
                argument,
                "takes a sequence with in and nin, and only with them",
            )
        if isinstance(value, str):
            if self.field in CHECKS:
                force_setattr(self, "value", checked(argument, value))
        elif not isinstance(value, int | float):
            items = tuple(checked(argument, item) for item in sequence(argument, value))
            force_setattr(self, "value", items)


class OrderBy(Struct, frozen=True):
    """The order of a list of deployments: `OrderBy("created_at", "desc")`."""

    field: str
    order: str = "asc"

    def __post_init__(self) -> None:
        text("query: field of an order_by", self.field)
        text("query: order of an order_by", self.order)


class ListQuery(Struct, frozen=True, omit_defaults=True):
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
