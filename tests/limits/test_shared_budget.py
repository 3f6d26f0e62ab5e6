"""Sessions with the same token and base URL share one budget, here on one loop.

`test_many_loops.py` has the tests with several loops, threads and processes.
"""

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from support.limiter_model import busiest_second, now, run
from support.raw_server import (
    GET,
    POOL,
    SILENT,
    TOKEN,
    RawServer,
    answer,
    deploy,
    failure,
    session,
)

from edgegap_async import EdgegapSession, Limits, Retry, SessionClosed
from edgegap_async._limits.doubt import LONGEST_STALL
from edgegap_async._limits.registry import FEW, REGISTRY
from edgegap_async.simulator import Simulator
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

# All status calls of one second may be sent at once.
AT_ONCE = Limits(burst=20)
OTHER = Limits(burst=19)
# Seconds from an answer until its slot is back.
BACK = 1.002
# Status calls that may be in flight at a time.
UNANSWERED = 15


def kept() -> dict[bytes, Any]:
    """Return the budgets of this loop that are in use, or not yet cool."""
    budgets = REGISTRY.on(asyncio.get_running_loop())
    return {key: each for key, each in budgets.items() if not each.is_over(now())}


def timers() -> int:
    """Return how many timers the loop has."""
    scheduled: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())[
        "_scheduled"
    ]
    return sum(not timer.cancelled() for timer in scheduled)


async def twenty(edgegap: EdgegapSession) -> None:
    await asyncio.gather(*(GET(edgegap) for _ in range(20)))


def started(calls: int, edgegap: EdgegapSession) -> list[asyncio.Future[object]]:
    return [asyncio.ensure_future(GET(edgegap)) for _ in range(calls)]


@pytest.mark.full
@pytest.mark.slow
async def test_two_sessions_under_full_load_share_one_limit() -> None:
    way = (0.0, 0.05)
    async with Simulator(
        enforcement="off", delay_before=way, delay_after=way
    ) as simulator:
        start, served = now(), [0, 0]

        async def caller(which: int, edgegap: EdgegapSession) -> None:
            while now() < start + 10:
                await deploy(edgegap, timeout=None)
                served[which] += now() < start + 10

        async with session(simulator.url) as first, session(simulator.url) as second:
            await asyncio.gather(
                *(
                    caller(which, s)
                    for which, s in enumerate((first, second))
                    for _ in range(30)
                )
            )
            assert first.usage() == second.usage()
        assert simulator.busiest_second("deploy") <= 40
        assert sum(served) >= 0.95 * 400
        assert min(served) >= 0.45 * 400


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, pytest.param(100, marks=pytest.mark.full)])
async def test_a_session_per_deploy_keeps_the_limit(together: int) -> None:
    async def request() -> None:
        async with session(simulator.url) as edgegap:
            await deploy(edgegap)

    async with Simulator(enforcement="off") as simulator:
        start = now()
        for _ in range(400 // together):
            await asyncio.gather(*(request() for _ in range(together)))
        assert simulator.arrivals("deploy") == 400
        assert simulator.busiest_second("deploy") <= 40
        assert now() - start <= 400 / 40 * 1.05


@pytest.mark.parametrize(
    "other", [Limits(status=19), Limits(share=0.5), OTHER, Limits(early_return=False)]
)
async def test_other_limits_are_refused_while_a_session_is_open(other: Limits) -> None:
    async with RawServer() as server, session(server.url, limits=Limits()) as edgegap:
        await GET(edgegap)
        with pytest.raises(ValueError, match="limits"):
            async with session(server.url, limits=other):
                pass
        refused = session(server.url, limits=other)
        for _ in range(2):
            with pytest.raises(ValueError, match="limits"):
                await GET(refused)
        async with session(server.url, limits=Limits()) as same:
            await GET(same)
        await GET(edgegap)
        await edgegap.aclose()
        await GET(refused)
        assert len(server.arrivals) == 4
        assert refused.usage()["status"].rate == other.status * other.share
        await refused.aclose()


@pytest.mark.parametrize("limits", [AT_ONCE, OTHER], ids=["the same", "other"])
@pytest.mark.parametrize("end", ["answered", "in flight", "in flight on their http"])
async def test_requests_before_a_close_still_count(limits: Limits, end: str) -> None:
    first = answer() if end == "answered" else SILENT
    async with (
        RawServer(*[first] * 20, answer()) as server,
        ClientSession(connector=TCPConnector(limit=POOL)) as http,
    ):
        async with session(
            server.url, limits=AT_ONCE, http=http if "their" in end else None
        ) as edgegap:
            calls = started(20, edgegap)
            await asyncio.sleep(0.1)
        async with session(server.url, limits=limits) as edgegap:
            await asyncio.gather(twenty(edgegap), twenty(edgegap))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(
            isinstance(each, SessionClosed) == (end != "answered") for each in ended
        )
        assert len(server.arrivals) == 60
        assert busiest_second(server.times) <= 20


@pytest.mark.parametrize("limits", [AT_ONCE, OTHER], ids=["the same", "others"])
async def test_retry_after_outlives_a_close(limits: Limits) -> None:
    async with RawServer(
        answer(429, {"message": "no"}, retry_after="30"), answer()
    ) as server:
        async with session(server.url, limits=AT_ONCE, retry=Retry(tries=1)) as edgegap:
            await failure(GET(edgegap))
        await asyncio.sleep(10)
        assert len(kept()) == 1
        async with session(server.url, limits=limits) as edgegap:
            await GET(edgegap)
        assert server.times[1] == pytest.approx(30, abs=0.01)
        # What was learned from the 429 is kept for five minutes.
        await asyncio.sleep(269 if limits == AT_ONCE else BACK)
        assert len(kept()) == (limits == AT_ONCE)
        await asyncio.sleep(BACK)
        assert not kept()


@pytest.mark.parametrize(
    ("second", "together"),
    [
        ({"token": "another"}, 40),
        ({"base_url": "another"}, 40),
        ({"token": f"token {TOKEN}"}, 20),
        ({"base_url": "{}/"}, 20),
        ({}, 20),
    ],
)
async def test_a_budget_belongs_to_a_token_and_a_base_url(
    second: dict[str, str], together: int
) -> None:
    async with RawServer() as server, RawServer() as another:
        url = (
            another.url
            if second.get("base_url") == "another"
            else second.get("base_url", "{}").format(server.url)
        )
        theirs = EdgegapSession(
            second.get("token", TOKEN), base_url=url, limits=AT_ONCE
        )
        async with session(server.url, limits=AT_ONCE) as ours, theirs:
            await asyncio.gather(twenty(ours), twenty(theirs))
        assert (
            busiest_second(
                [arrival.time for arrival in server.arrivals + another.arrivals]
            )
            == together
        )


async def test_a_budget_is_freed_once_its_last_slot_is_back() -> None:
    async with RawServer() as server:
        idle = timers()
        async with session(server.url) as edgegap, session(server.url) as second:
            await GET(edgegap)
            assert len(kept()) == 1
            await second.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(BACK - 0.01)
        assert len(kept()) == 1
        assert all(TOKEN.encode() not in key for key in kept())
        await asyncio.sleep(0.02)
        assert not kept()
        assert timers() == idle


async def test_a_budget_lives_while_a_session_uses_it() -> None:
    async with RawServer() as server:
        async with session(server.url, limits=AT_ONCE) as edgegap:
            await GET(edgegap)
        async with session(server.url, limits=AT_ONCE) as edgegap:
            await asyncio.sleep(5)
            async with session(server.url, limits=AT_ONCE) as other:
                await asyncio.gather(twenty(edgegap), twenty(other))
            await asyncio.sleep(5)
            assert len(kept()) == 1
            assert edgegap.usage()["status"].sent == 41
        assert not kept()
        assert busiest_second(server.times) == 20


async def test_closed_sessions_leave_no_timer() -> None:
    async with RawServer() as server:
        idle = timers()
        for _ in range(5):
            async with session(server.url) as edgegap:
                await GET(edgegap)
            assert timers() == idle


@pytest.mark.slow
async def test_budgets_that_nobody_uses_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Earlier tests of this process may have had more budgets at once.
    monkeypatch.setattr(REGISTRY, "_sweep_at", FEW)
    async with RawServer() as server:
        most = 0
        for number in range(100):
            async with EdgegapSession(f"t{number}", base_url=server.url) as edgegap:
                await GET(edgegap)
            await asyncio.sleep(0.5)
            most = max(most, len(REGISTRY.on(asyncio.get_running_loop())))
        assert most <= 20


@pytest.mark.slow
async def test_budgets_that_cool_down_are_not_dropped() -> None:
    async with RawServer() as server:
        for _ in range(2):
            for number in range(20):
                async with EdgegapSession(
                    f"t{number}", base_url=server.url, limits=AT_ONCE
                ) as edgegap:
                    await twenty(edgegap)
        assert len(kept()) == 20
        of_one = [
            arrival.time
            for arrival in server.arrivals
            if arrival.headers["Authorization"] == "token t7"
        ]
        assert len(of_one) == 40
        assert busiest_second(of_one) == 20


@pytest.mark.parametrize(
    "spelling",
    ["http://LOCALHOST:{}", "http://localhost:{}/", "HTTP://localhost.:{}/v1"],
)
async def test_spellings_of_one_base_url_are_one_budget(spelling: str) -> None:
    async with RawServer() as server:
        port = server.url.rpartition(":")[2]
        urls = (f"http://localhost:{port}", spelling.format(port))
        async with (
            session(urls[0], limits=AT_ONCE) as first,
            session(urls[1], limits=AT_ONCE) as second,
        ):
            await asyncio.gather(twenty(first), twenty(second))
        assert len(server.arrivals) == 40
        assert busiest_second(server.times) == 20


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.edgegap.com", "https://API.edgegap.com:443/", True),
        ("https://proxy.example/edgegap", "https://proxy.example:443/edgegap/", True),
        ("https://bücher.example", "https://xn--bcher-kva.example", True),
        ("https://proxy.example/edgegap", "https://proxy.example/other", False),
        ("https://api.edgegap.com", "https://api.edgegap.com:8443", False),
    ],
)
async def test_the_default_port_is_no_other_budget(
    one: str, other: str, same: bool
) -> None:
    async with EdgegapSession(TOKEN, base_url=one, limits=AT_ONCE):
        second = EdgegapSession(TOKEN, base_url=other, limits=OTHER)
        if same:
            with pytest.raises(ValueError, match="limits"):
                await second.__aenter__()
        else:
            await second.__aenter__()
        await second.aclose()


async def test_a_budget_outlives_requests_that_were_in_flight_at_the_close() -> None:
    async with RawServer(SILENT) as server:
        async with session(server.url) as edgegap:
            calls = started(3, edgegap)
            await asyncio.sleep(1)
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(server.arrivals) == 3
        await asyncio.sleep(BACK)
        # The requests may still be on their way: a proxy may have stalled.
        assert len(kept()) == 1
        await asyncio.sleep(LONGEST_STALL)
        assert not kept()


@pytest.mark.parametrize("limits", [AT_ONCE, OTHER], ids=["the same", "others"])
async def test_requests_in_flight_at_the_close_count_too(limits: Limits) -> None:
    ways = iter([0.24] * 20)
    async with Simulator(
        enforcement="off", delay_before=lambda: next(ways, 0.0)
    ) as simulator:
        async with session(simulator.url, limits=AT_ONCE) as edgegap:
            calls = [
                asyncio.ensure_future(edgegap.deployments.status("c065"))
                for _ in range(UNANSWERED)
            ]
            await asyncio.sleep(0.1)
        await asyncio.gather(*calls, return_exceptions=True)
        assert simulator.arrivals("status") == 0
        async with session(simulator.url, limits=limits) as edgegap:
            calls = [
                asyncio.ensure_future(edgegap.deployments.status("c065"))
                for _ in range(20)
            ]
            await asyncio.gather(*calls, return_exceptions=True)
        assert simulator.arrivals("status") == UNANSWERED + 20
        assert simulator.busiest_second("status") <= 20


async def test_closing_one_session_does_not_affect_the_other() -> None:
    async with (
        RawServer(*[SILENT] * 5, answer()) as server,
        session(server.url, limits=AT_ONCE) as staying,
    ):
        leaving = session(server.url, limits=AT_ONCE)
        closing = started(5, leaving)
        await asyncio.sleep(0.1)
        calls: list[Awaitable[object]] = []
        # The calls of both sessions alternate in the queue.
        for _ in range(30):
            closing += started(1, leaving)
            calls += started(1, staying)
        await asyncio.sleep(0.5)
        served = sum(call.done() for call in closing)
        await leaving.aclose()
        ended = await asyncio.gather(*closing, return_exceptions=True)
        assert sum(isinstance(each, SessionClosed) for each in ended) == 35 - served
        await asyncio.gather(*calls)
        assert len(server.arrivals) == 35 + served
        assert busiest_second(server.times) <= 20
        await asyncio.sleep(1.4)
        start = now()
        # No slot was lost.
        await twenty(staying)
        assert now() - start < 0.01


async def test_a_session_that_was_never_used_has_usage() -> None:
    async with RawServer() as server:
        await session(server.url).aclose()
        assert not kept()
        async with session(server.url) as edgegap:
            assert len(kept()) == 1
            assert edgegap.usage()["status"].sent == 0
        assert not kept()
        # A session that is never used and never closed does not hold its limits.
        session(server.url, limits=OTHER)
        async with session(server.url, limits=AT_ONCE) as edgegap:
            await GET(edgegap)


async def test_closing_an_unused_session_releases_nothing() -> None:
    async with RawServer() as server, session(server.url, limits=AT_ONCE) as edgegap:
        await GET(edgegap)
        await session(server.url, limits=OTHER).aclose()
        refused = session(server.url, limits=OTHER)
        with pytest.raises(ValueError, match="limits"):
            await GET(refused)
        await refused.aclose()
        await GET(edgegap)


def test_sessions_on_two_loops_do_not_share() -> None:
    async def at_once(limits: Limits, port: int) -> tuple[EdgegapSession, int, float]:
        async with Simulator(port=port, enforcement="off") as simulator:
            edgegap, start = session(simulator.url, limits=limits), now()
            await asyncio.gather(*(edgegap.locations.list() for _ in range(20)))
            return edgegap, int(simulator.url.rpartition(":")[2]), now() - start

    with (
        asyncio.Runner(loop_factory=VirtualTimeLoop) as here,
        asyncio.Runner(loop_factory=VirtualTimeLoop) as there,
    ):
        first, port, took = here.run(at_once(AT_ONCE, 0))
        second, _, as_long = there.run(at_once(Limits(other=30, burst=20), port))
        assert max(took, as_long) < 0.1
        there.run(second.aclose())
        here.run(first.aclose())


@pytest.mark.slow
def test_the_budgets_of_an_ended_loop_are_forgotten() -> None:
    async def program() -> None:
        async with RawServer() as server, session(server.url) as edgegap:
            await GET(edgegap)

    gc.collect()
    before = len(REGISTRY)
    for _ in range(5):
        run(program())
    gc.collect()
    # The last loop may be freed only when the next one is made.
    assert len(REGISTRY) <= before + 1
