"""The pytest fixture `edgegap_simulator`: the API on loopback, for tests of any kind.

It is synchronous and the server lives in a thread, so it needs no async plugin and
serves any client, also one in another process. Every pytest run in an environment with
this package imports this file: so nothing heavy here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from .server import Simulator

_MARKER = "edgegap_simulator(**options): how the fixture edgegap_simulator makes its Simulator: error_share=0.5, ..."


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def edgegap_simulator_made(request: pytest.FixtureRequest) -> Simulator:
    """The `Simulator` that `edgegap_simulator` starts, made as the marker says;
    override it to make your own.
    """
    from .server import Simulator

    options: dict[str, Any] = {}
    # the closest first
    for marker in request.node.iter_markers("edgegap_simulator"):
        if marker.args:
            pytest.fail(
                f"the marker edgegap_simulator takes arguments by name only, not {marker.args!r}"
            )
        options = {**marker.kwargs, **options}
    return Simulator(**options)


@pytest.fixture
def edgegap_simulator(edgegap_simulator_made: Simulator) -> Iterator[Simulator]:
    """A running `Simulator`, in real time: point your client to its `.url`, then ask it
    what has arrived.

    Configure it with the marker `@pytest.mark.edgegap_simulator(error_share=0.5)`,
    which takes the arguments of `Simulator` by name (those of a class or module too,
    where the test names no other), or with a fixture `edgegap_simulator_made` of your
    own that returns one.
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
    """Serve until what `started` is set to is called; if it can't start, that says why."""
    import asyncio

    async def serve() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        async with simulator:
            started.set_result(lambda: loop.call_soon_threadsafe(stopped.set))
            await stopped.wait()

    # The plainest loop there is, whatever policy the tests have set.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        try:
            runner.run(serve())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise
