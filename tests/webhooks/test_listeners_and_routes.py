"""Listeners get each event, an event can be sent to another process, and no signature
is exposed.
"""

import asyncio
import io
import logging
import tracemalloc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from rich.pretty import pretty_repr
from support.webhook_samples import (
    BODY,
    EVENTS,
    NONCE,
    SAMPLE,
    SECRET,
    path,
    receiver,
    signed,
    split_path,
)

from edgegap_async import DeployRequest, WebhookReceiver
from edgegap_async.webhooks import LONGEST_BODY, LONGEST_READ, WebhookEvent


async def test_listeners_are_called_until_they_are_removed() -> None:
    hooks, one, two = receiver(), list[WebhookEvent](), list[WebhookEvent]()
    add_one, add_two = one.append, two.append
    for listener in (add_one, add_two, add_one):
        hooks.listen(listener)
    event = await hooks.handle(path(hooks), BODY)
    assert one == two == [event]
    hooks.unlisten(add_one)
    hooks.unlisten(add_one)
    # A duplicate is passed to the listeners again.
    assert await hooks.handle(path(hooks), BODY) == event
    assert (len(one), len(two)) == (1, 2)


async def test_a_failing_listener_does_not_affect_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, events = receiver(), list[WebhookEvent]()

    def fails(event: WebhookEvent) -> None:
        hooks.unlisten(fails)
        raise RuntimeError("mine")

    hooks.listen(fails)
    hooks.listen(events.append)
    event = await hooks.handle(path(hooks), BODY)
    assert events == [event]
    assert [
        record.exc_text and "mine" in record.exc_text for record in caplog.records
    ] == [True]


async def test_a_removed_listener_is_not_kept_alive() -> None:
    class Session:
        def receive(self, event: WebhookEvent) -> None: ...

    hooks, session = receiver(), Session()
    seen = weakref.ref(session)
    hooks.listen(session.receive)
    hooks.unlisten(session.receive)
    del session
    assert seen() is None


async def coroutine_listener(event: WebhookEvent) -> None: ...


@pytest.mark.parametrize("listener", [None, "text", coroutine_listener])
def test_a_listener_must_be_a_plain_function(listener: Any) -> None:
    with pytest.raises(ValueError, match=r"^listener must"):
        receiver().listen(listener)


# Events for other processes


@pytest.mark.parametrize(
    "code", [msgspec.json, msgspec.msgpack], ids=["json", "msgpack"]
)
@pytest.mark.parametrize(
    "body", [BODY, b'{"request_id": "c065"}'], ids=["whole", "bare"]
)
async def test_an_event_can_be_sent_to_another_process(code: Any, body: bytes) -> None:
    hooks = receiver()
    event = await hooks.handle(path(hooks), body)
    assert event is not None
    assert code.decode(code.encode(event), type=WebhookEvent) == event
    # JSON and msgpack encode times differently.
    assert body != BODY or event.status.start_time
    with pytest.raises(msgspec.ValidationError):
        code.decode(
            code.encode(msgspec.to_builtins(event) | {"event": "started"}),
            type=WebhookEvent,
        )


# Secrets and memory


async def test_no_signature_and_no_secret_is_exposed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    hooks = receiver()
    hooks.listen(lambda event: 1 / 0)
    front, event_name, nonce, signature = split_path(path(hooks))
    event = await hooks.handle(path(hooks), BODY)
    for body in (b"", b"x" * (LONGEST_BODY + 1)):
        assert await hooks.handle(path(hooks), body) is None
    assert await hooks.handle(path(hooks) + "0", BODY) is None
    request = DeployRequest("game", "1", users=["::1"], **hooks.urls(nonce))
    shown = [
        form(it)
        for it in (hooks, event, request, hooks.urls(nonce))
        for form in (repr, str, pretty_repr)
    ]
    lines = [repr(vars(record)) + record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    parts = [
        SECRET,
        *(signature[at : at + 10] for at in range(len(signature) - 9)),
        f"{front}/{event_name}",
    ]
    assert [
        text for text in (*shown, *lines) if any(part in text for part in parts)
    ] == []
    assert repr(hooks) == "<WebhookReceiver at https://matchmaker.example.com>"
    assert (
        repr(request.webhook_on_ready)
        == "Webhook(url='https://matchmaker.example.com/***')"
    )
    assert signature in signed(hooks), "the search does not find what it is for"


@pytest.mark.full
@pytest.mark.slow
async def test_a_receiver_keeps_no_event() -> None:
    hooks = receiver()

    async def flood() -> None:
        for number in range(2000):
            body = b'{"request_id": "%d", "fqdn": "%d"}' % (number, 10**500 + number)
            assert await hooks.handle(path(hooks, nonce=f"n{number}"), body)
            assert (
                await hooks.handle(f"/game/hooks/ready/n{number}/{number:064}", body)
                is None
            )

    await flood()
    tracemalloc.start()
    try:
        await flood()
        # The paths of 2,000 events would be 200,000 bytes, their bodies a million.
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


# Over HTTP: `routes()`


@asynccontextmanager
async def served(
    hooks: WebhookReceiver, below: str = "", **options: Any
) -> AsyncIterator[str]:
    """Serve the routes, also in a subapplication. Yield the URL of the host."""
    app = inner = web.Application(**options)
    inner.add_routes(hooks.routes())
    if below:
        app = web.Application()
        app.add_subapp(below, inner)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("below", "front"),
    [("", "/game/hooks"), ("", "/hooks"), ("", ""), ("/game", "/game/hooks")],
)
async def test_routes_answer_204_to_an_event(below: str, front: str) -> None:
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    async with served(hooks, below) as url, aiohttp.ClientSession(url) as http:
        for event in EVENTS:
            async with http.post(
                path(hooks, event).replace("/game/hooks", front), data=BODY
            ) as answer:
                assert (answer.status, await answer.read()) == (204, b"")
    assert [(each.event, each.nonce, each.request_id) for each in events] == [
        (event, NONCE, SAMPLE["request_id"]) for event in EVENTS
    ]


async def test_routes_answer_404_or_405_to_anything_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    good = path(hooks)
    async with served(hooks) as url, aiohttp.ClientSession(url) as http:
        tries = [
            ("POST", good, b"no status", 404),
            ("POST", good[:-1] + ("0" if good[-1] != "0" else "1"), BODY, 404),
            ("POST", good.replace("ready", "started"), BODY, 404),
            ("POST", good.replace("ready", "error"), BODY, 404),
            ("POST", "/v1" + good, BODY, 404),
            ("POST", good + "/", BODY, 404),
            ("GET", good, None, 405),
            ("PUT", good, BODY, 405),
        ]
        for method, where, body, status in tries:
            async with http.request(method, where, data=body) as answer:
                assert (method, where, answer.status) == (method, where, status)
    assert events == []
    # A signature that was not made with its secret is one warning.
    (record,) = [each for each in caplog.records if each.levelno > logging.INFO]
    assert "another secret" in record.getMessage()


async def chunks(count: int, first: bytes = b"") -> AsyncIterator[bytes]:
    yield first
    for _ in range(count):
        yield b" " * 65536


@pytest.mark.parametrize("count", [17, 32])
async def test_routes_read_a_mebibyte_and_no_more(count: int) -> None:
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    async with (
        served(hooks, client_max_size=10 * LONGEST_BODY) as url,
        aiohttp.ClientSession(url) as http,
    ):
        async with http.post(path(hooks), data=chunks(count, BODY)) as answer:
            assert answer.status == 404
        async with http.post(
            path(hooks), data=io.BytesIO(BODY.ljust(LONGEST_BODY + 1))
        ) as answer:
            assert answer.status == 404
    assert events == []


async def test_routes_stop_reading_a_body_that_is_too_long() -> None:
    hooks = receiver()
    head = f"POST {path(hooks)} HTTP/1.1\r\nHost: a\r\nContent-Length: {20 * LONGEST_BODY}\r\n\r\n"
    loop = asyncio.get_running_loop()
    async with served(hooks) as url:
        began = loop.time()
        assert b" 404 " in await raw(url, head.encode() + BODY.ljust(LONGEST_BODY + 1))
        # It does not wait ten seconds for the rest of the body.
        assert loop.time() - began < 1


async def test_routes_read_a_mebibyte_despite_the_applications_limit() -> None:
    hooks = receiver()
    longest = io.BytesIO(BODY.ljust(LONGEST_BODY))
    async with (
        served(hooks, client_max_size=1000) as url,
        aiohttp.ClientSession(url) as http,
        http.post(path(hooks), data=longest) as answer,
    ):
        assert answer.status == 204


async def raw(url: str, request: bytes, *, then_cut: bool = False) -> bytes:
    """Return the first line that a server answers to these bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        if then_cut:
            writer.write_eof()
        return await reader.readline()
    finally:
        writer.transport.abort()


async def test_routes_do_not_wait_for_the_body_of_an_unsigned_path() -> None:
    hooks = receiver()
    head = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{{"
    loop = asyncio.get_running_loop()
    async with served(hooks) as url:
        began = loop.time()
        stranger = path(receiver(secret=None))
        assert b" 404 " in await raw(url, head.format(stranger).encode())
        assert loop.time() - began < 0.1
        assert b" 404 " in await raw(url, head.format(path(hooks)).encode())
        assert LONGEST_READ <= loop.time() - began < LONGEST_READ + 1


async def test_a_truncated_body_is_neither_an_event_nor_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    head = (
        f"POST {path(hooks)} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY) + 1}\r\n"
    )
    async with served(hooks) as url:
        await raw(url, f"{head}\r\n".encode() + BODY, then_cut=True)
        await asyncio.sleep(LONGEST_READ + 1)
        assert [
            record.getMessage()
            for record in caplog.records
            if record.levelno > logging.INFO
        ] == []
        assert b" 404 " in await raw(
            url, f"{head}Content-Encoding: gzip\r\n\r\n".encode() + BODY + b" "
        )
    assert events == []
