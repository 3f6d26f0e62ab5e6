"""Plans: what they refuse, and when their deploys are due."""

from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.owning import PLAYERS

from edgegap_async import DeployRequest, load
from edgegap_async.load import Plan, Ramp
from edgegap_async.load.report import PlanData

REQUEST = DeployRequest("game", "1", users=PLAYERS)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "rate or ramp"),
        ({"rate": 1, "ramp": Ramp(1, 2, 3), "hold": 1}, "rate or ramp"),
        ({"rate": 0, "hold": 1}, "rate"),
        ({"rate": -1, "hold": 1}, "rate"),
        ({"rate": float("nan"), "hold": 1}, "rate"),
        ({"rate": "40", "hold": 1}, "rate"),
        ({"rate": 40}, "hold or count"),
        ({"rate": 40, "hold": 0}, "hold"),
        ({"rate": 40, "hold": 1, "lifetime": 0}, "lifetime"),
        ({"rate": 40, "hold": 1, "count": 0}, "count"),
        ({"rate": 40, "hold": 1, "max_running": 1.5}, "max_running"),
        ({"rate": 40, "hold": 1, "stop_at_end": "no"}, "stop_at_end"),
        ({"rate": 40, "hold": 1, "ready_timeout": None}, "ready_timeout"),
        ({"rate": 40, "hold": 10_000_000}, "hold"),
        ({"ramp": Ramp(1, 40, 10_000_000)}, "ramp"),
        ({"ramp": (1, 2, 3)}, "ramp"),
        ({"ramp": Ramp(4, 0, 3), "hold": 3}, "hold"),
        ({"rate": 40, "hold": 2, "max_running": 79}, "lifetime"),
        ({"rate": 40, "count": 80, "max_running": 79}, "lifetime"),
        ({"rate": 40, "count": 3, "max_running": 2, "stop_at_end": False}, "lifetime"),
        ({"request": {}, "rate": 1, "hold": 1}, "request"),
    ],
)
def test_a_wrong_plan_names_its_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}"):
        Plan(**{"request": REQUEST, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"hold": 2, "max_running": 80},
        {"hold": 60, "count": 80, "max_running": 80},
        {"hold": 60, "max_running": 1, "lifetime": 5},
    ],
)
def test_a_cap_that_lets_all_deploys_through_is_no_error(
    options: dict[str, Any],
) -> None:
    assert Plan(request=REQUEST, rate=40, **options).max_running


@pytest.mark.parametrize("bad", [(-1, 2, 3), (1, "2", 3), (1, 2, 0), (0, 0, 3)])
def test_a_wrong_ramp_is_named(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"^ramp:"):
        Ramp(*bad)


def due(**options: Any) -> list[float]:
    return [*Plan(request=REQUEST, **options).due_times()]


def test_deploys_of_a_rate_are_due_at_an_even_pace() -> None:
    times = due(rate=40, hold=60)
    assert len(times) == 2400
    assert times[:3] == [0, 0.025, 0.05]
    assert times[-1] == pytest.approx(59.975)


def test_a_count_ends_the_schedule() -> None:
    assert due(rate=2, count=3) == [0, 0.5, 1]
    assert due(rate=2, hold=1, count=100) == [0, 0.5]
    assert len(due(ramp=Ramp(1, 9, 10), count=7)) == 7


def test_a_ramp_that_falls_to_nothing_ends() -> None:
    times = due(ramp=Ramp(10, 0, 10))
    assert len(times) == 50
    assert times[-1] < 10


def test_after_a_ramp_its_last_rate_holds() -> None:
    times = due(ramp=Ramp(1, 40, 60), hold=10)
    assert len([it for it in times if it < 60]) == 1230
    held = [it for it in times if it >= 60]
    assert len(held) == 400
    assert all(b - a == pytest.approx(0.025) for a, b in pairwise(held))


rates = st.floats(0.1, 200)


@given(rates, rates, st.floats(0.5, 100), st.floats(0.5, 50))
def test_due_times_rise_and_their_number_is_the_area_under_the_rate(
    start: float, end: float, seconds: float, hold: float
) -> None:
    plan = Plan(request=REQUEST, ramp=Ramp(start, end, seconds), hold=hold)
    times = [*islice(plan.due_times(), 50_000)]
    assert all(a <= b for a, b in pairwise(times))
    assert times[-1] <= seconds + hold + 1e-6
    assert abs(len(times) - ((start + end) / 2 * seconds + end * hold)) <= 1


def test_the_data_of_a_plan_has_no_secret_of_its_request() -> None:
    request = DeployRequest(
        "game",
        "1",
        users=PLAYERS,
        environment_variables={"KEY": "very-secret"},
        webhook_on_ready="https://example.com/very-secret",
    )
    shown = PlanData.of(load.Plan(request=request, rate=1, hold=1)).to_json()
    assert "secret" not in shown
    assert '"application":"game"' in shown
