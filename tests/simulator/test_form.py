"""The two forms of answers: the SDK reads both of them to the same structs."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.plain_client import DEPLOY, plain
from support.receiving import client_and_receiver
from support.reference import BY_KEY
from support.sample_calls import VERSION

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Simulator

# The two simulators are started one after the other, and each reads the date.
CLOSE, DAY = timedelta(minutes=10), timedelta(days=1)
ISO = "%Y-%m-%dT%H:%M:%S.%fZ"


@asynccontextmanager
async def both_forms(
    seconds: float, **options: Any
) -> AsyncIterator[tuple[EdgegapSession, EdgegapSession, str]]:
    """Open a session for each form, `page` first, and deploy the same server in each.

    Yield them and the ID of the server after so many seconds.
    """
    async with AsyncExitStack() as stack:
        sessions, made = [], set()
        for form in ("page", "official"):
            sim: Any = Simulator(form=form, **options)
            await stack.enter_async_context(sim)
            session = EdgegapSession("made-up", base_url=sim.url)
            sessions.append(await stack.enter_async_context(session))
            accepted = await session.deployments.deploy(
                "game", "1", users=["203.0.113.7"], tags=["old"], once=False
            )
            made.add(accepted.request_id)
        # The seed is the same.
        (request_id,) = made
        await asyncio.sleep(seconds)
        yield *sessions, request_id


def differences(page: Any, official: Any, where: str = "") -> Iterator[str]:
    """Yield where two answers differ. Times may differ by a little."""
    if isinstance(page, Mapping) and isinstance(official, Mapping):
        for key in page.keys() | official.keys():
            name = f"{where}.{key}".removeprefix(".")
            yield from differences(page.get(key), official.get(key), name)
    elif isinstance(page, list | tuple) and isinstance(official, list | tuple):
        if len(page) != len(official):
            yield where
        for one, other in zip(page, official, strict=False):
            yield from differences(one, other, f"{where}[]")
    elif not same(page, official):
        yield where


def same(page: Any, official: Any) -> bool:
    # Before a time of day, such as that of a label, a date makes it a time.
    for date in ("", "2025-11-29 "):
        with suppress(TypeError, ValueError):
            times = [datetime.fromisoformat(date + it) for it in (page, official)]
            apart = abs(times[0] - times[1])
            return apart < CLOSE or (date != "" and DAY - apart < CLOSE)
    return bool(type(page) is type(official) and page == official)


def test_the_same_time_of_two_simulators_is_told_from_others() -> None:
    assert same("12:00:00", "12:00:01")
    assert same("23:59:59", "00:00:00")
    assert not same("12:00:00", "12:10:01")
    assert same("2025-11-29T12:00:00", "2025-11-29T12:00:01")
    assert not same("2025-11-29T00:00:00", "2025-11-30T00:00:00")
    assert same("EU", "EU")
    assert not same("EU", "NA")


async def answers(session: EdgegapSession, request_id: str) -> dict[str, Any]:
    """The answers of all operations that read, as values for JSON."""
    found = {
        "status": await session.deployments.status(request_id),
        "list": await session.deployments.list(),
        "metrics": await session.deployments.metrics(request_id),
        "locations": await session.locations.list(tags=True),
        "beacons": await session.locations.beacons(),
        "hosts": await session.private_fleets.hosts("fleet"),
        "tags": await session.tags.list(request_id),
        "tag": await session.tags.get(request_id, "old"),
    }
    return {name: answer.to_dict() for name, answer in found.items()}


# What the two forms do not share: the files have pages of these rows, other names for
# the order of a host, and dates in place of the times of metrics.
PAGES = {"total_count", "pagination"}
SERIES = (
    "cpu",
    "mem",
    *(f"network.{name}" for name in ("receive", "transmit")),
    *(
        f"total.{name}_total"
        for name in ("receive", "transmit", "disk_read", "disk_write")
    ),
)
DATES = {f"{name}.timestamps[]" for name in SERIES}
DIFFERENT = {
    "locations": PAGES,
    "hosts": PAGES
    | {
        f"data[].{name}"
        for name in (
            "pin",
            "centroid",
            "delete_schedules",
            "fleet_host_specifications",
        )
    },
    "tags": {"total_count", "count", "pagination"},
}


async def compared(
    page: EdgegapSession, official: EdgegapSession, request_id: str
) -> dict[str, set[str]]:
    """What differs in the answers, by the name of the call."""
    one, two = await answers(page, request_id), await answers(official, request_id)
    found = {
        name: {
            "pagination" if each.startswith("pagination.") else each
            for each in differences(one[name], two[name])
        }
        for name in one
    }
    return {name: where for name, where in found.items() if where}


async def test_the_sdk_reads_a_ready_deployment_to_the_same_structs() -> None:
    async with both_forms(100) as (page, official, request_id):
        found = await compared(page, official, request_id)
    # Just after midnight, a date is close to the time.
    assert found.pop("metrics", DATES) == DATES
    assert found == DIFFERENT


async def test_the_sdk_reads_a_starting_deployment_nearly_to_the_same_structs() -> None:
    """The files require texts and a time where the reference page has null."""
    async with both_forms(1, ready_after=(50, 50)) as (page, official, request_id):
        found = await compared(page, official, request_id)
        status = await official.deployments.status(request_id)
        assert status.start_time is not None
        assert abs(datetime.now(UTC) - status.start_time) < CLOSE
    nothing = {"fqdn", "public_ip", "start_time"}
    assert found["status"] == nothing
    assert found["list"] == {f"data[].{name}" for name in nothing}
    assert found["tags"] == DIFFERENT["tags"]
    assert (status.fqdn, status.public_ip, status.ports) == ("", "", {})


async def test_the_sdk_reads_the_end_of_a_deployment_to_the_same_structs() -> None:
    async with both_forms(100, gone="terminated") as (page, official, request_id):
        stops = [await each.deployments.stop(request_id) for each in (page, official)]
        assert [*differences(*(each.to_dict() for each in stops))] == []
        await asyncio.sleep(10)
        states = [
            await each.deployments.status(request_id) for each in (page, official)
        ]
        assert [*differences(*(each.to_dict() for each in states))] == []
        assert states[1].removal_time is not None


async def test_the_sdk_reads_applications_to_the_same_structs() -> None:
    """Their times have no format in the files, but an example of the page's form."""
    async with both_forms(1) as sessions:
        answers = []
        for session in sessions[:2]:
            made = await session.apps.create("arena", image="aW1hZ2U=")
            answers.append(
                [made, await session.apps.get("arena"), await session.apps.list()]
            )
        assert all(None not in (it.create_time, it.last_updated) for it, *_ in answers)
        one, two = ([it.to_dict() for it in answer] for answer in answers)
        assert [*differences(one, two)] == []


async def test_the_sdk_deploys_and_waits_with_the_official_form() -> None:
    sim = Simulator(form="official", error_share=0.3)
    async with sim, EdgegapSession("made-up", base_url=sim.url) as edgegap:
        fleet = await edgegap.private_fleets.deploy(
            "game", "1", users=["203.0.113.7"], private_host_ids=["alpha"]
        )
        assert fleet.request_id in sim.running()
        made = [
            (
                await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
            ).request_id
            for _ in range(20)
        ]
        results = await asyncio.gather(
            *(edgegap.deployments.wait_until_ready(each) for each in made),
            return_exceptions=True,
        )
        ready = [each for each in results if not isinstance(each, BaseException)]
        assert 5 < len(ready) < 20
        assert all(each.public_ip and each.ports for each in ready)
        for each in (*made, fleet.request_id):
            await edgegap.deployments.ensure_stopped(each)
        await asyncio.sleep(10)
    assert sim.running() == set()


async def test_each_time_has_a_time_zone_in_the_official_form() -> None:
    sim = Simulator(form="official")
    async with plain(sim) as api:
        stopped, self_stopped = await api.deploy(tags=["old"]), await api.deploy()
        await asyncio.sleep(10)
        tags = f"/v1/deployments/{stopped}/tags"
        environment = sim.environment(self_stopped)
        url = environment["ARBITRIUM_DELETE_URL"].removeprefix(sim.url)
        app = {"name": "arena", "image": "", "is_active": True}
        calls: list[tuple[str, str, Any]] = [
            ("GET", f"/v1/status/{stopped}", None),
            ("GET", "/v1/deployments", None),
            ("POST", tags, {"name": "blue"}),
            ("PATCH", f"{tags}/old", {"name": "new"}),
            ("GET", f"{tags}/new", None),
            ("GET", tags, None),
            ("POST", "/v1/app", app),
            ("PATCH", "/v1/app/arena", {"is_active": True}),
            ("GET", "/v1/app/arena", None),
            ("GET", "/v1/apps", None),
            ("POST", "/v1/app/arena/version", VERSION),
            ("PATCH", "/v1/app/arena/version/v1", {"verify_image": True}),
            ("GET", "/v1/app/arena/version/v1", None),
            ("GET", "/v1/app/arena/versions", None),
            ("GET", "/v2/private-fleets/f/hosts", None),
            ("DELETE", f"/v1/stop/{stopped}", None),
            ("DELETE", url, None),
        ]
        shown = []
        for method, path, body in calls:
            if path == url:
                token = environment["ARBITRIUM_DELETE_TOKEN"]
                api.http.headers["Authorization"] = token
            shown.append((await api(method, path, body))[1])
    names = ("start_time", "create_time", "last_updated", "created_at", "updated_at")
    for answer in shown:
        times = [value for key, value in fields(answer) if key in names]
        assert times != [], answer
        for each in times:
            datetime.strptime(each, ISO)


async def test_no_value_of_a_new_deployment_is_null_in_the_official_form() -> None:
    async with plain(Simulator(form="official", ready_after=(50, 50))) as api:
        request_id = await api.deploy()
        status = await api.get(f"/v1/status/{request_id}")
        (row,) = (await api.get("/v1/deployments"))["data"]
    assert status["current_status"] == "Status.INITIALIZING"
    left_out = {"ports", "location", "removal_time", "last_status"}
    assert not left_out & (status.keys() | row.keys())
    assert None not in (*status.values(), *row.values())


def fields(value: Any) -> Iterator[tuple[str, Any]]:
    """All fields at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from fields(item)
    elif isinstance(value, list):
        for item in value:
            yield from fields(item)


async def test_numbers_are_numbers_in_the_official_form() -> None:
    async with plain(Simulator(form="official")) as api:
        request_id = await api.deploy()
        await asyncio.sleep(100)
        metrics = await api.get(f"/v1/metrics/deployment/{request_id}")
        locations = await api.get("/v1/locations")
    series = [value for key, value in fields(metrics) if key == "datasets"]
    assert len(series) == len(SERIES)
    assert all(type(each) is int for values in series for each in values)
    for place in locations["locations"]:
        assert type(place["latitude"]) is type(place["longitude"]) is float


@pytest.mark.parametrize("key", ["locations", "tags", "data"])
async def test_rows_are_one_page_unless_fewer_are_asked_for(key: str) -> None:
    async with plain(Simulator(form="official")) as api:
        path = {
            "locations": "/v1/locations",
            "data": "/v2/private-fleets/f/hosts",
            "tags": f"/v1/deployments/{await api.deploy(tags=['a', 'b', 'c'])}/tags",
        }[key]
        whole, part = await api.get(path), await api.get(path, limit="2")
    count = len(whole[key])
    assert count >= 3
    assert whole["total_count"] == part["total_count"] == count
    assert (whole["pagination"]["has_next"], part["pagination"]["has_next"]) == (
        False,
        True,
    )
    assert len(part[key]) == 2
    assert "count" not in whole


async def test_the_order_of_a_host_has_the_same_values_in_both_forms() -> None:
    async with both_forms(1) as (page, official, _):
        one = (await page.private_fleets.hosts("fleet")).data[0]
        two = (await official.private_fleets.hosts("fleet")).data[0]
    pin, centroid, size = one.pin, two.centroid, two.fleet_host_specifications
    assert pin is not None
    assert centroid is not None
    assert size is not None
    assert (pin.label, pin.latitude, pin.longitude, pin.desired_host_count) == (
        centroid.label,
        centroid.latitude,
        centroid.longitude,
        centroid.desired_host_count,
    )
    # As on the sample of the page: 16 cores, 32 GB, 2 GHz.
    assert (pin.cpu_cores, pin.memory_gb, pin.clock_speed_ghz) == (16, 32, 2)
    assert (size.cpu_units, size.memory_mb, size.base_clock_speed_mhz) == (
        16384,
        32768,
        2000,
    )
    assert two.delete_schedule is None


@pytest.mark.parametrize("keep", [0, None])
@pytest.mark.parametrize("error_share", [0.0, 1.0])
async def test_webhooks_have_the_official_form(
    error_share: float, keep: int | None
) -> None:
    sim = Simulator(form="official", error_share=error_share, keep=keep, stop_takes=0)
    async with client_and_receiver(sim) as (api, receiver):
        made = await api.deploy(**receiver.fields())
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(10)
    assert [each.event for each in receiver.received] == [
        "error" if error_share else "ready",
        "terminated",
    ]
    for each in receiver.received:
        datetime.strptime(each.body["start_time"], ISO)
    datetime.strptime(receiver.received[-1].body["removal_time"], ISO)


async def test_some_errors_have_another_status_in_the_official_form() -> None:
    sim: Any
    report = BY_KEY["POST /v1/deployments/{request_id}:report"].body
    for form, unknown, ended in (("page", 404, 410), ("official", 400, 404)):
        sim = Simulator(form=form)
        async with plain(sim) as api:
            request_id = await api.deploy()
            await asyncio.sleep(10)
            environment = sim.environment(request_id)
            status, _ = await api("POST", "/v1/deployments/0123456789ab:report", report)
            assert status == unknown
            api.http.headers["Authorization"] = environment["ARBITRIUM_DELETE_TOKEN"]
            url = environment["ARBITRIUM_DELETE_URL"].removeprefix(sim.url)
            assert (await api("DELETE", url))[0] == 200
            await asyncio.sleep(1)
            assert (await api("DELETE", url))[0] == ended


@pytest.mark.parametrize(
    ("fleet_deploy", "page"), [(None, 404), ("both", 202), ("page", 202)]
)
async def test_the_official_form_has_the_newer_path_of_the_fleet_deploy(
    fleet_deploy: Any, page: int
) -> None:
    body = {**DEPLOY, "private_host_ids": ["alpha"]}
    async with plain(Simulator(form="official", fleet_deploy=fleet_deploy)) as api:
        assert (await api("POST", "/v2/private-fleets:deploy", body))[0] == page
        newer, _ = await api("POST", "/v2/private-fleets/deployments", body)
    assert newer == (404 if fleet_deploy == "page" else 202)
