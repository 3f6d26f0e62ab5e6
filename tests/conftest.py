"""Fixtures of all tests: virtual time, and a check that nothing is left behind."""

import asyncio
import gc
import importlib
import inspect
import os
import pkgutil
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from math import ceil
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses
from coverage import Coverage
from hypothesis import HealthCheck, settings
from support import turns
from support.each_choice import each_choice

import edgegap_async
from edgegap_async._limits.limiter import Limiter
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# The workers of pytest-xdist and the programs that tests start inherit this. Without
# bytecode, each of them compiles all modules that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell makes the commands in its background ignore Ctrl-C, and their children inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine, the time of an example has no meaning.
settings.register_profile(
    "full", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# Each run makes other examples, so many runs find what one run of 100 examples does.
settings.register_profile("default", settings.get_profile("full"), max_examples=25)
# The cases whose coverage is measured.
_MEASURED = pytest.StashKey[set[pytest.Item]]()


# Workers of `-n auto` for each core. Tests with real stores and processes wait in real
# time, which costs no core anything. But each worker collects all tests.
_WORKERS_PER_CORE = 1.5


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return ceil(_WORKERS_PER_CORE * (os.cpu_count() or 1))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="also run the tests that .ci/full adds"
    )


def values_of(item: pytest.Function) -> dict[str, int]:
    """Return the parameters of a case. Not all values are hashable, but the cases of a
    test share them.
    """
    return {name: id(value) for name, value in item.callspec.params.items()}


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what only `.ci/full` runs: further combinations of the arguments of tests
    that run anyway.
    """
    if config.getoption("--full"):
        return
    cases: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("full"):
            cases[item.nodeid.partition("[")[0]].append(item)
    chosen = [item for test in cases.values() for item in cases_by_default(test)]
    config.hook.pytest_deselected(items=[*({*items} - {*chosen})])
    items[:] = chosen


def cases_by_default(test: list[Any]) -> list[Any]:
    """Choose as many cases of a test as it takes for each value of each parameter to occur;
    of a slow test, one for each store.
    """
    if len(test) == 1 or test[0].get_closest_marker("all_combinations"):
        return test
    slow = [item for item in test if item.get_closest_marker("slow")]
    quick = [item for item in test if not item.get_closest_marker("slow")]
    if len(quick) > 1 and len(quick[0].callspec.params) > 1:
        quick = [quick[at] for at in each_choice([values_of(item) for item in quick])]
    of_store = {item.callspec.params.get("store_url"): item for item in slow[::-1]}
    chosen = {*quick, *of_store.values()}
    return [it for it in test if it in chosen or it.get_closest_marker("measured")]


def measured_cases(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Choose the cases whose coverage is measured, as tracing doubles the time of a case:
    one of each quick test, as further ones hardly reach further lines, and all of the
    tests that are marked `measured`.
    """
    chosen, tests = set[pytest.Item](), set[str]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        further = test in tests
        tests.add(test)
        if item.get_closest_marker("measured") or not (
            further or item.get_closest_marker("slow")
        ):
            chosen.add(item)
    return chosen


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Trace no collection, which takes twice as long then, but the imports of all modules,
    as the tests import them while they are collected.
    """
    # All tests stay until the end. To look for garbage among them takes a fifth of the time.
    gc.disable()
    coverage = Coverage.current()
    if coverage is None:
        return (yield)
    if session.config.getoption("numprocesses", None):
        # The workers run the tests, and this process passes on their reports.
        coverage.stop()
        return (yield)
    for module in pkgutil.walk_packages(edgegap_async.__path__, "edgegap_async."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    coverage.stop()
    try:
        return (yield)
    finally:
        coverage.start()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was collected out of garbage collections. With thousands of cases, each
    collection of a test took a tenth of a second.
    """
    session.config.stash[_MEASURED] = measured_cases(session.items)
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if config.getoption("--full") else "default")
    if config.getoption("--full"):
        turns.choose_all()
    config.addinivalue_line("markers", "full: run by .ci/full alone")
    config.addinivalue_line(
        "markers",
        "all_combinations: of the values of the parameters, where each one matters",
    )
    config.addinivalue_line(
        "markers", "measured: the coverage of all cases is measured, slow or not"
    )
    config.addinivalue_line(
        "markers", "real_time: runs on asyncio's own loop and clock"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Any]:
    """Run tests in virtual time, where twenty seconds of pacing take milliseconds,
    unless they are marked `real_time`.
    """
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}


_limiters: WeakSet[Limiter] = WeakSet()


@pytest.fixture(scope="session", autouse=True)
def limiters_recorded() -> Iterator[None]:
    """Record every limiter for the check after each test. Searching the heap for them
    took two thirds of the suite's time.
    """
    make = Limiter.__init__

    def make_and_record(self: Limiter, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        _limiters.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Limiter, "__init__", make_and_record)
        yield


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a slot behind. Open connections are warnings,
    which are errors here.
    """
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
    for limiter in list(_limiters):
        # All that usage() tells would take a twentieth of the suite's time.
        if limiter.slots.in_flight or any(limiter.queue.waiting.values()):
            pytest.fail(f"slots or waiters left behind: {limiter.usage()}")


@pytest.fixture(autouse=True)
def nothing_left_behind_if_async(request: pytest.FixtureRequest) -> None:
    """Check asynchronous tests only. For others, pytest would make a loop just for the
    check.
    """
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("nothing_left_behind")


@pytest.fixture(autouse=True)
def coverage_of_measured_cases(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Trace neither other cases nor the programs that they start."""
    coverage = Coverage.current()
    if coverage is None or request.node in request.config.stash[_MEASURED]:
        yield
        return
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    coverage.stop()
    try:
        yield
    finally:
        coverage.start()


@pytest.fixture
def fixed_seed() -> None:
    """Make the pauses before retries the same in each run. One in some thousands is shorter
    than a few turns of the loop.
    """
    random.seed(0)


class _Response(ClientResponse):
    """aioresponses 0.7.9 does not pass an argument that aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=SimpleNamespace(output_size=0), **kwargs)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers to aiohttp's requests without a connection."""
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as answers:
        yield answers
