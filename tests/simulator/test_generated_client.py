"""A client that `openapi-python-client` generates from Edgegap's OpenAPI files works with
`Simulator(form="official")`.

One thing is mended before the generation: the schema of a status says `nullable`, and
the generator can't refer to such a schema twice.
"""

import asyncio
import datetime
import importlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.official import files, needs_files
from support.reference import BY_KEY

from edgegap_async.simulator import Simulator

pytestmark = [
    needs_files,
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.usefixtures("generated"),
]
pytest.importorskip("openapi_python_client")

VERSIONS = ("v1", "v2")
UTC_ZERO = datetime.timedelta()
# Calls a function of the client, such as `v1.api.tags.deployment_tag_list`, and returns
# the parsed answer.
Call: TypeAlias = Callable[..., Awaitable[Any]]


def mended() -> dict[str, Any]:
    documents = deepcopy(dict(files()))
    del documents["v1"]["components"]["schemas"]["V1DeploymentStatus"]["nullable"]
    return documents


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package for each file."""
    folder = tmp_path_factory.mktemp("generated")
    root = folder / "generated_edgegap"
    root.mkdir()
    (root / "__init__.py").touch()
    config = folder / "config.json"
    config.write_text(json.dumps({"post_hooks": []}))
    for version, document in mended().items():
        source = folder / f"{version}.json"
        # The examples have dates that YAML has read.
        source.write_text(json.dumps(document, default=str))
        command = [sys.executable, "-m", "openapi_python_client", "generate"]
        options = {"path": source, "output-path": root / version, "config": config}
        options |= {"meta": "none"}
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        # A warning says that a schema was left out.
        subprocess.run([*command, "--fail-on-warning"], check=True, timeout=300)  # noqa: S603
    return folder


@pytest.fixture
def generated(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packages be imported."""
    monkeypatch.syspath_prepend(str(package))


def imported(name: str) -> Any:
    return importlib.import_module(f"generated_edgegap.{name}")


@asynccontextmanager
async def connected(sim: Simulator) -> AsyncIterator[Call]:
    """Start a simulator and its clients."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sim)
        clients = {}
        for version in VERSIONS:
            client = imported(f"{version}.client").AuthenticatedClient(
                # As in `servers` of the files: one of them has the version in its URL.
                base_url=sim.url if version == "v1" else f"{sim.url}/v2",
                token="made-up",
                prefix="token",
                raise_on_unexpected_status=True,
            )
            clients[version] = await stack.enter_async_context(client)

        async def call(function: str, *args: Any, **options: Any) -> Any:
            client = clients[function.partition(".")[0]]
            found = imported(function).asyncio_detailed
            return (await found(*args, client=client, **options)).parsed

        yield call


def body_of(name: str, values: Any) -> Any:
    """A body of the client, by its class, such as `v1.models.DeploymentTag`."""
    module, _, kind = name.rpartition(".")
    return getattr(imported(module), kind).from_dict(values)


def deploy_body(name: str, **more: Any) -> Any:
    sample = BY_KEY["POST /v2/deployments"].body
    kept = ("application", "version", "users", "environment_variables")
    return body_of(name, {key: sample[key] for key in kept} | more)


async def deployed(call: Call, **more: Any) -> str:
    body = deploy_body("v2.models.DeploymentV2", **more)
    accepted = await call("v2.api.deployments.v2_deployment_create", body=body)
    return str(accepted.request_id)


async def until_ready(call: Call, request_id: str) -> list[Any]:
    """All statuses until READY."""
    shown: list[Any] = []
    while not shown or shown[-1].current_status != "Status.READY":
        assert len(shown) < 100
        shown.append(await call("v1.api.deployments.deployment_get", request_id))
        await asyncio.sleep(0.5)
    return shown


async def test_a_generated_client_runs_a_server() -> None:
    sim = Simulator(form="official")
    async with connected(sim) as call:
        made = await deployed(call, tags=["old"])
        assert sim.deployed() == (made,)

        new, *_, ready = shown = await until_ready(call, made)
        assert new.current_status == "Status.INITIALIZING"
        assert (new.fqdn, new.public_ip, new.running) == ("", "", False)
        assert len({each.current_status for each in shown}) > 2
        assert (ready.running, ready.error) == (True, False)
        assert ready.public_ip == sim.environment(made)["ARBITRIUM_PUBLIC_IP"]
        assert ready.start_time.utcoffset() == UTC_ZERO
        assert type(ready.location.latitude) is float
        assert ready.ports["7777"]["external"] > 0

        listed = await call("v1.api.deployments.deployment_list", page=1, limit=5)
        assert [(row.request_id, row.ready) for row in listed.data] == [(made, True)]
        assert listed.total_count == 1
        assert listed.pagination.has_next is False

        stopped = await call("v1.api.deployments.deployment_delete", made)
        assert stopped.deployment_summary.request_id == made
        await asyncio.sleep(10)
    assert sim.running() == set()


async def test_a_generated_client_reads_tags_logs_and_metrics() -> None:
    sim = Simulator(form="official")
    async with connected(sim) as call:
        made = await deployed(call, tags=["old"])
        *_, ready = await until_ready(call, made)
        tags = "v1.api.tags.deployment_tag_"
        named = body_of("v1.models.DeploymentTag", {"name": "blue"})
        created = await call(f"{tags}create", made, body=named)
        assert created.create_time.utcoffset() == UTC_ZERO
        assert (await call(f"{tags}get", made, "blue")).name == "blue"
        found = await call(f"{tags}list", made)
        assert [each.name for each in found.tags] == ["old", "blue"]
        assert (found.total_count, found.pagination.number) == (2, 1)
        await call(f"{tags}delete", made, "blue")
        assert sim.tags_of(made) == ("old",)

        logs = await call("v1.api.deployments.deployment_logs_get", made)
        assert "Listening" in logs.logs
        assert logs.crash_data is None

        await asyncio.sleep(100)
        metrics = await call(
            "v1.api.deployments.deployment_metrics_get",
            made,
            start_time=ready.start_time,
            steps="30s",
        )
        assert len(metrics.cpu.datasets) == len(metrics.cpu.timestamps) > 3
        assert metrics.total.receive_total.datasets[-1] > 0
        assert type(metrics.cpu.timestamps[0]) is datetime.date


async def test_a_generated_client_reads_the_rest() -> None:
    sim = Simulator(form="official")
    async with connected(sim) as call:
        locations = await call("v1.api.deployments.location_list")
        assert locations.total_count == len(locations.locations) > 5
        assert type(locations.locations[0].latitude) is float
        beacons = await call("v1.api.integration.beacon_list")
        assert beacons.count == len(beacons.locations) > 5

        hosts = await call("v2.api.dedicated_servers.private_fleet_hosts_list", "fleet")
        host = hosts.data[0]
        assert host.fleet_host_specifications.cpu_units == 16384
        body = deploy_body(
            "v2.models.PrivateFleetsDeploymentCreateBody",
            private_host_ids=[host.host_id],
        )
        accepted = await call(
            "v2.api.deployments.private_fleets_deployment_create", body=body
        )
        made = accepted.request_id
        assert sim.environment(made)["ARBITRIUM_HOST_ID"] == host.host_id

        chosen = {"field": "request_id", "filter_type": "any", "values": [made]}
        filters = body_of("v1.models.DeploymentBulkDeleteBody", {"filters": [chosen]})
        stopped = await call("v1.api.deployments.deployment_bulk_delete", body=filters)
        assert [each.request_id for each in stopped.processable] == [made]

        sim.push_image("studio/arena", "1.0.0", "latest")
        registry = "v1.api.container_registry.registry_image_tag_"
        listed = await call(f"{registry}list", "studio/arena")
        assert [each.tag for each in listed.data] == ["1.0.0", "latest"]
        assert listed.data[0].last_push_at.utcoffset() == UTC_ZERO
        deleted = await call(f"{registry}delete", "studio/arena", "latest")
        assert deleted.artifact.remaining_tags == ["1.0.0"]
        body = body_of("v1.models.RegistryImageTagBulkDeleteBody", {"tags": ["1.0.0"]})
        result = await call(f"{registry}bulk_delete", "studio/arena", body=body)
        assert result.summary.success == 1

        app = {"name": "arena", "image": "", "is_active": True}
        body = body_of("v1.models.ApplicationCreateBody", app)
        created = await call("v1.api.applications.application_create", body=body)
        again = await call("v1.api.applications.application_get", "arena")
        assert created.create_time == again.create_time


async def test_a_generated_client_reads_errors() -> None:
    async with connected(Simulator(form="official", error_share=1.0)) as call:
        made = await deployed(call)
        await asyncio.sleep(10)
        status = await call("v1.api.deployments.deployment_get", made)
        assert status.error is True
        assert status.error_detail != ""
        unknown = await call("v1.api.deployments.deployment_get", "0123456789ab")
        assert "not found" in unknown.message
        report = BY_KEY["POST /v1/deployments/{request_id}:report"].body
        body = body_of("v1.models.DeploymentReportBody", report)
        refused = await call(
            "v1.api.deployments.deployment_report", "0123456789ab", body=body
        )
        assert "not found" in refused.message


async def test_a_generated_client_can_not_read_the_form_of_the_page() -> None:
    async with connected(Simulator()) as call:
        made = await deployed(call)
        with pytest.raises(TypeError):
            await call("v1.api.deployments.deployment_get", made)
