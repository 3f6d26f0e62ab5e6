"""Reports of deployments: kept by the simulator, and checked before they are sent."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.raw_server import CUT, GOOD, scripted

from edgegap_async import EdgegapSession, NotFound, TransportError
from edgegap_async.simulator import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as sim:
        yield sim


@pytest.fixture
async def edgegap(sim: Simulator) -> AsyncIterator[EdgegapSession]:
    async with EdgegapSession("made-up", base_url=sim.url) as session:
        yield session


async def deployed(edgegap: EdgegapSession) -> str:
    accepted = await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
    return accepted.request_id


async def test_each_report_of_a_deployment_is_kept_in_order(
    sim: Simulator, edgegap: EdgegapSession
) -> None:
    first, other = await deployed(edgegap), await deployed(edgegap)
    details = {"match": "m-17", "players": ["a", {"b": None}], "score": 1.5}
    await edgegap.deployments.report(first, "unfair", metadata=details)
    await edgegap.deployments.report(first, "x" * 255)
    assert [(it.reason, it.metadata) for it in sim.reports_of(first)] == [
        ("unfair", details),
        ("x" * 255, None),
    ]
    assert sim.reports_of(other) == ()


async def test_an_unknown_deployment_can_not_be_reported(
    edgegap: EdgegapSession,
) -> None:
    with pytest.raises(NotFound):
        await edgegap.deployments.report("c06537651234", "unfair")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": 5}, "reason"),
        ({"reason": "x" * 256}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": "a"}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"metadata": {("a", "b"): 1}}, "metadata"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"request_id": "a b"}, "request_id"),
    ],
)
async def test_a_wrong_report_is_refused_before_it_is_sent(
    wrong: dict[str, Any], named: str
) -> None:
    arguments: dict[str, Any] = {"request_id": "c065", "reason": "unfair"} | wrong
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(ValueError, match=named):
            await edgegap.deployments.report(**arguments)
        assert not server.arrivals


async def test_a_report_whose_answer_was_lost_is_not_sent_again() -> None:
    async with scripted(CUT, GOOD) as (edgegap, server):
        with pytest.raises(TransportError) as raised:
            await edgegap.deployments.report("c065", "unfair")
        assert raised.value.request_sent
        assert len(server.arrivals) == 1
