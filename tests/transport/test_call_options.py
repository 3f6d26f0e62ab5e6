"""The options that every call takes: `timeout`, `priority`, `retry` and `headers`."""

from typing import Any

import pytest
from support.raw_server import (
    GET,
    GOOD,
    OPERATIONS,
    TOKEN,
    OpenSession,
    answer,
    each_http_session,
    failure,
    operations,
    scripted,
)

from edgegap_async import DeployRequest, Retry
from edgegap_async.errors import ServerError

FAILED = answer(503, {"message": "no"})
HEADERS = {"traceparent": "00-abc-def-01", "user-agent": "matchmaker/2"}


@operations
@each_http_session
async def test_further_headers_are_sent_and_replace_none_of_ours(
    opened: OpenSession, name: str
) -> None:
    async with opened(GOOD) as (edgegap, server):
        await OPERATIONS[name](edgegap, headers=HEADERS)
        await OPERATIONS[name](edgegap)
    with_headers, without = (arrival.headers for arrival in server.arrivals)
    assert with_headers["traceparent"] == HEADERS["traceparent"]
    assert with_headers["User-Agent"] == HEADERS["user-agent"]
    assert with_headers["Authorization"] == without["Authorization"] == f"token {TOKEN}"
    assert "traceparent" not in without
    assert without["User-Agent"].startswith("edgegap_async/")


async def test_deploys_of_a_stream_send_the_headers_of_the_stream() -> None:
    async with scripted(GOOD) as (edgegap, server):
        request = DeployRequest("game", "1", users=["203.0.113.7"])
        async with edgegap.deployments.deploy_many(
            [request], until_ready=False, headers=HEADERS
        ) as outcomes:
            assert [outcome.error async for outcome in outcomes] == [None]
    assert server.arrivals[0].headers["traceparent"] == HEADERS["traceparent"]


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {"Authorization": "token x"},
            "can't have 'Authorization': the session sets it",
        ),
        ({"content-TYPE": "text/xml"}, "can't have 'content-TYPE'"),
        ({"Host": "elsewhere"}, "can't have 'Host'"),
        ({"x y": "1"}, "has a name that can't be sent: 'x y'"),
        ({"": "1"}, "has a name that can't be sent: ''"),
        ({3: "1"}, "has a name that can't be sent: 3"),
        ({"x": 1}, "headers: x must be a text, not int"),
        ({"x": "hidden\r\nY: 1"}, "headers: x must have printable ASCII characters"),
        ({"x": "hidden\u00e9"}, "headers: x must have printable ASCII characters"),
        ({"x": "hidden" * 8000}, "at most 8,000"),
        (["hidden"], "headers must be a mapping, not list"),
        ("hidden", "headers must be a mapping, not str"),
    ],
)
async def test_headers_that_can_not_be_sent_are_named_and_their_values_are_not(
    headers: Any, told: str
) -> None:
    async with scripted(GOOD) as (edgegap, server):
        for call in OPERATIONS.values():
            with pytest.raises(ValueError, match="header") as raised:
                await call(edgegap, headers=headers)
            assert told in str(raised.value)
            assert "hidden" not in str(raised.value)
        with pytest.raises(ValueError, match="header"):
            edgegap.deployments.running(
                "game", "1", users=["203.0.113.7"], headers=headers
            )
    assert not server.arrivals


async def test_a_call_may_be_retried_less_often_than_its_session_would() -> None:
    async with scripted(FAILED, FAILED, FAILED, GOOD) as (edgegap, server):
        assert isinstance(
            await failure(GET(edgegap, retry=Retry(tries=1))), ServerError
        )
        assert len(server.arrivals) == 1
        await GET(edgegap)
        assert len(server.arrivals) == 4


async def test_a_call_may_be_retried_more_often_than_its_session_would() -> None:
    failures = [FAILED] * 3
    async with scripted(*failures, GOOD, retry=Retry(tries=1)) as (edgegap, server):
        await GET(edgegap, retry=Retry(tries=4))
        assert len(server.arrivals) == 4


async def test_a_retry_of_another_kind_is_refused() -> None:
    async with scripted(GOOD) as (edgegap, server):
        for call in OPERATIONS.values():
            with pytest.raises(ValueError, match="retry must be a Retry"):
                await call(edgegap, retry=3)
        with pytest.raises(ValueError, match="retry must be a Retry"):
            edgegap.deployments.deploy_many([], retry=3)  # type: ignore[arg-type]
    assert not server.arrivals


@pytest.mark.parametrize("name", ["GET", "DELETE", "POST", "PATCH"])
@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"priority": "x"}, {"retry": 3}, {"headers": 3}]
)
async def test_a_wrong_option_is_named_even_if_the_session_is_closed(
    name: str, wrong: dict[str, Any]
) -> None:
    (option,) = wrong
    async with scripted() as (edgegap, _):
        await edgegap.aclose()
        with pytest.raises(ValueError, match=option):
            await OPERATIONS[name](edgegap, **wrong)


@operations
async def test_misspelled_options_name_what_was_meant(name: str) -> None:
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(TypeError, match="'timout': did you mean 'timeout'"):
            await OPERATIONS[name](edgegap, timout=5)
        # The inner arguments of a call are not options.
        with pytest.raises(TypeError, match="unexpected keyword argument 'progress'"):
            await OPERATIONS[name](edgegap, progress=None)
    assert not server.arrivals


async def test_misspelled_options_of_pages_are_told_before_the_first_page() -> None:
    async with scripted(GOOD) as (edgegap, _):
        misspelled: Any = {"prioritiy": "background"}
        for iterate in (
            lambda: edgegap.deployments.iterate(**misspelled),
            lambda: edgegap.locations.iterate(**misspelled),
            lambda: edgegap.locations.iterate_beacons(**misspelled),
            lambda: edgegap.apps.iterate(**misspelled),
            lambda: edgegap.versions.iterate("arena", **misspelled),
            lambda: edgegap.tags.iterate("c065", **misspelled),
            lambda: edgegap.private_fleets.iterate_hosts("fleet", **misspelled),
        ):
            with pytest.raises(TypeError, match="did you mean 'priority'"):
                iterate()
