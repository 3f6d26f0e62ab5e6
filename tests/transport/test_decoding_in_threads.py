"""Large answers are decoded in a thread, one at a time, and the loop goes on."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.limiter_model import now
from support.raw_server import GET, RawServer, answer, failure, scripted

from edgegap_async import EdgegapSession
from edgegap_async.errors import DeadlineExceeded, DeployOutcomeUnknown, SessionClosed

MIB = 1024 * 1024
LARGE = answer(200, {"logs": "x" * 2 * MIB})
LOGS = {"/v1/deployment/": LARGE, "/v1/status/": answer()}


def page(rows: int) -> dict[str, object]:
    """A page with one row that is skipped, which is logged while it is decoded."""
    return {"data": [{"request_id": "a"}] * rows + [{}]}


@pytest.mark.parametrize(("rows", "in_thread"), [(100, False), (5000, True)])
async def test_a_page_of_usual_size_is_decoded_at_once_and_a_large_one_in_a_thread(
    rows: int, in_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with scripted(answer(200, page(rows))) as (edgegap, _):
        shown = await edgegap.deployments.list()
    assert (len(shown.data), shown.skipped) == (rows, 1)
    (record,) = [each for each in caplog.records if "skipped" in each.__dict__]
    assert (record.thread != threading.get_ident()) == in_thread


@asynccontextmanager
async def busy(
    **options: float | None,
) -> AsyncIterator[tuple[EdgegapSession, RawServer]]:
    """A session in which a decoding goes on until the block ends."""
    async with scripted(routes=LOGS, **options) as (edgegap, server):
        async with edgegap._transport._pool.decoding:
            yield edgegap, server
        # Nothing of it is left.
        logs = await edgegap.deployments.container_logs("c065", timeout=None)
        assert len(logs.logs or "") == 2 * MIB


async def test_a_call_ends_at_its_deadline_although_its_answer_is_being_decoded() -> (
    None
):
    async with busy() as (edgegap, _):
        began = now()
        error = await failure(edgegap.deployments.container_logs("c065", timeout=3))
        assert isinstance(error, DeadlineExceeded)
        assert error.request_sent
        assert now() - began == pytest.approx(3, abs=0.1)


async def test_a_caller_can_be_cancelled_while_its_answer_is_being_decoded() -> None:
    async with busy() as (edgegap, _):
        task = asyncio.ensure_future(edgegap.deployments.container_logs("c065"))
        await asyncio.sleep(1)
        task.cancel()
        assert isinstance(
            (await asyncio.gather(task, return_exceptions=True))[0],
            asyncio.CancelledError,
        )


async def test_closing_ends_a_call_whose_answer_is_being_decoded() -> None:
    async with scripted(LARGE) as (edgegap, _), edgegap._transport._pool.decoding:
        task = asyncio.ensure_future(edgegap.deployments.container_logs("c065"))
        await asyncio.sleep(1)
        await edgegap.aclose()
        error = await failure(task)
        assert isinstance(error, SessionClosed)
        assert error.request_sent


@pytest.mark.slow
async def test_bodies_that_wait_for_their_decoding_count_as_large() -> None:
    """Otherwise all of them would be read, and fill the memory."""
    async with busy(timeout=None) as (edgegap, _):
        calls = [
            asyncio.ensure_future(edgegap.deployments.container_logs("c065"))
            for _ in range(6)
        ]
        await asyncio.sleep(5)
        large = edgegap._transport._pool._large
        assert not large.try_acquire()
        # Small ones don't wait.
        await GET(edgegap)
        for call in calls[:5]:
            call.cancel()
        await asyncio.sleep(1)
        assert large.try_acquire()
        large.release()
        calls[5].cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_the_answer_to_a_deploy_is_decoded_whatever_its_deadline_is() -> None:
    body = {"request_id": "c065", "x": "x" * (MIB * 3 // 4)}
    async with scripted(answer(202, body)) as (edgegap, _):
        task = asyncio.ensure_future(
            edgegap.deployments.deploy("a", "1", users=["::1"], once=True, timeout=30)
        )
        async with edgegap._transport._pool.decoding:
            await asyncio.sleep(1)
            assert not task.done()
        assert (await task).request_id == "c065"


async def test_a_deploy_whose_answer_is_being_decoded_at_the_end_is_unknown() -> None:
    body = {"request_id": "c065", "x": "x" * (MIB * 3 // 4)}
    async with scripted(answer(202, body)) as (edgegap, _):
        call = edgegap.deployments.deploy("a", "1", users=["::1"])
        task = asyncio.ensure_future(call)
        async with edgegap._transport._pool.decoding:
            await asyncio.sleep(1)
            await edgegap.aclose()
            assert isinstance(await failure(task), DeployOutcomeUnknown | SessionClosed)
