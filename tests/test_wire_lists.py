"""Lists: what a query looks like on the wire, one page, and all pages."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.echo import Echo, echoing

from edgegap_async import EdgegapSession, ListFilter, ListQuery, OrderBy
from edgegap_async.errors import NotFound


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


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


@pytest.mark.parametrize(("query", "meant"), QUERIES)
async def test_a_query_is_json_and_so_is_its_text(
    query: ListQuery, meant: Any, echo: Echo
) -> None:
    text = json.dumps(meant, ensure_ascii=False)
    echo.answers = [page("a"), page("a")]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        await session.deployments.list(query)
        await session.deployments.list(text)
    assert [json.loads(dict(seen.query)["query"]) for seen in echo.seen] == [
        meant,
        meant,
    ]
    assert echo.seen[1].query == [("query", text)]


async def test_page_and_limit_are_asked_for(echo: Echo) -> None:
    echo.answers = [page("a"), page("b"), web.json_response({"data": []})]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        first = await session.deployments.list("{}", page=2, limit=100)
        await session.deployments.list(limit=1)
        await session.private_fleets.hosts("f", page=3, limit=4)
    assert [row.request_id for row in first.data] == ["a"]
    assert [seen.query for seen in echo.seen] == [
        [("query", "{}"), ("page", "2"), ("limit", "100")],
        [("limit", "1")],
        [("page", "3"), ("limit", "4")],
    ]


async def walk(session: EdgegapSession, *args: Any, **options: Any) -> list[str]:
    return [
        summary.request_id
        async for summary in session.deployments.iterate(*args, **options)
    ]


async def test_iterate_walks_all_pages_and_gives_none_twice(echo: Echo) -> None:
    echo.answers = [
        page("a", "b", has_next=True, number=1),
        # meanwhile one more was deployed: all moved on by one
        page("b", "c", "c", has_next=True, number=2),
        page("a", "d", has_next=False, number=3),
    ]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        assert await walk(
            session, ListQuery([ListFilter("status", "eq", "ready")])
        ) == ["a", "b", "c", "d"]
    asked = [dict(seen.query) for seen in echo.seen]
    assert [(query["page"], query["limit"]) for query in asked] == [
        ("1", "100"),
        ("2", "100"),
        ("3", "100"),
    ]
    assert len({query["query"] for query in asked}) == 1


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
async def test_iterate_ends(last: web.Response, echo: Echo) -> None:
    echo.answers = [page("a", has_next=True), last]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        rows = await walk(session, page_size=7)
    assert rows in (["a"], ["a", "b"])
    assert (rows == ["a"]) == (b'"b"' not in (last.body or b""))
    assert [dict(seen.query)["limit"] for seen in echo.seen] == ["7", "7"]


async def test_iterate_asks_for_no_page_before_it_is_needed(echo: Echo) -> None:
    echo.answers = [page("a", "b", has_next=True), page("c")]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        rows = session.deployments.iterate()
        assert echo.seen == []
        assert [(await anext(rows)).request_id, (await anext(rows)).request_id] == [
            "a",
            "b",
        ]
        assert len(echo.seen) == 1
        assert (await anext(rows)).request_id == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_an_error_on_a_later_page_is_raised(echo: Echo) -> None:
    echo.answers = [
        page("a", has_next=True),
        web.json_response({"message": "gone"}, status=404),
    ]
    async with EdgegapSession("my-token", base_url=echo.url) as session:
        rows = session.deployments.iterate()
        assert (await anext(rows)).request_id == "a"
        with pytest.raises(NotFound, match="gone"):
            await anext(rows)
