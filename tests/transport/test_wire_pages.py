"""Pages of locations, tags and fleet hosts, which only the newer specification has."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from support.recording_server import RecordingServer, recording_server

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


# The method, the one that goes through all pages, and what an answer holds.
LISTS: dict[str, tuple[Callable[..., Any], Callable[..., Any], str, str]] = {
    "locations": (
        lambda it, **page: it.locations.list(**page),
        lambda it, **page: it.locations.iterate(**page),
        "locations",
        "city",
    ),
    "beacons": (
        lambda it, **page: it.locations.beacons(**page),
        lambda it, **page: it.locations.iterate_beacons(**page),
        "locations",
        "host",
    ),
    "apps": (
        lambda it, **page: it.apps.list(**page),
        lambda it, **page: it.apps.iterate(**page),
        "applications",
        "name",
    ),
    "storages": (
        lambda it, **page: it.storage.list(**page),
        lambda it, **page: it.storage.iterate(**page),
        "endpoints",
        "name",
    ),
    "image tags": (
        lambda it, **page: it.registry.tags("studio/arena", **page),
        lambda it, **page: it.registry.iterate_tags("studio/arena", **page),
        "data",
        "tag",
    ),
    "pull profiles": (
        lambda it, **page: it.pull_profiles.list("logs", **page),
        lambda it, **page: it.pull_profiles.iterate("logs", **page),
        "pull_profiles",
        "name",
    ),
    "relays": (
        lambda it, **page: it.relays.list(**page),
        lambda it, **page: it.relays.iterate(**page),
        "sessions",
        "session_id",
    ),
    "versions": (
        lambda it, **page: it.versions.list("arena", **page),
        lambda it, **page: it.versions.iterate("arena", **page),
        "versions",
        "name",
    ),
    "tags": (
        lambda it, **page: it.tags.list("c065", **page),
        lambda it, **page: it.tags.iterate("c065", **page),
        "tags",
        "name",
    ),
    "hosts": (
        lambda it, **page: it.private_fleets.hosts("fleet", **page),
        lambda it, **page: it.private_fleets.iterate_hosts("fleet", **page),
        "data",
        "host_id",
    ),
}
each_list = pytest.mark.parametrize("name", LISTS)


def page(name: str, *rows: str, **more: Any) -> web.Response:
    _, _, field, key = LISTS[name]
    return web.json_response({field: [{key: row} for row in rows], **more})


async def rows_of(name: str, session: EdgegapSession, **options: Any) -> list[str]:
    _, iterate, _, key = LISTS[name]
    return [getattr(row, key) async for row in iterate(session, **options)]


@each_list
async def test_page_and_limit_are_sent_and_the_total_is_read(
    name: str, server: RecordingServer
) -> None:
    told = {"total_count": 3, "pagination": {"number": 2, "has_next": True}}
    server.answers = [page(name, "a", **told), page(name, "a")]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        shown = await LISTS[name][0](session, page=2, limit=1)
        await LISTS[name][0](session)
    assert (shown.total_count, shown.pagination.number, shown.skipped) == (3, 2, 0)
    assert [request.query for request in server.requests] == [
        [("page", "2"), ("limit", "1")],
        [],
    ]


@pytest.mark.measured
@each_list
@pytest.mark.parametrize("option", ["page", "limit"])
@pytest.mark.parametrize("wrong", [0, -1, 1.0, "1", True])
async def test_a_wrong_page_is_refused_before_it_is_sent(
    name: str, option: str, wrong: Any, server: RecordingServer
) -> None:
    async with EdgegapSession("my-token", base_url=server.url) as session:
        with pytest.raises(ValueError, match=option):
            await LISTS[name][0](session, **{option: wrong})
        with pytest.raises(ValueError, match="page_size"):
            await rows_of(name, session, page_size=wrong)
    assert not server.requests


@each_list
@pytest.mark.parametrize(
    "told",
    [
        [{"pagination": {"has_next": True}}] * 2
        + [{"pagination": {"has_next": False}}],
        [{"total_count": 5}] * 3,
        [{"total_count": "5", "pagination": {}}] * 3,
        [{}, {}, {}, {}],
        [{"pagination": {"has_next": "true"}}] * 4,
        [{"count": 2, "pagination": {}}] * 4,
    ],
    ids=["has_next", "total", "total as text", "nothing", "odd", "count"],
)
async def test_iterate_yields_every_row_of_every_page_once(
    name: str, told: list[dict[str, Any]], server: RecordingServer
) -> None:
    rows = [("a", "b"), ("c", "d"), ("e",), ()]
    server.answers = [
        page(name, *each, **more) for each, more in zip(rows, told, strict=False)
    ]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await rows_of(name, session, page_size=2) == ["a", "b", "c", "d", "e"]
    assert server.answers == []
    assert [dict(request.query) for request in server.requests] == [
        {"page": str(number + 1), "limit": "2"} for number in range(len(told))
    ]


ENDS: dict[str, dict[str, Any]] = {
    "total": {"total_count": 3, "pagination": {"has_next": False}},
    "next number": {"pagination": {"has_next": False, "next_page_number": 2}},
    "pages": {"pagination": {"has_next": False, "paginator": {"num_pages": 2}}},
    "total of the page": {"total_count": 2},
    "total of the page, next number": {
        "total_count": 2,
        "pagination": {"next_page_number": 2},
    },
    "total of the page, pages": {
        "total_count": 2,
        "pagination": {"paginator": {"num_pages": "2"}},
    },
}


@each_list
@pytest.mark.parametrize("told", ENDS)
@pytest.mark.parametrize("last", [("c",), (), ("a", "b")], ids=["new", "none", "same"])
async def test_a_page_that_contradicts_itself_costs_one_more_request(
    name: str, told: str, last: tuple[str, ...], server: RecordingServer
) -> None:
    """It may be the last one, or not."""
    end = {"pagination": {"has_next": False}, "total_count": 2 + ("c" in last)}
    server.answers = [page(name, "a", "b", **ENDS[told]), page(name, *last, **end)]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        rows = await rows_of(name, session, page_size=2)
    assert rows == sorted({"a", "b", *last})
    assert server.answers == []


@pytest.mark.measured
@each_list
async def test_a_page_that_is_the_last_in_all_it_tells_ends_the_list(
    name: str, server: RecordingServer
) -> None:
    pages = {"has_next": False, "number": 1, "paginator": {"num_pages": 1}}
    server.answers = [page(name, "a", "b", total_count=2, pagination=pages)]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await rows_of(name, session, page_size=2) == ["a", "b"]
    assert server.answers == []


@each_list
async def test_a_total_that_is_never_reached_ends_with_a_page_that_shows_nothing_new(
    name: str, server: RecordingServer
) -> None:
    told = {"total_count": 1000, "pagination": {"has_next": False}}
    server.answers = [page(name, *rows, **told) for rows in ("ab", "cd", "cd")]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await rows_of(name, session, page_size=2) == ["a", "b", "c", "d"]
    assert server.answers == []


@each_list
async def test_a_server_without_pages_is_asked_once_more_at_most(
    name: str, server: RecordingServer
) -> None:
    server.answers = [page(name, "a", "b"), page(name, "a", "b")]
    async with EdgegapSession("my-token", base_url=server.url) as session:
        assert await rows_of(name, session) == ["a", "b"]


@pytest.mark.parametrize("name", ["locations", "tags", "hosts"])
@pytest.mark.parametrize("page_size", [None, 2])
async def test_the_simulator_pages_the_lists_when_asked(
    name: str, page_size: int | None
) -> None:
    """Or always, as the live API may do."""
    async with (
        Simulator(page_size=page_size) as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        accepted = await session.deployments.deploy(
            "game", "1", users=["::1"], tags=["a", "b", "c", "d"], once=False
        )
        calls = {
            "locations": (session.locations.list, session.locations.iterate),
            "tags": (
                lambda **it: session.tags.list(accepted.request_id, **it),
                lambda **it: session.tags.iterate(accepted.request_id, **it),
            ),
            "hosts": (
                lambda **it: session.private_fleets.hosts("f", **it),
                lambda **it: session.private_fleets.iterate_hosts("f", **it),
            ),
        }
        once, iterate = calls[name]
        _, _, field, _ = LISTS[name]
        every = [row async for row in iterate(page_size=2)]  # type: ignore[attr-defined]
        shown = await once()  # type: ignore[misc]
        assert len(every) >= 3
        assert len(getattr(shown, field)) == (page_size or len(every))
        assert getattr(shown, field) == tuple(every)[: page_size or len(every)]
        assert shown.total_count == (len(every) if page_size else None)
        part = await once(page=2, limit=2)  # type: ignore[misc]
        assert getattr(part, field) == tuple(every)[2:4]
        assert (part.total_count, part.pagination.number) == (len(every), 2)


@pytest.mark.parametrize("page_size", [None, 2])
async def test_the_simulator_counts_the_beacons_of_a_page_and_tells_no_total(
    page_size: int | None,
) -> None:
    async with (
        Simulator(page_size=page_size) as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        every = [row async for row in session.locations.iterate_beacons(page_size=3)]
        shown = await session.locations.beacons()
        part = await session.locations.beacons(page=2, limit=3)
    assert len(every) == len({row.host for row in every}) > 10
    assert shown.count == len(shown.locations) == (page_size or len(every))
    assert (part.locations, part.count) == (tuple(every)[3:6], 3)
    assert (part.total_count, part.pagination) == (None, None)
    assert all(row.udp_port and row.location and row.location.city for row in every)


async def test_locations_are_filtered_on_every_page(server: RecordingServer) -> None:
    server.answers = [page("locations", "a", total_count=2), page("locations", "b")]
    server.answers.append(page("locations"))
    async with EdgegapSession("my-token", base_url=server.url) as session:
        places = session.locations.iterate(app="a", version="v", type="t", tags=True)
        assert inspect.isasyncgen(places)
        assert [place.city async for place in places] == ["a", "b"]
    assert {tuple(request.query[:4]) for request in server.requests} == {
        (("app", "a"), ("version", "v"), ("type", "t"), ("tags", "true"))
    }


async def test_odd_rows_do_not_end_the_pages_of_hosts() -> None:
    async with (
        Simulator(faults=[Fault("private_fleets.hosts", "odd-values")]) as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        hosts = session.private_fleets.iterate_hosts("f", page_size=1)
        assert len({host.host_id async for host in hosts}) == 3
