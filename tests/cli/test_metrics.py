"""`metrics` draws charts."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.raw_server import RawServer, answer

from edgegap_async.cli.chart import ASCII, BLOCKS, chart, short_number
from edgegap_async.simulator import Simulator

Edgegap = Callable[..., Result]


def series(*values: object) -> dict[str, object]:
    times = [f"2026-07-14 14:{minute:02}:37.711" for minute in range(len(values))]
    return {"labels": times, "datasets": values, "timestamps": times}


def test_each_series_has_a_chart_with_its_largest_value(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    network = {"receive": series("1000", "2500"), "transmit": None}
    scripted(
        answer(
            200, {"cpu": series("100", None, 400), "mem": series(), "network": network}
        )
    )
    result = edgegap("metrics", "c065")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "CPU: last 400, mean 250, most 400",
        "    400   █",
        "          █",
        "          █",
        "      0 █ █",
        "        2026-07-14 14:00:37 to 14:02:37 UTC",
        "network in: last 2.5k, mean 1.75k, most 2.5k",
        "   2.5k  █",
        "         █",
        "        ▅█",
        "      0 ██",
        "        2026-07-14 14:00:37 to 14:01:37 UTC",
    ]


def test_json_has_all_values(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(200, {"cpu": series("100", 400)}))
    (line,) = edgegap("metrics", "c065", "--json").stdout.splitlines()
    assert json.loads(line)["cpu"]["datasets"] == [100, 400]


@pytest.mark.parametrize(
    "body", [{}, {"cpu": None}, {"cpu": series(None)}, {"network": {}}]
)
def test_without_values_there_is_a_message(
    body: object, scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    scripted(answer(200, body))
    result = edgegap("metrics", "c065")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        "no values yet\n",
    )


def test_since_and_step_are_sent(
    scripted: Callable[..., RawServer], edgegap: Edgegap
) -> None:
    server = scripted(answer(200, {}))
    edgegap("metrics", "c065", "--since", "1h", "--step", "5m")
    query = parse_qs(urlsplit(server.arrivals[0].path).query)
    assert {*query} == {"start_time", "steps"}
    assert query["steps"] == ["5m"]


def test_a_wrong_step_is_named(account: Simulator, edgegap: Edgegap) -> None:
    assert "--since" in edgegap("metrics", "c065", "--since", "5").stderr
    assert "--step must" in edgegap("metrics", "c065", "--step", "").stderr
    assert edgegap("metrics", "c065").exit_code == 1


@given(
    st.lists(st.none() | st.floats(-1e9, 1e15), min_size=1, max_size=300),
    st.integers(1, 120),
    st.integers(1, 6),
    st.sampled_from([BLOCKS, ASCII]),
)
def test_a_chart_has_its_size_and_reaches_its_upper_edge(
    values: list[float | None], width: int, height: int, blocks: str
) -> None:
    lines = chart(values, width, height, blocks)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {min(width, len(values))}
    if len(values) <= width:
        above = any(it is not None and it > 0 for it in values)
        assert (blocks[-1] in lines[0]) is above
        positive = [it is not None and it > 0 for it in values]
        assert [character != blocks[0] for character in lines[-1]] == positive


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (999, "999"),
        (999.6, "1k"),
        (999_700, "1M"),
        (2458, "2.46k"),
        (3.1e8, "310M"),
        (2e12, "2T"),
        (-5e3, "-5k"),
    ],
)
def test_a_number_is_short(value: float, text: str) -> None:
    assert short_number(value) == text
