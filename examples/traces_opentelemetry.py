"""Traces with OpenTelemetry, out of what a session tells.

    pip install edgegap-async opentelemetry-sdk
    python examples/traces_opentelemetry.py

Here the spans are printed. In a service, give the provider a `BatchSpanProcessor` with
the exporter of your choice.
"""

import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from edgegap_async import EdgegapSession, run
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator

NANO = 1_000_000_000


class Spans:
    """Give it to a session as `on_event`: a span for each call, with its time in the
    queue, and one for each attempt.

    An event comes when all is over, so a span is made after the fact. It is told in the
    task of the caller: what is the current span there becomes its parent.
    """

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def __call__(self, event: Event) -> None:
        """Make a span of an event."""
        took = (
            event.round_trip
            if event.kind == "attempt"
            else event.queued + event.round_trip
        )
        end = time.time_ns()
        span = self.tracer.start_span(
            f"{event.operation} {event.kind}",
            kind=SpanKind.CLIENT if event.kind == "attempt" else SpanKind.INTERNAL,
            start_time=end - int(took * NANO),
            attributes={
                "edgegap.limit": event.limit,
                "edgegap.queued": event.queued,
                "edgegap.attempt": event.attempt,
            },
        )
        if event.request_id is not None:
            span.set_attribute("edgegap.request_id", event.request_id)
        if isinstance(event.outcome, int):
            span.set_attribute("http.response.status_code", event.outcome)
        else:
            span.set_attribute("error.type", event.outcome)
        if isinstance(event.outcome, str) or event.outcome >= 400:
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
            await edgegap.deployments.status(accepted.request_id)
    spans = exporter.get_finished_spans()
    for span in spans:
        print(
            f"{span.name:28} {((span.end_time or 0) - (span.start_time or 0)) / NANO:.3f} s",
            dict(span.attributes or {}),
        )
    return spans


if __name__ == "__main__":
    run(main())
