"""Gateways and proxies: answers in place of the API's, and deploys sent twice."""

import asyncio
import json
from collections.abc import Callable

import aiohttp
import pytest
from support.plain_client import DEPLOY, Plain, plain

from edgegap_async.simulator import Fault, Simulator

PATH = "/v2/deployments"
TIMEOUT = aiohttp.ClientTimeout(total=5)


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "right"),
    [
        ("404-text", 404, "text/plain", b"default backend - 404".__eq__),
        ("404-html", 404, "text/html", lambda body: b"404 Not Found" in body),
        ("404-empty", 404, "application/octet-stream", b"".__eq__),
        (
            "404-json",
            404,
            "application/json",
            lambda body: json.loads(body) == {"message": "Not Found"},
        ),
        (
            "502-escapes-before",
            502,
            "text/html",
            lambda body: len(body) == 64 * 1024 and b"&#37;" in body,
        ),
        ("403-before", 403, "text/html", lambda body: b"403 Forbidden" in body),
    ],
)
async def test_a_gateway_answers_in_place_of_the_api(
    kind: str, status: int, content_type: str, right: Callable[[bytes], bool]
) -> None:
    sim = Simulator(ready_after=(0, 0))
    async with plain(sim) as api:
        request_id = await api.deploy()
        sim.faults = [
            Fault(operation, kind, times=2) for operation in ("stop", "status")
        ]
        for method, operation in (("DELETE", "stop"), ("GET", "status")):
            for _ in range(2):
                async with api.http.request(
                    method, f"/v1/{operation}/{request_id}"
                ) as response:
                    assert response.status == status
                    assert response.content_type == content_type
                    assert right(await response.read())
        # Nothing was stopped, and the API answers again.
        assert sim.running() == {request_id}
        assert sim.stopped() == set()
        assert await api.state(request_id) == "READY"
        assert (await api("DELETE", f"/v1/stop/{request_id}"))[0] == 200
    assert sim.faulted() == {kind: 4}


async def test_a_deployment_can_be_unknown_for_a_share_of_the_calls() -> None:
    sim = Simulator(
        ready_after=(0, 0),
        enforcement="off",
        faults=[Fault("status", "not-found", 0.3), Fault("stop", "not-found")],
    )
    async with plain(sim) as api:
        request_id = await api.deploy()
        answers = [await api("GET", f"/v1/status/{request_id}") for _ in range(100)]
        unknown = (404, {"message": f"Deployment {request_id} not found"})
        assert 15 < answers.count(unknown) < 45
        assert await api("DELETE", f"/v1/stop/{request_id}") == unknown
        assert sim.running() == {request_id}


async def deploy(api: Plain, path: str = PATH) -> str | int | None:
    """Deploy; return the ID of the response, its status, or None for no response."""
    body = DEPLOY if path == PATH else {**DEPLOY, "private_host_ids": ["h"]}
    try:
        async with api.http.post(
            path, json={**body, "tags": ["once-1"]}, timeout=TIMEOUT
        ) as response:
            if response.status != 202:
                return response.status
            return str((await response.json())["request_id"])
    except TimeoutError:
        return None


@pytest.mark.parametrize(
    ("operation", "path"),
    [("deploy", PATH), ("private_fleets.deploy", "/v2/private-fleets:deploy")],
)
@pytest.mark.parametrize("seconds", [0, 3])
@pytest.mark.parametrize("answered", ["first", "second", "502", "hang"])
async def test_a_proxy_sends_a_deploy_twice(
    answered: str, seconds: float, operation: str, path: str
) -> None:
    sim = Simulator(faults=[Fault(operation, f"twice-{answered}", seconds=seconds)])
    async with plain(sim) as api:
        call = asyncio.create_task(deploy(api, path))
        await asyncio.sleep(2.9)
        assert len(sim.deployed()) == (2 if seconds == 0 else 1)
        await asyncio.sleep(0.2)
        first, second = sim.deployed()
        assert await api.listed(("tags", "eq", "once-1")) == [second, first]
        expected = {"first": first, "second": second, "502": 502, "hang": None}
        assert await call == expected[answered]
    assert sim.tags_of(first) == sim.tags_of(second) == ("once-1",)
    assert sim.arrivals("deploy") == 1


async def test_the_second_deploy_follows_the_response() -> None:
    loop = asyncio.get_running_loop()
    sim = Simulator(faults=Fault.script("deploy", "twice-first:3", "twice-second:3"))
    async with plain(sim) as api:
        began = loop.time()
        await deploy(api)
        assert loop.time() - began < 0.1
        await deploy(api)
        assert loop.time() - began == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("kind", "response"), [("502", 502), ("hang", None)])
async def test_both_deploys_can_be_late(kind: str, response: int | None) -> None:
    sim = Simulator(faults=[Fault("deploy", f"twice-late-{kind}", seconds=8)])
    async with plain(sim) as api:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await deploy(api) == response
        await asyncio.sleep(began + 7.9 - loop.time())
        assert sim.deployed() == ()
        assert await api.listed() == []
        await asyncio.sleep(0.2)
        assert len(sim.deployed()) == 2
        assert await api.listed(("tags", "eq", "once-1")) == [*reversed(sim.deployed())]


async def test_a_second_deploy_that_is_pending_at_the_end_never_starts() -> None:
    sim = Simulator(faults=[Fault("deploy", "twice-first", seconds=3)])
    async with plain(sim) as api:
        await deploy(api)
    await asyncio.sleep(10)
    assert len(sim.deployed()) == 1


async def test_a_refused_deploy_starts_nothing_although_it_is_sent_twice() -> None:
    sim = Simulator(faults=[Fault("deploy", "twice-first", seconds=0)])
    async with plain(sim) as api:
        assert (await api("POST", PATH, {}))[0] == 400
    assert sim.deployed() == ()


@pytest.mark.parametrize(
    ("operation", "kind", "seconds", "message"),
    [
        ("deploy", "twice-first", None, "seconds: twice-first takes a number"),
        ("deploy", "twice-502", -1.0, "seconds: twice-502 takes a number"),
        ("stop", "twice-hang", 1.0, "operation: twice-hang can't hit deployments.stop"),
        ("list", "not-found", None, "operation: not-found can't hit deployments.list"),
        ("stop", "404-text", 1.0, "seconds: 404-text takes none"),
    ],
)
def test_an_invalid_argument_is_a_value_error_that_names_it(
    operation: str, kind: str, seconds: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(operation, kind, seconds=seconds)
