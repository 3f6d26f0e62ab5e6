"""The pytest fixture `edgegap_simulator`: a simulator of the API on loopback.

The fixture is synchronous, and its server runs in a thread. So it needs no async
plugin, and it serves any client, even one in another process.
"""

# Every pytest run in an environment with this package imports this module. So it imports
# nothing that takes long.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from .server import Simulator

_MARKER = (
    "edgegap_simulator(**options): arguments of the Simulator of the fixture "
    "edgegap_simulator, such as error_share=0.5; with env=True, the environment names it"
)
# What a client sends to a simulator that accepts any token.
_MADE_UP = "made-up"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of the markers of a test. A wrong one fails the test, and is
    named.
    """
    from inspect import signature

    from ..models._check import closest
    from .server import Simulator

    known = [*signature(Simulator).parameters, "env"]
    options: dict[str, Any] = {}
    # The closest marker comes first and has precedence.
    for marker in request.node.iter_markers("edgegap_simulator"):
        if marker.args:
            pytest.fail(
                "the marker edgegap_simulator takes arguments by name only, "
                f"not {marker.args!r}",
                pytrace=False,
            )
        for name in marker.kwargs:
            if name not in known:
                meant = closest(name, known)
                hint = f"did you mean {meant}?" if meant else "see Simulator"
                pytest.fail(
                    f"the marker edgegap_simulator has no argument {name!r}: {hint}",
                    pytrace=False,
                )
        options = {**marker.kwargs, **options}
    return options


@pytest.fixture
def edgegap_simulator_made(request: pytest.FixtureRequest) -> Simulator:
    """Return the `Simulator` that `edgegap_simulator` starts.

    Override this fixture to make your own.
    """
    from .server import Simulator

    options = marked(request)
    options.pop("env", None)
    try:
        return Simulator(**options)
    except (TypeError, ValueError) as error:
        pytest.fail(f"the marker edgegap_simulator: {error}", pytrace=False)


@pytest.fixture
def edgegap_simulator(
    request: pytest.FixtureRequest, edgegap_simulator_made: Simulator
) -> Iterator[Simulator]:
    """Run a `Simulator` in real time, and yield it.

    Set the base URL of your client to its `.url`. Then check its counts.

    The marker `@pytest.mark.edgegap_simulator(error_share=0.5)` takes the arguments of
    `Simulator` by name. Markers of the class and of the module apply too; the closest
    one has precedence. With `env=True`, EDGEGAP_API_TOKEN and EDGEGAP_BASE_URL name the
    simulator until the end of the test, so that `EdgegapSession()` and the command line
    call it. To use a simulator of your own, override the fixture
    `edgegap_simulator_made`.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    in_environment = marked(request).get("env", False)
    started: Future[Callable[[], object]] = Future()
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(1, thread_name_prefix="edgegap_simulator") as pool,
    ):
        serving = pool.submit(_serve, edgegap_simulator_made, started)
        stop = started.result()
        try:
            if in_environment:
                for name, value in client_of(edgegap_simulator_made).items():
                    patch.setenv(name, value)
            yield edgegap_simulator_made
        finally:
            if not serving.done():
                stop()
            serving.result()


def client_of(simulator: Simulator) -> dict[str, str]:
    """Return the environment of a client of a simulator."""
    return {
        "EDGEGAP_API_TOKEN": simulator.token or _MADE_UP,
        "EDGEGAP_BASE_URL": simulator.url,
    }


def _serve(simulator: Simulator, started: Future[Callable[[], object]]) -> None:
    """Serve until the function that `started` receives is called.

    If the simulator can't start, `started` receives the exception.
    """
    import asyncio

    async def serve() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        async with simulator:
            started.set_result(lambda: loop.call_soon_threadsafe(stopped.set))
            await stopped.wait()

    # It does not depend on the loop that the tests have configured.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        try:
            runner.run(serve())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise
