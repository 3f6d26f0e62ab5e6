"""The endpoints under `/_simulator/` that read."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from support.control import control, ok
from support.plain_client import DEPLOY, Plain, plain

from edgegap_async.simulator import Fault, Simulator

AT_ONCE = {"ready_after": (0, 0)}
# Nothing listens there.
SECRET = "http://127.0.0.1:1/s3cret-path?key=s3cret#s3cret"


def ids(answer: Any) -> list[str]:
    return [row["request_id"] for row in answer["deployments"]]


async def test_observation_needs_no_token_and_does_not_count() -> None:
    sim = Simulator(token="right", delay_before=(5, 5))
    async with plain(sim, "token right") as api:
        made = await api.deploy()
        paths = (
            "counts",
            "deployments",
            f"deployments/{made}",
            f"environment/{made}",
            "limits",
            "faults",
            "faults/kinds",
        )
        began = asyncio.get_running_loop().time()
        for path in paths:
            await ok(api, "GET", path)
        assert asyncio.get_running_loop().time() - began < 1
        limits = sim.counts()["limits"]
        assert [limit["arrivals"] for limit in limits.values()] == [1, 0, 0, 0]


async def test_deployments_are_listed_with_their_state_also_after_their_end() -> None:
    async with plain(Simulator(ready_after=(10, 10))) as api:
        ended, ready = await api.deploy(), await api.deploy(tags=["a"])
        await asyncio.sleep(11)
        await api("DELETE", f"/v1/stop/{ended}")
        starting = await api.deploy()
        await asyncio.sleep(5)

        answer = await ok(api, "GET", "deployments")
        assert ids(answer) == [ended, ready, starting]
        assert (answer["total"], answer["next"]) == (3, None)
        rows = answer["deployments"]
        assert [row["state"] for row in rows] == ["TERMINATED", "READY", "DEPLOYING"]
        assert [row["stop_requested"] for row in rows] == [True, False, False]
        assert rows[1]["tags"] == ["a"]
        assert rows[1]["ports"]["7777"] == {"internal": 7777, "external": 30002}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=READY", [1]),
        ("state=ready,TERMINATED", [0, 1]),
        ("state=pending", [2]),
        ("state=ERROR", []),
        ("tag=one", [1]),
        ("tag=on", []),
        ("application=second", [2]),
        ("application=second&state=READY", []),
        ("version=v1", [0, 1, 2]),
        ("city=Atlantis", []),
    ],
)
async def test_a_deployment_must_pass_all_filters(query: str, found: list[int]) -> None:
    async with plain(Simulator(ready_after=(10, 10))) as api:
        made = [await api.deploy(), await api.deploy(tags=["one"])]
        await asyncio.sleep(11)
        await api("DELETE", f"/v1/stop/{made[0]}")
        await asyncio.sleep(1)
        made.append(await api.deploy(application="second"))

        answer = await ok(api, "GET", f"deployments?{query}")
        assert ids(answer) == [made[number] for number in found]
        assert answer["total"] == len(found)


async def test_pages_hold_each_deployment_once_although_some_end_meanwhile() -> None:
    async with plain(Simulator(**AT_ONCE, stop_takes=0, enforcement="off")) as api:
        made = [await api.deploy() for _ in range(25)]
        seen: list[str] = []
        query, pages = "limit=10", 0
        while True:
            page = await ok(api, "GET", f"deployments?{query}")
            seen += ids(page)
            pages += 1
            await api("DELETE", f"/v1/stop/{made[pages]}")
            if page["next"] is None:
                break
            query = f"limit=10&after={page['next']}"
        assert (seen, pages) == (made, 3)


@pytest.mark.full
@pytest.mark.slow
async def test_a_page_holds_1000_deployments_at_most() -> None:
    async with plain(Simulator(**AT_ONCE, enforcement="off")) as api:
        await asyncio.gather(*(api.deploy() for _ in range(1001)))
        page = await ok(api, "GET", "deployments?limit=5000")
        assert (len(page["deployments"]), page["total"]) == (1000, 1001)
        assert len((await ok(api, "GET", "deployments"))["deployments"]) == 100


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("after=-1", "after"),
        ("after=" + "9" * 5000, "after"),
        ("stat=READY", "stat"),
        ("state=READY,RUNNING", "state: there is no 'running'"),
        ("state=", "state: there is no ''"),
    ],
)
async def test_a_wrong_query_is_refused(query: str, problem: str) -> None:
    async with plain(Simulator()) as api:
        status, answer = await control(api, "GET", f"deployments?{query}")
        assert status == 400
        assert answer["message"].startswith(
            (problem, f"there is no parameter {problem}")
        )


async def test_deployments_of_neighbours_are_not_listed() -> None:
    async with plain(Simulator(neighbours=30)) as api:
        made = await api.deploy()
        assert ids(await ok(api, "GET", "deployments")) == [made]


async def state_names(api: Plain, request_id: str) -> list[str]:
    shown = await ok(api, "GET", f"deployments/{request_id}")
    since = [each["since"] for each in shown["states"]]
    assert all(earlier <= later for earlier, later in pairwise(since))
    assert shown["states"][-1]["state"] == shown["state"]
    return [each["state"] for each in shown["states"]]


STARTING = ["INITIALIZING", "SEEKING", "SEEKED", "SCANNING", "DEPLOYING"]


async def test_details_have_all_states_so_far() -> None:
    async with plain(Simulator(ready_after=(10, 10))) as api:
        made = await api.deploy()
        await asyncio.sleep(1)
        assert await state_names(api, made) == STARTING[:2]
        await asyncio.sleep(10)
        assert await state_names(api, made) == [*STARTING, "READY"]
        await ok(api, "POST", f"crash/{made}")
        assert await state_names(api, made) == [*STARTING, "READY", "ERROR"]
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(1)
        ended = [*STARTING, "READY", "ERROR", "TERMINATING", "TERMINATED"]
        assert await state_names(api, made) == ended


@pytest.mark.parametrize("kind", ["share", "422"])
async def test_details_tell_why_a_deployment_failed(kind: str) -> None:
    share = 1 if kind == "share" else 0
    faults = [] if kind == "share" else [Fault("deploy", "422")]
    async with plain(Simulator(**AT_ONCE, error_share=share, faults=faults)) as api:
        _, answer = await api("POST", "/v2/deployments", DEPLOY)
        shown = await ok(api, "GET", f"deployments/{answer['request_id']}")
        assert shown["state"] == "ERROR"
        assert shown["error_detail"]
        assert (await state_names(api, answer["request_id"]))[-1] == "ERROR"


async def test_details_tell_what_became_of_each_webhook_but_not_its_secret() -> None:
    sim = Simulator(
        ready_after=(1, 1), stop_takes=0, faults=Fault.script("webhook", "ok", "lost")
    )
    async with plain(sim) as api:
        made = await api.deploy(
            webhook_on_ready={"url": SECRET}, webhook_on_terminated={"url": SECRET}
        )
        await asyncio.sleep(2)
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(2)
        shown = await ok(api, "GET", f"deployments/{made}")
        assert [
            (each["event"], each["to"], each["result"]) for each in shown["webhooks"]
        ] == [
            ("ready", "http://127.0.0.1:1", "ClientConnectorError"),
            ("terminated", "http://127.0.0.1:1", "lost by a fault"),
        ]


async def test_no_answer_holds_a_token_or_a_secret() -> None:
    sim = Simulator(token="s3cret-token", ready_after=(1, 1))
    async with plain(sim, "token s3cret-token") as api:
        made = await api.deploy(
            webhook_on_ready={"url": SECRET},
            webhook_on_error={"url": "http://[::1]:1/s3cret"},
            webhook_on_terminated={"url": "http://user:s3cret@127.0.0.1:1/"},
            environment_variables=[
                {"key": "HIDDEN", "value": "s3cret-value", "is_hidden": True},
                {"key": "SHOWN", "value": "plain", "is_hidden": False},
            ],
        )
        await asyncio.sleep(2)
        await api("DELETE", f"/v1/stop/{made}")
        await asyncio.sleep(2)
        secrets = ["s3cret", sim.environment(made)["ARBITRIUM_DELETE_TOKEN"]]
        for path in (
            "counts",
            "deployments",
            f"deployments/{made}",
            f"environment/{made}",
            "limits",
            "faults",
            "faults/kinds",
        ):
            async with api.http.get(f"/_simulator/{path}") as response:
                text = await response.text() + str(response.headers)
            assert not [secret for secret in secrets if secret in text], path
        variables = await ok(api, "GET", f"environment/{made}")
        assert variables["SHOWN"] == "plain"
        assert variables["HIDDEN"] is variables["ARBITRIUM_DELETE_TOKEN"] is None
        assert set(variables) == set(sim.environment(made))


@pytest.mark.parametrize("path", ["deployments", "environment"])
async def test_an_unknown_deployment_is_404(path: str) -> None:
    async with plain(Simulator()) as api:
        status, answer = await control(api, "GET", f"{path}/c065")
        assert (status, answer) == (404, {"message": "Deployment c065 not found"})


async def test_limits_tell_the_arrivals_of_each_second() -> None:
    sim = Simulator(rates={"list": 2})
    async with plain(sim) as api:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1 - loop.time() % 1)
        for _ in range(3):
            await api("GET", "/v1/deployments")
        await asyncio.sleep(5)
        await api("GET", "/v1/deployments")
        answer = await ok(api, "GET", "limits")
        assert answer["enforcement"] == "sliding-window"
        second = int(loop.time())
        assert answer["limits"]["list"] == {
            "rate": 2,
            **sim.counts()["limits"]["list"],
            "seconds": [[second - 5, 3, 1, 2], [second, 1, 0, 2]],
        }
        assert answer["limits"]["status"]["seconds"] == []


async def test_a_second_has_the_rate_of_its_last_request() -> None:
    async with plain(Simulator()) as api:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1 - loop.time() % 1)
        for rate in (8, 9):
            await ok(api, "POST", "limits", {"rates": {"list": rate}})
            await api("GET", "/v1/deployments")
        limits = (await ok(api, "GET", "limits"))["limits"]
        assert limits["list"]["seconds"] == [[int(loop.time()), 2, 0, 9]]


async def test_limits_remember_two_minutes() -> None:
    async with plain(Simulator()) as api:
        for _ in range(130):
            await api("GET", "/v1/locations")
            await asyncio.sleep(1)
        seconds = (await ok(api, "GET", "limits"))["limits"]["other"]["seconds"]
        assert len(seconds) == 121


async def test_faults_tell_how_often_they_have_occurred() -> None:
    faults = [Fault("status", "500-before", times=5), Fault("list", "500-before")]
    async with plain(Simulator(faults=faults)) as api:
        for _ in range(3):
            await api("GET", "/v1/status/x")
        await api("GET", "/v1/deployments")
        first, second = (await ok(api, "GET", "faults"))["faults"]
        assert first == {
            "operation": "deployments.status",
            "kind": "500-before",
            "share": 1.0,
            "seconds": None,
            "fields": [],
            "times": 2,
            "occurred": 3,
        }
        assert (second["operation"], second["occurred"]) == ("deployments.list", 1)


async def test_every_kind_of_fault_is_described() -> None:
    async with plain(Simulator()) as api:
        kinds = (await ok(api, "GET", "faults/kinds"))["kinds"]
        for kind in kinds:
            assert kind["about"]
            seconds = 1 if kind["takes"] == "seconds" else None
            for operation in kind["operations"]:
                assert Fault(operation, kind["kind"], seconds=seconds)


async def test_an_unknown_path_and_a_wrong_method_get_json_errors() -> None:
    async with plain(Simulator()) as api:
        assert (await control(api, "GET", "nothing"))[0] == 404
        for method, path in (("GET", "reset"), ("PUT", "faults"), ("POST", "counts")):
            status, answer = await control(api, method, path)
            assert (status, answer) == (405, {"message": "Method Not Allowed"})
