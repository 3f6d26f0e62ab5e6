"""Listens on the ports of deployments, as their containers do: while they are READY, each
port sends back what arrives.

A port is bound when its deployment is made, so that its number is known and nobody else
gets it. Until READY, connections to it are refused.
"""

import asyncio
import socket
from math import inf
from typing import cast

from ...models.version import PortSpec
from ..world.deployment import Deployment, Phase
from ..world.world import World
from .webhooks import TaskSet

HOST = "127.0.0.1"
# How often a number is tried that must be free for TCP and for UDP.
TRIES = 20
# Turns of the loop from the acceptance of a connection to its end.
TURNS = 4


class _Echo(asyncio.Protocol):
    """A TCP connection."""

    def __init__(self, container: "_Container") -> None:
        self._container = container

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._container.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._container.ended(self._transport)


class _EchoDatagrams(asyncio.DatagramProtocol):
    """A UDP port."""

    def __init__(self, container: "_Container") -> None:
        self._container = container

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._container.opened(self._transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


class _Container:
    """The ports of one deployment."""

    def __init__(self, ports: tuple[PortSpec, ...]) -> None:
        self._sockets = [_bound(port.protocol) for port in ports]
        self.numbers = tuple(found[0].getsockname()[1] for found in self._sockets)
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Transport | asyncio.DatagramTransport] = set()
        # Whether `listen` was called, and whether it is at work.
        self.listens = self._starting = False
        self._closed = False

    def listen(self, tasks: TaskSet) -> None:
        """Accept what comes from now on."""
        self.listens = self._starting = True
        tasks.add(asyncio.get_running_loop().create_task(self._listen()))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for each in self._all_sockets():
                if each.type == socket.SOCK_STREAM:
                    server = await loop.create_server(lambda: _Echo(self), sock=each)
                    self._servers.append(server)
                else:
                    await loop.create_datagram_endpoint(
                        lambda: _EchoDatagrams(self), sock=each
                    )
        finally:
            self._starting = False
            if self._closed:
                self._shut()

    def opened(self, transport: asyncio.Transport | asyncio.DatagramTransport) -> None:
        """A connection was accepted."""
        if self._closed:
            # It was in the queue of the kernel.
            transport.abort()
        else:
            self._open.add(transport)

    def ended(self, transport: asyncio.Transport) -> None:
        """A connection was closed."""
        self._open.discard(transport)

    def _all_sockets(self) -> list[socket.socket]:
        return [each for found in self._sockets for each in found]

    def close(self) -> None:
        """Close the ports and their connections."""
        self._closed = True
        # The loop must not watch a socket that is closed.
        if not self._starting:
            self._shut()

    def _shut(self) -> None:
        for server in self._servers:
            server.close()
        for transport in [*self._open]:
            # What is not sent yet is lost, as with a container that is gone.
            transport.abort()
        for each in self._all_sockets():
            each.close()


def _bound(protocol: str) -> list[socket.socket]:
    """Return sockets for a protocol, with one number. TCP/UDP has two of them."""
    kinds = [
        kind
        for kind, wanted in (
            (socket.SOCK_STREAM, protocol.upper() != "UDP"),
            (socket.SOCK_DGRAM, "UDP" in protocol.upper()),
        )
        if wanted
    ]
    for _ in range(TRIES):
        made: list[socket.socket] = []
        try:
            for kind in kinds:
                made.append(socket.socket(socket.AF_INET, kind))
                made[-1].setblocking(False)
                made[-1].bind((HOST, made[0].getsockname()[1]))
        except OSError:
            for each in made:
                each.close()
            if len(kinds) == 1:
                raise
        else:
            return made
    raise OSError("no port is free for both TCP and UDP")


class OpenPorts:
    """Opens and closes the ports of a world's deployments when their phases change."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._containers: dict[Deployment, _Container] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = TaskSet()

    def update(self) -> None:
        """Do what is due. Call it after each change of the world."""
        now = self._loop.time()
        for it in self._world.existing(now):
            if it.number >= 0 and it not in self._containers and it.allocated:
                container = self._containers[it] = _Container(it.ports)
                it.external = container.numbers
        due = inf
        for it, container in [*self._containers.items()]:
            phase = it.phase_at(now)
            if phase is Phase.READY and not container.listens:
                container.listen(self._tasks)
            elif phase not in (Phase.STARTING, Phase.READY):
                container.close()
                del self._containers[it]
            due = min(due, it.next_phase_change(now))
        if self._timer:
            self._timer.cancel()
        self._timer = None if due == inf else self._loop.call_at(due, self.update)

    async def reset(self) -> None:
        """Close all ports."""
        if self._timer:
            self._timer.cancel()
        await self._tasks.cancel()
        for container in self._containers.values():
            container.close()
        self._containers.clear()
        # The loop accepts, and ends, connections in further turns.
        for _ in range(TURNS):
            await asyncio.sleep(0)
