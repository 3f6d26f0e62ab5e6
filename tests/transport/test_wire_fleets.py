"""The path of the fleet deploy was renamed. The client tries the path of the reference
page first, then the newer one, and remembers which exists.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.recording_server import RecordingServer, recording_server

from edgegap_async import (
    AllocationFailed,
    ApiError,
    DeployOutcomeUnknown,
    EdgegapError,
    EdgegapSession,
)
from edgegap_async.errors import BadRequest, NotFound

# Written out here, so that client and tests can't share an error.
FIRST_PATH, NEWER_PATH = "/v2/private-fleets:deploy", "/v2/private-fleets/deployments"
ACCEPTED = (202, '{"request_id": "a69f8e3e0555"}')
UNKNOWN_PATH = [
    (404, ""),
    (404, '{"message": "Not Found"}'),
    (404, "<html>404</html>"),
    (405, ""),
    (405, "<html>405</html>"),
]


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


def responses(*answers: tuple[int, str]) -> list[web.Response]:
    return [web.Response(status=status, text=text) for status, text in answers]


async def deploy(session: EdgegapSession, **options: Any) -> str:
    accepted = await session.private_fleets.deploy(
        "app", "v1", private_host_ids=["h"], users=["::1"], **options
    )
    return accepted.request_id


async def test_the_first_path_is_used_where_it_exists(server: RecordingServer) -> None:
    server.answers = responses(ACCEPTED, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        assert [await deploy(session), await deploy(session)] == ["a69f8e3e0555"] * 2
    assert [request.path for request in server.requests] == [FIRST_PATH, FIRST_PATH]


@pytest.mark.parametrize("refusal", UNKNOWN_PATH)
async def test_the_newer_path_is_tried_after_404_or_405_and_remembered(
    refusal: tuple[int, str], server: RecordingServer
) -> None:
    server.answers = responses(refusal, ACCEPTED, ACCEPTED, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        assert await deploy(session) == "a69f8e3e0555"
        assert await deploy(session) == "a69f8e3e0555"
        assert session.usage()["deploy"].sent == 3
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as another:
        assert await deploy(another) == "a69f8e3e0555"
    assert [request.path for request in server.requests] == [
        FIRST_PATH,
        NEWER_PATH,
        NEWER_PATH,
        FIRST_PATH,
    ]
    assert server.requests[0].body == server.requests[1].body


@pytest.mark.parametrize("second", UNKNOWN_PATH)
@pytest.mark.parametrize(
    "first", [(404, '{"message": "first"}'), (405, '{"message": "first"}')]
)
async def test_the_first_error_is_raised_where_neither_path_exists(
    first: Any, second: Any, server: RecordingServer
) -> None:
    server.answers = responses(first, second, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(ApiError) as raised:
            await deploy(session)
        assert (raised.value.status, raised.value.message) == (first[0], "first")
        assert await deploy(session) == "a69f8e3e0555"
    assert [request.path for request in server.requests] == [
        FIRST_PATH,
        NEWER_PATH,
        FIRST_PATH,
    ]


async def test_an_error_of_the_newer_path_is_raised_and_the_path_remembered(
    server: RecordingServer,
) -> None:
    server.answers = responses(
        (404, ""),
        (422, '{"message": "full", "request_id": "bad1"}'),
        (404, '{"message": "host"}'),
    )
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(AllocationFailed) as raised:
            await deploy(session)
        assert raised.value.request_id == "bad1"
        with pytest.raises(NotFound, match="host"):
            await deploy(session)
    assert [request.path for request in server.requests] == [
        FIRST_PATH,
        NEWER_PATH,
        NEWER_PATH,
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, '{"message": "no"}'), BadRequest),
        ((500, ""), DeployOutcomeUnknown),
        ((200, "{}"), DeployOutcomeUnknown),
    ],
)
async def test_any_other_error_of_the_first_path_is_raised(
    answer: Any, error: type, server: RecordingServer
) -> None:
    server.answers = responses(answer)
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(error):
            await deploy(session)
    assert [request.path for request in server.requests] == [FIRST_PATH]


async def test_a_bad_gateway_on_the_newer_path_is_an_unknown_outcome(
    server: RecordingServer,
) -> None:
    server.answers = responses((404, ""), (502, "<html>bad gateway</html>"))
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(DeployOutcomeUnknown, match="502"):
            await deploy(session)


@pytest.mark.parametrize("timeout", [None, 5.0])
async def test_the_timeout_covers_both_paths(
    timeout: float | None, server: RecordingServer
) -> None:
    server.answers = responses((404, ""), ACCEPTED)
    server.pause = 2.0
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        assert await deploy(session, timeout=timeout) == "a69f8e3e0555"
    server.answers = responses((404, ""), ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(EdgegapError) as raised:
            await deploy(session, timeout=3.0)
    assert isinstance(raised.value, DeployOutcomeUnknown)
    # The server of the late answer is stopped.
    assert [request.path for request in server.requests][:4] == [
        FIRST_PATH,
        NEWER_PATH,
        FIRST_PATH,
        NEWER_PATH,
    ]
