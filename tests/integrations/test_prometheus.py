"""`integrations.prometheus.Metrics`, with the real prometheus_client."""

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.asgi import lifespan
from support.limiter_model import run
from support.owning import deploy, owning, running
from support.paths import ROOT

from edgegap_async import EdgegapSession, Limits
from edgegap_async.integrations.asgi import EdgegapMiddleware
from edgegap_async.integrations.prometheus import METRICS, Metrics
from edgegap_async.simulator import Fault, Simulator

Sample = tuple[str, ...]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def values(registry: CollectorRegistry) -> dict[Sample, float]:
    """The values, by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


def of(registry: CollectorRegistry, name: str) -> dict[Sample, float]:
    """The values of one metric, by labels."""
    name = f"edgegap_{name}"
    return {key[1:]: it for key, it in values(registry).items() if key[0] == name}


@asynccontextmanager
async def measured(
    registry: CollectorRegistry, *faults: Fault, **session: Any
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    metrics = Metrics(registry)
    quick = {"ready_after": (3.0, 3.0)}
    async with owning(*faults, options=quick, on_event=metrics, **session) as both:
        metrics.watch(both[0])
        yield both


async def test_attempts_calls_and_retries_are_counted_by_operation_and_outcome(
    registry: CollectorRegistry,
) -> None:
    faults = (Fault("deploy", "429", times=2), Fault("deploy", "503-after", times=1))
    async with measured(registry, *faults) as (edgegap, _):
        await asyncio.gather(*(deploy(edgegap) for _ in range(5)))
    deploys = ("deployments.deploy",)
    attempts = of(registry, "attempts_total")
    assert attempts[*deploys, "429"] == 2
    assert of(registry, "calls_total")[*deploys, "ok", "user"] == 5
    assert of(registry, "limit_refused_total") == {("deploy",): 2}
    made = sum(it for key, it in attempts.items() if key[:1] == deploys)
    assert of(registry, "retries_total")[deploys] == made - 5
    assert of(registry, "round_trip_seconds_count")[deploys] == made
    # Its server was found by its tag.
    assert of(registry, "recovered_calls_total") == {deploys: 1}


async def test_an_error_of_a_call_is_counted_by_its_class(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry) as (edgegap, _):
        for _ in range(2):
            with pytest.raises(Exception, match="not"):
                await edgegap.deployments.status("a0c065e17a11")
    key = ("deployments.status", "NotFound", "user")
    assert of(registry, "calls_total")[key] == 2
    assert of(registry, "attempts_total")["deployments.status", "404"] == 2


async def test_waiting_for_the_queue_and_for_readiness_is_measured_in_seconds(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry, limits=Limits(deploy=1)) as (edgegap, _):
        accepted = await asyncio.gather(*(deploy(edgegap) for _ in range(3)))
        ids = [each.request_id for each in accepted]
        await asyncio.gather(*map(edgegap.deployments.wait_until_ready, ids))
    queue = of(registry, "queue_seconds_sum")
    # One at once, the others after one and two seconds.
    assert queue["deploy", "user"] == pytest.approx(3.0, abs=0.5)
    assert of(registry, "queue_seconds_count")["deploy", "user"] == 3
    assert queue["list", "session"] == pytest.approx(0.0, abs=0.5)
    assert of(registry, "ready_seconds_count") == {(): 3}
    assert of(registry, "ready_seconds_sum")[()] == pytest.approx(9.0, abs=3.0)


async def test_servers_are_held_until_their_stop_is_accepted(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry) as (edgegap, _):
        assert of(registry, "servers_held") == {(): 0}
        async with running(edgegap), running(edgegap):
            assert of(registry, "servers_held") == {(): 2}
        assert of(registry, "servers_held") == {(): 0}
        await deploy(edgegap)
        # It is the caller's.
        assert of(registry, "servers_held") == {(): 0}
    assert of(registry, "servers_ready_total") == {(): 2}
    assert of(registry, "servers_stopped_total") == {(): 2}
    assert of(registry, "leftovers_total") == {(): 0}


async def test_the_end_of_a_server_is_counted_by_its_reason(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry) as (edgegap, sim):
        other = EdgegapSession("made-up", base_url=sim.url)
        async with running(edgegap) as server, other:
            await other.deployments.ensure_stopped(server.request_id)
            reason = await server.wait_ended(timeout=60)
    assert of(registry, "servers_ended_total") == {(reason.value,): 1}


@pytest.mark.parametrize("servers", [1, 3])
async def test_what_a_closed_session_may_have_left_running_is_counted(
    registry: CollectorRegistry, servers: int
) -> None:
    async with measured(registry, Fault("stop", "503-before"), cleanup_timeout=1.0) as (
        edgegap,
        _,
    ):
        for _ in range(servers):
            await running(edgegap).__aenter__()
    assert len(edgegap.leftovers) == servers
    assert of(registry, "leftovers_total") == {(): servers}
    # No session has to stop them any more.
    assert of(registry, "servers_held") == {(): 0}


async def test_a_lost_deploy_that_may_have_started_a_server_is_a_leftover(
    registry: CollectorRegistry,
) -> None:
    faults = (Fault("deploy", "cut-after"), Fault("list", "503-before"))
    async with measured(registry, *faults, cleanup_timeout=1.0) as (edgegap, _):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(1.0)
    assert isinstance(
        (await asyncio.gather(call, return_exceptions=True))[0], Exception
    )
    assert [it[0] for it in edgegap.leftovers] == [None]
    assert of(registry, "leftovers_total") == {(): 1}


# Gauges


async def test_gauges_tell_of_each_limit_at_the_moment_of_collection(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry, limits=Limits(deploy=2, list=None)) as (edgegap, _):
        calls = [asyncio.ensure_future(deploy(edgegap)) for _ in range(9)]
        await asyncio.sleep(0.001)
        usage = edgegap.usage()
        assert usage["deploy"].waiting > 0
        waiting = of(registry, "limit_waiting_calls")
        in_flight = of(registry, "limit_in_flight_requests")
        rates = of(registry, "limit_requests_per_second")
        for name, each in usage.items():
            assert waiting[name,] == each.waiting
            assert in_flight[name,] == each.in_flight
            assert rates[name,] == (inf if each.rate is None else each.rate)
        await asyncio.gather(*calls)
        assert of(registry, "limit_waiting_calls")["deploy",] == 0


async def test_the_session_of_an_application_is_watched_in_one_line(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    metrics = Metrics(registry)
    rates: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        rates.append(of(registry, "limit_requests_per_second")["deploy",])

    wrapped = EdgegapMiddleware(
        app, session=lambda: metrics.watch(EdgegapSession(on_event=metrics))
    )
    async with lifespan(wrapped):
        pass
    # While it ran, and after its end.
    rates.append(of(registry, "limit_requests_per_second")["deploy",])
    assert rates == [40, 0]


async def test_sessions_that_share_a_budget_count_once_and_others_are_added(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    async with (
        Simulator() as sim,
        EdgegapSession("one", base_url=sim.url) as first,
        EdgegapSession("one", base_url=sim.url) as same,
        EdgegapSession("two", base_url=sim.url, limits=Limits(deploy=7)) as other,
    ):
        rates: list[float] = []
        for session in (first, first, same, other):
            metrics.watch(session)
            rates.append(of(registry, "limit_requests_per_second")["deploy",])
        assert rates == [40, 40, 40, 47]
        async with running(first), running(same), running(other):
            assert of(registry, "servers_held") == {(): 3}
        # A closed session is left out.
        await other.aclose()
        assert of(registry, "limit_requests_per_second")["deploy",] == 40
    assert set(of(registry, "limit_requests_per_second").values()) == {0}


def test_sessions_on_several_loops_share_a_budget_that_counts_once(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    rates: list[float] = []

    async def watch_one() -> None:
        async with EdgegapSession("made-up") as edgegap:
            metrics.watch(edgegap)
            if not rates:
                rates.append(of(registry, "limit_requests_per_second")["deploy",])
                # On a loop of its own.
                await asyncio.to_thread(asyncio.run, watch_one())
            rates.append(of(registry, "limit_requests_per_second")["deploy",])

    asyncio.run(watch_one())
    assert rates == [40, 40, 40]


async def test_a_watched_session_is_not_kept_alive(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    session = EdgegapSession("made-up", on_event=metrics)
    metrics.watch(session)
    before = len(metrics._alive())
    del session
    gc.collect()
    assert (before, metrics._alive()) == (1, [])
    assert of(registry, "servers_held") == {(): 0}


@pytest.mark.full
@pytest.mark.slow
def test_another_thread_collects_while_sessions_work(
    registry: CollectorRegistry,
) -> None:
    failures: list[BaseException] = []
    over = threading.Event()

    def scrape() -> None:
        try:
            while not over.is_set():
                generate_latest(registry)
        except BaseException as error:  # noqa: BLE001 - it is shown below
            failures.append(error)

    async def work() -> None:
        async with measured(registry) as (edgegap, _):
            await asyncio.gather(*(use(edgegap) for _ in range(40)))

    async def use(edgegap: EdgegapSession) -> None:
        async with running(edgegap):
            pass

    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        run(work())
    finally:
        over.set()
        scraper.join()
    assert failures == []
    assert of(registry, "servers_stopped_total") == {(): 40}


# Names


async def test_the_registry_has_the_metrics_of_the_table_and_no_others(
    registry: CollectorRegistry,
) -> None:
    async with (
        measured(registry, Fault("stop", "503-before", times=1)) as (edgegap, _),
        running(edgegap),
    ):
        pass
    families = {family.name: family for family in registry.collect()}
    assert {it.name.removesuffix("_total") for it in METRICS} == set(families)
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert {*sample.labels} - {"le"} == {*metric.labels}, metric.name
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels == {"operation", "outcome", "by", "limit", "reason"}


async def test_the_number_of_time_series_does_not_grow_with_the_servers(
    registry: CollectorRegistry,
) -> None:
    async with measured(registry) as (edgegap, _):
        counts: list[int] = []
        for _ in range(3):
            async with running(edgegap):
                await edgegap.request("GET", "/v1/deployments")
            await asyncio.sleep(60)
            counts.append(len(values(registry)))
    assert counts[1] == counts[2]


def test_the_page_about_monitoring_has_the_table_of_the_metrics() -> None:
    page = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    rows = re.findall(
        r"^\| `(edgegap_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE
    )
    assert rows == [
        (it.name, it.kind, ", ".join(f"`{each}`" for each in it.labels), it.help)
        for it in METRICS
    ]


# Wrong use


def test_a_registry_has_the_metrics_once(registry: CollectorRegistry) -> None:
    Metrics(registry)
    with pytest.raises(ValueError, match=r"^registry has these metrics already"):
        Metrics(registry)
    Metrics(CollectorRegistry())


@pytest.mark.parametrize("given", [object(), EdgegapSession, None, "made-up"])
def test_only_a_session_is_watched(registry: CollectorRegistry, given: Any) -> None:
    with pytest.raises(ValueError, match=r"^session must be"):
        Metrics(registry).watch(given)


def test_a_wrong_registry_is_named() -> None:
    with pytest.raises(ValueError, match=r"^registry must be"):
        Metrics("default")  # type: ignore[arg-type]


def python(code: str, **environment: str) -> str:
    ran = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_without_the_package_the_error_names_the_extra() -> None:
    out = python(
        "import sys; sys.modules['prometheus_client'] = None\n"
        "try: import edgegap_async.integrations.prometheus\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    assert "pip install 'edgegap-async[prometheus]'" in out


# Several processes

PROGRAM = """
import asyncio, os
from edgegap_async import DeployRequest, EdgegapSession
from edgegap_async.integrations.prometheus import Metrics
from edgegap_async.simulator import Simulator, VirtualTimeLoop
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

def shown():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }

REQUEST = DeployRequest("game", "1", users=["203.0.113.7"])

async def main():
    metrics = Metrics()
    async with Simulator() as sim, EdgegapSession(
        "made-up", base_url=sim.url, on_event=metrics
    ) as edgegap:
        metrics.watch(edgegap)
        async with edgegap.deployments.running("game", "1", users=["203.0.113.7"]):
            await asyncio.sleep(1)
            held = shown()["edgegap_servers_held",]
        # It is held after the last event.
        async with edgegap.deployments.deploy_many([REQUEST]):
            await asyncio.sleep(1)
            untaken = shown()["edgegap_servers_held",]
        await asyncio.sleep(1)
        now = shown()
        print(
            held,
            untaken,
            now["edgegap_servers_held",],
            now["edgegap_limit_in_flight_requests", "deploy"],
            now["edgegap_limit_requests_per_second", "deploy"],
            now["edgegap_servers_stopped_total",],
            now["edgegap_ready_seconds_count",],
            now["edgegap_calls_total", "user", "deployments.deploy", "ok"],
            flush=True,
        )
        # It ends as if it were killed.
        os._exit(0)

with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
    runner.run(main())
"""


@pytest.mark.full
@pytest.mark.slow
def test_the_multiprocess_mode_sums_over_processes(tmp_path: Path) -> None:
    outs: Iterable[str] = [
        python(PROGRAM, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) for _ in range(2)
    ]
    first, second = ([float(it) for it in out.split()] for out in outs)
    # The files of a process that has ended are counted until somebody removes them.
    assert first == [1, 1, 0, 0, 40, 2, 1, 2]
    assert second == [1, 1, 0, 0, 80, 4, 2, 4]
