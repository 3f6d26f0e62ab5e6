"""Versions: what is sent, what is refused before, what is hidden, and what the simulator
keeps.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter
from rich.pretty import pretty_repr
from support.plain_client import plain
from support.raw_server import CUT, GOOD, answer, scripted
from support.recording_server import recording_server
from support.reference import BY_KEY

from edgegap_async import (
    AppVersion,
    BadRequest,
    Conflict,
    EdgegapError,
    EdgegapSession,
    EnvironmentVariable,
    NotFound,
    PortSpec,
    Retry,
    ServerError,
    TransportError,
    UnexpectedAnswer,
)
from edgegap_async.models.version import (
    AppVersionRequest,
    AppVersionResult,
    AppVersions,
    AppVersionUpdate,
)
from edgegap_async.simulator import Simulator

SECRET, USERNAME = "registry-secret-5ec4e7", "puller-account"
REQUIRED: dict[str, Any] = {
    "req_cpu": 256,
    "req_memory": 512,
    "docker_repository": "registry.example.com",
    "docker_image": "arena",
    "docker_tag": "v1",
}
SAMPLE = BY_KEY["GET /v1/app/{app_name}/version/{version_name}"].answer
HIDDEN = SAMPLE | {"private_token": SECRET, "private_username": USERNAME}


@pytest.fixture
async def edgegap() -> AsyncIterator[EdgegapSession]:
    async with (
        Simulator() as sim,
        EdgegapSession("made-up", base_url=sim.url) as session,
    ):
        await session.apps.create("arena", image="")
        yield session


async def test_versions_are_created_changed_and_deleted(
    edgegap: EdgegapSession,
) -> None:
    versions = edgegap.versions
    for name in ("v1", "v2", "v3"):
        made = await versions.create(
            "arena",
            name,
            **REQUIRED,
            private_token=SECRET,
            ports=[PortSpec(7777, "UDP", name="game"), PortSpec(80, "HTTP")],
            envs={"MODE": "ranked"},
            max_duration=60,
            dns_config="mine",
        )
        assert made.success
        assert made.version
        assert made.version.name == name
    changed = await versions.update(
        "arena", "v2", name="v2b", is_active=False, max_duration=5, dns_config=None
    )
    read = await versions.get("arena", "v2b")
    assert changed.version == read
    assert (read.is_active, read.max_duration, read.dns_config) == (False, 5, None)
    assert (read.req_cpu, read.req_memory, read.docker_tag) == (256, 512, "v1")
    assert read.private_token == SECRET
    assert [(it.port, it.protocol, it.name, it.to_check) for it in read.ports] == [
        (7777, "UDP", "game", True),
        (80, "HTTP", "80", True),
    ]
    assert [(it.key, it.value) for it in read.envs] == [("MODE", "ranked")]
    deleted = await versions.delete("arena", "v1")
    assert deleted.success
    names = [it.name async for it in versions.iterate("arena", page_size=1)]
    assert names == ["v2b", "v3"]
    for gone in ("v1", "v2"):
        with pytest.raises(NotFound):
            await versions.get("arena", gone)
    with pytest.raises(NotFound):
        await versions.list("other")


async def test_versions_go_with_their_application(edgegap: EdgegapSession) -> None:
    await edgegap.versions.create("arena", "v1", **REQUIRED)
    await edgegap.apps.update("arena", name="arena2")
    assert (await edgegap.versions.get("arena2", "v1")).name == "v1"
    await edgegap.apps.delete("arena2")
    with pytest.raises(NotFound):
        await edgegap.versions.get("arena2", "v1")
    await edgegap.apps.create("arena2", image="")
    assert (await edgegap.versions.list("arena2")).versions == ()


async def test_a_name_is_given_once_in_each_application(
    edgegap: EdgegapSession,
) -> None:
    await edgegap.apps.create("other", image="")
    for app, name in (("arena", "v1"), ("arena", "v2"), ("other", "v1")):
        await edgegap.versions.create(app, name, **REQUIRED)
    with pytest.raises(Conflict):
        await edgegap.versions.create("arena", "v1", **REQUIRED)
    with pytest.raises(Conflict):
        await edgegap.versions.update("arena", "v2", name="v1")


async def test_the_ports_of_a_version_can_be_given_to_another(
    edgegap: EdgegapSession,
) -> None:
    ports = [
        PortSpec(7777, "UDP", to_check=False, name="game"),
        PortSpec(80, "WS", tls_upgrade=True),
    ]
    first = await edgegap.versions.create("arena", "v1", **REQUIRED, ports=ports)
    assert first.version
    second = await edgegap.versions.create(
        "arena", "v2", **REQUIRED, ports=first.version.ports
    )
    assert second.version
    assert second.version.ports == first.version.ports
    assert [it.to_check for it in second.version.ports] == [False, True]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"is_active": False}, {"is_active": False}),
        ({"private_token": None}, {"private_token": None}),
        ({"private_token": SECRET}, {"private_token": SECRET}),
        (
            {"endpoint_storage": None, "envs": {}},
            {"endpoint_storage": None, "envs": []},
        ),
        (
            {"ports": [PortSpec(1, "TCP")]},
            {"ports": [{"port": 1, "protocol": "TCP"}]},
        ),
    ],
)
async def test_an_update_sends_only_what_was_given(
    given: dict[str, Any], sent: dict[str, Any]
) -> None:
    async with recording_server() as server:
        server.answers = [web.json_response({"success": True})]
        async with EdgegapSession("made-up", base_url=server.url) as edgegap:
            result = await edgegap.versions.update("arena", "v1", **given)
    assert result == AppVersionResult(success=True)
    assert server.requests[0].json == sent


async def test_a_new_version_sends_only_what_was_given() -> None:
    async with recording_server() as server:
        server.answers = [web.json_response({"success": True})]
        async with EdgegapSession("made-up", base_url=server.url) as edgegap:
            await edgegap.versions.create(
                "arena", "v1", **REQUIRED, dns_config=None, private_token=None
            )
    assert server.requests[0].json == {"name": "v1", **REQUIRED}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"docker_repository": ""}, "docker_repository"),
    ({"docker_image": 5}, "docker_image"),
    ({"docker_tag": "a\nb"}, "docker_tag"),
    ({"is_active": "yes"}, "is_active"),
    ({"verify_image": 1}, "verify_image"),
    ({"force_cache": None}, "force_cache"),
    ({"time_to_deploy": 9}, "time_to_deploy"),
    ({"max_duration": -2}, "max_duration"),
    ({"max_duration": 1441}, "max_duration"),
    ({"max_duration": None}, "max_duration"),
    ({"restart_policy": "sometimes"}, "restart_policy"),
    ({"termination_grace_period_seconds": 4}, "termination_grace_period_seconds"),
    ({"termination_grace_period_seconds": 3601}, "termination_grace_period_seconds"),
    ({"dns_config": ""}, "dns_config"),
    ({"endpoint_storage": 5}, "endpoint_storage"),
    ({"ports": PortSpec(1, "TCP")}, "ports"),
    ({"ports": [7777]}, "ports"),
    ({"ports": None}, "ports"),
    ({"envs": {"KEY": 5}}, "envs"),
    ({"envs": {"": "a"}}, "envs"),
    ({"envs": {"KEY": "x" * 4097}}, "envs"),
    ({"envs": [EnvironmentVariable("A", "1")] * 2}, "envs"),
    ({"envs": "A=1"}, "envs"),
    ({"private_token": ""}, "private_token"),
    ({"private_token": 5}, "private_token"),
    ({"private_username": "a\nb"}, "private_username"),
    ({"app_name": ".."}, "app_name"),
]
# What only a new version has.
WRONG_NEW: list[tuple[dict[str, Any], str]] = [
    ({"req_cpu": 99}, "req_cpu"),
    ({"req_cpu": 256.5}, "req_cpu"),
    ({"req_memory": 99}, "req_memory"),
    ({"req_memory": 513}, "req_memory"),
    ({"req_video": -1}, "req_video"),
    ({"req_video": ""}, "req_video"),
]


@pytest.mark.parametrize(("wrong", "named"), [*WRONG, *WRONG_NEW])
async def test_a_wrong_version_is_refused_before_it_is_sent(
    wrong: dict[str, Any], named: str
) -> None:
    new = {"app_name": "arena", "name": "v1", **REQUIRED} | wrong
    changes = {"app_name": "arena", "version_name": "v1", "is_active": True} | wrong
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(ValueError, match=f"^{named}[ :]"):
            await edgegap.versions.create(**new)
        if (wrong, named) in WRONG:
            with pytest.raises(ValueError, match=f"^{named}[ :]"):
                await edgegap.versions.update(**changes)
        assert not server.arrivals


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((0, "UDP"), "ports: port"),
        ((60_000, "UDP"), "ports: port"),
        (("7777", "UDP"), "ports: port"),
        ((7777, ""), "ports: protocol"),
        ((7777, "UDP", "yes"), "ports: to_check"),
        ((7777, "UDP", True, True), "ports: tls_upgrade"),
        ((7777, "UDP", True, False, ""), "ports: name"),
    ],
)
def test_a_wrong_port_is_refused(wrong: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} "):
        PortSpec(*wrong)


async def test_what_can_not_be_changed_and_an_empty_update_are_refused() -> None:
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(TypeError, match="req_cpu"):
            await edgegap.versions.update("arena", "v1", req_cpu=512)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="are all missing"):
            await edgegap.versions.update("arena", "v1", timeout=5)
        assert not server.arrivals


@pytest.mark.parametrize("left_out", [*REQUIRED, "name"])
async def test_the_simulator_refuses_a_version_without_a_required_field(
    left_out: str,
) -> None:
    body = {"name": "v1", **REQUIRED}
    del body[left_out]
    async with plain(Simulator()) as api:
        app = {"name": "arena", "is_active": True, "image": ""}
        await api("POST", "/v1/app", app)
        assert (await api("POST", "/v1/app/arena/version", body))[0] == 400
        body = {"name": "v1", **REQUIRED}
        assert (await api("POST", "/v1/app/other/version", body))[0] == 404
        assert (await api("POST", "/v1/app/arena/version", body))[0] == 200
        for wrong in ({"ports": [{"port": 70000, "protocol": "UDP"}]}, {"name": None}):
            path = "/v1/app/arena/version/v1"
            assert (await api("PATCH", path, wrong))[0] == 400


async def test_only_reads_and_deletes_are_sent_again() -> None:
    version = answer(200, {"name": "v1"})
    async with scripted(CUT, version, CUT, answer(404, {"message": "gone"})) as (
        edgegap,
        server,
    ):
        assert (await edgegap.versions.get("arena", "v1")).name == "v1"
        # The first attempt has deleted it.
        assert (await edgegap.versions.delete("arena", "v1")).success is None
        assert len(server.arrivals) == 4
    for call in (
        lambda it: it.versions.create("arena", "v1", **REQUIRED),
        lambda it: it.versions.update("arena", "v1", is_active=True),
    ):
        async with scripted(CUT, version) as (edgegap, server):
            with pytest.raises(TransportError):
                await call(edgegap)
            assert len(server.arrivals) == 1


def read(kind: type[Any], value: Any) -> Any:
    from edgegap_async.models._lenient import decode

    return decode(json.dumps(value).encode(), kind)


HOLDERS = {
    "version": read(AppVersion, HIDDEN),
    "page": read(AppVersions, {"versions": [HIDDEN]}),
    "result": read(AppVersionResult, {"success": True, "version": HIDDEN}),
    "new": AppVersionRequest(
        name="v7", **REQUIRED, private_token=SECRET, private_username=USERNAME
    ),
    "update": AppVersionUpdate(
        name="v7", private_token=SECRET, private_username=USERNAME
    ),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_nothing_that_a_struct_shows_has_the_credentials(name: str) -> None:
    struct = HOLDERS[name]
    fastapi = TypeAdapter(dict[str, Any]).dump_json({"it": struct}).decode()
    own = TypeAdapter(type(struct))
    for shown in (
        repr(struct),
        str(struct),
        pretty_repr(struct),
        repr(struct.to_dict()),
        struct.to_json(),
        repr(dict(struct)) if name in ("version", "page", "result") else "v7",
        fastapi,
        own.dump_json(struct).decode(),
        json.dumps(own.json_schema()).replace("private_fleet", "") + "v7",
    ):
        assert "v7" in shown
        assert SECRET not in shown
        assert USERNAME not in shown
    assert "private_token" not in json.dumps(own.json_schema())


def test_a_version_still_has_its_credentials_as_attributes() -> None:
    version = HOLDERS["version"]
    assert (version.private_token, version.private_username) == (SECRET, USERNAME)
    assert version.to_dict()["ports"][0]["port"] == 7777


def test_the_repr_of_a_version_hides_hidden_variables() -> None:
    envs = [
        {"key": "A", "value": "open", "is_hidden": False},
        {"key": "B", "value": "closed", "is_hidden": True},
    ]
    version = read(AppVersion, {"name": "v1", "envs": envs})
    for shown in (repr(version), pretty_repr(version)):
        assert "open" in shown
        assert "closed" not in shown


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (200, HIDDEN | {"name": None}, UnexpectedAnswer),
        (500, {"message": json.dumps(HIDDEN)}, ServerError),
        (400, {"message": "refused", "details": HIDDEN}, BadRequest),
    ],
)
async def test_no_error_repeats_the_credentials_of_an_odd_answer(
    code: int, body: Any, kind: type[EdgegapError]
) -> None:
    async with scripted(answer(code, body), retry=Retry(tries=1)) as (edgegap, _):
        with pytest.raises(kind) as raised:
            await edgegap.versions.get("arena", "v7")
    shown = repr(vars(raised.value)) + str(raised.value) + pretty_repr(raised.value)
    assert SECRET not in shown
    assert USERNAME not in shown
    assert "***" in shown


async def test_odd_fields_of_a_version_become_none() -> None:
    odd = {name: {"odd": 1} for name in SAMPLE} | {"name": "v1"}
    odd |= {"ports": [{"port": "7777", "protocol": 5}, 5], "envs": [{"key": []}, "A=1"]}
    async with scripted(
        answer(200, odd), answer(200, {"versions": [odd, {"req_cpu": 5}]})
    ) as (edgegap, _):
        version = await edgegap.versions.get("arena", "v1")
        page = await edgegap.versions.list("arena")
    assert version.name == "v1"
    shown = dict(version)
    assert {shown[name] for name in shown if name not in ("name", "ports", "envs")} == {
        None
    }
    assert [(it.port, it.protocol) for it in version.ports] == [(7777, None)]
    assert [(it.key, it.value) for it in version.envs] == [(None, None)]
    assert (page.versions, page.skipped) == ((version,), 1)
