"""Structs are what FastAPI's routes return and take, with a schema."""

import asyncio
import json
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import Body, FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError
from support.asgi import call
from support.deploy_many import requests
from support.owning import deploy, owning, running

from edgegap_async import (
    DeploymentAccepted,
    DeploymentStatus,
    DeployOutcome,
    DeployRequest,
    EdgegapSession,
    EnvironmentVariable,
    Limits,
    ReadyDeployment,
)
from edgegap_async.models.deployment import DeploymentPage, Port

STATUS = DeploymentStatus(
    request_id="c065",
    fqdn="c065.example.net",
    ports={"web": Port(external=31000)},
    tags=("a",),
    current_status="Status.READY",
)
READY = ReadyDeployment(
    request_id="c065",
    fqdn="c065.example.net",
    ports={"web": Port(external=31000)},
    tags=("a",),
)


class Match(BaseModel):
    """A model of the user with a struct in it."""

    name: str
    server: ReadyDeployment | None = None


def application(result: object) -> FastAPI:
    """An application whose routes return one result, with and without annotations."""
    app = FastAPI()

    @app.get("/bare")
    async def bare() -> Any:
        return result

    @app.get("/without")
    async def without():  # type: ignore[no-untyped-def]
        return result

    @app.get("/nested")
    async def nested() -> Any:
        return {"servers": [result]}

    @app.get("/ready")
    async def ready() -> ReadyDeployment:
        assert isinstance(result, ReadyDeployment)
        return result

    @app.get("/list")
    async def several() -> list[ReadyDeployment]:
        return [await ready()]

    @app.get("/maybe")
    async def maybe() -> ReadyDeployment | None:
        return await ready()

    @app.get("/match")
    async def match() -> Match:
        return Match(name="a", server=await ready())

    return app


async def get(app: FastAPI, path: str) -> Any:
    status, body = await call(app, {}, "GET", path)
    assert status == 200, body
    return json.loads(body)


async def test_routes_return_structs_with_and_without_an_annotation() -> None:
    app, plain = application(READY), READY.to_dict()
    assert await get(app, "/bare") == plain
    assert await get(app, "/without") == plain
    assert await get(app, "/nested") == {"servers": [plain]}
    assert await get(app, "/ready") == plain
    assert await get(app, "/list") == [plain]
    assert await get(app, "/maybe") == plain
    assert await get(app, "/match") == {"name": "a", "server": plain}


async def test_every_struct_is_returned_without_an_annotation() -> None:
    async with owning() as (edgegap, _):
        structs: list[Any] = [
            edgegap.usage()["deploy"],
            Limits(),
            DeployRequest("game", "1", users=["203.0.113.7"]),
            EnvironmentVariable("KEY", "value"),
        ]
        for struct in structs:
            app = application(struct)
            assert await get(app, "/without") == struct.to_dict()
            assert await get(app, "/nested") == {"servers": [struct.to_dict()]}


async def test_a_route_shows_of_a_subclass_what_its_schema_has() -> None:
    app = application(STATUS)
    assert await get(app, "/ready") == READY.to_dict()
    assert await get(app, "/bare") == STATUS.to_dict()


async def test_a_route_returns_what_a_block_yields() -> None:
    async with owning() as (edgegap, _), running(edgegap) as server:
        app = application(server)
        for path in ("/ready", "/bare"):
            assert await get(app, path) == server.to_dict()
        # FastAPI writes the time by itself.
        without = msgspec.convert(await get(app, "/without"), ReadyDeployment)
        assert dict(without) == dict(server)


async def test_a_route_returns_what_the_session_returns() -> None:
    async with owning() as (edgegap, _):
        app = FastAPI()

        @app.post("/accepted")
        async def accepted(
            request: Annotated[DeployRequest, Body()],
        ) -> DeploymentAccepted:
            async with edgegap.deployments.deploy_many([request]) as outcomes:
                (outcome,) = [it async for it in outcomes]
            assert outcome.deployment
            return DeploymentAccepted(request_id=outcome.deployment.request_id)

        @app.get("/page")
        async def page() -> DeploymentPage:
            return await edgegap.deployments.list()

        @app.get("/outcomes")
        async def outcomes() -> list[DeployOutcome]:
            async with edgegap.deployments.deploy_many(requests(2)) as stream:
                return [it async for it in stream]

        assert app.openapi()["components"]["schemas"]["DeployOutcome"]
        body = DeployRequest("game", "1", users=["203.0.113.7"]).to_json().encode()
        status, answer = await call(app, {}, "POST", "/accepted", [body])
        assert (status, [*json.loads(answer)]) == (200, ["request_id", "once_tag"])
        assert len((await get(app, "/page"))["data"]) == 1
        assert [it["error"] for it in await get(app, "/outcomes")] == [None, None]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"application": "game", "version": "1", "users": []}', "users"),
        ('{"application": 5, "version": "1", "users": []}', "application"),
        ("[]", "object"),
    ],
)
async def test_a_wrong_body_is_answered_422_with_the_reason(
    body: str, text: str
) -> None:
    app = FastAPI()

    @app.post("/")
    async def start(request: Annotated[DeployRequest, Body()]) -> None:
        raise AssertionError(request)

    status, answer = await call(app, {}, "POST", "/", [body.encode()])
    assert status == 422
    assert text in answer.decode()


def test_the_openapi_document_names_the_schema_of_a_struct() -> None:
    document = application(READY).openapi()
    responses = document["paths"]["/ready"]["get"]["responses"]
    schema = responses["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ReadyDeployment"}
    component = document["components"]["schemas"]["ReadyDeployment"]
    assert {*component["properties"]} == {*ReadyDeployment.__struct_fields__}
    assert component["required"] == ["request_id"]
    port = component["properties"]["ports"]["additionalProperties"]
    assert port["properties"]["external"]["anyOf"][0] == {"type": "integer"}


def test_a_model_of_pydantic_takes_a_struct_and_its_data() -> None:
    match = Match(name="a", server=STATUS)
    assert match.server is STATUS
    again = Match.model_validate_json(match.model_dump_json())
    assert again.server == READY
    assert again.model_dump()["server"] == READY.to_dict()
    assert TypeAdapter(ReadyDeployment).validate_python(READY.to_dict()) == READY
    with pytest.raises(ValidationError, match="request_id"):
        TypeAdapter(ReadyDeployment).validate_python({})


async def test_many_routes_share_a_session_and_return_its_servers() -> None:
    async with owning() as (edgegap, sim):
        app = FastAPI()

        @app.get("/")
        async def start() -> ReadyDeployment:
            accepted = await deploy(edgegap)
            return await edgegap.deployments.wait_until_ready(accepted.request_id)

        shown = await asyncio.gather(*(get(app, "/") for _ in range(5)))
        assert {it["request_id"] for it in shown} == sim.running()
        assert isinstance(edgegap, EdgegapSession)
