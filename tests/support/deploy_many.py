"""Requests, outcomes and faults for the tests of `deploy_many`."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest

from edgegap_async import DeployOutcome, DeployRequest, EdgegapSession
from edgegap_async.simulator import Fault

from .owning import PLAYERS

FAULTS = [
    [],
    [Fault("deploy", "cut-after", times=1)],
    *(
        pytest.param([fault], marks=pytest.mark.full)
        for fault in (
            Fault("deploy", "processed-late", seconds=1.0, times=1),
            Fault("deploy", "429", times=1),
            Fault("deploy", "422", times=1),
        )
    ),
]
faulty = pytest.mark.parametrize(
    "faults", FAULTS, ids=lambda faults: faults[0].kind if faults else "sound"
)
AT_ONCE = {"ready_after": (0.0, 0.0)}


def requests(count: int) -> Iterator[DeployRequest]:
    return (
        DeployRequest("game", "1", users=PLAYERS, tags=[f"m{number}"])
        for number in range(count)
    )


async def slowly(given: Iterable[DeployRequest]) -> AsyncIterator[DeployRequest]:
    for request in given:
        await asyncio.sleep(0.1)
        yield request


async def outcomes_of(
    edgegap: EdgegapSession, given: Any, **options: Any
) -> list[DeployOutcome]:
    async with edgegap.deployments.deploy_many(given, **options) as outcomes:
        return [outcome async for outcome in outcomes]


def ids(outcomes: Iterable[DeployOutcome]) -> set[str]:
    return {outcome.deployment.request_id for outcome in outcomes if outcome.deployment}
