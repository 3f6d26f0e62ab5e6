"""Takes the screenshots of the simulator's page in docs/images, with Chromium.

A program that starts servers for matches all over the world uses a simulator for a
while. It needs the extra `browser`, and Debian's package `chromium`.

    python benchmarks/screenshots.py                the files in docs/images
    python benchmarks/screenshots.py --seconds 20 --to /tmp
"""

import argparse
import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from edgegap_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from playwright.async_api import Browser

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTH, HEIGHT = 1440, 900
# The page has the font of the system, which is different on each.
FONT = ":root { --sans: Inter, system-ui; --mono: 'Liberation Mono' }"
SEED, PORT = 7, 8099
# Matches per second, and the seconds that each lasts.
RATE, LIFETIME = 34.0, (15.0, 60.0)
APPLICATIONS = (
    ("arena", "2.4.1"),
    ("arena", "2.4.1"),
    ("arena", "2.4.0"),
    ("lobby", "1.9.0"),
)
TAGS = (["ranked"], ["casual"], [])
OK = 202
# Where players are: latitude, longitude, and how many of them.
CROWDS = (
    (39.0, -77.5, 12),
    (34.1, -118.2, 11),
    (50.1, 8.7, 13),
    (35.7, 139.7, 10),
    (51.5, -0.1, 9),
    (32.8, -96.8, 9),
    (-23.6, -46.6, 8),
    (45.5, -73.6, 7),
    (48.9, 2.4, 7),
    (1.4, 103.8, 7),
    (19.1, 72.9, 6),
    (43.6, -79.3, 5),
    (59.3, 18.1, 4),
    (-33.9, 151.2, 4),
    (25.2, 55.3, 3),
    (-26.2, 28.0, 2),
)
FAULTS = [
    Fault("deploy", "cut-after", 0.02),
    Fault("status", "502-before", 0.05),
    Fault("webhook", "lost", 0.01),
]


async def play(http: aiohttp.ClientSession, random: Random, hooks: str) -> None:
    """Start a server for one match, and stop it at its end."""
    latitude, longitude, _ = random.choices(CROWDS, [weight for *_, weight in CROWDS])[
        0
    ]
    application, version = random.choice(APPLICATIONS)
    body = {
        "application": application,
        "version": version,
        "users": [
            {
                "user_type": "geo_coordinates",
                "user_data": {"latitude": latitude, "longitude": longitude},
            }
        ],
        "tags": [f"match-{random.getrandbits(24):06x}", *random.choice(TAGS)],
        "webhook_on_ready": {"url": hooks},
        "webhook_on_terminated": {"url": hooks},
        "environment_variables": [
            {"key": "GAME_MODE", "value": "ranked 5v5", "is_hidden": False},
            {"key": "API_SECRET", "value": "made-up", "is_hidden": True},
        ],
    }
    try:
        async with http.post("/v2/deployments", json=body) as response:
            made = await response.json(content_type=None)
    except aiohttp.ClientError:
        # A fault has closed the connection: the server runs on without its match.
        return
    await asyncio.sleep(random.uniform(*LIFETIME))
    if response.status == OK:
        await (await http.delete(f"/v1/stop/{made['request_id']}")).read()


async def poll(http: aiohttp.ClientSession, random: Random) -> None:
    """Call the API as a dashboard does that keeps to no limit."""
    while True:
        lists = random.choice((3, 5, 6, 7, 8, 12))
        for _ in range(lists):
            async with http.get("/v1/deployments", params={"limit": "10"}) as response:
                page = await response.json(content_type=None)
            for row in page.get("data", [])[: random.randrange(3)]:
                await (await http.get(f"/v1/status/{row['request_id']}")).read()
            await asyncio.sleep(1 / lists)


@asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """Receive webhooks, and yield their URL."""

    async def receive(request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{path:.*}", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.001)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    finally:
        await runner.cleanup()


async def use(http: aiohttp.ClientSession, random: Random, hooks: str) -> None:
    """Start matches until it is cancelled."""
    async with asyncio.TaskGroup() as matches:
        matches.create_task(poll(http, random))
        while True:
            matches.create_task(play(http, random, hooks))
            await asyncio.sleep(random.expovariate(RATE))


async def take(url: str, folder: Path, browser: "Browser") -> None:
    """Take one screenshot of the page, and one of the details in dark colours."""
    for scheme in ("light", "dark"):
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme=scheme,
            # The page itself allows no other style than its own.
            bypass_csp=True,
        )
        await page.goto(url)
        await page.add_style_tag(content=FONT)
        await page.wait_for_selector(".rowline")
        if scheme == "dark":
            await page.fill("#filter", "tag:ranked")
            await page.click(".chip[data-group=ready]")
            await page.locator(".rowline").nth(3).click()
            await page.wait_for_selector("#d-body section")
        # The rings around what is new.
        await page.wait_for_timeout(1500)
        path = folder / f"simulator-{scheme}.png"
        await page.screenshot(path=path)
        await page.close()
        reduce(path)
        print(f"{path}: {path.stat().st_size:,} bytes")


def reduce(path: Path) -> None:
    """Reduce a picture to 256 colours, which are enough for the page."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(
            path, optimize=True
        )


async def main(seconds: float, folder: Path, chromium: str) -> None:
    """Use a simulator for so many seconds, then take the screenshots."""
    from playwright.async_api import async_playwright

    random = Random(SEED)
    simulator = Simulator(seed=SEED, error_share=0.004, faults=FAULTS, port=PORT)
    headers = {"Authorization": "token made-up"}
    async with (
        simulator,
        receiver() as hooks,
        aiohttp.ClientSession(simulator.url, headers=headers) as http,
    ):
        using = asyncio.create_task(use(http, random, hooks))
        await asyncio.wait([using], timeout=seconds)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium)
            await take(simulator.url, folder, browser)
            await browser.close()
        using.cancel()
        await asyncio.wait([using])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=130)
    parser.add_argument("--to", type=Path, default=IMAGES)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    if options.chromium is None:
        parser.error("there is no chromium: install it, or name it with --chromium")
    options.to.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(options.seconds, options.to, options.chromium))
