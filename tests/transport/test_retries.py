"""Which requests are retried, how often, what counts as a try, and what a retried
DELETE means that finds nothing.
"""

import asyncio
from itertools import pairwise

import pytest
from support.raw_server import (
    CUT,
    DELETE,
    GARBAGE,
    GET,
    GOOD,
    OPERATIONS,
    READY,
    SAFE,
    UNSAFE,
    Act,
    answer,
    failure,
    half,
    idle_usage,
    operations,
    scripted,
)

from edgegap_async import Retry
from edgegap_async.endpoints import MIB
from edgegap_async.errors import (
    ApiError,
    BadRequest,
    DeployOutcomeUnknown,
    Gone,
    NotFound,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    UnexpectedAnswer,
)

pytestmark = pytest.mark.usefixtures("fixed_seed")
ONCE = Retry(tries=1)

TRANSIENT = {
    str(status): answer(status, {"message": "no"})
    for status in (408, 500, 502, 503, 504)
}
TRANSIENT |= {
    "HTML": answer(502, "<html>"),
    "cut": CUT,
    "half": half(),
    "garbage": GARBAGE,
}
PERMANENT = {
    str(status): answer(status, {"message": "no"})
    for status in (302, 400, 401, 403, 404, 409, 410, 422)
}


@operations
@pytest.mark.parametrize("act", TRANSIENT.values(), ids=TRANSIENT)
async def test_transient_failures_are_retried_only_where_it_is_safe(
    name: str, act: Act
) -> None:
    async with scripted(act, act, GOOD) as (edgegap, server):
        if name in SAFE:
            await OPERATIONS[name](edgegap)
        else:
            error = await failure(OPERATIONS[name](edgegap))
            assert error.request_sent
            assert isinstance(error, DeployOutcomeUnknown) is (name == "deploy")
        assert (
            len(server.arrivals)
            == idle_usage(edgegap, name).sent
            == (3 if name in SAFE else 1)
        )


@operations
@pytest.mark.parametrize("act", PERMANENT.values(), ids=PERMANENT)
async def test_permanent_errors_are_not_retried(name: str, act: Act) -> None:
    async with scripted(act) as (edgegap, server):
        error = await failure(OPERATIONS[name](edgegap))
        assert isinstance(error, ApiError | UnexpectedAnswer | DeployOutcomeUnknown)
        assert len(server.arrivals) == 1


UNREADABLE = {
    "page of a proxy": answer(200, "<html>Back soon</html>"),
    "cut JSON": answer(200, '{"request_id": "c0'),
    "another deployment": answer(200, {**READY, "request_id": "other"}),
}


@pytest.mark.parametrize("act", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_unreadable_answer_to_a_get_is_retried(act: Act) -> None:
    async with scripted(act, act, GOOD) as (edgegap, server):
        await OPERATIONS["GET"](edgegap)
        assert len(server.arrivals) == idle_usage(edgegap, "GET").sent == 3


@pytest.mark.parametrize("name", UNSAFE)
async def test_an_unreadable_answer_is_not_retried_where_it_is_not_safe(
    name: str,
) -> None:
    async with scripted(UNREADABLE["page of a proxy"]) as (edgegap, server):
        error = await failure(OPERATIONS[name](edgegap))
        assert isinstance(error, UnexpectedAnswer | DeployOutcomeUnknown)
        assert len(server.arrivals) == 1


async def test_an_answer_that_is_too_large_is_not_retried() -> None:
    async with scripted(answer(200, " " * (MIB + 1))) as (edgegap, server):
        assert isinstance(await failure(GET(edgegap)), ResponseTooLarge)
        assert len(server.arrivals) == 1


REFUSED = answer(429, {"message": "no"})
FAILED = answer(503, {"message": "no"})


@operations
async def test_a_429_is_retried_without_using_a_try_or_the_budget(name: str) -> None:
    async with scripted(*[REFUSED] * 6, GOOD, retry=Retry(tries=2, budget=0)) as (
        edgegap,
        server,
    ):
        await OPERATIONS[name](edgegap)
        assert (len(server.arrivals), idle_usage(edgegap, name).refused) == (7, 6)


@operations
async def test_a_request_that_was_never_sent_is_retried_without_using_the_budget(
    name: str,
) -> None:
    async with scripted(GOOD, closed=True, retry=Retry(budget=0)) as (edgegap, server):
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(0.01)
        await server.listen()
        await call
        assert len(server.arrivals) == idle_usage(edgegap, name).sent == 1


@operations
async def test_with_one_try_nothing_is_retried(name: str) -> None:
    for acts in ([REFUSED], [CUT], [FAILED], []):
        async with scripted(*acts, GOOD, closed=not acts, retry=ONCE) as (
            edgegap,
            server,
        ):
            call = asyncio.ensure_future(OPERATIONS[name](edgegap))
            await asyncio.sleep(0.01)
            await server.listen()
            assert isinstance(await failure(call), RateLimited) is (acts == [REFUSED])
            assert len(server.arrivals) == len(acts)


@pytest.mark.parametrize("name", SAFE)
async def test_retries_end_with_their_tries_or_the_budget(name: str) -> None:
    async with scripted(FAILED, retry=Retry(tries=3)) as (edgegap, server):
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 3
    acts = [FAILED, GOOD, CUT, GOOD, FAILED, FAILED, FAILED]
    async with scripted(*acts, retry=Retry(budget=1)) as (edgegap, server):
        # A success refills the budget by what its retry has spent.
        for _ in range(2):
            await OPERATIONS[name](edgegap)
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 6
        # The budget is spent, so there is no retry.
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 7


async def test_backoff_is_exponential_with_full_jitter() -> None:
    async with scripted(
        FAILED, retry=Retry(tries=8, backoff=1, budget=1000), timeout=None
    ) as (edgegap, server):
        gaps = []
        for _ in range(20):
            server.arrivals.clear()
            await failure(GET(edgegap))
            gaps.append([after - before for before, after in pairwise(server.times)])
    longest = [max(column) for column in zip(*gaps, strict=True)]
    assert all(
        top / 2 < most <= top + 0.1
        for most, top in zip(longest, [1, 2, 4, 8, 8, 8, 8], strict=True)
    )
    assert min(map(sum, gaps)) < 15


GONE = {
    "404": answer(404),
    "410": answer(410),
    "400": answer(400, {"message": "Bad Request ID provided"}),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
@pytest.mark.parametrize(
    "first_attempt",
    [CUT, FAILED, half(), None],
    ids=["cut", "failed", "half", "no first attempt"],
)
async def test_a_retried_delete_that_finds_nothing_has_succeeded(
    first_attempt: Act | None, gone: Act
) -> None:
    async with scripted(*[first_attempt] if first_attempt else [], gone) as (
        edgegap,
        server,
    ):
        if first_attempt:
            await DELETE(edgegap)
        else:
            assert isinstance(
                await failure(DELETE(edgegap)), NotFound | Gone | BadRequest
            )
        assert len(server.arrivals) == (2 if first_attempt else 1)


@pytest.mark.parametrize(
    "first_attempt", [REFUSED, None], ids=["refused", "never sent"]
)
@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
async def test_a_delete_that_was_never_processed_raises_not_found(
    first_attempt: Act | None, gone: Act
) -> None:
    async with scripted(
        *[first_attempt] if first_attempt else [], gone, closed=first_attempt is None
    ) as (
        edgegap,
        server,
    ):
        call = asyncio.ensure_future(DELETE(edgegap))
        await asyncio.sleep(0.01)
        await server.listen()
        assert isinstance(await failure(call), NotFound | Gone | BadRequest)


async def test_a_retried_delete_with_another_400_fails() -> None:
    async with scripted(CUT, answer(400, {"message": "no such storage"})) as (
        edgegap,
        _,
    ):
        assert isinstance(await failure(DELETE(edgegap)), BadRequest)
