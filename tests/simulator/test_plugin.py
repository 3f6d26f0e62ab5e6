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


@pytest.mark.slow
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
        "import edgegap_async.integrations.pytest_session; "
        "print({'aiohttp', 'msgspec', 'asyncio'} & set(sys.modules))"
    )
    run = pytester.run(sys.executable, "-c", program, timeout=60)

    assert run.outlines == ["set()"]


@pytest.mark.full
@pytest.mark.slow
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


STRICT = """
import os
import pytest
from edgegap_async import EdgegapSession

seen = []

@pytest.mark.asyncio
@pytest.mark.edgegap_simulator(ready_after=(0, 0), env=True)
async def test_with_a_session(edgegap_session, edgegap_simulator):
    made = await edgegap_session.deployments.deploy("game", "1", users=["192.0.2.1"])
    assert edgegap_simulator.deployed() == (made.request_id,)
    assert os.environ["EDGEGAP_BASE_URL"] == edgegap_simulator.url
    async with EdgegapSession() as other:
        await other.deployments.stop(made.request_id)

def test_afterwards_the_environment_is_as_before():
    assert os.environ["EDGEGAP_BASE_URL"] == "https://before.example"
    assert "EDGEGAP_API_TOKEN" not in os.environ
"""


@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "mark"),
    [
        ("pytest_asyncio.plugin", "asyncio"),
        pytest.param("anyio", "anyio", marks=pytest.mark.full),
    ],
)
def test_asynchronous_tests_have_a_session_and_the_environment(
    plugin: str,
    mark: str,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("EDGEGAP_BASE_URL", "https://before.example")
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    test = STRICT.replace("mark.asyncio", f"mark.{mark}")
    if plugin == "anyio":
        plugin = "anyio.pytest_plugin"
        test += """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
    pytester.makepyfile(test)
    ours = (
        "edgegap_async.simulator.plugin",
        "edgegap_async.integrations.pytest_session",
    )
    options = [part for name in (plugin, *ours) for part in ("-p", name)]
    run = pytester.runpytest_subprocess(*options, timeout=60)

    run.assert_outcomes(passed=2)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("error_shar=1", "no argument 'error_shar': did you mean error_share?"),
        ("nothing_alike=1", "no argument 'nothing_alike'"),
        ("error_share=3", "error_share must be a share from 0 to 1, not 3"),
    ],
)
def test_a_wrong_argument_of_a_marker_is_named_in_one_line(
    argument: str,
    told: str,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(USER_TEST.replace("port={port}", argument))
    run = pytester.runpytest_subprocess(
        "-p", "edgegap_async.simulator.plugin", timeout=60
    )

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(f"*the marker edgegap_simulator*{told}*")
    assert len(run.outlines) < 20
