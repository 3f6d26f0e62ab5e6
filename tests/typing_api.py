"""The types of the public names, checked by mypy and pyright and never run."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import assert_type

import aiohttp
from aiohttp.web import RouteDef

from edgegap_async import (
    Application,
    AppVersion,
    BulkStopFilter,
    DeploymentAccepted,
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
    DeployOutcome,
    EdgegapError,
    EdgegapSession,
    EnvironmentVariable,
    GeoCoordinatesUser,
    IPAddressUser,
    Limits,
    LimitUsage,
    ListFilter,
    ListQuery,
    OrderBy,
    PortSpec,
    QueueTooLong,
    RateLimited,
    ReadyDeployment,
    ReadyTimeout,
    Resources,
    Retry,
    Webhook,
    WebhookReceiver,
)
from edgegap_async.container import Container, stop_self
from edgegap_async.endpoints import DEPLOY, STATUS, TAG, Endpoint, LimitName
from edgegap_async.models.app import Applications
from edgegap_async.models.deploy import DeployRequest
from edgegap_async.models.deployment import (
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    DeploymentSession,
    Port,
    StopResult,
)
from edgegap_async.models.fleet import (
    Centroid,
    FleetHost,
    FleetHosts,
    HostSpecifications,
)
from edgegap_async.models.location import (
    AvailableLocation,
    Location,
    Locations,
    PingBeacons,
)
from edgegap_async.models.metrics import DeploymentMetrics, MetricSeries
from edgegap_async.models.paging import Pagination
from edgegap_async.models.pull_profile import (
    PullProfile,
    PullProfileLink,
    PullProfilePage,
)
from edgegap_async.models.registry import (
    ImageTag,
    ImageTagDeleted,
    ImageTags,
    ImageTagsDeleted,
)
from edgegap_async.models.relay import (
    AuthorizedUser,
    RelaySession,
    RelaySessions,
    RelayUser,
)
from edgegap_async.models.storage import EndpointStorage, EndpointStorages
from edgegap_async.models.tag import DeploymentTag, DeploymentTags
from edgegap_async.models.version import (
    AppVersionDeleted,
    AppVersionPort,
    AppVersionResult,
    AppVersions,
)
from edgegap_async.probes import tcp
from edgegap_async.webhooks import EventName, WebhookEvent, parse


def session_options(http: aiohttp.ClientSession) -> None:
    session = EdgegapSession(
        "token",
        base_url="https://api.edgegap.com",
        limits=Limits(deploy=40, status=None, share=0.5, burst=1),
        retry=Retry(tries=1, backoff=0.5, budget=10),
        timeout=None,
        attempt_timeout=15,
        http=http,
        allow_insecure=True,
    )
    assert_type(session.usage(), Mapping[LimitName, LimitUsage])
    assert_type(session.usage()["deploy"].rate, float | None)
    assert_type(Limits.off(), Limits)


async def deployments(session: EdgegapSession) -> None:
    async with session as entered:
        assert_type(entered, EdgegapSession)
    assert_type(await session.aclose(), None)
    deploy = session.deployments.deploy
    assert_type(await deploy("app", "v1", users=["203.0.113.7"]), DeploymentAccepted)
    assert_type(
        await deploy(
            "app",
            "v1",
            users=[
                "203.0.113.7",
                (45.5, -73.5),
                IPAddressUser("::1"),
                GeoCoordinatesUser(45, -73),
            ],
            environment_variables={"KEY": "value"},
            tags=["production"],
            require_cached_locations=True,
            resources=Resources(1024, 2048),
            webhook_on_ready="https://example.com",
            webhook_on_error=Webhook("https://example.com"),
            timeout=None,
        ),
        DeploymentAccepted,
    )
    assert_type(await session.deployments.status("id", timeout=5), DeploymentStatus)
    assert_type(
        await session.deployments.stop("id", container_log_storage=True), StopResult
    )
    assert_type(await session.deployments.self_stop("id", 7, token="t"), StopResult)
    assert_type(
        await session.deployments.self_stop(
            "id", "key", token="t", container_log_storage="s"
        ),
        StopResult,
    )
    assert_type(
        await session.deployments.bulk_stop(BulkStopFilter("request_id", ["a"])),
        BulkStopResult,
    )
    assert_type(await session.deployments.bulk_stop(everything=True), BulkStopResult)
    query = ListQuery(
        [ListFilter("request_id", "in", ["a"])], [OrderBy("created_at", "desc")]
    )
    assert_type(
        await session.deployments.list(query, page=1, limit=100), DeploymentPage
    )
    assert_type(
        session.deployments.iterate("{}", page_size=50),
        AsyncIterator[DeploymentSummary],
    )
    assert_type(
        [row.request_id async for row in session.deployments.iterate()], list[str]
    )
    assert_type(await session.deployments.container_logs("id"), ContainerLogs)
    assert_type(
        await session.deployments.metrics(
            "id", start_time=datetime.now(), end_time="x"
        ),
        DeploymentMetrics,
    )
    assert_type(
        await session.deployments.wait_until_ready("id", timeout=None), ReadyDeployment
    )
    assert_type(
        await session.deployments.wait_until_ready("id", probe=tcp("gameport")),
        ReadyDeployment,
    )
    assert_type(await session.deployments.wait_until_stopped("id", timeout=1), None)
    async with session.deployments.wait_many(["a", "b"], timeout=None) as outcomes:
        async for request_id, outcome in outcomes:
            assert_type(request_id, str)
            assert_type(outcome, ReadyDeployment | EdgegapError)


async def deploying_many(
    session: EdgegapSession, requests: AsyncIterator[DeployRequest]
) -> None:
    async with session.deployments.deploy_many(
        requests,
        ready_timeout=None,
        stop_on_failure=False,
        concurrency=5,
        max_running=9,
        priority="background",
    ) as outcomes:
        assert_type([outcome async for outcome in outcomes], list[DeployOutcome])
        outcome = await anext(outcomes)
        assert_type(outcome.request, DeployRequest)
        assert_type(outcome.deployment, ReadyDeployment | DeploymentAccepted | None)
        assert_type(outcome.error, EdgegapError | None)
        assert_type(outcome.seconds, float | None)
        assert_type(outcomes.withdraw(until_ready=False), None)
        assert_type(outcomes.in_flight, tuple[DeployRequest, ...])
        assert_type(outcomes.accepted, int)


async def other_resources(session: EdgegapSession) -> None:
    fleets, tags = session.private_fleets, session.tags
    variables = [EnvironmentVariable("KEY", "value", is_hidden=True)]
    assert_type(
        await fleets.deploy(
            "app",
            "v1",
            private_host_ids=["h"],
            users=[(1, 2)],
            environment_variables=variables,
        ),
        DeploymentAccepted,
    )
    assert_type(await fleets.hosts("fleet", page=1, limit=10), FleetHosts)
    assert_type(
        await session.locations.list(app="a", version="v", type="t", tags=True),
        Locations,
    )
    assert_type(await session.locations.beacons(page=1, limit=10), PingBeacons)
    assert_type(
        [beacon.host async for beacon in session.locations.iterate_beacons()],
        list[str],
    )
    assert_type(await session.deployments.report("id", "spam", metadata={"a": 1}), None)
    assert_type(await tags.list("id", page=1, limit=10), DeploymentTags)
    assert_type([tag.name async for tag in tags.iterate("id")], list[str])
    assert_type(
        [place.city async for place in session.locations.iterate(app="a")],
        list[str | None],
    )
    assert_type([host.host_id async for host in fleets.iterate_hosts("f")], list[str])
    assert_type(await tags.get("id", "v1"), DeploymentTag)
    assert_type(await tags.create("id", "v1"), DeploymentTag)
    assert_type(await tags.update("id", "v1", name="v2"), DeploymentTag)
    assert_type(await tags.delete("id", "v1"), None)
    apps = session.apps
    assert_type(await apps.list(page=1, limit=10), Applications)
    assert_type([app.name async for app in apps.iterate()], list[str])
    assert_type(await apps.get("app"), Application)
    assert_type(await apps.create("app", image="", is_active=False), Application)
    assert_type(await apps.update("app", name="b", timeout=5), Application)
    assert_type(await apps.delete("app"), None)
    versions = session.versions
    assert_type(await versions.list("app", page=1, limit=10), AppVersions)
    assert_type([it.name async for it in versions.iterate("app")], list[str])
    old = await versions.get("app", "v1")
    assert_type(old, AppVersion)
    assert_type(old.ports, tuple[AppVersionPort, ...])
    assert_type(old.max_duration, int | None)
    assert_type(old.private_token, str | None)
    made = await versions.create(
        "app",
        "v2",
        req_cpu=256,
        req_memory=512,
        docker_repository="registry.example.com",
        docker_image="image",
        docker_tag="tag",
        private_username="user",
        private_token="token",
        ports=[PortSpec(7777, "UDP"), *old.ports],
        envs={"KEY": "value"},
        restart_policy="never",
        timeout=5,
    )
    assert_type(made, AppVersionResult)
    assert_type(made.version, AppVersion | None)
    assert_type(
        await versions.update("app", "v2", private_token=None, is_active=True),
        AppVersionResult,
    )
    assert_type(await versions.delete("app", "v2"), AppVersionDeleted)
    assert_type(await stop_self("storage"), StopResult)
    assert_type(Container.from_env({"A": "b"}).ports, Mapping[str, Port])


async def relay_sessions(session: EdgegapSession) -> None:
    relays = session.relays
    assert_type(await relays.create(["203.0.113.7"], filters=[{}]), RelaySession)
    assert_type(await relays.list(page=1, limit=10), RelaySessions)
    assert_type([it.session_id async for it in relays.iterate()], list[str])
    relay = await relays.get("id-S")
    assert_type(relay.session_users, tuple[RelayUser, ...])
    assert_type(await relays.authorize_user("id-S", "203.0.113.8"), AuthorizedUser)
    assert_type(await relays.revoke_user("id-S", 5, timeout=5), None)
    assert_type(await relays.delete("id-S"), None)


async def storages(session: EdgegapSession) -> None:
    storage = session.storage
    assert_type(await storage.list(page=1, limit=10), EndpointStorages)
    assert_type([it.name async for it in storage.iterate()], list[str])
    assert_type(await storage.get("logs"), EndpointStorage)
    assert_type(
        await storage.create(
            "logs",
            access_key_id="a",
            secret_access_key="b",
            endpoint="https://s3.example",
            bucket="c",
            output_format="TEXT",
        ),
        EndpointStorage,
    )
    assert_type(await storage.update("logs", bucket="d", timeout=5), EndpointStorage)
    assert_type(await storage.delete("logs"), None)


async def image_tags(session: EdgegapSession) -> None:
    registry = session.registry
    assert_type(await registry.tags("a/b", page=1, limit=10), ImageTags)
    assert_type([it async for it in registry.iterate_tags("a/b")], list[ImageTag])
    assert_type(await registry.delete_tag("a/b", "1.0", timeout=5), ImageTagDeleted)
    assert_type(await registry.delete_tags("a/b", ("1.0",)), ImageTagsDeleted)


async def pull_profiles(session: EdgegapSession) -> None:
    profiles = session.pull_profiles
    assert_type(await profiles.list("logs", page=1, limit=10), PullProfilePage)
    assert_type([it async for it in profiles.iterate("logs")], list[PullProfile])
    assert_type(await profiles.get("logs", "maps"), PullProfile)
    assert_type(
        await profiles.create(
            "logs", "maps", source="/a", source_type="File", destination="/b"
        ),
        PullProfile,
    )
    assert_type(await profiles.update("logs", "maps", source="/c"), PullProfile)
    assert_type(await profiles.delete("logs", "maps", timeout=5), None)
    assert_type(await profiles.link("logs", "maps", "arena", "v1"), PullProfileLink)
    assert_type(await profiles.unlink("logs", "maps", "arena", "v1"), None)


async def webhooks(session: EdgegapSession) -> None:
    receiver = WebhookReceiver("https://example.com", secret=b"x" * 16)
    await session.deployments.deploy(
        "app", "v1", users=["::1"], **receiver.urls("nonce")
    )
    assert_type(receiver.urls("nonce")["webhook_on_ready"], Webhook)
    event = await receiver.handle("/path", b"{}")
    assert_type(event, WebhookEvent | None)
    if event:
        assert_type(event.event, EventName)
        assert_type(event.status, DeploymentStatus)
        assert_type(session.deployments.notify(event), None)
        assert_type(
            EdgegapSession("token", webhooks=receiver).deployments.notify(event), None
        )
    assert_type(parse(b"{}"), DeploymentStatus)
    listener = list[WebhookEvent]().append
    assert_type(receiver.listen(listener), None)
    assert_type(receiver.unlisten(listener), None)
    assert_type(receiver.routes(), list[RouteDef])


def models(
    status: DeploymentStatus,
    page: DeploymentPage,
    host: FleetHost,
    place: AvailableLocation,
) -> None:
    assert_type(status.state, DeploymentState)
    assert_type(status.request_id, str)
    assert_type(status.start_time, datetime | None)
    assert_type(status.running, bool | None)
    assert_type(status.sockets, int | None)
    assert_type(status.tags, tuple[str, ...])
    assert_type(status.ports, Mapping[str, Port])
    assert_type(status.location, Location | None)
    assert_type(status.sessions, tuple[DeploymentSession, ...] | None)
    assert_type(status.address(7777), tuple[str, int])
    assert_type(page.data, tuple[DeploymentSummary, ...])
    assert_type(page.pagination, Pagination | None)
    assert_type(host.centroid, Centroid | None)
    assert_type(host.fleet_host_specifications, HostSpecifications | None)
    assert_type(page.skipped, int)
    assert_type(place.latitude, float | None)


def series(metrics: DeploymentMetrics, tag: DeploymentTag) -> None:
    assert_type(metrics.cpu, MetricSeries | None)
    if metrics.cpu:
        assert_type(metrics.cpu.datasets, tuple[int | float | None, ...])
        assert_type(metrics.cpu.labels, tuple[str | None, ...])
        assert_type(metrics.cpu.timestamps, tuple[datetime | None, ...])
    assert_type(tag.create_time, datetime | None)


def errors(refused: RateLimited, late: QueueTooLong, unready: ReadyTimeout) -> None:
    assert_type(refused.retry_after, float | None)
    assert_type(refused.request_sent, bool)
    assert_type(late.wait, float)
    assert_type(unready.status, DeploymentStatus | None)


def endpoints() -> None:
    """An endpoint has exactly the types of its body and its answer. A wider type would
    accept a wrong body.
    """
    assert_type(DEPLOY, Endpoint[DeployRequest, DeploymentAccepted])
    assert_type(STATUS, Endpoint[None, DeploymentStatus])
    # Both type checkers report unused ignores, so the two lines below must be errors.
    wider: Endpoint[object, DeploymentTag] = TAG  # type: ignore[assignment]
    looser: Endpoint[None, object] = TAG  # type: ignore[assignment]
    assert wider is looser
