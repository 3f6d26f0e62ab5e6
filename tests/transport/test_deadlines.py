"""Every call ends within its deadline, early where the deadline can't be met, and
`Retry-After` is obeyed.
"""

import asyncio
import logging
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
    ended_in_background,
    failure,
    idle_usage,
    never_accepts,
    operations,
    scripted,
    session,
)

from edgegap_async import EdgegapSession, Limits, Retry
from edgegap_async.endpoints import STATUS
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    QueueTooLong,
    RateLimited,
    ServerError,
    TransportError,
)

pytestmark = pytest.mark.usefixtures("fixed_seed")
FAILED, REFUSED = answer(503, {"message": "no"}), answer(429, {"message": "no"})
# In seconds. Virtual time advances a microsecond with each turn of the loop.
EXACT = 0.01


async def timed(awaitable: Awaitable[object]) -> tuple[EdgegapError | object, float]:
    """The result or the error, and the seconds that it took."""
    start = now()
    try:
        return await awaitable, now() - start
    except EdgegapError as error:
        return error, now() - start


def rate_limited(seconds: float | str, **headers: str) -> Act:
    """A 429 with `Retry-After`."""
    return answer(429, {"message": "no"}, retry_after=str(seconds), **headers)


FAULTS = {
    "silent": SILENT,
    "stuck": STUCK,
    "cut": CUT,
    "failed": FAILED,
    "refused": REFUSED,
    "garbage": GARBAGE,
}
FAULTS |= {
    "refused for 3 s": rate_limited(3),
    "refused for long": rate_limited(999),
    "slow": FAILED.later(0.9),
}
FAULTS |= {"late to accept": Act(unread=True, after=6.0), "closed": None}


@operations
@pytest.mark.parametrize("act", FAULTS.values(), ids=FAULTS)
async def test_every_call_ends_within_its_deadline(name: str, act: Act | None) -> None:
    for timeout in (0.001, 0.7, 5.3, 20):
        async with scripted(*[act] if act else [], closed=act is None) as (edgegap, _):
            result, length = await timed(OPERATIONS[name](edgegap, timeout=timeout))
            assert isinstance(result, EdgegapError) or act == FAULTS["late to accept"]
            assert length <= timeout + EXACT
            await ended_in_background(name)
            idle_usage(edgegap, name)


@operations
async def test_connecting_ends_at_the_deadline(name: str) -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            error, length = await timed(OPERATIONS[name](edgegap, timeout=7.3))
            assert (type(error), length) == (
                DeadlineExceeded,
                pytest.approx(7.3, abs=EXACT),
            )


@pytest.mark.parametrize("length", [5.3, 7.25, 12.75, 31.4])
async def test_timeouts_are_not_rounded(length: float) -> None:
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


async def test_attempt_timeout_ends_an_attempt_and_timeout_the_whole_call() -> None:
    async with scripted(SILENT, attempt_timeout=2, timeout=30) as (edgegap, server):
        error, length = await timed(OPERATIONS["POST"](edgegap))
        assert (type(error), error.request_sent, length) == (
            TransportError,
            True,
            pytest.approx(2, abs=EXACT),
        )
        # One attempt of a deploy gets twice `attempt_timeout`.
        error, length = await timed(deploy(edgegap))
        assert (type(error), length) == (
            DeployOutcomeUnknown,
            pytest.approx(4, abs=EXACT),
        )
        # A GET is retried, up to five tries in total.
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


@pytest.mark.parametrize("caller_timeout", [2.0, 99.0])
def test_an_expired_deadline_leaves_the_task_uncancelled(caller_timeout: float) -> None:
    """If the caller's own timeout expires in the same turn of the loop, the caller gets
    its own TimeoutError.
    """

    async def both() -> BaseException:
        async with scripted(SILENT, attempt_timeout=2) as (edgegap, _):
            asyncio.get_running_loop().call_later(1.9, stall, 1)
            with pytest.raises((TimeoutError, TransportError)) as caught:
                async with asyncio.timeout(caller_timeout):
                    await OPERATIONS["POST"](edgegap)
            assert asyncio.current_task().cancelling() == 0
            return caught.value

    assert type(run(both())) is (
        TimeoutError if caller_timeout == 2 else TransportError
    )


@pytest.mark.parametrize(
    ("act", "kind"),
    [(FAILED, ServerError), (REFUSED, RateLimited), (CUT, TransportError)],
)
async def test_deadline_exceeded_has_the_last_error_as_its_cause(
    act: Act, kind: type[EdgegapError]
) -> None:
    async with scripted(act, retry=Retry(tries=99, backoff=1)) as (edgegap, server):
        error = await failure(GET(edgegap, timeout=6))
        assert (type(error), type(error.__cause__)) == (DeadlineExceeded, kind)
        # Only the last error is kept, not a chain of all attempts.
        assert error.__cause__.__cause__ is None
        assert len(server.arrivals) > 2


async def test_a_queue_longer_than_the_deadline_is_reported_at_once(
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


async def test_a_deadline_can_pass_in_the_queue() -> None:
    """The estimated wait can't know that the first call never returns its slot."""
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


async def test_a_call_whose_wait_fits_its_deadline_is_sent() -> None:
    async with scripted(limits=Limits(status=0.5)) as (edgegap, _):
        await GET(edgegap)
        await asyncio.sleep(1.9)
        result, length = await timed(GET(edgegap, timeout=1))
        assert (isinstance(result, EdgegapError), length) == (
            False,
            pytest.approx(0.1, abs=EXACT),
        )


@pytest.mark.parametrize("where", ["session", "call"])
async def test_timeout_none_means_no_deadline(where: str) -> None:
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
async def test_invalid_timeouts_are_rejected_before_anything_is_sent(
    wrong: object,
) -> None:
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


# The server's clock differs from the local one.
DATE = datetime(2001, 1, 1, tzinfo=UTC)


def http_date(date: datetime) -> str:
    return format_datetime(date, usegmt=True)


@pytest.mark.measured
@pytest.mark.parametrize(
    ("act", "hold"),
    [
        (rate_limited(7), 7),
        (rate_limited(0.5), 0.5),
        (rate_limited(http_date(DATE + timedelta(seconds=7)), date=http_date(DATE)), 7),
        (rate_limited(http_date(DATE + timedelta(days=7)), date=http_date(DATE)), 60),
        (rate_limited(3600), 60),
        (rate_limited("next week"), None),
    ],
)
async def test_retry_after_delays_every_call_under_the_same_limit(
    act: Act, hold: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(act, GOOD, timeout=None) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap))
        await asyncio.sleep(0.25)
        others = [asyncio.create_task(GET(edgegap)) for _ in range(3)]
        # A deploy has another limit.
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


async def test_a_retry_after_date_without_a_date_header_uses_the_local_clock() -> None:
    async with scripted(
        rate_limited(http_date(datetime.now(UTC) + timedelta(seconds=20))), GOOD
    ) as (edgegap, server):
        await GET(edgegap)
        # The date has whole seconds, and a slot comes a little later.
        assert 15 < server.times[1] <= 20.1


@pytest.mark.parametrize(
    ("first", "second", "until"), [(10, 2, 10), (2, 5, 6), (5, 5, 6)]
)
async def test_a_shorter_retry_after_does_not_replace_a_longer_one(
    first: float, second: float, until: float
) -> None:
    async with scripted(rate_limited(first), rate_limited(second).later(1), GOOD) as (
        edgegap,
        server,
    ):
        await asyncio.gather(GET(edgegap), GET(edgegap))
        assert server.times[2] == pytest.approx(until, abs=EXACT)


@operations
async def test_retry_after_past_the_deadline_ends_the_call_at_once(name: str) -> None:
    async with scripted(rate_limited(10)) as (edgegap, server):
        error, length = await timed(OPERATIONS[name](edgegap, timeout=9))
        assert isinstance(error, RateLimited)
        assert (error.retry_after, length, len(server.arrivals)) == (
            10,
            pytest.approx(0, abs=EXACT),
            1,
        )
        # The next call under the same limit is delayed too.
        error, length = await timed(OPERATIONS[name](edgegap, timeout=9))
        assert isinstance(error, QueueTooLong)
        assert (error.wait, length, len(server.arrivals)) == (
            pytest.approx(10, abs=EXACT),
            pytest.approx(0, abs=EXACT),
            1,
        )


async def test_a_429_without_retry_after_delays_only_its_own_call() -> None:
    async with scripted(REFUSED, GOOD, retry=Retry(backoff=8)) as (edgegap, server):
        first = asyncio.create_task(GET(edgegap))
        await asyncio.sleep(0.01)
        assert (await timed(GET(edgegap)))[1] < 0.1
        await first
        assert 0.2 < server.times[2] <= 8


@pytest.mark.parametrize("act", [REFUSED, rate_limited(20), rate_limited(59)])
async def test_a_minute_of_429s_ends_a_call_without_a_deadline(act: Act) -> None:
    async with scripted(act) as (edgegap, server):
        error, length = await timed(GET(edgegap, timeout=None))
        assert isinstance(error, RateLimited)
        assert 60 <= length <= 120
        assert 3 <= len(server.arrivals) < 60


@pytest.mark.parametrize("asked", [0, -5, "Mon, 01 Jan 2001 00:00:00 GMT"])
async def test_retry_after_zero_or_in_the_past_still_backs_off(asked: object) -> None:
    async with scripted(*[rate_limited(str(asked))] * 40, GOOD) as (edgegap, server):
        await timed(GET(edgegap, timeout=10))
        assert len(server.arrivals) < 20


async def test_retry_after_on_a_503_delays_only_its_own_call() -> None:
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


async def test_a_call_that_is_awaited_after_its_deadline_sends_nothing() -> None:
    async with scripted() as (edgegap, server):
        late = edgegap._transport.call(STATUS, {"request_id": "c065"}, timeout=1)
        await asyncio.sleep(2)
        error = await failure(late)
        assert isinstance(error, DeadlineExceeded)
        assert not error.request_sent
        assert server.arrivals == []
        assert edgegap.usage()["status"].in_flight == 0
