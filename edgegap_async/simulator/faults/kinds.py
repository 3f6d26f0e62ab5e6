"""The kinds of fault: their names, and the operations that each can affect."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Literal, TypeAlias

from ... import endpoints
from ...endpoints import OPERATIONS

# The stages of a request. At most one fault applies at each stage.
Stage: TypeAlias = Literal[
    "connection",
    "response",
    "lag",
    "filters",
    "order",
    "page",
    "tags",
    "total",
    "rows",
    "webhook",
]
Detail: TypeAlias = Literal["seconds", "fields"]

CALLS = tuple(dict.fromkeys(endpoint.call for endpoint in OPERATIONS))
# The simulator sends the webhooks, so they are not an operation of the API. But they
# can have faults too.
WEBHOOK = "webhook"
TARGETS = (*CALLS, WEBHOOK)

_ANY, _WEBHOOKS = frozenset(TARGETS), frozenset({WEBHOOK})
_LISTS = frozenset({endpoints.LIST.call})
_WITH_TAGS = _LISTS | {endpoints.STATUS.call}
_DEPLOYS = frozenset(each.call for each in OPERATIONS if each.starts_server)
_WITH_BODY = frozenset(each.call for each in OPERATIONS if each.returns is not NoneType)
# The operations whose path names a deployment.
_ON_DEPLOYMENT = frozenset(
    each.call for each in OPERATIONS if "{request_id}" in each.path
)
_WITH_ID = _DEPLOYS | {
    each.call
    for each in (
        endpoints.STATUS,
        endpoints.STOP,
        endpoints.SELF_STOP,
        endpoints.BULK_STOP,
        endpoints.LIST,
    )
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Args:
        about: One line for `simulate --faults`.
        stage: The stage at which it applies. It is `webhook` for each fault of a
            webhook.
        detail: The argument of `Fault` that it takes, if any.
        operations: The operations that it can affect, and `webhook`.
    """

    about: str
    stage: Stage = "response"
    detail: Detail | None = None
    operations: frozenset[str] = frozenset(CALLS)


def _before_and_after(name: str, about: str) -> dict[str, Kind]:
    """Make two kinds that look alike to a client: without and with the operation."""
    return {
        f"{name}-before": Kind(
            f"{about}; the request counts, but the operation is not carried out"
        ),
        f"{name}-after": Kind(f"{about}; the operation is carried out"),
    }


def _twice(about: str) -> Kind:
    """Make a kind in which a proxy sends one deploy twice."""
    return Kind(
        f"a proxy sends the request twice, so two deployments start; {about}",
        detail="seconds",
        operations=_DEPLOYS,
    )


KINDS: Mapping[str, Kind] = {
    "ok": Kind("no fault: a step of a script", operations=_ANY),
    **_before_and_after("cut", "the connection is closed without a response"),
    **_before_and_after("hang", "no response, and the connection stays open"),
    **_before_and_after("redirect", "307 to the same path"),
    "401": Kind("401 in the API's form: the token was revoked; nothing is carried out"),
    **_before_and_after("403", "403 and HTML, as from a firewall"),
    **_before_and_after(
        "502-escapes", "502 and 64 KiB of escaped characters, as in a gateway's page"
    ),
    "404-text": Kind(
        '404 and the text "default backend - 404", as from a load balancer; '
        "the operation is not carried out"
    ),
    "404-html": Kind(
        "404 and HTML, as from a gateway; the operation is not carried out"
    ),
    "404-empty": Kind("404 without a body; the operation is not carried out"),
    "404-json": Kind(
        '404 and {"message": "Not Found"}, as from a gateway; '
        "the operation is not carried out"
    ),
    "not-found": Kind(
        "404 in the API's form, as if there were no such deployment; "
        "the operation is not carried out",
        operations=_ON_DEPLOYMENT,
    ),
    "404-after": Kind("404 and HTML, as from a gateway; the operation is carried out"),
    **_before_and_after("408", "408 and HTML"),
    **_before_and_after("500", "500 in the API's form"),
    **_before_and_after("502", "502 and HTML"),
    **_before_and_after("503", "503 and HTML"),
    **_before_and_after("504", "504 and HTML"),
    "429": Kind(
        "429 without Retry-After, although the limit is kept; "
        "the operation is not carried out"
    ),
    "429-seconds": Kind(
        "429 with SECONDS in Retry-After; the operation is not carried out",
        detail="seconds",
    ),
    "429-after": Kind(
        "429 and HTML with SECONDS in Retry-After; the operation is carried out",
        detail="seconds",
    ),
    "429-date": Kind(
        "429 with the date SECONDS from now in Retry-After; "
        "the operation is not carried out",
        detail="seconds",
    ),
    "late": Kind(
        "the operation is carried out, the response is sent SECONDS later; "
        "or a webhook is sent SECONDS late",
        detail="seconds",
        operations=_ANY,
    ),
    "processed-late": Kind(
        "the connection is closed, and the operation is carried out SECONDS later",
        detail="seconds",
    ),
    "truncated": Kind(
        "half of the response body, then the connection is closed",
        operations=_WITH_BODY,
    ),
    "stalled": Kind(
        "half of the response body, then nothing, and the connection stays open",
        operations=_WITH_BODY,
    ),
    "answered-twice": Kind(
        "the response is sent again SECONDS later, and the connection stays open",
        detail="seconds",
        operations=_WITH_BODY,
    ),
    "endless": Kind("a response body that never ends", operations=_WITH_BODY),
    "gzip-bomb": Kind(
        "a compressed response body of 64 KB that is 64 MB when decompressed",
        operations=_WITH_BODY,
    ),
    "page-before": Kind(
        "200 and an HTML page, as of a login or a maintenance; "
        "the operation is not carried out"
    ),
    "not-json": Kind("the right status with an HTML page", operations=_WITH_BODY),
    "invalid-utf8": Kind(
        "the response with strings that are not UTF-8", operations=_WITH_BODY
    ),
    "empty": Kind("the right status without a body", operations=_WITH_BODY),
    "no-id": Kind("the response without request_id", operations=_WITH_ID),
    "odd-values": Kind(
        "the response with values of other types: a number for `fqdn`, [] for `ports`, "
        "[null] for `tags`",
        operations=_WITH_BODY,
    ),
    "slow-numbers": Kind(
        "each time of the response is a list of numbers that take long to read, "
        "such as 1e308",
        operations=_WITH_BODY,
    ),
    "nested-values": Kind(
        "each time of the response is a list of values in others, 200 levels deep",
        operations=_WITH_BODY,
    ),
    "odd-rows": Kind(
        "the list begins with null and with a row without request_id",
        operations=_LISTS,
    ),
    "next-missing": Kind(
        "the list does not tell whether another page follows", operations=_LISTS
    ),
    "next-text": Kind(
        'the list tells it as a text, "true" or "false"', operations=_LISTS
    ),
    "next-false": Kind(
        "the list tells that no page follows, although its total_count is larger",
        operations=_LISTS,
    ),
    "total-of-page": Kind(
        "the list does not tell whether another page follows, and its `total_count` "
        "counts the rows of the page",
        operations=_LISTS,
    ),
    "other-id": Kind(
        "the status with the request_id of another deployment",
        operations=frozenset({endpoints.STATUS.call}),
    ),
    "null": Kind("the right status with the body null", operations=_WITH_BODY),
    "text": Kind('the right status with the body "Success"', operations=_WITH_BODY),
    "422": Kind(
        "no server can be allocated: 422, and a deployment in ERROR",
        operations=_DEPLOYS,
    ),
    "422-after": Kind(
        "422 and HTML, as from a gateway; the operation is carried out",
        operations=_DEPLOYS,
    ),
    "twice-first": _twice(
        "the response has the ID of the first, the second starts SECONDS later"
    ),
    "twice-second": _twice(
        "the second starts SECONDS later, and the response has its ID"
    ),
    "twice-502": _twice("the response is 502, the second starts SECONDS later"),
    "twice-hang": _twice(
        "no response, and the connection stays open; the second starts SECONDS later"
    ),
    "twice-late-502": _twice("the response is 502, both start SECONDS later"),
    "twice-late-hang": _twice(
        "no response, and the connection stays open; both start SECONDS later"
    ),
    "dead-connection": Kind(
        "a reused connection is reset, and the request on it is not read",
        "connection",
    ),
    "idle-connection": Kind(
        "a connection that was idle for SECONDS is reset, and the request on it is not "
        "read, as by a balancer that has just closed it",
        "connection",
        "seconds",
    ),
    "lag": Kind("the list is SECONDS old", "lag", "seconds", _LISTS),
    "filters-ignored": Kind(
        "filters on FIELDS match everything", "filters", "fields", _LISTS
    ),
    "filters-refused": Kind(
        "filters on FIELDS are answered with 400", "filters", "fields", _LISTS
    ),
    "filters-empty": Kind(
        "filters on FIELDS match nothing", "filters", "fields", _LISTS
    ),
    "filters-all-of": Kind(
        "a filter with `in` on FIELDS means all of its values, not any of them",
        "filters",
        "fields",
        _LISTS,
    ),
    "order-oldest-first": Kind(
        "the list is oldest first, whatever order is requested",
        "order",
        operations=_LISTS,
    ),
    "order-shuffled": Kind(
        "the list is in the order of the IDs, which are random",
        "order",
        operations=_LISTS,
    ),
    "first-page": Kind(
        "the list is its first page, whatever page is requested",
        "page",
        operations=_LISTS,
    ),
    "tags-missing": Kind(
        "rows and statuses without the field `tags`", "tags", operations=_WITH_TAGS
    ),
    "tags-null": Kind(
        "rows and statuses in which `tags` is null", "tags", operations=_WITH_TAGS
    ),
    "tags-text": Kind(
        'rows and statuses in which `tags` is one text: "a,b"',
        "tags",
        operations=_WITH_TAGS,
    ),
    **{
        f"tags-{name}": Kind(
            f"rows and statuses in which `tags` is {about}",
            "tags",
            operations=_WITH_TAGS,
        )
        for name, about in (
            ("objects", '[{"name": "a"}, {"name": "b"}]'),
            ("keyed", '[{"tag": "a", "id": 5}]'),
            ("nested", '[["a"], ["b"]]'),
            ("mixed", '[null, 5, "a", "b"]'),
        )
    },
    **{
        f"tags-{name}": Kind(f"rows of lists {about}", "tags", operations=_LISTS)
        for name, about in (
            ("empty", "with an empty list of tags"),
            ("first", "with the first of their tags only"),
            ("upper", "with their tags in upper case"),
            ("spaces", "with spaces around their tags"),
            ("cut", "with 19 characters of each tag"),
        )
    },
    "times-local": Kind(
        "rows of lists with times of a zone that is five hours behind",
        "rows",
        operations=_LISTS,
    ),
    "total-missing": Kind("the list without `total_count`", "total", operations=_LISTS),
    "total-of-all": Kind(
        "`total_count` counts all deployments, not those that pass the filters",
        "total",
        operations=_LISTS,
    ),
    "rows-without-address": Kind(
        "rows of the list without fqdn, public_ip and ports", "rows", operations=_LISTS
    ),
    "lost": Kind("a webhook is never sent", "webhook", operations=_WEBHOOKS),
    "duplicated": Kind(
        "a webhook is sent again after its first response",
        "webhook",
        operations=_WEBHOOKS,
    ),
    "reordered": Kind(
        "a webhook is sent after the next one, but at most SECONDS late",
        "webhook",
        "seconds",
        _WEBHOOKS,
    ),
}
