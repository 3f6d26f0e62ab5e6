"""The fixture `edgegap_simulator`: the API in a thread, for tests that are not
asynchronous.
"""

import json
import sys
import threading
from http.client import HTTPConnection
from typing import Any

import pytest
from support.plain_client import DEPLOY

from edgegap_async.simulator import Simulator

pytest_plugins = "pytester"

HEADERS = {"Authorization": "token made-up"}


def call(
    simulator: Simulator, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """One request, in the way of a client that knows no asyncio."""
    connection = HTTPConnection(simulator.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, json.dumps(body), HEADERS)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_it_serves_and_its_counts_are_read_from_here(
    edgegap_simulator: Simulator,
) -> None:
    status, answer = call(edgegap_simulator, "POST", "/v2/deployments", DEPLOY)

    assert status == 202
    assert edgegap_simulator.running() == {answer["request_id"]}
    assert edgegap_simulator.deployed() == (answer["request_id"],)
    assert (
        edgegap_simulator.arrivals("deploy"),
        edgegap_simulator.refused("deploy"),
    ) == (1, 0)
    assert edgegap_simulator.busiest_second("deploy") == 1
    assert edgegap_simulator.counts()["stopped"] == []


@pytest.mark.edgegap_simulator(ready_after=(0, 0), error_share=1.0)
def test_a_marker_says_how_it_is_made(edgegap_simulator: Simulator) -> None:
    _, answer = call(edgegap_simulator, "POST", "/v2/deployments", DEPLOY)
    _, status = call(edgegap_simulator, "GET", f"/v1/status/{answer['request_id']}")

    assert status["current_status"] == "Status.ERROR"


@pytest.mark.edgegap_simulator(ready_after=(0, 0), error_share=0.0)
class TestWithAMarkerOfItsClass:
    @pytest.mark.edgegap_simulator(error_share=1.0)
    def test_the_closest_marker_says_what_it_names(
        self, edgegap_simulator: Simulator
    ) -> None:
        _, answer = call(edgegap_simulator, "POST", "/v2/deployments", DEPLOY)
        _, status = call(edgegap_simulator, "GET", f"/v1/status/{answer['request_id']}")
        assert status["current_status"] == "Status.ERROR"


class TestWithAFixtureOfTheUsersOwn:
    @pytest.fixture
    def edgegap_simulator_made(self) -> Simulator:
        return Simulator(token="right")

    def test_the_fixture_says_how_it_is_made(
        self, edgegap_simulator: Simulator
    ) -> None:
        assert call(edgegap_simulator, "GET", "/v1/locations")[0] == 401


def test_it_ends_with_its_test() -> None:
    # The fixtures of the tests above have been torn down: none of their threads lives.
    assert not [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("edgegap_simulator")
    ]


TEST_OF_A_USER = """
import pytest

@pytest.mark.edgegap_simulator(port={port})
def test_of_a_user(edgegap_simulator):
    pass
"""


@pytest.mark.parametrize("port", [0, None])
def test_it_needs_no_async_plugin_and_a_failure_to_start_is_told(
    port: int | None,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    edgegap_simulator: Simulator,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    taken = int(edgegap_simulator.url.rpartition(":")[2])
    pytester.makepyfile(TEST_OF_A_USER.format(port=taken if port is None else port))
    options = [
        "-p",
        "edgegap_async.simulator.plugin",
        "--strict-markers",
        "-W",
        "error",
    ]
    run = pytester.runpytest_subprocess(*options, timeout=60)

    run.stdout.fnmatch_lines("*1 passed*" if port == 0 else "*address already in use*")


def test_loading_the_plugin_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    program = "import sys, edgegap_async.simulator.plugin; print({'aiohttp', 'msgspec', 'asyncio'} & set(sys.modules))"
    run = pytester.run(sys.executable, "-c", program, timeout=60)

    assert run.outlines == ["set()"]


def test_a_marker_takes_names_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(TEST_OF_A_USER.replace("port={port}", "(0, 0)"))
    run = pytester.runpytest_subprocess(
        "-p", "edgegap_async.simulator.plugin", timeout=60
    )

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines("*takes arguments by name only*")
