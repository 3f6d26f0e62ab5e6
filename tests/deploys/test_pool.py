"""A warm pool: servers are ready before they are needed, used once, and never forgotten."""

import asyncio
from typing import Any

import pytest
from support.owning import PLAYERS, forgotten, owning

from edgegap_async import DeployRequest, EdgegapSession, probes
from edgegap_async.errors import (
    DeadlineExceeded,
    EdgegapError,
    SessionClosed,
    Unauthorized,
)
from edgegap_async.simulator import Fault, Simulator

REQUEST = DeployRequest("game", "1", users=PLAYERS)
QUICK = {"ready_after": (1.0, 2.0), "stop_takes": 0.0}


async def until(condition: Any, seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the simulator tells nobody
            await asyncio.sleep(0.05)


def pooled(*faults: Any, **options: Any) -> Any:
    return owning(*faults, options={**QUICK, **options})


async def test_servers_are_ready_before_they_are_taken_and_replaced_at_once() -> None:
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=3) as pool,
    ):
        await until(lambda: pool.ready == 3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with pool.take() as server:
            assert loop.time() - began < 0.01
            assert (pool.ready, pool.starting, pool.taken) == (2, 1, 1)
            await until(lambda: pool.ready == 3)
            assert server.request_id in sim.running()
        await until(lambda: server.request_id in sim.stopped())
        assert (pool.ready, pool.taken) == (3, 0)
        assert len(sim.running()) == 3
    assert forgotten(sim) == set()


async def test_no_server_is_taken_twice() -> None:
    used: list[str] = []
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=2) as pool,
        asyncio.TaskGroup() as group,
    ):

        async def match() -> None:
            async with pool.take(timeout=None) as server:
                used.append(server.request_id)
                await asyncio.sleep(1)

        for _ in range(20):
            group.create_task(match())
    assert len(used) == len({*used}) == 20
    assert forgotten(sim) == set()


async def test_a_server_that_is_kept_runs_on() -> None:
    async with pooled() as (edgegap, sim):
        async with (
            edgegap.deployments.pool(REQUEST, size=1) as pool,
            pool.take() as server,
        ):
            server.keep()
        # The one that was to replace it is stopped.
        await until(lambda: sim.running() == {server.request_id})


@pytest.mark.parametrize("how", ["return", "error", "cancel"])
async def test_the_pool_is_drained_on_every_way_out(how: str) -> None:
    async with pooled(ready_after=(0.0, 4.0)) as (edgegap, sim):
        taking = asyncio.Event()

        async def program() -> None:
            async with edgegap.deployments.pool(REQUEST, size=4) as pool, pool.take():
                await until(lambda: pool.ready >= 2)
                taking.set()
                if how == "error":
                    raise LookupError("of the program")
                await asyncio.sleep(1000 if how == "cancel" else 0)

        task = asyncio.create_task(program())
        await taking.wait()
        if how == "cancel":
            task.cancel()
        await asyncio.wait({task})
        if how == "return":
            assert task.exception() is None
        elif how == "error":
            # Not a group of errors.
            assert type(task.exception()) is LookupError
        else:
            assert task.cancelled()
        await until(lambda: not forgotten(sim))
    assert len(sim.deployed()) >= 4
    assert forgotten(sim) == set()


async def test_a_caller_that_leaves_while_it_waits_takes_nothing() -> None:
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=0) as pool,
    ):
        for leave_after in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(leave_after), pool.take() as server:
                    raise TimeoutError(server.request_id)
        await until(lambda: not forgotten(sim))
        assert (pool.ready, pool.starting, pool.taken) == (0, 0, 0)
    assert forgotten(sim) == set()


async def test_more_callers_than_servers_are_served_in_order_up_to_max_running() -> (
    None
):
    order: list[int] = []
    async with pooled() as (edgegap, sim):
        most = 0

        async def match(pool: Any, number: int) -> None:
            nonlocal most
            async with pool.take(timeout=None):
                order.append(number)
                most = max(most, len(sim.running()))
                await asyncio.sleep(2)

        async with (
            edgegap.deployments.pool(REQUEST, size=2, max_running=4) as pool,
            asyncio.TaskGroup() as group,
        ):
            for number in range(12):
                group.create_task(match(pool, number))
    assert order == [*range(12)]
    assert 2 < most <= 4
    assert forgotten(sim) == set()


async def test_the_pool_grows_and_shrinks() -> None:
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1) as pool,
    ):
        pool.resize(5)
        await until(lambda: pool.ready == 5)
        pool.resize(2)
        assert pool.ready == 2
        await until(lambda: len(sim.running()) == 2)
        # Those that are being started are dropped first.
        pool.resize(6)
        await asyncio.sleep(0.5)
        pool.resize(2)
        assert (pool.ready, pool.starting) == (2, 0)
        await until(lambda: len(sim.running()) == 2 and not pool.starting)
        with pytest.raises(ValueError, match="size must be"):
            pool.resize(-1)
    assert forgotten(sim) == set()


@pytest.mark.full
@pytest.mark.slow
async def test_a_server_that_is_too_old_is_replaced() -> None:
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=2, max_age=60) as pool,
    ):
        await until(lambda: pool.ready == 2)
        first = sim.running()
        await asyncio.sleep(90)
        assert pool.ready == 2
        assert not first & sim.running()
        async with pool.take() as server:
            # One that is taken has no age.
            await asyncio.sleep(200)
            assert server.request_id in sim.running()
    assert forgotten(sim) == set()


@pytest.mark.slow
async def test_an_unhealthy_server_is_replaced_and_never_offered() -> None:
    sick: set[str] = set()

    async def check(server: Any) -> None:
        if server.request_id in sick:
            raise ConnectionError("does not answer")

    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=2, check=check, check_every=10) as pool,
    ):
        await until(lambda: pool.ready == 2)
        sick |= sim.running()
        await until(lambda: not sick & sim.running() and pool.ready == 2)
        async with pool.take() as server:
            assert server.request_id not in sick
            # While it is used, it is not checked.
            sick.add(server.request_id)
            await asyncio.sleep(60)
            assert server.request_id in sim.running()
    assert forgotten(sim) == set()


async def test_a_check_that_ends_with_a_cancellation_of_its_own_starts_no_flood() -> (
    None
):
    async def check(server: Any) -> None:
        inner = asyncio.create_task(asyncio.sleep(100))
        inner.cancel()
        await inner

    async with pooled() as (edgegap, sim):
        async with edgegap.deployments.pool(REQUEST, size=2, check=check) as pool:
            with pytest.raises(DeadlineExceeded) as caught:
                async with pool.take(timeout=60):
                    pass
        assert "cancelled" in str(caught.value.__cause__)
        assert sim.counts()["deployed"] <= 20
    assert forgotten(sim) == set()


async def test_a_check_that_is_under_way_when_its_server_is_taken_stops_nothing() -> (
    None
):
    fails = asyncio.Event()

    async def check(_: Any) -> None:
        if began.is_set():
            await fails.wait()
            raise ConnectionError("too late")
        began.set()

    began = asyncio.Event()
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1, check=check, check_every=5) as pool,
    ):
        await until(lambda: pool.ready == 1)
        await asyncio.sleep(6)
        async with pool.take() as server:
            fails.set()
            await asyncio.sleep(20)
            assert server.request_id in sim.running()
    assert forgotten(sim) == set()


async def test_a_server_that_ends_by_itself_is_replaced_after_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1) as pool,
        EdgegapSession("made-up", base_url=sim.url) as operator,
    ):
        await until(lambda: pool.ready == 1)
        (gone,) = sim.running()
        await operator.deployments.stop(gone)
        await until(lambda: sim.running() - {gone} and pool.ready == 1)
        async with pool.take() as server:
            assert server.request_id != gone
    assert f"deployment {gone} is replaced: it has ended" in caplog.text


async def test_servers_that_always_crash_are_started_ever_more_slowly() -> None:
    async def check(_: Any) -> None:
        raise ConnectionError("never answers")

    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1, check=check) as pool,
    ):
        await asyncio.sleep(300)
        # Not one every two seconds.
        assert 8 <= len(sim.deployed()) <= 30
        with pytest.raises(DeadlineExceeded, match="within 5 s") as raised:
            async with pool.take(timeout=5):
                raise AssertionError
        assert "never answers" in str(raised.value.__cause__)
    assert forgotten(sim) == set()


async def test_an_error_that_no_retry_would_mend_is_raised_to_those_who_wait() -> None:
    async with (
        pooled(Fault("deploy", "401")) as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1) as pool,
    ):
        with pytest.raises(Unauthorized):
            async with pool.take(timeout=None):
                raise AssertionError
        sim.faults = []
        async with pool.take() as server:
            assert server.request_id in sim.running()
    assert forgotten(sim) == set()


async def test_a_pool_that_was_closed_gives_nothing() -> None:
    async with pooled() as (edgegap, _):
        async with edgegap.deployments.pool(REQUEST, size=1) as pool:
            pass
        with pytest.raises(SessionClosed, match="the pool was closed"):
            async with pool.take():
                raise AssertionError


async def test_closing_the_session_ends_those_who_wait() -> None:
    simulator = Simulator(ready_after=(50.0, 50.0))
    async with simulator:
        edgegap = EdgegapSession("made-up", base_url=simulator.url)
        async with edgegap.deployments.pool(REQUEST, size=1) as pool:
            closing = asyncio.get_running_loop().call_later(
                5, lambda: tasks.append(asyncio.create_task(edgegap.aclose()))
            )
            tasks: list[asyncio.Task[None]] = []
            with pytest.raises(SessionClosed):
                async with pool.take(timeout=None):
                    raise AssertionError
            closing.cancel()
            await asyncio.wait(tasks)


async def test_a_closed_session_leaves_no_server_to_take() -> None:
    async with Simulator(ready_after=(1.0, 1.0)) as sim:
        edgegap = EdgegapSession("made-up", base_url=sim.url)
        async with edgegap.deployments.pool(REQUEST, size=2) as pool:
            await until(lambda: pool.ready == 2)
            await edgegap.aclose()
            await asyncio.sleep(1)
            assert pool.ready == 0
            with pytest.raises((SessionClosed, DeadlineExceeded)):
                async with pool.take(timeout=60):
                    raise AssertionError
        assert forgotten(sim) == set()


async def test_an_unhealthy_server_is_not_replaced_before_the_pause() -> None:
    """Although its stop takes a while, and others ask for servers meanwhile."""
    healthy = True

    async def check(_: Any) -> None:
        if not healthy:
            raise ConnectionError("does not answer")

    async with (
        pooled(Fault("stop", "late", seconds=6)) as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=1, check=check, check_every=5) as pool,
    ):
        await until(lambda: pool.ready == 1)
        healthy = False
        await until(lambda: pool.ready == 0)
        deployed = len(sim.deployed())
        pool.resize(1)
        await asyncio.sleep(0.4)
        assert len(sim.deployed()) == deployed
    assert forgotten(sim) == set()


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_check_that_is_no_coroutine_function_ends_the_pool(
    at_once: bool,
) -> None:
    checked: list[str] = []

    def check(server: Any) -> Any:
        checked.append(server.request_id)
        # At first it is one.
        return asyncio.sleep(0) if len(checked) <= 3 and not at_once else None

    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(REQUEST, size=3, check=check, check_every=5) as pool,
    ):
        told = "^check must return an awaitable, not None: use async def"
        if at_once:
            with pytest.raises(ValueError, match=told):
                async with pool.take():
                    raise AssertionError
        # Each such check would start and stop servers for ever.
        await asyncio.sleep(3600)
        assert len(sim.deployed()) <= 4
        assert sim.stopped() == {*sim.deployed()}
        pool.resize(5)
        for _ in range(2):
            with pytest.raises(ValueError, match=told):
                async with pool.take():
                    raise AssertionError
        assert (pool.ready, pool.starting, pool.taken) == (0, 0, 0)
    assert forgotten(sim) == set()


async def test_a_server_that_was_taken_survives_a_check_that_is_none() -> None:
    results: list[Any] = [asyncio.sleep(0), None]

    async with (
        pooled() as (edgegap, sim),
        edgegap.deployments.pool(
            REQUEST, size=1, check=lambda _: results.pop(0), max_running=2
        ) as pool,
        pool.take() as server,
    ):
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 2
        assert server.request_id not in sim.stopped()
    assert forgotten(sim) == set()


async def test_a_probe_of_a_port_that_no_server_has_is_raised_at_once() -> None:
    async with pooled() as (edgegap, sim):
        check = probes.tcp("gameport")
        async with edgegap.deployments.pool(REQUEST, size=1, check=check) as pool:
            with pytest.raises(EdgegapError, match="no port 'gameport'") as raised:
                async with pool.take(timeout=None):
                    pass
            assert isinstance(raised.value.__cause__, LookupError)
        # One for the pool, and one for the caller.
        assert len(sim.deployed()) == 2


async def test_a_check_that_looks_something_up_in_vain_is_tried_again() -> None:
    checked: list[str] = []

    async def check(server: Any) -> None:
        checked.append(server.request_id)
        if len(checked) == 1:
            # As of a table of the program, or of a server that has no host so far.
            raise LookupError("not there yet")

    async with (
        pooled() as (edgegap, _),
        edgegap.deployments.pool(REQUEST, size=1, check=check) as pool,
        pool.take(timeout=60) as server,
    ):
        assert server.request_id in checked[1:]


async def test_the_timeout_of_a_check_is_told_from_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuses(_: object) -> None:
        raise TimeoutError("no pong")

    async def hangs(_: object) -> None:
        await asyncio.sleep(100)

    for check, told in (
        (refuses, "its check failed: TimeoutError: no pong"),
        (hangs, "its check took longer than 3 s"),
    ):
        async with (
            pooled() as (edgegap, _),
            edgegap.deployments.pool(REQUEST, size=1, check=check, check_timeout=3.0),
        ):
            await asyncio.sleep(8)
        assert told in caplog.text
        caplog.clear()


async def test_its_repr_has_its_counts() -> None:
    async with pooled() as (edgegap, _):
        async with (
            edgegap.deployments.pool(REQUEST, size=2) as pool,
            pool.take(),
        ):
            await until(lambda: pool.ready == 2)
            assert repr(pool) == "<Pool size 2: 2 ready, 0 starting, 1 taken>"
        assert repr(pool) == "<Pool size 2, closed>"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": -1}, "size must be"),
        ({"size": 1.5}, "size must be"),
        ({"size": 1_000_000}, "size must be at most 10,000"),
        ({"size": 1, "max_running": 0}, "max_running must be"),
        ({"size": 1, "max_age": 0}, "max_age must be"),
        ({"size": 1, "check": "tcp"}, "check must be an async callable"),
        ({"size": 1, "check": int}, "check must be an async callable"),
        ({"size": 1, "check": lambda: None}, "check must be an async callable"),
        ({"size": 1, "check": lambda _, port: None}, "check must be an async callable"),
        ({"size": 1, "check_every": 0}, "check_every must be"),
        ({"size": 1, "ready_timeout": -1}, "ready_timeout must be"),
    ],
)
async def test_wrong_arguments_start_nothing(wrong: dict[str, Any], told: str) -> None:
    async with pooled() as (edgegap, sim):
        with pytest.raises(ValueError, match=told):
            edgegap.deployments.pool(REQUEST, **wrong)
        with pytest.raises(ValueError, match="request must be a DeployRequest"):
            edgegap.deployments.pool("game", size=1)  # type: ignore[arg-type]
        async with edgegap.deployments.pool(REQUEST, size=0) as pool:
            with pytest.raises(ValueError, match="timeout must be"):
                pool.take(timeout=0)
        assert not sim.deployed()
