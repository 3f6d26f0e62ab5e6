"""Measures the memory and the longest turn of the loop under hostile answers.

    python benchmarks/hostile.py [--calls 100] [--only status]

A server in a process of its own sends bodies that are as large, as dense or as long as
they can be. For each of them a client in a fresh process makes one call, and then
another one makes 100 at a time, under the documented limits. The memory is what the
process needs at most on top of what a good answer needs. The longest turn is the CPU time
of the loop's thread between two turns. Errors of the SDK are expected, others are not.
The exit code is 1 if a figure is above its goal.
"""

import argparse
import asyncio
import gzip
import json
import os
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from edgegap_async import EdgegapSession, Retry
from edgegap_async.errors import EdgegapError

MIB = 1024 * 1024
GOOD = json.dumps({"request_id": "good", "data": [], "logs": "x"}).encode()
CALLS: dict[str, Callable[[EdgegapSession, str], Awaitable[object]]] = {
    "status": lambda it, kind: it.deployments.status(kind),
    "list": lambda it, kind: it.deployments.list(json.dumps(kind)),
    "logs": lambda it, kind: it.deployments.container_logs(kind),
    "metrics": lambda it, kind: it.deployments.metrics(kind),
}
LARGEST = {"status": MIB, "list": 2 * MIB, "logs": 64 * MIB, "metrics": 64 * MIB}
# MiB on top of a good answer: of one call, and of all calls together.
GOALS = {
    "status": (48, 224),
    "list": (384, 512),
    "logs": (384, 1536),
    "metrics": (512, 1536),
}


def bomb() -> bytes:
    """2 MB of gzip that are 2 GB."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (16 * MIB)
    return b"".join(packer.compress(block) for _ in range(128)) + packer.flush()


def filled(start: bytes, item: bytes, end: bytes, size: int) -> bytes:
    """A body of this size, with as many items as fit into it."""
    count = (size - len(start) - len(end)) // len(item)
    return (start + item * count + end).ljust(size)


def bodies(call: str) -> dict[str, bytes]:
    """Bodies that are just not too large, by kind."""
    size = LARGEST[call]
    rows, row = {
        "status": (b'{"request_id": "x", "sessions": [', b'{"ready":1},'),
        "list": (b'{"data": [', b'{"request_id":"a"},'),
        "logs": (b'{"crash_data": {}, "x": [', b'{"a":0},'),
        "metrics": (b'{"cpu": {"labels": [', b'"ab",'),
    }[call]
    end = b"0]}}" if call == "metrics" else b"0]}"
    return {
        "rows": filled(rows, row, end, size),
        "empty-objects": filled(rows, b"{},", end, size),
        "objects": filled(rows, b'{"a":[]},', end, size),
        "not-json": filled(rows, b'{"a":[]},', end + b"x", size),
        "NaN": filled(rows, b"NaN,", end, size),
        "nested": filled(b'{"request_id":', b"[", b"", size),
        "one-text": filled(b'{"request_id":"a","logs":"', b"a", b'"}', size),
        "surrogates": filled(b'{"logs":"', rb"\ud800", b'"}', size),
        "wide-text": filled(b'{"logs":"', "\U0001f600".encode(), b'"}', size),
    }


KINDS = ("bomb", "endless", "held-back", *bodies("status"))


async def blocks(call: str, kind: str) -> AsyncIterator[bytes]:
    """What the server sends after the head of its answer."""
    if kind == "endless":
        while True:
            yield b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    elif kind == "held-back":
        for _ in range(LARGEST[call] // MIB - 1):
            yield b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
        yield b"%x\r\n%s\r\n" % (MIB - 1, b" " * (MIB - 1))
        await asyncio.sleep(3600)
    else:
        body = gzip.compress(GOOD) if kind == "good" else BODIES[call, kind]
        # A hundred connections with a copy of 64 MiB each need more than the machine has.
        for start in range(0, len(body), MIB):
            part = body[start : start + MIB]
            yield b"%x\r\n%s\r\n" % (len(part), part)
        yield b"0\r\n\r\n"


BODIES: dict[tuple[str, str], bytes] = {}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests, whose paths or queries name the kind of the body."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(maxsplit=2)[1].decode()
            call = next(
                name
                for name, part in (
                    ("status", "/status/"),
                    ("logs", "container-logs"),
                    ("metrics", "/metrics/"),
                    ("list", ""),
                )
                if part in path
            )
            kind = next((each for each in KINDS if each in path), "good")
            packed = kind in ("good", "bomb")
            writer.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                + (b"Content-Encoding: gzip\r\n" if packed else b"")
                + b"\r\n"
            )
            async for block in blocks(call, kind):
                writer.write(block)
                await writer.drain()
    writer.close()


async def serve() -> None:
    """Answer until killed; the URL is the first line printed."""
    packed = bomb()
    for call in CALLS:
        BODIES.update({(call, kind): body for kind, body in bodies(call).items()})
        BODIES[call, "bomb"] = packed
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def peak() -> float:
    """The most memory that this process has needed so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def longest_turn(longest: list[float]) -> None:
    """Note the longest turn in CPU seconds."""
    while True:
        began = time.thread_time()
        await asyncio.sleep(0)
        longest[0] = max(longest[0], time.thread_time() - began)


async def client(url: str, call: str, kind: str, count: int) -> None:
    """Make the calls, and print the memory that they needed and the longest turn."""
    async with EdgegapSession(
        "made-up", base_url=url, retry=Retry(tries=1), attempt_timeout=5, timeout=300
    ) as edgegap:
        make = CALLS[call]
        await make(edgegap, "good")
        before, longest = peak(), [0.0]
        watching = asyncio.create_task(longest_turn(longest))
        wrong = await asyncio.gather(
            *(untyped(make(edgegap, kind)) for _ in range(count))
        )
        watching.cancel()
    print(json.dumps([peak() - before, longest[0], sum(wrong)]))


async def untyped(call: Awaitable[object]) -> bool:
    """Whether a call raises an error that is not the SDK's. The answer is not kept."""
    try:
        await call
    except EdgegapError:
        return False
    except Exception:  # noqa: BLE001 - this is what is searched for
        return True
    return False


def measured(url: str, call: str, kind: str, count: int) -> tuple[float, float, int]:
    """Run a client in a process of its own."""
    command = [sys.executable, __file__, "--client", url, call, kind, str(count)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    memory, turn, wrong = json.loads(run.stdout.splitlines()[-1])
    return memory, turn, wrong


def compare(url: str, calls: int, only: str | None) -> bool:
    """Print the table, and return whether all goals are met."""
    met = True
    print(f"{'':22}  one call         {calls} calls")
    for call, goals in GOALS.items():
        if only not in (None, call):
            continue
        for kind in KINDS:
            line = f"{call:8}{kind:14}"
            for count, goal in zip((1, calls), goals, strict=True):
                memory, turn, wrong = measured(url, call, kind, count)
                line += f"  {memory:5.0f} MiB {turn * 1000:5.0f} ms"
                if memory > goal or wrong:
                    line += f" (goal {goal} MiB, {wrong} untyped errors)"
                    met = False
            print(line, flush=True)
    return met


def main() -> int:
    """Start the server, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--only", choices=CALLS, help="one kind of call")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    if options.client:
        url, call, kind, count = options.client
        asyncio.run(client(url, call, kind, int(count)))
        return 0
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert server.stdout
    try:
        url = server.stdout.readline().strip()
        return 0 if compare(url, options.calls, options.only) else 1
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
