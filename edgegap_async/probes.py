"""Probes: checks that the game server of a READY deployment accepts players.

READY does not mean that the game listens already. So `wait_until_ready` can await a
probe after READY.

A probe is an async callable that takes a `ReadyDeployment`. It returns once the game
accepts players; its return value is ignored. If it raises an error, the wait raises
that error. A probe need not end by itself: the time-out of the wait cancels it.

    async def answers(server: ReadyDeployment) -> None:
        host, port = server.address("gameport")
        # `ping` stands for a request in the protocol of your game.
        while not await ping(host, port):
            await asyncio.sleep(0.2)

    await edgegap.deployments.wait_until_ready(request_id, probe=answers)
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable, signature
from typing import TypeAlias, cast

from .models._check import fail, seconds, shown, text, whole_number
from .models.deployment import (
    ReadyDeployment,
    UnknownPort,
    known_ports,
    ports_of,
)

Probe: TypeAlias = Callable[[ReadyDeployment], Awaitable[object]]
# Seconds between two attempts: the first, the longest, and the growth. Most games
# listen within the first.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.1, 1.0, 1.5
HIGHEST_PORT = 65535


def checked_probe(argument: str, given: object) -> Probe:
    """Check a probe that a method was given. Whether it returns an awaitable is not known
    before it is called.
    """
    takes_one = callable(given) and not isinstance(given, type)
    # Some callables of C have no signature.
    with suppress(ValueError):
        try:
            signature(cast("Probe", given)).bind(None)
        except TypeError:
            takes_one = False
    if not takes_one:
        fail(argument, "must be an async callable that takes a ReadyDeployment")
    return cast("Probe", given)


def started_probe(
    argument: str, probe: Probe, server: ReadyDeployment
) -> Awaitable[object]:
    """Call a probe.

    Raises:
        ValueError: it returned something that can't be awaited.
    """
    checking = probe(server)
    if not isawaitable(checking):
        fail(
            argument, f"must return an awaitable, not {shown(checking)}: use async def"
        )
    return checking


async def finish_probe(checking: Awaitable[object]) -> None:
    """Await what a probe has returned.

    Raises:
        RuntimeError: something that it awaited was cancelled. The caller was not.
    """
    try:
        await checking
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("what the probe awaited was cancelled") from error


def tcp(port: str | int, *, timeout: float = 1.0) -> Probe:
    """Return a probe that waits until a TCP port accepts a connection.

    The probe closes the connection at once. It sends no request to the API.

    An accepted connection does not prove that the game listens: the host may accept
    connections for the container before. In that case, write a probe that uses the
    protocol of the game. UDP has no connections, so a game on UDP needs its own probe
    too.

    The probe raises LookupError if the deployment has no such port, or if that port is
    UDP. The text lists the known ports.

    Args:
        port: the key of the port, its name or its internal number, as for
            `ReadyDeployment.address`.
        timeout: seconds for each attempt to connect. If the host name has several
            addresses, each of them is an attempt.

    Raises:
        ValueError: an argument is wrong.
    """
    wanted: str | int = (
        text("port", port)
        if isinstance(port, str)
        else whole_number("port", port, 1, HIGHEST_PORT)
    )
    limit = seconds("timeout", timeout)

    async def connect(server: ReadyDeployment) -> None:
        host, number = server.address(_tcp_port(server, wanted))
        pause = FIRST_PAUSE
        while not await _accepts(host, number, limit):
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    return connect


def _tcp_port(server: ReadyDeployment, port: str | int) -> str | int:
    """Return the key of a port that may accept connections.

    Raises:
        UnknownPort: the port is UDP.
    """
    found = list(ports_of(server, port))
    usable = [each for each in found if (each.protocol or "").upper() != "UDP"]
    if found and not usable:
        raise UnknownPort(
            f"port {str(port)!r} of deployment {server.request_id} is UDP, which has no connections to probe: write a "
            f"probe that uses the protocol of the game; the ports are: {known_ports(server)}"
        )
    return next((key for key, each in server.ports.items() if each in usable), port)


async def _accepts(host: str, port: int, timeout: float) -> bool:
    """Return whether one of the addresses of a host accepts a connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # The name does not exist yet, or no resolver answers. This includes
        # TimeoutError.
        return False
    # Each address has a time-out of its own. So an address family without a route does
    # not use up the time of the other one.
    for *_, address in found:
        try:
            async with asyncio.timeout(timeout):
                # `create_connection` does not suspend once the connection is open, so a
                # cancellation can't leak the connection.
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, str(address[0]), port
                )
        except OSError:
            continue
        transport.abort()
        return True
    return False
