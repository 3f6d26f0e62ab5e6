"""READY is not "the game listens": probes, which `wait_until_ready` awaits once the API
says READY.

A probe is an async callable that is given the `ReadyDeployment`. It returns when the
game is there (what it returns is not looked at), and what it raises goes to who waits.
It need not end by itself: when the wait's time is over, it is cancelled.

    async def answers(server: ReadyDeployment) -> None:
        host, port = server.address("gameport")
        while not await ping(host, port):  # what your game understands
            await asyncio.sleep(0.2)

    await edgegap.deployments.wait_until_ready(request_id, probe=answers)
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .models._check import seconds, text, whole_number
from .models.deployment import ReadyDeployment

Probe: TypeAlias = Callable[[ReadyDeployment], Awaitable[object]]
# Seconds between two tries. Most games listen within the first.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.1, 1.0, 1.5
HIGHEST_PORT = 65535


def tcp(port: str | int, *, timeout: float = 1.0) -> Probe:
    """A probe that connects to a TCP port until it is accepted, and closes the connection at once.

    It tells no more than that: where the host accepts for the container, a game that
    does not listen yet looks as if it did; then write a probe that speaks the game's
    protocol. For UDP there is no such probe at all.

    The probe raises LookupError, which names the ports there are, if the deployment has
    no such port.

    Args:
        port: its key, its name or its internal number, as for
            `ReadyDeployment.address`.
        timeout: seconds for one try to connect; the deployment's name may stand for
            several addresses, each a try.

    Raises:
        ValueError: an argument is wrong.
    """
    if isinstance(port, str):
        text("port", port)
    else:
        whole_number("port", port, 1, HIGHEST_PORT)
    seconds("timeout", timeout)

    async def connects(server: ReadyDeployment) -> None:
        host, number = server.address(port)
        pause = FIRST_PAUSE
        while not await _accepts(host, number, timeout):
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    return connects


async def _accepts(host: str, port: int, timeout: float) -> bool:
    """Whether one of the host's addresses accepts a connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # The name does not exist yet, or no resolver answers. TimeoutError is an
        # OSError.
        return False
    # One after the other: an address family without a route uses up its own time, not
    # the other's.
    for *_, address in found:
        try:
            async with asyncio.timeout(timeout):
                # It waits for nothing after it has the connection, so a cancellation
                # can't come between.
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, str(address[0]), port
                )
        except OSError:
            continue
        transport.abort()
        return True
    return False
