"""The pytest fixture `edgegap_simulator`: the API on loopback, for tests of any kind.

The fixture is synchronous and its server runs in a thread, so it needs no async plugin
and serves any client, also one in another process. Every pytest run in an environment
with this package imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from .server import Simulator

_MARKER = (
    "edgegap_simulator(**options): the arguments with which the fixture "
    "edgegap_simulator makes its Simulator: error_share=0.5, ..."
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def edgegap_simulator_made(request: pytest.FixtureRequest) -> Simulator:
    """Return the `Simulator` that `edgegap_simulator` starts.

    Override this fixture to make your own.
    """
    from .server import Simulator

    options: dict[str, Any] = {}
    # The closest marker comes first and has precedence.
    for marker in request.node.iter_markers("edgegap_simulator"):
        if marker.args:
            pytest.fail(
                "the marker edgegap_simulator takes arguments by name only, "
                f"not {marker.args!r}"
            )
        options = {**marker.kwargs, **options}
    return Simulator(**options)


@pytest.fixture
def edgegap_simulator(edgegap_simulator_made: Simulator) -> Iterator[Simulator]:
    """A running `Simulator` in real time: set your client's base URL to its `.url`,
    then check its counts.

    Configure it with the marker `@pytest.mark.edgegap_simulator(error_share=0.5)`,
    which takes the arguments of `Simulator` by name. Markers of the class and module
    apply too; the closest one has precedence. Or override the fixture
    `edgegap_simulator_made` and return your own.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    started: Future[Callable[[], object]] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="edgegap_simulator") as pool:
        serving = pool.submit(_serve, edgegap_simulator_made, started)
        stop = started.result()
        try:
            yield edgegap_simulator_made
        finally:
            if not serving.done():
                stop()
            serving.result()


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

    # A fixed loop, whatever loop the tests have configured.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        try:
            runner.run(serve())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise
