"""`deploy_many` and a request that can't be sent: only that one fails."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.deploy_many import ids, outcomes_of, requests
from support.owning import PLAYERS, owning

from edgegap_async import DeployRequest
from edgegap_async.errors import InvalidRequest


class OwnRequest(DeployRequest, frozen=True, kw_only=True):
    own: object


def sound(number: int = 0) -> DeployRequest:
    return next(iter(requests(number + 1)))


INVALID: list[Any] = [
    "a request",
    {"application": "game"},
    None,
    DeployRequest,
    OwnRequest("game", "1", users=PLAYERS, own=object()),
]


@pytest.mark.parametrize("invalid", INVALID, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("options", [{}, {"concurrency": 1}, {"max_running": 10}])
async def test_an_invalid_request_is_the_error_of_its_own_outcome(
    invalid: Any, options: dict[str, Any]
) -> None:
    async def given() -> AsyncIterator[Any]:
        yield sound()
        yield invalid
        yield invalid
        yield sound()

    async with owning() as (edgegap, sim):
        outcomes = await outcomes_of(edgegap, given(), **options)
        failed = [outcome for outcome in outcomes if outcome.error]
        assert len(ids(outcomes)) == 2
        assert sim.running() == ids(outcomes)
        for outcome in failed:
            assert outcome.request is invalid
            assert isinstance(outcome.error, InvalidRequest)
            assert str(outcome.error).startswith("requests: each ")
            assert not outcome.error.request_sent
            assert outcome.seconds is None
        assert len(failed) == 2


async def test_a_request_of_a_class_of_ones_own_is_sent() -> None:
    async with owning() as (edgegap, sim):
        given = [OwnRequest("game", "1", users=PLAYERS, own=[1])]
        (outcome,) = await outcomes_of(edgegap, given)
        assert sim.running() == ids([outcome])


async def test_an_endless_stream_of_invalid_requests_is_not_read_ahead() -> None:
    read = 0

    def given() -> Any:
        nonlocal read
        while True:
            read += 1
            yield None

    async with (
        owning() as (edgegap, _),
        edgegap.deployments.deploy_many(given()) as outcomes,
    ):
        for _ in range(1000):
            assert (await anext(outcomes)).error
        assert read < 1500


@pytest.mark.measured
@pytest.mark.parametrize(
    ("given", "text"),
    [
        (sound(), "DeployRequest: put it into a list"),
        (requests, "function: call it"),
        ("requests", "str"),
        (b"requests", "bytes"),
        ({"a": sound()}, "dict"),
        (None, "NoneType"),
        (5, "int"),
    ],
)
async def test_what_is_no_iterable_of_requests_is_refused_at_once(
    given: Any, text: str
) -> None:
    async with owning() as (edgegap, _):
        for namespace in (edgegap.deployments, edgegap.private_fleets):
            with pytest.raises(ValueError, match=f"^requests must be .*{text}"):
                namespace.deploy_many(given)
