"""Metrics of sessions for Prometheus, by `prometheus_client`.

    metrics = Metrics()

    async with EdgegapSession(on_event=metrics) as edgegap:
        metrics.watch(edgegap)

It needs the extra `prometheus`: `pip install 'edgegap-async[prometheus]'`.
`docs/operations/monitoring.md` has the table of the metrics.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.core import GaugeMetricFamily
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "edgegap_async.integrations.prometheus needs prometheus-client: pip install 'edgegap-async[prometheus]'",
        name=_error.name,
    ) from _error

from ..events import Event, EventKind
from ..models._check import fail, optional_instance
from ._watched import SECONDS, Kind, SessionWatcher, by

# The variables that make prometheus_client keep its values in files.
MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: as Prometheus shows it.
        labels: their values are bounded: no request_id, no tag, no path.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS: tuple[Metric, ...] = (
    Metric(
        "edgegap_attempts_total",
        "counter",
        ("operation", "outcome"),
        "Requests that have ended, by HTTP status or class of the error.",
    ),
    Metric(
        "edgegap_calls_total",
        "counter",
        ("operation", "outcome", "by"),
        'Calls that have ended: "ok" or the class of the error; by "user" or "session".',
    ),
    Metric(
        "edgegap_retries_total",
        "counter",
        ("operation",),
        "Attempts after the first one of a call.",
    ),
    Metric(
        "edgegap_recovered_calls_total",
        "counter",
        ("operation",),
        "Calls that have succeeded although the answer to an attempt was lost.",
    ),
    Metric(
        "edgegap_queue_seconds",
        "histogram",
        ("limit", "by"),
        "Time of a call in the queue of its limit, and in pauses before retries.",
    ),
    Metric(
        "edgegap_round_trip_seconds",
        "histogram",
        ("operation",),
        "Time from a request to its end.",
    ),
    Metric(
        "edgegap_ready_seconds",
        "histogram",
        (),
        "Time from the sending of a deploy until the session knows that its server is READY.",
    ),
    Metric(
        "edgegap_servers_ready_total",
        "counter",
        (),
        "Servers that have become READY.",
    ),
    Metric(
        "edgegap_servers_stopped_total",
        "counter",
        (),
        "Servers whose stop the API has accepted.",
    ),
    Metric(
        "edgegap_servers_ended_total",
        "counter",
        ("reason",),
        'Servers that have ended: "stopped", "failed" or "gone".',
    ),
    Metric(
        "edgegap_leftovers_total",
        "counter",
        (),
        "Servers that may still be running although their session is closed.",
    ),
    Metric(
        "edgegap_limit_refused_total",
        "counter",
        ("limit",),
        "Answers with the status 429.",
    ),
    Metric(
        "edgegap_limit_requests_per_second",
        "gauge",
        ("limit",),
        "Requests per second that are allowed at the moment.",
    ),
    Metric(
        "edgegap_limit_waiting_calls",
        "gauge",
        ("limit",),
        "Calls in the queue.",
    ),
    Metric(
        "edgegap_limit_in_flight_requests",
        "gauge",
        ("limit",),
        "Requests that have no answer yet.",
    ),
    Metric(
        "edgegap_servers_held",
        "gauge",
        (),
        "Servers that the sessions have to stop: those of open blocks, and those being stopped.",
    ),
)
# The value of a gauge, by the values of its labels.
Values: TypeAlias = dict[tuple[str, ...], float]


class Metrics(SessionWatcher):
    """Counts what sessions do. Give it to all of them: `EdgegapSession(on_event=metrics)`.

    In the multiprocess mode of `prometheus_client`, nothing is read at collection: the
    gauges are set after each event, and are summed over the processes that live.

    Args:
        registry: where the metrics are registered; not given: the default one.

    Raises:
        ValueError: the registry has these metrics already: use one `Metrics` for all
            sessions.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__()
        optional_instance("registry", registry, CollectorRegistry)
        registry = REGISTRY if registry is None else registry
        self._reports: Mapping[EventKind, Callable[[Event], None]] = {
            "attempt": self._attempt,
            "call": self._call,
            "ready": self._ready,
            "stopped": self._stopped,
            "ended": self._ended,
            "leftover": self._leftover,
        }
        try:
            self._counters = {
                name: Counter(name, it.help, it.labels, registry=registry)
                for name, it in _of_kind("counter").items()
            }
        except ValueError:
            fail(
                "registry",
                "has these metrics already: give one Metrics to all sessions",
            )
        self._histograms = {
            name: Histogram(
                name, it.help, it.labels, registry=registry, buckets=SECONDS
            )
            for name, it in _of_kind("histogram").items()
        }
        self._gauges: dict[str, Gauge] | None = None
        if any(each in os.environ for each in MULTIPROCESS):
            self._gauges = {
                name: Gauge(
                    name,
                    it.help,
                    it.labels,
                    registry=registry,
                    multiprocess_mode="livesum",
                )
                for name, it in _of_kind("gauge").items()
            }
        else:
            registry.register(self)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        self._reports[event.kind](event)
        if self._gauges is not None:
            # By then, the limiter and the session know of it too.
            asyncio.get_running_loop().call_soon(self._set_gauges)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, for the registry."""
        values = self._values()
        for name, it in _of_kind("gauge").items():
            family = GaugeMetricFamily(name, it.help, labels=it.labels)
            for labels, value in values[name].items():
                family.add_metric(labels, value)
            yield family

    def _set_gauges(self) -> None:
        values = self._values()
        for name, gauge in (self._gauges or {}).items():
            for labels, value in values[name].items():
                (gauge.labels(*labels) if labels else gauge).set(value)

    def _values(self) -> dict[str, Values]:
        loads = self._loads().items()
        return {
            "edgegap_limit_requests_per_second": {(k,): it.rate for k, it in loads},
            "edgegap_limit_waiting_calls": {(k,): it.waiting for k, it in loads},
            "edgegap_limit_in_flight_requests": {(k,): it.in_flight for k, it in loads},
            "edgegap_servers_held": {(): self._held()},
        }

    def _count(self, name: str, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc()

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def _attempt(self, event: Event) -> None:
        self._count("edgegap_attempts_total", event.operation, str(event.outcome))
        if event.attempt > 1:
            self._count("edgegap_retries_total", event.operation)
        if event.outcome == HTTPStatus.TOO_MANY_REQUESTS:
            self._count("edgegap_limit_refused_total", event.limit or "")
        self._observe("edgegap_round_trip_seconds", event.round_trip, event.operation)

    def _call(self, event: Event) -> None:
        maker = by(event)
        outcome = event.error or "ok"
        self._count("edgegap_calls_total", event.operation, outcome, maker)
        if event.recovered:
            self._count("edgegap_recovered_calls_total", event.operation)
        self._observe("edgegap_queue_seconds", event.queued, event.limit or "", maker)

    def _ready(self, event: Event) -> None:
        self._count("edgegap_servers_ready_total")
        if event.seconds is not None:
            self._observe("edgegap_ready_seconds", event.seconds)

    def _stopped(self, event: Event) -> None:
        self._count("edgegap_servers_stopped_total")

    def _ended(self, event: Event) -> None:
        self._count("edgegap_servers_ended_total", str(event.outcome))

    def _leftover(self, event: Event) -> None:
        self._count("edgegap_leftovers_total")


def _of_kind(kind: Kind) -> dict[str, Metric]:
    return {each.name: each for each in METRICS if each.kind == kind}
