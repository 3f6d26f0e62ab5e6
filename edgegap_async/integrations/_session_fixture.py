"""The pytest fixture `edgegap_session`. It needs pytest-asyncio, or the plugin of anyio."""

import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, cast

import pytest

from ..session import BASE_URL_VARIABLE, TOKEN_VARIABLE, EdgegapSession
from ..simulator import Simulator
from ..simulator.plugin import client_of

F = TypeVar("F", bound=Callable[..., object])


def _async_fixture() -> Callable[[F], F]:
    """The decorator of asynchronous fixtures: in its strict mode, pytest-asyncio runs only
    its own.
    """
    plugin = sys.modules.get("pytest_asyncio", pytest)
    return cast("Callable[[F], F]", plugin.fixture)


@_async_fixture()
async def edgegap_session(
    edgegap_simulator: Simulator,
) -> AsyncIterator[EdgegapSession]:
    """An open session that calls the simulator of the test, in real time. It is closed
    after the test.
    """
    found = client_of(edgegap_simulator)
    session = EdgegapSession(found[TOKEN_VARIABLE], base_url=found[BASE_URL_VARIABLE])
    async with session:
        yield session
