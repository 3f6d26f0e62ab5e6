"""The webhooks of a receiver as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator

from ..models._check import instance
from ..webhooks import LONGEST_READ, WebhookReceiver, read_bounded
from ._lifespan import Lifespan
from ._protocol import Receive, Scope, Send


class WebhookApp:
    """Receives webhooks, in any framework that mounts ASGI applications, or alone.

        receiver = WebhookReceiver("https://matchmaker.example.com/webhooks")
        app.mount("/webhooks", WebhookApp(receiver))  # Starlette, FastAPI

    It answers a POST request with 204 if it is an event, and with 404 otherwise. It reads
    a body only at a signed path, and at most 1 MiB of it.

    Args:
        receiver: verifies the webhooks. Give it to the session too.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = instance("receiver", receiver, WebhookReceiver)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await Lifespan(receive, send).run(_no_app, scope)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    def signed_path(self, scope: Scope) -> str | None:
        """Return the path of a request if the receiver has signed it.

        A server or a mount may have added a root path, or moved a part of the path
        there.
        """
        root = str(scope.get("root_path", "")).rstrip("/")
        path = str(scope["path"])
        raw = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
        paths = dict.fromkeys((raw, path, root + path, raw.removeprefix(root)))
        return next(filter(self._receiver.is_signed, paths), None)

    def log_if_changed(self, scope: Scope) -> None:
        """Warn of a request that is not signed, if it is a webhook that was changed."""
        self._receiver.log_refusal(str(scope["path"]), strangers=False)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers = 404, list[tuple[bytes, bytes]]()
        if scope["method"] != "POST":
            status, headers = 405, [(b"allow", b"POST")]
        elif path := self.signed_path(scope):
            body = await _body(receive)
            if await self._receiver.handle(path, body):
                status = 204
        else:
            self._receiver.log_refusal(str(scope["path"]))
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytearray:
    """Return the body of a request, or an empty one if its end never arrives."""

    async def chunks() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            yield message.get("body", b"")
            more = message.get("more_body", False)

    try:
        async with asyncio.timeout(LONGEST_READ):
            return await read_bounded(chunks())
    except (TimeoutError, ConnectionError):
        return bytearray()


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None: ...
