"""What is repeated, how often, at whose cost; and what a repeated DELETE means that
finds nothing.
"""

import asyncio
import random
from itertools import pairwise

import pytest
from support.raw_server import (
    CUT,
    DELETE,
    GARBAGE,
    GET,
    GOOD,
    OPERATIONS,
    SAFE,
    Act,
    answer,
    failure,
    half,
    operations,
    scripted,
    used,
)

from edgegap_async import Retry
from edgegap_async.errors import (
    ApiError,
    BadRequest,
    DeployOutcomeUnknown,
    Gone,
    NotFound,
    RateLimited,
    ServerError,
    UnexpectedAnswer,
)

ONCE = Retry(tries=1)


@pytest.fixture(autouse=True)
def same_chance() -> None:
    # what the pauses before repeats are drawn from
    random.seed(0)


PASSING = {
    str(status): answer(status, {"message": "no"})
    for status in (408, 500, 502, 503, 504)
}
PASSING |= {
    "HTML": answer(502, "<html>"),
    "cut": CUT,
    "half": half(),
    "garbage": GARBAGE,
}
FINAL = {
    str(status): answer(status, {"message": "no"})
    for status in (302, 400, 401, 403, 404, 409, 410, 422)
}


@operations
@pytest.mark.parametrize("act", PASSING.values(), ids=PASSING)
async def test_what_passes_is_repeated_unless_the_deed_could_be_done_twice(
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
            == used(edgegap, name).sent
            == (3 if name in SAFE else 1)
        )


@operations
@pytest.mark.parametrize("act", FINAL.values(), ids=FINAL)
async def test_an_answer_is_an_answer(name: str, act: Act) -> None:
    async with scripted(act) as (edgegap, server):
        error = await failure(OPERATIONS[name](edgegap))
        assert isinstance(error, ApiError | UnexpectedAnswer | DeployOutcomeUnknown)
        assert len(server.arrivals) == 1


REFUSED = answer(429, {"message": "no"})
FAILED = answer(503, {"message": "no"})


@operations
async def test_what_was_refused_is_repeated_at_no_cost(name: str) -> None:
    async with scripted(*[REFUSED] * 6, GOOD, retry=Retry(tries=2, budget=0)) as (
        edgegap,
        server,
    ):
        await OPERATIONS[name](edgegap)
        assert (len(server.arrivals), used(edgegap, name).refused) == (7, 6)


@operations
async def test_what_was_never_sent_is_repeated_at_no_cost(name: str) -> None:
    async with scripted(GOOD, closed=True, retry=Retry(budget=0)) as (edgegap, server):
        call = asyncio.ensure_future(OPERATIONS[name](edgegap))
        await asyncio.sleep(0.01)
        await server.listen()
        await call
        assert len(server.arrivals) == used(edgegap, name).sent == 1


@operations
async def test_with_one_try_nothing_is_repeated(name: str) -> None:
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
async def test_tries_and_budget(name: str) -> None:
    async with scripted(FAILED, retry=Retry(tries=3)) as (edgegap, server):
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 3
    acts = [FAILED, GOOD, CUT, GOOD, FAILED, FAILED, FAILED]
    async with scripted(*acts, retry=Retry(budget=1)) as (edgegap, server):
        # what was spent comes back with the success
        for _ in range(2):
            await OPERATIONS[name](edgegap)
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 6
        # at once: nothing is left
        assert isinstance(await failure(OPERATIONS[name](edgegap)), ServerError)
        assert len(server.arrivals) == 7


async def test_pauses_grow_and_are_drawn_at_random() -> None:
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
    "lost", [CUT, FAILED, half(), None], ids=["cut", "failed", "half", "first"]
)
async def test_a_repeated_delete_that_finds_nothing_has_done_its_deed(
    lost: Act | None, gone: Act
) -> None:
    async with scripted(*[lost] if lost else [], gone) as (edgegap, server):
        if lost:
            await DELETE(edgegap)
        else:
            assert isinstance(
                await failure(DELETE(edgegap)), NotFound | Gone | BadRequest
            )
        assert len(server.arrivals) == (2 if lost else 1)


@pytest.mark.parametrize("known", [REFUSED, None], ids=["refused", "never sent"])
@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
async def test_a_delete_that_was_not_processed_before_is_told_the_truth(
    known: Act | None, gone: Act
) -> None:
    async with scripted(*[known] if known else [], gone, closed=known is None) as (
        edgegap,
        server,
    ):
        call = asyncio.ensure_future(DELETE(edgegap))
        await asyncio.sleep(0.01)
        await server.listen()
        assert isinstance(await failure(call), NotFound | Gone | BadRequest)


async def test_another_bad_request_is_no_success() -> None:
    async with scripted(CUT, answer(400, {"message": "no such storage"})) as (
        edgegap,
        _,
    ):
        assert isinstance(await failure(DELETE(edgegap)), BadRequest)
