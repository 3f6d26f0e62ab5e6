"""What is used in a wrong way says how it is used."""

import asyncio
import inspect
import pickle
import threading
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from contextlib import ExitStack
from typing import Any

import aiohttp
import pytest
from support.deploy_many import requests
from support.owning import PLAYERS, deploy, owning, running
from support.raw_server import GET, RawServer, answer, failure, scripted, session

from edgegap_async import DeployRequest, EdgegapSession, Limits, Retry, errors
from edgegap_async.container import stop_self
from edgegap_async.errors import (
    DeploymentTerminated,
    QueueTooLong,
    SessionClosed,
    Unauthorized,
    WrongLoop,
)
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# Nothing listens at the discard port.
NO_SERVER = "http://127.0.0.1:9"


def blocks(edgegap: EdgegapSession) -> dict[str, Callable[[], Any]]:
    """The methods whose results are blocks, by name."""
    many = edgegap.deployments.deploy_many
    fleets = edgegap.private_fleets
    return {
        "deployments.running": lambda: running(edgegap),
        "deployments.deploy_many": lambda: many(requests(1)),
        "deployments.adopt": lambda: edgegap.deployments.adopt("c065"),
        "deployments.wait_many": lambda: edgegap.deployments.wait_many(["c065"]),
        "deployments.pool": lambda: edgegap.deployments.pool(*requests(1), size=1),
        "private_fleets.running": lambda: fleets.running(
            "game", "1", users=PLAYERS, private_host_ids=["host"]
        ),
        "private_fleets.deploy_many": lambda: fleets.deploy_many([]),
        "private_fleets.adopt": lambda: fleets.adopt("c065"),
    }


async def awaited(it: Any) -> None:
    await it


async def entered(it: Any) -> None:
    with it:
        raise AssertionError


async def entered_by_a_stack(it: Any) -> None:
    with ExitStack() as stack:
        stack.enter_context(it)


async def iterated(it: Any) -> None:
    async for _ in it:
        raise AssertionError


async def asked_for_the_next(it: Any) -> None:
    await anext(it)


async def looped(it: Any) -> None:
    for _ in it:
        raise AssertionError


Use = Callable[[Any], Coroutine[Any, Any, None]]
uses = pytest.mark.parametrize(
    "use",
    [awaited, entered, entered_by_a_stack, iterated, asked_for_the_next, looped],
    ids=lambda use: use.__name__,
)


@uses
async def test_a_block_that_is_not_entered_says_how(use: Use) -> None:
    async with owning() as (edgegap, sim):
        for name, make in blocks(edgegap).items():
            with pytest.raises(TypeError) as raised:
                await use(make())
            assert f"use `async with edgegap.{name}(...) as " in str(raised.value)
        assert not sim.deployed()


@uses
async def test_a_take_that_is_not_entered_says_how(use: Use) -> None:
    async with owning() as (edgegap, _):
        request = DeployRequest("game", "1", users=PLAYERS)
        async with edgegap.deployments.pool(request, size=1) as pool:
            with pytest.raises(
                TypeError, match=r"^use `async with pool\.take\(\.\.\.\) as"
            ):
                await use(pool.take())
            with pytest.raises(
                AttributeError, match=r"^pool\.take\(\.\.\.\) has no 'fqdn'"
            ):
                pool.take().fqdn  # type: ignore[attr-defined]  # noqa: B018
            take = pool.take()
            async with take:
                pass
            with pytest.raises(RuntimeError, match=r"call pool\.take\(\.\.\.\) again"):
                await take.__aenter__()


@pytest.mark.parametrize("use", [entered, entered_by_a_stack])
async def test_a_session_that_is_not_entered_says_how(use: Use) -> None:
    with pytest.raises(TypeError, match=r"^use `async with EdgegapSession\(\.\.\.\)"):
        await use(EdgegapSession("token"))


async def test_a_session_is_nothing_that_frameworks_await_or_iterate_over() -> None:
    edgegap = EdgegapSession("token")
    assert not inspect.isawaitable(edgegap)
    assert not isinstance(edgegap, Iterable | AsyncIterable)


async def test_what_only_the_block_has_is_not_looked_for_before_it() -> None:
    async with owning() as (edgegap, _):
        for name, make in blocks(edgegap).items():
            for attribute in ("address", "request_id", "accepted"):
                with pytest.raises(AttributeError, match=r"use `async with") as raised:
                    getattr(make(), attribute)
                assert f"{name}(...) has no {attribute!r}" in str(raised.value)


async def test_a_block_that_is_printed_says_how_to_use_it() -> None:
    async with owning() as (edgegap, _):
        for name, make in blocks(edgegap).items():
            assert repr(make()).startswith(
                f"<{name}(...): use `async with edgegap.{name}(...) as "
            )
        many = edgegap.deployments.deploy_many(requests(2))
        async with many as outcomes:
            assert repr(outcomes) == "<DeployStream: 0 accepted, 0 in flight>"
            assert len(await all_of(outcomes)) == 2
            assert repr(outcomes) == "<DeployStream: 2 accepted, 0 in flight>"


async def test_a_stream_that_is_read_after_its_block_ends_at_once() -> None:
    async with owning() as (edgegap, _):
        wait = edgegap.deployments.wait_many(["c065", "c066"], timeout=None)
        async with wait as outcomes:
            # Another task still reads when the block ends.
            reading = asyncio.ensure_future(all_of(outcomes))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, 1) == []
        assert await asyncio.wait_for(all_of(outcomes), 1) == []
        async with edgegap.deployments.deploy_many(requests(1)) as stream:
            await anext(stream)
        assert await asyncio.wait_for(all_of(stream), 1) == []


async def all_of(outcomes: Any) -> list[object]:
    return [outcome async for outcome in outcomes]


@pytest.mark.parametrize("value", ["no", "false", 1, None])
async def test_only_true_means_everything(value: Any) -> None:
    async with owning() as (edgegap, sim):
        await deploy(edgegap)
        with pytest.raises(ValueError, match=r"^everything must be True or False"):
            await edgegap.deployments.bulk_stop(everything=value)
        assert not sim.stopped()


def test_stop_self_outside_of_a_container_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ARBITRIUM_DELETE_URL", "ARBITRIUM_DELETE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        with pytest.raises(ValueError, match=f"^{name} is not set: this is not a dep"):
            without_a_loop(stop_self())
        monkeypatch.setenv(name, "https://api.example/stop")


async def test_a_block_can_be_entered_once() -> None:
    async with owning(options={"ready_after": (0.0, 0.0)}) as (edgegap, sim):
        request_id = (await deploy(edgegap)).request_id
        every = blocks(edgegap) | {
            "deployments.adopt": lambda: edgegap.deployments.adopt(request_id),
            "private_fleets.adopt": lambda: edgegap.private_fleets.adopt(request_id),
            "deployments.wait_many": lambda: edgegap.deployments.wait_many([]),
        }
        del every["private_fleets.adopt"]
        for name, make in every.items():
            block = make()
            async with block:
                with pytest.raises(
                    RuntimeError, match=f"call {name}\\(\\.\\.\\.\\) again"
                ):
                    await block.__aenter__()
            with pytest.raises(RuntimeError, match="entered before"):
                async with block:
                    raise AssertionError
        assert {*sim.deployed()} == sim.stopped()


async def test_keep_after_the_end_of_a_kept_server_is_an_error() -> None:
    async with owning() as (edgegap, _):
        async with running(edgegap) as server:
            server.keep()
        # It is the caller's, so there is nothing to say.
        server.keep()
        await edgegap.deployments.ensure_stopped(server)
        with pytest.raises(DeploymentTerminated, match="inside its block"):
            server.keep()
        async with (
            running(edgegap) as outer,
            edgegap.deployments.adopt(outer) as inner,
        ):
            inner.keep()
        with pytest.raises(DeploymentTerminated, match="inside its block"):
            inner.keep()


def without_a_loop(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine as other libraries do: no loop of asyncio runs."""
    try:
        work.send(None)
    finally:
        work.close()


async def in_a_block(make: Callable[[], Any]) -> None:
    async with make():
        raise AssertionError


async def through_a_session(edgegap: EdgegapSession) -> None:
    async with edgegap:
        raise AssertionError


async def test_a_given_http_session_that_is_closed_too_early_is_named() -> None:
    told = r"the aiohttp\.ClientSession given as http= was closed: close it after"
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    async with owning(http=http, cleanup_timeout=1) as (edgegap, sim):
        async with running(edgegap) as server:
            await http.close()
        for call in (GET(edgegap), deploy(edgegap)):
            with pytest.raises(SessionClosed, match=told):
                await call
        await edgegap.aclose()
        with pytest.raises(SessionClosed, match="make a new one"):
            await GET(edgegap)
        # It could not be stopped, so it is named.
        assert [it for it, _ in edgegap.leftovers] == [server.request_id]
        assert not sim.stopped()


def test_without_a_loop_of_asyncio_each_use_names_asyncio() -> None:
    edgegap = session(NO_SERVER)
    works = [
        through_a_session(edgegap),
        GET(edgegap),
        deploy(edgegap),
        edgegap.deployments.wait_until_ready("c065"),
        edgegap.deployments.wait_until_stopped("c065"),
        edgegap.deployments.ensure_stopped("c065"),
        edgegap.deployments.reap(["tag"]),
        edgegap.aclose(),
        *(in_a_block(make) for make in blocks(edgegap).values()),
    ]
    for work in works:
        with pytest.raises(WrongLoop, match=r"asyncio\.run\(\)\. trio") as raised:
            without_a_loop(work)  # type: ignore[arg-type]
        assert not raised.value.request_sent
        assert raised.value.__context__ is None


def test_under_trio_the_error_names_asyncio() -> None:
    trio: Any = pytest.importorskip("trio")
    with pytest.raises(WrongLoop, match="trio is not supported"):
        trio.run(through_a_session, session(NO_SERVER))


def test_stop_self_without_a_loop_names_asyncio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{NO_SERVER}/stop")
    monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", "delete-token")
    with pytest.raises(WrongLoop, match="asyncio"):
        without_a_loop(stop_self())


def test_wrong_loop_names_its_usual_causes() -> None:
    edgegap = session(NO_SERVER, retry=Retry(tries=1))
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as first:
        first.run(failure(GET(edgegap)))
        raised: list[errors.EdgegapError] = []

        def in_a_thread() -> None:
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as other:
                raised.append(other.run(failure(GET(edgegap))))

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        assert isinstance(raised[0], WrongLoop)
        assert "another thread" in str(raised[0])
        assert "pytest" in str(raised[0])
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as second:
        error = second.run(failure(GET(edgegap)))
        assert isinstance(error, WrongLoop)
        assert "asyncio.run() more than once" in str(error)
        assert "pytest" in str(error)
        assert "Make a session in each loop" in str(error)
        second.run(edgegap.aclose())


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.1, "may send 2 per second, as its Limits(share=0.1) says"),
        (
            1.0,
            "may send 20 per second; if others use the same token, give all the same",
        ),
    ],
)
async def test_a_queue_that_is_too_long_names_rate_and_share(
    share: float, text: str
) -> None:
    async with scripted(limits=Limits(share=share)) as (edgegap, _):
        calls = [asyncio.ensure_future(GET(edgegap)) for _ in range(200)]
        await asyncio.sleep(0.1)
        error = await failure(GET(edgegap, timeout=1))
        assert isinstance(error, QueueTooLong)
        assert text in str(error)
        assert "Limits(share=" in str(error)
        assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_delete_token_is_not_blamed_on_the_api_token(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(status, {"message": "no"})
    async with RawServer(refusal) as server, session(server.url) as edgegap:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{server.url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", "delete-token")
        own = edgegap.deployments.self_stop("c065", 7, token="delete-token")
        for call in (stop_self(), own):
            text = str(await failure(call))
            assert "check ARBITRIUM_DELETE_TOKEN" in text
            assert "EDGEGAP_API_TOKEN" not in text
        error = await failure(GET(edgegap))
        assert ("EDGEGAP_API_TOKEN" in str(error)) == isinstance(error, Unauthorized)
        assert "DELETE" not in str(error)


@pytest.mark.measured
@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("Bearer abcdef", "without the word 'Bearer'"),
        ("bearer  abcdef", "without the word 'Bearer'"),
        ("Basic abcdef", "without the word 'Basic'"),
        ("Authorization: token abcdef", "without the word 'Authorization'"),
        ("token token abcdef", "without the word 'token'"),
        ('"abcdef"', "without the quotes"),
        ("'abcdef'", "without the quotes"),
        (b"abcdef", "must be a string, not bytes"),
        (5, "must be a string, not int"),
    ],
)
async def test_a_token_with_something_around_it_says_what(
    token: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=f"^token .*{text}") as raised:
        EdgegapSession(token)
    assert "abcdef" not in str(raised.value)
    async with EdgegapSession("token abcdef") as edgegap:
        with pytest.raises(ValueError, match=r"^token "):
            await edgegap.deployments.self_stop("c065", 7, token=token)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("tag", "tags"),
        ("env", "environment_variables"),
        ("environment_variable", "environment_variables"),
        ("webhook_ready", "webhook_on_ready"),
        ("require_cached_location", "require_cached_locations"),
        ("timout", "timeout"),
        ("Resources", "resources"),
        ("color", None),
    ],
)
async def test_a_misspelt_keyword_names_what_was_meant(
    wrong: str, meant: str | None
) -> None:
    async with owning() as (edgegap, sim):
        given: dict[str, Any] = {"users": PLAYERS, wrong: None}
        fleet = given | {"private_host_ids": ["host"]}
        calls: dict[str, list[Callable[[], Any]]] = {
            "deploy": [
                lambda: edgegap.deployments.deploy("game", "1", **given),
                lambda: edgegap.private_fleets.deploy("game", "1", **fleet),
            ],
            "running": [
                lambda: edgegap.deployments.running("game", "1", **given),
                lambda: edgegap.private_fleets.running("game", "1", **fleet),
            ],
        }
        for name, both in calls.items():
            for call in both:
                with pytest.raises(TypeError) as raised:
                    await call()
                hint = f": did you mean {meant!r}?" if meant else ""
                assert str(raised.value) == (
                    f"{name}() got an unexpected keyword argument {wrong!r}{hint}"
                )
        with pytest.raises(TypeError, match="did you mean 'ready_timeout'"):
            edgegap.deployments.running(
                "game",
                "1",
                users=PLAYERS,
                ready_timout=5,  # type: ignore[call-arg]
            )
        assert not sim.deployed()
