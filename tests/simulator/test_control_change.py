"""The endpoints under `/_simulator/` that change a running simulator."""

import asyncio
import io
from typing import Any

import aiohttp
import pytest
from support.control import JSON, control, ok
from support.plain_client import DEPLOY, plain
from support.receiving import client_and_receiver

from edgegap_async.simulator import Fault, Simulator

AT_ONCE = {"ready_after": (0, 0)}


async def test_a_fault_applies_to_later_requests_and_can_be_cleared() -> None:
    async with plain(Simulator()) as api:
        body = {"operation": "list", "kind": "500-before"}
        answer = await ok(api, "POST", "faults", body)
        assert [each["kind"] for each in answer["faults"]] == ["500-before"]
        assert (await api("GET", "/v1/deployments"))[0] == 500
        assert await ok(api, "DELETE", "faults") == {"faults": []}
        assert (await api("GET", "/v1/deployments"))[0] == 200


async def test_faults_are_added_in_order_as_a_script() -> None:
    async with plain(Simulator(**AT_ONCE)) as api:
        for kind in ("500-before", "ok", "422"):
            body = {"operation": "deploy", "kind": kind, "times": 1}
            await ok(api, "POST", "faults", body)
        statuses = [(await api("POST", "/v2/deployments", DEPLOY))[0] for _ in range(4)]
        assert statuses == [500, 202, 422, 202]
        assert (await ok(api, "GET", "faults"))["faults"] == []


async def test_a_fault_replaces_those_of_its_kind_and_operation_only_if_asked() -> None:
    sim = Simulator(faults=[Fault("status", "late", 0.5, seconds=1)])
    async with plain(sim) as api:
        for operation, share in (("list", 0.4), ("list", 0.3)):
            body = {
                "operation": operation,
                "kind": "late",
                "share": share,
                "seconds": 1,
            }
            await ok(api, "POST", "faults", body)
        assert [fault.share for fault in sim.faults] == [0.5, 0.4, 0.3]
        await ok(
            api,
            "POST",
            "faults",
            {"operation": "deployments.list", "kind": "late", "share": 0.9}
            | {"seconds": 2, "replace": True},
        )
        assert [fault.share for fault in sim.faults] == [0.5, 0.9]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("?operation=list", ["status/late", "status/500-after"]),
        (
            "?operation=deployments.list&kind=late",
            ["list/empty", "status/late", "status/500-after"],
        ),
        ("?kind=late", ["list/empty", "status/500-after"]),
        (
            "?kind=hang-before",
            ["list/late", "list/empty", "status/late", "status/500-after"],
        ),
    ],
)
async def test_faults_of_an_operation_or_a_kind_are_cleared(
    query: str, left: list[str]
) -> None:
    faults = [
        Fault("list", "late", 0.5, seconds=1),
        Fault("list", "empty", 0.5),
        Fault("status", "late", 0.5, seconds=1),
        Fault("status", "500-after", 0.5),
    ]
    async with plain(Simulator(faults=faults)) as api:
        answer = await ok(api, "DELETE", f"faults{query}")
        assert [
            f"{each['operation'].rpartition('.')[2]}/{each['kind']}"
            for each in answer["faults"]
        ] == left


@pytest.mark.parametrize(
    "query", ["kind=typo", "operation=typo", "kind=late&operation=x"]
)
async def test_clearing_names_that_there_are_not_is_refused(query: str) -> None:
    async with plain(Simulator(faults=[Fault("list", "empty")])) as api:
        status, answer = await control(api, "DELETE", f"faults?{query}")
        assert status == 400
        assert "there is no" in answer["message"]
        assert len((await ok(api, "GET", "faults"))["faults"]) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (None, "Bad request"),
        ([], "Bad request"),
        ({"operation": "list"}, "kind"),
        ({"operation": "list", "kind": "late"}, "seconds"),
        ({"operation": "lost", "kind": "late", "seconds": 1}, "operation"),
        ({"operation": "list", "kind": "empty", "share": 2}, "share"),
        ({"operation": "list", "kind": "empty", "shares": 1}, "shares"),
        ({"operation": "list", "kind": "500-after", "share": 0.6}, "more than 1"),
    ],
)
async def test_a_wrong_fault_changes_nothing(body: Any, problem: str) -> None:
    sim = Simulator(faults=[Fault("list", "late", 0.5, seconds=1)])
    async with plain(sim) as api:
        status, answer = await control(api, "POST", "faults", body)
        assert (status, problem in answer["message"]) == (400, True), answer
        assert [fault.kind for fault in sim.faults] == ["late"]


async def test_a_rate_applies_at_once_and_other_limits_go_on() -> None:
    sim = Simulator(rates={"status": 1})
    async with plain(sim) as api:
        await api("GET", "/v1/status/x")
        answer = await ok(api, "POST", "limits", {"rates": {"list": 2}})
        assert answer["limits"]["list"]["rate"] == 2
        assert answer["limits"]["status"]["rate"] == 1
        statuses = [(await api("GET", "/v1/deployments"))[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
        # The window of the other limit still has its request.
        assert (await api("GET", "/v1/status/x"))[0] == 429

        await ok(api, "POST", "limits", {"rates": {"list": None}})
        statuses = [(await api("GET", "/v1/deployments"))[0] for _ in range(30)]
        assert statuses == [200] * 30
        assert sim.refused("list") == 1


async def test_the_enforcement_can_be_changed() -> None:
    sim = Simulator(rates={"list": 2})
    async with plain(sim) as api:
        await ok(api, "POST", "limits", {"enforcement": "off"})
        assert (await api("GET", "/v1/deployments"))[0] == 200
        answer = await ok(api, "POST", "limits", {"enforcement": "spacing"})
        assert (answer["enforcement"], answer["limits"]["list"]["rate"]) == (
            "spacing",
            2,
        )
        statuses = [(await api("GET", "/v1/deployments"))[0] for _ in range(2)]
        assert statuses == [200, 429]


@pytest.mark.parametrize(
    "body",
    [
        {"rates": {"list": 0}},
        {"rates": {"list": -1}},
        {"rates": {"lists": 1}},
        {"enforcement": "strict"},
        {"rate": {"list": 1}},
        {"rates": {"list": "1"}},
    ],
)
async def test_wrong_limits_change_nothing(body: Any) -> None:
    async with plain(Simulator()) as api:
        before = await ok(api, "GET", "limits")
        status, answer = await control(api, "POST", "limits", body)
        assert (status, "message" in answer) == (400, True)
        assert await ok(api, "GET", "limits") == before


async def test_a_crash_makes_a_ready_deployment_error_and_sends_its_webhook() -> None:
    sim = Simulator(ready_after=(1, 1))
    async with client_and_receiver(sim) as (api, receiver):
        made = [await api.deploy(**receiver.fields()) for _ in range(2)]
        status, answer = await control(api, "POST", f"crash/{made[0]}")
        assert (status, "not READY" in answer["message"]) == (409, True)
        await asyncio.sleep(2)
        for each in made:
            row = await ok(api, "POST", f"crash/{each}")
            assert (row["request_id"], row["state"]) == (each, "ERROR")
            assert await api.state(each) == "ERROR"
            shown = await api.get(f"/v1/status/{each}")
            assert shown["error_detail"] == "Container crashed"
            logs = await api.get(f"/v1/deployment/{each}/container-logs")
            assert "Segmentation fault" in logs["crash_logs"]
            assert (await control(api, "POST", f"crash/{each}"))[0] == 409
        await asyncio.sleep(1)
        events = [event for each, event in receiver.ids_and_events if each == made[0]]
        assert events == ["ready", "error"]
        await api("DELETE", f"/v1/stop/{made[0]}")
        await asyncio.sleep(1)
        events = [event for each, event in receiver.ids_and_events if each == made[0]]
        assert events == ["ready", "error", "terminated"]


async def test_a_stop_counts_as_one_of_the_api_but_against_no_limit() -> None:
    sim = Simulator(**AT_ONCE, stop_takes=1)
    async with client_and_receiver(sim) as (api, receiver):
        made = await api.deploy(**receiver.fields("terminated"))
        for _ in range(2):
            assert (await ok(api, "POST", f"stop/{made}"))["state"] == "TERMINATING"
        assert sim.stopped() == {made}
        await asyncio.sleep(2)
        assert receiver.ids_and_events == [(made, "terminated")]
        assert (await control(api, "POST", f"stop/{made}"))[0] == 410
        assert (await control(api, "POST", "stop/c065"))[0] == 404
        assert sim.arrivals("other") == 0


async def test_stop_all_stops_what_runs_but_not_the_neighbours() -> None:
    sim = Simulator(ready_after=(1, 1), stop_takes=0, neighbours=5)
    async with plain(sim) as api:
        made = [await api.deploy() for _ in range(3)]
        await asyncio.sleep(2)
        made.append(await api.deploy())
        await ok(api, "POST", f"stop/{made[0]}")
        assert await ok(api, "POST", "stop-all") == {"stopped": 3}
        assert await ok(api, "POST", "stop-all") == {"stopped": 0}
        await asyncio.sleep(2)
        assert (sim.running(), sim.stopped()) == (set(), {*made})
        assert (await api.get("/v1/deployments"))["total_count"] == 5


async def test_reset_returns_to_the_state_after_the_start() -> None:
    faults = [Fault("deploy", "422", 0.5), Fault("webhook", "late", 0.5, seconds=30)]
    sim = Simulator(
        ready_after=(1, 9), rates={"list": 3}, faults=faults, neighbours=2, seed=3
    )

    async def use() -> list[Any]:
        results: list[Any] = []
        began = asyncio.get_running_loop().time()
        for _ in range(8):
            status, answer = await api("POST", "/v2/deployments", DEPLOY | hooks)
            results.append((status, answer.keys()))
        await asyncio.sleep(10)
        results += [
            round((sim.ready_or_failed_at(each) or 0) - began, 2)
            for each in sim.deployed()
        ]
        shown = await ok(api, "GET", "deployments")
        results += [
            (row["state"], row["city"], row["ports"]) for row in shown["deployments"]
        ]
        results.append(sim.faulted())
        return results

    async with client_and_receiver(sim) as (api, receiver):
        hooks = receiver.fields("ready")
        unused = sim.counts()
        first, ids = await use(), sim.deployed()
        before = len(receiver.received)
        assert 0 < before < len(ids)
        await ok(api, "POST", "limits", {"rates": {"list": 7}, "enforcement": "off"})
        await ok(api, "DELETE", "faults")

        assert await ok(api, "POST", "reset") == unused == sim.counts()
        assert (sim.deployed(), list(sim.faults)) == ((), faults)
        answer = await ok(api, "GET", "limits")
        assert (answer["enforcement"], answer["limits"]["list"]["rate"]) == (
            "sliding-window",
            3,
        )
        assert (await ok(api, "GET", "deployments"))["total"] == 0
        assert (await api.get("/v1/deployments"))["total_count"] == 2
        for each in ids:
            assert (await api("GET", f"/v1/status/{each}"))[0] == 404
        # The same again, but an ID from before does not reach another deployment.
        assert await use() == first
        assert not {*ids} & {*sim.deployed()}
        await asyncio.sleep(40)
        # The late webhooks of before are gone.
        later = [each for each, _ in receiver.ids_and_events[before:]]
        assert before < len(later) == sim.webhooks()["sent"]
        assert {*later} <= {*sim.deployed()}


async def test_after_a_reset_nothing_of_before_is_carried_out() -> None:
    faults = [Fault("deploy", "processed-late", seconds=5, times=1)]
    sim = Simulator(**AT_ONCE, faults=faults)
    async with plain(sim) as api:
        with pytest.raises(aiohttp.ClientError):
            await api("POST", "/v2/deployments", DEPLOY)
        await ok(api, "POST", "reset")
        await asyncio.sleep(10)
        assert sim.deployed() == ()


async def test_a_request_in_progress_goes_on_over_a_reset() -> None:
    sim = Simulator(**AT_ONCE, delay_before=(5, 5))
    async with plain(sim) as api:
        deploying = asyncio.create_task(api.deploy())
        await asyncio.sleep(1)
        await ok(api, "POST", "reset")
        assert sim.deployed() == ()
        made = await deploying
        assert sim.deployed() == (made,)


async def test_a_body_that_is_too_large_changes_nothing() -> None:
    async with (
        plain(Simulator()) as api,
        api.http.post(
            "/_simulator/faults", data=io.BytesIO(b" " * (2**20 + 1)), headers=JSON
        ) as response,
    ):
        assert response.status == 413
        assert "message" in await response.json()


async def test_an_image_is_pushed_and_forgotten_by_a_reset() -> None:
    tags = "/v1/container-registry/images/studio%2Farena/tags"
    async with plain(Simulator()) as api:
        body = {"image": "studio/arena", "tags": ["1.0.0"], "size_mb": 340}
        made = await ok(api, "POST", "images", body)
        (row,) = (await api.get(tags))["data"]
        assert row["tag"] == "1.0.0"
        assert row["artifact"] == {
            "artifact_deleted": False,
            "remaining_tags": ["1.0.0"],
            "image_hash": made["image_hash"],
            "size_mb": 340,
        }
        await ok(api, "POST", "reset")
        assert (await api("GET", tags))[0] == 404


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"image": "a"}, "tags"),
        ({"image": "a", "tags": []}, "tags"),
        ({"image": "", "tags": ["a"]}, "image"),
        ({"image": "a", "tags": ["a"], "size_mb": -1}, "size_mb"),
        ({"image": "a", "tags": ["a"], "size": 1}, "size"),
    ],
)
async def test_a_wrong_image_is_refused(body: Any, problem: str) -> None:
    async with plain(Simulator()) as api:
        status, answer = await control(api, "POST", "images", body)
    assert (status, problem in answer["message"]) == (400, True), answer
