"""Pages of rows, for operations that have pages only in the newer specification."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..world.errors import ApiError
from ..world.options import WorldOptions
from .bodies import pagination
from .responses import Json

# In digits: a longer number in a query is refused.
_LONGEST_NUMBER = 10
# Edgegap does not document the default page size, so this is a guess.
PAGE_SIZE = 10


def count(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number from 1 in a query.

    Raises:
        ApiError: It is something else.
    """
    text = query.get(name, str(default))
    digits = text.isascii() and text.isdigit() and 0 < len(text) < _LONGEST_NUMBER
    if not digits or int(text) == 0:
        raise ApiError(400, f"{name}: must be a whole number from 1, not {text!r}")
    return int(text)


class Rows(NamedTuple):
    """The rows of one page, and the position of the page."""

    rows: Sequence[Json]
    pagination: Json


def page_of(
    query: Mapping[str, str], options: WorldOptions, rows: Sequence[Json]
) -> Rows:
    """Return a page of rows.

    Args:
        query: The query of the request.
        options: They may have a page size for requests without `limit`.
        rows: All rows.

    Raises:
        ApiError: `page` or `limit` is not a whole number from 1.
    """
    number = count(query, "page", 1)
    size = count(query, "limit", options.page_size or PAGE_SIZE)
    size = min(size, options.max_page_size)
    pages = max(1, -(-len(rows) // size))
    return Rows(rows[(number - 1) * size : number * size], pagination(number, pages))


def paged(
    query: Mapping[str, str], options: WorldOptions, name: str, rows: Sequence[Json]
) -> Json:
    """Return a page of rows under `name`, and its position. It raises as `page_of`."""
    page = page_of(query, options, rows)
    return {name: page.rows, "total_count": len(rows), "pagination": page.pagination}


def cut(
    query: Mapping[str, str], options: WorldOptions, name: str, rows: Sequence[Json]
) -> Json:
    """Return all rows, or a page of them if the request or the options ask for it. It
    raises as `page_of`.
    """
    if not _asks(query, options):
        return {name: rows}
    return paged(query, options, name, rows)


def counted(
    query: Mapping[str, str], options: WorldOptions, name: str, rows: Sequence[Json]
) -> Json:
    """The same, with the number of the rows that are returned, and no position."""
    shown = page_of(query, options, rows).rows if _asks(query, options) else rows
    return {name: shown, "count": len(shown)}


def _asks(query: Mapping[str, str], options: WorldOptions) -> bool:
    return options.page_size is not None or bool({"page", "limit"} & {*query})
