"""An account on a simulator in virtual time, for `reap`, which waits for lists that lag."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgegap_async import EdgegapSession
from edgegap_async.cli.program import program
from edgegap_async.simulator import Simulator, VirtualTimeLoop


class KeptLoop(VirtualTimeLoop):
    """A loop that a command does not close, as a simulator runs in it."""

    def close(self) -> None:
        pass


@pytest.fixture
def loop() -> Iterator[KeptLoop]:
    loop = KeptLoop()
    yield loop
    VirtualTimeLoop.close(loop)


@pytest.fixture
def account(loop: KeptLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    simulator = Simulator()
    loop.run_until_complete(simulator.__aenter__())
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", simulator.url)
    yield simulator
    loop.run_until_complete(simulator.__aexit__(None, None, None))


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
