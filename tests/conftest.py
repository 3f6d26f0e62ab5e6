"""What all tests share: virtual time, and a look after each test for what it left
behind.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses
from coverage import Coverage
from hypothesis import HealthCheck, settings

from edgegap_async._limits.limiter import Limiter
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# This machine may be busy: how long an example takes says nothing.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_time: runs on asyncio's own loop and clock"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Any]:
    """Virtual time unless a test says otherwise: twenty seconds of pacing take some
    milliseconds.
    """
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}


_limiters: WeakSet[Limiter] = WeakSet()


@pytest.fixture(scope="session", autouse=True)
def limiters_are_noted() -> Iterator[None]:
    """For the look after each test: to search the whole heap for them took two thirds
    of the suite's time.
    """
    make = Limiter.__init__

    def make_and_note(self: Limiter, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        _limiters.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Limiter, "__init__", make_and_note)
        yield


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task, or a slot of a limiter. (Open connections are
    warnings, and those are errors.)
    """
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
    for limiter in list(_limiters):
        usage = limiter.usage()
        assert (usage.in_flight, usage.waiting) == (0, 0), (
            f"slots or waiters left behind: {usage}"
        )


@pytest.fixture(autouse=True)
def checked(request: pytest.FixtureRequest) -> None:
    """Every asynchronous test is looked at; for the others a loop would be made for
    nothing.
    """
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("nothing_left_behind")


@pytest.fixture(autouse=True)
def untraced_if_slow(request: pytest.FixtureRequest) -> Iterator[None]:
    """Do not measure the coverage of slow tests: tracing doubles their time, and the
    quick tests reach the same lines.
    """
    coverage = Coverage.current() if request.node.get_closest_marker("slow") else None
    if coverage is None:
        yield
        return
    coverage.stop()
    try:
        yield
    finally:
        coverage.start()


class _Response(ClientResponse):
    """aioresponses 0.7.9 does not know an argument that aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=SimpleNamespace(output_size=0), **kwargs)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """The wire of aiohttp, with answers of the test's choice."""
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as answers:
        yield answers
