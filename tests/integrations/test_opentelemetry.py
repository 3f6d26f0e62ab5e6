"""`integrations.opentelemetry.Telemetry`, with the real SDK."""

import asyncio
import gc
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.propagate import inject
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.owning import deploy, owning, running
from support.paths import ROOT
from support.raw_server import CUT, GET, SILENT, STUCK, answer, failure, scripted

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async.events import Event
from edgegap_async.integrations import _spans
from edgegap_async.integrations.opentelemetry import METRICS, Telemetry
from edgegap_async.simulator import Fault, Simulator


class Recorder:
    """Providers that keep what they are given."""

    def __init__(self) -> None:
        self._exporter, self.tracers = InMemorySpanExporter(), TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.telemetry = Telemetry(self.tracers, self.meters)
        self.tracer = self.tracers.get_tracer("the program")

    def spans(self, *names: str) -> list[ReadableSpan]:
        """The spans that have ended, or those with these names."""
        every = self._exporter.get_finished_spans()
        return [it for it in every if not names or it.name in names]

    def metrics(self) -> dict[str, Any]:
        """The metrics, by name."""
        data = self._reader.get_metrics_data()
        found = data.resource_metrics if data else []
        return {
            metric.name: metric
            for resource in found
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[tuple[Any, ...], Any]:
        """The points of a metric, by the values of their attributes."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric else []
        return {tuple((it.attributes or {}).values()): it for it in points}

    def values(self, name: str) -> dict[tuple[Any, ...], float]:
        """The numbers of a counter or a gauge."""
        return {key: it.value for key, it in self.points(name).items()}


@pytest.fixture
def otel() -> Iterable[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.meters.shutdown()
    recorder.tracers.shutdown()


@asynccontextmanager
async def traced(
    otel: Recorder, *faults: Fault, **session: Any
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    quick = {"ready_after": (3.0, 3.0), "delay_before": (0.02, 0.02)}
    async with owning(
        *faults, options=quick, on_event=otel.telemetry, **session
    ) as both:
        otel.telemetry.watch(both[0])
        yield both


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> float:
    return (int(span.end_time or 0) - int(span.start_time or 0)) / 1e9


def span_id(span: ReadableSpan) -> int:
    return span.get_span_context().span_id  # type: ignore[union-attr]


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


# Spans


async def test_an_attempt_is_a_client_span_in_the_span_of_its_call(
    otel: Recorder,
) -> None:
    async with traced(otel, Fault("deploy", "429", times=2)) as (edgegap, sim):
        with otel.tracer.start_as_current_span("match") as match:
            accepted = await deploy(edgegap)
    (call,) = otel.spans("deployments.deploy")
    attempts = otel.spans("POST /v2/deployments")
    assert parent_id(call) == match.get_span_context().span_id
    assert call.kind is SpanKind.INTERNAL
    assert attributes(call)["edgegap.request_id"] == accepted.request_id
    assert attributes(call)["edgegap.attempts"] == len(attempts) == 3
    assert {parent_id(it) for it in attempts} == {span_id(call)}
    assert {it.kind for it in attempts} == {SpanKind.CLIENT}
    host, _, port = sim.url.removeprefix("http://").partition(":")
    same = {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": int(port),
        "url.template": "/v2/deployments",
    }
    refused = {"http.response.status_code": 429, "error.type": "429"}
    assert [attributes(it) for it in attempts] == [
        {**same, **refused},
        {**same, **refused, "http.request.resend_count": 1},
        {**same, "http.response.status_code": 202, "http.request.resend_count": 2},
    ]
    codes = [it.status.status_code for it in attempts]
    assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert call.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("acts", "error_types"),
    [
        ([answer(503)], ["503", "503"]),
        ([answer(404)], ["404"]),
        ([CUT], ["TransportError", "TransportError"]),
        ([answer(200, "<html>")], ["UnexpectedAnswer"] * 2),
    ],
)
async def test_error_type_is_the_status_or_the_class_of_the_error(
    otel: Recorder, acts: list[Any], error_types: list[str]
) -> None:
    async with scripted(*acts, retry=Retry(tries=2), on_event=otel.telemetry) as (
        edgegap,
        _,
    ):
        error = await failure(GET(edgegap))
    attempts = [it for it in otel.spans() if it.kind is SpanKind.CLIENT]
    assert [attributes(it)["error.type"] for it in attempts] == error_types
    (call,) = otel.spans("deployments.status")
    assert attributes(call)["error.type"] == type(error).__name__
    codes = {it.status.status_code for it in (call, *attempts)}
    assert codes == {StatusCode.ERROR}


async def test_spans_lie_where_the_requests_and_the_pauses_were(otel: Recorder) -> None:
    limits = Limits(deploy=1)
    async with traced(otel, Fault("deploy", "503-before", times=1), limits=limits) as (
        edgegap,
        _,
    ):
        before = asyncio.get_running_loop().time()
        await deploy(edgegap)
        took = asyncio.get_running_loop().time() - before
        await deploy(edgegap)
    first, second = otel.spans("deployments.deploy")
    assert seconds(first) == pytest.approx(took, abs=1e-5)
    assert attributes(first)["edgegap.queued"] > 0.9
    # It waits for its slot.
    assert attributes(second)["edgegap.queued"] > 0.9
    for call in (first, second):
        inside = [it for it in otel.spans() if parent_id(it) == span_id(call)]
        assert all(0.02 <= seconds(it) < 0.1 for it in inside)
        for one, next_one in pairwise(inside):
            assert (one.end_time or 0) < (next_one.start_time or 0)
        assert (call.start_time or 0) <= (inside[0].start_time or 0)
        assert (call.end_time or 0) >= (inside[-1].end_time or 0)
        round_trips = sum(map(seconds, inside))
        queued = attributes(call)["edgegap.queued"]
        assert seconds(call) == pytest.approx(round_trips + queued, abs=1e-5)


async def test_a_call_that_was_never_sent_is_a_span_without_attempts(
    otel: Recorder,
) -> None:
    async with scripted(SILENT, limits=Limits(status=1), on_event=otel.telemetry) as (
        edgegap,
        _,
    ):
        first = asyncio.ensure_future(failure(GET(edgegap, timeout=3)))
        await asyncio.sleep(1)
        with otel.tracer.start_as_current_span("match") as match:
            await failure(GET(edgegap, timeout=1))
        (call,) = otel.spans("deployments.status")
        await first
    assert parent_id(call) == match.get_span_context().span_id
    assert seconds(call) == pytest.approx(1.0, abs=0.01)
    assert attributes(call)["edgegap.attempts"] == 0
    assert attributes(call)["error.type"] == "DeadlineExceeded"
    assert [it for it in otel.spans() if parent_id(it) == span_id(call)] == []


async def test_what_the_session_does_by_itself_is_linked_to_the_calls_it_is_for(
    otel: Recorder,
) -> None:
    async with traced(otel) as (edgegap, _):
        with otel.tracer.start_as_current_span("two matches"):
            accepted = await asyncio.gather(deploy(edgegap), deploy(edgegap))
            ids = [it.request_id for it in accepted]
            await asyncio.gather(*map(edgegap.deployments.wait_until_ready, ids))
    deploys = {span_id(it): it for it in otel.spans("deployments.deploy")}
    polls = otel.spans("deployments.status", "deployments.list")
    assert polls
    assert {parent_id(it) for it in polls} == {None}
    linked = [{link.context.span_id for link in it.links} for it in polls]
    assert set().union(*linked) == {*deploys}
    assert all(linked)
    for span in polls:
        inside = [it for it in otel.spans() if parent_id(it) == span_id(span)]
        assert len(inside) == attributes(span)["edgegap.attempts"]


async def test_the_search_for_a_lost_deploy_is_linked_to_it(otel: Recorder) -> None:
    async with traced(otel, Fault("deploy", "cut-after", times=1)) as (edgegap, _):
        await deploy(edgegap)
    (call,) = otel.spans("deployments.deploy")
    assert attributes(call)["edgegap.recovered"] is True
    searches = otel.spans("deployments.list")
    assert searches
    assert {link.context.span_id for it in searches for link in it.links} == {
        span_id(call)
    }


async def test_an_attempt_that_ends_after_its_caller_has_left_is_in_the_span_of_the_call(
    otel: Recorder,
) -> None:
    async with scripted(STUCK, on_event=otel.telemetry, attempt_timeout=5.0) as (
        edgegap,
        _,
    ):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait({call})
        (span,) = otel.spans("deployments.deploy")
        assert attributes(span)["error.type"] == "CancelledError"
        assert otel.spans("POST /v2/deployments") == []
        await asyncio.sleep(30)
    late = otel.spans("POST /v2/deployments")
    assert late
    assert {parent_id(it) for it in late} == {span_id(span)}
    assert (late[0].end_time or 0) > (span.end_time or 0)


async def test_the_time_until_a_server_is_ready_is_a_span_beside_its_deploy(
    otel: Recorder,
) -> None:
    async with traced(otel) as (edgegap, _):
        with otel.tracer.start_as_current_span("match") as match:
            async with running(edgegap) as server:
                pass
    (ready,) = otel.spans("deployment ready")
    (call,) = otel.spans("deployments.deploy")
    assert parent_id(ready) == parent_id(call) == match.get_span_context().span_id
    assert [link.context.span_id for link in ready.links] == [span_id(call)]
    assert attributes(ready) == {"edgegap.request_id": server.request_id}
    assert 3.0 <= seconds(ready) < 6.0
    assert abs((ready.start_time or 0) - (call.start_time or 0)) < 1e6


async def test_a_request_of_another_operation_has_no_path_in_its_name(
    otel: Recorder,
) -> None:
    async with scripted(answer(200, {}), on_event=otel.telemetry) as (edgegap, _):
        await edgegap.request("GET", "/v1/apps/my-game")
    (attempt,) = otel.spans("GET")
    assert attributes(attempt)["url.path"] == "/v1/apps/my-game"
    assert "url.template" not in attributes(attempt)
    assert [it.name for it in otel.spans()] == ["GET", "request"]
    (point,) = otel.points("http.client.request.duration").values()
    assert "/v1/apps" not in str(point.attributes)


async def test_old_calls_are_forgotten_and_their_spans_end(
    otel: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spans, "MOST_CALLS", 3)

    def event(kind: Any, number: int, **other: Any) -> Event:
        values = {"host": "api.edgegap.com", "operation": "deployments.status"}
        return Event(kind=kind, call_id=number, outcome=200, **values, **other)

    for number in range(1, 6):
        otel.telemetry(event("attempt", number, attempt=1))
    assert len(otel.spans("deployments.status")) == 2
    for number in range(3, 6):
        otel.telemetry(event("call", number, attempt=1))
    assert len(otel.spans("deployments.status")) == 5
    otel.telemetry(event("call", 6, caused_by=(1, 5)))
    (last,) = otel.spans("deployments.status")[5:]
    assert len(last.links) == 1


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("api.edgegap.com", "api.edgegap.com", 443),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:8080", "::1", 8080),
    ],
)
def test_the_host_is_an_address_and_a_port(host: str, address: str, port: int) -> None:
    found = _spans.http_attributes(
        Event(kind="attempt", call_id=1, host=host, outcome=200)
    )
    assert (found["server.address"], found["server.port"]) == (address, port)


async def test_a_call_can_pass_the_context_of_its_caller_on(otel: Recorder) -> None:
    async with scripted(answer(), on_event=otel.telemetry) as (edgegap, server):
        with otel.tracer.start_as_current_span("match") as match:
            headers: dict[str, str] = {}
            inject(headers)
            await GET(edgegap, headers=headers)
    trace_id = f"{match.get_span_context().trace_id:032x}"
    assert trace_id in server.arrivals[0].headers["traceparent"]


# Metrics


async def test_requests_are_measured_as_the_conventions_say(otel: Recorder) -> None:
    async with traced(otel, Fault("deploy", "429", times=2)) as (edgegap, sim):
        await deploy(edgegap)
    metric = otel.metrics()["http.client.request.duration"]
    assert metric.unit == "s"
    host, _, port = sim.url.removeprefix("http://").partition(":")
    found = {
        it.attributes["http.response.status_code"]: it for it in metric.data.data_points
    }
    same = {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": int(port),
        "url.template": "/v2/deployments",
    }
    ok = {**same, "http.response.status_code": 202}
    refused = {**same, "http.response.status_code": 429, "error.type": "429"}
    assert dict(found[202].attributes) == ok
    assert dict(found[429].attributes) == refused
    assert (found[202].count, found[429].count) == (1, 2)
    assert found[202].explicit_bounds == (
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0),
    )
    attempts = otel.spans("POST /v2/deployments")
    total = found[202].sum + found[429].sum
    assert total == pytest.approx(sum(map(seconds, attempts)), abs=1e-6)
    assert otel.values("edgegap.call.retries") == {("deployments.deploy",): 2}
    assert otel.values("edgegap.limit.refusals") == {("deploy",): 2}
    calls = otel.points("edgegap.call.duration")
    call = calls["deployments.deploy", "user", False]
    assert dict(call.attributes) == {
        "edgegap.operation": "deployments.deploy",
        "edgegap.by": "user",
        "edgegap.recovered": False,
    }


async def test_servers_are_measured_from_deploy_to_end(otel: Recorder) -> None:
    async with traced(otel, Fault("stop", "503-before"), cleanup_timeout=1.0) as (
        edgegap,
        sim,
    ):
        assert otel.values("edgegap.server.held") == {(): 0}
        block = running(edgegap)
        server = await block.__aenter__()
        assert otel.values("edgegap.server.held") == {(): 1}
        async with EdgegapSession("made-up", base_url=sim.url, limits=Limits()) as it:
            assert it.held == 0
        other = await deploy(edgegap)
        await edgegap.deployments.wait_until_ready(other.request_id)
    assert [it[0] for it in edgegap.leftovers] == [server.request_id]
    ready = otel.points("edgegap.server.ready.duration")[()]
    assert ready.count == 2
    assert ready.sum == pytest.approx(6.0, abs=2.0)
    assert otel.values("edgegap.server.leftovers") == {(): 1}
    assert otel.values("edgegap.server.held") == {(): 0}


async def test_stops_and_ends_are_counted(otel: Recorder) -> None:
    async with traced(otel) as (edgegap, _):
        async with running(edgegap):
            pass
        assert otel.values("edgegap.server.stops") == {(): 1}
    async with traced(otel) as (edgegap, sim), running(edgegap) as server:
        reason = await ended_by_another(sim, server)
        assert otel.values("edgegap.server.ends") == {(reason,): 1}


async def ended_by_another(sim: Simulator, server: Any) -> str:
    """Let another session stop a server, and return why it has ended."""
    async with EdgegapSession("made-up", base_url=sim.url) as other:
        await other.deployments.ensure_stopped(server.request_id)
        reason: str = (await server.wait_ended(timeout=60)).value
        return reason


async def test_gauges_tell_of_each_limit_and_of_no_unlimited_rate(
    otel: Recorder,
) -> None:
    async with traced(otel, limits=Limits(deploy=2, other=None)) as (edgegap, _):
        calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(9)]
        await asyncio.sleep(0.001)
        usage = edgegap.usage()
        assert usage["deploy"].waiting > 0
        assert otel.values("edgegap.limit.waiting") == {
            (name,): it.waiting for name, it in usage.items()
        }
        assert otel.values("edgegap.limit.in_flight") == {
            (name,): it.in_flight for name, it in usage.items()
        }
        assert otel.values("edgegap.limit.rate") == {
            (name,): it.rate for name, it in usage.items() if it.rate is not None
        }
        await asyncio.gather(*calls)


async def test_the_metrics_are_those_of_the_table(otel: Recorder) -> None:
    async with (
        traced(otel, Fault("deploy", "429", times=1)) as (edgegap, sim),
        running(edgegap) as server,
    ):
        await ended_by_another(sim, server)
        gauges = otel.metrics()
    async with traced(otel, Fault("stop", "503-before"), cleanup_timeout=1.0) as (
        edgegap,
        _,
    ):
        await running(edgegap).__aenter__()
    found = {**gauges, **otel.metrics()}
    table = {it.name: it for it in METRICS}
    assert {*found} == {*table}
    for name, metric in found.items():
        assert (metric.unit, metric.description) == (table[name].unit, table[name].help)
        for point in metric.data.data_points:
            assert {*point.attributes} <= {*table[name].attributes}, name
    attributes = {each for it in METRICS for each in it.attributes}
    assert not attributes & {"edgegap.request_id", "edgegap.tag", "url.path"}


def test_the_page_about_monitoring_has_the_table_of_the_metrics() -> None:
    page = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    row = re.compile(
        r"^\| `([a-z_.]+)` \| (\w+) \| `(\S+)` \| (.*?) \| (.*) \|$", re.MULTILINE
    )
    assert row.findall(page) == [
        (
            *(it.name, it.kind, it.unit),
            *(", ".join(f"`{each}`" for each in it.attributes), it.help),
        )
        for it in METRICS
    ]


# Use


def test_without_the_package_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try: import edgegap_async.integrations.opentelemetry\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    ran = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert "pip install 'edgegap-async[opentelemetry]'" in ran.stdout


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider"])
def test_a_wrong_provider_is_named(name: str) -> None:
    arguments: dict[str, Any] = {name: object()}
    with pytest.raises(ValueError, match=rf"^{name} must be"):
        Telemetry(**arguments)


def test_only_a_session_is_watched(otel: Recorder) -> None:
    with pytest.raises(ValueError, match=r"^session must be"):
        otel.telemetry.watch("made-up")  # type: ignore[arg-type]


async def test_it_needs_no_sdk() -> None:
    telemetry = Telemetry()
    async with owning(on_event=telemetry) as (edgegap, _):
        assert telemetry.watch(edgegap) is edgegap
        async with running(edgegap):
            pass
    gc.collect()
