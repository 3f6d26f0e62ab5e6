"""Code inside a container reads Edgegap's variables and stops its own deployment
without an API token.
"""

import json
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.recording_server import RecordingServer, recording_server
from support.reference import BY_KEY
from support.samples import differences

from edgegap_async import __version__
from edgegap_async.container import Container, stop_self
from edgegap_async.errors import Gone, UnexpectedAnswer

KEY = "DELETE /v1/self/stop/{request_id}/{access_point_id}"
PLACE = {
    "city": "Montreal",
    "country": "Canada",
    "continent": "North America",
    "administrative_division": "Quebec",
    "timezone": "Eastern Time",
    "latitude": 45.508888,
    "longitude": -73.561668,
}
PORTS = {
    "7777": {"name": "7777", "internal": 7777, "external": 31669, "protocol": "UDP"},
    "web": {"name": "web", "internal": 8080, "external": 31587, "protocol": "http"},
}
DELETE_TOKEN = "de1e7e70cafe4b1d8badc0ffee0ddba2"
ENVIRON = {
    "ARBITRIUM_REQUEST_ID": "c0653765de3b",
    "ARBITRIUM_PUBLIC_IP": "100.10.0.85",
    "ARBITRIUM_HOST_ID": "alpha-north-america-95fab093",
    "ARBITRIUM_DEPLOYMENT_TAGS": "production,once-0123456789abcde",
    "ARBITRIUM_DEPLOYMENT_LOCATION": json.dumps(PLACE),
    "ARBITRIUM_PORTS_MAPPING": json.dumps({"ports": PORTS}),
    "ARBITRIUM_PORT_7777_INTERNAL": "7777",
    "ARBITRIUM_PORT_7777_EXTERNAL": "31669",
    "ARBITRIUM_PORT_7777_PROTOCOL": "UDP",
    "ARBITRIUM_DELETE_URL": "https://api.edgegap.com/v1/self/stop/c0653765de3b/52",
    "ARBITRIUM_DELETE_TOKEN": DELETE_TOKEN,
    "PATH": "/usr/bin",
}


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all variables of Edgegap from the environment."""
    for name in ("EDGEGAP_API_TOKEN", "EDGEGAP_BASE_URL", *ENVIRON):
        if name != "PATH":
            monkeypatch.delenv(name, raising=False)


def inside(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in (ENVIRON | changes).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("given", [True, False])
def test_from_env_reads_the_container_variables(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not given:
        inside(monkeypatch)
    here = Container.from_env(ENVIRON if given else None)
    assert (here.request_id, here.public_ip) == ("c0653765de3b", "100.10.0.85")
    assert here.host_id == "alpha-north-america-95fab093"
    assert here.tags == ("production", "once-0123456789abcde")
    assert list(differences({"location": PLACE, "ports": PORTS}, here)) == []
    assert here.delete_url == "https://api.edgegap.com/v1/self/stop/c0653765de3b/52"
    assert here.delete_token == DELETE_TOKEN
    assert pickle.loads(pickle.dumps(here)) == here  # noqa: S301 (our own bytes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "ARBITRIUM_PORTS_MAPPING": "",
            "ARBITRIUM_DEPLOYMENT_LOCATION": "",
            "ARBITRIUM_DEPLOYMENT_TAGS": "",
        },
        {
            "ARBITRIUM_PORTS_MAPPING": "null",
            "ARBITRIUM_DEPLOYMENT_LOCATION": "null",
            "ARBITRIUM_DEPLOYMENT_TAGS": ",",
        },
        {"ARBITRIUM_PORTS_MAPPING": "{}"},
        {"ARBITRIUM_PORTS_MAPPING": '{"ports": null}'},
        {"ARBITRIUM_PORTS_MAPPING": "[]"},
        {"ARBITRIUM_PORTS_MAPPING": '{"ports": {"web": 5}}'},
    ],
)
def test_only_the_request_id_is_required(changes: dict[str, str]) -> None:
    here = Container.from_env({"ARBITRIUM_REQUEST_ID": "c065"} | changes)
    assert (here.request_id, here.tags, dict(here.ports), here.location) == (
        "c065",
        (),
        {},
        None,
    )
    assert here.delete_token is here.delete_url is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ARBITRIUM_REQUEST_ID", ""),
        ("ARBITRIUM_REQUEST_ID", None),
        ("ARBITRIUM_PORTS_MAPPING", "{"),
        # A byte that is not UTF-8, as `os.environ` decodes it.
        ("ARBITRIUM_PORTS_MAPPING", "\udcff"),
        ("ARBITRIUM_DEPLOYMENT_LOCATION", "Montreal"),
    ],
)
def test_a_missing_or_invalid_variable_is_named(
    variable: str, value: str | None
) -> None:
    environ = {
        name: text
        for name, text in (ENVIRON | {variable: value}).items()
        if text is not None
    }
    with pytest.raises(ValueError, match=f"^{variable} ") as raised:
        Container.from_env(environ)
    assert DELETE_TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("storage", "query"),
    [(None, []), (True, ["true"]), (False, ["false"]), ("my logs", ["my logs"])],
)
async def test_a_container_stops_itself(
    storage: Any,
    query: list[str],
    server: RecordingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside(
        monkeypatch, ARBITRIUM_DELETE_URL=f"{server.url}/v1/self/stop/c0653765de3b/52"
    )
    server.answers = [web.json_response(BY_KEY[KEY].answer)]
    result = await stop_self(storage)
    assert list(differences(BY_KEY[KEY].answer, result)) == []
    (request,) = server.requests
    assert f"{request.method} {request.path}" == "DELETE " + BY_KEY[KEY].path_with(
        request_id="c0653765de3b", access_point_id="52"
    )
    assert request.query == [("container_log_storage", value) for value in query]
    assert request.headers["authorization"] == DELETE_TOKEN
    assert request.headers["user-agent"] == f"edgegap_async/{__version__}"
    assert request.body == b""


async def test_the_delete_url_is_used_unchanged(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside(
        monkeypatch,
        ARBITRIUM_DELETE_URL=f"{server.url}/other/%2Fpath/{{x}}/key\n",
        ARBITRIUM_DELETE_TOKEN=" t \n",
    )
    server.answers = [web.Response(status=202)]
    result = await stop_self()
    assert (result.message, result.deployment_summary) == (None, None)
    assert [
        (request.path, request.headers["authorization"]) for request in server.requests
    ] == [("/other/%2Fpath/{x}/key", "t")]


async def test_a_retried_stop_that_finds_nothing_has_succeeded(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside(
        monkeypatch, ARBITRIUM_DELETE_URL=f"{server.url}/v1/self/stop/c0653765de3b/52"
    )
    server.answers = [
        web.Response(status=503),
        web.json_response({"message": "gone"}, status=410),
    ]
    assert (await stop_self()).message is None
    assert len(server.requests) == 2
    server.answers = [web.json_response({"message": "gone"}, status=410)]
    with pytest.raises(Gone):
        await stop_self()


async def test_the_delete_token_is_not_sent_to_a_redirect(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside(
        monkeypatch, ARBITRIUM_DELETE_URL=f"{server.url}/v1/self/stop/c0653765de3b/52"
    )
    server.answers = [
        web.Response(status=307, headers={"Location": f"{server.url}/elsewhere"})
    ]
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        await stop_self()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ARBITRIUM_DELETE_URL", None),
        ("ARBITRIUM_DELETE_URL", ""),
        ("ARBITRIUM_DELETE_URL", "api.edgegap.com/v1/self/stop/c065/52"),
        ("ARBITRIUM_DELETE_URL", "http://api.edgegap.com/v1/self/stop/c065/52"),
        ("ARBITRIUM_DELETE_URL", "http://10.0.0.1/v1/self/stop/c065/52"),
        ("ARBITRIUM_DELETE_URL", "https://a:b@api.edgegap.com/v1/self/stop/c065/52"),
        ("ARBITRIUM_DELETE_TOKEN", None),
        ("ARBITRIUM_DELETE_TOKEN", ""),
        ("ARBITRIUM_DELETE_TOKEN", "two words"),
        ("ARBITRIUM_DELETE_TOKEN", "two\nlines"),
    ],
)
async def test_a_variable_that_prevents_a_stop_is_named(
    variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside(monkeypatch)
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"^{variable} ") as raised:
        await stop_self()
    assert not any(
        part in str(raised.value) for part in ("two", "lines", DELETE_TOKEN, "a:b")
    )


async def test_an_invalid_log_storage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, ARBITRIUM_DELETE_URL="http://127.0.0.1:9/v1/self/stop/c065/52")
    with pytest.raises(ValueError, match=r"^container_log_storage "):
        await stop_self("")
