"""The fleet deploy was renamed: the page's path first; where it is not known the newer
one, once.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.echo import Echo, echoing

from edgegap_async import (
    AllocationFailed,
    ApiError,
    DeployOutcomeUnknown,
    EdgegapError,
    EdgegapSession,
)
from edgegap_async.errors import BadRequest, NotFound

# Both from outside the package: the page's, and the one that the facts sheet tells of.
PAGE, NEWER = "/v2/private-fleets:deploy", "/v2/private-fleets/deployments"
ACCEPTED = (202, '{"request_id": "a69f8e3e0555"}')
NOT_KNOWN = [
    (404, ""),
    (404, '{"message": "Not Found"}'),
    (404, "<html>404</html>"),
    (405, ""),
    (405, "<html>405</html>"),
]


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


def answers(*answers: tuple[int, str]) -> list[web.Response]:
    return [web.Response(status=status, text=text) for status, text in answers]


async def deploy(session: EdgegapSession, **options: Any) -> str:
    accepted = await session.private_fleets.deploy(
        "app", "v1", private_host_ids=["h"], users=["::1"], **options
    )
    return accepted.request_id


async def test_the_page_s_path_is_enough_where_it_is_known(echo: Echo) -> None:
    echo.answers = answers(ACCEPTED, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        assert [await deploy(session), await deploy(session)] == ["a69f8e3e0555"] * 2
    assert [seen.path for seen in echo.seen] == [PAGE, PAGE]


@pytest.mark.parametrize("refusal", NOT_KNOWN)
async def test_the_newer_path_is_tried_once_and_remembered(
    refusal: tuple[int, str], echo: Echo
) -> None:
    echo.answers = answers(refusal, ACCEPTED, ACCEPTED, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        assert await deploy(session) == "a69f8e3e0555"
        assert await deploy(session) == "a69f8e3e0555"
        assert session.usage()["deploy"].sent == 3
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as another:
        assert await deploy(another) == "a69f8e3e0555"
    assert [seen.path for seen in echo.seen] == [PAGE, NEWER, NEWER, PAGE]
    assert echo.seen[0].body == echo.seen[1].body


@pytest.mark.parametrize("second", NOT_KNOWN)
@pytest.mark.parametrize(
    "first", [(404, '{"message": "first"}'), (405, '{"message": "first"}')]
)
async def test_where_neither_is_known_the_first_error_is_raised(
    first: Any, second: Any, echo: Echo
) -> None:
    echo.answers = answers(first, second, ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(ApiError) as raised:
            await deploy(session)
        assert (raised.value.status, raised.value.message) == (first[0], "first")
        assert await deploy(session) == "a69f8e3e0555"
    assert [seen.path for seen in echo.seen] == [PAGE, NEWER, PAGE]


async def test_an_error_is_an_answer_of_the_newer_path_too(echo: Echo) -> None:
    echo.answers = answers(
        (404, ""),
        (422, '{"message": "full", "request_id": "bad1"}'),
        (404, '{"message": "host"}'),
    )
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(AllocationFailed) as raised:
            await deploy(session)
        assert raised.value.request_id == "bad1"
        with pytest.raises(NotFound, match="host"):
            await deploy(session)
    assert [seen.path for seen in echo.seen] == [PAGE, NEWER, NEWER]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, '{"message": "no"}'), BadRequest),
        ((500, ""), DeployOutcomeUnknown),
        ((200, "{}"), DeployOutcomeUnknown),
    ],
)
async def test_any_other_answer_of_the_page_s_path_is_the_answer(
    answer: Any, error: type, echo: Echo
) -> None:
    echo.answers = answers(answer)
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(error):
            await deploy(session)
    assert [seen.path for seen in echo.seen] == [PAGE]


async def test_what_the_newer_path_leaves_open_is_said(echo: Echo) -> None:
    echo.answers = answers((404, ""), (502, "<html>bad gateway</html>"))
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(DeployOutcomeUnknown, match="502"):
            await deploy(session)


@pytest.mark.parametrize("timeout", [None, 5.0])
async def test_the_timeout_is_for_both_together(
    timeout: float | None, echo: Echo
) -> None:
    echo.answers = answers((404, ""), ACCEPTED)
    echo.pause = 2.0
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        assert await deploy(session, timeout=timeout) == "a69f8e3e0555"
    echo.answers = answers((404, ""), ACCEPTED)
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(EdgegapError) as raised:
            await deploy(session, timeout=3.0)
    assert isinstance(raised.value, DeployOutcomeUnknown)
    assert [seen.path for seen in echo.seen] == [PAGE, NEWER, PAGE, NEWER]
