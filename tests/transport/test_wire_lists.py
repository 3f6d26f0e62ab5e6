"""How list queries are sent, single pages, and iteration over all pages."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.recording_server import RecordingServer, recording_server

from edgegap_async import EdgegapSession, ListFilter, ListQuery, OrderBy
from edgegap_async.errors import NotFound
from edgegap_async.simulator import Fault, Simulator


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


def page(*ids: str, has_next: bool | None = None, **pagination: Any) -> web.Response:
    rows = [{"request_id": request_id, "ready": True} for request_id in ids]
    more = (
        {} if has_next is None else {"pagination": {"has_next": has_next, **pagination}}
    )
    return web.json_response({"data": rows, **more})


QUERIES = [
    (ListQuery(), {}),
    (
        ListQuery(
            [
                ListFilter("status", "eq", "ready"),
                ListFilter("request_id", "in", ["a", "b"]),
            ]
        ),
        {
            "filters": [
                {"field": "status", "operator": "eq", "value": "ready"},
                {"field": "request_id", "operator": "in", "value": ["a", "b"]},
            ]
        },
    ),
    (
        ListQuery(
            filters=(item for item in [ListFilter("made_up", "ilike", "%ü&=#%")]),
            order_by=[OrderBy("created_at", "desc")],
        ),
        {
            "filters": [{"field": "made_up", "operator": "ilike", "value": "%ü&=#%"}],
            "order_by": [{"field": "created_at", "order": "desc"}],
        },
    ),
    (
        ListQuery(order_by=[OrderBy("created_at")]),
        {"order_by": [{"field": "created_at", "order": "asc"}]},
    ),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_a_query_is_sent_as_json_and_a_text_unchanged(
    query: ListQuery, expected: Any, server: RecordingServer
) -> None:
    text = json.dumps(expected, ensure_ascii=False)
    server.answers = [page("a"), page("a")]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        await session.deployments.list(query)
        await session.deployments.list(text)
    assert [
        json.loads(dict(request.query)["query"]) for request in server.requests
    ] == [
        expected,
        expected,
    ]
    assert server.requests[1].query == [("query", text)]


async def test_page_and_limit_are_sent(server: RecordingServer) -> None:
    server.answers = [page("a"), page("b"), web.json_response({"data": []})]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        first = await session.deployments.list("{}", page=2, limit=100)
        await session.deployments.list(limit=1)
        await session.private_fleets.hosts("f", page=3, limit=4)
    assert [row.request_id for row in first.data] == ["a"]
    assert [request.query for request in server.requests] == [
        [("query", "{}"), ("page", "2"), ("limit", "100")],
        [("limit", "1")],
        [("page", "3"), ("limit", "4")],
    ]


async def iterated_ids(
    session: EdgegapSession, *args: Any, **options: Any
) -> list[str]:
    return [
        summary.request_id
        async for summary in session.deployments.iterate(*args, **options)
    ]


async def test_iterate_yields_every_row_of_every_page_once(
    server: RecordingServer,
) -> None:
    server.answers = [
        page("a", "b", has_next=True, number=1),
        # A deployment was added meanwhile, so each row moved down by one.
        page("b", "c", "c", has_next=True, number=2),
        page("a", "d", has_next=False, number=3),
    ]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await iterated_ids(
            session, ListQuery([ListFilter("status", "eq", "ready")])
        ) == ["a", "b", "c", "d"]
    queries = [dict(request.query) for request in server.requests]
    assert [(query["page"], query["limit"]) for query in queries] == [
        ("1", "100"),
        ("2", "100"),
        ("3", "100"),
    ]
    assert len({query["query"] for query in queries}) == 1


@pytest.mark.parametrize(
    "last",
    [
        page("b"),
        page("b", has_next=False),
        page(has_next=True),
        web.json_response({"data": [{"request_id": "b"}], "pagination": {}}),
        web.json_response(
            {"data": [{"request_id": "b"}], "pagination": {"has_next": None}}
        ),
    ],
    ids=["no pagination", "no next", "empty page", "pagination empty", "next unknown"],
)
async def test_iterate_ends_with_the_last_page(
    last: web.Response, server: RecordingServer
) -> None:
    told = b"next" in (last.body or b"") and b"null" not in (last.body or b"")
    server.answers = [page("a", has_next=True), last, page()][: 2 if told else 3]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        rows = await iterated_ids(session, page_size=7)
    assert rows in (["a"], ["a", "b"])
    assert (rows == ["a"]) == (b'"b"' not in (last.body or b""))
    assert server.answers == []
    assert {dict(request.query)["limit"] for request in server.requests} == {"7"}


async def test_iterate_requests_pages_only_when_needed(server: RecordingServer) -> None:
    server.answers = [page("a", "b", has_next=True), page("c", has_next=False)]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        rows = session.deployments.iterate()
        assert server.requests == []
        assert [(await anext(rows)).request_id, (await anext(rows)).request_id] == [
            "a",
            "b",
        ]
        assert len(server.requests) == 1
        assert (await anext(rows)).request_id == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_an_error_on_a_later_page_is_raised(server: RecordingServer) -> None:
    server.answers = [
        page("a", has_next=True),
        web.json_response({"message": "gone"}, status=404),
    ]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        rows = session.deployments.iterate()
        assert (await anext(rows)).request_id == "a"
        with pytest.raises(NotFound, match="gone"):
            await anext(rows)


@pytest.mark.parametrize(
    "kind",
    [
        "next-missing",
        "next-text",
        "next-false",
        "total-of-page",
        "odd-rows",
        "odd-values",
        "slow-numbers",
        "nested-values",
    ],
)
async def test_iterate_yields_every_row_of_odd_pages(kind: str) -> None:
    async with (
        Simulator(faults=[Fault("list", kind)]) as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        for _ in range(25):
            await session.deployments.deploy("game", "1", users=["::1"], once=False)
        found = await iterated_ids(session, page_size=10)
        assert len(found) == len({*found}) == 25
        assert {*found} == {*sim.deployed()}


async def test_a_server_that_ignores_page_and_tells_nothing_is_asked_twice(
    server: RecordingServer,
) -> None:
    server.answers = [page("a", "b"), page("a", "b")]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await iterated_ids(session) == ["a", "b"]
    assert server.answers == []


async def test_pages_whose_rows_are_all_unreadable_do_not_end_the_list(
    server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = web.json_response({"data": [None, {}]})
    server.answers = [unreadable, page("a"), page()]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await iterated_ids(session) == ["a"]
    assert server.answers == []
    warnings = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    assert warnings == [
        "deployments.list left out 2 rows of page 1, which can't be read"
    ]
