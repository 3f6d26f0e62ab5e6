"""Webhooks: a deploy sends signed URLs to Edgegap, and a receiver verifies each call.

Edgegap does not sign its webhooks and sends no secret with them. So the URL holds a
signature:

    {base_url}/{event}/{nonce}/{signature}

The signature is the HMAC-SHA256 of "{event}/{nonce}" with the secret of the receiver as
its key, in hex. If the receiver has several secrets, the first one signs.

Webhooks that fail verification are ignored. A verified webhook is still only a hint.
Edgegap does not retry, so a webhook may be lost, duplicated, late or out of order. It
may also arrive before the answer of its deploy.
"""

import asyncio
import hmac
import inspect
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypedDict, cast

from ._masking import made, revealed
from .models._check import fail
from .models._lenient import UnreadableError, decode
from .models._plain import PlainData
from .models._urls import bare_http_url
from .models.deploy import Webhook
from .models.deployment import DeploymentStatus

if TYPE_CHECKING:
    from aiohttp import web

log: logging.Logger = logging.getLogger("edgegap_async")
# Bytes of a body. A status has a few thousand.
LONGEST_BODY = 1024 * 1024
# Bytes of a secret: nobody can guess 128 bits.
SHORTEST_SECRET = 16
# Bytes of a random secret: as long as a SHA-256 hash.
OWN_SECRET = 32
# What the key of relayed webhooks is derived from the secret with. No event and nonce have
# this signature, as they have a slash between them.
RELAY = b"relay of webhooks"
# Seconds in which a body must arrive. Edgegap itself gives up after so many.
LONGEST_READ = 10.0

EventName: TypeAlias = Literal["ready", "error", "terminated"]
EVENTS: frozenset[str] = frozenset({"ready", "error", "terminated"})
_NONCE = r"[A-Za-z0-9_-]{1,64}"
_SIGNATURE = r"[0-9a-f]{64}"
# The path of a webhook that was changed on its way.
_CHANGED_PATH = re.compile(
    rf"(.*)/({'|'.join(sorted(EVENTS))})/({_NONCE})/({_SIGNATURE})(.*)", re.DOTALL
)
NOT_SIGNED = "its path has no valid signature"
# Characters of the beginning of a path that are logged.
LONGEST_FRONT = 100
_PATH = re.compile(rf"(.*)/([a-z]{{1,16}})/({_NONCE})/({_SIGNATURE})")
# The path of a base URL. Proxies don't rewrite these characters, and the segments "."
# and ".." are excluded, as proxies resolve them.
_FRONT = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*")


class WebhookEvent(PlainData, frozen=True, gc=False):
    """A verified webhook.

    msgspec can encode and decode it as JSON and as msgpack, to send it to another
    process.

    Attributes:
        event: the event in the URL, which is signed.
        nonce: the nonce in the URL, which is signed.
        request_id: the deployment in the body, which is not signed.
        status: the body.
    """

    event: EventName
    nonce: str
    request_id: str
    status: DeploymentStatus


Listener: TypeAlias = Callable[[WebhookEvent], object]


class Claim(Enum):
    """What the listener of a session returns."""

    OWN = "the webhook is from one of its own deploys, so no other process needs it"


class _Problem(NamedTuple):
    """Why a webhook is refused."""

    kind: str
    text: str


class WebhookUrls(TypedDict):
    """The webhook arguments of a deploy: `deploy(..., **receiver.urls(nonce))`."""

    webhook_on_ready: Webhook
    webhook_on_error: Webhook
    webhook_on_terminated: Webhook


def parse(body: bytes | bytearray) -> DeploymentStatus:
    """Decode the body of a webhook, without any verification.

    The body has the form of the answer to GET /v1/status/{request_id}. All fields but
    the request_id may be absent, or have values that can't be read.

    Args:
        body: at most 1 MiB.

    Raises:
        ValueError: the body is not a status, or longer than 1 MiB. The text does not
            repeat the body.
    """
    if not isinstance(body, bytes | bytearray):
        fail("body", f"must be bytes, not {type(body).__name__}")
    if len(body) > LONGEST_BODY:
        fail("body", f"has {len(body)} bytes; at most {LONGEST_BODY} are read")
    try:
        return decode(bytes(body), DeploymentStatus)
    except UnreadableError as error:
        fail("body", f"is not the status of a deployment: {error}")


class WebhookReceiver:
    """Signs the URLs of webhooks, and verifies the webhooks that arrive at them.

    A receiver keeps no state. If the same webhook arrives twice, the listeners get two
    equal events. Several sessions may listen to one receiver, on the event loop that
    calls `handle`.

    Args:
        base_url: the http or https URL at which Edgegap can reach this program. The
            paths of webhooks begin with its path.
        secret: the key of the signatures, at least 16 bytes. Processes with the same
            secret can verify each other's URLs, and their sessions pass webhooks on to
            each other if they have an equal `shared`. A list, to change it: the first
            secret signs, and what was signed with any of them is accepted. None: a random
            secret, for a program with one process.

    Raises:
        ValueError: an argument is wrong. The text does not repeat the secret.
    """

    def __init__(
        self,
        base_url: str,
        *,
        secret: str | bytes | Sequence[str | bytes] | None = None,
    ) -> None:
        is_random, keys = secret is None, made(partial(_keys, secret))
        # An error must not leave from a frame that holds it.
        del secret
        self._keys = revealed(keys)
        # The first one signs what sessions pass on, and all verify it. Empty: the secret is
        # random, so no other process could verify it.
        self.relay_keys: tuple[bytes, ...] = (
            ()
            if is_random
            else tuple(hmac.digest(key, RELAY, "sha256") for key in self._keys)
        )
        del keys
        self._origin, path = _split(base_url)
        # The allowed texts before the event: a mount or a proxy may have removed
        # leading segments of the path, or all of them.
        self._fronts = (*(path[at:] for at in range(len(path)) if path[at] == "/"), "")
        self._listeners: dict[Listener, None] = {}
        # What passes an event on to other processes, and the store by which it does.
        self._relays: dict[Listener, Hashable] = {}
        # The kinds of problems that were logged at WARNING.
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        # An error tracker shows it while its arguments are checked.
        origin = getattr(self, "_origin", "")
        return f"<WebhookReceiver{' at ' if origin else ''}{origin}>"

    def urls(self, nonce: str) -> WebhookUrls:
        """Return the webhook arguments for one deploy.

        Args:
            nonce: a text that identifies the deploy, and that its events will have. 1
                to 64 ASCII letters, digits, hyphens and underscores. It is not secret.

        Raises:
            ValueError: the nonce is another text.
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
            f"{self._origin}{self._fronts[0]}/{event}/{nonce}/{self._signatures(event, nonce)[0]}"
        )

    def _signatures(self, event: str, nonce: str) -> list[str]:
        """The signatures that are accepted. The first one is for new URLs."""
        text = f"{event}/{nonce}".encode()
        return [hmac.digest(key, text, "sha256").hex() for key in self._keys]

    def _is_genuine(self, event: str, nonce: str, signature: str) -> bool:
        # All are compared in any case, so that the time of it reveals nothing.
        signatures = self._signatures(event, nonce)
        equal = [hmac.compare_digest(signature, each) for each in signatures]
        return any(equal)

    async def handle(self, path: str, body: bytes | bytearray) -> WebhookEvent | None:
        """Verify a POST request, and pass its event to all listeners. If it is not from
        a deploy of a session here, sessions with `shared` pass it on to the other
        processes.

        It never suspends. A body without a request_id is not an event, even under a
        signed URL: a session could not compare it with the answer to its deploy.
        (Edgegap does not document the webhook for the end of a deployment. If its body
        has no request_id, a session finds the end by polling.)

        Args:
            path: the path of the request, not decoded and without the query. A mount or
                a proxy may have removed leading segments of base_url's path.
            body: the body of the request. Read at most 1 MiB and one byte of it, so
                that a longer body is noticed.

        Returns:
            The event. None: the webhook failed verification, so answer 404.

        Raises:
            ValueError: an argument has the wrong type.
        """
        if not isinstance(path, str):
            fail("path", f"must be a string, not {type(path).__name__}")
        if not isinstance(body, bytes | bytearray):
            fail("body", f"must be bytes, not {type(body).__name__}")
        signed = self._verify(path)
        if signed is None:
            self.log_refusal(path)
            return None
        name, nonce = signed
        try:
            status = parse(body)
        except ValueError as problem:
            log.debug(
                "webhook refused: its %s",
                problem,
                extra={"event": name, "nonce": nonce},
            )
            return None
        event = WebhookEvent(name, nonce, status.request_id, status)
        log.debug(
            "webhook received: %s",
            name,
            extra={"event": name, "nonce": nonce, "request_id": event.request_id},
        )
        answers = [_notify(listener, event) for listener in tuple(self._listeners)]
        if not any(answer is Claim.OWN for answer in answers):
            # Once by each store.
            for relay in {store: it for it, store in self._relays.items()}.values():
                _notify(relay, event)
        return event

    def is_signed(self, path: str) -> bool:
        """Return whether a path is one of this receiver's URLs.

        Args:
            path: the path of a request, as for `handle`.
        """
        return self._verify(path) is not None

    def _verify(self, path: str) -> tuple[EventName, str] | None:
        """Return the event and the nonce of a signed path, or None."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        front, event, nonce, signature = found.groups()
        # The signature is compared first in any case, for the same reason.
        genuine = self._is_genuine(event, nonce, signature)
        if not genuine or event not in EVENTS or front not in self._fronts:
            return None
        return cast("EventName", event), nonce

    def log_refusal(self, path: str, *, strangers: bool = True) -> None:
        """Log a refused path: at WARNING if it is an error of the set-up, once for each
        kind of them. Anybody may send any path.

        Args:
            path: the path of a request, as for `handle`.
            strangers: also log, at DEBUG, a path that no receiver has made. False: it
                may be a path of the application.
        """
        problem = self._problem(path)
        if problem is None and not strangers:
            return
        level = logging.DEBUG
        if problem and problem.kind not in self._warned:
            self._warned.add(problem.kind)
            level = logging.WARNING
        log.log(level, "webhook refused: %s", problem.text if problem else NOT_SIGNED)

    def _problem(self, path: str) -> "_Problem | None":
        """What is wrong with a path that a receiver has made. None: none has made it."""
        found = _CHANGED_PATH.fullmatch(path)
        if found is None:
            return None
        front, event, nonce, signature, rest = found.groups()
        if not self._is_genuine(event, nonce, signature):
            return _Problem(
                "secret",
                "its signature was made with another secret: processes behind one URL, and those that restart, need "
                "the same WebhookReceiver(url, secret=...); or somebody has made it up",
            )
        # It is genuine, so its sender knows the path of base_url anyway.
        if rest:
            return _Problem(
                "end",
                "its path goes on after the signature: give handle() the path without query and final slash",
            )
        return _Problem(
            "beginning",
            f"its path begins with {front[:LONGEST_FRONT]!r}, and that of base_url is {self._fronts[0]!r}: give the "
            "URL at which Edgegap reaches this program, or remove the prefix before handle()",
        )

    def listen(self, listener: Listener) -> None:
        """Call a function with each event from now on.

        If it raises an error, the error is logged, and other listeners are still
        called.

        Args:
            listener: a plain function that does not block, as the answer to Edgegap
                waits for it. The receiver keeps a reference to it until `unlisten`.

        Raises:
            ValueError: the listener is not callable, or it is a coroutine function.
        """
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            fail("listener", "must be a plain function that takes a WebhookEvent")
        self._listeners[listener] = None

    def unlisten(self, listener: Listener) -> None:
        """Stop calling a listener, and drop the reference to it.

        A function that is not a listener is ignored.
        """
        self._listeners.pop(listener, None)

    def add_relay(self, relay: Listener, store: Hashable) -> None:
        """Call a function with each event that is not from a deploy of a session here.
        Sessions do this.

        Args:
            relay: passes events on. It does not block.
            store: what it uses. Only one relay is called for each store.
        """
        self._relays[relay] = store

    def remove_relay(self, relay: Listener) -> None:
        """Stop calling a relay."""
        self._relays.pop(relay, None)

    def routes(self) -> "list[web.RouteDef]":
        """Return routes for aiohttp.web: `app.add_routes(receiver.routes())`.

        The application may be a subapplication. The routes answer a POST request with
        204 if it is an event, and with 404 otherwise. They read a body only at a signed
        path, and at most 1 MiB of it, whatever the `client_max_size` of the
        application.

        Access logs, including those of aiohttp, hold whole paths with their signatures.
        With such a path, a reader of the logs could forge a webhook of that deploy.
        """
        from aiohttp import web

        async def read(request: web.Request) -> bytearray:
            try:
                async with asyncio.timeout(LONGEST_READ):
                    return await read_bounded(request.content.iter_any())
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


async def read_bounded(chunks: AsyncIterator[bytes]) -> bytearray:
    """Return the whole body, or enough of it to notice that it is too long."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LONGEST_BODY:
            break
    return body


def _notify(listener: Listener, event: WebhookEvent) -> object:
    """Call a listener. Returns what it returns, or None if it fails."""
    try:
        return listener(event)
    except Exception:
        log.exception(
            "webhook listener failed: %s",
            event.event,
            extra={
                "event": event.event,
                "nonce": event.nonce,
                "request_id": event.request_id,
            },
        )
        return None


def _split(base_url: str) -> tuple[str, str]:
    """Return the scheme and host of a URL, and its path without a trailing slash."""
    parts = bare_http_url("base_url", base_url)
    path = parts.path.rstrip("/")
    if not _FRONT.fullmatch(path):
        fail(
            "base_url",
            "must have a path of letters, digits, hyphens, dots, underscores, tildes and single slashes",
        )
    return f"{parts.scheme}://{parts.netloc}", path


def _keys(secret: object) -> tuple[bytes, ...]:
    if secret is None:
        return (secrets.token_bytes(OWN_SECRET),)
    if not isinstance(secret, list | tuple):
        return (_key("secret", secret),)
    if not secret:
        fail("secret", "must not be an empty list; None is a random secret")
    keys: list[bytes] = []
    for number, each in enumerate(cast("Sequence[object]", secret)):
        key = _key(f"secret[{number}]", each)
        if key in keys:
            fail(f"secret[{number}]", f"is the same as secret[{keys.index(key)}]")
        keys.append(key)
    return tuple(keys)


def _key(name: str, secret: object) -> bytes:
    # With "surrogatepass", the encoder raises no error, which would hold the secret.
    key = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(key, bytes):
        fail(name, f"must be text or bytes, not {type(secret).__name__}")
    if len(key) < SHORTEST_SECRET:
        fail(name, f"must have at least {SHORTEST_SECRET} bytes")
    return key
