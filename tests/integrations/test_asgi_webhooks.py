"""`WebhookApp`: webhooks as an ASGI application, alone, mounted, or before another one."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.asgi import App, Message, Receive, Send, call, lifespan
from support.webhook_samples import BODY, path, receiver

from edgegap_async import WebhookReceiver
from edgegap_async.integrations.asgi import EdgegapMiddleware, WebhookApp
from edgegap_async.webhooks import LONGEST_BODY, WebhookEvent

BASE = "http://127.0.0.1/webhooks"
CHUNK = 65536


def alone(hooks: WebhookReceiver) -> App:
    return WebhookApp(hooks)


def in_starlette(hooks: WebhookReceiver) -> App:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/webhooks", WebhookApp(hooks))])


def in_fastapi(hooks: WebhookReceiver) -> App:
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/webhooks", WebhookApp(hooks))
    return app


def in_middleware(hooks: WebhookReceiver) -> App:
    return EdgegapMiddleware(not_found, webhooks=hooks)


def in_litestar(hooks: WebhookReceiver) -> App:
    litestar = pytest.importorskip("litestar")
    inner: Any = WebhookApp(hooks)

    @litestar.asgi("/webhooks", is_mount=True, copy_scope=True)
    async def webhooks(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    app: App = litestar.Litestar([webhooks])
    return app


async def not_found(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"of the application"})


MOUNTS = [
    alone,
    in_starlette,
    in_fastapi,
    in_middleware,
    pytest.param(in_litestar, marks=pytest.mark.full),
]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_events_are_answered_with_204_and_anything_else_with_404(
    mount: Callable[[WebhookReceiver], App],
) -> None:
    hooks, events = receiver(BASE), list[WebhookEvent]()
    hooks.listen(events.append)
    app = mount(hooks)
    good = path(hooks)
    for where, body, status in [
        (good, BODY, 204),
        (good, b"no status", 404),
        (good[:-1], BODY, 404),
        (path(receiver(BASE, None)), BODY, 404),
    ]:
        assert (await call(app, {}, "POST", where, [body]))[0] == status
    assert len(events) == 1
    assert (await call(app, {}, "GET", good))[0] in (404, 405)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_prefix_of_a_proxy_may_be_removed_or_kept(
    mount: Callable[[WebhookReceiver], App],
) -> None:
    hooks = receiver("http://127.0.0.1/api/webhooks")
    whole = path(hooks)
    app = mount(hooks)
    short = whole.removeprefix("/api")
    assert (await call(app, {}, "POST", short, [BODY]))[0] == 204
    # uvicorn --root-path /api adds it to the path.
    status, _ = await call(app, {}, "POST", whole, [BODY], root_path="/api")
    assert status == 204


async def test_a_root_path_that_is_not_in_the_url_does_not_matter() -> None:
    hooks = receiver(BASE)
    where = "/inner" + path(hooks)
    app = WebhookApp(hooks)
    assert (await call(app, {}, "POST", where, [BODY], root_path="/inner"))[0] == 204


async def test_a_server_without_raw_path_is_served() -> None:
    hooks = receiver(BASE)
    app = WebhookApp(hooks)
    status, _ = await call(app, {}, "POST", path(hooks), [BODY], raw_path=None)
    assert status == 204


async def test_a_body_is_read_at_signed_paths_only_and_at_most_a_mebibyte() -> None:
    hooks = receiver(BASE)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield BODY
        while True:
            read += CHUNK
            yield b" " * CHUNK

    app = WebhookApp(hooks)
    assert await call(app, {}, "POST", path(hooks)[:-1], endless()) == (404, b"")
    assert read == 0
    assert await call(app, {}, "POST", path(hooks), endless()) == (404, b"")
    assert 0 < read <= LONGEST_BODY + CHUNK


@pytest.mark.measured
@pytest.mark.parametrize("ends", ["disconnect", "never"])
async def test_a_body_without_an_end_is_refused(ends: str) -> None:
    hooks = receiver(BASE)
    answers: list[Message] = []
    parts = iter([{"type": "http.request", "body": BODY, "more_body": True}])

    async def receive() -> Message:
        if part := next(parts, None):
            return part
        if ends == "never":
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": path(hooks)}
    await WebhookApp(hooks)(scope, receive, send)
    assert answers[0]["status"] == 404


async def test_run_alone_it_has_a_lifespan_and_no_websockets() -> None:
    app = WebhookApp(receiver(BASE))
    async with lifespan(app):
        pass
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]


async def test_before_an_application_it_takes_signed_requests_only() -> None:
    app = in_middleware(receiver(BASE))
    assert await call(app, {}, "POST", "/matches", [BODY]) == (
        404,
        b"of the application",
    )
    assert await call(app, {}, "GET", path(receiver(BASE))) == (
        404,
        b"of the application",
    )


@pytest.mark.parametrize(
    ("sent_to", "text"),
    [
        (path(receiver("http://127.0.0.1/webhooks", "another" * 5)), "another secret"),
        (f"/api{path(receiver(BASE))}", "begins with '/api/webhooks'"),
        (f"{path(receiver(BASE))}/", "goes on after the signature"),
    ],
)
async def test_before_an_application_a_webhook_that_was_changed_is_one_warning(
    sent_to: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as those for another worker, or for this one before it was restarted."""
    app = in_middleware(receiver(BASE))
    for _ in range(3):
        assert await call(app, {}, "POST", sent_to, [BODY]) == (
            404,
            b"of the application",
        )
    (warning,) = [it.getMessage() for it in caplog.records if it.levelno >= 30]
    assert text in warning


@pytest.mark.parametrize(
    "own", ["/matches", "/files/upload/match-1/" + "0" * 64, "/ready/match-1"]
)
async def test_before_an_application_its_own_paths_are_not_logged(
    own: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    assert (await call(in_middleware(receiver(BASE)), {}, "POST", own))[0] == 404
    assert caplog.records == []


def test_anything_but_a_receiver_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^receiver "):
        WebhookApp(BASE)  # type: ignore[arg-type]
