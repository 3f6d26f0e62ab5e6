"""`find` lists the deployments that have what is asked for, whether or not the filters of
the list work.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.owning import PLAYERS, owning

from edgegap_async import DeploymentSummary, EdgegapSession
from edgegap_async.errors import Incomplete, ServerError
from edgegap_async.simulator import Fault

UNLIMITED: dict[str, Any] = {"options": {"enforcement": "off"}, "limits": None}


async def found(edgegap: EdgegapSession, **wanted: Any) -> list[str]:
    return await found_in(edgegap.deployments.find(**wanted))


async def found_in(rows: AsyncIterator[DeploymentSummary]) -> list[str]:
    return [row.request_id async for row in rows]


async def started(edgegap: EdgegapSession, *games: str, **options: Any) -> list[str]:
    ids = []
    for game in games:
        it = await edgegap.deployments.deploy(
            game, "1", users=PLAYERS, timeout=None, once=False, **options
        )
        ids.append(it.request_id)
    return ids


FAULTS = [
    [],
    *(
        [Fault("list", f"filters-{how}", fields=fields)]
        for how in ("ignored", "refused", "empty")
        for fields in ((), ("application",), ("tags",))
    ),
]


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 120])
@pytest.mark.parametrize("faults", FAULTS, ids=str)
async def test_deployments_are_found_by_tag_and_application(
    faults: list[Fault], others: int
) -> None:
    async with owning(faults, **UNLIMITED) as (edgegap, _):
        old = await started(edgegap, "chess", "go", tags=["eu"])
        await started(edgegap, *["other"] * others)
        new = await started(edgegap, "chess", "go", tags=["us", "eu2"])
        chess, go = [old[0], new[0]], [old[1], new[1]]
        assert sorted(await found(edgegap, tags=["eu"])) == sorted(old)
        assert sorted(await found(edgegap, tags=["eu", "us"])) == sorted(old + new)
        assert sorted(await found(edgegap, application="chess")) == sorted(chess)
        assert await found(edgegap, application="go", tags=["us", "none"]) == [go[1]]
        assert await found(edgegap, application="nothing") == []
        assert await found(edgegap, tags=["nothing"]) == []
        assert len(await found(edgegap)) == 4 + others


async def test_a_working_filter_on_applications_saves_the_statuses() -> None:
    async with owning(**UNLIMITED) as (edgegap, sim):
        ids = await started(edgegap, *["chess"] * 150, *["go"] * 50)
        assert sorted(await found(edgegap, application="chess")) == sorted(ids[:150])
        assert sim.arrivals("status") <= 10


@pytest.mark.measured
@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": []},
        {"tags": [""]},
        {"tags": "eu"},
        {"tags": [None]},
        {"application": ""},
        {"application": 5},
        {"older_than": -1},
        {"older_than": "1 h"},
        {"older_than": timedelta(-1)},
        {"older_than": float("nan")},
        {"older_than": True},
        {"timeout": 0},
        {"timeout": "5"},
    ],
    ids=str,
)
async def test_invalid_arguments_are_refused_at_once(wrong: dict[str, Any]) -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            edgegap.deployments.find(**wrong)
        assert not sim.arrivals("list")


async def test_a_list_that_fails_is_an_error() -> None:
    async with owning(Fault("list", "503-before")) as (edgegap, _):
        with pytest.raises(ServerError):
            await found(edgegap, tags=["a"])


@asynccontextmanager
async def listing(
    rows: list[Mapping[str, Any]], statuses: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[EdgegapSession]:
    """A session on a server that shows these rows, whatever is asked for."""

    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"data": rows})

    async def status(request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        told = statuses.get(request_id)
        if told is None:
            return web.json_response({"message": f"no {request_id}"}, status=404)
        return web.json_response({"request_id": request_id, **told})

    app = web.Application()
    app.router.add_get("/v1/deployments", listed)
    app.router.add_get("/v1/status/{request_id}", status)
    async with (
        TestServer(app) as server,
        EdgegapSession("made-up", base_url=str(server.make_url(""))) as edgegap,
    ):
        yield edgegap


def ready(request_id: str, hours: float | None) -> dict[str, Any]:
    then = datetime.now(UTC) - timedelta(hours=hours) if hours is not None else None
    return {
        "request_id": request_id,
        "tags": ["a"],
        "start_time": then.isoformat() if then else None,
    }


@pytest.mark.parametrize("age", [5400, 5400.0, timedelta(minutes=90)])
async def test_only_deployments_that_are_old_enough_are_found(
    age: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [ready("old", 2), ready("young", 1), ready("ageless", None)]
    statuses = {row["request_id"]: {"tags": ["a"]} for row in rows}
    async with listing(rows, statuses) as edgegap:
        assert await found(edgegap, older_than=age) == ["old"]
        assert await found(edgegap, older_than=0, tags=["a"]) == ["old", "young"]
    assert [record.message for record in caplog.records] == 2 * [
        "deployments without start_time were left out, as their age is unknown: ageless"
    ]


async def test_what_is_unclear_is_named_after_what_was_found() -> None:
    """Neither the rows nor the statuses tell what is asked for."""
    rows = [{"request_id": it} for it in ("clear", "tagless", "ended", "nameless")]
    statuses: dict[str, dict[str, Any]] = {
        "clear": {"tags": ["a"], "app_name": "chess"},
        "tagless": {"app_name": "chess"},
        "nameless": {"tags": ["a"]},
    }
    async with listing(rows, statuses) as edgegap:
        for wanted, unclear in (
            ({"tags": ["a"]}, "tagless"),
            ({"application": "chess"}, "nameless"),
            ({"tags": ["a"], "application": "chess"}, "tagless, nameless"),
        ):
            rows = aiter(edgegap.deployments.find(**wanted))  # type: ignore[arg-type]
            assert (await anext(rows)).request_id == "clear"
            with pytest.raises(Incomplete, match=f"are wanted: {unclear}$"):
                await found_in(rows)
