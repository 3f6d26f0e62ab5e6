"""Metrics for Prometheus.

    pip install 'edgegap-async[prometheus]'
    python examples/metrics_prometheus.py

Here they are printed at the end. In a service,
`prometheus_client.start_http_server(8000)` shows them to Prometheus.
"""

import asyncio

from prometheus_client import CollectorRegistry, generate_latest

from edgegap_async import EdgegapSession, run
from edgegap_async.integrations.prometheus import Metrics
from edgegap_async.simulator import Fault, Simulator


async def main() -> CollectorRegistry:
    """Twenty servers on the simulated API, which fails now and then; then the metrics."""
    registry = CollectorRegistry()
    # A service leaves the registry out, and uses the default one.
    metrics = Metrics(registry)
    faults = [Fault("deploy", "429", times=2), Fault("status", "503-before", times=3)]
    async with (
        Simulator(faults=faults) as api,
        EdgegapSession("any-token", base_url=api.url, on_event=metrics) as edgegap,
    ):
        metrics.watch(edgegap)

        async def play() -> None:
            async with edgegap.deployments.running(
                "my-game", "1.0", users=["203.0.113.7"]
            ):
                await asyncio.sleep(60)

        await asyncio.gather(*(play() for _ in range(20)))
        print(generate_latest(registry).decode())
    return registry


if __name__ == "__main__":
    run(main())
