"""The end of the event loop, in each turn of a program: what was started is stopped,
owned by a caller, or named.
"""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.deploy_many import requests
from support.loop_shutdown import Program, end_the_loop_at_every_turn
from support.owning import PLAYERS, deploy, running

from edgegap_async.simulator import Fault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning"),
]


async def deployed(program: Program) -> None:
    async with program.session() as edgegap:
        program.held.append((await deploy(edgegap)).request_id)


async def ran(program: Program) -> None:
    async with program.session() as edgegap, running(edgegap):
        await asyncio.sleep(0.1)


async def many(program: Program) -> None:
    async with program.session() as edgegap:
        async with edgegap.deployments.deploy_many(requests(3)) as outcomes:
            ready = [
                outcome.request_id async for outcome in outcomes if outcome.request_id
            ]
            await asyncio.sleep(0.1)
        program.held += ready


async def left_by_its_caller(program: Program) -> None:
    async with program.session() as edgegap:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.03):
                await deploy(edgegap)
        await asyncio.sleep(0.2)


async def in_a_fleet(program: Program) -> None:
    async with (
        program.session() as edgegap,
        edgegap.private_fleets.running(
            "game", "1", users=PLAYERS, private_host_ids=["host"]
        ),
    ):
        await asyncio.sleep(0.1)


async def unclosed(program: Program) -> None:
    block = running(program.session())
    program.objects.append(block)
    await block.__aenter__()
    await asyncio.sleep(0.1)


async def unclosed_many(program: Program) -> None:
    block = program.session().deployments.deploy_many(requests(3))
    program.objects.append(block)
    outcomes = await block.__aenter__()
    await anext(outcomes)
    await asyncio.sleep(0.1)


async def unclosed_among_callers(program: Program) -> None:
    edgegap = program.session()
    calls = [asyncio.create_task(one(program, edgegap)) for _ in range(3)]
    await asyncio.sleep(0.02)
    calls[0].cancel()
    await asyncio.wait(calls)


async def one(program: Program, edgegap: Any) -> None:
    program.held.append((await deploy(edgegap)).request_id)


PROGRAMS = [
    ran,
    many,
    unclosed_among_callers,
    *(
        pytest.param(program, marks=pytest.mark.full)
        for program in (
            deployed,
            left_by_its_caller,
            in_a_fleet,
            unclosed,
            unclosed_many,
        )
    ),
]


@pytest.mark.parametrize(
    "faults",
    [
        [],
        *(
            pytest.param([Fault(call, kind, times=1)], marks=pytest.mark.full)
            for call, kind in (
                ("deploy", "503-after"),
                ("deploy", "hang-after"),
                ("deploy", "cut-after"),
                ("stop", "503-before"),
            )
        ),
    ],
    ids=lambda faults: faults[0].kind if faults else "no fault",
)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_end_of_the_loop_in_any_turn_leaves_no_unnamed_server(
    program: Any, faults: list[Fault]
) -> None:
    turns = end_the_loop_at_every_turn(program, *faults, delay_after=(0.04, 0.04))
    assert turns > 10
