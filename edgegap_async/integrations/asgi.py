"""A session for an ASGI application of any framework, and webhooks as an application.

    app = EdgegapMiddleware(app)

    async def start_match(request):
        edgegap = request.scope["state"]["edgegap"]  # or request.state.edgegap

`docs/stopping.md` has the settings of servers, so that they leave time to close it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from ..models._check import (
    fail,
    instance,
    optional_callables,
    optional_instance,
    text,
)
from ..session import EdgegapSession
from ..webhooks import WebhookReceiver
from ._lifespan import Lifespan
from ._protocol import App, Receive, Scope, Send
from ._signals import close_before_signals, end_on_hangup, restore_hangup
from ._webhook_app import WebhookApp

__all__ = ["EdgegapMiddleware", "WebhookApp"]


class EdgegapMiddleware:
    """An ASGI application with one session: opened when the server starts it, closed
    when the server shuts it down, before the server ends.

    It wraps applications of all frameworks, and those without a lifespan, such as
    Django's. Wrap them from the outside, or with `app.add_middleware(EdgegapMiddleware)`
    in Starlette and FastAPI. If the server itself is run without a lifespan, the session
    is opened at the first request, and closed at SIGTERM before the server gets the
    signal. SIGHUP, the loss of the terminal, counts as SIGTERM, unless it is ignored or
    the server handles it.

    Requests reach the session at `scope["state"]["edgegap"]`: as `request.state.edgegap`
    in Starlette, FastAPI and Litestar, as `request.scope["state"]["edgegap"]` in Django.

    Args:
        app: the application.
        session: makes the session, in the loop of the server; not given: an
            `EdgegapSession` with its default arguments and these webhooks.
        webhooks: a receiver whose webhooks are answered here, before the application.
            A `session` of yours must have it too.
        name: of the session in the state.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    def __init__(
        self,
        app: App,
        session: Callable[[], EdgegapSession] | None = None,
        *,
        webhooks: WebhookReceiver | None = None,
        name: str = "edgegap",
    ) -> None:
        if not callable(app):
            fail("app", f"must be an ASGI application, not {type(app).__name__}")
        optional_callables(session=session)
        optional_instance("webhooks", webhooks, WebhookReceiver)
        self._app, self._name = app, text("name", name)
        self._make = session or (lambda: EdgegapSession(webhooks=webhooks))
        self._receiver = webhooks
        self._webhooks = WebhookApp(webhooks) if webhooks else None
        # A test may run an application on several loops.
        self._sessions: dict[asyncio.AbstractEventLoop, EdgegapSession] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for a connection, or for the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._webhooks and self._is_webhook(scope, self._webhooks):
            await self._webhooks(scope, receive, send)
        else:
            scope.setdefault("state", {})[self._name] = await self._session()
            await self._app(scope, receive, send)

    @staticmethod
    def _is_webhook(scope: Scope, webhooks: WebhookApp) -> bool:
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        if webhooks.signed_path(scope) is not None:
            return True
        webhooks.log_if_changed(scope)
        return False

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(restore_hangup)
            try:
                session = await stack.enter_async_context(self._open())
                await self._release_ended()
            except Exception as error:
                # Without an answer, the server would start without a lifespan. Without
                # the error, Starlette's TestClient would take it for a success.
                await Lifespan(receive, send).fail(f"{type(error).__name__}: {error}")
                raise
            scope.setdefault("state", {})[self._name] = session
            await Lifespan(receive, send, session.aclose).run(self._app, scope)

    def _open(self) -> EdgegapSession:
        session = instance("session()", self._make(), EdgegapSession)
        if self._receiver and session.webhooks is not self._receiver:
            fail("session()", "must have these webhooks: EdgegapSession(webhooks=...)")
        self._sessions[asyncio.get_running_loop()] = session
        end_on_hangup()
        return session

    async def _session(self) -> EdgegapSession:
        """The session of the running loop. Without a lifespan, it is opened here."""
        session = self._sessions.get(asyncio.get_running_loop())
        if session is None:
            session = self._open()
            close_before_signals(session.aclose)
            await self._release_ended()
        return session

    async def _release_ended(self) -> None:
        """Release the sessions of loops that have ended."""
        for loop in [each for each in self._sessions.copy() if each.is_closed()]:
            if ended := self._sessions.pop(loop, None):
                await ended.aclose()
