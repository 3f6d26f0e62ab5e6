"""`wait_until_ready`: each outcome, its time, and errors that do not end the wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Literal

import pytest
from support.limiter_model import now
from support.raw_server import (
    ADDRESS,
    CUT,
    GARBAGE,
    SILENT,
    STUCK,
    TOKEN,
    Act,
    answer,
    failure,
    half,
    never_accepts,
    scripted,
    session,
)

from edgegap_async import (
    DeploymentState,
    EdgegapSession,
    Limits,
    ReadyDeployment,
    Retry,
)
from edgegap_async.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    DeploymentTerminated,
    EdgegapError,
    Forbidden,
    QueueTooLong,
    RateLimited,
    ReadyTimeout,
    ServerError,
    SessionClosed,
    Unauthorized,
)
from edgegap_async.simulator import Simulator

# Seconds by which a time may differ.
EXACT = 0.01


@asynccontextmanager
async def simulated(
    **options: Any,
) -> AsyncIterator[tuple[EdgegapSession, Simulator, str]]:
    """Yield a session, its simulator, and the ID of a deployment just accepted."""
    async with Simulator(**options) as simulator, session(simulator.url) as edgegap:
        accepted = await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])
        yield edgegap, simulator, accepted.request_id


def status_answer(state: str | None, **fields: object) -> Act:
    """Return an answer to a status call, with an address."""
    body = {"request_id": "c065", "current_status": state, **ADDRESS, **fields}
    return answer(200, body)


PENDING, READY = status_answer("Status.DEPLOYING"), status_answer("Status.READY")


@pytest.mark.parametrize("after", [0.0, 3.0, 60.0])
async def test_wait_until_ready_returns_the_address(after: float) -> None:
    async with simulated(ready_after=(after, after)) as (edgegap, _, request_id):
        start = now()
        ready = await edgegap.deployments.wait_until_ready(request_id)
        assert after <= now() - start <= after + 2 + EXACT
        assert type(ready) is ReadyDeployment
        assert ready.request_id == request_id
        assert ready.start_time is not None
        assert ready.address("web") == (ready.fqdn, ready.ports["web"].external)


async def test_wait_until_ready_raises_for_a_failed_deployment() -> None:
    async with simulated(error_share=1.0) as (edgegap, simulator, request_id):
        error = await failure(edgegap.deployments.wait_until_ready(request_id))
        assert isinstance(error, DeploymentFailed)
        assert error.request_id == request_id
        assert error.status is not None
        assert error.status.state is DeploymentState.ERROR
        assert error.detail == error.status.error_detail != ""
        assert error.detail in str(error)
        assert simulator.running() == {request_id}


@pytest.mark.parametrize("gone", ["404", "410", "400", "terminated"])
@pytest.mark.parametrize("when", ["before", "meanwhile", "never there"])
async def test_wait_until_ready_raises_for_a_gone_deployment(
    gone: Literal["404", "410", "400", "terminated"], when: str
) -> None:
    async with simulated(gone=gone, stop_takes=3.0) as (edgegap, simulator, request_id):
        if when != "never there":
            await edgegap.deployments.stop(request_id)
        if when == "before":
            await asyncio.sleep(20)
            assert simulator.running() == set()
        start, wanted = now(), "no-such" if when == "never there" else request_id
        error = await failure(edgegap.deployments.wait_until_ready(wanted))
        assert isinstance(error, DeploymentTerminated)
        assert error.request_id == wanted
        # An ID that this session has not seen end is looked for in a list too.
        assert now() - start < {"before": 0.1, "meanwhile": 8, "never there": 1}[when]


@pytest.mark.parametrize("timeout", [0.1, 4.4, None])
async def test_wait_until_ready_raises_after_its_timeout(timeout: float | None) -> None:
    options = {} if timeout is None else {"timeout": timeout}
    async with simulated(ready_after=(1000, 1000)) as (edgegap, _, request_id):
        start = now()
        error = await failure(
            edgegap.deployments.wait_until_ready(request_id, **options)
        )
        assert isinstance(error, ReadyTimeout)
        assert isinstance(error, DeadlineExceeded)
        assert error.request_id == request_id
        assert error.status is not None
        assert error.status.request_id == request_id
        assert now() - start == pytest.approx(timeout or 300, abs=EXACT)


@pytest.mark.full
@pytest.mark.slow
async def test_without_a_timeout_wait_until_ready_waits_as_long_as_needed() -> None:
    async with simulated(ready_after=(700, 700)) as (edgegap, _, request_id):
        await edgegap.deployments.wait_until_ready(request_id, timeout=None)


async def test_polls_become_rarer_over_time() -> None:
    async with scripted(PENDING) as (edgegap, server):
        await failure(edgegap.deployments.wait_until_ready("c065", timeout=100))
        gaps = [after - before for before, after in pairwise(server.times)]
        # A cached image is ready after some seconds.
        assert gaps[:30] == pytest.approx([0.25] * 30, abs=EXACT)
        assert gaps[-1] == pytest.approx(2, abs=EXACT)
        assert all(before <= after + EXACT for before, after in pairwise(gaps))


TROUBLE = {
    "503": answer(503),
    "cut": CUT,
    "garbage": GARBAGE,
    "refused": answer(429),
    "half": half(),
    "stuck": STUCK,
}
TROUBLE |= {
    "silent": SILENT,
    "HTML": answer(200, "<html>"),
    "bad request": answer(400, {"message": "bad query"}),
}
TROUBLE |= {
    "redirect": answer(302),
    "conflict": answer(409),
    "interim": answer(425),
    "not ours": answer(200, "[]"),
}
TROUBLE |= {
    "held": answer(429, retry_after="3"),
    "without an ID": answer(200, {"current_status": "Status.READY"}),
}


@pytest.mark.parametrize("act", TROUBLE.values(), ids=TROUBLE)
@pytest.mark.parametrize("retry", [Retry(tries=1), Retry(budget=1)])
async def test_a_failing_poll_fails_no_waiter(act: Act, retry: Retry) -> None:
    async with scripted(PENDING, *[act] * 8, READY, retry=retry) as (edgegap, server):
        ready = await edgegap.deployments.wait_until_ready("c065")
        assert ready.request_id == "c065"
        # Lists are polled too, and also fail.
        assert len(server.arrivals) >= 10


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
async def test_a_permanent_error_ends_the_wait(
    status: int, kind: type[EdgegapError]
) -> None:
    refused = answer(status, {"message": "no"})
    async with scripted(PENDING, refused) as (edgegap, server):
        assert type(await failure(edgegap.deployments.wait_until_ready("c065"))) is kind
        assert len(server.arrivals) == 2


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (SILENT, None),
        (STUCK, None),
        (answer(503), ServerError),
        (answer(429), RateLimited),
    ],
)
async def test_a_timeout_names_the_last_status_and_failure(
    act: Act, kind: type[EdgegapError] | None
) -> None:
    for acts in ([act], [PENDING, act]):
        async with scripted(*acts, retry=Retry(tries=1)) as (edgegap, _):
            start = now()
            error = await failure(
                edgegap.deployments.wait_until_ready("c065", timeout=7.7)
            )
            assert isinstance(error, ReadyTimeout)
            seen = None if error.status is None else error.status.state
            assert seen is (DeploymentState.DEPLOYING if PENDING in acts else None)
            assert type(error.__cause__) is (kind or DeadlineExceeded)
            # After a 429, the wait ends a little early: no other poll can be sent in
            # time.
            assert now() - start == pytest.approx(
                7.7, abs=0.7 if kind is RateLimited else EXACT
            )


async def test_connecting_never_exceeds_the_waiters_timeout() -> None:
    with never_accepts() as url:
        async with session(url) as edgegap:
            start = now()
            error = await failure(
                edgegap.deployments.wait_until_ready("c065", timeout=20)
            )
            assert isinstance(error, ReadyTimeout)
            assert now() - start == pytest.approx(20, abs=EXACT)


async def test_a_long_queue_is_a_ready_timeout_too() -> None:
    async with scripted(PENDING, limits=Limits(status=0.1)) as (edgegap, _):
        start = now()
        waits = [
            edgegap.deployments.wait_until_ready("c065", timeout=5) for _ in range(30)
        ]
        errors = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(error) for error in errors} == {ReadyTimeout}
        assert {
            type(error.__cause__) for error in errors if isinstance(error, Exception)
        } == {QueueTooLong}
        assert now() - start <= 5 + EXACT


async def test_a_wait_without_time_for_a_poll_ends_early() -> None:
    async with scripted(PENDING, answer(429, retry_after="30")) as (edgegap, _):
        start = now()
        error = await failure(edgegap.deployments.wait_until_ready("c065", timeout=10))
        assert isinstance(error, ReadyTimeout)
        assert error.status is not None
        assert now() - start < 2


MEANINGS = [
    ("Status.READY", {}, "ready"),
    ("READY", {}, "ready"),
    ("ready", {"running": False, "error": True}, "ready"),
    ("Status.DEPLOYING", {"running": True, "error": True}, "pending"),
    ("Status.SEEKED", {"running": True}, "pending"),
    ("Status.ERROR", {"running": True}, "failed"),
    ("error", {}, "failed"),
    ("Status.TERMINATING", {"running": True}, "gone"),
    ("terminated", {}, "gone"),
    ("Status.BREWING", {}, "pending"),
    ("Status.BREWING", {"running": True}, "ready"),
    ("Status.BREWING", {"running": False, "error": True}, "failed"),
    ("Status.BREWING", {"running": False, "error": False}, "pending"),
    ("READY_TO_TERMINATE", {}, "pending"),
    ("", {}, "pending"),
    (None, {}, "pending"),
    (None, {"running": True}, "ready"),
]


@pytest.mark.parametrize(("state", "flags", "meaning"), MEANINGS)
async def test_flags_count_only_if_the_state_is_unknown(
    state: str | None, flags: dict[str, bool], meaning: str
) -> None:
    async with scripted(status_answer(state, **flags), READY) as (edgegap, server):
        try:
            await edgegap.deployments.wait_until_ready("c065")
        except DeploymentFailed:
            ended = "failed"
        except DeploymentTerminated:
            ended = "gone"
        else:
            ended = "ready" if len(server.arrivals) == 1 else "pending"
        assert ended == meaning


async def test_many_waiters_keep_the_limit() -> None:
    async with (
        Simulator(ready_after=(2.0, 9.0)) as simulator,
        EdgegapSession(TOKEN, base_url=simulator.url) as edgegap,
    ):

        async def start() -> ReadyDeployment:
            accepted = await edgegap.deployments.deploy(
                "game", "1", users=["203.0.113.7"]
            )
            return await edgegap.deployments.wait_until_ready(accepted.request_id)

        ready = await asyncio.gather(*(start() for _ in range(60)))
        assert {each.request_id for each in ready} == simulator.running()
        assert simulator.busiest_second("status") <= 20
        assert simulator.refused("status") == 0


@pytest.mark.parametrize("moment", [0.1, 0.01, 1.0])
async def test_cancelling_one_waiter_does_not_end_another_but_closing_the_session_does(
    moment: float,
) -> None:
    async with simulated(ready_after=(1000, 1000), delay_before=(0.05, 0.05)) as (
        edgegap,
        simulator,
        request_id,
    ):
        cancelled, waiting = (
            asyncio.create_task(
                edgegap.deployments.wait_until_ready(request_id, timeout=None)
            )
            for _ in range(2)
        )
        await asyncio.sleep(moment)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert not waiting.done()
        await edgegap.aclose()
        closed, arrived = now(), simulator.arrivals("status")
        assert isinstance(await failure(waiting), SessionClosed)
        assert now() - closed < EXACT
        await asyncio.sleep(5)
        assert simulator.arrivals("status") <= arrived + 2


@pytest.mark.parametrize("request_id", ["", " ", ".", "..", None, 7])
async def test_a_wrong_request_id_is_refused_before_anything_is_sent(
    request_id: Any,
) -> None:
    async with scripted() as (edgegap, server):
        with pytest.raises(ValueError, match=r"^request_id must"):
            await edgegap.deployments.wait_until_ready(request_id)
        assert server.arrivals == []
