"""The FastAPI example: the whole application with the simulated API."""

import asyncio
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from support.asgi import App, LoopbackServer, lifespan, loopback
from support.limiter_model import now
from support.paths import ROOT
from support.webhook_samples import SECRET

from edgegap_async.simulator import Fault, Simulator

EXAMPLE = ROOT / "examples" / "webhooks_fastapi.py"


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[tuple[Simulator, LoopbackServer]]:
    """Serve the application at a URL that the simulated API can reach."""
    async with (
        Simulator(ready_after=(3.0, 3.0), **options) as sim,
        loopback() as served,
    ):
        monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
        monkeypatch.setenv("EDGEGAP_BASE_URL", sim.url)
        monkeypatch.setenv("PUBLIC_URL", served.url)
        monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
        app: App = runpy.run_path(str(EXAMPLE))["application"]()
        async with lifespan(app) as state:
            served.app, served.state = app, state
            yield sim, served


async def test_the_example_starts_a_match_and_is_notified_by_webhook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All polls fail, so only a webhook can resolve the waiter.
    faults = [Fault("status", "503-before"), Fault("list", "503-before")]
    async with (
        running(monkeypatch, faults=faults) as (sim, served),
        aiohttp.ClientSession(served.url) as http,
    ):
        began = now()
        async with http.post("/matches", json={"players": ["203.0.113.7"]}) as answer:
            assert answer.status == 200, await answer.text()
            server = await answer.json(content_type=None)
        assert 3.0 <= now() - began < 3.2
        async with http.post("/matches", json={"players": ["nobody"]}) as answer:
            assert answer.status == 422
        # The program owns the server now, so it is not stopped.
        assert sim.running() == {server["request_id"]}
        hooks = [
            (where.split("/")[2], status)
            for where, status in served.answers
            if where.startswith("/webhooks/")
        ]
    assert hooks == [("ready", 204)]
    assert server["request_id"] in server["host"]
    assert server["port"] > 0


async def test_the_example_reports_a_match_without_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        running(monkeypatch, error_share=1.0) as (sim, served),
        aiohttp.ClientSession(served.url) as http,
    ):
        async with http.post("/matches", json={"players": ["203.0.113.7"]}) as answer:
            assert answer.status == 503
        assert len(sim.deployed()) == 1
        await asyncio.sleep(1)
        assert {*sim.deployed()} == sim.stopped()
