"""Every call ends inside its deadline, early where it can't be met; and what 429 asks
for is done.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.limiter_model import now, run, stall
from support.raw_server import (
    CUT,
    GARBAGE,
    GET,
    GOOD,
    OPERATIONS,
    SILENT,
    STUCK,
    Act,
    answer,
    deploy,
    failure,
    never_accepts,
    operations,
    scripted,
    session,
    used,
)

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    QueueTooLong,
    RateLimited,
    ServerError,
    TransportError,
)

FAILED, REFUSED = answer(503, {"message": "no"}), answer(429, {"message": "no"})
# seconds: virtual time counts a microsecond for each turn of the loop
EXACT = 0.01


@pytest.fixture(autouse=True)
def same_chance() -> None:
    # what the pauses before repeats are drawn from
    random.seed(0)


async def timed(awaitable: Awaitable[object]) -> tuple[EdgegapError | object, float]:
    """What comes of it, and after how many seconds."""
    start = now()
    try:
        return await awaitable, now() - start
    except EdgegapError as error:
        return error, now() - start


def refused(seconds: float | str, **headers: str) -> Act:
    """429 that names a time."""
    return answer(429, {"message": "no"}, retry_after=str(seconds), **headers)


TROUBLE = {
    "silent": SILENT,
    "stuck": STUCK,
    "cut": CUT,
    "failed": FAILED,
    "refused": REFUSED,
    "garbage": GARBAGE,
}
TROUBLE |= {
    "refused for 3 s": refused(3),
    "refused for long": refused(999),
    "slow": FAILED.later(0.9),
}
TROUBLE |= {"late to accept": Act(unread=True, after=6.0), "closed": None}


@operations
@pytest.mark.parametrize("act", TROUBLE.values(), ids=TROUBLE)
async def test_every_call_ends_inside_its_deadline(name: str, act: Act | None) -> None:
    for timeout in (0.001, 0.7, 5.3, 20):
        async with scripted(*[act] if act else [], closed=act is None) as (edgegap, _):
            result, length = await timed(OPERATIONS[name](edgegap, timeout=timeout))
            assert isinstance(result, EdgegapError) or act == TROUBLE["late to accept"]
            assert length <= timeout + EXACT
            used(edgegap, name)


@operations
async def test_connecting_ends_inside_the_deadline(name: str) -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            error, length = await timed(OPERATIONS[name](edgegap, timeout=7.3))
            assert (type(error), length) == (
                DeadlineExceeded,
                pytest.approx(7.3, abs=EXACT),
            )


@pytest.mark.parametrize("length", [5.3, 7.25, 12.75, 31.4])
async def test_no_time_is_rounded(length: float) -> None:
    async with scripted(SILENT, retry=Retry(tries=1), attempt_timeout=99) as (
        edgegap,
        _,
    ):
        timeouts = [50, length, 40]
        ended = await asyncio.gather(
            *(timed(GET(edgegap, timeout=timeout)) for timeout in timeouts)
        )
        assert [seconds for _, seconds in ended] == pytest.approx(timeouts, abs=EXACT)
    async with scripted(SILENT, retry=Retry(tries=1), attempt_timeout=length) as (
        edgegap,
        _,
    ):
        assert (await timed(GET(edgegap)))[1] == pytest.approx(length, abs=EXACT)


async def test_one_exchange_or_the_whole_call() -> None:
    async with scripted(SILENT, attempt_timeout=2, timeout=30) as (edgegap, server):
        error, length = await timed(OPERATIONS["POST"](edgegap))
        assert (type(error), error.request_sent, length) == (
            TransportError,
            True,
            pytest.approx(2, abs=EXACT),
        )
        # it gets twice the time
        error, length = await timed(deploy(edgegap))
        assert (type(error), length) == (
            DeployOutcomeUnknown,
            pytest.approx(4, abs=EXACT),
        )
        # repeated, and no more than five times
        error, length = await timed(GET(edgegap))
        assert (type(error), len(server.arrivals)) == (TransportError, 7)
        assert 10 <= length <= 14
        error, length = await timed(GET(edgegap, timeout=3))
        assert (type(error), error.request_sent, length) == (
            DeadlineExceeded,
            True,
            pytest.approx(3, abs=EXACT),
        )
        assert type(error.__cause__) is TransportError


@pytest.mark.parametrize("theirs", [2.0, 99.0])
def test_a_deadline_leaves_no_mark_on_the_task(theirs: float) -> None:
    """Not even where the caller's own time-out comes in the same turn of the loop: then
    that is what comes out.
    """

    async def both() -> BaseException:
        async with scripted(SILENT, attempt_timeout=2) as (edgegap, _):
            asyncio.get_running_loop().call_later(1.9, stall, 1)
            with pytest.raises((TimeoutError, TransportError)) as caught:
                async with asyncio.timeout(theirs):
                    await OPERATIONS["POST"](edgegap)
            assert asyncio.current_task().cancelling() == 0
            return caught.value

    assert type(run(both())) is (TimeoutError if theirs == 2 else TransportError)


@pytest.mark.parametrize(
    ("act", "kind"),
    [(FAILED, ServerError), (REFUSED, RateLimited), (CUT, TransportError)],
)
async def test_the_last_error_is_the_cause(act: Act, kind: type[EdgegapError]) -> None:
    async with scripted(act, retry=Retry(tries=99, backoff=1)) as (edgegap, server):
        error = await failure(GET(edgegap, timeout=6))
        assert (type(error), type(error.__cause__)) == (DeadlineExceeded, kind)
        # the last one, not a chain of them all
        assert error.__cause__.__cause__ is None
        assert len(server.arrivals) > 2


async def test_a_queue_that_is_too_long_is_told_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    async with scripted(limits=Limits(status=1)) as (edgegap, server):
        queue = [asyncio.create_task(GET(edgegap)) for _ in range(10)]
        await asyncio.sleep(0.5)
        before = edgegap.usage()["status"]
        error, length = await timed(GET(edgegap, timeout=5))
        assert isinstance(error, QueueTooLong)
        assert isinstance(error, DeadlineExceeded | TimeoutError)
        assert (error.request_sent, length) == (False, pytest.approx(0, abs=EXACT))
        assert 5 < error.wait <= 10
        assert [record.levelname for record in caplog.records] == ["INFO"]
        assert edgegap.usage()["status"] == before
        await asyncio.gather(*queue)
        assert len(server.arrivals) == 10


async def test_a_deadline_may_pass_in_the_queue() -> None:
    """A slot that does not come back is more than the most hopeful estimate can know."""
    async with scripted(SILENT, GOOD, limits=Limits(status=1)) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap, timeout=10))
        await asyncio.sleep(0)
        error, length = await timed(GET(edgegap, timeout=3.3))
        assert (type(error), length) == (
            DeadlineExceeded,
            pytest.approx(3.3, abs=EXACT),
        )
        assert (error.request_sent, edgegap.usage()["status"].waiting) == (False, 0)
        assert len(server.arrivals) == 1
        assert type(await failure(first)) is DeadlineExceeded
        await GET(edgegap)


async def test_a_call_that_has_time_is_not_refused() -> None:
    async with scripted(limits=Limits(status=0.5)) as (edgegap, _):
        await GET(edgegap)
        await asyncio.sleep(1.9)
        result, length = await timed(GET(edgegap, timeout=1))
        assert (isinstance(result, EdgegapError), length) == (
            False,
            pytest.approx(0.1, abs=EXACT),
        )


@pytest.mark.parametrize("where", ["session", "call"])
async def test_none_is_no_deadline(where: str) -> None:
    async with scripted(
        limits=Limits(status=0.002), timeout=None if where == "session" else 60
    ) as (edgegap, _):
        options = {"timeout": None} if where == "call" else {}
        await GET(edgegap)
        result, length = await timed(GET(edgegap, **options))
        assert (isinstance(result, EdgegapError), length) == (
            False,
            pytest.approx(500, abs=0.1),
        )


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "5", True, [1]])
async def test_wrong_timeouts(wrong: object) -> None:
    async with scripted() as (edgegap, server):
        for name in OPERATIONS:
            with pytest.raises(ValueError, match="timeout must be"):
                await OPERATIONS[name](edgegap, timeout=wrong)
        with pytest.raises(ValueError, match="timeout must be"):
            await edgegap.deployments.wait_until_ready("c065", timeout=wrong)  # type: ignore[arg-type]
        for argument in ("timeout", "attempt_timeout"):
            with pytest.raises(ValueError, match=f"^{argument} must be"):
                EdgegapSession("token", **{argument: wrong})  # type: ignore[arg-type]
        assert server.arrivals == []


# the server's clock, which is not ours
DATE = datetime(2001, 1, 1, tzinfo=UTC)


def http(date: datetime) -> str:
    return format_datetime(date, usegmt=True)


@pytest.mark.parametrize(
    ("act", "hold"),
    [
        (refused(7), 7),
        (refused(0.5), 0.5),
        (refused(http(DATE + timedelta(seconds=7)), date=http(DATE)), 7),
        (refused(http(DATE + timedelta(days=7)), date=http(DATE)), 60),
        (refused(3600), 60),
        (refused("next week"), None),
    ],
)
async def test_retry_after_holds_the_whole_bucket(
    act: Act, hold: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(act, GOOD, timeout=None) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap))
        await asyncio.sleep(0.25)
        others = [asyncio.create_task(GET(edgegap)) for _ in range(3)]
        # another limit
        assert (await timed(deploy(edgegap)))[1] < 0.1
        await asyncio.gather(first, *others)
        seen = [
            time
            for time, arrival in zip(server.times, server.arrivals, strict=True)
            if arrival.method == "GET"
        ]
        assert seen[1] == pytest.approx(hold or 0.25, abs=0.15)
        assert any("is clamped to 60 s" in text for text in caplog.messages) is (
            hold == 60
        )


async def test_a_date_without_a_date_is_read_by_our_clock() -> None:
    async with scripted(
        refused(http(datetime.now(UTC) + timedelta(seconds=20))), GOOD
    ) as (edgegap, server):
        await GET(edgegap)
        assert 15 < server.times[1] <= 20


@pytest.mark.parametrize(
    ("first", "second", "until"), [(10, 2, 10), (2, 5, 6), (5, 5, 6)]
)
async def test_not_before_moves_forward_only(
    first: float, second: float, until: float
) -> None:
    async with scripted(refused(first), refused(second).later(1), GOOD) as (
        edgegap,
        server,
    ):
        await asyncio.gather(GET(edgegap), GET(edgegap))
        assert server.times[2] == pytest.approx(until, abs=EXACT)


@operations
async def test_retry_after_past_the_deadline_ends_the_call_at_once(name: str) -> None:
    async with scripted(refused(10)) as (edgegap, server):
        error, length = await timed(OPERATIONS[name](edgegap, timeout=9))
        assert isinstance(error, RateLimited)
        assert (error.retry_after, length, len(server.arrivals)) == (
            10,
            pytest.approx(0, abs=EXACT),
            1,
        )
        # the hold is the others' too
        error, length = await timed(OPERATIONS[name](edgegap, timeout=9))
        assert isinstance(error, QueueTooLong)
        assert (error.wait, length, len(server.arrivals)) == (
            pytest.approx(10, abs=EXACT),
            pytest.approx(0, abs=EXACT),
            1,
        )


async def test_refused_without_a_time_it_waits_its_backoff_and_the_bucket_goes_on() -> (
    None
):
    async with scripted(REFUSED, GOOD, retry=Retry(backoff=8)) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap))
        await asyncio.sleep(0.01)
        assert (await timed(GET(edgegap)))[1] < 0.1
        await first
        assert 0.2 < server.times[2] <= 8


@pytest.mark.parametrize("act", [REFUSED, refused(20), refused(59)])
async def test_a_minute_of_refusals_ends_a_call_without_a_deadline(act: Act) -> None:
    async with scripted(act) as (edgegap, server):
        error, length = await timed(GET(edgegap, timeout=None))
        assert isinstance(error, RateLimited)
        assert 60 <= length <= 120
        assert 3 <= len(server.arrivals) < 60


@pytest.mark.parametrize("asked", [0, -5, "Mon, 01 Jan 2001 00:00:00 GMT"])
async def test_retry_after_now_is_no_leave_to_hammer(asked: object) -> None:
    async with scripted(*[refused(str(asked))] * 40, GOOD) as (edgegap, server):
        await timed(GET(edgegap, timeout=10))
        assert len(server.arrivals) < 20


async def test_503_may_name_a_time_too_for_its_own_call() -> None:
    act = answer(503, {"message": "no"}, retry_after="3")
    async with scripted(act, GOOD) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap))
        await asyncio.sleep(0.01)
        assert (await timed(GET(edgegap)))[1] < 0.1
        await first
        assert server.times[2] == pytest.approx(3, abs=EXACT)
    async with scripted(act) as (edgegap, server):
        error, length = await timed(GET(edgegap, timeout=2))
        assert (type(error), type(error.__cause__), length) == (
            DeadlineExceeded,
            ServerError,
            pytest.approx(0, abs=EXACT),
        )
