"""The simulator's page in headless Chromium, and programs that use the simulator."""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from edgegap_async.simulator import Simulator
from support.plain_client import DEPLOY, Plain

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Milliseconds, generous for a busy machine.
PATIENCE = 30_000
# Chromium writes this for answers that the page expects, and shows to the user: a wrong
# value, and a deployment that is forgotten.
EXPECTED = ("status of 400", "_simulator/deployments/")


def required() -> str:
    """Return the path of Chromium, or skip the test."""
    pytest.importorskip("playwright", reason="the extra `browser` is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    return CHROMIUM


@contextmanager
def chromium(*args: str) -> Iterator[Any]:
    """Start a browser."""
    path = required()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", *args]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open the page in a tab. Nothing may go wrong in it, and it may contact no other
    server.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []

    def read(message: Any) -> None:
        text = f"{message.text} {message.location}"
        if message.type in ("error", "warning") and not any(
            each in text for each in EXPECTED
        ):
            problems.append(text)

    def check(request: Any) -> None:
        if not request.url.startswith(url):
            problems.append(request.url)

    page.on("console", read)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", check)
    page.goto(url)
    page.wait_for_selector("body[data-stream=live]")
    try:
        yield page
        assert problems == []
    finally:
        context.close()


def client(simulator: Simulator, *calls: tuple[str, str, Any]) -> list[tuple[int, Any]]:
    """Send requests at once, as another program does; return statuses and bodies."""

    async def send() -> list[tuple[int, Any]]:
        headers = {"Authorization": "token made-up"}
        async with aiohttp.ClientSession(simulator.url, headers=headers) as http:
            api = Plain(http)
            return await asyncio.gather(*(api(*call) for call in calls))

    # Playwright has a loop in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, send()).result()


def deploy(simulator: Simulator, count: int = 1, **changes: Any) -> list[str]:
    """Deploy, and return the IDs."""
    body = {**DEPLOY, **changes}
    answers = client(simulator, *[("POST", "/v2/deployments", body)] * count)
    assert {status for status, _ in answers} == {202}
    return [answer["request_id"] for _, answer in answers]


def stop(simulator: Simulator, ids: list[str]) -> None:
    """Stop deployments."""
    client(simulator, *[("DELETE", f"/v1/stop/{each}", None) for each in ids])


@contextmanager
def served(simulator: Simulator) -> Iterator[None]:
    """Run a simulator in a thread."""

    async def serve(
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
    ) -> None:
        ended = asyncio.Event()
        async with simulator:
            started.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve(started))
        loop, ended = started.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)
            serving.result()
