"""What tests of a program ask of a simulator: crashes, waits, faults while it runs."""

import asyncio
from collections.abc import Callable

import pytest
from support.owning import deploy, owning
from support.plain_client import DEPLOY, plain

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator

QUICK = {"ready_after": (1.0, 1.0), "stop_takes": 2.0}


async def test_a_ready_deployment_can_crash_and_only_such_a_one() -> None:
    async with owning(options=QUICK) as (edgegap, sim):
        made = await deploy(edgegap)
        with pytest.raises(ValueError, match="not READY"):
            sim.crash(made.request_id)
        await asyncio.sleep(1.5)
        sim.crash(made.request_id)
        status = await edgegap.deployments.status(made.request_id)
        assert status.current_status == "Status.ERROR"
        with pytest.raises(LookupError, match="no deployment 'c065a3f1b2e4'"):
            sim.crash("c065a3f1b2e4")


@pytest.mark.slow
async def test_a_condition_is_awaited_on_the_clock_of_the_loop() -> None:
    async with owning(options=QUICK) as (edgegap, sim):
        await deploy(edgegap)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await sim.until(lambda: loop.time() >= began + 20)
        assert loop.time() - began == pytest.approx(20, abs=0.1)
        # It is looked at once, even without any time.
        await sim.until(lambda: True, timeout=0)


async def test_a_condition_that_stays_false_is_an_error_with_the_counts() -> None:
    async with owning(options=QUICK) as (edgegap, sim):
        await deploy(edgegap)

        def two_servers() -> bool:
            return len(sim.running()) == 2

        with pytest.raises(TimeoutError, match=r"two_servers.*5 s.*'running': 1"):
            await sim.until(two_servers, timeout=5)

        def broken() -> bool:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await sim.until(broken)


async def test_wait_stopped_waits_for_all_and_names_those_that_run() -> None:
    async with owning(options=QUICK) as (edgegap, sim):
        await sim.wait_stopped(timeout=0)
        first, second = await deploy(edgegap), await deploy(edgegap)
        await asyncio.sleep(2)
        await edgegap.deployments.stop(first.request_id)
        with pytest.raises(TimeoutError) as caught:
            await sim.wait_stopped(timeout=10)
        assert second.request_id in str(caught.value)
        assert first.request_id not in str(caught.value)
        await edgegap.deployments.stop(second.request_id)
        await sim.wait_stopped(timeout=10)
        assert sim.running() == frozenset()


async def test_faults_come_and_go_while_it_runs() -> None:
    sim = Simulator(faults=[Fault("status", "late", 0.5, 1.0)])
    async with plain(sim) as api:
        sim.add_fault(Fault("deploy", "500-before", times=1))
        assert (await api("POST", "/v2/deployments", DEPLOY))[0] == 500
        assert (await api("POST", "/v2/deployments", DEPLOY))[0] == 202
        sim.add_fault(Fault("deploy", "late", 0.7, 1.0))
        with pytest.raises(ValueError, match="more than 1"):
            sim.add_fault(Fault("deploy", "truncated", 0.7))
        sim.clear_faults(operation="deploy")
        assert [it.operation for it in sim.faults] == ["deployments.status"]
        with pytest.raises(ValueError, match="there is no"):
            sim.clear_faults(kind="typo")
        sim.clear_faults()
        assert not sim.faults


@pytest.mark.parametrize("ports", [1, 2767, 2768, 2769, 5000])
async def test_a_version_may_have_any_number_of_ports(ports: int) -> None:
    settings = {
        "name": "v1",
        "docker_repository": "r",
        "docker_image": "i",
        "docker_tag": "t",
        "req_cpu": 256,
        "req_memory": 256,
        "ports": [{"port": 1 + number, "protocol": "TCP"} for number in range(ports)],
    }
    async with plain(Simulator(ready_after=(0.0, 0.0))) as api:
        await api("POST", "/v1/app", {"name": "game", "image": "", "is_active": True})
        status, _ = await api("POST", "/v1/app/game/version", settings)
        assert status == 200
        body = {**DEPLOY, "application": "game", "version": "v1"}
        for _ in range(3):
            _, made = await api("POST", "/v2/deployments", body)
            _, found = await api("GET", f"/v1/status/{made['request_id']}")
            external = [it["external"] for it in found["ports"].values()]
            assert len(external) == ports
            assert all(30_000 <= it < 32_768 for it in external)
            assert len({*external}) == min(ports, 2768)


@pytest.mark.real_time
@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.0)
async def test_the_session_of_a_test_calls_its_simulator(
    edgegap_session: EdgegapSession, edgegap_simulator: Simulator
) -> None:
    made = await deploy(edgegap_session)
    await edgegap_simulator.until(
        lambda: edgegap_simulator.ready_or_failed_at(made.request_id) is not None
    )
    # From another thread than that of the simulator.
    edgegap_simulator.crash(made.request_id)
    assert (await edgegap_session.deployments.status(made.request_id)).error
    await edgegap_session.deployments.stop(made.request_id)
    await edgegap_simulator.wait_stopped(timeout=10)


@pytest.mark.edgegap_simulator(env=True, token="right", ready_after=(0, 0))
class TestEnvironment:
    def test_a_synchronous_test_uses_a_program_that_reads_the_environment(
        self, edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def program() -> None:
            async with EdgegapSession() as edgegap:
                made = await deploy(edgegap)
                await edgegap.deployments.stop(made.request_id)

        asyncio.run(program())
        assert len(edgegap_simulator.deployed()) == 1
        wait: Callable[[], object] = lambda: not edgegap_simulator.running()  # noqa: E731
        asyncio.run(edgegap_simulator.until(wait, timeout=10))
