"""`find` and `reap` end in time, and leave nothing behind however they end."""

import asyncio
from typing import Any

import pytest
from support.list_server import ListServer, ids, tagged
from support.owning import at_every_turn, deploy

from edgegap_async import EdgegapSession, Limits
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    Incomplete,
    SessionClosed,
)
from edgegap_async.simulator import Simulator

HANGS = 10_000


def never(_: str) -> Any:
    return asyncio.sleep(HANGS, (200, {}))


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [1e-9, 0.001, 0.5, 2, 7, 31, 61])
@pytest.mark.parametrize("hangs", ["stop", "status", "both"])
async def test_reap_ends_within_its_timeout_whatever_hangs(
    hangs: str, timeout: float
) -> None:
    server = ListServer(tagged(60, "a"))
    if hangs != "stop":
        server.status = never
    if hangs != "status":
        server.stop = never
    loop = asyncio.get_running_loop()
    async with server.session() as edgegap:
        began = loop.time()
        with pytest.raises((Incomplete, DeadlineExceeded)):
            await edgegap.deployments.reap(["a"], timeout=timeout)
        assert loop.time() - began <= timeout + 0.1
        rows = edgegap.deployments.find(tags=["a"], application="game", timeout=timeout)
        began = loop.time()
        try:
            found = [row async for row in rows]
            assert len(found) == 60
        except (DeadlineExceeded, Incomplete):
            pass
        assert loop.time() - began <= timeout + 0.1


@pytest.mark.parametrize("limits", [Limits(), Limits.off()], ids=["limits", "off"])
async def test_reap_sends_nothing_after_its_timeout(limits: Limits) -> None:
    """Each answer comes at once, and the timeout is over before the lists are steady."""
    server = ListServer({})
    async with server.session(limits=limits) as edgegap, asyncio.timeout(2):
        with pytest.raises(DeadlineExceeded, match="timeout of 1 s"):
            await edgegap.deployments.reap(["a"], timeout=1)
    assert server.asked["list"] == 1


@pytest.mark.parametrize("answer", [(404, "<html>"), (404, {}), (410, "")], ids=str)
async def test_a_stop_that_may_mean_gone_is_not_judged_beyond_the_timeout(
    answer: Any,
) -> None:
    """A gateway answers the stop, and the status that would tell never comes."""
    server = ListServer(tagged(3, "a"))
    server.stop = lambda _: answer
    right, asked = server.status, list[str]()

    def status(it: str) -> Any:
        # The first confirms the tag.
        asked.append(it)
        return right(it) if asked.count(it) == 1 else never(it)

    server.status = status
    loop = asyncio.get_running_loop()
    async with server.session() as edgegap:
        await asyncio.sleep(1)
        began = loop.time()
        with pytest.raises(Incomplete):
            await edgegap.deployments.reap(["a"], timeout=6)
        assert loop.time() - began <= 6.1
        began = loop.time()
        with pytest.raises(EdgegapError):
            await edgegap.deployments.ensure_stopped("c0", timeout=2)
        assert loop.time() - began <= 2.1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.01, 3, 20])
async def test_closing_the_session_ends_reap_and_says_what_was_stopped(
    seconds: float,
) -> None:
    server = ListServer(tagged(600, "a"))
    async with server.session() as edgegap:
        reaping = asyncio.create_task(edgegap.deployments.reap(["a"]))
        await asyncio.sleep(seconds)
        await edgegap.aclose()
        with pytest.raises((Incomplete, SessionClosed), match="closed") as got:
            await reaping
    if isinstance(got.value, Incomplete):
        assert ids(got.value.stopped) <= {*server.stopped}
        assert len(got.value.stopped) >= len(server.stopped) - 40
        named = {*ids(got.value.stopped), *got.value.not_stopped}
        assert seconds < 3 or len(named) == 600


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("strike", ["cancel", "cancel-every-turn", "close"])
@pytest.mark.parametrize("call", ["reap", "find"])
def test_ended_in_any_turn_nothing_is_left_behind(call: str, strike: str) -> None:
    taken = set[str]()

    async def attempt(edgegap: EdgegapSession, _: Simulator) -> None:
        for number in range(2):
            server = await deploy(edgegap, tags=["a", f"b{number}"])
            taken.add(server.request_id)
        if call == "reap":
            await edgegap.deployments.reap(["a"])
        else:
            rows = edgegap.deployments.find(tags=["a"], application="game")
            assert len([row async for row in rows]) == 2

    errors, turns = at_every_turn(attempt, strike=strike, taken=taken, max_page_size=1)
    assert turns > 50
    closed = {type(error) for error in errors} - {type(None)}
    assert closed <= {SessionClosed, Incomplete, DeployOutcomeUnknown}
    assert (strike == "close") is (SessionClosed in closed)


@pytest.mark.full
@pytest.mark.slow
async def test_thousands_of_stops_take_some_hundred_tasks() -> None:
    server = ListServer(tagged(6000, "a"))
    async with server.session() as edgegap:
        reaping = asyncio.create_task(edgegap.deployments.reap(["a"]))
        await asyncio.sleep(60)
        assert 100 < len(asyncio.all_tasks()) < 600
        reaping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reaping


@pytest.mark.parametrize("leave", ["break", "error", "cancel"])
async def test_a_consumer_may_leave_find_early(leave: str) -> None:
    server = ListServer(tagged(250, "a"))

    async def consume(edgegap: EdgegapSession) -> None:
        async for row in edgegap.deployments.find(tags=["a"]):
            assert row.tags == ("a",)
            if leave == "break":
                break
            if leave == "error":
                raise LookupError(row.request_id)
            await asyncio.sleep(HANGS)

    async with server.session() as edgegap:
        task = asyncio.create_task(consume(edgegap))
        await asyncio.sleep(30)
        if leave == "cancel":
            task.cancel()
        await asyncio.wait([task])
        # The next call works.
        assert len([row async for row in edgegap.deployments.find()]) == 250


async def test_searches_that_run_at_once_do_not_disturb_each_other() -> None:
    server = ListServer({**tagged(150, "a"), **tagged(150, "b", name="d")})

    async def found(edgegap: EdgegapSession, tag: str) -> int:
        return len([row async for row in edgegap.deployments.find(tags=[tag])])

    async with server.session() as edgegap:
        counts = await asyncio.gather(*(found(edgegap, tag) for tag in "ababab"))
    assert counts == [150] * 6


@pytest.mark.full
@pytest.mark.slow
async def test_reap_does_not_delay_calls_in_the_foreground() -> None:
    server = ListServer({**tagged(2000, "a"), "other": ["b"]})
    loop = asyncio.get_running_loop()
    async with server.session() as edgegap:
        reaping = asyncio.create_task(edgegap.deployments.reap(["a"]))
        await asyncio.sleep(20)
        for _ in range(10):
            began = loop.time()
            await edgegap.deployments.status("other")
            await edgegap.deployments.list()
            assert loop.time() - began < 2.2
        reaping.cancel()
        await asyncio.wait([reaping])
