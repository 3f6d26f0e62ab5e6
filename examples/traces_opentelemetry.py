"""Traces with OpenTelemetry.

    pip install 'edgegap-async[opentelemetry]' opentelemetry-sdk
    python examples/traces_opentelemetry.py

Here the spans are printed. In a service, give the provider a `BatchSpanProcessor` with
the exporter of your choice, and `Telemetry` nothing, as it uses the global providers.
"""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from edgegap_async import EdgegapSession, run
from edgegap_async.integrations.opentelemetry import Telemetry
from edgegap_async.simulator import Fault, Simulator


async def main() -> Sequence[ReadableSpan]:
    """One match on the simulated API, which fails once; then its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with (
        Simulator(
            faults=[Fault("status", "503-before", times=1)], delay_before=(0.02, 0.05)
        ) as api,
        EdgegapSession(
            "any-token", base_url=api.url, on_event=Telemetry(provider)
        ) as edgegap,
    ):
        with provider.get_tracer("my-matchmaker").start_as_current_span(
            "start a match"
        ):
            accepted = await edgegap.deployments.deploy(
                "my-game", "1.0", users=["203.0.113.7"]
            )
            await edgegap.deployments.wait_until_ready(accepted.request_id)
    spans = exporter.get_finished_spans()
    for span in spans:
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1_000_000_000
        print(f"{span.name:32} {seconds:.3f} s", dict(span.attributes or {}))
    return spans


if __name__ == "__main__":
    run(main())
