"""The recipe of docs/cookbook/matchmaker.md for servers that die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.owning import PLAYERS, owning
from support.paths import ROOT

from edgegap_async import DeployRequest, EdgegapSession, Pool
from edgegap_async.simulator import Simulator

from .test_site import blocks

PAGE = ROOT / "docs" / "cookbook" / "matchmaker.md"


def recipe() -> Any:
    (code,) = (it for it in blocks(PAGE) if "over: asyncio.Event" in it)
    names: dict[str, Any] = {}
    exec(compile(code, "matchmaker.md", "exec"), names)  # noqa: S102 - our page
    return names["play"]


@asynccontextmanager
async def pool_of_one() -> AsyncIterator[tuple[EdgegapSession, Pool, Simulator]]:
    async with owning(options={"ready_after": (1.0, 1.0)}) as (edgegap, sim):
        request = DeployRequest("game", "1", users=PLAYERS)
        async with edgegap.deployments.pool(request, size=1) as pool:
            yield edgegap, pool, sim
        await sim.wait_stopped()


async def test_a_match_whose_server_dies_gets_another_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with pool_of_one() as (_, pool, sim):
        over = asyncio.Event()
        match = asyncio.create_task(recipe()(pool, PLAYERS, over))
        await asyncio.sleep(60)
        sim.crash(sim.deployed()[0])
        await asyncio.sleep(60)
        over.set()
        await match
        await sim.until(lambda: sim.stopped() == {*sim.deployed()[:2]}, timeout=1)
    out = capsys.readouterr().out
    assert out.count("connect to") == 2
    assert out.count("server ended: failed") == 1


async def test_a_match_ends_after_half_an_hour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with pool_of_one() as (_, pool, sim):
        begun = asyncio.get_running_loop().time()
        await recipe()(pool, PLAYERS, asyncio.Event())
        assert 1800 <= asyncio.get_running_loop().time() - begun < 1810
        await sim.until(lambda: sim.stopped() == {sim.deployed()[0]}, timeout=1)
    assert capsys.readouterr().out.count("connect to") == 1


async def test_a_match_ends_with_its_session(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with pool_of_one() as (edgegap, pool, sim):
        over = asyncio.Event()
        matches = [asyncio.create_task(recipe()(pool, PLAYERS, over)) for _ in range(2)]
        await asyncio.sleep(60)
        await edgegap.aclose()
        await asyncio.wait(matches, timeout=60)
        assert all(it.done() and it.exception() is None for it in matches)
        assert sim.stopped() == {*sim.deployed()}
    assert capsys.readouterr().out.count("connect to") == 2
