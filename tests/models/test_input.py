"""Arguments are checked before anything is sent. Each ValueError names its argument."""

import re
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Network
from typing import Any

import pytest
from aioresponses import aioresponses

from edgegap_async import (
    BulkStopFilter,
    EdgegapSession,
    EnvironmentVariable,
    GeoCoordinatesUser,
    IPAddressUser,
    ListFilter,
    ListQuery,
    OrderBy,
    Resources,
    Webhook,
)

Call = Callable[[EdgegapSession], Coroutine[Any, Any, object]]
GOOD = {"application": "my-app", "version": "v1", "users": ["75.28.35.192"]}


def deploy(**changes: Any) -> Call:
    return lambda session: session.deployments.deploy(**GOOD | changes)


def fleet(**changes: Any) -> Call:
    return lambda session: session.private_fleets.deploy(
        **GOOD | {"private_host_ids": ["h"]} | changes
    )


async def iterate_all(session: EdgegapSession, *args: Any, **kwargs: Any) -> list[Any]:
    return [summary async for summary in session.deployments.iterate(*args, **kwargs)]


def constructing(construct: Callable[[], object]) -> Call:
    async def make(session: EdgegapSession) -> object:
        return construct()

    return make


async def validation_error(call: Call, wire: aioresponses) -> str:
    async with EdgegapSession("secret-token") as session:
        with pytest.raises(ValueError) as raised:
            await call(session)
        assert session.usage()["other"].sent == session.usage()["deploy"].sent == 0
    assert wire.requests == {}
    assert type(raised.value) is ValueError
    return str(raised.value)


DEPLOYS = [
    ("application", {"application": ""}),
    ("application", {"application": None}),
    ("application", {"application": "\ud800"}),
    ("version", {"version": " "}),
    ("version", {"version": 1}),
    ("users", {"users": []}),
    ("users", {"users": [IPv4Network("75.28.35.0/24")]}),
    ("users", {"users": None}),
    ("users", {"users": "75.28.35.192"}),
    ("users", {"users": {"75.28.35.192": 1}}),
    ("users", {"users": ["75.28.35.256"]}),
    ("users", {"users": ["75.28.35.192", "example.com"]}),
    ("users", {"users": [""]}),
    ("users", {"users": [None]}),
    ("users", {"users": [b"75.28.35.192"]}),
    ("users", {"users": [(91, 0)]}),
    ("users", {"users": [(-90.1, 0)]}),
    ("users", {"users": [(0, 181)]}),
    ("users", {"users": [(0, -180.5)]}),
    ("users", {"users": [(float("nan"), 0)]}),
    ("users", {"users": [(True, 0)]}),
    ("users", {"users": [("45.5", "-73.5")]}),
    ("users", {"users": [(45.5,)]}),
    ("users", {"users": [(45.5, -73.5, 0)]}),
    ("environment_variables", {"environment_variables": {"": "x"}}),
    ("environment_variables", {"environment_variables": {"KEY": 5}}),
    ("environment_variables", {"environment_variables": "KEY=x"}),
    ("environment_variables", {"environment_variables": [("KEY", "x")]}),
    (
        "environment_variables",
        {
            "environment_variables": [
                EnvironmentVariable("K", ""),
                EnvironmentVariable("K", "x"),
            ]
        },
    ),
    ("environment_variables", {"environment_variables": {"KEY": "\ud800"}}),
    ("tags", {"tags": "production"}),
    ("tags", {"tags": ["a" * 41]}),
    ("tags", {"tags": ["ok", ""]}),
    ("tags", {"tags": [None]}),
    ("require_cached_locations", {"require_cached_locations": "no"}),
    ("resources", {"resources": {"cpu_units": 1024, "memory_mib": 1024}}),
    ("webhook_on_ready", {"webhook_on_ready": ""}),
    ("webhook_on_ready", {"webhook_on_ready": "my-webhook.com"}),
    ("webhook_on_error", {"webhook_on_error": "ftp://my-webhook.com"}),
    ("webhook_on_terminated", {"webhook_on_terminated": "https://[my-webhook.com"}),
    ("webhook_on_terminated", {"webhook_on_terminated": 5}),
]


@pytest.mark.measured
@pytest.mark.parametrize(("argument", "changes"), DEPLOYS)
async def test_both_deploy_methods_reject_the_same_arguments(
    argument: str, changes: Any, wire: aioresponses
) -> None:
    texts = [await validation_error(call(**changes), wire) for call in (deploy, fleet)]
    assert texts[0] == texts[1]
    assert texts[0].startswith(argument)


PATH_PARAMS: list[
    tuple[str, Callable[[EdgegapSession, Any], Coroutine[Any, Any, object]]]
] = [
    ("request_id", lambda session, value: session.deployments.status(value)),
    ("request_id", lambda session, value: session.deployments.stop(value)),
    (
        "request_id",
        lambda session, value: session.deployments.self_stop(value, 1, token="t"),
    ),
    (
        "access_point_id",
        lambda session, value: session.deployments.self_stop("id", value, token="t"),
    ),
    ("request_id", lambda session, value: session.deployments.container_logs(value)),
    ("request_id", lambda session, value: session.deployments.metrics(value)),
    ("request_id", lambda session, value: session.deployments.wait_until_ready(value)),
    ("fleet_name", lambda session, value: session.private_fleets.hosts(value)),
    ("request_id", lambda session, value: session.tags.list(value)),
    ("request_id", lambda session, value: session.tags.create(value, "v1")),
    ("request_id", lambda session, value: session.tags.get(value, "v1")),
    ("tag_name", lambda session, value: session.tags.get("id", value)),
    ("request_id", lambda session, value: session.tags.update(value, "v1", name="v2")),
    ("tag_name", lambda session, value: session.tags.update("id", value, name="v2")),
    ("request_id", lambda session, value: session.tags.delete(value, "v1")),
    ("tag_name", lambda session, value: session.tags.delete("id", value)),
]


@pytest.mark.measured
@pytest.mark.parametrize(("argument", "call"), PATH_PARAMS)
async def test_an_invalid_path_parameter_is_named(
    argument: str, call: Any, wire: aioresponses
) -> None:
    for value in ("", " ", "\t\n", ".", "..", None, b"id", "\ud800"):
        assert (
            await validation_error(
                lambda session, value=value: call(session, value), wire
            )
        ).startswith(argument)  # type: ignore[misc]


ANY_ID = BulkStopFilter("request_id", ["c0653765de3b"])
CALLS: list[tuple[str, Call]] = [
    ("private_host_ids", fleet(private_host_ids=[])),
    ("private_host_ids", fleet(private_host_ids="alpha")),
    ("private_host_ids", fleet(private_host_ids=[""])),
    ("filter", lambda session: session.deployments.bulk_stop()),
    ("filter", lambda session: session.deployments.bulk_stop([])),
    (
        "filter",
        lambda session: session.deployments.bulk_stop(BulkStopFilter("request_id", [])),
    ),
    (
        "filter",
        lambda session: session.deployments.bulk_stop(
            [ANY_ID, BulkStopFilter("request_id", [])]
        ),
    ),
    (
        "filter",
        lambda session: session.deployments.bulk_stop(
            BulkStopFilter("request_id", ["x"], "not")
        ),
    ),
    (
        "filter",
        lambda session: session.deployments.bulk_stop([{"field": "request_id"}]),
    ),  # type: ignore[list-item]
    ("filter", lambda session: session.deployments.bulk_stop("c0653765de3b")),  # type: ignore[arg-type]
    ("query", lambda session: session.deployments.list("")),
    ("query", lambda session: session.deployments.list("status eq ready")),
    ("query", lambda session: session.deployments.list({"filters": []})),  # type: ignore[arg-type]
    ("query", lambda session: iterate_all(session, "{")),
    ("page", lambda session: session.deployments.list(page=0)),
    ("page", lambda session: session.private_fleets.hosts("f", page=True)),
    ("limit", lambda session: session.deployments.list(limit=-1)),
    ("limit", lambda session: session.private_fleets.hosts("f", limit=1.5)),  # type: ignore[arg-type]
    ("page_size", lambda session: iterate_all(session, page_size=0)),
    ("name", lambda session: session.tags.create("id", "a" * 41)),
    ("name", lambda session: session.tags.create("id", "")),
    ("name", lambda session: session.tags.update("id", "v1", name=" ")),
    ("start_time", lambda session: session.deployments.metrics("id", start_time="")),
    ("end_time", lambda session: session.deployments.metrics("id", end_time=5)),  # type: ignore[arg-type]
    ("steps", lambda session: session.deployments.metrics("id", steps="")),
    ("raw", lambda session: session.deployments.metrics("id", raw="false")),  # type: ignore[arg-type]
    (
        "container_log_storage",
        lambda session: session.deployments.stop("id", container_log_storage=""),
    ),
    (
        "container_log_storage",
        lambda session: session.deployments.self_stop(
            "i", 1, token="t", container_log_storage=""
        ),
    ),
    ("token", lambda session: session.deployments.self_stop("id", 1, token="")),
    (
        "token",
        lambda session: session.deployments.self_stop("id", 1, token="token abc"),
    ),
    (
        "access_point_id",
        lambda session: session.deployments.self_stop("id", True, token="t"),
    ),
    (
        "container_log_storage must be True, False, or the name",
        lambda session: session.deployments.stop("id", container_log_storage=1.5),  # type: ignore[arg-type]
    ),
    (
        "tags must be True, False, or a text",
        lambda session: session.locations.list(tags=5),  # type: ignore[arg-type]
    ),
    (
        "query must be a ListQuery or JSON text",
        lambda session: session.deployments.list({"filters": []}),  # type: ignore[arg-type]
    ),
    (
        "query is not JSON: ",
        lambda session: session.deployments.list("status=ready"),
    ),
    (
        "start_time must be a datetime or a text",
        lambda session: session.deployments.metrics("id", start_time=5),  # type: ignore[arg-type]
    ),
    (
        "request_id must have at most 128 characters",
        lambda session: session.deployments.status("a" * 129),
    ),
    ("app", lambda session: session.locations.list(app="")),
    ("version", lambda session: session.locations.list(version="")),
    ("type", lambda session: session.locations.list(type="")),
    ("tags", lambda session: session.locations.list(tags="")),
    ("timeout", lambda session: session.deployments.status("id", timeout=0)),
    ("timeout", lambda session: session.tags.list("id", timeout=float("inf"))),
    ("timeout", lambda session: session.deployments.wait_until_ready("id", timeout=-1)),
    ("filter: field", constructing(lambda: BulkStopFilter("", ["x"]))),
    ("filter: values", constructing(lambda: BulkStopFilter("request_id", "x"))),
    ("filter: values", constructing(lambda: BulkStopFilter("request_id", [""]))),
    (
        "filter: filter_type",
        constructing(lambda: BulkStopFilter("request_id", ["x"], "some")),
    ),  # type: ignore[arg-type]
    ("query: field", constructing(lambda: ListFilter("", "eq", "x"))),
    ("query: operator", constructing(lambda: ListFilter("status", "", "x"))),
    ("query: filter on 'tags'", constructing(lambda: ListFilter("tags", "in", "x"))),
    ("query: filter on 'tags'", constructing(lambda: ListFilter("tags", "eq", ["x"]))),
    ("query: filter on 'tags'", constructing(lambda: ListFilter("tags", "nin", [""]))),
    ("query: filter on 'tags'", constructing(lambda: ListFilter("tags", "in", None))),  # type: ignore[arg-type]
    (
        "query",
        constructing(
            lambda: ListQuery(
                [ListFilter("tags", "eq", "x"), ListFilter("tags", "eq", "y")]
            )
        ),
    ),
    ("query", constructing(lambda: ListQuery([{"field": "tags"}]))),  # type: ignore[list-item]
    ("query", constructing(lambda: ListQuery(order_by=["created_at"]))),  # type: ignore[list-item]
    ("query: field", constructing(lambda: OrderBy(""))),
    ("query: order", constructing(lambda: OrderBy("created_at", ""))),
    ("resources: cpu_units", constructing(lambda: Resources(99, 100))),
    ("resources: cpu_units", constructing(lambda: Resources("1024", 100))),  # type: ignore[arg-type]
    ("resources: memory_mib", constructing(lambda: Resources(100, 99))),
    ("resources: memory_mib", constructing(lambda: Resources(100, 201))),
    ("users", constructing(lambda: IPAddressUser("nowhere"))),
    ("users", constructing(lambda: GeoCoordinatesUser(0, 200))),
    ("environment_variables: key", constructing(lambda: EnvironmentVariable("", "x"))),
    (
        "environment_variables: is_hidden",
        constructing(lambda: EnvironmentVariable("K", "x", "no")),
    ),  # type: ignore[arg-type]
    ("webhook", constructing(lambda: Webhook("my-webhook.com"))),
    ("webhook", constructing(lambda: Webhook("https://[my-webhook.com"))),
]


@pytest.mark.measured
@pytest.mark.parametrize(("argument", "call"), CALLS)
async def test_an_invalid_argument_is_named(
    argument: str, call: Call, wire: aioresponses
) -> None:
    assert (await validation_error(call, wire)).startswith(argument)


def test_values_at_the_bounds_are_accepted() -> None:
    assert Resources(100, 200)
    assert [
        GeoCoordinatesUser(90, -180),
        GeoCoordinatesUser(-90, 180),
        IPAddressUser("2001:db8::1"),
    ]


TYPOS: list[tuple[Callable[[], object], str]] = [
    (lambda: ListFilter("stauts", "eq", "ready"), "'stauts': did you mean 'status'"),
    (lambda: ListFilter("requestId", "eq", "c"), "'requestId': did you mean 'request_"),
    (lambda: ListFilter("aplication", "eq", "c"), "did you mean 'application'"),
    (lambda: ListFilter("created-at", "gte", "c"), "did you mean 'created_at'"),
    (lambda: ListFilter("tag", "in", ["c"]), "did you mean 'tags'"),
    (lambda: ListFilter("Status", "eq", "ready"), "did you mean 'status'"),
    (lambda: ListFilter("status", "==", "ready"), "'==': did you mean 'eq'"),
    (lambda: ListFilter("status", "EQ", "ready"), "'EQ': did you mean 'eq'"),
    (lambda: ListFilter("status", "ne", "ready"), "'ne': did you mean 'neq'"),
    (lambda: ListFilter("tags", "not in", ["a"]), "did you mean 'nin'"),
    (lambda: ListFilter("host_name", "ilke", "a%"), "did you mean 'ilike'"),
    (lambda: ListFilter("created_at", ">=", "2026"), "did you mean 'gte'"),
    (lambda: OrderBy("created_a"), "did you mean 'created_at'"),
    (lambda: OrderBy("created_at", "DESC"), "did you mean 'desc'"),
    (lambda: OrderBy("created_at", "descending"), "did you mean 'desc'"),
    (lambda: BulkStopFilter("request_ids", ["a"]), "did you mean 'request_id'"),
    (lambda: BulkStopFilter("deployment_tag", ["a"]), "did you mean 'deployment_t"),
]


@pytest.mark.parametrize(("make", "text"), TYPOS, ids=lambda each: str(each)[:24])
def test_a_typo_in_a_filter_names_what_was_meant(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        make()


async def test_names_that_the_api_may_know_are_sent_unchecked(
    wire: aioresponses,
) -> None:
    for field in ("region", "updated_at", "sockets", "command"):
        for operator in ("eq", "gt", "lt", "between", "starts_with"):
            assert ListFilter(field, operator, "x")
    assert BulkStopFilter("tags", ["x"])
    assert OrderBy("region", "random")
    wire.get(re.compile(".*"), payload={"data": []})  # type: ignore[no-untyped-call]
    async with EdgegapSession("secret-token") as session:
        text = '{"filters": [{"field": "stauts", "operator": "==", "value": 1}]}'
        assert (await session.deployments.list(text)).data == ()
