"""Metrics for Prometheus, out of what a session tells.

    pip install edgegap-async prometheus-client
    python examples/metrics_prometheus.py

Here they are printed at the end. In a service,
`prometheus_client.start_http_server(8000)` shows them to Prometheus.
"""

import asyncio

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from edgegap_async import EdgegapSession, run
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Give it to a session as `on_event`. A request_id is no label: there would be a
    time series for each server.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = ("operation", "outcome")
        self.attempts = Counter(
            "edgegap_attempts",
            "Requests that came to an end.",
            outcomes,
            registry=registry,
        )
        self.calls = Counter(
            "edgegap_calls",
            "Calls that came to an end: with a success, or the error of the caller.",
            ["operation", "outcome", "by"],
            registry=registry,
        )
        self.servers = Counter(
            "edgegap_servers",
            "Servers that are ready, were stopped or have ended.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.ready = Histogram(
            "edgegap_ready_seconds",
            "From the sending of a deploy until its server is READY.",
            registry=registry,
            buckets=SECONDS,
        )
        self.queued = Histogram(
            "edgegap_queued_seconds",
            "A call's wait for its limit.",
            ["limit"],
            registry=registry,
            buckets=SECONDS,
        )
        self.round_trip = Histogram(
            "edgegap_round_trip_seconds",
            "Until an answer.",
            ["operation"],
            registry=registry,
            buckets=SECONDS,
        )
        self.rate = Gauge(
            "edgegap_rate",
            "Requests per second that are allowed now.",
            ["limit"],
            registry=registry,
        )

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if event.kind == "attempt":
            self.attempts.labels(event.operation, event.outcome).inc()
            self.round_trip.labels(event.operation).observe(event.round_trip)
        elif event.kind == "call":
            # A poll, a search or a stop of the session itself has no caller.
            by = "session" if event.caused_by else "user"
            self.calls.labels(event.operation, event.error or "ok", by).inc()
            self.queued.labels(event.limit).observe(event.queued)
        else:
            self.servers.labels(event.kind, event.outcome).inc()
            if event.seconds is not None:
                self.ready.observe(event.seconds)
        if event.rate is not None:
            self.rate.labels(event.limit).set(event.rate)


async def main() -> CollectorRegistry:
    """Twenty servers on the simulated API, which fails now and then; then the metrics."""
    registry = CollectorRegistry()
    faults = [Fault("deploy", "429", times=2), Fault("status", "503-before", times=3)]
    async with (
        Simulator(faults=faults) as api,
        EdgegapSession(
            "any-token", base_url=api.url, on_event=Metrics(registry)
        ) as edgegap,
    ):

        async def start_one() -> None:
            accepted = await edgegap.deployments.deploy(
                "my-game", "1.0", users=["203.0.113.7"]
            )
            await edgegap.deployments.wait_until_ready(accepted.request_id)

        await asyncio.gather(*(start_one() for _ in range(20)))
    print(generate_latest(registry).decode())
    return registry


if __name__ == "__main__":
    run(main())
