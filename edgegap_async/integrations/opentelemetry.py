"""Traces and metrics of sessions for OpenTelemetry.

    telemetry = Telemetry()

    async with EdgegapSession(on_event=telemetry) as edgegap:
        telemetry.watch(edgegap)

It needs the extra `opentelemetry`, `pip install 'edgegap-async[opentelemetry]'`, and an SDK
that your program sets up. `docs/operations/monitoring.md` has the table of the metrics.

Spans follow the semantic conventions for HTTP clients:

- A call has a span with the name of the operation. Its parent is the current span of the
  caller.
- Each attempt has a CLIENT span inside it, such as `POST /v2/deployments`.
- What the session does by itself (polls, searches, stops) has traces of its own, with links
  to the calls that it is for.
- `deployment ready` lasts from the sending of a deploy until its server is READY.

Not in them: `url.full`, as it would hold the request_id and the query.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from math import isfinite
from typing import NamedTuple

try:
    from opentelemetry.metrics import (
        CallbackOptions,
        Histogram,
        Meter,
        MeterProvider,
        Observation,
        get_meter,
    )
    from opentelemetry.trace import TracerProvider, get_tracer
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "edgegap_async.integrations.opentelemetry needs opentelemetry-api: pip install 'edgegap-async[opentelemetry]'",
        name=_error.name,
    ) from _error

from .._version import __version__
from ..events import Event, EventKind
from ..models._check import fail
from ._spans import Attributes, Spans, http_attributes
from ._watched import SECONDS, Kind, Load, SessionWatcher, by

NAME = "edgegap_async"
# The first version of the conventions with all attributes that are used.
SCHEMA = "https://opentelemetry.io/schemas/1.27.0"
# Seconds. The conventions ask for these.
REQUEST_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)


class Metric(NamedTuple):
    """A metric.

    Attributes:
        unit: of UCUM.
        attributes: their values are bounded: no request_id, no tag, no path.
    """

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...]
    help: str


LIMIT = ("edgegap.limit",)
METRICS: tuple[Metric, ...] = (
    Metric(
        "http.client.request.duration",
        "histogram",
        "s",
        (
            *("http.request.method", "server.address", "server.port", "url.template"),
            *("http.response.status_code", "error.type"),
        ),
        "Duration of HTTP client requests.",
    ),
    Metric(
        "edgegap.call.duration",
        "histogram",
        "s",
        ("edgegap.operation", "edgegap.by", "edgegap.recovered", "error.type"),
        "Time of a call, with its time in the queue and all attempts.",
    ),
    Metric(
        "edgegap.call.queue.duration",
        "histogram",
        "s",
        ("edgegap.limit", "edgegap.by"),
        "Time of a call in the queue of its limit, and in pauses before retries.",
    ),
    Metric(
        "edgegap.call.retries",
        "counter",
        "{attempt}",
        ("edgegap.operation",),
        "Attempts after the first one of a call.",
    ),
    Metric(
        "edgegap.server.ready.duration",
        "histogram",
        "s",
        (),
        "Time from the sending of a deploy until the session knows that its server is READY.",
    ),
    Metric(
        "edgegap.server.stops",
        "counter",
        "{server}",
        (),
        "Servers whose stop the API has accepted.",
    ),
    Metric(
        "edgegap.server.ends",
        "counter",
        "{server}",
        ("edgegap.reason",),
        'Servers that have ended: "stopped", "failed" or "gone".',
    ),
    Metric(
        "edgegap.server.leftovers",
        "counter",
        "{server}",
        (),
        "Servers that may still be running although their session is closed.",
    ),
    Metric(
        "edgegap.limit.refusals",
        "counter",
        "{request}",
        LIMIT,
        "Answers with the status 429.",
    ),
    Metric(
        "edgegap.limit.rate",
        "gauge",
        "{request}/s",
        LIMIT,
        "Requests per second that are allowed at the moment. Without a limit, it has no value.",
    ),
    Metric(
        "edgegap.limit.waiting",
        "gauge",
        "{call}",
        LIMIT,
        "Calls in the queue.",
    ),
    Metric(
        "edgegap.limit.in_flight",
        "gauge",
        "{request}",
        LIMIT,
        "Requests that have no answer yet.",
    ),
    Metric(
        "edgegap.server.held",
        "gauge",
        "{server}",
        (),
        "Servers that the sessions have to stop: those of open blocks, and those being stopped.",
    ),
)
# The gauges of a limit.
LOADS: Mapping[str, Callable[[Load], float]] = {
    "edgegap.limit.rate": lambda load: load.rate,
    "edgegap.limit.waiting": lambda load: load.waiting,
    "edgegap.limit.in_flight": lambda load: load.in_flight,
}


class Telemetry(SessionWatcher):
    """Makes spans and metrics of what sessions do. Give it to all of them:
    `EdgegapSession(on_event=telemetry)`.

    Args:
        tracer_provider: where the spans go; not given: the global one.
        meter_provider: where the metrics go; not given: the global one.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(tracer_provider, TracerProvider | None):
            fail("tracer_provider", "must be a TracerProvider of OpenTelemetry")
        if not isinstance(meter_provider, MeterProvider | None):
            fail("meter_provider", "must be a MeterProvider of OpenTelemetry")
        self._spans = Spans(get_tracer(NAME, __version__, tracer_provider, SCHEMA))
        self._reports: Mapping[EventKind, Callable[[Event], None]] = {
            "attempt": self._attempt,
            "call": self._call,
            "ready": self._ready,
            "stopped": self._stopped,
            "ended": self._ended,
            "leftover": self._leftover,
        }
        meter = get_meter(NAME, __version__, meter_provider, SCHEMA)
        self._histograms = {
            each.name: _histogram(meter, each)
            for each in METRICS
            if each.kind == "histogram"
        }
        self._counters = {
            each.name: meter.create_counter(each.name, each.unit, each.help)
            for each in METRICS
            if each.kind == "counter"
        }
        for each in METRICS:
            if each.kind == "gauge":
                read = self._gauge(each.name)
                meter.create_observable_gauge(each.name, [read], each.unit, each.help)

    def __call__(self, event: Event) -> None:
        """Make the spans and the metrics of an event."""
        self._reports[event.kind](event)

    def _gauge(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        value = LOADS.get(name)
        if value is None:
            return lambda _: [Observation(self._held())]
        return lambda _: [
            Observation(number, {"edgegap.limit": limit})
            for limit, load in self._loads().items()
            if isfinite(number := value(load))
        ]

    def _count(self, name: str, attributes: Attributes | None = None) -> None:
        self._counters[name].add(1, attributes)

    def _measure(
        self, name: str, seconds: float, attributes: Attributes | None = None
    ) -> None:
        self._histograms[name].record(seconds, attributes)

    def _attempt(self, event: Event) -> None:
        self._spans.attempt(event)
        attributes = http_attributes(event)
        self._measure("http.client.request.duration", event.round_trip, attributes)
        if event.attempt > 1:
            operation: Attributes = {"edgegap.operation": event.operation}
            self._count("edgegap.call.retries", operation)
        if event.outcome == HTTPStatus.TOO_MANY_REQUESTS:
            limit: Attributes = {"edgegap.limit": event.limit or ""}
            self._count("edgegap.limit.refusals", limit)

    def _call(self, event: Event) -> None:
        self._spans.call(event)
        queue: Attributes = {
            "edgegap.limit": event.limit or "",
            "edgegap.by": by(event),
        }
        self._measure("edgegap.call.queue.duration", event.queued, queue)
        call: Attributes = {
            "edgegap.operation": event.operation,
            "edgegap.by": by(event),
            "edgegap.recovered": event.recovered,
        }
        if event.error is not None:
            call["error.type"] = event.error
        self._measure("edgegap.call.duration", event.queued + event.round_trip, call)

    def _ready(self, event: Event) -> None:
        self._spans.ready(event)
        if event.seconds is not None:
            self._measure("edgegap.server.ready.duration", event.seconds)

    def _stopped(self, event: Event) -> None:
        self._count("edgegap.server.stops")

    def _ended(self, event: Event) -> None:
        self._count("edgegap.server.ends", {"edgegap.reason": str(event.outcome)})

    def _leftover(self, event: Event) -> None:
        self._count("edgegap.server.leftovers")


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    request = metric.name == "http.client.request.duration"
    return meter.create_histogram(
        metric.name,
        metric.unit,
        metric.help,
        explicit_bucket_boundaries_advisory=REQUEST_SECONDS if request else SECONDS,
    )
