"""A web page of another origin can neither read nor change a simulator."""

from typing import Any

import aiohttp
import pytest
from support.control import JSON, control
from support.plain_client import Plain, plain

from edgegap_async.simulator import Simulator

CHANGES = [
    ("POST", "faults"),
    ("DELETE", "faults"),
    ("POST", "limits"),
    ("POST", "crash/x"),
    ("POST", "stop/x"),
    ("POST", "stop-all"),
    ("POST", "reset"),
]
READS = ["counts", "deployments", "limits", "faults", "events", "page/page.css"]


async def status(api: Plain, method: str, path: str, headers: dict[str, str]) -> int:
    async with api.http.request(method, path, headers=headers) as response:
        return response.status


def port(sim: Simulator) -> str:
    return sim.url.rpartition(":")[2]


@pytest.mark.parametrize("path", ["/", *(f"/_simulator/{path}" for path in READS)])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "192.0.2.7", "[", ""],
)
async def test_a_host_name_of_another_machine_is_refused(host: str, path: str) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        for name in (host, f"{host}:{port(sim)}"):
            assert await status(api, "GET", path, {"Host": name}) == 403


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "sim.localhost", "127.1.2.3", "[::1]"],
)
async def test_the_names_of_this_machine_are_accepted(host: str) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        for name in (host, f"{host}:{port(sim)}"):
            headers = {"Host": name, "Origin": f"http://{name}", **JSON}
            assert await status(api, "POST", "/_simulator/reset", headers) == 200


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        # The same machine, but another server on it.
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
async def test_a_change_by_a_page_of_another_origin_is_refused(
    method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    sim = Simulator(ready_after=(0, 0))
    async with plain(sim) as api:
        await api.deploy()
        got, answer = await control(api, method, path, {}, **headers)
        assert (got, "message" in answer) == (expected, True)
        assert len(sim.running() - sim.stopped()) == 1


@pytest.mark.parametrize("path", READS)
async def test_a_page_of_another_origin_can_not_read(path: str) -> None:
    async with plain(Simulator()) as api:
        headers = {"Origin": "http://evil.example"}
        assert await status(api, "GET", f"/_simulator/{path}", headers) == 403


async def test_no_other_origin_is_allowed_by_a_header() -> None:
    async with plain(Simulator()) as api:
        for method, path in [("OPTIONS", path) for _, path in CHANGES] + [
            ("GET", "counts")
        ]:
            async with api.http.request(
                method,
                f"/_simulator/{path}",
                headers={"Access-Control-Request-Method": "POST"},
            ) as response:
                assert response.status == (200 if method == "GET" else 405)
                assert not [
                    name for name in response.headers if "Access-Control" in name
                ]


async def test_answers_are_not_stored_and_not_embedded_elsewhere() -> None:
    async with plain(Simulator()) as api:
        for path in ("/", "/_simulator/counts", "/_simulator/page/page.css"):
            async with api.http.get(path) as response:
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def deployed(api: Plain) -> tuple[str, list[Any]]:
    """Deploy, and return the ID and the values of a variable that are shown."""
    made = await api.deploy(
        environment_variables=[{"key": "MODE", "value": "ranked", "is_hidden": False}]
    )
    _, environment = await control(api, "GET", f"environment/{made}")
    _, details = await control(api, "GET", f"deployments/{made}")
    return made, [environment["MODE"], details["environment"]["MODE"]]


async def test_off_loopback_changes_and_environments_need_the_token() -> None:
    sim = Simulator(host="0.0.0.0", token="right", ready_after=(0, 0))  # noqa: S104
    async with plain(sim, "token right") as api:
        assert sim.url.startswith("http://127.0.0.1:")
        made, values = await deployed(api)
        assert values == [None, None]
        for headers, expected in (
            ({"Host": "sim.example"}, 401),
            ({"Authorization": "token wrong"}, 401),
            ({"Authorization": "right"}, 401),
            ({"Authorization": "token right", "Origin": "http://evil.example"}, 403),
        ):
            assert (await control(api, "POST", f"crash/{made}", **headers))[
                0
            ] == expected
        right = {"Authorization": "token right", "Host": "sim.example"}
        shown = await control(api, "GET", f"environment/{made}", **right)
        assert shown[1]["MODE"] == "ranked"
        shown = await control(api, "GET", f"deployments/{made}", **right)
        assert shown[1]["environment"]["MODE"] == "ranked"
        assert (await control(api, "POST", f"crash/{made}", **right))[0] == 200
        assert (await control(api, "GET", "counts", Host="sim.example"))[0] == 200


async def test_off_loopback_nothing_can_be_changed_without_a_token() -> None:
    async with plain(Simulator(host="0.0.0.0")) as api:  # noqa: S104
        made, values = await deployed(api)
        assert values == [None, None]
        for authorization in ("", "token any", "token None"):
            got, answer = await control(
                api, "POST", f"stop/{made}", Authorization=authorization
            )
            assert (got, "token" in answer["message"]) == (403, True)


async def test_it_listens_on_ipv6() -> None:
    sim = Simulator(host="::1")
    try:
        await sim.__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        async with aiohttp.ClientSession(sim.url) as http:
            assert sim.url.startswith("http://[::1]:")
            async with http.post("/_simulator/reset", headers=JSON) as response:
                assert response.status == 200
    finally:
        await sim.__aexit__(None, None, None)
