"""A probe returns as soon as the port listens and leaves no connection behind."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from support.limiter_model import now
from support.owning import SteppingLoop
from support.raw_server import answer, scripted

from edgegap_async import ReadyDeployment
from edgegap_async.models.deployment import Port
from edgegap_async.probes import LONGEST_PAUSE, Probe, tcp


def ready(external: int, host: str | None = "127.0.0.1") -> ReadyDeployment:
    ports = {
        "game": Port(external=external, internal=7777, protocol="TCP", name="gameport")
    }
    return ReadyDeployment(request_id="c065", fqdn=host, ports=ports)


class Game:
    """A port on loopback that refuses connections until it listens, and records them
    from then on.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]
        self.accepted: list[float] = []
        self.closed: list[float] = []
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._socket)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted.append(now())
        try:
            assert await reader.read() == b""
        finally:
            self.closed.append(now())
            writer.transport.abort()

    def close(self) -> None:
        if self._server:
            self._server.close()
        self._socket.close()


@asynccontextmanager
async def game(listens_after: float | None = 0.0, **where: Any) -> AsyncIterator[Game]:
    it = Game(**where)

    async def begin() -> None:
        if listens_after is not None:
            await asyncio.sleep(listens_after)
            await it.listen()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(begin())
            yield it
            # The end of a connection takes some turns to arrive.
            await asyncio.sleep(0.01)
    finally:
        it.close()


@contextmanager
def never_accepts(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A port whose queue of connections is full, so that none is made or refused until
    one is accepted.
    """
    with socket.socket() as listening, socket.socket() as first:
        listening.bind((host, 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield listening


@pytest.mark.parametrize("port", ["game", "gameport", 7777, "7777"])
async def test_a_probe_connects_once_and_closes_at_once(port: str | int) -> None:
    async with game() as it:
        await asyncio.sleep(0.1)
        began = now()
        await tcp(port)(ready(it.port))
        assert now() - began < 0.5
        await asyncio.sleep(5)
    assert len(it.accepted) == 1
    assert it.closed[0] - it.accepted[0] < 0.01


# Looking up the address takes real time, so half a second is added to each pause.
@pytest.mark.parametrize(
    ("listens_after", "late"), [(0.05, 0.6), (0.3, 0.7), (5.0, 1.5), (100.0, 1.5)]
)
async def test_a_probe_retries_until_the_port_listens(
    listens_after: float, late: float
) -> None:
    async with game(listens_after) as it:
        began = now()
        await tcp("game")(ready(it.port))
        assert listens_after <= now() - began <= listens_after + late
    assert len(it.accepted) == len(it.closed) == 1


async def test_a_probe_pauses_longer_after_each_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, times = asyncio.get_running_loop(), list[float]()

    async def unknown(*args: object, **options: object) -> list[object]:
        times.append(now())
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(loop, "getaddrinfo", unknown)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await tcp("game")(ready(1, "game.example"))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == sorted(pauses, key=lambda pause: round(pause, 3))
    assert pauses[0] == pytest.approx(0.1, abs=0.001)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.001)
    assert 60 <= len(pauses) <= 66


async def test_a_port_that_never_accepts_is_retried() -> None:
    with never_accepts() as listening:
        began = now()
        probe = asyncio.create_task(
            tcp("game", timeout=0.5)(ready(listening.getsockname()[1]))
        )
        await asyncio.sleep(3)
        assert not probe.done()
        listening.listen(100)
        listening.accept()[0].close()
        await probe
        assert now() - began < 5


async def test_a_probe_tries_every_address_of_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    with never_accepts() as dead:
        port = dead.getsockname()[1]

        async def two(host: str, port: int, **options: object) -> list[object]:
            assert host == "game.example"
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in ("127.0.0.1", "127.0.0.2")
            ]

        monkeypatch.setattr(loop, "getaddrinfo", two)
        async with game(host="127.0.0.2", port=port) as it:
            began = now()
            await tcp("game", timeout=2.0)(ready(port, "game.example"))
            assert 2.0 <= now() - began < 2.1
        assert len(it.accepted) == 1


@pytest.mark.parametrize(
    ("port", "host", "message"),
    [("web", "127.0.0.1", r"'web'.*game \(7777/TCP\)"), ("game", None, "fqdn")],
)
async def test_a_missing_port_or_host_is_reported_at_once(
    port: str, host: str | None, message: str
) -> None:
    began = now()
    with pytest.raises(LookupError, match=message):
        await tcp(port)(ready(1, host))
    assert now() - began < 0.01


async def test_a_probe_that_cant_be_awaited_is_an_error_that_says_so() -> None:
    ready_now = ready(1)

    def plain(server: ReadyDeployment) -> None:
        assert server.request_id == "c065"

    status = {"request_id": "c065", "current_status": "Status.READY"}
    named = {"fqdn": ready_now.fqdn, "ports": {"game": {"external": 1}}}
    async with scripted(answer(200, status | named)) as (edgegap, _):
        with pytest.raises(ValueError, match=r"^probe must return .*async def"):
            await edgegap.deployments.wait_until_ready("c065", probe=plain)  # type: ignore[arg-type]


def with_ports(*ports: Port) -> ReadyDeployment:
    named = {str(number): each for number, each in enumerate(ports)}
    return ReadyDeployment(request_id="c065", fqdn="127.0.0.1", ports=named)


@pytest.mark.parametrize("protocol", ["UDP", "udp"])
@pytest.mark.parametrize("port", ["0", "game", 7777])
async def test_a_udp_port_is_reported_at_once(protocol: str, port: str | int) -> None:
    udp = Port(external=1, internal=7777, protocol=protocol, name="game")
    web = Port(external=2, internal=80, protocol="TCP", name="web")
    began = now()
    with pytest.raises(LookupError, match=r"is UDP.*0 \(7777/.*1 \(80/TCP\)"):
        await tcp(port)(with_ports(udp, web))
    assert now() - began < 0.01


async def test_a_wait_with_a_probe_of_a_udp_port_ends_at_once() -> None:
    ports = {"game": {"external": 1, "internal": 7777, "protocol": "UDP"}}
    status = {
        "request_id": "c065",
        "current_status": "Status.READY",
        "fqdn": "127.0.0.1",
        "ports": ports,
    }
    async with scripted(answer(200, status)) as (edgegap, _):
        began = now()
        with pytest.raises(LookupError, match="UDP"):
            await edgegap.deployments.wait_until_ready("c065", probe=tcp("game"))
        assert now() - began < 1


@pytest.mark.parametrize("protocol", ["TCP", "HTTP", "WS", "TCP/UDP", None])
@pytest.mark.parametrize("port", ["game", 7777])
async def test_of_two_ports_with_one_number_the_probe_takes_that_which_connects(
    protocol: str | None, port: str | int
) -> None:
    async with game() as it:
        await asyncio.sleep(0.1)
        udp = Port(external=1, internal=7777, protocol="UDP", name="game")
        other = Port(external=it.port, internal=7777, protocol=protocol, name="game")
        await tcp(port)(with_ports(udp, other))
    assert len(it.accepted) == 1


@pytest.mark.parametrize("port", ["", " ", 0, 65536, True, 7.5, None, b"game"])
def test_an_invalid_port_is_rejected(port: Any) -> None:
    with pytest.raises(ValueError, match=r"^port "):
        tcp(port)


@pytest.mark.parametrize(
    "timeout", [0, -1, float("inf"), float("nan"), "1", None, True]
)
def test_an_invalid_timeout_is_rejected(timeout: Any) -> None:
    with pytest.raises(ValueError, match=r"^timeout "):
        tcp("game", timeout=timeout)


async def cancelled_in(turn: int, probe: Probe, listens_after: float | None) -> bool:
    """Cancel the probe in this turn of the loop; True if it had ended before. It must
    leave nothing behind.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    before = len(loop._clock.get_map())
    async with game(listens_after) as it:
        task = asyncio.ensure_future(probe(ready(it.port)))
        asked: list[bool] = []
        loop.begin({turn: lambda: asked.append(task.cancel())})
        await asyncio.wait([task])
        loop.begin({})
        assert task.cancelled() == (asked == [True])
        await asyncio.sleep(0.01)
        assert len(it.closed) == len(it.accepted)
    assert len(loop._clock.get_map()) == before, "sockets left behind"
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return not task.cancelled()


@pytest.mark.parametrize("listens_after", [0.0, 0.05])
def test_a_probe_cancelled_at_any_turn_leaves_no_connection(
    listens_after: float,
) -> None:
    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        turn = 1
        while not runner.run(cancelled_in(turn, tcp("game"), listens_after)):
            turn += 1
        gc.collect()
    assert turn > 5, "it ended before it did anything"
