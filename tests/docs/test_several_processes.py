"""What docs/several-processes.md shows is correct."""

import logging
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.journals import journal_at
from support.ledger_reports import Ledger
from support.paths import ROOT
from support.programs import started, until
from support.stores import valkey

from edgegap_async import SharedState
from edgegap_async._shared.budget_store import budget_store
from edgegap_async._shared.ownership import Ownership
from edgegap_async._shared.relay_store import relay_store
from edgegap_async._shared.store import StoreError
from edgegap_async._shared.stores import make_store
from edgegap_async.simulator import Simulator

PAGE = (ROOT / "docs" / "several-processes.md").read_text()
EXAMPLE, RELAY, COMMAND, ACL = re.findall(
    r"^```\w*\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE
)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.0)
def test_the_program_and_the_command_work(
    edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    path = str(tmp_path / "edgegap.db")
    shown = "/var/lib/matchmaker/edgegap.db"
    assert shown in EXAMPLE
    assert shown in COMMAND
    key = SharedState(f"sqlite:///{path}").key_for(edgegap_simulator.url, "made-up")
    with started(EXAMPLE.replace(shown, path), edgegap_simulator) as program:
        until(edgegap_simulator.running)
        command = [*COMMAND.replace(shown, path).split(), "--key", key]
        assert command[0] == "python"

        def listed() -> str:
            run = subprocess.run(  # noqa: S603 (our own)
                [sys.executable, *command[1:]],
                capture_output=True,
                text=True,
                check=True,
            )
            return run.stdout

        until(lambda: '"held"' in listed())
        (request_id,) = edgegap_simulator.running()
        assert request_id in listed()
        program.send_signal(signal.SIGTERM)
        program.wait(20)
    assert edgegap_simulator.stopped() == {request_id}


def test_the_sessions_of_the_page_pass_webhooks_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    monkeypatch.setenv("WEBHOOK_SECRET", "a-common-secret-of-all")
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    names: dict[str, Any] = {}
    exec(RELAY, names)  # noqa: S102 (our own)
    assert names["edgegap"].webhooks is names["receiver"]
    assert names["receiver"].relay_keys
    assert caplog.messages == []


def use_all(url: str) -> None:
    """Do everything that is done with a journal, a budget and a relay."""
    store = make_store(SharedState(url), "studio")
    relay = relay_store(store, "studio")
    try:
        assert budget_store(store, "studio").serve(Ledger().report("a"), lambda: True)
        relay.read()
        relay.publish([b"message"])
        until(relay.read)
    finally:
        relay.close()
        store.close()
    with journal_at(url) as journal:
        dead, living = (Ownership(journal, 60.0, 0.0) for _ in range(2))
        assert dead.save({"a": b"{}", "b": b"{}"}, [])
        assert dead.save({}, ["a"])
        dead.leave({}, [])
        claimed = living.beat()
        assert claimed
        assert claimed[0].entries == (b"{}",)
        living.release([dead.name])


@pytest.mark.slow
def test_the_user_of_the_page_has_the_permissions_that_are_needed() -> None:
    permissions = [word for word in ACL.split() if word.startswith("+")]
    assert len(permissions) > 5
    with valkey() as server:
        server.command(*ACL.split())
        url = server.url.replace("unix://", "unix://edgegap:password@") + "?db=1"
        use_all(url)
        # None of them is too many.
        for permission in permissions:
            server.command("ACL", "SETUSER", "edgegap", permission.replace("+", "-"))
            server.command("FLUSHALL")
            server.command("SCRIPT", "FLUSH")
            with pytest.raises(StoreError, match="permission"):
                use_all(url)
            server.command("ACL", "SETUSER", "edgegap", permission)
        use_all(url)
