"""An account on a simulator in virtual time, for commands that wait."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.raw_server import Act, RawServer

from edgegap_async import EdgegapSession
from edgegap_async.cli.program import program
from edgegap_async.simulator import Simulator, VirtualTimeLoop


class KeptLoop(VirtualTimeLoop):
    """A loop that a command does not close, as a simulator runs in it."""

    def close(self) -> None:
        pass

    async def shutdown_asyncgens(self) -> None:
        """Another command may follow."""
        await super().shutdown_asyncgens()
        self._asyncgens_shutdown_called = False

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Another command may follow."""
        await super().shutdown_default_executor(*args)
        self._executor_shutdown_called = False
        self._default_executor = None


@pytest.fixture
def loop() -> Iterator[KeptLoop]:
    loop = KeptLoop()
    yield loop
    VirtualTimeLoop.close(loop)


@pytest.fixture
def account(
    loop: KeptLoop,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Simulator]:
    """The simulator, with the options of the marker `edgegap_simulator`."""
    marker = request.node.get_closest_marker("edgegap_simulator")
    simulator = Simulator(**(marker.kwargs if marker else {}))
    loop.run_until_complete(simulator.__aenter__())
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", simulator.url)
    yield simulator
    loop.run_until_complete(simulator.__aexit__(None, None, None))


@pytest.fixture
def edgegap(loop: KeptLoop) -> Callable[..., Result]:
    """Runs a command on the loop of the account."""

    def invoke(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(
            program, args, obj=lambda: loop, catch_exceptions=False, **options
        )

    return invoke


@pytest.fixture
def scripted(
    loop: KeptLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RawServer]]:
    """Starts servers that follow a script. The last one is the API of the commands."""
    started: list[RawServer] = []

    def start(*acts: Act, **options: Any) -> RawServer:
        server = RawServer(*acts, **options)
        loop.run_until_complete(server.__aenter__())
        started.append(server)
        monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
        monkeypatch.setenv("EDGEGAP_BASE_URL", server.url)
        return server

    yield start
    for server in started:
        loop.run_until_complete(server.__aexit__(None, None, None))


@pytest.fixture
def run(loop: KeptLoop) -> Callable[..., Result]:
    def invoke(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(
            program,
            ["reap", *args],
            obj=lambda: loop,
            catch_exceptions=False,
            **options,
        )

    return invoke


@pytest.fixture
def deployed(loop: KeptLoop) -> Callable[..., list[str]]:
    """Deploys a server for each tag and returns the request IDs."""

    async def deploy(tags: Sequence[str]) -> list[str]:
        async with EdgegapSession() as edgegap:
            calls = (
                edgegap.deployments.deploy("game", "1", users=["192.0.2.1"], tags=[tag])
                for tag in tags
            )
            return [accepted.request_id for accepted in await asyncio.gather(*calls)]

    return lambda *tags: loop.run_until_complete(deploy(tags))
