"""The pytest fixture `edgegap_simulator`: a simulator of the API on loopback.

The fixture is synchronous, and its server runs in a thread. So it needs no async
plugin, and it serves any client, even one in another process.

Every pytest run in an environment with this package imports this module. So it imports
nothing that takes long.
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
    "edgegap_simulator(**options): arguments of the Simulator of the fixture "
    "edgegap_simulator, such as error_share=0.5"
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
    """Run a `Simulator` in real time, and yield it.

    Set the base URL of your client to its `.url`. Then check its counts.

    The marker `@pytest.mark.edgegap_simulator(error_share=0.5)` takes the arguments of
    `Simulator` by name. Markers of the class and of the module apply too; the closest
    one has precedence. To use a simulator of your own, override the fixture
    `edgegap_simulator_made`.
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

    # It does not depend on the loop that the tests have configured.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        try:
            runner.run(serve())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise
