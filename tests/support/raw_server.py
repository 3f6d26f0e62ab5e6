"""A server on raw sockets that follows a script and records every request.

    # The first request gets a 503, the second a closed connection, all others a 200.
    async with RawServer(answer(503), CUT, answer(200, body)) as server:

An act is the reaction to one request. Acts are used in the order in which requests
arrive. `unread` acts are used in the order of connections. The last act is used for all
later requests.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest

from edgegap_async import EdgegapError, EdgegapSession, LimitUsage

TOKEN = "made-up-token"
# Seconds after which a request of a deploy is given up.
DEPLOY_ENDS = 31
# Connections that the documented limits need.
POOL = 110
ADDRESS = {"fqdn": "c065.example.net", "ports": {"web": {"external": 31000}}}
READY = {
    "request_id": "c065",
    "current_status": "Status.READY",
    "running": True,
    **ADDRESS,
}


@dataclass(frozen=True)
class Act:
    """The reaction to a request.

    Attributes:
        raw: the bytes to send.
        after: seconds before they are sent.
        silent: after this act, the connection stays open and nothing more is sent.
        cut: the connection is closed after this act.
        unread: the act applies to a connection as soon as it is accepted. If it does
            not end the connection, requests follow.
        headers_only: the act does not wait for the body of the request.
        again: seconds after which the bytes are sent a second time, unasked.
        own_status: the answer is the READY status of the deployment in the path.
        suspended: seconds for which the process is stopped once the bytes are sent, as
            by SIGSTOP or a closed lid: the clock goes on, and nothing else. Only in
            virtual time.
    """

    raw: bytes = b""
    after: float = 0.0
    silent: bool = False
    cut: bool = False
    unread: bool = False
    headers_only: bool = False
    again: float | None = None
    own_status: bool = False
    suspended: float = 0.0

    def later(self, seconds: float) -> "Act":
        """Return the same act after so many seconds."""
        return replace(self, after=seconds)


def answer(status: int = 200, body: object = READY, **headers: str) -> Act:
    """Return a complete response.

    Args:
        body: `str` and `bytes` are sent unchanged, any other value as JSON.
        headers: further headers, such as `retry_after="3"`.
    """
    data = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Length: {len(data)}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Act("\r\n".join([*lines, "", ""]).encode() + data)


def half(status: int = 200, body: object = READY) -> Act:
    """Return half of a response. The connection is closed in the middle of the body."""
    head, _, data = answer(status, body).raw.partition(b"\r\n\r\n")
    return Act(head + b"\r\n\r\n" + data[: len(data) // 2], cut=True)


def closed_after(act: Act) -> Act:
    """Return an act that closes the connection without a `Connection: close`."""
    return replace(act, cut=True)


ACCEPTED = answer(202, {"request_id": "c065"})
OWN_STATUS = Act(own_status=True)
# The request is read completely, then the connection is cut.
CUT = Act(cut=True)
CUT_UNREAD = Act(cut=True, unread=True)
CUT_IN_BODY = Act(cut=True, headers_only=True)
SILENT = Act(silent=True)
# The first half of a response, and never the rest.
STUCK = replace(half(), cut=False, silent=True)
GARBAGE = Act(b"\x16\x03\x01 this is not HTTP\r\n\r\n", cut=True)


@dataclass(frozen=True)
class Arrival:
    """A recorded request.

    `time` is the time of the loop. `connection` is the number of its connection, from
    1.
    """

    time: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


class RawServer:
    """A server on loopback, which listens inside its `async with`.

    Args:
        acts: the script.
        closed: whether it refuses connections until `listen()` is called.
        lists: the act for each list of deployments. The script then applies to all
            other requests.
        routes: the acts for requests whose paths begin so.
    """

    def __init__(
        self,
        *acts: Act,
        closed: bool = False,
        lists: Act | None = None,
        routes: Mapping[str, Act] | None = None,
    ) -> None:
        self._acts = list(acts or [OWN_STATUS])
        self._closed = closed
        self._lists = lists
        self._routes = routes or {}
        self.arrivals: list[Arrival] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        bound = socket.socket()
        # The server can then listen again while connections are open.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self._server = await asyncio.start_server(
            self._accept, sock=bound, backlog=1024, start_serving=not self._closed
        )
        return self

    def show(self, lists: Act) -> None:
        """Answer each list of deployments with this act from now on."""
        self._lists = lists

    async def listen(self) -> None:
        """Accept connections from now on."""
        if not self._server.sockets:
            port = int(self.url.rpartition(":")[2])
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        await self._server.start_serving()

    def refuse(self) -> None:
        """Refuse new connections from now on. Open ones continue."""
        self._server.close()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def times(self) -> list[float]:
        """The times of the requests, in seconds after the first one."""
        return [arrival.time - self.arrivals[0].time for arrival in self.arrivals]

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self.writers.append(writer)
        task = asyncio.create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: int,
    ) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                if self._acts[0].unread and await _perform(
                    self._next(), reader, writer
                ):
                    return
                while not await _perform(
                    await self._read(reader, connection), reader, writer
                ):
                    pass
        finally:
            writer.transport.abort()

    def _next(self, method: str = "", path: str = "") -> Act:
        if self._lists and method == "GET" and path.startswith("/v1/deployments"):
            return self._lists
        for start, act in self._routes.items():
            if path.startswith(start):
                return act
        return self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Act:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split()
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        now, act = asyncio.get_running_loop().time(), self._next(method, path)
        body = (
            b""
            if act.headers_only
            else await reader.readexactly(int(headers.get("Content-Length", 0)))
        )
        self.arrivals.append(Arrival(now, method, path, headers, body, connection))
        if act.own_status:
            request_id = path.rpartition("/")[2]
            return answer(200, READY | {"request_id": request_id}).later(act.after)
        return act


async def _perform(
    act: Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Perform an act, and return whether the connection ends with it."""
    await asyncio.sleep(act.after)
    writer.write(act.raw)
    await writer.drain()
    if act.again is not None:
        await asyncio.sleep(act.again)
        writer.write(act.raw)
    if act.suspended:
        loop: Any = asyncio.get_running_loop()
        loop._clock.now += act.suspended
    if act.silent:
        # The connection stays open until the client closes it.
        await reader.read()
    return act.cut or act.silent


def session(url: str, **options: Any) -> EdgegapSession:
    """Make a session for this URL.

    It does not tag its deploys. So it does not search for the outcome of a lost deploy,
    and a test sees the first outcome.
    """
    return EdgegapSession(TOKEN, base_url=url, **{"deploy_once": False, **options})


@asynccontextmanager
async def scripted(
    *acts: Act,
    closed: bool = False,
    lists: Act | None = None,
    routes: Mapping[str, Act] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[EdgegapSession, RawServer]]:
    """Open a session on a server with this script.

    A test that hangs fails after a day of virtual time.
    """
    async with (
        asyncio.timeout(24 * 60 * 60),
        RawServer(*acts, closed=closed, lists=lists, routes=routes) as server,
        session(server.url, **options) as edgegap,
    ):
        yield edgegap, server


@asynccontextmanager
async def with_http(
    *acts: Act, http_options: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[EdgegapSession, RawServer]]:
    """Do the same as `scripted`, with an HTTP session of the caller.

    It must still be open at the end.
    """
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=POOL), **(http_options or {})
        ) as http,
        scripted(*acts, http=http, **options) as (edgegap, server),
    ):
        yield edgegap, server
        await edgegap.aclose()
        assert not http.closed


@contextmanager
def never_accepts() -> Iterator[str]:
    """Yield the URL of a server that neither accepts nor refuses connections.

    Its queue of connections is full.
    """
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def deploy(edgegap: EdgegapSession, size: int = 0, **options: Any) -> Awaitable[object]:
    """Deploy with `size` bytes of environment variables."""
    variables = {f"V{number}": "x" * 4000 for number in range(size // 4000)}
    return edgegap.deployments.deploy(
        "game", "1", users=["203.0.113.7"], environment_variables=variables, **options
    )


OPERATIONS: dict[str, Callable[..., Awaitable[object]]] = {
    "GET": lambda edgegap, **options: edgegap.deployments.status("c065", **options),
    "DELETE": lambda edgegap, **options: edgegap.deployments.stop("c065", **options),
    "deploy": deploy,
    "POST": lambda edgegap, **options: edgegap.tags.create("c065", "a", **options),
    "PATCH": lambda edgegap, **options: edgegap.tags.update(
        "c065", "a", name="b", **options
    ),
}
GET, DELETE = OPERATIONS["GET"], OPERATIONS["DELETE"]
# Operations that are safe to send twice, and those that aren't.
SAFE, UNSAFE = ("GET", "DELETE"), ("deploy", "POST", "PATCH")
# A valid answer to each of these operations.
GOOD = answer(202, {"name": "a", **READY})
operations = pytest.mark.parametrize("name", OPERATIONS)
each_http_session = pytest.mark.parametrize(
    "opened", [scripted, with_http], ids=["our http", "their http"]
)
OpenSession = Callable[
    ..., AbstractAsyncContextManager[tuple[EdgegapSession, RawServer]]
]


def idle_usage(edgegap: EdgegapSession, name: str) -> LimitUsage:
    """Return the usage of an operation's limit.

    No call may be waiting or in flight under that limit.
    """
    usage = edgegap.usage()[
        "status" if name == "GET" else "deploy" if name == "deploy" else "other"
    ]
    assert (usage.in_flight, usage.waiting) == (0, 0)
    return usage


async def ended_in_background(name: str) -> None:
    """Wait until a deploy whose caller has left has ended: it is not cut off."""
    if name == "deploy":
        await asyncio.sleep(DEPLOY_ENDS)


async def failure(awaitable: Awaitable[object]) -> EdgegapError:
    """Return the error that an awaitable raises."""
    with pytest.raises(EdgegapError) as caught:
        await awaitable
    return caught.value
