"""Makes the pictures of a load test's report and of the command line, in docs/images.

The load test runs in virtual time. The commands run in a pseudo-terminal, and a terminal
emulator says what it shows. It needs the extra `browser`, and Debian's package `chromium`.

    python benchmarks/report_pictures.py
    python benchmarks/report_pictures.py --to /tmp
"""

import argparse
import asyncio
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgegap_async import DeployRequest, EdgegapSession, load
from edgegap_async.load.page import page_of
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from pyte.screens import Char

IMAGES = Path(__file__).parent.parent / "docs" / "images"
ROOT = Path(__file__).parent.parent
SEED = 7
# The plan of the load test: a ramp to the limit, and then the limit.
LIMIT, RAMP, HOLD = 40, 30, 60
# Name of the picture, width and height in pixels, and colours.
PAGES = (
    ("report-light", 1160, 1480, "light"),
    ("report-dark-narrow", 390, 1480, "dark"),
)
# Of a terminal, in characters.
COLUMNS, MOST_LINES = 100, 60
# Name of the picture, and arguments of the program. Each ends by itself.
COMMANDS = (
    ("terminal-ps", ("ps", "--simulate")),
    ("terminal-launch", ("launch", "examples/matches.jsonl", "--simulate")),
    (
        "terminal-load",
        ("load", "--simulate", "--rate", "20", "--hold", "8s", "--lifetime", "3s"),
    ),
)
# The colours of a terminal, by the names that the emulator gives them.
PALETTE = {
    "default": "#e6e6e6",
    "green": "#4cc38a",
    "red": "#ff7386",
    "brown": "#f0c544",
    "blue": "#5aa9f8",
    "cyan": "#56c7d6",
    "magenta": "#b491ee",
    "black": "#6a727d",
    "white": "#ffffff",
}
# Pixels of a character, and around the text.
CELL, LINE, EDGE = 8.4, 19, 18
GAP = "\N{NO-BREAK SPACE}"
# Of a long output, the lines at its beginning and its end.
FIRST, LAST = 8, 9


async def report() -> load.Report:
    """Run a load test of 90 s with some faults."""
    faults = [Fault("deploy", "cut-after", 0.01), Fault("deploy", "422", 0.01)]
    players = [(40.7, -74.0), (50.1, 8.7)]
    request = DeployRequest("arena", "2.4.1", users=players)
    plan = load.Plan(
        request=request, ramp=load.Ramp(5, LIMIT, RAMP), hold=HOLD, lifetime=20
    )
    simulator = Simulator(
        seed=SEED, error_share=0.004, faults=faults, delay_after=(0.02, 0.2)
    )
    async with (
        simulator,
        EdgegapSession("made-up", base_url=simulator.url) as edgegap,
    ):
        found = await load.run(plan, edgegap)
    conditions = ("ready_p95<6s", "failed<2%", "schedule_kept>95%")
    return load.check(found, [load.Threshold.parse(each) for each in conditions])


async def take(page: Path, folder: Path, chromium: str) -> None:
    """Take pictures of the report."""
    from playwright.async_api import async_playwright
    from screenshots import reduce

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium)
        for name, width, height, scheme in PAGES:
            tab = await browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="light" if scheme == "light" else "dark",
            )
            await tab.goto(page.as_uri())
            path = folder / f"{name}.png"
            await tab.screenshot(path=path)
            reduce(path)
            print(f"{path}: {path.stat().st_size:,} bytes")
        await browser.close()


def shown(args: tuple[str, ...]) -> "list[list[Char]]":
    """Run a command in a terminal, and return the lines that it leaves there."""
    from pyte import ByteStream, Screen

    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", MOST_LINES, COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgegap_async", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "EDGEGAP_API_TOKEN": "made-up"},
    )
    os.close(theirs)
    screen = Screen(COLUMNS, MOST_LINES)
    stream = ByteStream(screen)
    while True:
        try:
            data = os.read(ours, 65_536)
        except OSError:
            # Linux says so if nobody has the other end any more.
            break
        if not data:
            break
        stream.feed(data)
    os.close(ours)
    assert process.wait() == 0, args
    rows = [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(MOST_LINES)]
    while rows and not "".join(cell.data for cell in rows[-1]).strip():
        rows.pop()
    return rows


def picture(command: str, rows: "list[list[Char]]") -> str:
    """Draw the lines of a terminal, as SVG."""
    lines = [*map(runs, rows)]
    if len(lines) > FIRST + LAST + 1:
        lines[FIRST:-LAST] = [[("  ...", "default", False)]]
    lines.insert(0, [("$ " + command, "default", True)])
    width = int(COLUMNS * CELL + 2 * EDGE)
    height = len(lines) * LINE + 2 * EDGE
    texts: list[str] = []
    for number, line in enumerate(lines):
        x, y = float(EDGE), EDGE + (number + 0.75) * LINE
        for text, color, bold in line:
            # SVG would join several spaces.
            inner = text.strip().replace(" ", GAP)
            start = x + (len(text) - len(text.lstrip())) * CELL
            x += len(text) * CELL
            if inner:
                weight = ' font-weight="600"' if bold else ""
                texts.append(
                    f'<text x="{start:.1f}" y="{y:.1f}" textLength="{len(inner) * CELL:.1f}" '
                    f'fill="{PALETTE.get(color, PALETTE["default"])}"{weight}>{escape(inner)}</text>'
                )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(command)}">'
        f'<rect width="100%" height="100%" rx="10" fill="#12151a"/>'
        f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">'
        f"{''.join(texts)}</g></svg>\n"
    )


def runs(row: "list[Char]") -> list[tuple[str, str, bool]]:
    """Join characters of one colour."""
    joined: list[Any] = []
    for cell in row:
        kind = (cell.fg, cell.bold)
        if joined and joined[-1][1:] == kind:
            joined[-1] = (joined[-1][0] + cell.data, *kind)
        else:
            joined.append((cell.data, *kind))
    return joined


def main(folder: Path, chromium: str) -> None:
    """Make all pictures."""
    for name, args in COMMANDS:
        path = folder / f"{name}.svg"
        path.write_text(picture(f"edgegap {' '.join(args)}", shown(args)))
        print(f"{path}: {path.stat().st_size:,} bytes")
    with TemporaryDirectory() as directory:
        page = Path(directory) / "report.html"
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            found = runner.run(report())
        page.write_text(page_of(found))
        share = sum(found.series.sent[RAMP : RAMP + HOLD]) / HOLD / LIMIT
        print(f"{share:.3f} of the limit was used while it was asked for")
        asyncio.run(take(page, folder, chromium))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=IMAGES)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    if options.chromium is None:
        parser.error("there is no chromium: install it, or name it with --chromium")
    options.to.mkdir(parents=True, exist_ok=True)
    main(options.to, options.chromium)
