"""Pages shift while deployments end: a row at the edge of a page moves to the page that
was just read, so no page shows it. Such a list proves no absence.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from support.owning import PLAYERS, deploy, forgotten, owning

from edgegap_async import EdgegapSession
from edgegap_async._transport.deadlines import Deadline
from edgegap_async._transport.presence import existing
from edgegap_async._transport.queries import tagged
from edgegap_async.simulator import Fault

COUNT = 30
LISTS_TAKE = {
    "delay_after": (0.1, 0.1),
    "ready_after": (0.0, 0.0),
    "stop_takes": 0.0,
    "enforcement": "off",
}
page_sizes = pytest.mark.parametrize("size", [1, 3, 10, 16, 100])


@asynccontextmanager
async def servers(
    size: int, *faults: Fault
) -> AsyncIterator[tuple[EdgegapSession, EdgegapSession, list[str]]]:
    """A session, another one that ends deployments, and the deployments that exist."""
    options = {**LISTS_TAKE, "max_page_size": size}
    async with (
        owning(options=options, limits=None) as (edgegap, sim),
        EdgegapSession("another", base_url=sim.url, limits=None) as another,
    ):
        async with asyncio.TaskGroup() as group:
            for number in range(COUNT):
                group.create_task(
                    deploy(another, tags=[f"tag{number}"], once=False)  # type: ignore[arg-type]
                )
        sim.faults = faults
        yield edgegap, another, list(sim.deployed())


async def end(another: EdgegapSession, ids: Sequence[str], pause: float) -> None:
    for request_id in ids:
        await asyncio.sleep(pause)
        await another.deployments.stop(request_id)


@pytest.mark.full
@pytest.mark.slow
@page_sizes
@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("pause", [0.0, 0.03, 0.11, 0.25])
async def test_a_deployment_that_exists_is_never_proven_absent(
    pause: float, newest: bool, size: int
) -> None:
    async with servers(size) as (edgegap, another, ids):
        lasting = ids[:: 3 if newest else 5]
        ending = [each for each in ids if each not in lasting]
        # The first rows of the list end first: all rows behind them move.
        order = sorted(ending, key=ids.index, reverse=newest)
        ended = asyncio.ensure_future(end(another, order, pause))
        for _ in range(5):
            shown = await existing(edgegap._transport, ids, Deadline.after(60.0))
            assert shown is None or {*lasting} <= {*shown}
        await ended
        shown = await existing(edgegap._transport, ids, Deadline.after(60.0))
        assert shown is not None
        assert {*shown} == {*lasting}


@pytest.mark.slow
@page_sizes
@pytest.mark.parametrize("pause", [0.0, 0.03, 0.11, 0.25])
async def test_a_tag_that_a_server_has_is_never_proven_absent(
    pause: float, size: int
) -> None:
    async with servers(size) as (edgegap, another, ids):
        lasting = ids[::3]
        ending = [each for each in ids if each not in lasting]
        tags = [f"tag{number}" for number in range(COUNT)]
        ended = asyncio.ensure_future(end(another, ending, pause))
        for _ in range(5):
            rows, proven = await tagged(edgegap._transport, tags, 60.0)
            shown = {row.request_id for row in rows}
            assert not proven or {*lasting} <= shown
        await ended
        rows, proven = await tagged(edgegap._transport, tags, 60.0)
        assert proven
        assert {row.request_id for row in rows} == {*lasting}


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize("size", [3, pytest.param(10, marks=pytest.mark.full)])
@pytest.mark.parametrize("takes", [0.3, pytest.param(1.2, marks=pytest.mark.full)])
async def test_stops_answered_by_a_gateway_while_servers_end_stop_them_all(
    takes: float, size: int
) -> None:
    """The gateway has carried out half of the stops."""
    options = {
        **LISTS_TAKE,
        "max_page_size": size,
        "ready_after": (0.0, 0.0),
        "stop_takes": takes,
    }
    async with owning(options=options, limits=None) as (edgegap, sim):

        async def use() -> None:
            async with edgegap.deployments.running("game", "1", users=PLAYERS):
                await asyncio.sleep(60)

        using = [asyncio.ensure_future(use()) for _ in range(2 * COUNT)]
        await asyncio.sleep(30)
        sim.faults = [
            Fault("stop", kind, times=1)
            for _ in range(COUNT)
            for kind in ("404-text", "404-after")
        ]
        await asyncio.wait(using)
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 2 * COUNT
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()
