"""Metrics of sessions for Prometheus, by `prometheus_client`.

    metrics = Metrics()

    async with EdgegapSession(on_event=metrics) as edgegap:
        metrics.watch(edgegap)

It needs the extra `prometheus`: `pip install 'edgegap-async[prometheus]'`. METRICS is the
table of what there is.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple, TypeAlias

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
from ..session import EdgegapSession
from ._watched import Watched

Kind: TypeAlias = Literal["counter", "histogram", "gauge"]
# Seconds: of a request, of a queue and of a deployment.
SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
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


class Metrics:
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
        optional_instance("registry", registry, CollectorRegistry)
        registry = REGISTRY if registry is None else registry
        self._watched = Watched()
        self._reports: Mapping[EventKind, Callable[[Event], None]] = {
            "attempt": self._attempt,
            "call": self._call,
            "ready": self._ready,
            "stopped": self._stopped,
            "ended": self._ended,
            "leftover": self._leftover,
        }
        named = {each.name: each for each in METRICS}
        try:
            self._counters = {
                name: Counter(name, it.help, it.labels, registry=registry)
                for name, it in named.items()
                if it.kind == "counter"
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
            for name, it in named.items()
            if it.kind == "histogram"
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
                for name, it in named.items()
                if it.kind == "gauge"
            }
        else:
            registry.register(self)

    def watch(self, session: EdgegapSession) -> EdgegapSession:
        """Let the gauges tell of a session too, until it is closed. They are sums over all
        sessions that are watched, and keep none of them alive. What sessions share, as they
        have the same token, counts once.

        Returns:
            The session.

        Raises:
            ValueError: it is no session.
        """
        self._watched.add(session)
        return session

    def __call__(self, event: Event) -> None:
        """Count an event."""
        self._reports[event.kind](event)
        if self._gauges is not None:
            # By then, the limiter and the session know of it too.
            asyncio.get_running_loop().call_soon(self._set_gauges)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, for the registry."""
        values = self._values()
        for each in METRICS:
            if each.kind == "gauge":
                family = GaugeMetricFamily(each.name, each.help, labels=each.labels)
                for labels, value in values[each.name].items():
                    family.add_metric(labels, value)
                yield family

    def _set_gauges(self) -> None:
        values = self._values()
        for name, gauge in (self._gauges or {}).items():
            for labels, value in values[name].items():
                (gauge.labels(*labels) if labels else gauge).set(value)

    def _values(self) -> dict[str, Values]:
        loads = self._watched.loads().items()
        return {
            "edgegap_limit_requests_per_second": {(k,): it.rate for k, it in loads},
            "edgegap_limit_waiting_calls": {(k,): it.waiting for k, it in loads},
            "edgegap_limit_in_flight_requests": {(k,): it.in_flight for k, it in loads},
            "edgegap_servers_held": {(): self._watched.held()},
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
        by = "session" if event.caused_by else "user"
        outcome = event.error or "ok"
        self._count("edgegap_calls_total", event.operation, outcome, by)
        if event.recovered:
            self._count("edgegap_recovered_calls_total", event.operation)
        self._observe("edgegap_queue_seconds", event.queued, event.limit or "", by)

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
