"""A session that only a part of it leads to is in use. One that nothing leads to closes
itself.
"""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any, TypeAlias

import pytest
from support.deploy_many import requests
from support.owning import PLAYERS, deploy, forgotten, owning, running

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Simulator

INSTANT = {"ready_after": (0.0, 0.0)}
HOSTS = {"private_host_ids": ["host"]}
Block: TypeAlias = AbstractAsyncContextManager[Any]


def new(sim: Simulator) -> EdgegapSession:
    return EdgegapSession("made-up", base_url=sim.url)


def in_running(edgegap: EdgegapSession, _: str) -> Block:
    block: Block = running(edgegap)
    return block


def in_a_fleet(edgegap: EdgegapSession, _: str) -> Block:
    return edgegap.private_fleets.running("game", "1", users=PLAYERS, **HOSTS)


def in_adopt(edgegap: EdgegapSession, request_id: str) -> Block:
    return edgegap.deployments.adopt(request_id)


def in_a_fleets_adopt(edgegap: EdgegapSession, request_id: str) -> Block:
    return edgegap.private_fleets.adopt(request_id)


def in_deploy_many(edgegap: EdgegapSession, _: str) -> Block:
    return edgegap.deployments.deploy_many(requests(1))


async def collected() -> None:
    """Collect what nobody has any more, and let it close."""
    gc.collect()
    await asyncio.sleep(20)


@contextmanager
def said() -> Iterator[list[str]]:
    """The texts of the warnings about sessions that were not closed."""
    texts: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if "was not closed" in str(message):
            texts.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield texts


@pytest.mark.slow
@pytest.mark.parametrize(
    "enter",
    [
        in_running,
        in_a_fleets_adopt,
        in_deploy_many,
        *(pytest.param(it, marks=pytest.mark.full) for it in (in_a_fleet, in_adopt)),
    ],
)
async def test_a_block_keeps_its_session_open(
    enter: Callable[[EdgegapSession, str], Block],
) -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        known = (await deploy(edgegap)).request_id
        with said() as texts:
            stack = AsyncExitStack()
            entered = await stack.enter_async_context(enter(new(sim), known))
            if enter is in_deploy_many:
                await anext(entered)
            await collected()
            assert (texts, sim.stopped()) == ([], set())
            await stack.aclose()
            del stack, entered
            await collected()
            assert len(texts) == 1
        mine = {known} - sim.stopped()
        assert len(sim.running()) == len(mine) + (enter is in_deploy_many)


@pytest.mark.slow
async def test_a_wait_for_many_keeps_its_session_open() -> None:
    async with owning(options={"ready_after": (30.0, 30.0)}) as (edgegap, sim):
        ids = [(await deploy(edgegap)).request_id for _ in range(3)]
        with said() as texts:
            async with new(sim).deployments.wait_many(ids) as outcomes:
                await collected()
                ready = {request_id async for request_id, _ in outcomes}
                assert texts == []
            await collected()
            assert len(texts) == 1
        assert ready == {*ids}


NAMESPACES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "deployments": lambda part: part.list(),
    "locations": lambda part: part.list(),
    "private_fleets": lambda part: part.deploy("game", "1", users=PLAYERS, **HOSTS),
    "tags": lambda part: part.list("c065", timeout=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMESPACES)
async def test_a_namespace_keeps_its_session_open(name: str) -> None:
    async with owning(options=INSTANT) as (edgegap, sim):
        await deploy(edgegap)
        with said() as texts:
            part = getattr(new(sim), name)
            for _ in range(3):
                (outcome,) = await asyncio.gather(
                    NAMESPACES[name](part), return_exceptions=True
                )
                assert "closed" not in str(outcome)
                await collected()
            assert texts == []
            del part, outcome
            await collected()
            assert len(texts) == 1


@pytest.mark.slow
async def test_a_call_in_progress_keeps_its_session_open() -> None:
    async with owning(options={"ready_after": (60.0, 60.0)}) as (edgegap, sim):
        request_id = (await deploy(edgegap)).request_id
        with said() as texts:
            wait = new(sim).deployments.wait_until_ready
            waiting = asyncio.ensure_future(wait(request_id))
            del wait
            await collected()
            assert texts == []
            assert (await waiting).request_id == request_id
            await collected()
            assert len(texts) == 1


@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("errors", [True, False])
async def test_an_abandoned_session_closes_itself_without_the_collector(
    errors: bool,
) -> None:
    """Also where warnings are errors."""
    async with owning(options=INSTANT) as (_, sim):
        gc.disable()
        with warnings.catch_warnings():
            warnings.simplefilter("error" if errors else "ignore")
            block = running(new(sim))
            await block.__aenter__()
            del block
            await asyncio.sleep(5)
        gc.enable()
        assert forgotten(sim) == set()


async def test_a_closed_session_says_nothing_when_its_parts_are_dropped() -> None:
    async with owning(options=INSTANT) as (_, sim):
        with said() as texts:
            edgegap = new(sim)
            part = edgegap.deployments
            block = running(edgegap)
            await block.__aenter__()
            await edgegap.aclose()
            del edgegap, part, block
            await collected()
            assert texts == []
        assert forgotten(sim) == set()
