"""`EdgegapMiddleware`: one session for an application, from the server's startup to its
shutdown, or without a lifespan from the first request to a signal.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest
from support.asgi import App, Message, Receive, Send, call, lifespan
from support.owning import forgotten, running
from support.webhook_samples import receiver

from edgegap_async import EdgegapError, EdgegapSession, SessionClosed
from edgegap_async.integrations.asgi import EdgegapMiddleware
from edgegap_async.simulator import Fault, Simulator

ANSWER: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body", "body": b""},
]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")


class Recorder:
    """An application that records the session of each scope.

    Args:
        kind: of lifespan: "none" raises, as Django does; "silent" returns; "whole"
            answers; "fails" does not start; "crashes" after its start; "leaves" returns
            after its start.
    """

    def __init__(self, kind: str = "whole") -> None:
        self.kind = kind
        self.sessions: list[EdgegapSession] = []
        self.closed_at_shutdown: bool | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        self.sessions.append(scope["state"]["edgegap"])
        for message in ANSWER:
            await send(message)

    async def _lifespan(self, scope: Any, receive: Receive, send: Send) -> None:
        if self.kind == "none":
            raise ValueError("can only handle HTTP")
        if self.kind == "silent":
            return
        await receive()
        self.sessions.append(scope["state"]["edgegap"])
        if self.kind == "fails":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        if self.kind == "crashes":
            raise ZeroDivisionError
        if self.kind == "leaves":
            return
        await receive()
        self.closed_at_shutdown = "closed" in repr(self.sessions[0])
        await send({"type": "lifespan.shutdown.complete"})


def is_closed(session: EdgegapSession) -> bool:
    return "closed" in repr(session)


@pytest.mark.measured
@pytest.mark.parametrize("kind", ["whole", "none", "silent", "crashes", "leaves"])
async def test_one_session_serves_all_requests_until_the_shutdown(kind: str) -> None:
    inner = Recorder(kind)
    app = EdgegapMiddleware(inner)
    async with lifespan(app) as state:
        for _ in range(3):
            assert (await call(app, state, "GET", "/"))[0] == 200
        session = inner.sessions[0]
        assert {*map(id, inner.sessions)} == {id(session)}
        assert state["edgegap"] is session
        assert not is_closed(session)
    assert is_closed(session)
    # The application may still use it while it shuts down.
    assert inner.closed_at_shutdown == (False if kind == "whole" else None)


async def test_the_shutdown_stops_servers_before_it_is_complete() -> None:
    async with Simulator(ready_after=(0, 0)) as sim:
        inner = Recorder("none")
        app = EdgegapMiddleware(
            inner, lambda: EdgegapSession("made-up", base_url=sim.url)
        )
        async with lifespan(app) as state:
            await running(state["edgegap"]).__aenter__()
            assert sim.running()
        assert sim.deployed()
        assert forgotten(sim) == set()


async def answers_of(app: App) -> list[Message]:
    """What an application answers to a startup and a shutdown."""
    answers: list[Message] = []
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(asked)

    async def send(message: Message) -> None:
        answers.append(message)

    with suppress(LookupError, OSError, TypeError, ValueError, EdgegapError):
        await app({"type": "lifespan"}, receive, send)
    return answers


async def test_an_application_that_does_not_start_closes_the_session() -> None:
    inner = Recorder("fails")
    assert await answers_of(EdgegapMiddleware(inner)) == [
        {"type": "lifespan.startup.failed", "message": "no database"}
    ]
    assert is_closed(inner.sessions[0])


async def test_a_session_that_cannot_be_made_is_a_failed_startup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN")
    (answer,) = await answers_of(EdgegapMiddleware(Recorder()))
    assert answer["type"] == "lifespan.startup.failed"
    assert "EDGEGAP_API_TOKEN" in answer["message"]


def from_environment() -> EdgegapSession:
    return EdgegapSession(os.environ["A_VARIABLE_THAT_IS_NOT_SET"])


def with_a_typo() -> EdgegapSession:
    return EdgegapSession(timeuot=5)  # type: ignore[call-arg]


def from_a_file() -> EdgegapSession:
    return EdgegapSession(Path("/no/such/file").read_text())


def forgets_to_return() -> EdgegapSession:
    EdgegapSession()
    return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (from_environment, "A_VARIABLE_THAT_IS_NOT_SET"),
        (with_a_typo, "timeuot"),
        (from_a_file, "/no/such/file"),
        (forgets_to_return, "session() must be a EdgegapSession, not NoneType"),
        (lambda: EdgegapSession, "session() must be a EdgegapSession, not the class"),
    ],
)
async def test_whatever_the_maker_of_the_session_does_wrong_is_a_failed_startup(
    make: Any, named: str
) -> None:
    """A server takes an error without an answer for an application without a lifespan,
    and starts it.
    """
    app = EdgegapMiddleware(Recorder(), make)
    (answer,) = await answers_of(app)
    assert answer["type"] == "lifespan.startup.failed"
    assert named in answer["message"]


async def test_a_startup_that_failed_raises_the_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Starlette's TestClient waits forever for the shutdown otherwise."""
    monkeypatch.delenv("EDGEGAP_API_TOKEN")
    app, answers = EdgegapMiddleware(Recorder()), list[Message]()

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        answers.append(message)

    with pytest.raises(ValueError, match="EDGEGAP_API_TOKEN"):
        await app({"type": "lifespan"}, receive, send)
    assert [answer["type"] for answer in answers] == ["lifespan.startup.failed"]


async def test_a_session_without_the_webhooks_of_the_middleware_is_refused() -> None:
    webhooks = receiver()
    for other in (None, receiver()):
        app = EdgegapMiddleware(
            Recorder(),
            lambda other=other: EdgegapSession(webhooks=other),
            webhooks=webhooks,
        )
        (answer,) = await answers_of(app)
        assert answer["type"] == "lifespan.startup.failed"
        assert "EdgegapSession(webhooks=...)" in answer["message"]
    app = EdgegapMiddleware(
        Recorder(), lambda: EdgegapSession(webhooks=webhooks), webhooks=webhooks
    )
    assert (await answers_of(app))[0]["type"] == "lifespan.startup.complete"


async def test_a_session_that_is_closed_or_of_another_loop_is_a_failed_startup() -> (
    None
):
    closed = EdgegapSession()
    await closed.aclose()
    (answer,) = await answers_of(EdgegapMiddleware(Recorder(), lambda: closed))
    assert answer["type"] == "lifespan.startup.failed"
    assert "closed" in answer["message"]

    async def enter() -> EdgegapSession:
        return await EdgegapSession().__aenter__()

    other = await asyncio.to_thread(asyncio.run, enter())
    (answer,) = await answers_of(EdgegapMiddleware(Recorder(), lambda: other))
    assert answer["type"] == "lifespan.startup.failed"
    assert "event loop" in answer["message"]
    await other.aclose()


async def test_without_a_lifespan_a_request_gets_the_error_of_the_maker() -> None:
    inner = Recorder()
    app = EdgegapMiddleware(inner, forgets_to_return)
    with pytest.raises(ValueError, match=r"^session\(\) must be a EdgegapSession"):
        await call(app, {}, "GET", "/")
    assert inner.sessions == []


async def test_an_error_of_the_shutdown_reaches_the_server() -> None:
    sessions: list[EdgegapSession] = []

    async def inner(scope: Any, receive: Receive, send: Send) -> None:
        sessions.append(scope["state"]["edgegap"])
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(10), lifespan_raising(EdgegapMiddleware(inner)):
            pass
    assert is_closed(sessions[0])


class lifespan_raising:  # noqa: N801 - used like `lifespan`
    def __init__(self, app: App) -> None:
        self.app = app

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None:
        asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Message:
            return next(asked)

        async def send(message: Message) -> None: ...

        await self.app({"type": "lifespan"}, receive, send)


async def test_a_server_that_cancels_the_lifespan_closes_the_session() -> None:
    async with Simulator(ready_after=(0, 0)) as sim:
        inner = Recorder("none")
        app = EdgegapMiddleware(
            inner, lambda: EdgegapSession("made-up", base_url=sim.url)
        )
        state: dict[str, Any] = {}
        never = asyncio.Event()

        async def receive() -> Message:
            await never.wait()
            raise AssertionError

        async def send(message: Message) -> None: ...

        scope = {"type": "lifespan", "state": state}
        task = asyncio.ensure_future(app(scope, receive, send))
        await asyncio.sleep(0.1)
        await running(state["edgegap"]).__aenter__()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sim.deployed()
        assert forgotten(sim) == set()


@pytest.mark.parametrize("given", [None, "app"])
def test_wrong_arguments_are_named(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^app "):
        EdgegapMiddleware(given)
    with pytest.raises(ValueError, match=r"^session "):
        EdgegapMiddleware(Recorder(), "session")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^webhooks "):
        EdgegapMiddleware(Recorder(), webhooks="url")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^name "):
        EdgegapMiddleware(Recorder(), name="")


async def test_the_name_in_the_state_can_be_chosen() -> None:
    async with lifespan(EdgegapMiddleware(Recorder("none"), name="games")) as state:
        assert isinstance(state["games"], EdgegapSession)


# Without a lifespan.


@pytest.fixture
def server_handler() -> Iterator[list[int]]:
    """The signals that reach the server, with uvicorn's kind of handlers."""
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        seen.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {each: signal.signal(each, handle) for each in numbers}
    # A shell may let commands in its background ignore it.
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_a_lifespan_a_signal_closes_the_session_before_the_server(
    number: signal.Signals, server_handler: list[int]
) -> None:
    async with Simulator(ready_after=(0, 0), delay_before=(0.5, 0.5)) as sim:
        inner = Recorder("none")
        app = EdgegapMiddleware(
            inner, lambda: EdgegapSession("made-up", base_url=sim.url)
        )
        for _ in range(2):
            assert (await call(app, {}, "GET", "/"))[0] == 200
        assert inner.sessions[0] is inner.sessions[1]
        await running(inner.sessions[0]).__aenter__()
        signal.raise_signal(number)
        await asyncio.sleep(0.1)
        # systemd and the supervisor of the server both send it.
        signal.raise_signal(number)
        await asyncio.sleep(0.1)
        assert server_handler == []
        await asyncio.sleep(2)
        assert server_handler == [number]
        assert sim.deployed()
        assert forgotten(sim) == set()
        # No new session is opened for requests that still come.
        await call(app, {}, "GET", "/")
        with pytest.raises(SessionClosed):
            await inner.sessions[-1].deployments.list()


async def test_without_a_lifespan_a_second_signal_reaches_the_server_at_once(
    server_handler: list[int],
) -> None:
    no_stops = Fault("stop", "503-before")
    async with Simulator(ready_after=(0, 0), faults=[no_stops]) as sim:
        inner = Recorder("none")
        app = EdgegapMiddleware(
            inner, lambda: EdgegapSession("made-up", base_url=sim.url)
        )
        await call(app, {}, "GET", "/")
        session = inner.sessions[0]
        await running(session).__aenter__()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert server_handler == []
        signal.raise_signal(signal.SIGINT)
        assert server_handler == [signal.SIGINT]
        # The first one follows when the session is closed.
        await asyncio.sleep(10)
        assert server_handler == [signal.SIGINT, signal.SIGTERM]
        assert {it for it, _ in session.leftovers} == forgotten(sim) != set()


@pytest.mark.parametrize("kind", ["whole", "none"])
async def test_the_loss_of_the_terminal_ends_a_server_as_sigterm(
    kind: str, server_handler: list[int]
) -> None:
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    async with Simulator(ready_after=(0, 0)) as sim:
        inner = Recorder(kind)
        app = EdgegapMiddleware(
            inner, lambda: EdgegapSession("made-up", base_url=sim.url)
        )
        async with lifespan(app) if kind == "whole" else nullcontext({}) as state:
            assert (await call(app, state, "GET", "/"))[0] == 200
            await running(inner.sessions[0]).__aenter__()
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(2)
            assert server_handler == [signal.SIGTERM]
        assert sim.deployed()
        assert forgotten(sim) == set()
    if kind == "whole":
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, print])
async def test_a_hangup_that_is_ignored_or_handled_stays_so(
    handler: Any, server_handler: list[int]
) -> None:
    signal.signal(signal.SIGHUP, handler)
    app = EdgegapMiddleware(Recorder("none"))
    await call(app, {}, "GET", "/")
    assert signal.getsignal(signal.SIGHUP) is handler
    assert server_handler == []


def loops_without_a_lifespan(app: App, times: int) -> list[ReferenceType[Any]]:
    """Call an application as the clients of tests do, each time in a loop of its own.

    Returns:
        The loops.
    """
    loops: list[ReferenceType[Any]] = []

    async def test() -> None:
        loops.append(ref(asyncio.get_running_loop()))
        assert (await call(app, {}, "GET", "/"))[0] == 200

    for _ in range(times):
        asyncio.run(test())
    gc.collect()
    return loops


def test_in_tests_without_a_lifespan_no_handler_of_signals_stays() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(each) for each in numbers]
    app = EdgegapMiddleware(Recorder("none"))
    loops_without_a_lifespan(app, 3)
    assert [signal.getsignal(each) for each in numbers] == before


@pytest.fixture
def usual_ctrl_c() -> Iterator[None]:
    """Handle Ctrl-C as usual. A shell lets commands in its background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_ctrl_c")
def test_in_tests_without_a_lifespan_ctrl_c_ends_the_test_as_usual() -> None:
    app = EdgegapMiddleware(Recorder("none"))
    ended = False

    async def test() -> None:
        nonlocal ended
        await call(app, {}, "GET", "/")
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    for _ in range(2):
        ended = False
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(test())
        assert ended


def test_in_tests_without_a_lifespan_ended_loops_and_sessions_are_released(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A record that pytest keeps has an error, whose frames have the loop. Frameworks in
    # other tests lower the level.
    caplog.set_level(logging.WARNING, "edgegap_async")
    made: list[ReferenceType[EdgegapSession]] = []

    def make() -> EdgegapSession:
        # Nothing listens there.
        session = EdgegapSession(base_url="http://127.0.0.1:9")
        made.append(ref(session))
        return session

    async def entirely(scope: Any, receive: Receive, send: Send) -> None:
        with suppress(OSError, EdgegapError):
            await scope["state"]["edgegap"].deployments.list(timeout=0.01)
        for message in ANSWER:
            await send(message)

    app = EdgegapMiddleware(entirely, make)
    loops = loops_without_a_lifespan(app, 4)
    # The last one is released with the next.
    assert [loop() is None for loop in loops] == [True, True, True, False]
    assert [session() is None for session in made] == [True, True, True, False]
    asyncio.run(last(made).aclose())


def last(made: list[ReferenceType[EdgegapSession]]) -> EdgegapSession:
    session = made[-1]()
    assert session
    return session
