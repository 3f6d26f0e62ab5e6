"""Pages of rows, for operations that have pages only in the newer specification."""

from collections.abc import Mapping, Sequence

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


def cut(
    query: Mapping[str, str], options: WorldOptions, name: str, rows: Sequence[Json]
) -> Json:
    """Return all rows, or a page of them if the request or the options ask for it.

    Args:
        query: The query of the request.
        options: They may have a page size for requests without `limit`.
        name: The field of the rows.
        rows: All rows.

    Raises:
        ApiError: `page` or `limit` is not a whole number from 1.
    """
    if options.page_size is None and not {"page", "limit"} & {*query}:
        return {name: rows}
    number = count(query, "page", 1)
    size = count(query, "limit", options.page_size or PAGE_SIZE)
    size = min(size, options.max_page_size)
    return {
        name: rows[(number - 1) * size : number * size],
        "total_count": len(rows),
        "pagination": pagination(number, max(1, -(-len(rows) // size))),
    }
