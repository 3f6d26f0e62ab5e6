"""Calls operations of the API for one session: builds the request, and returns a struct or
raises an `EdgegapError`. `attempts.py` sends the request.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from contextlib import nullcontext
from copy import copy
from typing import Any

import aiohttp
from msgspec import UNSET, UnsetType, structs
from yarl import URL

from .._limits.adaptive import most_slots
from .._limits.config import Limits
from .._limits.limiter import Limiter
from .._limits.queue import PRIORITIES, Priority
from .._limits.registry import Sharing
from .._masking import Secret
from ..endpoints import LIMITS, B, Endpoint, LimitName, T
from ..errors import ApiError, EdgegapError, SessionClosed, UnexpectedAnswer
from ..events import OnEvent
from ..models._check import (
    deployment_id,
    one_of,
    optional_instance,
    optional_seconds,
)
from ..models._plain import secrets_of
from .attempts import HTTP_CLOSED, Attempts
from .binding import Binding
from .deadlines import Deadline, finish
from .environment import DIRECT, Network
from .options import CallOptions, Timeout, checked_headers
from .pool import Pool
from .request import Progress, Request, build_url, content, session_headers
from .retry import Retry
from .trace import CallTrace, Reporter

# A deploy gets this many times the attempt_timeout: a slow answer to it would become an
# unknown outcome.
DEPLOY_TIMEOUT_FACTOR = 2
# Seconds to close idle connections, which takes a few turns of the loop.
CLOSE_TIMEOUT = 1.0
# The statuses of an operation that the API has moved to another path.
MOVED = (404, 405)


class Transport:
    """Calls the API for one session, inside one event loop.

    Args:
        base_url: scheme and host, checked by the caller.
        token: authorizes each call; `scheme` goes before it in the header.
        http: the caller's HTTP session, never closed here; None: one is made on first
            use.
        network: how our own connections reach the API.
        timeout: seconds for a call as a whole; None: no end.
        attempt_timeout: seconds for one exchange.

    Attributes:
        base_url: without a final slash.
        binding: to the loop of the first call.
        connections: how many requests the limits allow at a time.
        reporter: reports events. None: nobody asks for them.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        scheme: str = "token ",
        http: aiohttp.ClientSession | None = None,
        network: Network = DIRECT,
        limits: Limits,
        retry: Retry,
        timeout: float | None,
        attempt_timeout: float,
        on_event: OnEvent | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        # An international host name gets its ASCII form, the one that is looked up.
        self._base = URL(base_url)
        self.base_url: str = str(self._base).rstrip("/")
        self._token = Secret(token)
        self.binding: Binding = Binding(self.base_url, self._token, limits, sharing)
        # A slot is held while a connection is used.
        self.connections: float = sum(
            most_slots(limits.kept(limit.name).rate) for limit in LIMITS
        )
        headers = session_headers(Secret(f"{scheme}{token}"))
        kept = most_slots(limits.kept("deploy").rate)
        self._pool = Pool(http, self.connections, kept, headers, network)
        self._attempts = Attempts(self.binding, self._pool, headers, retry)
        self.reporter: Reporter | None = (
            Reporter(on_event, self._base.host_port_subcomponent or "")
            if on_event
            else None
        )
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout
        # The endpoints that the API serves under their new path.
        self._moved: set[Endpoint[Any, Any]] = set()

    def call(
        self,
        endpoint: Endpoint[B, T],
        path_params: Mapping[str, object] | None = None,
        *,
        body: B | None = None,
        query: Mapping[str, str | None] | None = None,
        timeout: Timeout = UNSET,
        deadline: Deadline | None = None,
        priority: Priority = "foreground",
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        repeat: bool = True,
        progress: Progress | None = None,
        trace: CallTrace | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call one operation of the API.

        If the endpoint was renamed and its path is answered 404 or 405, the new path is
        tried, and used from then on if it answers otherwise.

        Args:
            path_params: the parameters in the path.
            query: the parameters of the URL; None leaves one out.
            timeout: seconds for the whole call, with its time in the queue and all
                retries; None: no end; not given: the session's.
            deadline: one that several calls have in common, in place of `timeout`. Once it
                is over, nothing is sent.
            priority: foreground or background, in the queue of its limit.
            retry: replaces the session's, but for its budget.
            headers: further ones.
            token: authorizes this call instead of the session's token, without a
                scheme.
            repeat: send a lost GET or DELETE again. False: a caller who has to know
                whether a 404 is the answer to the first attempt does it.
            progress: of a deploy. While a request of it is being sent, the deadline
                does not cut it off.
            trace: of a call that this is a part of; its owner ends it. None: this is a
                call of its own.

        Raises:
            ValueError: an argument is wrong; nothing was sent.
            EdgegapError: see the tree in `errors.py`.
            Withdrawn: the deploy has started nothing, and must not be sent any more.
        """
        path_params = path_params or {}
        request_id = path_params.get("request_id", "")
        if not isinstance(request_id, str):
            request_id = deployment_id("request_id", request_id)
            path_params = {**path_params, "request_id": request_id}
        url = build_url(self._base, endpoint, path_params, query)
        data, own_headers = content(body, headers, token)
        seconds = self.timeout_of(timeout)
        retry = optional_instance("retry", retry, Retry)
        if priority not in PRIORITIES:
            one_of("priority", priority, PRIORITIES)
        loop, attempt = self.enter(), self._attempt_timeout
        request = Request(
            endpoint=endpoint,
            url=url,
            data=data,
            headers=own_headers,
            secret=token or self._token,
            deadline=deadline or Deadline.after(seconds, loop),
            attempt_timeout=attempt * DEPLOY_TIMEOUT_FACTOR
            if endpoint.starts_server
            else attempt,
            repeatable=repeat and endpoint.repeatable,
            request_id=request_id,
            progress=progress,
            retry=retry,
            body_secrets=tuple(map(Secret, secrets_of(body))) if data else (),
        )
        renamed = None
        if endpoint.renamed:
            url = build_url(self._base, endpoint.renamed, path_params, query)
            renamed = structs.replace(request, endpoint=endpoint.renamed, url=url)
        if self.reporter and trace is None:
            return self._call_traced(request, renamed, priority)
        if renamed:
            return self._follow_rename(request, renamed, priority, trace)
        return self._attempts.run(request, priority, trace)

    def trace(
        self,
        endpoint: Endpoint[B, T],
        request_id: object = None,
        *,
        call_id: int | None = None,
    ) -> CallTrace | None:
        """Begin the trace of a call. None: nobody asks for events.

        Args:
            request_id: the deployment that the call is about.
            call_id: its number; None: a new one.
        """
        if self.reporter is None:
            return None
        limiter = self.limiters[endpoint.limit.name]
        return CallTrace(
            self.reporter, endpoint, lambda: limiter.rate, request_id, call_id
        )

    async def _call_traced(
        self,
        request: Request[B, T],
        renamed: Request[B, T] | None,
        priority: Priority,
    ) -> T:
        trace = self.trace(request.endpoint, request.request_id or None)
        with trace or nullcontext():
            if renamed:
                return await self._follow_rename(request, renamed, priority, trace)
            return await self._attempts.run(request, priority, trace)

    async def _follow_rename(
        self,
        request: Request[B, T],
        renamed: Request[B, T],
        priority: Priority,
        trace: CallTrace | None,
    ) -> T:
        """Call an operation under the path that the API serves it at."""
        endpoint = request.endpoint
        if endpoint in self._moved:
            return await self._attempts.run(renamed, priority, trace)
        try:
            return await self._attempts.run(request, priority, trace)
        except ApiError as error:
            if error.status not in MOVED:
                raise
            first = error
        if request.progress:
            request.progress.retrying()
        try:
            answer = await self._attempts.run(renamed, priority, trace)
        except EdgegapError as error:
            # Under the first path.
            error.request_sent = True
            if isinstance(error, ApiError) and error.status in MOVED:
                raise first from None
            if isinstance(error.__cause__ or error, ApiError | UnexpectedAnswer):
                # The path is served, as it was answered.
                self._moved.add(endpoint)
            raise
        self._moved.add(endpoint)
        return answer

    @property
    def limiters(self) -> dict[LimitName, Limiter]:
        """The limiter of each limit."""
        return self.binding.limiters

    @property
    def closed(self) -> bool:
        """Whether the session is closed, or this transport was aborted."""
        return self._attempts.closed

    async def wait(self, waiting: Awaitable[object], deadline: float | None) -> bool:
        """Wait for anything awaitable while the session is open.

        Args:
            deadline: on the loop's clock; None: no end.

        Returns:
            False if the deadline or the end of the session came first.
        """
        return await self._attempts.waits.wait(waiting, deadline)

    def enter(self) -> asyncio.AbstractEventLoop:
        """The running loop. The first call makes it the session's."""
        if self._attempts.over:
            if self.binding.loop is not None:
                self.binding.enter()
            raise SessionClosed(
                "the session is closed: make a new one" if self.closed else HTTP_CLOSED
            )
        return self.binding.enter()

    def check(self, options: CallOptions) -> float | None:
        """Check the options of a call that is made later.

        Returns:
            The seconds that it has. None: no end.
        """
        one_of("priority", options.get("priority", "foreground"), PRIORITIES)
        optional_instance("retry", options.get("retry"), Retry)
        checked_headers(options.get("headers"))
        return self.timeout_of(options.get("timeout", UNSET))

    def timeout_of(self, timeout: Timeout) -> float | None:
        """The seconds that a call has if it was given this `timeout`."""
        if isinstance(timeout, UnsetType):
            return self._timeout
        return optional_seconds("timeout", timeout)

    def child(self) -> "Transport":
        """The same transport, to be aborted by itself: for background work that goes on
        when the callers' calls have ended.
        """
        self.enter()
        child = copy(self)
        child._attempts = self._attempts.child()
        return child

    def abort(self) -> None:
        """End all waits and exchanges with `SessionClosed`."""
        # Before the first call there are none.
        now = self.binding.enter().time() if self.binding.loop else 0.0
        self._attempts.abort(now)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the first call. None: there was no call."""
        return self.binding.loop

    @property
    def in_child(self) -> bool:
        """Whether this process is a fork of the one that uses the session."""
        return self.binding.in_child

    def leave_to_parent(self) -> None:
        """End the session in a forked child, and touch nothing that the parent uses."""
        self._attempts.closed = True
        self._pool.leave_to_parent()

    def discard(self) -> None:
        """Release everything, in place of `aclose` after the loop has ended."""
        self._attempts.closed = True
        self._pool.discard()
        self.binding.leave()

    async def aclose(self) -> asyncio.CancelledError | None:
        """Close the HTTP session if it is ours, and leave the shared budget.

        Returns:
            A cancellation that arrived meanwhile, for the caller to raise.
        """
        loop = self.binding.loop
        if loop is None:
            await self._pool.aclose()
            return None
        end = loop.time() + CLOSE_TIMEOUT
        try:
            closing, cancelled = await self._close_pool(end)
            if closing.cancelled():
                # The end of the loop cancels all tasks once, this one too.
                closing, again = await self._close_pool(end)
                cancelled = again or cancelled
        finally:
            self.binding.leave()
        if not closing.done():
            closing.cancel()
        elif not closing.cancelled():
            closing.result()
        return cancelled

    async def _close_pool(
        self, end: float
    ) -> tuple[asyncio.Task[None], asyncio.CancelledError | None]:
        closing = asyncio.create_task(self._pool.aclose(), name="edgegap close")
        return closing, await finish([closing], end)
