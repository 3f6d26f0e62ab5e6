"""Lists that contradict themselves hide nothing from `find` and `reap`: everything is
found, or an error says what is missing.
"""

from collections.abc import Callable
from typing import Any

import pytest
from support.list_server import (
    Json,
    ListServer,
    ids,
    tagged,
    with_next,
    with_pages,
    without,
)
from support.owning import owning

from edgegap_async import EdgegapSession, Limits
from edgegap_async.errors import Incomplete
from edgegap_async.simulator import Fault

Tell = Callable[[Json, int], Json]
Rows = list[Json]


async def found(edgegap: EdgegapSession, **wanted: Any) -> list[str]:
    return [row.request_id async for row in edgegap.deployments.find(**wanted)]


def pages_and_total(pages: Any, total: Any) -> Tell:
    return lambda body, _: {**with_pages(body, pages), "total_count": total}


READABLE: dict[str, Tell] = {
    "one page, no count": pages_and_total(1, None),
    "two pages, no count": pages_and_total(2, None),
    "two pages, a count below the rows": pages_and_total(2, 10),
    "both negative": pages_and_total(-5, -500),
    "negative pages, right count": pages_and_total(-1, 250),
    "zero pages, no count": pages_and_total(0, 0),
    "far too many pages": pages_and_total(10**30, None),
    "texts": pages_and_total("many", "some"),
    "nothing is told": lambda body, _: without(body, "pagination") | {"total_count": 0},
    "the count of a page, and nothing else": lambda body, _: (
        without(body, "pagination") | {"total_count": len(body["data"])}
    ),
    "the last page says that one follows": lambda body, _: with_next(body, told=True),
    "no page follows, but there are three": lambda body, _: (
        with_next(body, told=False) | {"total_count": None}
    ),
    "no page follows, but the count is higher": lambda body, _: with_pages(
        with_next(body, told=False), None
    ),
}


@pytest.mark.parametrize("tags", [None, ["a"]], ids=["all", "by tag"])
@pytest.mark.parametrize("tell", READABLE.values(), ids=READABLE)
async def test_wrong_page_numbers_hide_no_deployment(
    tell: Tell, tags: list[str] | None
) -> None:
    server = ListServer(tagged(250, "a"))
    server.tell = tell
    async with server.session() as edgegap:
        rows = await found(edgegap, tags=tags)
        assert len(rows) == 250
        assert {*rows} == {*server.servers}
    # A list that is read twice has six pages.
    assert server.asked["list"] < 250


@pytest.mark.parametrize("tell", ["far too many pages", "nothing is told"])
async def test_a_404_after_the_last_page_ends_the_list(tell: str) -> None:
    server = ListServer(tagged(250, "a"))
    server.tell = READABLE[tell]
    server.no_empty_pages = True
    async with server.session() as edgegap:
        assert {*await found(edgegap, tags=["a"])} == {*server.servers}


def first_page_again(server: ListServer) -> Tell:
    """Every page is the first one."""
    firsts: list[Json] = []

    def tell(body: Json, number: int) -> Json:
        if number == 1:
            firsts.append(body)
        return firsts[-1]

    return tell


@pytest.mark.slow
async def test_pages_that_repeat_although_others_follow_are_an_error() -> None:
    server = ListServer(tagged(250, "a"))
    server.tell = first_page_again(server)
    async with server.session() as edgegap:
        with pytest.raises(Incomplete):
            await found(edgegap)
        with pytest.raises(Incomplete, match="shows nothing new") as got:
            await edgegap.deployments.reap(["a"])
    assert ids(got.value.stopped) == {*server.stopped}


async def test_pages_that_repeat_without_a_count_are_an_error() -> None:
    server = ListServer(tagged(250, "a"))
    first = first_page_again(server)
    server.tell = lambda body, number: (
        with_next(with_pages(first(body, number), None), told=True)
        | {"total_count": None}
    )
    async with server.session() as edgegap:
        with pytest.raises(Incomplete):
            await found(edgegap)


@pytest.mark.parametrize("told", [251, 1000])
async def test_a_list_that_counts_more_than_it_shows_is_an_error(told: int) -> None:
    server = ListServer(tagged(250, "a"))
    server.tell = lambda body, _: {**body, "total_count": told}
    async with server.session() as edgegap:
        with pytest.raises(Incomplete, match=f"counts {told} .* shows 250"):
            await found(edgegap)


@pytest.mark.parametrize("sizes", [(100, 50), (50, 100), (100, 30)])
async def test_pages_whose_size_changes_hide_no_deployment(
    sizes: tuple[int, int],
) -> None:
    """Pages of odd and of even numbers have other sizes."""
    server = ListServer(tagged(250, "a"))
    server.page_size = lambda number, _: sizes[number % 2]
    async with server.session() as edgegap:
        try:
            rows = await found(edgegap)
        except Incomplete:
            return
        assert {*rows} == {*server.servers}


def ignores_page_numbers(rows: Rows, pages: int | None) -> Tell:
    """Every page has these rows."""
    return lambda body, _: (
        with_pages(without(body, "pagination", "has_next"), pages)
        | {"data": rows, "total_count": None}
    )


UNREADABLE: Json = {"tags": ["a"]}
ENDLESS: dict[str, Tell] = {
    "the same rows, one of which can't be read": ignores_page_numbers(
        [{"request_id": "c1", "tags": ["a"]}, UNREADABLE], None
    ),
    "no row can be read": ignores_page_numbers([UNREADABLE], None),
    "the same row, by its account on many pages": ignores_page_numbers(
        [{"request_id": "c1", "tags": ["a"]}], 10**30
    ),
}


@pytest.mark.parametrize("tell", ENDLESS.values(), ids=ENDLESS)
async def test_pages_that_show_nothing_new_end_without_a_timeout(tell: Tell) -> None:
    server = ListServer(tagged(3, "a"))
    server.tell = tell
    async with server.session(limits=Limits.off()) as edgegap:
        with pytest.raises(Incomplete):
            await found(edgegap)
    assert server.asked["list"] < 1000


@pytest.mark.parametrize("rows", [[], [Fault("list", "odd-rows")]], ids=["", "odd"])
async def test_a_server_that_ignores_the_page_is_not_asked_for_ever(
    rows: list[Fault],
) -> None:
    faults = [Fault("list", "first-page"), *rows]
    async with owning(faults, options={"neighbours": 300}) as (edgegap, sim):
        with pytest.raises(Incomplete):
            await found(edgegap)
    assert sim.arrivals("list") < 200


@pytest.mark.full
@pytest.mark.slow
async def test_an_endless_list_ends_with_the_timeout() -> None:
    server = ListServer({})

    def tell(body: Json, number: int) -> Json:
        rows = [
            {"request_id": f"c{number}x{each}", "tags": ["b"]} for each in range(100)
        ]
        return with_next(body, told=True) | {"data": rows, "total_count": None}

    server.tell = tell
    async with server.session() as edgegap:
        with pytest.raises(TimeoutError):
            await found(edgegap, timeout=30)
