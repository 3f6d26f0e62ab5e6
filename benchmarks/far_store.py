"""A store that is far away: a proxy that delivers each byte later, in both directions.

    python benchmarks/far_store.py SOCKET SECONDS

SOCKET is the path of the store's Unix socket, SECONDS the time of each way. It listens on
a port of its own, and prints the store's URL. It serves until killed. `shared.py` runs it.
"""

import argparse
import asyncio
from collections.abc import Callable


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Write what is read, so many seconds later. Time passes for all bytes alike."""
    loop = asyncio.get_running_loop()

    def later(what: Callable[[], object]) -> None:
        # Timers of equal times run in the order in which they were set.
        loop.call_at(loop.time() + seconds, what)

    try:
        while part := await reader.read(65536):
            later(lambda part=part: writer.write(part))
    except ConnectionError:
        pass
    later(writer.close)


async def serve(socket: str, seconds: float) -> None:
    """Serve until killed.

    Args:
        socket: the path of the store's Unix socket.
        seconds: the time of each way.
    """
    carriers: set[asyncio.Task[None]] = set()

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        for way in (
            _carry(reader, there[1], seconds),
            _carry(there[0], writer, seconds),
        ):
            task = asyncio.create_task(way)
            carriers.add(task)
            task.add_done_callback(carriers.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("socket")
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    asyncio.run(serve(given.socket, given.seconds))
