"""The pytest fixture `edgegap_session`: an open session that calls the simulator of the
test, `edgegap_simulator`.

    async def test_a_match_is_started(edgegap_session, edgegap_simulator):
        await my_matchmaker.start(edgegap_session)
        assert len(edgegap_simulator.running()) == 1

pytest-asyncio runs it, or where that is not installed, the plugin of anyio. It is in real
time, and on the event loop of the test function.
"""

# Every pytest run in an environment with this package imports this module. So it imports
# nothing that takes long.

import sys

import pytest

# The modules of the plugins that run asynchronous fixtures.
RUNNERS = ("pytest_asyncio", "anyio.pytest_plugin")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixture if there is a plugin that can run it."""
    if any(name in sys.modules for name in RUNNERS):
        from . import _session_fixture

        config.pluginmanager.register(_session_fixture, "edgegap_session_fixture")
