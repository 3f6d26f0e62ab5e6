"""The parameters that pages take."""

from ..models._check import whole_number


def page_query(page: int | None, limit: int | None) -> dict[str, str | None]:
    """`page` and `limit`, both counted from 1."""
    return {
        "page": None if page is None else str(whole_number("page", page, 1)),
        "limit": None if limit is None else str(whole_number("limit", limit, 1)),
    }
