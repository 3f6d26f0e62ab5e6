"""What docs/stopping.md shows is correct."""

import os
import re
import signal
import threading
from typing import Any

import pytest
from support.owning import forgotten
from support.paths import ROOT
from support.programs import until

from edgegap_async.simulator import Simulator

PAGE = (ROOT / "docs" / "stopping.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def example(part: str) -> Any:
    (code,) = (block for block in BLOCKS if part in block)
    return compile(code, "stopping.md", "exec")


@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.0)
def test_the_plain_program_stops_its_server_at_sigterm(
    edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def terminate() -> None:
        until(edgegap_simulator.running)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    try:
        killer.start()
        with pytest.raises(SystemExit) as ended:
            exec(example("wait_ended"), {"__name__": "stopping"})  # noqa: S102 - our page
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert edgegap_simulator.deployed()
    assert forgotten(edgegap_simulator) == set()


@pytest.mark.full
@pytest.mark.parametrize("part", ["get_asgi_application", "UvicornWorker"])
def test_the_other_programs_run(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn_worker")
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="made-up")
    monkeypatch.setenv("WEBHOOK_SECRET", "0123456789abcdef")
    exec(example(part), {"__name__": "stopping"})  # noqa: S102 - our page
