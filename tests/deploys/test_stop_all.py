"""`stop_all` stops what `find` finds, and nothing else."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.owning import PLAYERS, owning

from edgegap_async import EdgegapSession, Limits
from edgegap_async.errors import Incomplete
from edgegap_async.simulator import Fault

FILTERS: list[list[Fault]] = [
    [],
    *([Fault("list", kind)] for kind in ("filters-ignored", "filters-empty")),
]


async def deploy(edgegap: EdgegapSession, application: str, *tags: str) -> str:
    accepted = await edgegap.deployments.deploy(
        application, "1", users=PLAYERS, tags=tags, once=False
    )
    await edgegap.deployments.wait_until_ready(accepted.request_id)
    return accepted.request_id


@pytest.mark.parametrize("faults", FILTERS, ids=["sound", "ignored", "empty"])
async def test_what_has_all_properties_is_stopped(faults: list[Fault]) -> None:
    async with owning(faults) as (edgegap, sim):
        wanted = {
            await deploy(edgegap, "game", "a"),
            await deploy(edgegap, "game", "a", "b"),
        }
        await deploy(edgegap, "other", "a")
        await deploy(edgegap, "game", "b")
        running = set(sim.running())
        stop_all = edgegap.deployments.stop_all
        dry = await stop_all(tags=["a"], application="game", dry_run=True)
        assert {row.request_id for row in dry} == wanted
        assert sim.running() == running
        stopped = await stop_all(tags=["a"], application="game")
        assert {row.request_id for row in stopped} == wanted
        assert sim.stopped() == wanted
        assert await stop_all(tags=["a"], application="game") == ()


@pytest.mark.full
@pytest.mark.parametrize("lists", [3, pytest.param(5, marks=pytest.mark.slow)])
async def test_an_application_is_confirmed_by_the_status_of_each_server(
    lists: int,
) -> None:
    """The filter is believed at first, and then shows all."""
    async with owning([], limits=Limits.off(), options={"enforcement": "off"}) as (
        edgegap,
        sim,
    ):
        others = [
            edgegap.deployments.deploy("other", "1", users=PLAYERS) for _ in range(150)
        ]
        await asyncio.gather(*others)
        wanted = {await deploy(edgegap, "game") for _ in range(3)}
        before = sim.arrivals("list")

        async def fail() -> None:
            while sim.arrivals("list") < before + lists:  # noqa: ASYNC110
                await asyncio.sleep(0)
            sim.faults = [Fault("list", "filters-ignored")]

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            stopped = await edgegap.deployments.stop_all(application="game")
        assert {row.request_id for row in stopped} == wanted == sim.stopped()


async def test_only_what_is_old_enough_is_stopped() -> None:
    async with owning([]) as (edgegap, sim):
        await deploy(edgegap, "game")
        stop_all = edgegap.deployments.stop_all
        assert await stop_all(older_than=timedelta(days=1)) == ()
        assert not sim.stopped()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "stop_all needs tags=, application= or older_than="),
        ({"tags": []}, "tags must hold at least one tag"),
        ({"application": ""}, "application must be a string that is not empty"),
        ({"older_than": -1}, "older_than"),
        ({"application": "game", "dry_run": "yes"}, "dry_run"),
    ],
)
async def test_wrong_arguments_stop_nothing(
    arguments: dict[str, Any], told: str
) -> None:
    async with owning([]) as (edgegap, sim):
        await deploy(edgegap, "game")
        with pytest.raises(ValueError, match=told):
            await edgegap.deployments.stop_all(**arguments)
        assert not sim.stopped()


async def test_what_could_not_be_stopped_is_named() -> None:
    async with owning([Fault("stop", "403-before")]) as (edgegap, _):
        refused = await deploy(edgegap, "game")
        with pytest.raises(Incomplete, match=refused) as raised:
            await edgegap.deployments.stop_all(application="game", timeout=30)
        assert list(raised.value.not_stopped) == [refused]


async def test_a_server_of_unknown_age_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with owning() as (edgegap, _):
        accepted = await edgegap.deployments.deploy("game", "1", users=PLAYERS)
        # The lists are read several times.
        assert await edgegap.deployments.stop_all(older_than=1) == ()
    said = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    assert said == [
        "deployments without start_time were left out, as their age is unknown: "
        + accepted.request_id
    ]
