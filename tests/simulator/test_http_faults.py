"""Faults as a client meets them on the wire: what arrives, what was done all the same,
and what counted.
"""

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
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


async def answered(api: Plain, timeout: float = 5.0) -> tuple[int, str, bytes]:
    """Status, content type and body of what a deploy is answered."""
    limit = aiohttp.ClientTimeout(total=timeout)
    async with api.http.post(
        PATH, json=DEPLOY, timeout=limit, allow_redirects=False
    ) as response:
        return response.status, response.content_type, await response.read()


def done(sim: Simulator) -> tuple[int, int, int]:
    """What arrived, what was refused, what was done."""
    return sim.arrivals("deploy"), sim.refused("deploy"), len(sim.deployed())


@pytest.mark.parametrize("status", [403, 408, 500, 502, 503, 504])
@pytest.mark.parametrize(("side", "deeds"), [("before", 0), ("after", 1)])
async def test_an_error_comes_in_place_of_the_deed_or_once_it_is_done(
    status: int, side: str, deeds: int
) -> None:
    sim = failing(f"{status}-{side}")
    async with plain(sim) as api:
        told, content_type, body = await answered(api)

    assert told == status
    if status == 500:
        assert (content_type, set(json.loads(body))) == (
            "application/json",
            {"message"},
        )
    else:
        assert content_type == "text/html"
        assert str(status).encode() in body
    assert done(sim) == (1, 0, deeds)
    assert sim.faulted() == sim.counts()["faulted"] == {f"{status}-{side}": 1}


@pytest.mark.parametrize(("side", "deeds"), [("before", 0), ("after", 1)])
async def test_a_redirect_leads_to_the_same_place(side: str, deeds: int) -> None:
    sim = Simulator(faults=Fault.script("deploy", f"redirect-{side}"))
    async with plain(sim) as api:
        async with api.http.post(PATH, json=DEPLOY, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (307, PATH)
        assert done(sim) == (1, 0, deeds)
        sim.faults = Fault.script("deploy", f"redirect-{side}")
        # who follows it is served, and has arrived twice
        assert (await api("POST", PATH, DEPLOY))[0] == 202
    assert done(sim) == (3, 0, 1 + 2 * deeds)


@pytest.mark.parametrize(("kind", "deeds"), [("cut-before", 0), ("cut-after", 1)])
async def test_a_connection_is_cut_before_or_after_the_deed(
    kind: str, deeds: int
) -> None:
    loop = asyncio.get_running_loop()
    sim = failing(kind, delay_before=(0.2, 0.2), delay_after=(0.3, 0.3))
    async with plain(sim) as api:
        began = loop.time()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await answered(api)
        assert loop.time() - began == pytest.approx(0.5, abs=0.01)
        assert done(sim) == (1, 0, deeds)
        sim.faults = ()
        assert (await answered(api))[0] == 202


@pytest.mark.parametrize(("kind", "deeds"), [("never-before", 0), ("never-after", 1)])
async def test_an_answer_never_comes_and_the_request_ends_with_its_client(
    kind: str, deeds: int
) -> None:
    sim = failing(kind)
    async with plain(sim) as api:
        tasks = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await answered(api, timeout=4 * 3600)
        assert done(sim) == (1, 0, deeds)
        await asyncio.sleep(15)
        assert asyncio.all_tasks() == tasks
        waiting = asyncio.create_task(answered(api, timeout=1e6))
        await asyncio.sleep(100)
        await sim.__aexit__(None, None, None)
        with pytest.raises(CLOSED):
            await waiting


async def test_an_answer_comes_late_and_the_deed_does_not() -> None:
    loop = asyncio.get_running_loop()
    sim = failing("late", seconds=20)
    async with plain(sim) as api:
        began = loop.time()
        call = asyncio.create_task(answered(api, timeout=60))
        await asyncio.sleep(1)
        assert done(sim) == (1, 0, 1)
        status, _, body = await call
        assert loop.time() - began == pytest.approx(20, abs=0.1)
        assert (status, json.loads(body)) == (202, {"request_id": sim.deployed()[0]})
        with pytest.raises(TimeoutError):
            await answered(api, timeout=15)
        assert done(sim) == (2, 0, 2)


async def test_a_deed_is_done_long_after_its_connection_was_cut() -> None:
    sim = failing("deed-late", seconds=2, ready_after=(3, 3))
    async with plain(sim) as api:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await answered(api, timeout=1)
        await asyncio.sleep(1.9)
        assert done(sim) == (1, 0, 0)
        assert await api.listed() == []
        await asyncio.sleep(0.2)
        assert done(sim) == (1, 0, 1)
        assert await api.listed() == [*sim.deployed()]
        assert await api.state(sim.deployed()[0]) == "INITIALIZING"
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await answered(api)
    await asyncio.sleep(10)
    # what is not done by then never is
    assert done(sim) == (2, 0, 1)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("truncated", aiohttp.ClientPayloadError), ("stuck", TimeoutError)],
)
async def test_half_an_answer_arrives(kind: str, error: type[Exception]) -> None:
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
    assert done(sim) == (1, 0, 1)


@pytest.mark.parametrize("kind", ["not-json", "invalid-utf8", "empty", "no-id"])
async def test_an_answer_of_a_deed_that_is_done_means_nothing(kind: str) -> None:
    sim = failing(kind)
    async with plain(sim) as api:
        status, content_type, body = await answered(api)

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


async def test_bytes_that_are_not_utf8_come_in_an_answer_without_strings_too() -> None:
    async with plain(failing("invalid-utf8", operation="bulk_stop")) as api:
        with pytest.raises(UnicodeDecodeError):
            await api("POST", "/v1/deployments/bulk-stop", {"filters": []})


async def test_a_429_without_need_is_counted_as_one() -> None:
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
    assert "Retry-After" not in headers[0]
    assert headers[1]["Retry-After"] == "2.5"
    date, back = (
        parsedate_to_datetime(headers[2][name]) for name in ("Date", "Retry-After")
    )
    assert (back - date).total_seconds() == 90
    assert done(sim) == (3, 3, 0)


async def test_what_the_limit_refuses_is_struck_by_nothing_and_what_is_struck_has_used_it() -> (
    None
):
    sim = Simulator(rates={"deploy": 2}, faults=[Fault("deploy", "502-before")])
    async with plain(sim) as api:
        assert [(await answered(api))[0] for _ in range(4)] == [502, 502, 429, 429]
    assert done(sim) == (4, 2, 0)
    assert sim.faulted() == {"502-before": 2}


async def test_no_server_is_allocated_and_a_deployment_in_error_stays() -> None:
    sim = failing("422")
    async with plain(sim) as api:
        status, answer = await api("POST", PATH, {**DEPLOY, "tags": ["once-1"]})
        assert (status, set(answer)) == (422, {"request_id", "message"})
        request_id = answer["request_id"]
        told = await api.get(f"/v1/status/{request_id}")
        assert (told["current_status"], told["error"], told["fqdn"]) == (
            "Status.ERROR",
            True,
            None,
        )
        assert told["error_detail"] == answer["message"]
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


async def test_a_fault_of_a_deed_that_is_refused_breaks_the_refusal() -> None:
    async with plain(
        Simulator(faults=Fault.script("status", "late:3", "empty", "502-before"))
    ) as api:
        path = "/v1/status/0123456789ab"
        for status in (404, 404, 502):
            async with api.http.get(path) as response:
                assert response.status == status


async def test_a_used_connection_is_dead_and_what_comes_on_it_is_neither_read_nor_counted() -> (
    None
):
    sim = failing("dead-connection", operation="deploy")
    async with plain(sim) as api:
        # the first on its connection
        assert (await answered(api))[0] == 202
        with pytest.raises(aiohttp.ClientOSError, match="reset"):
            await answered(api)
        assert done(sim) == (1, 0, 1)
        assert (await answered(api))[0] == 202
        # other operations are not struck
        await api.get("/v1/locations")
        sim.faults = ()
        assert (await answered(api))[0] == 202
    assert sim.faulted() == {"dead-connection": 1}
    assert sim.arrivals("other") == 1


async def test_a_get_on_a_dead_connection_is_sent_again_by_aiohttp_and_arrives_once() -> (
    None
):
    sim = failing("dead-connection", operation="locations.list")
    async with plain(sim) as api:
        for _ in range(3):
            await api.get("/v1/locations")
    assert (sim.arrivals("other"), sim.faulted()) == (3, {"dead-connection": 2})


async def storm(seed: int, *more: Fault) -> tuple[list[Any], list[Any], dict[str, int]]:
    """What 300 deploys are answered, what the world draws for them, and how often each
    kind strikes.
    """
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
                answers.append(await answered(api))
            except aiohttp.ServerDisconnectedError:
                answers.append(None)
    drawn = [sim.environment(each) for each in sim.deployed()]
    names = (
        "ARBITRIUM_REQUEST_ID",
        "ARBITRIUM_DELETE_TOKEN",
        "ARBITRIUM_DEPLOYMENT_LOCATION",
    )
    return answers, [[each[name] for name in names] for each in drawn], sim.faulted()


async def test_the_same_seed_gives_the_same_run() -> None:
    first = await storm(1)
    assert first == await storm(1)
    assert first != await storm(2)
    assert len(first[1]) == 300
    assert all(15 <= number <= 45 for number in first[2].values())


async def test_a_fault_changes_nothing_of_what_the_world_draws() -> None:
    _, drawn, struck = await storm(1)
    _, with_more, struck_with_more = await storm(1, Fault("deploy", "422", 0.2))
    assert with_more == drawn
    assert {**struck, "422": struck_with_more["422"]} == struck_with_more
