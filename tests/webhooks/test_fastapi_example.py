"""The FastAPI example: its route for webhooks, and the whole application with the
simulated API.
"""

import asyncio
import runpy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from support.asgi import App, LoopbackServer, call, lifespan, loopback
from support.limiter_model import now
from support.paths import ROOT
from support.webhook_samples import BODY, SECRET, path, receiver

from edgegap_async.simulator import Fault, Simulator
from edgegap_async.webhooks import LONGEST_BODY, WebhookEvent

EXAMPLE = ROOT / "examples" / "webhooks_fastapi.py"
BASE = "http://127.0.0.1/webhooks"
CHUNK = 65536


@pytest.fixture
def app() -> App:
    app: App = runpy.run_path(str(EXAMPLE))["app"]
    return app


async def test_the_example_answers_204_to_an_event_and_404_to_anything_else(
    app: App,
) -> None:
    hooks, events = receiver(BASE), list[WebhookEvent]()
    hooks.listen(events.append)
    good = path(hooks)
    for where, body, status in [
        (good, BODY, 204),
        (good, b"no status", 404),
        (good[:-1], BODY, 404),
        (path(receiver(BASE, None)), BODY, 404),
    ]:
        assert await call(app, {"receiver": hooks}, "POST", where, [body]) == (
            status,
            b"",
        )
    assert (await call(app, {"receiver": hooks}, "GET", good))[0] == 405
    assert len(events) == 1


async def test_the_example_works_behind_a_root_path_and_a_proxy(
    app: App,
) -> None:
    hooks = receiver("http://127.0.0.1/api/webhooks")
    whole = path(hooks)
    assert (
        await call(app, {"receiver": hooks}, "POST", whole, [BODY], root_path="/api")
    )[0] == 204
    assert (
        await call(app, {"receiver": hooks}, "POST", whole.removeprefix("/api"), [BODY])
    )[0] == 204


async def test_the_example_reads_no_more_than_a_mebibyte(app: App) -> None:
    hooks = receiver(BASE)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield BODY
        while True:
            read += CHUNK
            yield b" " * CHUNK

    assert await call(app, {"receiver": hooks}, "POST", path(hooks), endless()) == (
        404,
        b"",
    )
    assert read <= LONGEST_BODY + CHUNK


@asynccontextmanager
async def running(
    app: App, monkeypatch: pytest.MonkeyPatch, **options: Any
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
        async with lifespan(app) as state:
            served.app, served.state = app, state
            yield sim, served


async def test_the_example_starts_a_match_and_is_notified_by_webhook(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All polls fail, so only a webhook can resolve the waiter.
    faults = [Fault("status", "503-before"), Fault("list", "503-before")]
    async with (
        running(app, monkeypatch, faults=faults) as (sim, served),
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
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(app, monkeypatch, error_share=1.0) as (sim, served),
        aiohttp.ClientSession(served.url) as http,
    ):
        async with http.post("/matches", json={"players": ["203.0.113.7"]}) as answer:
            assert answer.status == 503
        assert len(sim.deployed()) == 1
        await asyncio.sleep(1)
        assert {*sim.deployed()} == sim.stopped()
