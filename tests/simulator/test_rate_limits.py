"""How the simulator counts requests and refuses them: each way to count, the 429s, the
counts that a test reads.
"""

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_client import Plain, plain

from edgegap_async.simulator import Simulator
from edgegap_async.simulator.rate_limits import Gate, RuleName, gates

RULES: list[RuleName] = ["fixed-window", "sliding-window", "token-bucket", "spacing"]


def gate(rule: RuleName, rate: float | None = 10, tolerance: float = 0.010) -> Gate:
    return gates(rule, {"deploy": rate}, tolerance)["deploy"]


def admitted(
    rule: RuleName,
    times: Sequence[float],
    rate: float | None = 10,
    tolerance: float = 0.010,
) -> list[float]:
    """Which of the requests at these times pass."""
    one = gate(rule, rate, tolerance)
    return [at for at in times if one.admit(at)]


def test_a_fixed_window_begins_anew_with_each_second() -> None:
    assert len(admitted("fixed-window", [0.99] * 15 + [1.0] * 15)) == 20
    assert len(admitted("fixed-window", [0.0] * 15 + [0.99] * 15)) == 10


def test_a_sliding_window_passes_so_many_in_any_second() -> None:
    assert len(admitted("sliding-window", [0.99] * 15 + [1.0] * 15)) == 10
    assert admitted("sliding-window", [0.5] * 10 + [1.4999, 1.5]) == [0.5] * 10 + [1.5]


def test_a_token_bucket_holds_one_second_and_refills() -> None:
    assert len(admitted("token-bucket", [0.0] * 30)) == 10
    assert len(admitted("token-bucket", [0.0] * 30 + [0.55] * 30)) == 15
    assert len(admitted("token-bucket", [0.0] * 30 + [60.0] * 30)) == 20


def test_spacing_wants_a_distance_and_forgives_a_little() -> None:
    assert admitted("spacing", [0.0, 0.05, 0.0901, 0.1]) == [0.0, 0.0901]
    # what came early is not forgotten
    assert admitted("spacing", [0.0, 0.095, 0.185]) == [0.0, 0.095]
    assert admitted("spacing", [0.0, 0.095, 0.1], tolerance=0.0) == [0.0, 0.1]


@pytest.mark.parametrize("rule", [*RULES, "off"])
def test_requests_at_exactly_the_rate_all_pass(rule: RuleName) -> None:
    times = [1000 + index / 10 for index in range(500)]
    assert admitted(rule, times) == times


@pytest.mark.parametrize("rule", RULES)
def test_a_limit_below_one_a_second_still_lets_one_through(rule: RuleName) -> None:
    assert admitted(rule, [1000.0, 1001.0, 1002.0, 1003.9, 1004.0], rate=0.25) == [
        1000.0,
        1004.0,
    ]


def test_without_a_rate_or_when_off_nothing_is_refused_and_all_is_counted() -> None:
    for one in (gate("sliding-window", None), gate("off")):
        assert all(one.admit(5.0) for _ in range(1000))
        assert one.counts() == {
            "arrivals": 1000,
            "accepted": 1000,
            "refused": 0,
            "busiest_second": 1000,
        }


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
    st.sampled_from(RULES),
    st.integers(1, 20),
)
def test_the_busiest_second_is_that_of_all_windows_there_are(
    times: list[float], rule: RuleName, rate: int
) -> None:
    one = gate(rule, rate)
    times.sort()
    passed = [at for at in times if one.admit(at)]

    def busiest(arrivals: list[float]) -> int:
        return max(
            (sum(0 <= at - start < 1 - 1e-9 for at in arrivals) for start in arrivals),
            default=0,
        )

    assert one.busiest_second == busiest(times)
    assert one.arrivals == len(times)
    assert one.refused == len(times) - len(passed)
    most = {
        "fixed-window": 2 * rate,
        "sliding-window": rate,
        "token-bucket": 2 * rate,
        "spacing": rate + 1,
    }[rule]
    assert busiest(passed) <= most


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"enforcement": "strict"}, "enforcement"),
        ({"rates": {"depoly": 5}}, "depoly"),
        ({"rates": {"deploy": 0}}, "deploy"),
        ({"retry_after": -1}, "retry_after"),
        ({"retry_after_form": "minutes"}, "retry_after_form"),
        ({"ready_after": (3, 2)}, "ready_after"),
        ({"delay_before": (-1, 2)}, "delay_before"),
        ({"delay_after": (0, math.inf)}, "delay_after"),
        ({"error_share": 2}, "error_share"),
        ({"stop_takes": -1}, "stop_takes"),
        ({"gone": "never"}, "gone"),
        ({"max_page_size": 0}, "max_page_size"),
        ({"fleet_deploy": "none"}, "fleet_deploy"),
    ],
)
def test_a_wrong_argument_is_a_value_error_that_names_it(
    arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Simulator(**arguments)


@pytest.mark.parametrize(
    ("limit", "path", "rate"),
    [
        ("status", "/v1/status/x", 20),
        ("list", "/v1/deployments", 10),
        ("list", "/v2/private-fleets/f/hosts", 10),
    ],
)
async def test_the_documented_limits_are_enforced(
    limit: Any, path: str, rate: int
) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        answers = await asyncio.gather(*(api("GET", path) for _ in range(50)))
        refused = [answer for status, answer in answers if status == 429]
        await asyncio.sleep(1)
        assert (await api("GET", path))[0] != 429

    assert len(refused) == 50 - rate
    assert all(set(answer) == {"message"} for answer in refused)
    assert (sim.arrivals(limit), sim.refused(limit), sim.busiest_second(limit)) == (
        51,
        50 - rate,
        50,
    )
    assert sim.arrivals("deploy") == 0


async def test_both_deploys_share_one_limit_and_a_refused_one_starts_nothing() -> None:
    sim = Simulator(rates={"deploy": 3})
    async with plain(sim) as api:
        for _ in range(3):
            await api.deploy()
        assert (await api("POST", "/v2/private-fleets:deploy", {}))[0] == 429
        assert (await api("POST", "/v2/deployments", {}))[0] == 429

    assert len(sim.deployed()) == 3


async def refusal(sim: Simulator) -> dict[str, str]:
    """The headers of a 429."""
    async with plain(sim) as api:
        await api.get("/v1/locations")
        async with api.http.get("/v1/locations") as response:
            assert response.status == 429
            return dict(response.headers)


async def test_retry_after_is_left_out_or_told_in_seconds_or_as_a_date() -> None:
    assert "Retry-After" not in await refusal(Simulator(rates={"other": 1}))
    assert (await refusal(Simulator(rates={"other": 1}, retry_after=2)))[
        "Retry-After"
    ] == "2"
    assert (await refusal(Simulator(rates={"other": 1}, retry_after=0.5)))[
        "Retry-After"
    ] == "0.5"
    headers = await refusal(
        Simulator(rates={"other": 1}, retry_after=2.5, retry_after_form="date")
    )
    told: list[datetime] = [
        parsedate_to_datetime(headers[name]) for name in ("Date", "Retry-After")
    ]
    # a date has whole seconds: rather late than early
    assert (told[1] - told[0]).total_seconds() == 3


async def test_a_request_counts_after_the_way_to_the_server_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    sim = Simulator(delay_before=(0.5, 0.5), delay_after=lambda: 0.25)
    async with plain(sim) as api:
        began = loop.time()
        call = asyncio.create_task(api.get("/v1/locations"))
        await asyncio.sleep(0.49)
        assert sim.arrivals("other") == 0
        await asyncio.sleep(0.02)
        assert sim.arrivals("other") == 1
        await call
        assert loop.time() - began == pytest.approx(0.75, abs=0.01)


async def test_jitter_bunches_what_was_sent_evenly() -> None:
    sim = Simulator(delay_before=(0.0, 0.4), seed=3)
    async with plain(sim) as api, asyncio.TaskGroup() as calls:
        for _ in range(200):
            calls.create_task(api("GET", "/v1/status/x"))
            await asyncio.sleep(1 / 20)

    assert sim.busiest_second("status") > 20
    assert sim.refused("status") > 0


BODY = b'{"application": "a", "version": "v", "users": [{"user_type": "ip_address", "user_data": {"ip_address": "::1"}}]}'
HEAD = (
    b"POST /v2/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: token x\r\nContent-Length: %d\r\n\r\n"
    % len(BODY)
)


async def send_and_hang_up(sim: Simulator, *parts: bytes) -> None:
    host, port = sim.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.writelines(parts)
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()


async def test_a_request_that_arrived_is_carried_out_though_its_sender_has_gone() -> (
    None
):
    sim = Simulator(delay_before=(1, 1))
    async with sim:
        await send_and_hang_up(sim, HEAD, BODY[:-1])
        await asyncio.sleep(5)
        assert (sim.arrivals("deploy"), sim.deployed()) == (0, ())
        await send_and_hang_up(sim, HEAD, BODY)
        await asyncio.sleep(5)
        assert (sim.arrivals("deploy"), len(sim.deployed())) == (1, 1)


async def test_all_counts_are_told_as_json_without_a_token_and_without_being_counted() -> (
    None
):
    sim = Simulator(token="right", ready_after=(1, 1))
    async with plain(sim, "token right") as api:
        first, second = await api.deploy(), await api.deploy()
        await asyncio.sleep(5)
        await api("DELETE", f"/v1/stop/{first}")
        await asyncio.sleep(1)
        async with api.http.get(
            "/_simulator/counts", headers={"Authorization": ""}
        ) as response:
            told = await response.json()
        assert told == sim.counts()

    assert told["limits"]["deploy"] == {
        "arrivals": 2,
        "accepted": 2,
        "refused": 0,
        "busiest_second": 2,
    }
    assert told["limits"]["list"]["arrivals"] == 0
    assert (told["deployed"], told["running"], told["stopped"]) == (
        [first, second],
        [second],
        [first],
    )


async def test_leaving_cuts_what_is_in_progress_and_every_connection_at_once() -> None:
    loop = asyncio.get_running_loop()
    sim = Simulator(delay_after=(3600, 3600))
    async with plain(sim) as api:
        calls = [asyncio.create_task(cut(api)) for _ in range(50)]
        await asyncio.sleep(1)
        began = loop.time()
        await sim.__aexit__(None, None, None)
        assert loop.time() - began < 0.1
        assert await asyncio.gather(*calls) == [True] * 50
        assert sim.arrivals("other") == 50


async def cut(api: Plain) -> bool:
    try:
        await api.get("/v1/locations")
    except OSError:
        # aiohttp's errors of a connection are some
        return True
    return False


async def test_after_its_end_it_tells_what_ran_then() -> None:
    sim = Simulator()
    async with plain(sim) as api:
        request_id = await api.deploy()
        await asyncio.sleep(10)
        await api("DELETE", f"/v1/stop/{request_id}")
    await asyncio.sleep(100)
    assert sim.running() == {request_id}
    assert sim.url in repr(sim)


async def test_it_is_entered_once_and_tells_nothing_before() -> None:
    sim = Simulator()
    with pytest.raises(RuntimeError, match="not started"):
        sim.running()
    assert "not started" in repr(sim)
    async with sim:
        with pytest.raises(RuntimeError, match="once"):
            await sim.__aenter__()


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with Simulator() as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(OSError):
            await Simulator(port=port).__aenter__()
    async with Simulator(port=port) as again:
        assert again.url == sim.url


async def test_a_cancellation_while_it_ends_waits_until_it_has() -> None:
    sim = Simulator()
    await sim.__aenter__()
    ending = asyncio.create_task(sim.__aexit__(None, None, None))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    async with Simulator(port=int(sim.url.rpartition(":")[2])):
        pass
