"""A real uvicorn with FastAPI: a client hangs up in the middle of a stream."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic, sleep

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from support.owning import forgotten

from edgegap_async import DeployRequest, EdgegapSession
from edgegap_async.simulator import Simulator

SERVERS = 30


def application(url: str, taken: set[str]) -> FastAPI:
    """A route that streams a line for each server that is accepted."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with EdgegapSession("made-up", base_url=url) as app.state.edgegap:
            yield
        app.state.leftovers = app.state.edgegap.leftovers

    app = FastAPI(lifespan=lifespan)

    async def lines(edgegap: EdgegapSession) -> AsyncIterator[bytes]:
        requests = (
            DeployRequest("game", "1", users=["203.0.113.7"]) for _ in range(SERVERS)
        )
        async with edgegap.deployments.deploy_many(
            requests, until_ready=False, concurrency=5
        ) as outcomes:
            async for outcome in outcomes:
                if outcome.deployment:
                    taken.add(outcome.deployment.request_id)
                    yield outcome.deployment.request_id.encode() + b"\n"

    @app.get("/")
    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(lines(request.app.state.edgegap))

    return app


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """The port on which uvicorn serves the application, in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            until(lambda: server.started)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the application did not shut down"


def until(true: object) -> None:
    """Wait until a condition holds."""
    assert callable(true)
    end = monotonic() + 20
    while not true():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.01)


@pytest.mark.slow
@pytest.mark.edgegap_simulator(delay_after=(0.1, 0.3), ready_after=(0.0, 0.1))
@pytest.mark.parametrize("lines", [0, 1, 4])
def test_servers_of_a_stream_are_stopped_when_its_client_hangs_up(
    lines: int, edgegap_simulator: Simulator
) -> None:
    taken: set[str] = set()
    app = application(edgegap_simulator.url, taken)
    with served(app) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            # Each line is a chunk: its size, the line, an empty line.
            while received.partition(b"\r\n\r\n")[2].count(b"\n") < 3 * lines:
                received += client.recv(4096)
            until(edgegap_simulator.deployed)
        until(lambda: not forgotten(edgegap_simulator, taken))
    assert lines <= len(taken) <= len(edgegap_simulator.deployed()) < SERVERS
    assert app.state.leftovers == ()
    assert forgotten(edgegap_simulator, taken) == set()
