"""The doctor watches the life of one server, and leaves none behind."""

import asyncio
from typing import Any

import pytest
from support.owning import forgotten, owning

from edgegap_async import doctor
from edgegap_async.errors import EdgegapError
from edgegap_async.simulator import Fault

PLAYER = "192.0.2.1"


async def lived(*faults: Any, **options: Any) -> doctor.Diagnosis:
    options = {"ready_after": (4.0, 4.0), "stop_takes": 3.0, **options}
    async with owning(*faults, options=options) as (edgegap, sim):
        diagnosis = await doctor.life(edgegap, "game", "1", user=PLAYER)
        assert forgotten(sim) == set()
        assert len(sim.deployed()) == 1
        return diagnosis


async def test_times_and_states_are_those_of_the_simulator() -> None:
    diagnosis = await lived()
    listed, ready = diagnosis.value("listed_after"), diagnosis.value("ready_after")
    assert isinstance(listed, float)
    assert listed < 1
    assert ready == pytest.approx(4.0, abs=0.5)
    assert diagnosis.value("stop_takes") == pytest.approx(3.0, abs=0.5)
    states = str(diagnosis.value("states"))
    assert states.startswith("INITIALIZING")
    assert "READY, TERMINATING" in states
    assert diagnosis.value("gone") == "404"
    assert diagnosis.differences == ()


@pytest.mark.parametrize("gone", ["404", "410", "400", "terminated"])
async def test_what_gone_looks_like_is_found(gone: str) -> None:
    diagnosis = await lived(gone=gone)
    assert diagnosis.value("gone") == gone
    assert bool(diagnosis.differences) is (gone != "404")
    assert doctor.simulator_options(diagnosis)["gone"] == gone


@pytest.mark.slow
async def test_lists_that_lag_are_noticed() -> None:
    diagnosis = await lived(Fault("list", "lag", seconds=8.0))
    assert diagnosis.value("listed_after") == pytest.approx(8.0, abs=1.0)
    assert diagnosis.differences == ()
    options = dict(doctor.simulator_options(diagnosis))
    again = await lived(*options.pop("faults"), **options)
    assert again.value("listed_after") == pytest.approx(8.0, abs=1.0)


@pytest.mark.parametrize("lag", [0.0, 3.0])
async def test_replicas_that_lag_are_noticed(lag: float) -> None:
    diagnosis = await lived(replica_lag=lag, ready_after=(0.0, 0.0))
    assert diagnosis.value("status_after") == pytest.approx(lag, abs=0.3)
    assert diagnosis.differences == ()
    options = dict(doctor.simulator_options(diagnosis))
    again = await lived(*options.pop("faults"), **options)
    assert again.value("status_after") == pytest.approx(lag, abs=0.5)


@pytest.mark.slow
async def test_a_server_that_is_never_listed_differs() -> None:
    diagnosis = await lived(Fault("list", "filters-empty"))
    assert [it.name for it in diagnosis.differences] == ["listed_after"]


async def test_a_server_that_fails_is_told_and_stopped() -> None:
    diagnosis = await lived(error_share=1.0)
    assert diagnosis.value("ready_after") is None
    assert "ERROR" in str(diagnosis.value("states"))
    (note,) = (it.note for it in diagnosis.findings if it.name == "ready_after")
    assert "it failed: " in note


async def test_a_server_that_is_listed_at_once_runs_no_longer_than_it_must() -> None:
    began = asyncio.get_running_loop().time()
    diagnosis = await lived(ready_after=(1.0, 1.0), stop_takes=0.5)
    assert diagnosis.value("listed_after") == 0
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.full
@pytest.mark.slow
async def test_a_server_that_is_never_ready_is_told_and_stopped() -> None:
    diagnosis = await lived(ready_after=(5000.0, 5000.0))
    assert diagnosis.value("ready_after") is None
    assert str(diagnosis.value("states")).startswith("INITIALIZING")
    (note,) = (it.note for it in diagnosis.findings if it.name == "ready_after")
    assert note == "it was not READY after 600 s"


async def test_a_webhook_is_asked_for() -> None:
    async with owning(options={"ready_after": (1.0, 1.0)}) as (edgegap, sim):
        url = "http://127.0.0.1:9/hook"
        diagnosis = await doctor.life(
            edgegap, "game", "1", user=PLAYER, webhook_url=url
        )
        await asyncio.sleep(5)
        assert sim.webhooks()["sent"] >= 1
    assert diagnosis.value("webhook") == "ready, error, terminated"
    assert "/hook" not in str(diagnosis.to_dict())


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.0, 5.0, 6.5])
async def test_a_cancelled_examination_leaves_no_server(seconds: float) -> None:
    async with owning(options={"ready_after": (4.0, 4.0), "stop_takes": 3.0}) as (
        edgegap,
        sim,
    ):
        task = asyncio.create_task(doctor.life(edgegap, "game", "1", user=PLAYER))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.sleep(15)
        assert forgotten(sim) == set()


async def test_a_deploy_that_is_refused_is_an_error() -> None:
    async with owning(Fault("deploy", "403-before")) as (edgegap, sim):
        with pytest.raises(EdgegapError):
            await doctor.life(edgegap, "game", "1", user=PLAYER)
        assert not sim.deployed()
