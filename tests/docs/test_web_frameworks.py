"""The recipes of docs/cookbook/web-frameworks.md start a server for a match."""

import json
import sys
from types import ModuleType
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from support.asgi import App, call, lifespan
from support.paths import ROOT

from edgegap_async.simulator import Fault, Simulator

from .test_site import blocks

# The simulator runs in a thread.
pytestmark = pytest.mark.real_time
RECIPES = blocks(ROOT / "docs" / "cookbook" / "web-frameworks.md")
# Only the recipe whose servers end with the application has it.
OWNED = "AsyncExitStack"
PLAYERS = [b'["203.0.113.7"]']


@pytest.fixture
def account(edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    return edgegap_simulator


def recipe(part: str, **names: Any) -> dict[str, Any]:
    (code,) = (
        it
        for it in RECIPES
        if part in it and "start_match" in it and (OWNED in it) == (part == OWNED)
    )
    # Litestar looks at the module of a view.
    module = sys.modules["recipe"] = ModuleType("recipe")
    vars(module).update(names)
    exec(compile(code, part, "exec"), vars(module))  # noqa: S102 - our page
    return vars(module)


async def start_match(app: App) -> tuple[int, Any]:
    async with lifespan(app) as state:
        status, body = await call(app, state, "POST", "/matches", PLAYERS)
    return status, json.loads(body)


@pytest.mark.full
@pytest.mark.parametrize("faults", [(), ("deploy:403-before:1",)])
@pytest.mark.parametrize(
    "part",
    [
        "from fastapi",
        "from starlette",
        pytest.param("from litestar", marks=pytest.mark.full),
        pytest.param("from django", marks=pytest.mark.full),
    ],
)
@pytest.mark.edgegap_simulator(ready_after=(0, 0))
async def test_the_recipe_starts_a_server_or_says_that_it_could_not(
    part: str, faults: tuple[str, ...], account: Simulator
) -> None:
    account.faults = [Fault.parse(each) for each in faults]
    module = part.removeprefix("from ")
    pytest.importorskip(module)
    names = django_recipe(part) if module == "django" else recipe(part)
    status, answer = await start_match(names["app"])
    if faults:
        assert status == 503
    else:
        assert (status, answer["request_id"]) in {
            (ok, account.deployed()[0]) for ok in (200, 201)
        }
    assert len(account.running()) == (0 if faults else 1)


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
async def test_the_recipe_that_owns_its_servers_stops_them_at_shutdown(
    account: Simulator,
) -> None:
    pytest.importorskip("fastapi")
    app = recipe(OWNED)["app"]
    async with lifespan(app) as state:
        for _ in range(3):
            status, body = await call(app, state, "POST", "/matches", PLAYERS)
            assert status == 200
        first = json.loads(body)["request_id"]
        status, _ = await call(app, state, "DELETE", f"/matches/{first}", [])
        assert status == 200
        assert account.stopped() == {first}
        account.faults = [Fault("deploy", "403-before")]
        status, _ = await call(app, state, "POST", "/matches", PLAYERS)
        assert status == 503
    assert account.stopped() == {*account.deployed()}


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
async def test_the_recipe_with_statuses_maps_errors(account: Simulator) -> None:
    pytest.importorskip("fastapi")
    (code,) = (it for it in RECIPES if "exception_handler" in it)
    names: dict[str, Any] = {}
    exec(compile(code, "statuses", "exec"), names)  # noqa: S102 - our page
    app = names["app"]
    async with lifespan(app) as state:
        status, body = await call(app, state, "POST", "/matches", PLAYERS)
        path = f"/matches/{json.loads(body)['request_id']}"
        assert status == 202
        status, body = await call(app, state, "GET", path)
        assert (status, json.loads(body)["request_id"]) == (200, account.deployed()[0])
        status, _ = await call(app, state, "GET", path, query_string=b"seconds=0")
        assert status == 422
        status, body = await call(app, state, "GET", "/matches/0123456789ab")
        assert (status, json.loads(body)) == (404, {"error": "DeploymentTerminated"})
        account.faults = [Fault("deploy", "403-before")]
        status, body = await call(app, state, "POST", "/matches", PLAYERS)
        assert (status, json.loads(body)) == (502, {"error": "Forbidden"})
        account.faults = [Fault("deploy", "422")]
        status, body = await call(app, state, "POST", "/matches", PLAYERS)
        assert (status, json.loads(body)) == (503, {"error": "AllocationFailed"})


def django_recipe(part: str) -> dict[str, Any]:
    from django.conf import settings
    from django.urls import path

    class Urls:
        urlpatterns: tuple[Any, ...] = ()

    if not settings.configured:
        settings.configure(SECRET_KEY="made-up")
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS = Urls, ["*"]
    names = recipe(part)
    Urls.urlpatterns = (path("matches", names["start_match"]),)
    return names


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
async def test_the_recipe_for_aiohttp_starts_a_server(account: Simulator) -> None:
    app = recipe("cleanup_ctx")["app"]
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/matches", json=["203.0.113.7"])
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["request_id"] == account.deployed()[0]
        account.faults = [Fault("deploy", "403-before")]
        assert (await client.post("/matches", json=["203.0.113.7"])).status == 503
    assert len(account.running()) == 1
