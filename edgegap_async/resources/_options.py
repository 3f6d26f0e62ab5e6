"""The options of a deploy and of pages, each spelled once, and the rows of all pages."""

import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from inspect import signature
from typing import Any, TypedDict, TypeVar, cast

from msgspec import Struct

from .._masking import hidden
from .._transport.options import CallOptions, hide_headers
from ..endpoints import Endpoint
from ..models._check import closest, whole_number
from ..models.deploy import (
    WEBHOOK_FIELDS,
    EnvironmentVariables,
    Resources,
    Webhook,
)
from ..models.paging import Page, has_next, tells_more

log = logging.getLogger("edgegap_async")
P = TypeVar("P", bound=Page)
S = TypeVar("S", bound=Struct)
R = TypeVar("R")

# Seconds to wait for READY: an image that is not cached takes minutes.
READY_TIMEOUT = 300.0
# Pages in a row without a new row: the server returns the same page again and again.
MOST_STALE_PAGES = 3


class BodyOptions(TypedDict, total=False):
    """What a deploy may ask for."""

    environment_variables: EnvironmentVariables | None
    tags: Sequence[str] | None
    require_cached_locations: bool | None
    resources: Resources | None
    webhook_on_ready: Webhook | str | None
    webhook_on_error: Webhook | str | None
    webhook_on_terminated: Webhook | str | None


class DeployOptions(BodyOptions, CallOptions, total=False):
    """What a deploy may be given, and `CallOptions`.

    Attributes:
        environment_variables: a mapping, or `EnvironmentVariable` structs. A value holds
            up to 4 KB.
        tags: at most 40 characters each.
        require_cached_locations: deploy only where the image is cached: quicker, with
            fewer locations.
        resources: CPU and memory, in place of the version's.
        webhook_on_ready, webhook_on_error, webhook_on_terminated: URLs that Edgegap
            calls once each, unsigned.
    """


def deploy_options(
    method: Callable[..., object], options: DeployOptions
) -> tuple[BodyOptions, CallOptions]:
    """Check the names of the options that a deploy was given, and divide them into those
    of its body and those of its call.

    Raises:
        TypeError: as Python's own for other methods, with the name that was meant.
    """
    given = cast("dict[str, object]", options)
    for name in WEBHOOK_FIELDS:
        if name in given:
            # In the options of the caller's frame too.
            given[name] = hidden(given[name])
    body, call = _divided(method, options, BodyOptions.__annotations__)
    return cast("BodyOptions", body), call


def body_and_call(
    method: Callable[..., object], options: Mapping[str, object], kind: type[S]
) -> tuple[S, CallOptions]:
    """Make the body of the options that a method was given, of which each field is one,
    and return those of its call.

    Raises:
        TypeError: as for `deploy_options`.
        ValueError: an option is wrong.
    """
    body, call = _divided(method, options, kind.__struct_fields__)
    return kind(**body), call


def _divided(
    method: Callable[..., object], options: Mapping[str, object], names: Iterable[str]
) -> tuple[dict[str, Any], CallOptions]:
    """The options with these names, and those of the call."""
    hide_headers(cast("CallOptions", options))
    body = {name: options[name] for name in names if name in options}
    call = {name: value for name, value in options.items() if name not in body}
    known = [*names, *CallOptions.__annotations__]
    _check_names(method, call, known)
    return body, cast("CallOptions", call)


def call_options(method: Callable[..., object], options: CallOptions) -> CallOptions:
    """Check the names of the options that a method was given.

    Raises:
        TypeError: as for `deploy_options`.
    """
    if options:
        hide_headers(options)
        _check_names(method, options, CallOptions.__annotations__)
    return options


def _check_names(
    method: Callable[..., object], options: Iterable[str], known: Collection[str]
) -> None:
    for name in options:
        if name not in known:
            names = [*known, *signature(method).parameters]
            meant = closest(name, names, stems=True)
            raise TypeError(
                f"{method.__name__}() got an unexpected keyword argument {name!r}"
                + (f": did you mean {meant!r}?" if meant else "")
            )


def page_query(page: int | None, limit: int | None) -> dict[str, str | None]:
    """The parameters of a page: `page` and `limit`, from 1."""
    return {
        "page": None if page is None else str(whole_number("page", page, 1)),
        "limit": None if limit is None else str(whole_number("limit", limit, 1)),
    }


async def all_rows(
    endpoint: Endpoint[Any, P],
    ask: Callable[[int], Awaitable[P]],
    rows_of: Callable[[P], Sequence[R]],
    identity: Callable[[R], Hashable],
) -> AsyncIterator[R]:
    """Ask for page after page, and yield each row once.

    The last page says so in all that it tells, or is followed by an empty or a repeated
    page: one that contradicts itself costs one more request. Rows that could not be
    read are counted in a warning.

    Args:
        endpoint: of the list.
        ask: asks for a page by its number, from 1.
        rows_of: returns the rows of a page.
        identity: returns what only one row has.
    """
    seen: set[Hashable] = set()
    number, stale, skipped = 1, 0, 0
    while stale < MOST_STALE_PAGES:
        page = await ask(number)
        rows, fresh = rows_of(page), False
        for row in rows:
            if identity(row) not in seen:
                seen.add(identity(row))
                fresh = True
                yield row
        if page.skipped:
            log.warning(
                "%s left out %d rows of page %d, which can't be read",
                endpoint.call,
                page.skipped,
                number,
                extra={"operation": endpoint.call, "skipped": page.skipped},
            )
        skipped += page.skipped
        read = len(seen) + skipped
        follows = has_next(page, len(rows) + page.skipped, read)
        if follows is False and tells_more(page, number, read):
            follows = None
        unreadable = page.skipped > 0
        if follows is False or not (rows or unreadable):
            return
        if follows is None and not fresh and not unreadable:
            return
        number, stale = number + 1, 0 if fresh else stale + 1
