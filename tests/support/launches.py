"""Launches on a simulator in virtual time, as the `launch` command runs them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from edgegap_async import EdgegapSession, Limits
from edgegap_async.cli.matches import Match, read
from edgegap_async.cli.run_launch import run_launch
from edgegap_async.simulator import Simulator


def matches(count: int) -> Sequence[Match]:
    """Make so many matches with one player each."""
    return read(
        (b'{"match_id": "m%d", "players": ["192.0.2.1"]}' % n for n in range(count)),
        "game",
        "1",
    )[0]


@asynccontextmanager
async def session(
    simulator: Simulator, limits: Limits | None = None
) -> AsyncIterator[EdgegapSession]:
    """Start the simulator and open a session for it."""
    async with (
        simulator,
        EdgegapSession("made-up", base_url=simulator.url, limits=limits) as edgegap,
    ):
        yield edgegap


async def launch_matches(
    simulator: Simulator, count: int, *, timeout: float | None = 300, stop: bool = False
) -> int:
    """Launch so many matches on the simulator and return the exit code."""
    async with session(simulator) as edgegap:
        return await run_launch(
            edgegap, matches(count), timeout=timeout, stop=stop, simulator=simulator
        )
