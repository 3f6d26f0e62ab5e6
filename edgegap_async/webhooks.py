"""Webhooks: signed URLs go out with a deploy, events come in.

Edgegap signs nothing and sends no secret, so the URL itself is the signature:

    {base_url}/{event}/{nonce}/{HMAC-SHA256 of "{event}/{nonce}" under the secret, in
    hex}

What does not verify changes nothing. What does is still no more than a hint: Edgegap
tries once, so a webhook may be lost, doubled, late, out of order, or earlier than the
answer of the deploy that asked for it.
"""

import asyncio
import hmac
import inspect
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, cast

import msgspec

from .models._check import fail, http_url
from .models.deploy import Webhook
from .models.deployment import DeploymentStatus

if TYPE_CHECKING:
    from aiohttp import web

log: logging.Logger = logging.getLogger("edgegap_async")
# Bytes; a status has a few thousand.
LONGEST_BODY = 1024 * 1024
# Bytes: 128 bits can't be guessed.
SHORTEST_SECRET = 16
# Bytes: the length of SHA-256.
OWN_SECRET = 32
# Seconds for a body to arrive. Edgegap itself gives up after so many.
LONGEST_READ = 10.0

EventName: TypeAlias = Literal["ready", "error", "terminated"]
EVENTS: frozenset[str] = frozenset({"ready", "error", "terminated"})
_NONCE = r"[A-Za-z0-9_-]{1,64}"
_SIGNATURE = r"[0-9a-f]{64}"
_PATH = re.compile(rf"(.*)/([a-z]{{1,16}})/({_NONCE})/({_SIGNATURE})")
# Characters that no proxy writes in another form, and no segment that stands for
# another.
_FRONT = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*")
_statuses = msgspec.json.Decoder(DeploymentStatus)


class WebhookEvent(msgspec.Struct, frozen=True, gc=False):
    """A webhook that a receiver has signed the URL of.

    `event` and `nonce` are what the URL says, which is signed; `status` is what the
    body says, and `request_id` is the body's. msgspec encodes and decodes it, as JSON
    and as msgpack, so it can be handed to another process.
    """

    event: EventName
    nonce: str
    request_id: str
    status: DeploymentStatus


Listener: TypeAlias = Callable[[WebhookEvent], object]


class WebhookUrls(TypedDict):
    """The URLs of one deploy, under the names of its arguments: `deploy(...,
    **receiver.urls(nonce))`.
    """

    webhook_on_ready: Webhook
    webhook_on_error: Webhook
    webhook_on_terminated: Webhook


def parse(body: bytes | bytearray) -> DeploymentStatus:
    """Read the body of a webhook, which is that of GET /v1/status/{request_id}. It
    verifies nothing.

    All but the request_id may be absent.

    Raises:
        ValueError: it is no such status, or longer than 1 MiB. The text does not repeat
            the body.
    """
    if not isinstance(body, bytes | bytearray):
        fail("body", f"must be bytes, not {type(body).__name__}")
    if len(body) > LONGEST_BODY:
        fail("body", f"has {len(body)} bytes; at most {LONGEST_BODY} are read")
    try:
        return _statuses.decode(body)
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    except RecursionError:
        problem = "is nested too deeply"
    except msgspec.DecodeError as error:
        problem = f"is no status of a deployment: {error}"
    # Raised here, as msgspec's errors hold parts of the body.
    raise ValueError(f"body {problem}")


class WebhookReceiver:
    """Signs the URLs that Edgegap calls, and verifies what comes in under them.

    It keeps nothing of a webhook: the same one twice is the same event twice, and who
    listens decides what that means. Several sessions may listen to one receiver, on the
    event loop on which `handle` is called.

    Args:
        base_url: where Edgegap reaches this program, http or https. Its path, if it has
            one, stands before each webhook's own.
        secret: what signs, at least 16 bytes. Processes that share it verify each
            other's URLs. None: a random one, for a program of one process.

    Raises:
        ValueError: one of them is wrong; the text does not repeat the secret.
    """

    def __init__(self, base_url: str, *, secret: str | bytes | None = None) -> None:
        self._origin, path = _split(base_url)
        # What may stand before the event: the whole path, or a part of it from a slash
        # to its end, or nothing.
        self._fronts = (*(path[at:] for at in range(len(path)) if path[at] == "/"), "")
        self._secret = (
            secrets.token_bytes(OWN_SECRET) if secret is None else _key(secret)
        )
        self._listeners: dict[Listener, None] = {}

    def __repr__(self) -> str:
        return f"<WebhookReceiver at {self._origin}>"

    def urls(self, nonce: str) -> WebhookUrls:
        """The URLs for one attempt to deploy.

        Args:
            nonce: what its events bear: 1 to 64 letters (A-Z, a-z), digits, `-` and
                `_`. No secret.

        Raises:
            ValueError: it is another text.
        """
        if not isinstance(nonce, str) or not re.fullmatch(_NONCE, nonce):
            fail(
                "nonce",
                f"must be 1 to 64 letters, digits, hyphens and underscores, not {nonce!r}",
            )
        return {
            "webhook_on_ready": self._url("ready", nonce),
            "webhook_on_error": self._url("error", nonce),
            "webhook_on_terminated": self._url("terminated", nonce),
        }

    def _url(self, event: EventName, nonce: str) -> Webhook:
        return Webhook(
            f"{self._origin}{self._fronts[0]}/{event}/{nonce}/{self._sign(event, nonce)}"
        )

    def _sign(self, event: str, nonce: str) -> str:
        return hmac.digest(self._secret, f"{event}/{nonce}".encode(), "sha256").hex()

    async def handle(self, path: str, body: bytes | bytearray) -> WebhookEvent | None:
        """Verify a POST that came in, and tell it to all who listen.

        It waits for nothing. A body without a request_id is no event, not even under a
        signed URL: there would be nothing to compare with the answer that this attempt
        to deploy got. (What Edgegap sends at the end of a deployment was never
        published. Should that bear no request_id, the end is found by polling.)

        Args:
            path: the request's path as it came, without its query. The whole, or what
                is left where a mount or a proxy has cut off segments of base_url's path
                from the front.
            body: what came with it. Read no more than 1 MiB of it, and one byte, so
                that too much is noticed.

        Returns:
            The event. None: it is none of ours, so answer 404.
        """
        if not isinstance(path, str):
            fail("path", f"must be a string, not {type(path).__name__}")
        if not isinstance(body, bytes | bytearray):
            fail("body", f"must be bytes, not {type(body).__name__}")
        signed = self._verify(path)
        if signed is None:
            log.debug(
                "a webhook was refused: its path is not one that this receiver has signed"
            )
            return None
        name, nonce = signed
        try:
            status = parse(body)
        except ValueError as problem:
            log.debug("the webhook %s for %s was refused: its %s", name, nonce, problem)
            return None
        event = WebhookEvent(name, nonce, status.request_id, status)
        log.debug("the webhook %s for %s came from %s", name, nonce, event.request_id)
        for listener in tuple(self._listeners):
            _tell(listener, event)
        return event

    def _verify(self, path: str) -> tuple[EventName, str] | None:
        """The event and the nonce of a path that this receiver has signed."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        front, event, nonce, signature = found.groups()
        # Compared first, whatever the rest is, so that the time it takes reveals
        # nothing.
        genuine = hmac.compare_digest(signature, self._sign(event, nonce))
        if not genuine or event not in EVENTS or front not in self._fronts:
            return None
        return cast("EventName", event), nonce

    def listen(self, listener: Listener) -> None:
        """From now on, call this with each event, each time that it comes. What it
        raises is logged, and affects no other listener.

        Args:
            listener: a plain function that does not block: the answer to Edgegap waits
                for it. It is held until `unlisten`.

        Raises:
            ValueError: it can't be called, or its call would have to be awaited.
        """
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            fail("listener", "must be a plain function that takes a WebhookEvent")
        self._listeners[listener] = None

    def unlisten(self, listener: Listener) -> None:
        """Call it no more. It is nothing to the receiver then, as is one that never
        listened.
        """
        self._listeners.pop(listener, None)

    def routes(self) -> "list[web.RouteDef]":
        """Routes for aiohttp.web: `app.add_routes(receiver.routes())`, also in an
        application below another.

        They answer a POST with 204 if it is an event, with 404 otherwise. A body is
        read only under a signed path, and no more than 1 MiB of it, whatever the
        application's `client_max_size`.

        Access logs, aiohttp's own among them, hold whole paths, and so the signatures.
        Who reads them can send what looks like a webhook of that deployment.
        """
        from aiohttp import web

        async def read(request: web.Request) -> bytearray:
            try:
                async with asyncio.timeout(LONGEST_READ):
                    return await _bounded(request.content.iter_any())
            except (TimeoutError, ConnectionError, web.RequestPayloadError):
                # The end of the body never arrived.
                return bytearray()

        async def receive(request: web.Request) -> web.Response:
            path = request.rel_url.raw_path
            body = await read(request) if self._verify(path) else b""
            return web.Response(
                status=404 if await self.handle(path, body) is None else 204
            )

        events = "|".join(sorted(EVENTS))
        tail = f"/{{event:{events}}}/{{nonce:{_NONCE}}}/{{signature:{_SIGNATURE}}}"
        return [web.post(front + tail, receive) for front in self._fronts]


async def _bounded(chunks: AsyncIterator[bytes]) -> bytearray:
    """All of it, or enough to know that it is too long."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LONGEST_BODY:
            break
    return body


def _tell(listener: Listener, event: WebhookEvent) -> None:
    try:
        listener(event)
    except Exception:
        log.exception(
            "a listener failed at the webhook %s for %s", event.event, event.nonce
        )


def _split(base_url: str) -> tuple[str, str]:
    """Scheme and host, and the path without a slash at its end."""
    parts = http_url("base_url", base_url)
    if (
        parts.username is not None
        or parts.password is not None
        or parts.query
        or parts.fragment
    ):
        fail("base_url", "must not hold a user name, a password, a query or a fragment")
    path = parts.path.rstrip("/")
    if not _FRONT.fullmatch(path):
        fail(
            "base_url",
            "must have a path of letters, digits, hyphens, dots, underscores, tildes and single slashes",
        )
    return f"{parts.scheme}://{parts.netloc}", path


def _key(secret: object) -> bytes:
    # Without an error of the encoder, which would hold the secret.
    key = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(key, bytes):
        fail("secret", f"must be text or bytes, not {type(secret).__name__}")
    if len(key) < SHORTEST_SECRET:
        fail("secret", f"must have at least {SHORTEST_SECRET} bytes")
    return key
