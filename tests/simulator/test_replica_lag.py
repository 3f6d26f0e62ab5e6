"""A replica that lags: a new deployment is unknown at first."""

import asyncio
import math
from typing import Any

import pytest
from support.plain_client import DEPLOY, Plain, plain

from edgegap_async.simulator import Simulator


async def responses_to_all_calls(sim: Simulator, api: Plain, request_id: str) -> Any:
    """Call all operations with the ID, and return the statuses and messages."""
    environment = sim.environment(request_id)
    tags = f"/v1/deployments/{request_id}/tags"
    self_stop = environment["ARBITRIUM_DELETE_URL"].removeprefix(sim.url)
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", f"/v1/status/{request_id}", None),
        ("GET", f"/v1/deployment/{request_id}/container-logs", None),
        ("GET", f"/v1/metrics/deployment/{request_id}", None),
        ("GET", tags, None),
        ("GET", f"{tags}/first", None),
        ("POST", tags, {"name": "second"}),
        ("PATCH", f"{tags}/second", {"name": "third"}),
        ("DELETE", f"{tags}/third", None),
        ("DELETE", f"/v1/stop/{request_id}", None),
    )
    answers = [await api(*call) for call in calls]
    async with api.http.delete(
        self_stop,
        headers={"Authorization": environment["ARBITRIUM_DELETE_TOKEN"]},
    ) as response:
        answers.append((response.status, await response.json()))
    return [(status, (body or {}).get("message")) for status, body in answers]


async def test_a_new_deployment_is_unknown_until_the_lag_has_passed() -> None:
    sim = Simulator(replica_lag=1, ready_after=(0, 0), stop_takes=0)
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["first"])
        unknown = [(404, f"Deployment {request_id} not found")] * 10
        assert await responses_to_all_calls(sim, api, request_id) == unknown
        await asyncio.sleep(0.9)
        assert await responses_to_all_calls(sim, api, request_id) == unknown
        # The stops had no effect.
        assert sim.stopped() == set()
        await asyncio.sleep(0.2)
        assert sim.running() == {request_id}
        answers = await responses_to_all_calls(sim, api, request_id)
        assert [status for status, _ in answers] == [200] * 7 + [204, 200, 410]
        assert sim.stopped() == {request_id}


async def test_each_deployment_has_a_lag_of_its_own() -> None:
    async with plain(Simulator(replica_lag=1)) as api:
        first = await api.deploy()
        await asyncio.sleep(0.6)
        second = await api.deploy()
        await asyncio.sleep(0.6)
        assert (await api("GET", f"/v1/status/{first}"))[0] == 200
        assert (await api("GET", f"/v1/status/{second}"))[0] == 404


async def test_lists_and_bulk_stops_do_not_lag() -> None:
    sim = Simulator(replica_lag=1)
    async with plain(sim) as api:
        request_id = await api.deploy()
        assert await api.listed() == [request_id]
        await api("POST", "/v1/deployments/bulk-stop", {"filters": []})
        assert sim.stopped() == {request_id}


async def test_an_unknown_deployment_is_answered_in_the_form_of_gone() -> None:
    async with plain(Simulator(replica_lag=1, gone="400")) as api:
        _, accepted = await api("POST", "/v2/deployments", DEPLOY)
        path = f"/v1/status/{accepted['request_id']}"
        assert await api("GET", path) == (400, {"message": "Bad Request ID provided"})


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_an_invalid_lag_is_a_value_error_that_names_it(seconds: float) -> None:
    with pytest.raises(ValueError, match="replica_lag"):
        Simulator(replica_lag=seconds)
