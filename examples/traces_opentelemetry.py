"""Traces with OpenTelemetry, out of what a session tells.

    pip install edgegap-async opentelemetry-sdk
    python examples/traces_opentelemetry.py

Here the spans are printed. In a service, give the provider a `BatchSpanProcessor` with
the exporter of your choice.
"""

import time
from collections.abc import Sequence

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span

from edgegap_async import EdgegapSession, run
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator

NANO = 1_000_000_000


class Spans:
    """Give it to a session as `on_event`: a span for each call, with its time in the
    queue, and one for each attempt.

    An event comes when all is over, so a span is made after the fact. It is told in the
    context of the caller: what is the current span there becomes its parent. What the
    session does by itself (polls, searches, stops) is told in an empty context: the
    parent of its spans is that of the call that caused it.
    """

    def __init__(self, tracer: Tracer, most: int = 10_000) -> None:
        self.tracer = tracer
        # The parent of each call, by its number. The latest last.
        self.parents: dict[int, Context] = {}
        self.most = most

    def _parent(self, event: Event) -> Context | None:
        if get_current_span().get_span_context().is_valid:
            self.parents[event.call_id] = get_current()
            if len(self.parents) > self.most:
                del self.parents[next(iter(self.parents))]
        causes = (event.call_id, *event.caused_by)
        return next((self.parents[it] for it in causes if it in self.parents), None)

    def __call__(self, event: Event) -> None:
        """Make a span of an event."""
        if event.kind in ("ready", "stopped", "ended"):
            self._server(event)
        else:
            self._request(event)

    def _server(self, event: Event) -> None:
        end = time.time_ns()
        span = self.tracer.start_span(
            f"server {event.kind}",
            context=self._parent(event),
            start_time=end - int((event.seconds or 0.0) * NANO),
            attributes={"edgegap.request_id": event.request_id or ""},
        )
        span.end(end)

    def _request(self, event: Event) -> None:
        took = (
            event.round_trip
            if event.kind == "attempt"
            else event.queued + event.round_trip
        )
        end = time.time_ns()
        span = self.tracer.start_span(
            f"{event.operation} {event.kind}",
            context=self._parent(event),
            kind=SpanKind.CLIENT if event.kind == "attempt" else SpanKind.INTERNAL,
            start_time=end - int(took * NANO),
            attributes={
                "http.request.method": event.method,
                "url.template": event.path,
                "server.address": event.host,
                "edgegap.limit": event.limit or "",
                "edgegap.queued": event.queued,
                "edgegap.attempt": event.attempt,
            },
        )
        if event.request_id is not None:
            span.set_attribute("edgegap.request_id", event.request_id)
        if isinstance(event.outcome, int):
            span.set_attribute("http.response.status_code", event.outcome)
        if event.error:
            span.set_attribute("error.type", event.error)
            span.set_status(StatusCode.ERROR)
        span.end(end)


async def main() -> Sequence[ReadableSpan]:
    """One match on the simulated API, which fails once; then its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("my-matchmaker")
    async with (
        Simulator(
            faults=[Fault("status", "503-before", times=1)], delay_before=(0.02, 0.05)
        ) as api,
        EdgegapSession(
            "any-token", base_url=api.url, on_event=Spans(tracer)
        ) as edgegap,
    ):
        with tracer.start_as_current_span("start a match"):
            accepted = await edgegap.deployments.deploy(
                "my-game", "1.0", users=["203.0.113.7"]
            )
            await edgegap.deployments.wait_until_ready(accepted.request_id)
    spans = exporter.get_finished_spans()
    for span in spans:
        print(
            f"{span.name:28} {((span.end_time or 0) - (span.start_time or 0)) / NANO:.3f} s",
            dict(span.attributes or {}),
        )
    return spans


if __name__ == "__main__":
    run(main())
