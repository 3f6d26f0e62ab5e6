"""How the simulator counts requests: each kind of enforcement, and the 429s."""

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_client import plain

from edgegap_async.simulator import Simulator
from edgegap_async.simulator.rate_limits import (
    EnforcedLimit,
    Enforcement,
    LimitSettings,
    RateLimits,
)

RULES: list[Enforcement] = ["fixed-window", "sliding-window", "token-bucket", "spacing"]


def enforced_limit(
    rule: Enforcement, rate: float | None = 10, tolerance: float = 0.010
) -> EnforcedLimit:
    return RateLimits(LimitSettings(rule, {"deploy": rate}, tolerance)).by_name[
        "deploy"
    ]


def admitted(
    rule: Enforcement,
    times: Sequence[float],
    rate: float | None = 10,
    tolerance: float = 0.010,
) -> list[float]:
    """Return the times of the requests that pass."""
    limit = enforced_limit(rule, rate, tolerance)
    return [at for at in times if limit.admit(at)]


def test_fixed_window_resets_at_each_whole_second() -> None:
    assert len(admitted("fixed-window", [0.99] * 15 + [1.0] * 15)) == 20
    assert len(admitted("fixed-window", [0.0] * 15 + [0.99] * 15)) == 10


def test_sliding_window_limits_any_second() -> None:
    assert len(admitted("sliding-window", [0.99] * 15 + [1.0] * 15)) == 10
    assert admitted("sliding-window", [0.5] * 10 + [1.4999, 1.5]) == [0.5] * 10 + [1.5]


def test_token_bucket_holds_one_second_of_tokens_and_refills() -> None:
    assert len(admitted("token-bucket", [0.0] * 30)) == 10
    assert len(admitted("token-bucket", [0.0] * 30 + [0.55] * 30)) == 15
    assert len(admitted("token-bucket", [0.0] * 30 + [60.0] * 30)) == 20


def test_spacing_requires_an_interval_with_tolerance() -> None:
    assert admitted("spacing", [0.0, 0.05, 0.0901, 0.1]) == [0.0, 0.0901]
    # An early request does not move the times of the following ones.
    assert admitted("spacing", [0.0, 0.095, 0.185]) == [0.0, 0.095]
    assert admitted("spacing", [0.0, 0.095, 0.1], tolerance=0.0) == [0.0, 0.1]


@pytest.mark.parametrize("rule", [*RULES, "off"])
def test_requests_at_exactly_the_limit_all_pass(rule: Enforcement) -> None:
    times = [1000 + index / 10 for index in range(500)]
    assert admitted(rule, times) == times


@pytest.mark.parametrize("rule", RULES)
def test_a_limit_below_one_per_second_admits_one_request_per_interval(
    rule: Enforcement,
) -> None:
    assert admitted(rule, [1000.0, 1001.0, 1002.0, 1003.9, 1004.0], rate=0.25) == [
        1000.0,
        1004.0,
    ]


def test_without_a_limit_requests_are_counted_and_never_refused() -> None:
    for limit in (enforced_limit("sliding-window", None), enforced_limit("off")):
        assert all(limit.admit(5.0) for _ in range(1000))
        assert limit.counts() == {
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
def test_the_busiest_second_is_the_maximum_over_all_windows(
    times: list[float], rule: Enforcement, rate: int
) -> None:
    limit = enforced_limit(rule, rate)
    times.sort()
    passed = [at for at in times if limit.admit(at)]

    def busiest(arrivals: list[float]) -> int:
        return max(
            (sum(0 <= at - start < 1 - 1e-9 for at in arrivals) for start in arrivals),
            default=0,
        )

    assert limit.busiest_second == busiest(times)
    assert limit.arrivals == len(times)
    assert limit.refused == len(times) - len(passed)
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
        ({"fleet_deploy": ""}, "fleet_deploy"),
        ({"form": "openapi"}, "form"),
        ({"form": None}, "form"),
    ],
)
def test_an_invalid_argument_is_a_value_error_that_names_it(
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


async def test_both_deploys_share_one_limit_and_a_refused_deploy_starts_nothing() -> (
    None
):
    sim = Simulator(rates={"deploy": 3})
    async with plain(sim) as api:
        for _ in range(3):
            await api.deploy()
        assert (await api("POST", "/v2/private-fleets:deploy", {}))[0] == 429
        assert (await api("POST", "/v2/deployments", {}))[0] == 429

    assert len(sim.deployed()) == 3


async def headers_of_429(sim: Simulator) -> dict[str, str]:
    """Return the headers of a 429."""
    async with plain(sim) as api:
        await api.get("/v1/locations")
        async with api.http.get("/v1/locations") as response:
            assert response.status == 429
            return dict(response.headers)


async def test_retry_after_is_absent_in_seconds_or_a_date() -> None:
    assert "Retry-After" not in await headers_of_429(Simulator(rates={"other": 1}))
    assert (await headers_of_429(Simulator(rates={"other": 1}, retry_after=2)))[
        "Retry-After"
    ] == "2"
    assert (await headers_of_429(Simulator(rates={"other": 1}, retry_after=0.5)))[
        "Retry-After"
    ] == "0.5"
    headers = await headers_of_429(
        Simulator(rates={"other": 1}, retry_after=2.5, retry_after_form="date")
    )
    dates: list[datetime] = [
        parsedate_to_datetime(headers[name]) for name in ("Date", "Retry-After")
    ]
    # A date has whole seconds, so 2.5 is rounded up.
    assert (dates[1] - dates[0]).total_seconds() == 3


async def test_a_request_counts_only_after_delay_before() -> None:
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


async def test_jitter_bunches_evenly_paced_requests() -> None:
    sim = Simulator(delay_before=(0.0, 0.4), seed=3)
    async with plain(sim) as api, asyncio.TaskGroup() as calls:
        for _ in range(200):
            calls.create_task(api("GET", "/v1/status/x"))
            await asyncio.sleep(1 / 20)

    assert sim.busiest_second("status") > 20
    assert sim.refused("status") > 0
