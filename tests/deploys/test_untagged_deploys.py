"""A deploy with `once=False` has no tag to search for. If nobody gets its outcome, the
session says that a server may be running.
"""

import asyncio

import pytest
from support.owning import deploy, owning
from support.raw_server import failure

from edgegap_async import DeployOutcomeUnknown, EdgegapError, EdgegapSession
from edgegap_async.simulator import Fault, Simulator

UNNAMED = (None, None)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]


@pytest.mark.parametrize("kind", ["hang-after", "cut-after", "502-after", "no-id"])
@pytest.mark.parametrize("count", [1, 3])
async def test_an_outcome_that_nobody_gets_is_a_leftover(
    kind: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with owning(Fault("deploy", kind), options={"delay_after": (0.5, 0.5)}) as (
        edgegap,
        sim,
    ):
        calls = [
            asyncio.ensure_future(deploy(edgegap, once=False)) for _ in range(count)
        ]
        await asyncio.sleep(0.3)
        for call in calls:
            call.cancel()
        await edgegap.aclose()
        assert len(sim.running()) == count
        assert edgegap.leftovers == (UNNAMED,)
        assert "a server without a tag" in warnings_of(caplog)[-1]


@pytest.mark.parametrize("kind", ["cut-after", "401", "429", "ok"])
async def test_an_outcome_that_its_caller_gets_is_no_leftover(kind: str) -> None:
    async with owning(Fault("deploy", kind)) as (edgegap, _):
        call = deploy(edgegap, once=False, timeout=5)
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(outcome, DeployOutcomeUnknown) == (kind == "cut-after")
        assert isinstance(outcome, EdgegapError) == (kind != "ok")
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("kind", ["401", "429-seconds", "ok"])
async def test_a_left_deploy_with_a_known_outcome_is_no_leftover(kind: str) -> None:
    seconds = 2.0 if kind == "429-seconds" else None
    async with owning(
        Fault("deploy", kind, seconds=seconds), options={"delay_after": (0.5, 0.5)}
    ) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap, once=False))
        await asyncio.sleep(0.3)
        call.cancel()
        await edgegap.aclose()
        assert sim.running() <= sim.stopped()
    assert edgegap.leftovers == ()


async def test_a_deploy_that_was_left_is_named_as_soon_as_its_outcome_is_lost() -> None:
    async with owning(
        Fault("deploy", "cut-after"), options={"delay_after": (0.5, 0.5)}
    ) as (
        edgegap,
        _,
    ):
        assert isinstance(
            await failure(deploy(edgegap, once=False, timeout=0.3)),
            DeployOutcomeUnknown,
        )
        await asyncio.sleep(1)
        assert edgegap.leftovers == (UNNAMED,)


async def arrived(sim: Simulator) -> None:
    if not sim.deployed():
        await asyncio.sleep(0.01)
        await arrived(sim)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
@pytest.mark.edgegap_simulator(faults=[Fault("deploy", "hang-after")])
@pytest.mark.parametrize("leaves", [True, False])
def test_the_end_of_the_loop_warns_of_a_deploy_without_a_tag(
    leaves: bool, edgegap_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> EdgegapSession:
        edgegap = EdgegapSession("made-up", base_url=edgegap_simulator.url)
        call = asyncio.ensure_future(deploy(edgegap, once=False))
        # Until it has been sent: the simulator runs in another thread.
        async with asyncio.timeout(10):
            await arrived(edgegap_simulator)
        if leaves:
            call.cancel()
            await asyncio.wait([call])
        return edgegap

    edgegap = asyncio.run(main())
    assert edgegap.leftovers == (UNNAMED,)
    assert len(warnings_of(caplog)) == 1
    asyncio.run(edgegap.aclose())
