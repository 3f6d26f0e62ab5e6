"""The simulator refuses what the API's specification does not allow."""

from typing import Any

import pytest
from support.plain_client import DEPLOY, plain

from edgegap_async.simulator import Simulator

FILTER = {"field": "request_id", "values": ["a"], "filter_type": "any"}
VARIABLE = {"key": "A", "value": "b", "is_hidden": False}


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {key: FILTER[key] for key in FILTER if key != left_out}
            for left_out in FILTER
        ),
        FILTER | {"filter_type": "some"},
        FILTER | {"values": "a"},
        FILTER | {"values": [5]},
        FILTER | {"field": ""},
    ],
    ids=repr,
)
async def test_a_bulk_stop_with_a_wrong_filter_is_refused(wrong: Any) -> None:
    async with plain(Simulator()) as api:
        path = "/v1/deployments/bulk-stop"
        assert (await api("POST", path, {"filters": [wrong]}))[0] == 400
        assert (await api("POST", path, {"filters": [FILTER, wrong]}))[0] == 400
        assert (await api("POST", path, {}))[0] == 400
        assert (await api("POST", path, {"filters": [FILTER]}))[0] == 202


@pytest.mark.measured
@pytest.mark.parametrize("left_out", VARIABLE)
async def test_a_deploy_with_an_incomplete_variable_is_refused(left_out: str) -> None:
    wrong = {key: VARIABLE[key] for key in VARIABLE if key != left_out}
    sim = Simulator()
    async with plain(sim) as api:
        for variables, status in (([wrong], 400), ({"A": "b"}, 400), ([VARIABLE], 202)):
            body = {**DEPLOY, "environment_variables": variables}
            assert (await api("POST", "/v2/deployments", body))[0] == status
    assert len(sim.deployed()) == 1


LISTS = ["/v1/deployments", "/v1/locations", "/v2/private-fleets/f/hosts", "tags"]


@pytest.mark.measured
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("name", ["page", "limit"])
@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "x", "", "1" * 40])
async def test_a_wrong_page_is_refused(path: str, name: str, wrong: str) -> None:
    async with plain(Simulator()) as api:
        if path == "tags":
            path = f"/v1/deployments/{await api.deploy()}/tags"
        status, body = await api("GET", path, **{name: wrong})
        assert (status, name in body["message"]) == (400, True)
        assert (await api("GET", path, **{name: "1"}))[0] == 200


@pytest.mark.parametrize(
    ("time", "status"),
    [
        ("2021-07-10 00:00:00.00", 200),
        ("2021-07-10 00:00:00.000000", 200),
        ("2021-07-10T00:00:00Z", 200),
        ("2021-07-10T00:00:00.5+02:00", 200),
        ("2021-07-10T00:00:00", 200),
        ("2021-07-10", 400),
        ("2021-07-10 00:00:00", 400),
        ("T", 400),
        ("yesterday", 400),
    ],
)
async def test_metrics_times_are_read_in_both_documented_forms(
    time: str, status: int
) -> None:
    async with plain(Simulator()) as api:
        path = f"/v1/metrics/deployment/{await api.deploy()}"
        assert (await api("GET", path, start_time=time))[0] == status
        assert (await api("GET", path, start_time=time, steps="1h"))[0] == status
