"""Blocks that own a server: it is stopped on every way out, unless it was handed over."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from support.owning import PLAYERS, deploy, forgotten, owning, running

from edgegap_async import EdgegapSession, ReadyDeployment
from edgegap_async.errors import (
    AllocationFailed,
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    ReadyTimeout,
    SessionClosed,
    Unauthorized,
)
from edgegap_async.simulator import Fault, Simulator

Scope = Callable[..., AbstractAsyncContextManager[Any]]
GONE: tuple[Any, ...] = ("404", "410", "400", "terminated")


def on_a_fleet(
    edgegap: EdgegapSession, **options: Any
) -> AbstractAsyncContextManager[Any]:
    return edgegap.private_fleets.running(
        "game", "1", users=PLAYERS, private_host_ids=["host"], **options
    )


scopes = pytest.mark.parametrize("scope", [running, on_a_fleet])


@scopes
async def test_a_server_is_ready_in_its_block_and_stopped_after_it(
    scope: Scope,
) -> None:
    async with owning() as (edgegap, sim):
        async with scope(edgegap, tags=["mine"]) as server:
            assert isinstance(server, ReadyDeployment)
            assert (await edgegap.deployments.status(server.request_id)).running
            assert server.fqdn
            assert server.ports
            assert server.tags[0] == "mine"
            assert sim.stopped() == set()
        assert sim.stopped() == {server.request_id} == {*sim.deployed()}
    assert edgegap.leftovers == ()


@scopes
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), asyncio.CancelledError(), KeyError(), GeneratorExit()],
)
async def test_a_server_is_stopped_whatever_its_block_raises(
    scope: Scope, error: BaseException
) -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(type(error)) as caught:
            async with scope(edgegap):
                raise error
        assert caught.value is error
        assert (len(sim.deployed()), forgotten(sim)) == (1, set())


async def test_a_server_is_stopped_when_its_block_is_cancelled() -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20), running(edgegap):
                await asyncio.sleep(100)
        assert (len(sim.deployed()), forgotten(sim)) == (1, set())


async def test_a_server_is_stopped_when_its_block_returns_early() -> None:
    async def first(edgegap: EdgegapSession) -> str:
        for _ in range(3):
            async with running(edgegap) as server:
                return str(server.request_id)
        return ""

    async with owning() as (edgegap, sim):
        assert sim.stopped() == set()
        request_id = await first(edgegap)
        assert sim.stopped() == {request_id}


@scopes
@pytest.mark.parametrize("ends", [None, ZeroDivisionError])
async def test_keep_leaves_the_server_running(
    scope: Scope, ends: type[Exception] | None
) -> None:
    async with owning() as (edgegap, sim):
        try:
            async with scope(edgegap) as server:
                server.keep()
                server.keep()
                if ends:
                    raise ends
        except ZeroDivisionError:
            pass
        await asyncio.sleep(60)
    assert (sim.stopped(), edgegap.leftovers) == (set(), ())
    assert len(sim.deployed()) == 1


@scopes
@pytest.mark.parametrize(
    ("options", "session", "error"),
    [
        ({"error_share": 1.0}, {}, DeploymentFailed),
        ({"ready_after": (900.0, 900.0)}, {"ready_timeout": 5}, ReadyTimeout),
    ],
)
async def test_a_server_that_does_not_become_ready_is_stopped(
    scope: Scope, options: Any, session: Any, error: Any
) -> None:
    async with owning(options=options) as (edgegap, sim):
        with pytest.raises(error):
            async with scope(edgegap, **session):
                raise AssertionError
        assert (len(sim.deployed()), forgotten(sim)) == (1, set())


async def test_a_failed_allocation_or_a_foreign_stop_ends_the_block() -> None:
    async with owning(
        Fault("deploy", "422", times=1), options={"ready_after": (9.0, 9.0)}
    ) as (edgegap, sim):
        with pytest.raises(AllocationFailed):
            async with running(edgegap):
                raise AssertionError
        await asyncio.sleep(5)
        assert (len(sim.deployed()), forgotten(sim)) == (1, set())

        async def by_others() -> None:
            await asyncio.sleep(2)
            await edgegap.deployments.stop(sim.deployed()[1])

        other = asyncio.create_task(by_others())
        with pytest.raises(DeploymentTerminated):
            async with running(edgegap):
                raise AssertionError
        await other
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    "kind", ["500-before", "cut-before", "hang-before", "429", "not-json"]
)
async def test_a_failing_stop_never_replaces_the_blocks_exception(
    kind: str,
) -> None:
    loop = asyncio.get_running_loop()
    async with owning(Fault("stop", kind), cleanup_timeout=3.0) as (edgegap, sim):
        ended = []

        async def fails() -> None:
            async with running(edgegap):
                ended.append(loop.time())
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails()
        assert loop.time() - ended[0] <= 3.1
        # and none comes out of a block that ends well
        async with running(edgegap):
            pass
        sim.faults = ()
        await asyncio.sleep(60)
        assert (len(sim.deployed()), forgotten(sim)) == (2, set())
    assert edgegap.leftovers == ()


async def test_leaving_a_block_waits_until_the_stop_is_accepted() -> None:
    loop = asyncio.get_running_loop()
    async with owning(Fault.script("stop", "503-before", "503-before")) as (
        edgegap,
        sim,
    ):
        async with running(edgegap) as server:
            pass
        assert sim.stopped() == {server.request_id}
        sim.faults = [Fault("stop", "late", seconds=2.0, times=1)]
        async with running(edgegap) as server:
            ended = loop.time()
        assert loop.time() - ended == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("how", ["return", "error", "keep"])
async def test_an_adopted_server_is_treated_like_a_deployed_one(how: str) -> None:
    async with Simulator() as sim:
        async with EdgegapSession("t", base_url=sim.url) as before:
            request_id = (await deploy(before)).request_id
        assert sim.stopped() == set()
        async with EdgegapSession("t", base_url=sim.url) as edgegap:
            try:
                async with edgegap.deployments.adopt(request_id) as server:
                    assert server.request_id == request_id
                    if how == "keep":
                        server.keep()
                    if how == "error":
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            assert sim.stopped() == (set() if how == "keep" else {request_id})
            with pytest.raises(ValueError, match="request_id"):
                edgegap.deployments.adopt("")


@pytest.mark.parametrize("gone", GONE)
async def test_a_gone_server_can_not_be_adopted(gone: Any) -> None:
    async with owning(options={"gone": gone}) as (edgegap, _):
        async with running(edgegap) as server:
            pass
        await asyncio.sleep(5)
        with pytest.raises(DeploymentTerminated):
            async with edgegap.deployments.adopt(server.request_id):
                raise AssertionError
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize(
    ("options", "error"), [({"error_share": 1.0}, DeploymentFailed), ({}, ReadyTimeout)]
)
async def test_stop_on_failure_stops_a_server_that_is_not_ready(
    stop: bool, options: Any, error: Any
) -> None:
    async with owning(options={"ready_after": (9.0, 9.0), **options}) as (edgegap, sim):
        request_id = (await deploy(edgegap)).request_id
        timeout = 5 if error is ReadyTimeout else 60
        with pytest.raises(error):
            await edgegap.deployments.wait_until_ready(
                request_id, timeout=timeout, stop_on_failure=stop
            )
        await asyncio.sleep(5)
        assert (request_id in sim.stopped()) is stop


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("gone", GONE)
async def test_ensure_stopped_returns_when_the_stop_is_accepted(
    gone: Any, wait: bool
) -> None:
    loop = asyncio.get_running_loop()
    async with owning(
        options={"gone": gone, "ready_after": (60.0, 60.0), "stop_takes": 3.0}
    ) as (edgegap, sim):
        request_id = (await deploy(edgegap, timeout=None)).request_id
        began = loop.time()
        await edgegap.deployments.ensure_stopped(request_id, wait=wait, timeout=None)
        assert sim.stopped() == {request_id}
        assert (request_id in sim.running()) is not wait
        assert 62 < loop.time() - began < 70 if wait else loop.time() - began < 1
        await asyncio.sleep(80)
        # it is gone
        for _ in range(2):
            began = loop.time()
            await edgegap.deployments.ensure_stopped(request_id, wait=wait)
            assert loop.time() - began < 1
        await edgegap.deployments.ensure_stopped("0123456789ab", wait=wait)


@pytest.mark.measured
@pytest.mark.parametrize(
    "kind",
    [
        "500-before",
        "502-after",
        "cut-after",
        "hang-before",
        "truncated",
        "429",
        "empty",
    ],
)
async def test_ensure_stopped_retries_where_stop_raises(kind: str) -> None:
    script = [Fault("stop", kind, times=7), Fault("status", "503-before", times=7)]
    async with owning(options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        request_id = (await deploy(edgegap)).request_id
        sim.faults = script
        await edgegap.deployments.ensure_stopped(request_id, wait=True, timeout=600)
        assert (sim.stopped(), sim.running()) == ({request_id}, set())


async def test_ensure_stopped_raises_permanent_errors() -> None:
    async with (
        Simulator(token="right") as sim,
        EdgegapSession("wrong", base_url=sim.url) as edgegap,
    ):
        with pytest.raises(Unauthorized):
            await edgegap.deployments.ensure_stopped("c065")
        for wrong in (
            {"request_id": ""},
            {"request_id": "a", "wait": 1},
            {"request_id": "a", "timeout": -1},
        ):
            with pytest.raises(ValueError, match=[*wrong][-1]):
                await edgegap.deployments.ensure_stopped(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [2.0, None])
async def test_ensure_stopped_ends_with_its_deadline_or_session(
    timeout: float | None,
) -> None:
    async with owning(options={"ready_after": (900.0, 900.0)}) as (edgegap, _):
        request_id = (await deploy(edgegap)).request_id
        call = asyncio.ensure_future(
            edgegap.deployments.ensure_stopped(request_id, wait=True, timeout=timeout)
        )
        await asyncio.sleep(5)
        assert call.done() is (timeout is not None)
        await edgegap.aclose()
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert type(error) is (DeadlineExceeded if timeout else SessionClosed)
        assert isinstance(error, EdgegapError)


@scopes
@pytest.mark.parametrize("keep", [False, True])
async def test_closing_in_a_block_stops_servers_that_are_not_kept(
    scope: Scope, keep: bool
) -> None:
    async with owning() as (edgegap, sim):
        async with scope(edgegap) as server:
            if keep:
                server.keep()
            await edgegap.aclose()
            assert sim.stopped() == (set() if keep else {server.request_id})
        assert edgegap.leftovers == ()
    with pytest.raises(SessionClosed):
        async with scope(edgegap):
            raise AssertionError


async def test_two_blocks_of_one_server_stop_it_once() -> None:
    async with owning() as (edgegap, sim):
        request_id = (await deploy(edgegap)).request_id
        async with edgegap.deployments.adopt(request_id):
            async with edgegap.deployments.adopt(request_id) as inner:
                inner.keep()
            # the outer one still has it
            await edgegap.aclose()
            assert sim.stopped() == {request_id}


async def test_a_manual_stop_in_a_block_is_enough() -> None:
    async with owning() as (edgegap, sim):
        async with running(edgegap) as server:
            await edgegap.deployments.ensure_stopped(server.request_id, wait=True)
        assert sim.stopped() == {server.request_id}
    assert edgegap.leftovers == ()


async def test_the_log_has_one_line_for_a_stop_that_is_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "edgegap_async")
    async with owning([Fault("stop", "503-before", times=1)]) as (edgegap, _):
        accepted = await deploy(edgegap)
        await edgegap.deployments.ensure_stopped(accepted.request_id)
    (line,) = (it.getMessage() for it in caplog.records)
    assert line.startswith(
        f"stop failed, retrying in 0.5 s: deployment {accepted.request_id}: "
    )
