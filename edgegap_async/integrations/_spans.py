"""Spans of OpenTelemetry for the events of sessions.

An event comes when all is over, so a span begins in the past. The span of a call is
started at the end of its first attempt, so that it is there for its attempts, and for what
it causes.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock
from typing import TypeAlias
from urllib.parse import urlsplit

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from ..events import Event
from ._watched import by

Attributes: TypeAlias = dict[str, str | int | float | bool]
NANO = 1_000_000_000
HTTPS_PORT = 443
# The lowest status of an error.
BAD_REQUEST = 400
# Calls that are remembered after their end: they may still cause others, or have an attempt
# that has not ended.
MOST_CALLS = 10_000


def http_attributes(event: Event) -> Attributes:
    """The attributes of a request that spans and metrics have. Their values are bounded."""
    address, port = _address(event.host)
    found: Attributes = {
        "http.request.method": event.method,
        "server.address": address,
        "server.port": port,
    }
    # `session.request` knows the path only.
    if event.operation != "request":
        found["url.template"] = event.path
    if isinstance(event.outcome, int):
        found["http.response.status_code"] = event.outcome
    if event.error is not None:
        failed = isinstance(event.outcome, int) and event.outcome >= BAD_REQUEST
        found["error.type"] = str(event.outcome) if failed else event.error
    return found


@lru_cache(maxsize=64)
def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or HTTPS_PORT


class _Call:
    """The span of a call.

    Attributes:
        context: of the span.
        parent: the context of the span of the caller. It may be invalid.
        span: None: it has ended.
    """

    __slots__ = ("_began", "_wall", "context", "parent", "span")

    def __init__(self, span: Span, parent: SpanContext, now: int) -> None:
        self.span: Span | None = span
        self.context: SpanContext = span.get_span_context()
        self.parent: SpanContext = parent
        # The wall clock may be set meanwhile, so it is read once for each call.
        self._wall, self._began = now, _loop_time()

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return self._wall + _nano(_loop_time() - self._began)


class Spans:
    """A span for each call, with one for each of its attempts, and one for the time until a
    server is READY.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # By the number of the call. The latest last. Sessions may be on several threads.
        self._calls: OrderedDict[int, _Call] = OrderedDict()
        self._lock = Lock()

    def attempt(self, event: Event) -> None:
        """An attempt has ended. Its call goes on, or the caller has left it."""
        call = self._call_of(event)
        attributes = http_attributes(event)
        if event.attempt > 1:
            attributes["http.request.resend_count"] = event.attempt - 1
        # The convention allows no path in the name of a span.
        target = attributes.get("url.template")
        if target is None:
            attributes["url.path"] = event.path
        end = call.now()
        span = self._tracer.start_span(
            f"{event.method} {target}" if target else event.method,
            context=_inside(call.context, get_current()),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=end - _nano(event.round_trip),
        )
        _end(span, end, error=event.error)

    def call(self, event: Event) -> None:
        """A call has ended."""
        call = self._call_of(event)
        span, call.span = call.span, None
        if span is None:
            return
        span.set_attributes(
            {
                "edgegap.attempts": event.attempt,
                "edgegap.queued": event.queued,
                "edgegap.recovered": event.recovered,
            }
        )
        if event.request_id is not None:
            span.set_attribute("edgegap.request_id", event.request_id)
        if event.error is not None:
            span.set_attribute("error.type", event.error)
        _end(span, call.now(), error=event.error)

    def ready(self, event: Event) -> None:
        """A server is READY. Its span begins with the sending of the deploy, outlives the
        span of that call, and has the same parent.
        """
        call = self._calls.get(event.call_id)
        if call is None or event.seconds is None:
            return
        end = call.now()
        span = self._tracer.start_span(
            "deployment ready",
            context=_inside(call.parent, Context()),
            attributes={"edgegap.request_id": event.request_id or ""},
            links=[Link(call.context)],
            start_time=end - _nano(event.seconds),
        )
        span.end(end)

    def _call_of(self, event: Event) -> _Call:
        known = self._calls.get(event.call_id)
        return known or self._begin(event)

    def _begin(self, event: Event) -> _Call:
        """Start the span of a call, of which this is the first event."""
        now = time.time_ns()
        span = self._tracer.start_span(
            event.operation,
            attributes=_call_attributes(event),
            links=self._links(event.caused_by),
            start_time=now - _nano(event.queued + event.round_trip),
        )
        call = _Call(span, get_current_span().get_span_context(), now)
        with self._lock:
            self._calls[event.call_id] = call
            full = len(self._calls) > MOST_CALLS
            _, forgotten = self._calls.popitem(last=False) if full else (0, None)
        if forgotten and forgotten.span:
            forgotten.span.end(forgotten.now())
        return call

    def _links(self, call_ids: Iterable[int]) -> list[Link]:
        calls = map(self._calls.get, call_ids)
        return [Link(each.context) for each in calls if each]


def _call_attributes(event: Event) -> Mapping[str, str]:
    return {
        "edgegap.operation": event.operation,
        "edgegap.limit": event.limit or "",
        "edgegap.by": by(event),
    }


def _inside(span: SpanContext, context: Context) -> Context:
    return set_span_in_context(NonRecordingSpan(span), context)


def _end(span: Span, at: int, error: str | None) -> None:
    if error is not None:
        span.set_status(StatusCode.ERROR)
    span.end(at)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _nano(seconds: float) -> int:
    return int(seconds * NANO)
