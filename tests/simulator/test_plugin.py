"""The fixture `edgegap_simulator`: the API in a thread, for synchronous tests."""

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
    """Send one request with the standard library, without asyncio."""
    connection = HTTPConnection(simulator.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, json.dumps(body), HEADERS)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_it_serves_requests_and_its_counts_can_be_read(
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
    assert edgegap_simulator.counts()["stopped"] == 0


@pytest.mark.edgegap_simulator(ready_after=(0, 0), error_share=1.0)
def test_a_marker_configures_the_simulator(edgegap_simulator: Simulator) -> None:
    _, answer = call(edgegap_simulator, "POST", "/v2/deployments", DEPLOY)
    _, status = call(edgegap_simulator, "GET", f"/v1/status/{answer['request_id']}")

    assert status["current_status"] == "Status.ERROR"


@pytest.mark.edgegap_simulator(ready_after=(0, 0), error_share=0.0)
class TestWithAClassMarker:
    @pytest.mark.edgegap_simulator(error_share=1.0)
    def test_the_closest_marker_has_precedence(
        self, edgegap_simulator: Simulator
    ) -> None:
        _, answer = call(edgegap_simulator, "POST", "/v2/deployments", DEPLOY)
        _, status = call(edgegap_simulator, "GET", f"/v1/status/{answer['request_id']}")
        assert status["current_status"] == "Status.ERROR"


class TestWithAnOverriddenFixture:
    @pytest.fixture
    def edgegap_simulator_made(self) -> Simulator:
        return Simulator(token="right")

    def test_the_fixture_makes_the_simulator(
        self, edgegap_simulator: Simulator
    ) -> None:
        assert call(edgegap_simulator, "GET", "/v1/locations")[0] == 401


def test_no_thread_outlives_its_test() -> None:
    # The fixtures of the tests above have been torn down, and their threads with them.
    assert not [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("edgegap_simulator")
    ]


USER_TEST = """
import pytest

@pytest.mark.edgegap_simulator(port={port})
def test_user(edgegap_simulator):
    pass
"""


@pytest.mark.parametrize("port", [0, None])
def test_it_needs_no_async_plugin_and_reports_a_failed_start(
    port: int | None,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    edgegap_simulator: Simulator,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    taken = int(edgegap_simulator.url.rpartition(":")[2])
    pytester.makepyfile(USER_TEST.format(port=taken if port is None else port))
    options = [
        "-p",
        "edgegap_async.simulator.plugin",
        "--strict-markers",
        "-W",
        "error",
    ]
    run = pytester.runpytest_subprocess(*options, timeout=60)

    run.stdout.fnmatch_lines("*1 passed*" if port == 0 else "*address already in use*")


def test_the_plugin_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    program = (
        "import sys, edgegap_async.simulator.plugin; "
        "print({'aiohttp', 'msgspec', 'asyncio'} & set(sys.modules))"
    )
    run = pytester.run(sys.executable, "-c", program, timeout=60)

    assert run.outlines == ["set()"]


def test_a_marker_takes_arguments_by_name_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(USER_TEST.replace("port={port}", "(0, 0)"))
    run = pytester.runpytest_subprocess(
        "-p", "edgegap_async.simulator.plugin", timeout=60
    )

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines("*takes arguments by name only*")
