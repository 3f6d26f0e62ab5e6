"""Applications: what is sent, what is refused before, and what the simulator keeps."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.plain_client import plain
from support.raw_server import CUT, GOOD, answer, scripted
from support.recording_server import recording_server

from edgegap_async import (
    Conflict,
    EdgegapSession,
    NotFound,
    TransportError,
)
from edgegap_async.simulator import Simulator


@pytest.fixture
async def edgegap() -> AsyncIterator[EdgegapSession]:
    async with (
        Simulator() as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        yield session


async def names(edgegap: EdgegapSession) -> list[str]:
    return [app.name async for app in edgegap.apps.iterate(page_size=2)]


async def test_applications_are_created_changed_and_deleted(
    edgegap: EdgegapSession,
) -> None:
    apps = edgegap.apps
    for name in ("first", "second", "third"):
        await apps.create(name, image="aGVsbG8=")
    created = await apps.get("second")
    assert (created.is_active, created.image) == (True, "aGVsbG8=")
    await asyncio.sleep(5)
    changed = await apps.update("second", name="2nd", is_active=False)
    assert (changed.name, changed.is_active, changed.image) == (
        ("2nd", False, "aGVsbG8=")
    )
    assert changed.create_time == created.create_time
    assert created.last_updated
    assert changed.last_updated
    assert (changed.last_updated - created.last_updated).total_seconds() >= 5
    assert await names(edgegap) == ["first", "2nd", "third"]
    await apps.delete("first")
    assert await names(edgegap) == ["2nd", "third"]
    for gone in ("first", "second"):
        with pytest.raises(NotFound):
            await apps.get(gone)


async def test_a_name_is_given_once(edgegap: EdgegapSession) -> None:
    await edgegap.apps.create("first", image="")
    await edgegap.apps.create("second", image="")
    with pytest.raises(Conflict):
        await edgegap.apps.create("first", image="")
    with pytest.raises(Conflict):
        await edgegap.apps.update("second", name="first")
    same = await edgegap.apps.update("second", name="second", is_active=True)
    assert same.name == "second"
    assert await names(edgegap) == ["first", "second"]


@pytest.mark.parametrize(
    "given",
    [
        {"is_active": False},
        {"name": "arena"},
        {"image": ""},
        {"name": "arena", "is_active": True},
    ],
)
async def test_an_update_sends_only_what_was_given(given: dict[str, Any]) -> None:
    async with recording_server() as server:
        server.answers = [web.json_response({"name": "arena"})]
        async with EdgegapSession("made-up", base_url=server.url) as edgegap:
            await edgegap.apps.update("old name", **given)
    assert server.requests[0].json == given


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "ab"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": 5}, "name"),
    ({"name": None}, "name"),
    ({"image": "not base64!"}, "image"),
    ({"image": b"picture"}, "image"),
    ({"image": "\ud800"}, "image"),
    ({"image": None}, "image"),
    ({"is_active": "false"}, "is_active"),
    ({"is_active": None}, "is_active"),
]


@pytest.mark.parametrize(("wrong", "named"), WRONG)
async def test_a_wrong_application_is_refused_before_it_is_sent(
    wrong: dict[str, Any], named: str
) -> None:
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(ValueError, match=f"^{named} "):
            await edgegap.apps.create(**({"name": "arena", "image": ""} | wrong))
        with pytest.raises(ValueError, match=f"^{named} "):
            await edgegap.apps.update("arena", **wrong)
        assert not server.arrivals


async def test_an_update_of_nothing_is_refused() -> None:
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(ValueError, match="name, image, is_active"):
            await edgegap.apps.update("arena", timeout=5)
        with pytest.raises(TypeError, match="did you mean 'is_active'"):
            await edgegap.apps.update("arena", isactive=True)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="app_name"):
            await edgegap.apps.get("..")
        assert not server.arrivals


@pytest.mark.parametrize(
    "body",
    [
        {"name": "arena", "is_active": True},
        {"name": "ab", "is_active": True, "image": ""},
        {"name": "arena", "is_active": None, "image": ""},
        {"name": "arena", "is_active": True, "image": "!"},
    ],
)
async def test_the_simulator_refuses_a_wrong_body(body: Any) -> None:
    async with plain(Simulator()) as api:
        assert (await api("POST", "/v1/app", body))[0] == 400
        assert (await api.get("/v1/apps"))["applications"] == []


async def test_only_reads_and_deletes_are_sent_again() -> None:
    app = answer(200, {"name": "arena"})
    async with scripted(CUT, app, CUT, answer(404, {"message": "no app"})) as (
        edgegap,
        server,
    ):
        assert (await edgegap.apps.get("arena")).name == "arena"
        # The first attempt has deleted it.
        await edgegap.apps.delete("arena")
        assert len(server.arrivals) == 4
    for call in (
        lambda it: it.apps.create("arena", image=""),
        lambda it: it.apps.update("arena", is_active=True),
    ):
        async with scripted(CUT, app) as (edgegap, server):
            with pytest.raises(TransportError):
                await call(edgegap)
            assert len(server.arrivals) == 1


async def test_an_application_that_was_never_there_can_not_be_deleted() -> None:
    async with scripted(answer(404, {"message": "no app"})) as (edgegap, _):
        with pytest.raises(NotFound):
            await edgegap.apps.delete("arena")


async def test_odd_fields_of_an_application_become_none() -> None:
    odd = {"name": "arena", "is_active": "yes", "image": 5, "create_time": "soon"}
    rows = {"applications": [odd, {"image": "a"}, 5], "total_count": "3"}
    async with scripted(answer(200, odd), answer(200, rows), answer(200, {})) as (
        edgegap,
        _,
    ):
        app = await edgegap.apps.get("arena")
        assert (app.name, app.is_active, app.image, app.create_time) == (
            ("arena", None, None, None)
        )
        page = await edgegap.apps.list()
        assert (page.applications, page.skipped, page.total_count) == ((app,), 2, 3)
        assert (await edgegap.apps.list()).applications == ()
