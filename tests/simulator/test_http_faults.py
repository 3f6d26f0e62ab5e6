"""Faults over HTTP: the response, whether the operation was carried out, and what
counted.
"""

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from support.control import ok
from support.plain_client import DEPLOY, Plain, plain

from edgegap_async.simulator import Fault, Simulator

PATH = "/v2/deployments"
CLOSED = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientOSError,
)


def failing(
    kind: str,
    *,
    operation: str = "deploy",
    seconds: float | None = None,
    **options: Any,
) -> Simulator:
    return Simulator(faults=[Fault(operation, kind, seconds=seconds)], **options)


async def deploy(api: Plain, timeout: float = 5.0) -> tuple[int, str, bytes]:
    """Deploy, and return the status, content type and body of the response."""
    limit = aiohttp.ClientTimeout(total=timeout)
    async with api.http.post(
        PATH, json=DEPLOY, timeout=limit, allow_redirects=False
    ) as response:
        return response.status, response.content_type, await response.read()


def counts(sim: Simulator) -> tuple[int, int, int]:
    """Return how many deploys arrived, were refused, and were carried out."""
    return sim.arrivals("deploy"), sim.refused("deploy"), len(sim.deployed())


@pytest.mark.parametrize("status", [403, 408, 500, 502, 503, 504])
@pytest.mark.parametrize(("side", "operations"), [("before", 0), ("after", 1)])
async def test_an_error_response_comes_before_or_after_the_operation(
    status: int, side: str, operations: int
) -> None:
    sim = failing(f"{status}-{side}")
    async with plain(sim) as api:
        received, content_type, body = await deploy(api)

    assert received == status
    if status == 500:
        assert (content_type, set(json.loads(body))) == (
            "application/json",
            {"message"},
        )
    else:
        assert content_type == "text/html"
        assert str(status).encode() in body
    assert counts(sim) == (1, 0, operations)
    assert sim.faulted() == sim.counts()["faulted"] == {f"{status}-{side}": 1}


@pytest.mark.parametrize(("side", "operations"), [("before", 0), ("after", 1)])
async def test_a_redirect_leads_to_the_same_path(side: str, operations: int) -> None:
    sim = Simulator(faults=Fault.script("deploy", f"redirect-{side}"))
    async with plain(sim) as api:
        async with api.http.post(PATH, json=DEPLOY, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (307, PATH)
        assert counts(sim) == (1, 0, operations)
        sim.faults = Fault.script("deploy", f"redirect-{side}")
        # A client that follows it is served, and counts twice.
        assert (await api("POST", PATH, DEPLOY))[0] == 202
    assert counts(sim) == (3, 0, 1 + 2 * operations)


@pytest.mark.parametrize(("kind", "operations"), [("cut-before", 0), ("cut-after", 1)])
async def test_a_connection_is_cut_before_or_after_the_operation(
    kind: str, operations: int
) -> None:
    loop = asyncio.get_running_loop()
    sim = failing(kind, delay_before=(0.2, 0.2), delay_after=(0.3, 0.3))
    async with plain(sim) as api:
        began = loop.time()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await deploy(api)
        assert loop.time() - began == pytest.approx(0.5, abs=0.01)
        assert counts(sim) == (1, 0, operations)
        sim.faults = ()
        assert (await deploy(api))[0] == 202


@pytest.mark.parametrize(
    ("kind", "operations"), [("hang-before", 0), ("hang-after", 1)]
)
async def test_a_hanging_request_ends_with_its_client(
    kind: str, operations: int
) -> None:
    sim = failing(kind)
    async with plain(sim) as api:
        tasks = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await deploy(api, timeout=4 * 3600)
        assert counts(sim) == (1, 0, operations)
        await asyncio.sleep(15)
        assert asyncio.all_tasks() == tasks
        waiting = asyncio.create_task(deploy(api, timeout=1e6))
        await asyncio.sleep(100)
        await sim.__aexit__(None, None, None)
        with pytest.raises(CLOSED):
            await waiting


async def test_a_late_response_follows_an_operation_in_time() -> None:
    loop = asyncio.get_running_loop()
    sim = failing("late", seconds=20)
    async with plain(sim) as api:
        began = loop.time()
        call = asyncio.create_task(deploy(api, timeout=60))
        await asyncio.sleep(1)
        assert counts(sim) == (1, 0, 1)
        status, _, body = await call
        assert loop.time() - began == pytest.approx(20, abs=0.1)
        assert (status, json.loads(body)) == (202, {"request_id": sim.deployed()[0]})
        with pytest.raises(TimeoutError):
            await deploy(api, timeout=15)
        assert counts(sim) == (2, 0, 2)


async def test_an_operation_is_carried_out_after_its_connection_was_cut() -> None:
    sim = failing("processed-late", seconds=2, ready_after=(3, 3))
    async with plain(sim) as api:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await deploy(api, timeout=1)
        await asyncio.sleep(1.9)
        assert counts(sim) == (1, 0, 0)
        assert await api.listed() == []
        await asyncio.sleep(0.2)
        assert counts(sim) == (1, 0, 1)
        assert await api.listed() == [*sim.deployed()]
        assert await api.state(sim.deployed()[0]) == "INITIALIZING"
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await deploy(api)
    await asyncio.sleep(10)
    # The pending operation was dropped at exit.
    assert counts(sim) == (2, 0, 1)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("truncated", aiohttp.ClientPayloadError), ("stalled", TimeoutError)],
)
async def test_half_a_response_arrives(kind: str, error: type[Exception]) -> None:
    sim = failing(kind)
    async with plain(sim) as api:
        request = api.http.post(
            PATH, json=DEPLOY, timeout=aiohttp.ClientTimeout(total=10)
        )
        async with request as response:
            assert response.status == 202
            whole = json.dumps({"request_id": sim.deployed()[0]}, separators=(",", ":"))
            assert response.content_length == len(whole)
            assert (
                await response.content.readexactly(len(whole) // 2)
                == whole[: len(whole) // 2].encode()
            )
            with pytest.raises(error):
                await response.read()
    assert counts(sim) == (1, 0, 1)


@pytest.mark.parametrize("kind", ["not-json", "invalid-utf8", "empty", "no-id"])
async def test_a_broken_body_follows_a_completed_operation(kind: str) -> None:
    sim = failing(kind)
    async with plain(sim) as api:
        status, content_type, body = await deploy(api)

    (request_id,) = sim.deployed()
    assert (status, content_type) == (
        202,
        "text/html" if kind == "not-json" else "application/json",
    )
    match kind:
        case "not-json":
            assert body.startswith(b"<html>")
        case "invalid-utf8":
            assert body == b'{"request_id":"\xff' + request_id.encode() + b'"}'
        case "empty":
            assert body == b""
        case _:
            assert json.loads(body) == {"id": request_id}


async def test_invalid_utf8_also_breaks_a_body_without_strings() -> None:
    async with plain(failing("invalid-utf8", operation="bulk_stop")) as api:
        with pytest.raises(UnicodeDecodeError):
            await api("POST", "/v1/deployments/bulk-stop", {"filters": []})


async def test_a_429_by_a_fault_counts_as_refused() -> None:
    sim = Simulator(
        faults=Fault.script("deploy", "429", "429-seconds:2.5", "429-date:90")
    )
    headers = []
    async with plain(sim) as api:
        for _ in range(3):
            async with api.http.post(PATH, json=DEPLOY) as response:
                assert (response.status, set(await response.json())) == (
                    429,
                    {"message"},
                )
                headers.append(response.headers)
        seconds = (await ok(api, "GET", "limits"))["limits"]["deploy"]["seconds"]
    assert "Retry-After" not in headers[0]
    assert headers[1]["Retry-After"] == "2.5"
    date, back = (
        parsedate_to_datetime(headers[2][name]) for name in ("Date", "Retry-After")
    )
    assert (back - date).total_seconds() == 90
    assert counts(sim) == (3, 3, 0)
    assert sum(refused for _, _, refused, _ in seconds) == 3


async def test_faults_hit_only_admitted_requests_which_use_the_limit() -> None:
    sim = Simulator(rates={"deploy": 2}, faults=[Fault("deploy", "502-before")])
    async with plain(sim) as api:
        assert [(await deploy(api))[0] for _ in range(4)] == [502, 502, 429, 429]
    assert counts(sim) == (4, 2, 0)
    assert sim.faulted() == {"502-before": 2}


async def test_422_leaves_a_deployment_in_error() -> None:
    sim = failing("422")
    async with plain(sim) as api:
        status, answer = await api("POST", PATH, {**DEPLOY, "tags": ["once-1"]})
        assert (status, set(answer)) == (422, {"request_id", "message"})
        request_id = answer["request_id"]
        status_body = await api.get(f"/v1/status/{request_id}")
        assert (
            status_body["current_status"],
            status_body["error"],
            status_body["fqdn"],
        ) == (
            "Status.ERROR",
            True,
            None,
        )
        assert status_body["error_detail"] == answer["message"]
        assert (await api.get(f"/v1/deployment/{request_id}/container-logs"))[
            "crash_data"
        ] is None
        assert await api.listed(("status", "eq", "error")) == [request_id]
        assert sim.running() == {request_id}
        assert sim.tags_of(request_id) == ("once-1",)
        assert (await api("DELETE", f"/v1/stop/{request_id}"))[0] == 200
        assert (await api("POST", PATH, {}))[0] == 400
        await asyncio.sleep(1)
        assert sim.running() == set()
        assert sim.tags_of(request_id) == ("once-1",)
    with pytest.raises(LookupError):
        sim.tags_of("0123456789ab")


async def test_a_fault_breaks_an_error_response_of_the_operation() -> None:
    async with plain(
        Simulator(faults=Fault.script("status", "late:3", "empty", "502-before"))
    ) as api:
        path = "/v1/status/0123456789ab"
        for status in (404, 404, 502):
            async with api.http.get(path) as response:
                assert response.status == status


async def test_a_request_on_a_dead_connection_is_neither_read_nor_counted() -> None:
    sim = failing("dead-connection", operation="deploy")
    async with plain(sim) as api:
        # The first request on its connection.
        assert (await deploy(api))[0] == 202
        with pytest.raises(aiohttp.ClientOSError, match="reset"):
            await deploy(api)
        assert counts(sim) == (1, 0, 1)
        assert (await deploy(api))[0] == 202
        # Other operations are not hit.
        await api.get("/v1/locations")
        sim.faults = ()
        assert (await deploy(api))[0] == 202
    assert sim.faulted() == {"dead-connection": 1}
    assert sim.arrivals("other") == 1


async def test_aiohttp_resends_a_get_on_a_dead_connection_and_it_counts_once() -> None:
    sim = failing("dead-connection", operation="locations.list")
    async with plain(sim) as api:
        for _ in range(3):
            await api.get("/v1/locations")
    assert (sim.arrivals("other"), sim.faulted()) == (3, {"dead-connection": 2})


async def storm(seed: int, *more: Fault) -> tuple[list[Any], list[Any], dict[str, int]]:
    """Return 300 deploy responses, the world's random values, and the hits by kind."""
    faults = [
        Fault("deploy", "cut-after", 0.1),
        Fault("deploy", "502-after", 0.1),
        Fault("deploy", "no-id", 0.1),
    ]
    sim = Simulator(seed=seed, enforcement="off", faults=[*faults, *more])
    answers: list[Any] = []
    async with plain(sim) as api:
        for _ in range(300):
            try:
                answers.append(await deploy(api))
            except aiohttp.ServerDisconnectedError:
                answers.append(None)
    drawn = [sim.environment(each) for each in sim.deployed()]
    names = (
        "ARBITRIUM_REQUEST_ID",
        "ARBITRIUM_DELETE_TOKEN",
        "ARBITRIUM_DEPLOYMENT_LOCATION",
    )
    return answers, [[each[name] for name in names] for each in drawn], sim.faulted()


@pytest.mark.full
@pytest.mark.slow
async def test_the_same_seed_gives_the_same_results() -> None:
    first = await storm(1)
    assert first == await storm(1)
    assert first != await storm(2)
    assert len(first[1]) == 300
    assert all(15 <= number <= 45 for number in first[2].values())


@pytest.mark.full
@pytest.mark.slow
async def test_a_fault_does_not_change_the_worlds_random_values() -> None:
    _, drawn, hits = await storm(1)
    _, with_more, more_hits = await storm(1, Fault("deploy", "422", 0.2))
    assert with_more == drawn
    assert {**hits, "422": more_hits["422"]} == more_hits
